"""What processes use: CPU time and memory from /proc, bytes on disk and, from a node's metrics, on the wire."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.demo.world import World
from cli.network_setup import NodePlace
from cli.processes import process_family
from node.client import NodeClient

VALIDATORS: Final = "validators"
QUERY_NODE: Final = "query node"
LOADER: Final = "loader"

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What the running nodes have used so far, by name. Disk and peak memory are those of one validator."""

    cpu_s: Mapping[str, float]
    loader_cpu_s: float
    wire_bytes: Mapping[str, float]
    disk_bytes: int
    disk_written_bytes: int
    peak_memory_bytes: int


def take_usage(world: World) -> Usage:
    """Read everything at about the same time; some ten milliseconds.

    Raises:
        NodeUnreachable: a node does not tell its metrics.
    """
    running = [world.network.node(name) for name in world.processes]
    validator = next(place for place in running if place.role == "validator")
    validator_id = world.processes[validator.name].pid
    return Usage(
        cpu_s={place.name: cpu_s(world.processes[place.name].pid) for place in running},
        loader_cpu_s=own_cpu_s(),
        wire_bytes={place.name: _sent_bytes(place) for place in running},
        disk_bytes=data_bytes(world.network.node_home(validator)),
        disk_written_bytes=disk_io(validator_id)[1],
        peak_memory_bytes=peak_memory_bytes(validator_id),
    )


def cpu_used_s(world: World, before: Usage, after: Usage) -> dict[str, float]:
    """Return the CPU time between two readings by kind of process; nodes that ended meanwhile are left out."""
    used = {VALIDATORS: 0.0, QUERY_NODE: 0.0, LOADER: after.loader_cpu_s - before.loader_cpu_s}
    for name in before.cpu_s.keys() & after.cpu_s.keys():
        kind = VALIDATORS if world.network.node(name).role == "validator" else QUERY_NODE
        used[kind] += after.cpu_s[name] - before.cpu_s[name]
    return used


def wire_bytes_between(before: Usage, after: Usage) -> float:
    """Return the bytes of frames that all nodes have sent each other between two readings."""
    names = before.wire_bytes.keys() & after.wire_bytes.keys()
    return sum(after.wire_bytes[name] - before.wire_bytes[name] for name in names)


def cpu_s(process_id: int) -> float:
    """Return the CPU time of a process and its children, user and system: a node with CometBFT is three processes."""
    ticks = 0
    for one in process_family(process_id):
        stat = Path(f"/proc/{one}/stat").read_text("ascii", errors="replace")
        fields = stat.rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime, stime: proc(5)
    return ticks / _TICKS_PER_S


def own_cpu_s() -> float:
    """Return the CPU time of this process and of those of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_memory_bytes(process_id: int) -> int:
    """Return the largest resident memory that a process has had."""
    status = Path(f"/proc/{process_id}/status").read_text("ascii", errors="replace")
    match = re.search(r"^VmHWM:\s*([0-9]+) kB", status, re.MULTILINE | re.ASCII)
    return 0 if match is None else int(match[1]) * 1024


def own_peak_memory_bytes() -> int:
    """Return the largest resident memory that this process has had."""
    return peak_memory_bytes(os.getpid())


def disk_io(process_id: int) -> tuple[int, int]:
    """Return the bytes that a process has had read from disk and written to it; zeros where that is not told."""
    try:
        text = Path(f"/proc/{process_id}/io").read_text("ascii")
    except OSError:
        return 0, 0
    fields = dict(line.split(": ") for line in text.splitlines())
    return int(fields["read_bytes"]), int(fields["write_bytes"])


def data_bytes(home: Path) -> int:
    """Return the size of what a node has stored."""
    return directory_bytes((home / "data", home / "cometbft" / "data"))


def directory_bytes(directories: Iterable[Path]) -> int:
    """Return the size of all files below these directories."""
    total = 0
    for directory in directories:
        for path in directory.rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except FileNotFoundError:  # compaction removes files as we look
                continue
    return total


def metric(text: str, name: str) -> float:
    """Return a metric without labels from Prometheus' text format; 0.0 where it is not there."""
    match = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return 0.0 if match is None else float(match[1])


def _sent_bytes(place: NodePlace) -> float:
    with NodeClient(place.api) as client:
        return metric(client.metrics(), "mulu_peer_bytes_sent")
