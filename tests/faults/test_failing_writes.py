"""Writes and syncs that fail: a full disk, a limit on the size of files, I/O errors.

The node stops voting and ends, with a plain error in its log: after a failed sync nothing is known about the disk, so
nothing is synced again by the same process. Nothing half-written counts, the others go on, and once the fault is
healed the node comes back by itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import plyvel
import pytest

from tests.faults.damage import newest
from tests.faults.network import FaultyNetwork, Load, faulty_network
from tests.node.processes import eventually

VICTIM = "hebei"

pytestmark = pytest.mark.row("disk full, EFBIG; fsync error")

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None or shutil.which("setpriv") is None,
    reason="strace or setpriv is not installed",
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

ENDED_S: Final = 60.0
"""A node that cannot write ends within this; some blocks come first, and the machine may be loaded."""

FULL_DISK_BYTES: Final = 24 * 1024 * 1024


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyNetwork]:
    """Four validators."""
    with faulty_network(tmp_path_factory.mktemp("writes")) as started:
        yield started


@contextlib.contextmanager
def victim_stopped(network: FaultyNetwork) -> Iterator[Load]:
    """Stop the victim, with clients at it and at another one; afterwards, once healed, it comes back by itself."""
    if VICTIM in network.running:
        assert network.stop(VICTIM) == 0
    log_of(network).write_bytes(b"")
    with network.load(VICTIM, "beijing") as load:
        yield load
        network.start(VICTIM)
        network.await_ready(VICTIM)


def await_end(network: FaultyNetwork, load: Load, reason: str) -> None:
    """Wait until the victim has ended because of `reason`, and see that the others go on."""
    assert network.running[VICTIM].wait(ENDED_S) == 1
    del network.running[VICTIM]
    lines = log_of(network).read_text("utf-8").splitlines()
    assert any(reason in line and '"level": "critical"' in line for line in lines), lines[-5:]
    seen, unknown = len(load.acknowledged), load.unknown
    eventually(lambda: len(load.acknowledged) > seen + 5 and load.unknown > unknown, 60.0)


def log_of(network: FaultyNetwork) -> Path:
    return network.home(VICTIM) / "node.log"


# --- system calls that fail -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Failure:
    """The `nth` call of that name on a file fails."""

    call: str
    error: str
    file: str
    nth: int

    def __str__(self) -> str:
        return f"{self.error} on {self.call} of {self.file}"


LOG = "LevelDB's log"
HEAD = "data/ledger/head"
LAST_SIGN = "keys/last-sign.new"
KEYS = "keys"

FAILURES = (
    Failure("fdatasync", "EIO", LOG, 9),
    Failure("fsync", "EIO", LAST_SIGN, 5),
    Failure("fdatasync", "EIO", HEAD, 3),
    Failure("fsync", "EIO", KEYS, 6),
    Failure("write", "ENOSPC", LOG, 9),
    Failure("write", "ENOSPC", LAST_SIGN, 5),
    Failure("pwrite64", "ENOSPC", HEAD, 3),
    Failure("rename", "EIO", LAST_SIGN, 5),
)


def path_of(home: Path, file: str) -> Path:
    """Return the path of a file that a node is going to write."""
    if file != LOG:
        return home / file
    # LevelDB begins a new log when it opens: a copy tells its number.
    copy = home / "copy"
    shutil.copytree(home / "data" / "ledger" / "db", copy)
    try:
        plyvel.DB(str(copy)).close()
        return home / "data" / "ledger" / "db" / newest(copy, "*.log").name
    finally:
        shutil.rmtree(copy)


def strace(failure: Failure, path: Path, output: Path) -> Sequence[str]:
    """Return the command that lets a call fail, and writes down all calls and syncs of that file."""
    return (
        *("strace", "-f", "--seccomp-bpf", "-qq", "-o", str(output), "-P", str(path)),
        *("-e", f"trace=fsync,fdatasync,{failure.call}"),
        *("-e", f"inject={failure.call}:error={failure.error}:when={failure.nth}"),
        *("setpriv", "--pdeathsig", "KILL"),  # a strace that is killed leaves its child running
    )


@needs_strace
@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(one, id=str(one), marks=[pytest.mark.faults] * (number > 0))
        for number, one in enumerate(FAILURES)
    ],
)
def test_a_node_whose_write_or_sync_fails_ends_and_syncs_nothing_again(
    network: FaultyNetwork,
    injected: Counter[str],
    tmp_path: Path,
    failure: Failure,
) -> None:
    output = tmp_path / "strace"
    with victim_stopped(network) as load:
        path = path_of(network.home(VICTIM), failure.file)
        network.start(VICTIM, under=strace(failure, path, output))
        await_end(network, load, os.strerror(getattr(errno, failure.error)))
        calls = output.read_text("utf-8").splitlines()
        [place] = [number for number, line in enumerate(calls) if "(INJECTED)" in line]
        injected[str(failure)] += 1
        syncs = [line for line in calls[place + 1 :] if re.search(r"\bf(data)?sync\(", line)]
        assert syncs == [], "synced again after a failure"


@pytest.mark.faults
def test_a_node_whose_files_may_not_grow_ends_and_comes_back(
    network: FaultyNetwork, injected: Counter[str]
) -> None:
    with victim_stopped(network) as load:
        data = network.home(VICTIM) / "data"
        sizes = [path.stat().st_size for path in data.rglob("*") if path.is_file()]
        limit = (
            max(sizes) + 100_000
        )  # what is there can be written again: LevelDB makes tables of logs
        network.start(VICTIM, under=("prlimit", f"--fsize={limit}"))
        await_end(network, load, os.strerror(errno.EFBIG))
        injected["EFBIG"] += 1


# --- disks that are full --------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """Move a directory to a small disk of its own, and back again."""
    kept = directory.with_name(f"{directory.name}.kept")
    directory.rename(kept)
    directory.mkdir(mode=0o700)
    options = f"size={FULL_DISK_BYTES},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], check=True)
    shutil.copytree(kept, directory, dirs_exist_ok=True)
    shutil.rmtree(kept)
    try:
        yield
    finally:
        shutil.copytree(directory, kept)
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
        directory.rmdir()
        kept.rename(directory)


def fill(directory: Path) -> Path:
    """Fill a disk to the brim; return the file that does it."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for _ in range(FULL_DISK_BYTES):
            file.write(bytes(4096))
    assert shutil.disk_usage(directory).free == 0
    return filler


