"""The story as steps: run them in order, tell each with its time, sum up."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from cli.demo import steps_directory, steps_end, steps_refusals, steps_use
from cli.demo.world import StoryError, World
from cli.engine_setup import require_program
from cli.output import CommandError, ExitCode, printable
from cli.processes import log_tail
from ledger.errors import LedgerError
from node.config import EngineName

Step = Callable[[World], list[str]]

STEPS: Final[tuple[tuple[str, Step], ...]] = (
    ("network-up", steps_directory.network_up),
    ("statement-imported", steps_directory.statement_imported),
    ("directory-approved", steps_directory.directory_approved),
    ("matter-registered", steps_directory.matter_registered),
    ("entrusted", steps_directory.entrusted),
    ("license-issued", steps_use.license_issued),
    ("request-shown", steps_use.request_shown),
    ("use-recorded", steps_use.use_recorded),
    ("holder-notified", steps_use.holder_notified),
    ("fields-disclosed", steps_use.fields_disclosed),
    ("verified-online", steps_use.verified_online),
    ("verified-offline", steps_use.verified_offline),
    ("refused-uncovered-matter", steps_refusals.refused_uncovered_matter),
    ("refused-field", steps_refusals.refused_field),
    ("refused-replay", steps_refusals.refused_replay),
    ("refused-not-entrusted", steps_refusals.refused_not_entrusted),
    ("validator-killed", steps_end.validator_killed),
    ("validator-caught-up", steps_end.validator_caught_up),
    ("withheld-refused", steps_end.withheld_refused),
    ("given-back", steps_end.given_back),
    ("revoked", steps_end.revoked),
    ("past-status-proved", steps_end.past_status_proved),
    ("traced", steps_end.traced),
    ("bundle-verified", steps_end.bundle_verified),
    ("nodes-agree", steps_end.nodes_agree),
)


@dataclass(frozen=True, slots=True)
class Told:
    """How a step went."""

    name: str
    ok: bool
    seconds: float


def run_demo(home: Path | None, engine: EngineName, *, exit_after: bool, as_json: bool) -> int:
    """Tell the story; return the exit code. The network is stopped, and a temporary home removed."""
    require_program(engine)  # before a home is made that nothing would use
    teller = Console(stderr=as_json, highlight=False, soft_wrap=True)
    directory = _home(home)
    signal.signal(signal.SIGTERM, _end)
    world = None
    ok = False
    try:
        world = World.create(directory, engine)
        told = _tell(teller, world)
        ok = len(told) == len(STEPS) and all(step.ok for step in told)
        _sum_up(teller, world, told, ok, as_json)
        if not exit_after and ok:
            _stay_up(teller, world)
    except KeyboardInterrupt:
        teller.print("Interrupted.")
    finally:
        # A second Ctrl-C must not leave processes.
        for impatient in (signal.SIGINT, signal.SIGTERM):
            signal.signal(impatient, signal.SIG_IGN)
        if world is not None:
            world.close()
        _clean_up(teller, directory, temporary=home is None, ok=ok)
    return ExitCode.OK if ok else ExitCode.REFUSED


def _clean_up(teller: Console, directory: Path, *, temporary: bool, ok: bool) -> None:
    """Remove a temporary home, unless the story failed and somebody is told where it is."""
    told = False
    try:
        if not ok and not teller.quiet:
            teller.print(Text(f"Files and logs are left in {directory}"))
            told = True
    finally:  # who read our output may have gone: rich is quiet then, or ends the program
        if temporary and not told:
            shutil.rmtree(directory, ignore_errors=True)


def _home(home: Path | None) -> Path:
    if home is None:
        return Path(tempfile.mkdtemp(prefix="mulu-demo-"))
    directory = home.expanduser().resolve()
    if directory.exists() and any(directory.iterdir()):
        raise CommandError(f"{directory} is not empty", hint="Choose another --home.")
    return directory


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _tell(teller: Console, world: World) -> list[Told]:
    """Run the steps until one fails; each builds on those before it."""
    told = []
    begun = time.monotonic()
    for name, step in STEPS:
        started = time.monotonic()
        try:
            lines = step(world)
            problem = None
        except (
            StoryError,
            CommandError,
            LedgerError,
            TimeoutError,
            RuntimeError,
            OSError,
        ) as error:
            lines, problem = [], f"{error}\n{getattr(error, 'hint', '')}".strip()
        except Exception:
            lines, problem = [], traceback.format_exc()
        seconds = time.monotonic() - started
        told.append(Told(name, problem is None, seconds))
        mark = "✓" if problem is None else "✗"
        head = (
            f"{mark} {len(told):2}/{len(STEPS)} {name}  {started - begun:.1f} s + {seconds:.1f} s"
        )
        teller.print(Text(head, style="bold green" if problem is None else "bold red"))
        for line in lines:
            teller.print(Text(f"    {printable(line)}"))
        if problem is not None:
            teller.print(Text(printable(problem)))
            _show_logs(teller, world)
            break
    return told


def _show_logs(teller: Console, world: World) -> None:
    for place in world.network.nodes:
        tail = log_tail(world.network.node_home(place), 5)
        teller.print(Text(f"--- {place.name}\n{tail}", style="dim"))


def _sum_up(teller: Console, world: World, told: list[Told], ok: bool, as_json: bool) -> None:
    status = _final_status(world)
    seconds = sum(step.seconds for step in told)
    done = sum(step.ok for step in told)
    teller.print(
        Text(
            f"{done} of {len(STEPS)} steps in {seconds:.1f} s; height {status['height']}, "
            f"{world.transactions} transactions",
            style="bold",
        )
    )
    if not as_json:
        return
    untold = [Told(name, False, 0.0) for name, _ in STEPS[len(told) :]]
    document = {
        "ok": ok,
        "engine": world.engine,
        "validators": len(world.network.validators),
        "query_nodes": len(world.network.query_nodes),
        "height": status["height"],
        "app_hashes": status["app_hashes"],
        "transactions": world.transactions,
        "steps": [
            {"name": step.name, "ok": step.ok, "seconds": round(step.seconds, 3)}
            for step in (*told, *untold)
        ],
    }
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _final_status(world: World) -> dict[str, Any]:
    """Return height and application hashes as far as the nodes still answer."""
    height, hashes = 0, {}
    for place in world.network.nodes:
        if place.name not in world.processes:
            continue
        try:
            status = world.client("national-auditor", place.name).network()
        except LedgerError:
            continue
        height = max(height, status.height)
        hashes[place.name] = status.app_hash
    return {"height": height, "app_hashes": hashes}


def _stay_up(teller: Console, world: World) -> None:
    directory = world.directory
    case = world.facts.case
    use = case.use_id.hex() if case is not None else "USE"
    activate = Path(sys.prefix) / "bin" / "activate"
    teller.print(
        Text(
            f"""
The network stays up. In another terminal:

    {f". {activate}" if activate.exists() else "# where `mulu` is installed"}
    export MULU_HOME={directory}
    mulu network status
    mulu profile list
    mulu directory list matter
    mulu directory trace matter {_matter()}
    mulu license status {world.facts.handle}
    mulu audit trace {use}
    mulu audit bundle --use {use} --out use.bundle
    mulu audit verify use.bundle --policy {directory}/policy.txt
    MULU_WALLET={directory}/wallet mulu wallet receipts

Ctrl-C ends it."""
        )
    )
    signal.pause()


def _matter() -> str:
    from cli.demo.content import MATTER

    return MATTER
