"""A link under attack: Tianjin linked with Beijing, and Hebei, a member, with a good certificate and any bytes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from websockets.frames import Opcode

from node.messages import Hello, Priority, Status
from node.peers import PeerNetwork
from tests.node.links import CHAIN, Place, Recorder, two_nodes, until
from tests.node.raw_peer import RawPeer, client_context, frame, raw_peer

HELLO = Hello(CHAIN, "hebei", "validator", 1)


@dataclass
class Scene:
    """Tianjin, linked with Beijing; Hebei attacks with a good certificate."""

    tianjin: PeerNetwork
    beijing: PeerNetwork
    heard: Recorder
    context: ssl.SSLContext
    numbers: int = 0

    @asynccontextmanager
    async def attacker(self, *, greet: bool = True) -> AsyncIterator[RawPeer]:
        """Link as Hebei, once what it did before is noticed and forgiven."""
        await until(self.heard, lambda: "hebei" not in self.tianjin.links)
        self.tianjin._banned_until.clear()
        async with raw_peer(self.tianjin.port, self.context) as peer:
            if greet:
                await peer.say_hello(HELLO)
                await until(self.heard, lambda: "hebei" in self.tianjin.links)
            yield peer

    async def cut_off(self, peer: RawPeer) -> bool:
        """Say goodbye; tell whether Hebei, whose link is gone now, is refused for a while."""
        await peer.write(frame(b"\x03\xe8", Opcode.CLOSE))
        await until(self.heard, lambda: "hebei" not in self.tianjin.links)
        return "hebei" in self.tianjin._banned_until

    async def others_are_well(self) -> None:
        """Beijing's link is what it was, and carries messages."""
        self.numbers += 1
        said = ("beijing", Status(self.numbers, 0))
        assert self.beijing.send("tianjin", said[1].encode(), Priority.CONSENSUS)
        await until(self.heard, lambda: said in self.heard.messages)
        assert self.heard.down.count("beijing") == 0


def on_a_scene(directory: Path, test: Callable[[Scene], Awaitable[None]]) -> None:
    async def scenario() -> None:
        place, heard = Place(directory), Recorder()
        place.node("hebei")  # its certificate: the tests play it
        async with two_nodes(place, Recorder(), heard) as (beijing, tianjin):
            await until(heard, lambda: "beijing" in tianjin.links)
            context = client_context(directory / "hebei.crt", directory / "hebei.pem")
            scene = Scene(tianjin, beijing, heard, context)
            await test(scene)
            await scene.others_are_well()

    asyncio.run(scenario())
