"""The HTTP server's own parts: how answers leave, how a connection ends, how long a body may be."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from node.api import connection
from node.api.asgi import Receive, Scope, Send
from node.api.connection import GatheringTransport, HttpConnection
from node.api.server import BodyLimit


class Recorder(asyncio.Transport):
    """Keeps what is done to a transport, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[Any] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.done.append(bytes(data))

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")

    def is_closing(self) -> bool:
        return bool({"close", "abort"}.intersection(self.done))


def test_head_and_body_of_an_answer_leave_as_one_write() -> None:
    async def answer() -> list[Any]:
        recorder = Recorder()
        transport = GatheringTransport(recorder, asyncio.get_running_loop())
        transport.write(b"head ")
        transport.write(b"body")
        before = list(recorder.done)
        await asyncio.sleep(0)
        transport.write(b"next")
        await asyncio.sleep(0)
        assert not transport.is_closing()
        return [before, *recorder.done]

    assert asyncio.run(answer()) == [[], b"head body", b"next"]


def test_what_was_written_before_a_close_leaves_and_before_an_abort_does_not() -> None:
    async def end(how: str) -> list[Any]:
        recorder = Recorder()
        transport = GatheringTransport(recorder, asyncio.get_running_loop())
        transport.write(b"last")
        getattr(transport, how)()
        await asyncio.sleep(0)
        assert transport.is_closing()
        return recorder.done

    assert asyncio.run(end("close")) == [b"last", "close"]
    assert asyncio.run(end("abort")) == ["abort"]


@pytest.mark.parametrize(
    ("length", "is_taken"),
    [(b"0" * 5_000 + b"9", True), (b"0" * 5_000 + b"11", False), (b"1" * 5_000, False)],
)
def test_a_declared_length_is_read_whatever_its_digits(length: bytes, is_taken: bool) -> None:
    reached: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append("app")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            reached.append(str(message["status"]))

    scope = {"type": "http", "headers": [(b"content-length", length)]}
    asyncio.run(BodyLimit(app, max_bytes=10)(scope, receive, send))
    assert reached == (["app"] if is_taken else ["413"])


HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize("size", [40_000, 60_000, 110_000])
@pytest.mark.parametrize(
    ("asked", "is_half_closed"),
    [(HEAD + b"Connection: close\r\n\r\n", False), ((HEAD + b"\r\n") * 2, True)],
    ids=("close", "half closed"),
)
def test_an_answer_that_nobody_reads_holds_no_connection_that_is_to_close(
    monkeypatch: pytest.MonkeyPatch, asked: bytes, is_half_closed: bool, size: int
) -> None:
    """Of what is below the mark at which writing pauses, the transport itself would wait for its reader for ever."""
    monkeypatch.setattr(connection, "WRITE_S", 0.3)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"%d" % size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await asyncio.sleep(0.1)
        await send({"type": "http.response.body", "body": bytes(size)})

    async def held() -> int:
        config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_level="error")
        config.load()
        state, loop = ServerState(), asyncio.get_running_loop()
        with socket.socket() as listening, socket.socket() as silent:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
            listening.bind(("127.0.0.1", 0))
            server = await loop.create_server(
                lambda: HttpConnection(config, state, {}), sock=listening
            )
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            silent.setblocking(False)
            await loop.sock_connect(silent, listening.getsockname())
            await loop.sock_sendall(silent, asked)
            if is_half_closed:
                await asyncio.sleep(0.15)  # the first answer waits, the second is being made
                silent.shutdown(socket.SHUT_WR)
            await asyncio.sleep(2)
            left = len(state.connections)
            for one in tuple(state.connections):
                one.transport.abort()
            server.close()
            return left

    assert asyncio.run(held()) == 0
