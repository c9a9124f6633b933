"""TCP relays between nodes: all traffic of a pair passes them, so that a test rules over it, direction by direction.

Both nodes of a pair dial each other, so each directed pair (dialler, target) has a relay of its own, which the
dialler's configuration names instead of the target. What travels from A to B, whoever has dialled, obeys one
`Condition`; as on a real network, nobody is told of a cut: connections stay, bytes and their ends wait.

    relays.put_between(network)              # before the nodes start
    relays.set(Condition(cut=True), ("hebei", "beijing"))
    relays.partition({"hebei"}, {"beijing", "national", "tianjin"})
    relays.heal()
"""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import struct
import threading
import time
from collections.abc import Collection, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from cli.network_setup import Network
from ledger.files import replace_file
from node.config import PeerAddress, format_config, load_config

CHUNK_BYTES: Final = 8 * 1024
CHUNKS_UNDER_WAY: Final = 32
"""Chunks between the two ends of a direction: 256 KiB are on the way at most."""

LOOPBACK: Final = "127.0.0.1"

Direction = tuple[str, str]
"""Who sends, and who receives."""


class Bandwidth:
    """So many bytes a second, shared by all directions that have this same object."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_s = 0.0

    async def take(self, size: int) -> None:
        """Wait until `size` bytes have passed."""
        self._free_s = max(self._free_s, time.monotonic()) + size / self._bytes_per_s
        await asyncio.sleep(self._free_s - time.monotonic())


@dataclass(frozen=True, slots=True)
class Condition:
    """How bytes travel in one direction.

    cut: not at all, and nobody is told. reset: connections are reset, and so are new ones. Each chunk takes `delay_s`
    and up to `jitter_s` more, in order.
    """

    cut: bool = False
    reset: bool = False
    delay_s: float = 0.0
    jitter_s: float = 0.0
    bandwidth: Bandwidth | None = None


@dataclass
class _Way:
    """One direction of a pair as it is now. Belongs to the relays' event loop."""

    condition: Condition = Condition()
    flows: asyncio.Event = field(default_factory=asyncio.Event)
    carried_bytes: int = 0

    def set(self, condition: Condition) -> None:
        self.condition = condition
        if condition.cut:
            self.flows.clear()
        else:
            self.flows.set()


