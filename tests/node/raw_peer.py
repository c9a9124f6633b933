"""The other end of a link, made by hand: a good certificate, any bytes."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from websockets.frames import Opcode

from node.messages import Hello, decode_message

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def client_context(certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Return a context that trusts anybody, and shows this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def frame(
    payload: bytes,
    opcode: int = Opcode.BINARY,
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    claim: int | None = None,
) -> bytes:
    """Return a client's frame; `claim` is the length that it states instead of its own."""
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    length = len(payload) if claim is None else claim
    mask_bit = 0x80 if masked else 0
    if length < 126:
        head = struct.pack(">BB", first, mask_bit | length)
    elif length < 2**16:
        head = struct.pack(">BBH", first, mask_bit | 126, length)
    else:
        head = struct.pack(">BBQ", first, mask_bit | 127, length)
    return head + (bytes(4) if masked else b"") + payload  # the mask is zero: it changes nothing


@dataclass
class RawPeer:
    """A TLS connection to a node after the WebSocket upgrade."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def write(self, data: bytes) -> None:
        """Send bytes; that the other side no longer takes them is for `ended` to tell."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except OSError:
            pass

    async def message(self) -> bytes:
        """Return the payload of the next whole frame from the server."""
        head = await self.reader.readexactly(2)
        length = head[1] & 0x7F
        if length == 126:
            length = int.from_bytes(await self.reader.readexactly(2), "big")
        elif length == 127:
            length = int.from_bytes(await self.reader.readexactly(8), "big")
        return await self.reader.readexactly(length)

    async def say_hello(self, hello: Hello) -> Hello:
        """Exchange the first frames."""
        await self.write(frame(hello.encode()))
        theirs = decode_message(await self.message())
        assert isinstance(theirs, Hello)
        return theirs

    async def ended(self, timeout_s: float = 10.0) -> bool:
        """Read until the other side ends the connection; False if it has not within the time."""
        try:
            async with asyncio.timeout(timeout_s):
                while await self.reader.read(65_536):
                    pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True


@asynccontextmanager
async def raw_peer(port: int, context: ssl.SSLContext) -> AsyncIterator[RawPeer]:
    """Connect, upgrade, and abort at the end.

    Raises:
        OSError, asyncio.IncompleteReadError: the other side does not let us in.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(UPGRADE)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101"), answer
        yield RawPeer(reader, writer)
    finally:
        writer.transport.abort()
