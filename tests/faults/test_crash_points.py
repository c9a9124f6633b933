"""A node dies at every numbered point around its writes: it recovers, votes again, and nothing is lost or signed twice.

Each point is met twice: at a later passing, while the node runs under load, and then at the first passing of the start
that follows, so that it dies again while it recovers. Points that only a start passes are met in the start after a
crash, or after damage, that leads there. A node that has come back votes: another one is paused, and three of four are
a quorum only with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.client import NodeClient
from tests.faults.crash_points import POINTS, Order, carried_out, number
from tests.faults.network import RECOVERY_S, FaultyNetwork, faulty_network
from tests.node.processes import eventually

pytestmark = pytest.mark.row("crash at every numbered write point; kill -9 loops on 1…4 nodes")

VICTIM, PAUSED, CLIENTS = "hebei", "national", ("beijing", "tianjin")

DEATH_S = 60.0
"""Within this a process comes to any point. Generous: the machine may be loaded."""

RUNNING = {
    "write-ahead log": ("wal/before", "wal/after"),
    "last sign": (
        "last-sign/before",
        "last-sign/unsynced",
        "last-sign/unrenamed",
        "last-sign/directory",
        "last-sign/after",
        "last-sign/unsent",
    ),
    "block": ("block/before", "block/unmarked", "block/unsynced", "block/after", "block/untold"),
    "checkpoint guard": (
        "checkpoint-guard/before",
        "checkpoint-guard/unsynced",
        "checkpoint-guard/unrenamed",
        "checkpoint-guard/directory",
        "checkpoint-guard/after",
        "checkpoint-guard/unsent",
    ),
    "index": ("index/before", "index/uncommitted", "index/after"),
    "checkpoints": ("checkpoints/recorded", "checkpoints/before", "checkpoints/after"),
}
"""Points that a running validator comes to again and again."""

FIRST_START = (
    "store/before",
    "store/directory",
    "store/after",
    "marker/before",
    "marker/unsynced",
    "marker/directory",
    "marker/after",
    "genesis/before",
    "genesis/unmarked",
    "genesis/unsynced",
    "genesis/after",
)
"""Points of a start without a store."""

LATER_START = {
    "block/unmarked": ("behind/before", "behind/unsynced", "behind/after"),
    "wal/after": ("replay/before", "replay/after"),
    "process-id/before": (
        "process-id/unsynced",
        "process-id/unrenamed",
        "process-id/directory",
        "process-id/after",
        "process-id/before",
    ),
}
"""Points of a start after a crash at another point."""

INDEX_START = (
    "index-tables/before",
    "index-tables/uncommitted",
    "index-tables/after",
    "index-build/before",
    "index-build/uncommitted",
    "index-build/after",
)
"""Points of a start without an index."""

RECOVERY = (
    ("recover/before", 1),
    ("recover/copied", 1),
    ("recover/after", 1),
    ("verify/replaying", 1),
    ("verify/replaying", 3),
    ("verify/after", 1),
)
"""Points, with their passings, of a start whose database lacks its manifest."""

SETTING_ASIDE = (
    ("aside/before", 1),
    ("aside/unrenamed", 1),
    ("aside/unrenamed", 2),
    ("aside/directory", 1),
    ("aside/after", 1),
)
"""Points, with their passings, of a start whose head marker is cut short."""

TOGETHER = (*RUNNING["write-ahead log"], *RUNNING["last sign"], *RUNNING["block"])
"""Points at which all validators die at once."""

SELECTION = (
    "wal/after",
    "last-sign/directory",
    "block/unmarked",
    "block/unsynced",
    "checkpoint-guard/unrenamed",
)
"""Points that `make test` tries, too."""


@dataclass(frozen=True, slots=True)
class Crashes:
    """Lets nodes of a network die at points, and counts that."""

    network: FaultyNetwork
    injected: Counter[str]

    def order(self, name: str) -> Path:
        """Return where a node looks for its order."""
        return self.network.network.directory / f"{name}.order"

    def start(self, *names: str) -> None:
        for name in names:
            self.network.start(name, environment={"CRASH_ORDER": str(self.order(name))})

    def crash(self, name: str, point: str, passing: int = 1) -> None:
        """Let a node die at a point: the running one at once, another one in its next start."""
        order = Order(point, passing)
        order.save(self.order(name))
        if name not in self.network.running:
            self.start(name)
        status = self.network.running.pop(name).wait(DEATH_S)
        assert status == -signal.SIGKILL, f"{name} ended with {status}, ordered was {order}"
        self._assert_fired(name, order)

    def crash_together(self, point: str) -> None:
        """Let all validators come to a point, and kill them there at once."""
        names = self.network.validators
        order = Order(point, held=True)
        for name in names:
            order.save(self.order(name))
        eventually(lambda: all(carried_out(self.order(name)).exists() for name in names), DEATH_S)
        self.network.kill(*names)
        for name in names:
            self._assert_fired(name, order)

    def _assert_fired(self, name: str, order: Order) -> None:
        assert Order.load(carried_out(self.order(name))) == order
        self.injected[f"crash at {number(order.point)} {order.point}"] += 1

    def come_back(self, name: str = VICTIM) -> None:
        """Start a node; it recovers, and votes: without it there is no quorum."""
        self.start(name)
        self.network.await_ready(name)
        self.network.pause(PAUSED)
        try:
            # What was under way may still be decided by the paused one's votes; what follows may not.
            height = self.network.height(CLIENTS[0]) + 3
            eventually(lambda: self.network.height(name) >= height, RECOVERY_S)
        finally:
            self.network.resume(PAUSED)


@pytest.fixture
def crashes(tmp_path: Path, injected: Counter[str]) -> Iterator[Crashes]:
    """Four validators that obey orders, running and ready."""
    with faulty_network(tmp_path, started=False) as network:
        started = Crashes(network, injected)
        started.start(*network.validators)
        network.await_ready(*network.validators)
        yield started


def test_every_point_is_tried() -> None:
    tried = {point for points in RUNNING.values() for point in points}
    tried.update(FIRST_START, INDEX_START)
    tried.update(point for points in LATER_START.values() for point in points)
    tried.update(point for point, _ in (*RECOVERY, *SETTING_ASIDE))
    assert tried == set(POINTS)


def test_a_validator_that_dies_within_a_write_comes_back_and_votes(crashes: Crashes) -> None:
    with crashes.network.load(*CLIENTS) as load:
        for point in SELECTION:
            crashes.crash(VICTIM, point)
        crashes.come_back()
    crashes.network.check(load)


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("written", RUNNING)
def test_a_validator_dies_at_each_point_twice_and_votes_again(
    crashes: Crashes, written: str
) -> None:
    with crashes.network.load(*CLIENTS) as load:
        for point in RUNNING[written]:
            crashes.crash(VICTIM, point, passing=3)
            crashes.crash(VICTIM, point)  # while it recovers
            crashes.come_back()
    crashes.network.check(load)


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("before", LATER_START)
def test_a_validator_dies_again_at_each_point_of_the_start_that_follows(
    crashes: Crashes, before: str
) -> None:
    with crashes.network.load(*CLIENTS) as load:
        for point in LATER_START[before]:
            if before in RUNNING["block"] + RUNNING["write-ahead log"]:
                crashes.crash(VICTIM, before)
            else:
                crashes.network.kill(VICTIM)
            crashes.crash(VICTIM, point)
            crashes.come_back()
    crashes.network.check(load)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_node_that_dies_at_each_point_of_its_first_start_begins_once_more(
    tmp_path: Path, injected: Counter[str]
) -> None:
    with faulty_network(tmp_path, started=False) as network:
        crashes = Crashes(network, injected)
        others = [name for name in network.validators if name != VICTIM]
        crashes.start(*others)
        network.await_ready(*others)
        with network.load(*CLIENTS) as load:
            for point in FIRST_START:
                assert not (network.home(VICTIM) / "data" / "ledger").exists()
                crashes.crash(VICTIM, point)
                crashes.start(VICTIM)
                network.await_ready(VICTIM)
                if point != FIRST_START[-1]:
                    network.kill(VICTIM)
                    shutil.rmtree(network.home(VICTIM) / "data" / "ledger")
            network.kill(VICTIM)
            crashes.come_back()
        network.check(load)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_node_that_dies_at_each_point_of_building_its_index_builds_it_again(
    crashes: Crashes,
) -> None:
    network = crashes.network
    with network.load(*CLIENTS) as load:
        for point in INDEX_START:
            network.kill(VICTIM)
            for path in (network.home(VICTIM) / "data").glob("index.sqlite*"):
                path.unlink()
            crashes.crash(VICTIM, point)
            crashes.start(VICTIM)
            network.await_ready(VICTIM)
        crashes.crash(VICTIM, INDEX_START[-1])
        crashes.come_back()
    published = load.acknowledged[-1].transaction
    assert published.operations[0].type == "directory.instrument.publish"
    identifier = str(published.operations[0].body["id"])
    with network.client(VICTIM) as client:
        eventually(lambda: finds(client, identifier))
    network.check(load)


def finds(client: NodeClient, identifier: str) -> bool:
    """Tell whether a node's search finds an instrument."""
    page = client.directory("instrument", prefix=identifier)
    return [item["id"] for item in page.items] == [identifier]


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("damaged", "points"),
    [("MANIFEST-*", RECOVERY), ("../head", SETTING_ASIDE)],
    ids=["database", "head marker"],
)
def test_a_node_that_dies_at_each_point_of_saving_a_damaged_store_saves_it_in_the_next_start(
    crashes: Crashes, damaged: str, points: tuple[tuple[str, int], ...]
) -> None:
    network = crashes.network
    database = network.home(VICTIM) / "data" / "ledger" / "db"
    with network.load(*CLIENTS) as load:
        for point, passing in points:
            network.kill(VICTIM)
            [path] = database.glob(damaged)
            os.truncate(path, 20)
            crashes.crash(VICTIM, point, passing)
            crashes.come_back()
            assert not list(database.parent.parent.glob("fsck-*")), "a copy was left behind"
    network.check(load)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_all_validators_that_die_at_one_point_at_once_go_on_by_themselves(
    crashes: Crashes,
) -> None:
    network = crashes.network
    with network.load() as load:
        for point in TOGETHER:
            crashes.crash_together(point)
            crashes.start(*network.validators)
            network.await_ready(*network.validators)
            seen = len(load.acknowledged)
            eventually(lambda seen=seen: len(load.acknowledged) > seen + 5, RECOVERY_S)  # type: ignore[misc]
    network.check(load)
