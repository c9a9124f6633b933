"""One HTTP connection: what a client may send and in which time, and how answers leave.

Requests are read by llhttp (`httptools`), in C: half of what a short answer cost went into reading its question. It
bounds neither a request's head nor the requests that come at once, so that is done here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from node.origins import origin_of

KEEP_ALIVE_S: Final = 30
MAX_CONNECTIONS: Final = 2_000
"""Connections at one time; beyond, they are closed at once."""

MAX_PER_ADDRESS: Final = 1_000
"""Connections at one time from one origin (`node.origins`): whoever has one only leaves room for others."""

REQUEST_S: Final = 20.0
"""A request, body included, arrives within this, or the connection ends."""

WRITE_S: Final = 20.0
MIN_READ_BYTES: Final = 64 * 1024
"""So much of an answer must leave in that time while it waits for its client, or the connection ends."""

MAX_HEAD_BYTES: Final = 64 * 1024
"""What of a request is not its body, to within one read: head, trailers, and the framing of a body in chunks. The
longest that is of use, with a hundred keys in its query and a token, has some 22,000."""

MAX_WAITING_REQUESTS: Final = 16
"""Requests of one connection that wait for the answer to the one before. The library stops reading when the first
waits, but takes all that have come by then."""


class GatheringTransport:
    """A transport that writes at once what is given to it in one turn of the loop: head and body of an answer.

    Each write is a system call that wakes the client, and for a short answer costs more than making it. `closing` is
    called when the connection is closed from here, and what is written has yet to leave.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        closing: Callable[[], None] = lambda: None,
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._closing = closing
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def _flush(self) -> None:
        if self._parts:
            data, self._parts = b"".join(self._parts), []
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        if not self._transport.is_closing():
            self._transport.close()
            self._closing()

    def abort(self) -> None:
        self._parts = []
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class HttpConnection(HttpToolsProtocol):
    """A connection whose requests are bounded, and whose client must send and read in time.

    The server's own timeout begins with the first answer and knows nothing of clients that do not read: without this
    either kind would hold a descriptor for ever.
    """

    _deadline: asyncio.TimerHandle | None = None
    _write_deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _origin = ""
    _answering: RequestResponseCycle | None = None
    """The request that is being answered, or was last. `cycle` is the newest: others may have come meanwhile."""

    # --- a connection's life ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        gathering = GatheringTransport(transport, self.loop, self._watch_writing)
        super().connection_made(gathering)  # type: ignore[arg-type]
        if self.client is not None:
            self._origin = origin_of(self.client[0])
        if len(self.connections) > MAX_CONNECTIONS or self._is_one_too_many_of_its_address():
            transport.abort()
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        self._unwatch_writing()
        answering = self._answering
        if answering is not None:  # the library tells the newest request only
            answering.disconnected = not answering.response_complete
            answering.message_event.set()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        super().eof_received()
        self._watch_writing()  # the transport closes now, when all has left

    def _is_one_too_many_of_its_address(self) -> bool:
        if self.client is None or len(self.connections) <= MAX_PER_ADDRESS:
            return False
        address, origin = self.client[0], self._origin
        if self.config.proxy_headers and address in (self.config.forwarded_allow_ips or ()):
            return False  # a proxy's: many clients'
        others = (one for one in self.connections if isinstance(one, HttpConnection))
        same = sum(one._origin == origin for one in others)
        return same > MAX_PER_ADDRESS

    # --- what comes ------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"A request has at most {MAX_HEAD_BYTES} bytes beside its body.")

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if len(self.pipeline) > MAX_WAITING_REQUESTS:
            raise ValueError("more requests at once than wait for their answers")

    def on_body(self, body: bytes) -> None:
        self._head_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._head_bytes = 0
        if self._is_answering:
            self._unwatch()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()  # takes up the next request if there is one
        if self.transport.is_closing():
            return
        if not self._is_answering:
            self._watch(KEEP_ALIVE_S + REQUEST_S)
        elif self._answering is not None and self._answering.more_body:
            self._watch()
        else:
            self._unwatch()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, and end the connection; while an answer is due, without a word that would be
        taken for it."""
        cycle = self.cycle
        is_due = cycle is not None and not cycle.response_complete
        if is_due and (self.pipeline or cycle.response_started or not cycle.more_body):
            self.transport.abort()
        else:
            super().send_400_response(msg)

    # --- in time ---------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        # Nothing else ends a connection that closes: what is left may never leave.
        if not self.transport.is_closing():
            self._unwatch_writing()
        super().resume_writing()

    def _watch_writing(self) -> None:
        self._unwatch_writing()
        waiting_bytes = self.transport.get_write_buffer_size()
        self._write_deadline = self.loop.call_later(WRITE_S, self._look_at_reader, waiting_bytes)

    def _look_at_reader(self, waited_bytes: int) -> None:
        if self.transport.get_write_buffer_size() > waited_bytes - MIN_READ_BYTES:
            self._too_slow()
        else:
            self._watch_writing()

    def _unwatch_writing(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    @property
    def _is_answering(self) -> bool:
        """Whether a request is under way."""
        return self._answering is not None and not self._answering.response_complete

    def _watch(self, after_s: float = REQUEST_S) -> None:
        self._unwatch()
        self._deadline = self.loop.call_later(after_s, self._too_slow)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self.transport.abort()
