"""Power loss: what was not synced is gone or torn. Nothing acknowledged is lost, and no key signs twice.

Data and keys of each node lie on a disk of their own that loses unsynced bytes; `losing_disk` says by which rules.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from ledger.database import Batch, Head
from ledger.files import sync_directory
from ledger.history import History
from ledger.store import Store
from ledger.suite import SHA256_ED25519 as SUITE
from tests.faults.mounted_disk import MountedDisk, missing, mounted_disk
from tests.faults.network import FaultyNetwork, check_receipts, faulty_network

_MISSING = missing()

pytestmark = [
    pytest.mark.row("power loss (unsynced bytes gone)"),
    pytest.mark.skipif(_MISSING is not None, reason=f"no FUSE: {_MISSING}"),
]

MANY = 15
"""Acknowledgements between two cuts: some blocks, so that files have grown and names have changed."""


@contextlib.contextmanager
def network_on_losing_disks(
    directory: Path, *, ignore_syncs: bool = False
) -> Iterator[tuple[FaultyNetwork, Mapping[str, MountedDisk]]]:
    """Start four validators, data and keys of each on a disk that loses what is not synced."""
    with contextlib.ExitStack() as mounts, faulty_network(directory, started=False) as network:
        disks = {
            name: mounts.enter_context(_disk_below(network.home(name), ignore_syncs))
            for name in network.validators
        }
        network.start(*disks)
        network.await_ready(*disks)
        yield network, disks


@contextlib.contextmanager
def _disk_below(home: Path, ignore_syncs: bool) -> Iterator[MountedDisk]:
    """Move data and keys of a stopped node to a losing disk; its log and configuration stay where they are."""
    backing, mountpoint = home / "disk", home / "mounted"
    backing.mkdir()
    mountpoint.mkdir()
    for name in ("data", "keys"):
        (home / name).rename(backing / name)
        (home / name).symlink_to(mountpoint / name)
    with mounted_disk(backing, mountpoint, ignore_syncs=ignore_syncs) as disk:
        yield disk


def cut_power(
    network: FaultyNetwork, disks: Mapping[str, MountedDisk], names: Sequence[str], seed: int | None
) -> None:
    """End nodes at once, lose what they had not synced, and start them again."""
    network.kill(*names)
    for number, name in enumerate(names):
        disks[name].cut_power(None if seed is None else seed * 10 + number)
    network.start(*names)
    network.await_ready(*names)


@pytest.fixture(scope="module")
def losing(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[FaultyNetwork, Mapping[str, MountedDisk]]]:
    """Four validators and their disks, which the tests here share; their stores are checked after the last."""
    with network_on_losing_disks(tmp_path_factory.mktemp("losing")) as (network, disks):
        yield network, disks
        network.restore()
        network.check(*network.loads)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[MountedDisk]:
    """An empty losing disk."""
    for name in ("backing", "disk"):
        (tmp_path / name).mkdir()
    with mounted_disk(tmp_path / "backing", tmp_path / "disk") as mounted:
        yield mounted


def test_a_store_has_its_first_write_after_power_loss_on_a_disk_that_keeps_no_order_of_names(
    disk: MountedDisk, injected: Counter[str]
) -> None:
    directory = disk.mountpoint / "data" / "ledger"
    directory.parent.mkdir()
    sync_directory(disk.mountpoint)
    for height in range(1, 4):
        store = Store.open(directory)
        store.write(Batch(), Head(height, bytes(32)))
        store.close()
        disk.cut_power()
        injected["power lost, unsynced bytes gone"] += 1
        store = Store.open(directory)
        assert store.head() == Head(height, bytes(32))
        store.close()


@pytest.mark.faults
def test_a_node_that_loses_power_under_load_is_not_missed_and_comes_back(
    losing: tuple[FaultyNetwork, Mapping[str, MountedDisk]], injected: Counter[str]
) -> None:
    network, disks = losing
    network.restore()
    with network.load() as load:
        for seed in (None, 1):
            load.await_progress(MANY)
            cut_power(network, disks, ["tianjin"], seed)
            injected["power lost, unsynced bytes " + ("gone" if seed is None else "torn")] += 1
        load.await_progress(MANY)
    network.check_running(load)


@pytest.mark.timeout(480)  # twenty starts, on a machine that may be loaded
@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param([None, 2], id="2"),
        pytest.param([None, 3, 4, 5, 6], id="5", marks=pytest.mark.faults),
    ],
)
def test_all_nodes_that_lose_power_at_once_again_and_again_resume_by_themselves(
    losing: tuple[FaultyNetwork, Mapping[str, MountedDisk]],
    injected: Counter[str],
    seeds: Sequence[int | None],
) -> None:
    network, disks = losing
    network.restore()
    with network.load() as load:
        for seed in seeds:
            load.await_progress(MANY)
            cut_power(network, disks, list(disks), seed)
            injected["power lost on all, " + ("gone" if seed is None else "torn")] += 1
        load.await_progress(MANY)
    network.check_running(load)


@pytest.mark.faults
def test_power_loss_is_found_out_when_nothing_is_synced(
    tmp_path: Path, injected: Counter[str]
) -> None:
    """The planted bug: a disk that ignores fsync. The same check must fail."""
    with network_on_losing_disks(tmp_path, ignore_syncs=True) as (network, disks):
        with network.load() as load:
            load.await_progress(MANY)
        network.kill(*disks)
        for name, disk in disks.items():
            disk.cut_power()
            injected["power lost, fsync ignored"] += 1
            store = Store.open(network.home(name) / "data" / "ledger")
            try:
                with pytest.raises(AssertionError, match="lacks an acknowledged transaction"):
                    check_receipts(name, History(store, SUITE), load.acknowledged)
            finally:
                store.close()
