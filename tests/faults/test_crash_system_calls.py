"""What a node syncs and renames, seen from outside: all of it has crash points, and LevelDB's own steps are killed at.

`strace` sees what Python does not: the system calls of LevelDB and SQLite. It stays out of the way (`-D`): the node is
the process that the network has started.
"""

from __future__ import annotations

import itertools
import re
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.crashes import CLIENTS, DEATH_S, VICTIM, Crashes
from tests.faults.network import FaultyNetwork
from tests.node.processes import eventually

pytestmark = [
    pytest.mark.row("crash at every numbered write point; kill -9 loops on 1…4 nodes"),
    pytest.mark.faults,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

CALLS = "fsync,fdatasync,msync,sync_file_range,rename,renameat,renameat2"

WRITTEN = {
    "last-sign": r"keys/last-sign(\.new)?",
    "checkpoint-guard": r"keys/(checkpoint-guard|\.checkpoint-guard-\w+)",
    "directory of keys": r"keys",
    "process-id": r"(node\.pid|\.node\.pid-\w+)?",
    "head marker": r"data/ledger/head",
    "store": r"data/ledger",
    "LevelDB": r"data/ledger/db(/[\w.-]+)?",
    "SQLite": r"data/index\.sqlite(-\w+)?",
    "directory of data": r"data",
}
"""Every path in a node's home that a node syncs or renames; each has its points in `crash_points`."""


def traced(output: Path, *options: str) -> list[str]:
    """Return the command that runs a node under strace."""
    strace = shutil.which("strace")
    assert strace is not None
    return [strace, "-D", "-y", "-qq", "-e", f"trace={CALLS}", "-o", str(output), *options]


def paths_in(network: FaultyNetwork, output: Path) -> list[str]:
    """Return the paths of all traced calls, relative to the victim's home."""
    home = re.escape(str(network.home(VICTIM).resolve()))
    calls = re.findall(rf'[a-z0-9_]+\([^"<]*["<]{home}/?([^">]*)[">]', output.read_text("utf-8"))
    return list(calls)


def test_all_that_a_node_syncs_or_renames_has_crash_points(
    crashes: Crashes, tmp_path: Path, injected: Counter[str]
) -> None:
    network, output = crashes.network, tmp_path / "calls"
    network.kill(VICTIM)
    injected["kill -9"] += 1
    shutil.rmtree(network.home(VICTIM) / "data")
    network.start(VICTIM, under=traced(output, "-f"))
    with network.load(*CLIENTS, VICTIM) as load:
        network.await_ready(VICTIM)
        load.await_progress(10)
    network.check_running(load)
    found = {
        path: [name for name, pattern in WRITTEN.items() if re.fullmatch(pattern, path)]
        for path in paths_in(network, output)
    }
    assert [path for path, names in found.items() if not names] == []
    assert {name for names in found.values() for name in names} == set(WRITTEN)


STEPS = {
    "first": {"fdatasync dbtmp", "fdatasync MANIFEST", "rename dbtmp", "fdatasync log"},
    "later": {"fdatasync ldb", "fdatasync MANIFEST", "fdatasync dbtmp", "rename dbtmp"},
}
"""What LevelDB must at least do to open: a first start ends with its first batch, a later one makes the log a table."""


@pytest.mark.parametrize("start", STEPS)
def test_a_node_that_dies_between_any_two_steps_of_opening_leveldb_opens_it_again(
    crashes: Crashes, tmp_path: Path, injected: Counter[str], start: str
) -> None:
    network, output = crashes.network, tmp_path / "calls"
    ledger = network.home(VICTIM) / "data" / "ledger"
    network.kill(VICTIM)
    with crashes.load() as load:
        for call in ("fdatasync", "rename"):
            for count in itertools.count(1):
                if start == "first":
                    shutil.rmtree(ledger, ignore_errors=True)
                path = die_before(network, output, call, count)
                if path is None or not re.fullmatch(WRITTEN["LevelDB"], path):
                    break  # LevelDB is open: what follows is Python's
                kind = re.sub(r".*/|[\d.-]+", "", path)
                injected[f"crash before LevelDB's {call} {kind}"] += 1
                crashes.start(VICTIM)
                network.await_ready(VICTIM)
                network.kill(VICTIM)
        crashes.come_back()
    assert {f"crash before LevelDB's {step}" for step in STEPS[start]} <= set(injected)
    network.check_running(load)


def die_before(network: FaultyNetwork, output: Path, call: str, count: int) -> str | None:
    """Start the victim; its main thread dies before the `count`-th such call.

    Return the path of that call; None where there are no more, and the node has become ready.
    """
    inject = ("-e", f"inject={call}:signal=KILL:when={count}")
    # Python's own renames, of compiled modules, are none of ours.
    environment = {"PYTHONDONTWRITEBYTECODE": "1"}
    network.start(VICTIM, under=traced(output, *inject), environment=environment)
    process = network.running[VICTIM]
    with network.client(VICTIM) as client:
        eventually(lambda: process.poll() is not None or client.ready()[0], DEATH_S)
    if process.poll() is None:
        network.kill(VICTIM)
        return None
    del network.running[VICTIM]
    assert process.returncode == -signal.SIGKILL
    return paths_in(network, output)[-1]
