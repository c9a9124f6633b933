"""A whole network from one seed: machines, links, faults, clients, under virtual time.

Faults come in storms, with calm between them: each storm meets a network at full pace, and recovery happens several
times in a run. In the end everything is mended, and must recover for good.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random

from ledger.genesis import Genesis, Parameters
from ledger.suite import Suite
from ledger.votes import Vote
from tests.ledger.chain import Member, make_genesis, members
from tests.sim.byzantine.catalogue import script_of
from tests.sim.clients import Clients
from tests.sim.disk import Crash
from tests.sim.hiding import Hiding
from tests.sim.host import Host
from tests.sim.judge import Judge, Violation
from tests.sim.plan import Plan
from tests.sim.sharing import shared_work
from tests.sim.virtual import Deadlock, VirtualLoop, virtual_time
from tests.sim.wires import Wires

STANDBY = Member("shanxi", "140000")
"""Becomes a validator in runs with four founders and changes of validators."""


class World:
    """One run."""

    def __init__(self, seed: int, plan: Plan, loop: VirtualLoop, suite: Suite) -> None:
        self.seed, self.plan, self.loop = seed, plan, loop
        self.random = Random(f"run {seed}")
        self.injected: Counter[str] = Counter()
        self.stopped = False
        self.stormy = True
        self._precommits: dict[tuple[int, int], list[bool]] = {}
        self.causes: list[BaseException] = []
        founders = members(plan.n)
        self.genesis: Genesis = make_genesis(
            founders, suite=suite, parameters=Parameters(max_block_bytes=120_000)
        )
        faulty = self.random.sample(founders, len(plan.scripts))
        self.faulty_names = {member.name for member in faulty}
        self.judge = Judge(self)
        self.hosts: dict[str, Host] = {}
        self.by_name: dict[str, list[Host]] = {}
        scripts = dict(zip((member.name for member in faulty), plan.scripts, strict=True))
        for member in founders:
            kind = scripts.get(member.name)
            self._add(member, member.name, kind)
            if kind == "twins":
                self._add(member, member.name + "'", kind)
        self.standby: Host | None = None
        if plan.validator_changes and plan.n == 4:
            self.standby = self._add(STANDBY, STANDBY.name, None)
        self._choose_fragile()
        for host in self.hosts.values():
            host.clock_error_ms = self.random.randint(-plan.clock_error_ms, plan.clock_error_ms)
            if host.script is not None:
                host.script.prepare()
        self.wires = Wires(self)
        self.hiding = Hiding(self) if plan.hidden_votes else None
        self.clients = Clients(self)

    def _add(self, member: Member, address: str, kind: str | None) -> Host:
        script = None if kind is None else script_of(kind, self)
        host = Host(self, member, address, script)
        if script is not None:
            script.host = host
        self.hosts[address] = host
        self.by_name.setdefault(member.name, []).append(host)
        return host

    def _choose_fragile(self) -> None:
        spare = self.plan.faults_tolerated - len(self.faulty_names)
        if spare > 0 and (self.plan.lost_data or self.plan.lost_guard):
            for host in self.random.sample(self.correct, spare):
                host.fragile = True

    @property
    def correct(self) -> list[Host]:
        return [host for host in self.hosts.values() if not host.faulty]

    # --- faults of all machines ------------------------------------------------------------------

    def precommitted(self, vote: Vote) -> None:
        """A correct node has precommitted. Power may fail at the worst moments.

        Those are: the first have locked a block; or more than f have locked one and more than f have given up the
        round, so that only a proposal of that block in a later round goes on.
        """
        if not self.plan.all_at_once or not self.stormy:
            return
        locked = self._precommits.setdefault((vote.height, vote.round), [])
        locked.append(vote.block_id is not None)
        if vote.block_id is not None and self.random.random() < 0.03:
            self.loop.call_later(self.random.random() * 0.008, self._power_failure)
        if min(locked.count(True), locked.count(False)) > self.plan.faults_tolerated:
            self.injected["power failure after a split round"] += 1
            self.loop.call_later(self.random.random() * 0.5, self._power_failure)

    def _power_failure(self) -> None:
        if self.stormy:
            self.injected["power failure of all"] += 1
            for host in self.hosts.values():
                host.crash()

    def _pause_somebody(self) -> None:
        if self.stormy:
            host = self.random.choice(list(self.hosts.values()))
            host.pause(self.random.random() * self.plan.pause_s)
        self.loop.call_later(self.random.random() * 2, self._pause_somebody)

    def _shift_a_clock(self) -> None:
        if self.stormy:
            self.random.choice(self.correct).shift_clock()
        self.loop.call_later(self.random.random() * 3, self._shift_a_clock)

    # --- the run ---------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the run: a violation has been found, or all is done."""
        self.stopped = True

    async def _until(self, seconds: float, done: Callable[[], bool]) -> bool:
        """Let time pass until `done`, at most so long; tell whether it is."""
        end_s = self.loop.now_s + seconds
        while not self.stopped and not done():
            if self.loop.now_s >= end_s:
                return False
            await asyncio.sleep(0.05)
        return not self.stopped

    async def run(self) -> None:
        """Storms, then healing, then growth within a bound."""
        for host in self.hosts.values():
            host.start()
        clients = self.loop.create_task(self.clients.run())
        self._begin_faults()
        end_s = self.loop.now_s + self.plan.seconds
        while not self.stopped and self.loop.now_s < end_s:
            await asyncio.sleep(0.5)
            self.judge.check_bounds()
        if not self.stopped:
            await self._heal()
        clients.cancel()
        self.stop()

    def _begin_faults(self) -> None:
        plan = self.plan
        if plan.all_at_once:
            for _ in range(2):
                self.loop.call_later(self.random.random() * plan.seconds, self._power_failure)
        if plan.pause_s:
            self._pause_somebody()
        if plan.clock_jumps:
            self._shift_a_clock()
        self._storm()
        if self.hiding is not None:
            self.hiding.begin()
        for host in self.hosts.values():
            if host.script is not None:
                self.loop.call_later(0.1, host.script.acting)

    def _storm(self) -> None:
        if not self.stopped and not self.clients.heals:
            self.stormy = True
            self.wires.partition()
            if self.plan.calm_s:
                self.loop.call_later(0.5 + self.random.random() * 2.5, self._calm)

    def _calm(self) -> None:
        if not self.stopped and not self.clients.heals:
            self.stormy = False
            self.wires.mend()
            self.loop.call_later(self.plan.calm_s, self._storm)

    async def _heal(self) -> None:
        self.stormy = False
        self.clients.note_healing()
        for host in self.hosts.values():
            host.go_on()
            host.start()
            if host.process is not None:
                host.process.network.banned_until_s.clear()
        self.wires.mend()
        await asyncio.sleep(0.02)
        target = self.judge.height + 3
        done = partial(self._has_recovered, target)
        bound_s = 60 + 4 * self.plan.seconds
        if not await self._until(bound_s, done) and not self.stopped:
            heights = {host.address: host.height for host in self.correct}
            self.judge.violation(
                f"liveness: {bound_s} s after healing at {heights}, wanted {target} everywhere and "
                f"{len(self.clients.missing())} more transactions committed"
            )
        self.judge.check_bounds()

    def _has_recovered(self, target: int) -> bool:
        if any(host.height < target for host in self.correct) or self.clients.missing():
            return False
        return not self.plan.checkpoints or all(
            self.judge.proven_height(host) >= target - 1 for host in self.correct
        )


def simulate(seed: int, plan: Plan, arrange: Callable[[World], None] | None = None) -> World:
    """Run one seed to its end.

    Raises:
        Violation: with everything that went wrong.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        with shared_work() as suite, virtual_time() as loop:
            world = World(seed, plan, loop, suite)
            if arrange is not None:
                arrange(world)
            loop.set_exception_handler(partial(_unhandled, world))
            try:
                loop.run_until_complete(world.run())
            except Deadlock:
                world.judge.violation("nothing is going on any more")
            _finish(loop, world)
    finally:
        if collecting:
            gc.enable()
    if world.judge.found:
        cause = world.causes[0] if world.causes else None
        raise Violation("; ".join(world.judge.found)) from cause
    return world


def _unhandled(world: World, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """A callback or task has raised what nobody takes: a crash on purpose, or a violation."""
    error = context.get("exception")
    if isinstance(error, BaseException) and not isinstance(error, Crash):
        world.causes.append(error)
        world.judge.violation(f"{context.get('message')}: {error!r}")


def _finish(loop: VirtualLoop, world: World) -> None:
    for host in world.hosts.values():
        host.crash()
    for _ in range(3):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=0.001))
