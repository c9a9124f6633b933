"""Who begins and does not end: each step of a connection has its time, and one is not shorter for being fed slowly."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import pytest

from node import peers
from tests.node.raw_peer import UPGRADE, frame
from tests.node.scene import HELLO, Scene, on_a_scene

ROW = "oversize claims, random bytes, cut frames, deep nesting, slow-loris, unfinished handshakes"
STEP_S = 0.5
"""What a step may take here, instead of five seconds."""

LATE_S = 8.0
"""After this a connection that is still open is called endless; far beyond two steps on a loaded machine."""


def client_hello(context: ssl.SSLContext) -> bytes:
    """Return the first bytes of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send a byte now and then, of which no end comes, until the other side has had enough."""
    ended = asyncio.create_task(reader.read())
    for byte in data:
        writer.write(bytes([byte]))
        done, _ = await asyncio.wait([ended], timeout=LATE_S / len(data))
        if done:
            break
    writer.transport.abort()
    assert ended.done(), "it would have gone on for ever"
    ended.exception()  # a reset, perhaps


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "HANDSHAKE_TIMEOUT_S", STEP_S)


@pytest.mark.row(ROW)
def test_a_handshake_of_tls_that_comes_byte_by_byte_is_ended(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        # The other side counts from when it has accepted, which is later.
        began_s = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.tianjin.port)
        await drip(reader, writer, client_hello(scene.context)[:-1])
        assert time.monotonic() - began_s >= STEP_S, "cut off before its time was over"

    on_a_scene(tmp_path, test)


@pytest.mark.row(ROW)
@pytest.mark.parametrize(
    "data",
    [
        UPGRADE[:-1],
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100,
        b"GET /" + b"a" * 500,
        UPGRADE + frame(HELLO.encode())[:-1],
    ],
    ids=["upgrade", "headers", "path", "hello"],
)
def test_an_upgrade_or_a_hello_that_comes_byte_by_byte_is_ended(
    tmp_path: Path, data: bytes
) -> None:
    async def test(scene: Scene) -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", scene.tianjin.port, ssl=scene.context
        )
        if data.startswith(UPGRADE):
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            await drip(reader, writer, data[len(UPGRADE) :])
        else:
            await drip(reader, writer, data)
        assert "hebei" not in scene.heard.up

    on_a_scene(tmp_path, test)
