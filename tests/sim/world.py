"""A whole network from one seed: machines, links, faults, clients, under virtual time."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

from consensus.tendermint.last_sign import LastSign
from ledger.genesis import Genesis, Parameters
from node.errors import InvalidPeerMessage
from node.messages import Blocks
from tests.ledger.chain import Member, make_genesis, members
from tests.sim.byzantine import Script, script_of
from tests.sim.clients import Clients
from tests.sim.disk import Crash, Disk
from tests.sim.hiding import Hiding
from tests.sim.judge import Judge, Violation
from tests.sim.plan import PARTITIONS, Plan
from tests.sim.process import Process, read_frame
from tests.sim.sharing import remembering_suite, shared_work
from tests.sim.virtual import Deadlock, VirtualLoop, run_now, virtual_time

STANDBY = Member("shanxi", "140000")
"""Becomes a validator in runs with four founders and changes of validators."""


class Host:
    """A machine with its disk and keys; at most one process runs on it at a time."""

    def __init__(self, world: World, member: Member, address: str, script: Script | None) -> None:
        self.world = world
        self.address = address
        self.name = member.name
        self.consensus = member.consensus
        self.log, self.witness = member.log, member.witness
        self.script = script
        self.faulty = member.name in world.faulty_names
        self.fragile = False
        """Whether it may lose its data or its guard's file: with f faulty ones besides, too much would be lost."""
        chain_id = world.genesis.chain_id
        self.disk = Disk(world.random, LastSign(chain_id).encode(), world.injected)
        self.clock_error_ms = 0
        self.height = 0
        self.process: Process | None = None
        self.restarts = 0

    def start(self) -> None:
        if self.process is not None or self.world.stopped:
            return
        self.process = Process(self)

    @property
    def ready(self) -> bool:
        return self.process is not None and self.process.ready

    def started(self) -> None:
        """The process has opened its database."""
        assert self.process is not None
        self.world.judge.started(self, self.process.application.tip.height)
        self.process.ready = True
        self.world.loop.call_soon(self.world.link_everybody)

    def crash(self) -> None:
        """The process is gone, with everything that it had in memory."""
        process, self.process = self.process, None
        if process is None:
            return
        process.kill()
        self.restarts += 1
        self.world.crashed(self)


