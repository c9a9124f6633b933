"""The ABCI server: a Unix socket on which CometBFT opens four connections, and one handler behind all of them.

Answers leave in the order of the questions of their connection (that is how CometBFT matches them); those of different
connections do not wait for each other unless the handler makes them. Flush is answered in its turn, and only then, or
when much waits, are answers written. An exception of the handler is answered as such, upon which CometBFT stops: what
went wrong in the application must stop the node, never be guessed around.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError as ProtobufDecodeError

from consensus.cometbft.abci_pb2 import (
    Request,
    Response,
    ResponseEcho,
    ResponseException,
    ResponseFlush,
)
from consensus.cometbft.errors import InvalidAbciMessage
from consensus.cometbft.framing import FrameReader, encode_frame

READ_BYTES: Final = 256 * 1024
WRITE_BYTES: Final = 256 * 1024
"""Answers that wait for a flush are written when they have grown to this."""

Handler = Callable[[Request], Awaitable[Response]]


class AbciServer:
    """Serves one application on one Unix socket."""

    def __init__(self, path: Path, handler: Handler) -> None:
        """`handler` answers everything but Echo and Flush."""
        self._path = path
        self._handler = handler
        self._failed: asyncio.Future[None] | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._closing = False
        self.listening = asyncio.Event()

    @property
    def connections(self) -> int:
        """How many connections are open: four while CometBFT runs."""
        return len(self._writers)

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            OSError: the socket cannot be made.
            Exception: what the handler raised; the engine has been told.
        """
        self._failed = asyncio.get_running_loop().create_future()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._connected, str(self._path))
        os.chmod(self._path, 0o600)  # whoever may connect decides blocks
        self.listening.set()
        try:
            async with server:
                try:
                    await self._failed
                finally:
                    await self._disconnect(server)
        finally:
            self._path.unlink(missing_ok=True)

    async def _disconnect(self, server: asyncio.Server) -> None:
        """End all connections, also one whose question is being answered, or whose answers nobody reads.

        From Python 3.12.1 on a server waits for them when it closes, and an engine that runs keeps them.
        """
        self._closing = True  # for a connection that is accepted, but whose task has not begun yet
        server.close()  # nobody connects any more
        for writer in self._writers:
            writer.transport.abort()
        handlers = tuple(self._handlers)
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closing:
            writer.transport.abort()
            return
        handler = asyncio.current_task()
        assert handler is not None, "each connection has a task of its own"
        self._handlers.add(handler)
        self._writers.add(writer)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # by `_disconnect`: a connection ends with its server
        except (ConnectionError, InvalidAbciMessage):
            pass  # an engine that has stopped, or that is none: its connection ends, no other
        except Exception as error:
            assert self._failed is not None, "set before anybody connects"
            if not self._failed.done():
                self._failed.set_exception(error)
        finally:
            self._writers.discard(writer)
            self._handlers.discard(handler)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames, waiting, size = FrameReader(), [], 0
        while data := await reader.read(READ_BYTES):
            for message in frames.feed(data):
                try:
                    request = Request.FromString(message)
                except ProtobufDecodeError as error:
                    raise InvalidAbciMessage(f"not a request: {error}") from None
                flush = request.WhichOneof("value") == "flush"
                answer = encode_frame((await self._answer(request, writer)).SerializeToString())
                waiting.append(answer)
                size += len(answer)
                if flush or size > WRITE_BYTES:
                    writer.write(b"".join(waiting))
                    waiting, size = [], 0
                    await writer.drain()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> Response:
        match request.WhichOneof("value"):
            case "flush":
                return Response(flush=ResponseFlush())
            case "echo":
                return Response(echo=ResponseEcho(message=request.echo.message))
            case None:
                raise InvalidAbciMessage("a request of a kind that ABCI 2.0 does not have")
        try:
            return await self._handler(request)
        except Exception as error:
            failure = Response(
                exception=ResponseException(error=f"{type(error).__name__}: {error}")
            )
            writer.write(encode_frame(failure.SerializeToString()))
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            raise
