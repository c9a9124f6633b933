"""Nodes that die where they are told to, and the scenes in which a node comes to each crash point.

def test_…(crashes: Crashes) -> None:              # a module's four validators, which obey orders
    with crashes.load() as load:
        crashes.crash(VICTIM, "block/unmarked")    # fires, or the test fails
        crashes.come_back()                        # recovers, and votes: without it there is no quorum
    crashes.network.check_running(load)
"""

from __future__ import annotations

import contextlib
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.crash_points import Order, carried_out, number
from tests.faults.network import RECOVERY_S, FaultyNetwork, Load
from tests.node.processes import eventually

VICTIM, PAUSED, CLIENTS = "hebei", "national", ("beijing", "tianjin")

DEATH_S = 60.0
"""Within this a process comes to any point. Generous: the machine may be loaded."""

CALM_S = 0.2
"""Between the transactions of a client: no height waits for the next one."""

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
}
"""Points that a running validator comes to again and again."""

FIRST_START = (
    ("data/directory", 1),
    ("data/after", 1),
    ("store/before", 1),
    ("store/directory", 1),
    ("store/directory", 2),
    ("store/after", 1),
    ("database/directory", 1),
    ("database/after", 1),
    ("marker/before", 1),
    ("marker/unsynced", 1),
    ("marker/directory", 1),
    ("marker/after", 1),
    ("genesis/before", 1),
    ("genesis/unmarked", 1),
    ("genesis/unsynced", 1),
    ("genesis/after", 1),
)
"""Points, with their passings, of a start without any data."""

LATER_START = {
    "block/unmarked": ("behind/before", "behind/unsynced", "behind/after"),
    "wal/after": ("replay/before", "replay/after"),
    "kill -9": (
        "database/directory",
        "database/after",
        "process-id/before",
        "process-id/unsynced",
        "process-id/unrenamed",
        "process-id/directory",
        "process-id/after",
    ),
}
"""Points of the start after a crash: at another point that leads there, or anywhere."""

IDLE = ("checkpoints/recorded", "checkpoints/before", "checkpoints/after")
"""Points that a running validator comes to when the chain falls idle: until then, blocks carry checkpoints along."""

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

    def restore(self) -> None:
        """Withdraw all orders, let everybody run, and wait until all are ready."""
        names = self.network.validators
        for name in names:
            self.order(name).unlink(missing_ok=True)
        self.network.resume(*self.network.running)
        self.start(*(name for name in names if name not in self.network.running))
        self.network.await_ready(*names)

    def load(self) -> contextlib.AbstractContextManager[Load]:
        """Let clients submit all the time, and leave processors to those that start."""
        return self.network.load(*CLIENTS, pause_s=CALM_S)

    def crash(self, name: str, point: str, passing: int = 1) -> None:
        """Let a node die at a point: the running one at once, another one in its next start."""
        order = Order(point, passing)
        order.save(self.order(name))
        if name not in self.network.running:
            self.start(name)
        status = self.network.running[name].wait(DEATH_S)
        del self.network.running[name]
        assert status == -signal.SIGKILL, f"{name} ended with {status}, ordered was {order}"
        self._assert_fired(name, order)

    @contextlib.contextmanager
    def crash_together(self, point: str) -> Iterator[Load]:
        """Let all validators come to a point, and kill them there at once; the load then goes on.

        They get their orders between two heights. In the middle of one, who has signed all that it can sign there would
        wait, rightly, for the votes of those who are held before they have signed.
        """
        names = self.network.validators
        order = Order(point, held=True)
        eventually(self._is_idle, RECOVERY_S)
        for name in names:
            order.save(self.order(name))
        with self.network.load() as load:
            eventually(
                lambda: all(carried_out(self.order(name)).exists() for name in names), DEATH_S
            )
            self._kill_together(order)
            yield load

    def _kill_together(self, order: Order) -> None:
        names = self.network.validators
        self.network.kill(*names)
        for name in names:
            self._assert_fired(name, order)

    def _is_idle(self) -> bool:
        """Tell whether all validators are at one height that has not begun, and nothing waits for it."""
        heights = set()
        for name in self.network.validators:
            with self.network.client(name) as client:
                status = client.network()
            if status.raw["mempool"] or status.engine.step != "unstarted":
                return False
            heights.add(status.height)
        return len(heights) == 1

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
        self.network.check_signatures()
