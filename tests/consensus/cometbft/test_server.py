"""The ABCI server over a real Unix socket: order, flush, four connections, and who is cut off."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from consensus.cometbft.abci_pb2 import (
    Request,
    RequestCheckTx,
    RequestEcho,
    RequestFlush,
    RequestInfo,
    Response,
    ResponseCheckTx,
    ResponseInfo,
)
from consensus.cometbft.framing import MAX_FRAME_BYTES, FrameReader, encode_frame
from consensus.cometbft.server import WRITE_BYTES, AbciServer, Handler

FLUSH = Request(flush=RequestFlush())


def check(number: int, size: int = 0) -> Request:
    return Request(check_tx=RequestCheckTx(tx=b"%d" % number + bytes(size)))


async def answer(request: Request) -> Response:
    """Answer with what was asked."""
    if request.WhichOneof("value") == "info":
        return Response(info=ResponseInfo(data="here"))
    return Response(check_tx=ResponseCheckTx(data=request.check_tx.tx))


class Connection:
    """A client's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer, self._frames = reader, writer, FrameReader()
        self._waiting: list[bytes] = []

    async def send(self, *requests: Request) -> None:
        await self.send_bytes(
            b"".join(encode_frame(request.SerializeToString()) for request in requests)
        )

    async def send_bytes(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> Response | None:
        """Return the next answer, or None where the server has closed."""
        while not self._waiting:
            data = await self._reader.read(65_536)
            if not data:
                return None
            self._waiting = self._frames.feed(data)
        return Response.FromString(self._waiting.pop(0))

    def close(self) -> None:
        self._writer.close()

    async def closed(self) -> None:
        await self._writer.wait_closed()


@asynccontextmanager
async def serving(path: Path, handler: Handler = answer) -> AsyncIterator[AbciServer]:
    server = AbciServer(path, handler)
    task = asyncio.create_task(server.run())
    await asyncio.wait_for(server.listening.wait(), 5)
    try:
        yield server
    finally:
        task.cancel()
        await asyncio.wait([task])


async def connect(path: Path) -> Connection:
    return Connection(*await asyncio.open_unix_connection(str(path)))


def run(story: Callable[[Path], Awaitable[None]], path: Path) -> None:
    asyncio.run(asyncio.wait_for(story(path), 20))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "abci.sock"


def test_answers_come_in_the_order_of_the_questions_and_flush_in_its_turn(path: Path) -> None:
    async def story(path: Path) -> None:
        async with serving(path):
            connection = await connect(path)
            await connection.send(check(0), check(1), FLUSH, check(2), FLUSH)
            kinds = []
            for _ in range(5):
                response = await connection.receive()
                assert response is not None
                kinds.append((response.WhichOneof("value"), response.check_tx.data))
            assert kinds == [
                ("check_tx", b"0"),
                ("check_tx", b"1"),
                ("flush", b""),
                ("check_tx", b"2"),
                ("flush", b""),
            ]

    run(story, path)


def test_echo_returns_the_message(path: Path) -> None:
    async def story(path: Path) -> None:
        async with serving(path):
            connection = await connect(path)
            await connection.send(Request(echo=RequestEcho(message="你好")), FLUSH)
            response = await connection.receive()
            assert response is not None
            assert response.echo.message == "你好"

    run(story, path)


def test_what_grows_large_is_written_before_a_flush_asks_for_it(path: Path) -> None:
    async def story(path: Path) -> None:
        async with serving(path):
            connection = await connect(path)
            await connection.send(check(1, WRITE_BYTES))
            response = await connection.receive()
            assert response is not None
            assert len(response.check_tx.data) == WRITE_BYTES + 1

    run(story, path)


def test_four_connections_do_not_wait_for_each_other(path: Path) -> None:
    released = asyncio.Event()

    async def handler(request: Request) -> Response:
        if request.check_tx.tx == b"0":
            await released.wait()
        return await answer(request)

    async def story(path: Path) -> None:
        async with serving(path, handler) as server:
            connections = [await connect(path) for _ in range(4)]
            await connections[0].send(check(0), FLUSH)
            for connection in connections[1:]:
                await connection.send(Request(info=RequestInfo()), FLUSH)
                response = await connection.receive()
                assert response is not None
                assert response.info.data == "here"
            assert server.connections == 4
            released.set()
            response = await connections[0].receive()
            assert response is not None
            assert response.check_tx.data == b"0"

    run(story, path)


def test_only_our_own_user_may_connect(path: Path) -> None:
    async def story(path: Path) -> None:
        async with serving(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600  # noqa: ASYNC240

    run(story, path)
    assert not path.exists()


def test_when_it_ends_no_connection_is_left_open_nor_is_any_question_being_answered(
    path: Path,
) -> None:
    """One engine waits for an answer, one does not read what it was answered, one is silent."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> Response:
        if request.check_tx.tx != b"0":
            return await answer(request)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError("not reached")

    complaints: list[dict[str, object]] = []

    async def story(path: Path) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
        async with serving(path, handler) as server:
            waiting, deaf, silent = [await connect(path) for _ in range(3)]
            await waiting.send(check(0), FLUSH)
            sent = asyncio.create_task(deaf.send(*[check(1, 8 * WRITE_BYTES)] * 8))
            await silent.send(FLUSH)
            assert await silent.receive() is not None
            await begun.wait()
        assert (ended.is_set(), server.connections) == (True, 0)
        assert await silent.receive() is None
        await asyncio.gather(sent, return_exceptions=True)
        assert complaints == []

    run(story, path)


@pytest.mark.parametrize("steps", range(8))
def test_a_connection_that_is_just_being_accepted_when_it_ends_is_not_served(
    path: Path, steps: int
) -> None:
    """`steps` is how far the event loop has come with it: a connection's task starts some steps after `accept`."""

    async def story(path: Path) -> None:
        before = asyncio.all_tasks()
        with socket.socket(socket.AF_UNIX) as engine:
            engine.setblocking(False)
            async with serving(path) as server:
                engine.connect(str(path))
                for _ in range(steps):
                    await asyncio.sleep(0)
            for _ in range(8):
                await asyncio.sleep(0)
            assert asyncio.all_tasks() == before, "nobody is served any more"
            assert server.connections == 0

    run(story, path)


def test_a_socket_that_a_killed_process_left_behind_is_taken_over(path: Path) -> None:
    path.write_bytes(b"")

    async def story(path: Path) -> None:
        async with serving(path):
            connection = await connect(path)
            await connection.send(FLUSH)
            assert await connection.receive() is not None

    run(story, path)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode_frame(b"\xff\xff\xff"), id="no protobuf"),
        pytest.param(encode_frame(b""), id="a request of no kind"),
        pytest.param(encode_frame(bytes.fromhex("ba0700")), id="a request of an unknown kind"),
        pytest.param(bytes.fromhex("ffffffff7f"), id="an oversize message"),
        pytest.param(bytes.fromhex("8100"), id="a padded length"),
    ],
)
def test_who_does_not_speak_abci_is_cut_off_and_nobody_else(path: Path, data: bytes) -> None:
    async def story(path: Path) -> None:
        async with serving(path):
            good, bad = await connect(path), await connect(path)
            await bad.send_bytes(data)
            assert await bad.receive() is None
            await good.send(check(1), FLUSH)
            response = await good.receive()
            assert response is not None
            assert response.check_tx.data == b"1"

    run(story, path)


def test_a_connection_that_ends_within_a_message_harms_nobody(path: Path) -> None:
    async def story(path: Path) -> None:
        async with serving(path):
            bad = await connect(path)
            await bad.send_bytes(encode_frame(bytes(MAX_FRAME_BYTES))[:1000])
            bad.close()
            await bad.closed()
            good = await connect(path)
            await good.send(FLUSH)
            assert await good.receive() is not None

    run(story, path)


def test_an_error_of_the_application_is_told_and_ends_the_server(path: Path) -> None:
    async def handler(request: Request) -> Response:
        raise ZeroDivisionError("as told")

    async def story(path: Path) -> None:
        server = AbciServer(path, handler)
        task = asyncio.create_task(server.run())
        await server.listening.wait()
        connection = await connect(path)
        await connection.send(check(1))
        response = await connection.receive()
        assert response is not None
        assert response.exception.error == "ZeroDivisionError: as told"
        with pytest.raises(ZeroDivisionError):
            await task
        assert await connection.receive() is None

    run(story, path)
