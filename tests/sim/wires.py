"""The network between machines: frames on their way, links that come up and break, partitions.

A frame is lost, doubled, late or out of order as the plan says; a link that nothing passes breaks. Bandwidth is that of
each direction of a link: what is sent waits for what was sent before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from node.errors import InvalidPeerMessage
from node.messages import Blocks
from tests.sim.plan import CALM_DELAY_MS, PARTITIONS
from tests.sim.sharing import read_frame

if TYPE_CHECKING:
    import asyncio

    from tests.sim.host import Host
    from tests.sim.world import World


class Wires:
    """All links of one run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cut: Callable[[str, str], bool] | None = None
        self._pairs: set[tuple[str, str]] = set()
        self._busy_until_s: dict[tuple[str, str], float] = {}
        self._next_shape: asyncio.TimerHandle | None = None

    # --- frames ----------------------------------------------------------------------------------

    def send(self, sender: Host, name: str, frame: bytes) -> None:
        """A node sends a frame to all machines of that name, which is one unless it has a twin."""
        frames = (frame,) if sender.script is None else sender.script.outgoing(name, frame)
        hiding, injected = self._world.hiding, self._world.injected
        for one in frames:
            if hiding is None:
                self.transmit(sender, name, one)
            elif hiding.isolates(sender.name, name):
                injected["frame cut after a lonely decision"] += 1
            else:
                passing = hiding.passes(name, one)
                if passing is not None:
                    self.transmit(sender, name, passing)

    def transmit(self, sender: Host, name: str, frame: bytes) -> None:
        """A frame as it is goes on its way."""
        world = self._world
        plan, random, injected = world.plan, world.random, world.injected
        stormy = world.stormy
        low, high = plan.delay_ms if stormy or plan.delay_stays else CALM_DELAY_MS
        for target in world.by_name[name]:
            if self._cut is not None and self._cut(sender.address, target.address):
                injected["frame cut by a partition"] += 1
                continue
            delay_s = (low + random.random() * (high - low)) / 1000
            if stormy:
                if plan.loss and random.random() < plan.loss:
                    injected["frame lost"] += 1
                    continue
                if plan.bytes_per_s:
                    delay_s += self._waiting_s(sender, target, len(frame))
                doubled = plan.duplication and random.random() < plan.duplication
                if doubled and not _is_answer(frame):
                    injected["frame duplicated"] += 1
                    self._deliver_in(delay_s + random.random() * 0.1, sender, target, frame)
                if plan.late and random.random() < plan.late:
                    injected["frame late, out of order"] += 1
                    delay_s += random.random() * 2
            self._deliver_in(delay_s, sender, target, frame)

    def _waiting_s(self, sender: Host, target: Host, size: int) -> float:
        """Return how long a frame waits for those before it, and takes itself."""
        now_s = self._world.loop.now_s
        way = (sender.address, target.address)
        free_s = max(now_s, self._busy_until_s.get(way, 0.0))
        if free_s > now_s:
            self._world.injected["frame behind others on a slow link"] += 1
        self._busy_until_s[way] = done_s = free_s + size / self._world.plan.bytes_per_s
        return done_s - now_s

    def _deliver_in(self, delay_s: float, sender: Host, target: Host, frame: bytes) -> None:
        self._world.loop.later(delay_s, target.deliver, sender.name, frame)

    # --- links -----------------------------------------------------------------------------------

    def _is_cut(self, one: Host, other: Host) -> bool:
        """Whether nothing comes through in either direction, so that the link itself breaks."""
        cut = self._cut
        return (
            cut is not None and cut(one.address, other.address) and cut(other.address, one.address)
        )

    def _all_pairs(self) -> Iterator[tuple[Host, Host]]:
        hosts = list(self._world.hosts.values())
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
                and not self._is_cut(one, other)
                and not one.has_banned(other)
                and not other.has_banned(one)
            )
            if possible and pair not in self._pairs:
                self._pairs.add(pair)
                one.link_up(other)
                other.link_up(one)
            elif not possible and pair in self._pairs:
                self._break(one, other)

    def unlink(self, host: Host, name: str) -> None:
        """Break the links between a machine and all of that name."""
        for other in self._world.by_name[name]:
            self._break(host, other)

    def _break(self, one: Host, other: Host) -> None:
        for pair in ((one.address, other.address), (other.address, one.address)):
            self._pairs.discard(pair)
            self._busy_until_s.pop(pair, None)
        for host, gone in ((one, other), (other, one)):
            if host.process is not None and not any(
                (host.address, twin.address) in self._pairs
                or (twin.address, host.address) in self._pairs
                for twin in self._world.by_name[gone.name]
            ):
                host.process.link_down(gone.name)

    def mend(self) -> None:
        """End every partition, and make all links anew: a link that has lost frames does not last."""
        if self._next_shape is not None:
            self._next_shape.cancel()
        self._cut = None
        for one, other in self._all_pairs():
            self._break(one, other)
        self._world.loop.call_later(0.01, self.link_everybody)

    # --- partitions ------------------------------------------------------------------------------

    def partition(self) -> None:
        """Take one of the plan's shapes after the other while the storm lasts."""
        world = self._world
        if not world.stormy or not world.plan.partitions:
            return
        shape = world.random.choice(world.plan.partitions)
        order = list(world.hosts)
        world.random.shuffle(order)
        self._cut = self._shape(shape, {address: i for i, address in enumerate(order)})
        if shape != "none":
            world.injected[f"partition: {shape}"] += 1
        self.link_everybody()
        if shape == "flapping":
            for quarter in range(1, 12):
                world.loop.call_later(quarter * 0.25, self.link_everybody)
        self._next_shape = world.loop.call_later(
            world.random.randint(300, 4_000) / 1000, self.partition
        )

    def _shape(self, shape: str, place: dict[str, int]) -> Callable[[str, str], bool] | None:
        """Return who cannot send to whom."""
        loop, n = self._world.loop, len(place)
        born_s = loop.now_s

        def apart(a: str, b: str) -> bool:
            return (place[a] < n // 2) != (place[b] < n // 2)

        shapes: dict[str, Callable[[str, str], bool] | None] = {
            "none": None,
            "halves": apart,
            "one alone": lambda a, b: (place[a] == 0) != (place[b] == 0),
            "unheard": lambda a, b: place[a] == 0,
            "one way": lambda a, b: place[a] < n // 2 <= place[b],
            "ring": lambda a, b: (place[a] - place[b]) % n not in (1, n - 1),
            "flapping": lambda a, b: apart(a, b) and int((loop.now_s - born_s) * 4) % 2 == 0,
        }
        assert set(shapes) == set(PARTITIONS)
        return shapes[shape]


def _is_answer(frame: bytes) -> bool:
    """Tell whether it answers a request for blocks; an answer that nobody asked for is taken for a lie."""
    try:
        return isinstance(read_frame(frame), Blocks)
    except InvalidPeerMessage:
        return False