class World:
    """One run."""

    def __init__(self, seed: int, plan: Plan, loop: VirtualLoop) -> None:
        self.seed, self.plan, self.loop = seed, plan, loop
        self.random = Random(f"run {seed}")
        self.injected: Counter[str] = Counter()
        self.stopped = False
        self.healed = False
        self.causes: list[BaseException] = []
        founders = members(plan.n)
        self.genesis: Genesis = make_genesis(
            founders, suite=remembering_suite(), parameters=Parameters(max_block_bytes=120_000)
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
        self.cut: Callable[[str, str], bool] | None = None
        self._pairs: set[tuple[str, str]] = set()
        self.hiding = Hiding(self) if plan.hidden_votes else None
        self.clients = Clients(self)
        self._ended: asyncio.Event | None = None

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

    # --- faults of machines ----------------------------------------------------------------------

    def dies_here(self, host: Host, where: str) -> bool:
        if self.healed or not self.plan.crash or self.random.random() >= self.plan.crash:
            return False
        self.injected[f"crash {where}"] += 1
        return True

    def crashed(self, host: Host) -> None:
        for other in list(self.by_name):
            self.unlink(host, other)
        if self.stopped:
            return
        if host.fragile and not self.healed:
            self._lose(host)
        outage_s = self.random.randint(10, self.plan.outage_ms) / 1000
        self.loop.call_later(outage_s, host.start)

    def _lose(self, host: Host) -> None:
        if self.random.random() < self.plan.lost_data:
            what, lose = self.random.choice(
                (
                    ("data lost, key kept", host.disk.wipe),
                    ("old backup restored, key kept", host.disk.restore_backup),
                    ("log lost, key kept", host.disk.lose_log),
                )
            )
            self.injected[what] += 1
            lose()
            host.height = 0
        if self.random.random() < self.plan.lost_guard:
            self.injected["last-sign file lost"] += 1
            host.disk.last_sign.content = None

    def locked(self) -> None:
        """A correct node has precommitted a block: the worst moment for power to fail."""
        if self.plan.all_at_once and not self.healed and self.random.random() < 0.03:
            self.loop.call_later(self.random.random() * 0.008, self._power_failure)

    def _power_failure(self) -> None:
        if not self.healed:
            self.injected["power failure of all"] += 1
            for host in self.hosts.values():
                host.crash()

    # --- links -----------------------------------------------------------------------------------

    def send(self, sender: Host, name: str, frame: bytes) -> None:
        """A node sends a frame to all machines of that name, which is one unless it has a twin."""
        frames = (frame,) if sender.script is None else sender.script.outgoing(name, frame)
        for one in frames:
            if self.hiding is None:
                self.transmit(sender, name, one)
            elif self.hiding.isolates(sender.name, name):
                self.injected["frame cut after a lonely decision"] += 1
            else:
                passing = self.hiding.passes(name, one)
                if passing is not None:
                    self.transmit(sender, name, passing)

    def transmit(self, sender: Host, name: str, frame: bytes) -> None:
        """A frame as it is goes on its way."""
        plan, random = self.plan, self.random
        for target in self.by_name[name]:
            if self.cut is not None and self.cut(sender.address, target.address):
                self.injected["frame cut by a partition"] += 1
                continue
            low, high = plan.delay_ms
            delay_ms = low + random.random() * (high - low)
            if not self.healed:
                if plan.loss and random.random() < plan.loss:
                    self.injected["frame lost"] += 1
                    continue
                doubled = plan.duplication and random.random() < plan.duplication
                if doubled and not _is_answer(frame):
                    self.injected["frame duplicated"] += 1
                    again_ms = delay_ms + random.random() * 100
                    self._deliver_later(again_ms, sender, target, frame)
                if plan.late and random.random() < plan.late:
                    self.injected["frame late, out of order"] += 1
                    delay_ms += random.random() * 2_000
            self._deliver_later(delay_ms, sender, target, frame)

    def _deliver_later(self, delay_ms: float, sender: Host, target: Host, frame: bytes) -> None:
        self.loop.call_later(delay_ms / 1000, self._deliver, sender.name, target, frame)

    def _deliver(self, sender: str, target: Host, frame: bytes) -> None:
        process = target.process
        if process is not None:
            self.run_in(process, process.receive(sender, frame))

    def run_in(self, process: Process, coroutine: object) -> None:
        """Run something of a process, under its clock."""
        process.context.copy().run(run_now, self.loop, coroutine, process.failed)  # type: ignore[arg-type]

    def is_cut(self, one: Host, other: Host) -> bool:
        """Whether nothing comes through in either direction, so that the link itself breaks."""
        cut = self.cut
        return (
            cut is not None and cut(one.address, other.address) and cut(other.address, one.address)
        )

    def _all_pairs(self) -> Iterator[tuple[Host, Host]]:
        hosts = list(self.hosts.values())
        for i, one in enumerate(hosts):
            for other in hosts[i + 1 :]:
                if one.name != other.name:
                    yield one, other

    def link_everybody(self) -> None:
        """Make the links that can be, break those that cannot."""
        for one, other in self._all_pairs():
            pair = (one.address, other.address)
            possible = (
                one.ready
                and other.ready
                and not self.is_cut(one, other)
                and not self._banned(one, other)
                and not self._banned(other, one)
            )
            if possible and pair not in self._pairs:
                self._pairs.add(pair)
                self._link_up(one, other)
                self._link_up(other, one)
            elif not possible and pair in self._pairs:
                self._break(one, other)

    def _banned(self, one: Host, other: Host) -> bool:
        if one.process is None:
            return False
        until_s: float = one.process.network.banned_until_s.get(other.name, -1.0)
        return until_s > self.loop.time()

    def _link_up(self, host: Host, other: Host) -> None:
        process = host.process
        if process is not None and other.process is not None:
            height = other.process.network.height
            context = process.context.copy()
            try:
                context.run(process.link_up, other.name, height)
            except BaseException as error:
                process.failed(error)

    def unlink(self, host: Host, name: str) -> None:
        """Break the links between a machine and all of that name."""
        for other in self.by_name[name]:
            self._break(host, other)

    def _break(self, one: Host, other: Host) -> None:
        for pair in ((one.address, other.address), (other.address, one.address)):
            if pair in self._pairs:
                self._pairs.discard(pair)
        for host, gone in ((one, other), (other, one)):
            if host.process is not None and not any(
                (host.address, twin.address) in self._pairs
                or (twin.address, host.address) in self._pairs
                for twin in self.by_name[gone.name]
            ):
                host.process.link_down(gone.name)

    def _repartition(self) -> None:
        if self.healed or not self.plan.partitions:
            return
        shape = self.random.choice(self.plan.partitions)
        order = list(self.hosts)
        self.random.shuffle(order)
        place = {address: i for i, address in enumerate(order)}
        n = len(order)
        born_s = self.loop.time()
        shapes: dict[str, Callable[[str, str], bool] | None] = {
            "none": None,
            "halves": lambda a, b: (place[a] < n // 2) != (place[b] < n // 2),
            "one alone": lambda a, b: (place[a] == 0) != (place[b] == 0),
            "unheard": lambda a, b: place[a] == 0,
            "one way": lambda a, b: place[a] < n // 2 <= place[b],
            "ring": lambda a, b: (place[a] - place[b]) % n not in (1, n - 1),
            "flapping": lambda a, b: (
                (place[a] < n // 2) != (place[b] < n // 2)
                and int((self.loop.time() - born_s) * 4) % 2 == 0
            ),
        }
        assert set(shapes) == set(PARTITIONS)
        if shape != "none":
            self.injected[f"partition: {shape}"] += 1
        self.cut = shapes[shape]
        self.link_everybody()
        if shape == "flapping":
            for tenth in range(1, 12):
                self.loop.call_later(tenth * 0.25, self._flap)
        self.loop.call_later(self.random.randint(300, 4_000) / 1000, self._repartition)

    def _flap(self) -> None:
        if not self.healed:
            self.link_everybody()

    # --- the run ---------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the run: a violation has been found, or all is done."""
        self.stopped = True
        if self._ended is not None:
            self._ended.set()

    async def _until(self, seconds: float, done: Callable[[], bool]) -> bool:
        """Let time pass until `done`, at most so long; tell whether it is."""
        assert self._ended is not None
        end_s = self.loop.time() + seconds
        while not self.stopped and not done():
            if self.loop.time() >= end_s:
                return False
            await asyncio.sleep(0.05)
        return not self.stopped

    async def run(self) -> None:
        """A phase with faults, then healing, then growth within a bound."""
        self._ended = asyncio.Event()
        for host in self.hosts.values():
            host.start()
        clients = self.loop.create_task(self.clients.run())
        if self.plan.all_at_once:
            for _ in range(2):
                at_s = self.random.random() * self.plan.seconds
                self.loop.call_later(at_s, self._power_failure)
        self._repartition()
        if self.hiding is not None:
            self.hiding.begin()
        for host in self.hosts.values():
            if host.script is not None:
                self.loop.call_later(0.1, host.script.acting)
        end_s = self.loop.time() + self.plan.seconds
        while not self.stopped and self.loop.time() < end_s:
            await self._until(0.5, lambda: False)
            self.judge.check_bounds()
        if not self.stopped:
            await self._heal()
        clients.cancel()
        self.stop()

    async def _heal(self) -> None:
        self.healed = True
        self.cut = None
        for host in self.hosts.values():
            host.start()
            if host.process is not None:
                host.process.network.banned_until_s.clear()
        for one, other in self._all_pairs():  # links that went through the faults are made anew
            self._break(one, other)
        await asyncio.sleep(0.01)
        self.link_everybody()
        self.clients.note_healing()
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


def _is_answer(frame: bytes) -> bool:
    """Tell whether it answers a request for blocks; an answer that nobody asked for is taken for a lie."""
    try:
        return isinstance(read_frame(frame), Blocks)
    except InvalidPeerMessage:
        return False


def simulate(seed: int, plan: Plan, arrange: Callable[[World], None] | None = None) -> World:
    """Run one seed to its end.

    Raises:
        Violation: with everything that went wrong.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        with shared_work(), virtual_time() as loop:
            world = World(seed, plan, loop)
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