class _Connection:
    """One relayed connection, from who dialled (`near`) to the target (`far`)."""

    def __init__(
        self,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        forth: _Way,
        back: _Way,
    ) -> None:
        self._near, self._far = near, far
        self._forth, self._back = forth, back
        self._frozen = asyncio.Event()

    def freeze(self) -> None:
        """Carry nothing more, and tell nobody: as a router that has forgotten a connection."""
        self._frozen.set()

    def abort(self) -> None:
        for _, writer in (self._near, self._far):
            _reset(writer)

    async def run(self) -> None:
        """Carry bytes both ways until one side has ended, and the other has been told."""
        try:
            async with asyncio.TaskGroup() as tasks:
                pumps = [
                    tasks.create_task(self._carry(self._near[0], self._far[1], self._forth)),
                    tasks.create_task(self._carry(self._far[0], self._near[1], self._back)),
                ]
                frozen = tasks.create_task(self._frozen.wait())
                await asyncio.wait([*pumps, frozen], return_when=asyncio.FIRST_COMPLETED)
                for task in (*pumps, frozen):
                    task.cancel()
            if self._frozen.is_set():
                await asyncio.get_running_loop().create_future()  # until the relays end
        finally:
            self.abort()

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: _Way
    ) -> None:
        """Carry one direction to its end. That a side is gone travels as bytes do: not where the way is cut."""
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_UNDER_WAY)
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(_read(source, chunks, way))
            try:
                await _write(chunks, sink, way)
            except OSError:
                # The receiver is gone, and the sender hears of it by the way back.
                opposite = self._back if way is self._forth else self._forth
                await opposite.flows.wait()
            reading.cancel()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection so that the kernel resets it, whatever is on the way."""
    end: socket.socket = writer.get_extra_info("socket")
    with suppress(OSError):  # it has ended already
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _read(
    source: asyncio.StreamReader, chunks: asyncio.Queue[tuple[float, bytes]], way: _Way
) -> None:
    due_s = 0.0
    data = b"-"
    while data:
        await way.flows.wait()
        try:
            data = await source.read(CHUNK_BYTES)
        except OSError:
            data = b""
        condition = way.condition
        late_s = condition.delay_s + random.uniform(0, condition.jitter_s)
        due_s = max(due_s, time.monotonic() + late_s)
        await chunks.put((due_s, data))


async def _write(
    chunks: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter, way: _Way
) -> None:
    while True:
        due_s, data = await chunks.get()
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        await way.flows.wait()
        if not data:
            return
        if way.condition.bandwidth is not None:
            await way.condition.bandwidth.take(len(data))
            await way.flows.wait()
        sink.write(data)
        await sink.drain()
        way.carried_bytes += len(data)


class Relays:
    """All relays of a network, on an event loop in a thread of their own."""

    def __init__(self) -> None:
        self._ways: dict[Direction, _Way] = {}
        self._connections: dict[_Connection, Direction] = {}
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relays")
        self._thread.start()

    def put_between(self, network: Network) -> None:
        """Put a relay into every directed pair of a network whose nodes have not been started."""
        homes = {place.name: network.node_home(place) for place in network.nodes}
        configs = {name: load_config(home / "config.toml") for name, home in homes.items()}
        for name, config in configs.items():
            addresses = tuple(
                PeerAddress(
                    name=address.name,
                    host=LOOPBACK,
                    port=self.listen(name, address.name, address.port),
                )
                for address in config.peers.addresses
            )
            peers = config.peers.model_copy(update={"addresses": addresses})
            text = format_config(config.model_copy(update={"peers": peers}))
            replace_file(homes[name] / "config.toml", text.encode())

    def listen(self, dialler: str, target: str, target_port: int) -> int:
        """Open the relay of a directed pair; return its port."""
        return self._call(self._listen(dialler, target, target_port))

    def close(self) -> None:
        """End all relays."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # --- what a test does -------------------------------------------------------------------------

    def set(self, condition: Condition, *directions: Direction) -> None:
        """Let bytes of these directions (default: of all) travel so from now on."""
        self._call(self._set(condition, directions or tuple(self._ways)))

    def heal(self) -> None:
        """Let everything flow again, at once and in full."""
        self.set(Condition())

    def partition(self, *groups: Collection[str]) -> None:
        """Cut everything between the groups, and nothing within them."""
        self.heal()
        crossing = [
            direction
            for one, other in itertools.permutations(groups, 2)
            for direction in itertools.product(one, other)
        ]
        self.set(Condition(cut=True), *crossing)

    def reset(self, *directions: Direction) -> None:
        """Reset the connections that carry these directions (default: all); new ones are good."""
        self._call(self._reset(directions or tuple(self._ways)))

    def freeze(self) -> None:
        """Let all connections that there are carry nothing more for ever; new ones are good."""
        self._call(self._freeze())

    def carried_bytes(self, *directions: Direction) -> int:
        """Return how many bytes these directions (default: all) have carried."""
        return sum(self._ways[one].carried_bytes for one in directions or self._ways)

    def around(self, name: str) -> list[Direction]:
        """Return all directions from and to a node."""
        return [direction for direction in self._ways if name in direction]

    # --- on the event loop ------------------------------------------------------------------------

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _listen(self, dialler: str, target: str, target_port: int) -> int:
        forth, back = self._way(dialler, target), self._way(target, dialler)

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await forth.flows.wait()
                await back.flows.wait()
                if not (forth.condition.reset or back.condition.reset):
                    far = await asyncio.open_connection(LOOPBACK, target_port)
                    await self._run(
                        _Connection((reader, writer), far, forth, back), dialler, target
                    )
            except OSError:
                pass  # the target does not listen: who dialled is told by the reset below
            finally:
                _reset(writer)

        server = await asyncio.start_server(accepted, LOOPBACK, 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def _way(self, sender: str, receiver: str) -> _Way:
        if (sender, receiver) not in self._ways:
            self._ways[sender, receiver] = way = _Way()
            way.set(Condition())
        return self._ways[sender, receiver]

    async def _run(self, connection: _Connection, dialler: str, target: str) -> None:
        self._connections[connection] = (dialler, target)
        try:
            await connection.run()
        finally:
            del self._connections[connection]

    async def _set(self, condition: Condition, directions: Collection[Direction]) -> None:
        for direction in directions:
            self._ways[direction].set(condition)
        if condition.reset:
            await self._reset(directions)

    async def _reset(self, directions: Collection[Direction]) -> None:
        for connection, (dialler, target) in tuple(self._connections.items()):
            if (dialler, target) in directions or (target, dialler) in directions:
                connection.abort()

    async def _freeze(self) -> None:
        for connection in self._connections:
            connection.freeze()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        running = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*running, return_exceptions=True)