@needs_root
@pytest.mark.faults
@pytest.mark.parametrize("name", ["data", "keys"])
def test_a_node_whose_disk_is_full_ends_and_comes_back_once_there_is_room(
    network: FaultyNetwork, injected: Counter[str], name: str
) -> None:
    if VICTIM in network.running:
        assert network.stop(VICTIM) == 0
    directory = network.home(VICTIM) / name
    with small_disk(directory):
        with victim_stopped(network) as load:
            network.start(VICTIM)
            network.await_ready(VICTIM)
            filler = fill(directory)
            await_end(network, load, "No space left on device")
            injected[f"{name}/ full"] += 1
            # While the disk is full it ends at each start, says why, and takes nothing for damaged.
            log_of(network).write_bytes(b"")
            network.start(VICTIM)
            assert network.running.pop(VICTIM).wait(ENDED_S) == 1
            injected[f"start with {name}/ full"] += 1
            last = log_of(network).read_text("utf-8").splitlines()[-1]
            assert "No space left on device" in last, last
            filler.unlink()
        assert not list((network.home(VICTIM) / "data" / "ledger").glob("damaged-*"))
        assert network.stop(VICTIM) == 0
    network.start(VICTIM)
    network.await_ready(VICTIM)


def test_after_all_failed_writes_every_invariant_holds(
    network: FaultyNetwork, injected: Counter[str]
) -> None:
    if VICTIM not in network.running:
        network.start(VICTIM)
        network.await_ready(VICTIM)
    network.kill(VICTIM)
    injected["kill -9"] += 1
    network.start(VICTIM)
    network.await_ready(VICTIM)
    network.check(*network.loads)
