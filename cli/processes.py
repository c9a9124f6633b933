"""Node processes of this machine: start, wait for, stop.

A node is `python -m node <home>`; its output goes to `<home>/node.log`. A process id is trusted only if that process
was started for this very home, so that a stale file never makes us signal a stranger.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cli.network_setup import Network, NodePlace
from cli.output import CommandError, ExitCode
from node.client import NodeClient
from node.home import Home

_POLL_S: Final = 0.05
_LOG_TAIL_LINES: Final = 15
_LOG_SEARCH_LINES: Final = 200

_STOPPED: Final = "ended by a signal"
"""The last line of a node, or of its supervisor, that was stopped in order."""


def spawn_node(home: Path, *, detached: bool) -> subprocess.Popen[bytes]:
    """Start a node's process; its output is appended to its log. A detached one outlives us."""
    with (home / "node.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "node", str(home.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=detached,
            env=python_environment(),
        )


def python_environment() -> dict[str, str]:
    """Return the environment of our processes: ours, with the directory that our packages come from."""
    root = str(Path(__file__).resolve().parent.parent)
    path = os.environ.get("PYTHONPATH", "")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(part for part in (root, path) if part),
    }
    # Compiled modules are kept: without them five nodes that start at once compile everything five times.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def running_process(home: Path) -> int | None:
    """Return the id of the process that runs the node of `home`, or None."""
    try:
        process_id = int(Home(home).process_id.read_text("ascii"))
        process = Path(f"/proc/{process_id}")
        command = process.joinpath("cmdline").read_bytes().split(b"\0")
        directory = process.joinpath("cwd").resolve()
    except (OSError, ValueError):
        return None
    # The home stands there as it was written, perhaps relative to where the node was started.
    homes = (directory / os.fsdecode(word) for word in command[1:] if word)
    if b"node" in command and any(one.resolve() == home.resolve() for one in homes):
        return process_id
    return None


def wait_until_ready(
    network: Network,
    places: tuple[NodePlace, ...],
    processes: Mapping[str, subprocess.Popen[bytes]],
    *,
    timeout_s: float,
) -> dict[str, str]:
    """Wait until the nodes serve current answers; return the reasons of those that do not in time.

    Where one of our `processes` has ended, waiting is over, and the reasons are those of the ended ones.
    """
    deadline = time.monotonic() + timeout_s
    waiting = {place.name: "not started" for place in places}
    while waiting and time.monotonic() < deadline:
        ended = {
            name: f"its process has ended with status {processes[name].returncode}"
            for name in waiting
            if name in processes and processes[name].poll() is not None
        }
        if ended:
            return ended
        for place in places:
            if place.name not in waiting:
                continue
            with NodeClient(place.api, timeout_s=2.0) as client:
                ready, reason = client.ready()
            if ready:
                del waiting[place.name]
            else:
                waiting[place.name] = reason
        if waiting:
            time.sleep(_POLL_S)
    return waiting


def stop_process(process_id: int, *, timeout_s: float = 15.0) -> bool:
    """End a process with SIGTERM; return whether it ended in time."""
    try:
        os.kill(process_id, signal.SIGTERM)
    except ProcessLookupError:
        return True
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not Path(f"/proc/{process_id}").exists() or _is_zombie(process_id):
            return True
        time.sleep(_POLL_S)
    return False


def _is_zombie(process_id: int) -> bool:
    try:
        status = Path(f"/proc/{process_id}/stat").read_text("ascii", errors="replace")
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def process_family(process_id: int) -> tuple[int, ...]:
    """Return a process and its children: a node with CometBFT is three processes."""
    try:
        children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text("ascii")
    except OSError:
        children = ""
    return (process_id, *map(int, children.split()))


def log_tail(home: Path, lines: int = _LOG_TAIL_LINES) -> str:
    """Return the end of a node's log: where its process has ended with an error that error, else the last lines.

    Behind that error may stand a long traceback of a request that was under way. What was written before a node was
    stopped in order the last time is over: "" where nothing was written since.
    """
    try:
        text = (home / "node.log").read_text("utf-8", errors="replace")
    except OSError:
        return ""
    written = text.splitlines()
    if running_process(home) is None:
        written = written[_end_of_last_stop(written) :]
        marks = ('"level": "critical"', '"level": "error"')
        errors = [line for line in written[-_LOG_SEARCH_LINES:] if any(m in line for m in marks)]
        if errors:
            return errors[-1]
    return "\n".join(written[-lines:])


def was_stopped(home: Path) -> bool:
    """Tell whether a node was stopped in order, and has not been started since, as far as its log says."""
    if running_process(home) is not None:
        return False
    try:
        text = (home / "node.log").read_text("utf-8", errors="replace")
    except OSError:
        return False
    written = text.splitlines()
    return bool(written) and _end_of_last_stop(written) == len(written)


def _end_of_last_stop(written: list[str]) -> int:
    """Return how many lines were written until a node was stopped in order the last time; 0 where it never was."""
    for number in range(len(written), 0, -1):
        if _STOPPED in written[number - 1]:
            return number
    return 0


def start_failure(network: Network, reasons: dict[str, str]) -> CommandError:
    """Return the error for nodes that did not come up, with what the first one's log says of it."""
    name = min(reasons)
    home = network.node_home(network.node(name))
    return CommandError(
        f"not ready: {', '.join(f'{node} ({reason})' for node, reason in sorted(reasons.items()))}",
        code="not_ready",
        exit_code=ExitCode.NOT_ESTABLISHED,
        hint=f"From {home / 'node.log'}:\n{log_tail(home)}",
    )


def terminate(process: subprocess.Popen[Any], *, timeout_s: float = 15.0) -> None:
    """End a child of ours with SIGTERM, and with SIGKILL where it does not listen; reap it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
