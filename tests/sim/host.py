"""A machine: its disk and keys, its clock, the process that runs on it, and what goes wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus.tendermint.last_sign import LastSign
from tests.ledger.chain import Member
from tests.sim.disk import Disk
from tests.sim.process import Process
from tests.sim.virtual import Machine, run_now

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from tests.sim.byzantine.liar import Script
    from tests.sim.world import World

STOPS_TO_SEE_S = 0.1
"""Within this a process must have ended after a failed write."""


RARE_POINTS = {"block write": 2, "checkpoint guard write": 3, "checkpoint write": 20}
"""How many times as often as others these points are taken: they are come to so much less."""


class Host(Machine):
    """A machine with its disk and keys; at most one process runs on it at a time."""

    def __init__(self, world: World, member: Member, address: str, script: Script | None) -> None:
        super().__init__()
        self.world = world
        self.address = address
        self.name = member.name
        self.consensus, self.log, self.witness = member.consensus, member.log, member.witness
        self.script = script
        self.faulty = member.name in world.faulty_names
        self.fragile = False
        """Whether it may lose its data or its guard's file: with f faulty ones besides, too much would be lost."""
        chain_id = world.genesis.chain_id
        self.disk = Disk(world.random, LastSign(chain_id).encode(), world.injected)
        self.height = 0
        self.process: Process | None = None
        self._undelivered: list[tuple[str, bytes]] = []

    @property
    def ready(self) -> bool:
        return self.process is not None and self.process.ready

    # --- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        if self.process is not None or self.world.stopped:
            return
        self.process = Process(self)

    def started(self) -> None:
        """The process has opened its database."""
        assert self.process is not None
        self.world.judge.started(self, self.process.application.tip.height)
        self.process.ready = True
        self.world.loop.call_soon(self.world.wires.link_everybody)

    def crash(self) -> None:
        """The process is gone, with everything that it had in memory."""
        process, self.process = self.process, None
        if process is None:
            return
        process.kill()
        self.go_on()
        world = self.world
        for other in list(world.by_name):
            world.wires.unlink(self, other)
        if world.stopped:
            return
        if self.fragile and world.stormy:
            self._lose()
        outage_s = world.random.randint(10, world.plan.outage_ms) / 1000
        world.loop.call_later(outage_s, self.start)

    def _lose(self) -> None:
        world, random = self.world, self.world.random
        if random.random() < world.plan.lost_data:
            what, lose = random.choice(
                (
                    ("data lost, key kept", self.disk.wipe),
                    ("old backup restored, key kept", self.disk.restore_backup),
                    ("log lost, key kept", self.disk.lose_log),
                )
            )
            world.injected[what] += 1
            lose()
            self.height = 0
        if random.random() < world.plan.lost_guard:
            world.injected["last-sign file lost"] += 1
            self.disk.last_sign.content = None

    # --- faults ----------------------------------------------------------------------------------

    def dies_at(self, point: str) -> bool:
        """Tell whether the process is to die at a point of its work."""
        world = self.world
        chance = world.plan.crash * _weight(point)
        if not world.stormy or not chance or world.random.random() >= chance:
            return False
        world.injected[f"crash {point}"] += 1
        return True

    def fails_at(self, point: str) -> bool:
        """Tell whether a write is to fail: before it has begun, or when it may be on disk or not."""
        world = self.world
        chance = world.plan.write_error * _weight(point)
        if not world.stormy or not chance or point.startswith("after") or point == "sending":
            return False
        if world.random.random() >= chance:
            return False
        error = "disk full" if point.startswith("before") else "sync failed"
        world.injected[f"{error}: {point.split(' ', 1)[1]}"] += 1
        world.loop.call_later(STOPS_TO_SEE_S, world.judge.must_have_ended, self, self.process)
        return True

    def pause(self, seconds: float) -> None:
        """Stop the process, as SIGSTOP does; the machine's clock goes on, and so does what comes in."""
        if self.process is not None and not self.paused:
            self.world.injected["process paused"] += 1
            self.world.loop.hold(self)
            self.world.loop.call_later(seconds, self.go_on)

    def go_on(self) -> None:
        """Let a stopped process go on with all that has come in."""
        if not self.paused:
            return
        self.world.loop.release(self)
        undelivered, self._undelivered = self._undelivered, []
        for sender, frame in undelivered:
            self.deliver(sender, frame)

    def shift_clock(self) -> None:
        """Let the wall clock jump, within what correct nodes' clocks may differ by."""
        bound_ms = self.world.plan.clock_error_ms
        self.clock_error_ms = self.world.random.randint(-bound_ms, bound_ms)
        self.world.injected["clock jump"] += 1

    # --- links -----------------------------------------------------------------------------------

    def deliver(self, sender: str, frame: bytes) -> None:
        """A frame has arrived; it waits for a process that is stopped."""
        process = self.process
        if process is None:
            return
        if self.paused:
            self._undelivered.append((sender, frame))
        else:
            self.run(process.receive(sender, frame))

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something in the process."""
        process = self.process
        assert process is not None
        process.context.copy().run(run_now, self.world.loop, coroutine, process.failed)

    def link_up(self, other: Host) -> None:
        process = self.process
        if process is not None and other.process is not None:
            height = other.process.network.height
            try:
                process.context.copy().run(process.link_up, other.name, height)
            except BaseException as error:
                process.failed(error)

    def has_banned(self, other: Host) -> bool:
        if self.process is None:
            return False
        until_s = self.process.network.banned_until_s.get(other.name, -1.0)
        return until_s > self.world.loop.now_s


def _weight(point: str) -> int:
    return RARE_POINTS.get(point.partition(" ")[2], 1)
