"""Accepting connections: a bounded number of unfinished handshakes, fair between the hosts that they come from.

The libraries above begin to count when a TLS handshake is done, so whoever opens sockets and says nothing would take
one descriptor after the other, the database's too. Here, when too many are under way, the oldest of the host with the
most gives way: a flood from one host costs that host, and even from the same host a new handshake has time to finish.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from node.origins import origin_of

MAX_UNFINISHED: Final = 128
"""Handshakes under way on one port."""

BACKLOG: Final = 1_024
"""Connections that wait in the kernel to be accepted."""

EXHAUSTED_PAUSE_S: Final = 0.1
"""How long not to accept when the process has no descriptors left."""


class Listener:
    """One listening port. It behaves as `asyncio.Server` does where servers built upon it look."""

    def __init__(
        self,
        factory: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext | None,
        handshake_timeout_s: float,
    ) -> None:
        self._factory = factory
        self._context = context
        self._handshake_timeout_s = handshake_timeout_s
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._unfinished: dict[asyncio.Task[None], str] = {}

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        family, _, _, _, address = (
            await loop.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        )[0]
        self._socket = socket.create_server(address, family=family, backlog=BACKLOG)
        self._socket.setblocking(False)
        self._accepting = loop.create_task(self._accept(self._socket), name="accept")

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    await asyncio.sleep(EXHAUSTED_PAUSE_S)
                continue
            if len(self._unfinished) >= MAX_UNFINISHED:
                self._make_room()
            task = loop.create_task(self._handshake(accepted))
            self._unfinished[task] = origin_of(str(address[0]))
            task.add_done_callback(partial(self._finished, accepted))

    def _make_room(self) -> None:
        """End the oldest handshake of the host that has the most."""
        [(busiest, _)] = Counter(self._unfinished.values()).most_common(1)
        oldest = next(task for task, host in self._unfinished.items() if host == busiest)
        del self._unfinished[oldest]
        oldest.cancel()

    def _finished(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        self._unfinished.pop(task, None)
        if task.cancelled() or task.exception() is not None:
            accepted.close()

    async def _handshake(self, accepted: socket.socket) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        options: dict[str, Any] = (
            {}
            if self._context is None
            else {"ssl": self._context, "ssl_handshake_timeout": self._handshake_timeout_s}
        )
        # Raises what TLS refuses and what takes too long; whoever dialled is told by the closed connection.
        await asyncio.get_running_loop().connect_accepted_socket(self._factory, accepted, **options)

    # --- as asyncio.Server ------------------------------------------------------------------------

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return () if self._socket is None else (self._socket,)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def is_serving(self) -> bool:
        return self._accepting is not None and not self._accepting.done()

    def close(self) -> None:
        """Stop accepting, and end unfinished handshakes."""
        if self._accepting is not None:
            self._accepting.cancel()
        for task in tuple(self._unfinished):
            task.cancel()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def wait_closed(self) -> None:
        if self._accepting is not None:
            await asyncio.wait([self._accepting])
