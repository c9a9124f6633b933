"""What an idle network costs: the share of one core that each process takes while nobody asks for anything."""

from __future__ import annotations

import time
from typing import Any, Final

from cli.bench.network import Progress
from cli.bench.usage import cpu_s, peak_memory_bytes
from cli.demo.world import World

SETTLE_S: Final = 3.0
"""The first checkpoints and links are behind a node by then."""


def measure_idle(
    world: World, seconds: float, progress: Progress, *, settle_s: float = SETTLE_S
) -> dict[str, Any]:
    """Leave a network alone and return what its processes used, in per cent of one core."""
    time.sleep(settle_s)
    progress(f"watching for {seconds:g} s")
    pids = {name: process.pid for name, process in world.processes.items()}
    before, started_s = {name: cpu_s(pid) for name, pid in pids.items()}, time.monotonic()
    time.sleep(seconds)
    took_s = time.monotonic() - started_s
    shares = {name: (cpu_s(pid) - before[name]) / took_s * 100 for name, pid in pids.items()}
    memory = {name: peak_memory_bytes(pid) for name, pid in pids.items()}
    return {
        "seconds": round(took_s, 2),
        "cpu_percent_of_one_core": round(sum(shares.values()), 2),
        **{f"cpu_percent_{name}": round(share, 2) for name, share in shares.items()},
        "peak_memory_mb": round(max(memory.values()) / 1e6, 1),
    }
