"""How fast a node whose data are gone comes up to the others: blocks verified and executed from the first on."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import Any, Final, Literal

from cli.bench.load_runs import LoadOptions, run_once
from cli.bench.loads import DIRECTORY
from cli.bench.machine import signature_check_us
from cli.bench.network import Progress, query_place
from cli.bench.usage import cpu_s, metric, peak_memory_bytes
from cli.demo.world import StoryError, World
from cli.network_setup import NodePlace
from cli.processes import spawn_node, terminate
from node.client import NodeClient
from node.errors import NodeUnreachable

_LONGEST_S: Final = 600.0
_POLL_S: Final = 0.02
_VALIDATOR: Final = "hebei"


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a node was at some time of the monotonic clock: the height, and the entries of the log."""

    time_s: float
    height: int
    log_size: int

    @property
    def transactions(self) -> int:
        """Entries that are no block entries; genesis has one."""
        return max(0, self.log_size - self.height - 1)


def measure_catching_up(
    world: World, joining: Literal["query", "validator"], seconds: float, progress: Progress
) -> dict[str, Any]:
    """Load a network for some seconds, wipe one node's data, and time how it fetches everything again."""
    place = query_place(world) if joining == "query" else world.network.node(_VALIDATOR)
    options = LoadOptions(seconds=seconds, warm_up_s=0.0)
    load = DIRECTORY.make(world, int(seconds * DIRECTORY.most_per_s) + 1, progress)
    run_once(world, DIRECTORY, load, options, None, progress)
    target = _reach_rest(world)
    progress(f"{place.name} loses its data: {target.transactions} transactions to fetch")
    terminate(world.processes.pop(place.name))
    shutil.rmtree(world.network.node_home(place) / "data")
    return {"joining": joining, **_catch_up(world, place, target)}


def _reach_rest(world: World) -> Seen:
    """Wait until all running nodes have the same height and log, and return that."""
    deadline = time.monotonic() + _LONGEST_S
    while True:
        seen = [_look(world.network.node(name)) for name in world.processes]
        found = {(one.height, one.log_size) for one in seen if one is not None}
        if len(found) == 1 and None not in seen:
            return next(one for one in seen if one is not None)
        if time.monotonic() > deadline:
            raise StoryError("the nodes do not come to the same height")
        time.sleep(_POLL_S)


def _catch_up(world: World, place: NodePlace, target: Seen) -> dict[str, Any]:
    check_us, started_s = signature_check_us(), time.monotonic()
    process = spawn_node(world.network.node_home(place), detached=False)
    world.processes[place.name] = process
    first: Seen | None = None
    while True:
        if process.poll() is not None or time.monotonic() > started_s + _LONGEST_S:
            raise StoryError(f"{place.name} does not catch up")
        seen = _look(place)
        first = first or seen
        if seen is not None and seen.height >= target.height:
            break
        time.sleep(_POLL_S)
    assert first is not None, "seen above"
    used_s = cpu_s(process.pid)
    count = max(1, seen.transactions)
    # From when the node answered first: before that it was starting. A chain so short that it was over by then is
    # told from the start.
    since = first if seen.height > first.height else Seen(started_s, 0, 1)
    took_s = seen.time_s - since.time_s
    return {
        "transactions": seen.transactions,
        "blocks": seen.height,
        "seconds_from_start": round(seen.time_s - started_s, 2),
        "seconds": round(took_s, 2),
        "transactions_per_s": round((seen.transactions - since.transactions) / took_s, 1),
        "blocks_per_s": round((seen.height - since.height) / took_s, 1),
        "cpu_us_per_transaction": round(used_s / count * 1e6, 1),
        "signature_check_us": round(check_us, 1),
        "share_of_signature_limit": round(
            (seen.transactions - since.transactions) / took_s * check_us / 1e6, 3
        ),
        "peak_memory_mb": round(peak_memory_bytes(process.pid) / 1e6, 1),
    }


def _look(place: NodePlace) -> Seen | None:
    """Ask a node how far it is; None where it does not answer yet."""
    try:
        with NodeClient(place.api, timeout_s=5.0) as client:
            text = client.metrics()
    except NodeUnreachable:
        return None
    height, size = (int(metric(text, f"mulu_{name}")) for name in ("height", "log_size"))
    return Seen(time.monotonic(), height, size)
