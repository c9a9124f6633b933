"""Asking a node over many kept HTTP connections, in a process of its own: so thin that the node is the limit.

A client library costs several times what the node spends on an answer; this one writes prepared bytes and looks for
nothing but status, length and body.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import uvloop

from cli.bench.workers import at_once

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_GRACE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Asking:
    """What one process asks: whole requests, in turn, one at a time on each connection.

    Of every `keep_every` answers one is kept. Times are in seconds; what comes in the warm-up does not count.
    """

    host: str
    port: int
    requests: tuple[bytes, ...]
    connections: int
    warm_up_s: float
    seconds: float
    keep_every: int


@dataclass(slots=True)
class Answers:
    """What came back: how long each good answer took, how many were refused, and (number of request, body) of some."""

    latencies_s: list[float] = field(default_factory=list)
    refused: int = 0
    kept: list[tuple[int, bytes]] = field(default_factory=list)
    cpu_s: float = 0.0


def ask_all(askings: Sequence[Asking]) -> list[Answers]:
    """Ask from as many processes at the same time, and return what each got."""
    return at_once(ask, askings)


def ask(asking: Asking) -> Answers:
    """Ask for the time given, and return what came.

    Raises:
        OSError: the node does not take connections, or ends them.
        TimeoutError: it does not answer.
    """
    return uvloop.run(_ask(asking))


async def _ask(asking: Asking) -> Answers:
    loop = asyncio.get_running_loop()
    run = _Run(asking)
    async with asyncio.timeout(asking.warm_up_s + asking.seconds + _GRACE_S):
        for _ in range(asking.connections):
            await loop.create_connection(lambda: _Connection(run), asking.host, asking.port)
        cpu_s = time.process_time()
        await run.finished
    run.answers.cpu_s = time.process_time() - cpu_s
    return run.answers


class _Run:
    """What the connections of a process share."""

    def __init__(self, asking: Asking) -> None:
        self.asking = asking
        self.answers = Answers()
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._next = 0
        self._open = asking.connections
        self._counted_from_s = time.monotonic() + asking.warm_up_s
        self._end_s = self._counted_from_s + asking.seconds

    def take(self) -> int | None:
        """Return the number of the next request, or None when time is over."""
        if time.monotonic() >= self._end_s:
            self._open -= 1
            if not self._open:
                self.finished.set_result(None)
            return None
        self._next = (self._next + 1) % len(self.asking.requests)
        return self._next

    def answered(self, number: int, sent_s: float, status: bytes, body: bytes) -> None:
        now_s = time.monotonic()
        if not self._counted_from_s <= now_s < self._end_s:
            return
        answers = self.answers
        if status != b"200":
            answers.refused += 1
            return
        if len(answers.latencies_s) % self.asking.keep_every == 0:
            answers.kept.append((number, body))
        answers.latencies_s.append(now_s - sent_s)

    def failed(self, error: Exception) -> None:
        if not self.finished.done():
            self.finished.set_exception(error)


class _Connection(asyncio.Protocol):
    """One connection with one request under way."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._number = 0
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by form only
        self._send()

    def _send(self) -> None:
        assert self._transport is not None, "connected"
        number = self._run.take()
        if number is None:
            self._transport.close()
            return
        self._number, self._sent_s = number, time.monotonic()
        self._transport.write(self._run.asking.requests[number])

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(_HEAD_END)
        if head_end < 0:
            return
        head = self._received[:head_end].lower()
        at = head.find(_LENGTH)
        if at < 0:
            self._run.failed(OSError("an answer without a length"))
            return
        body_from = head_end + len(_HEAD_END)
        whole = body_from + int(head[at + len(_LENGTH) :].partition(b"\r\n")[0])
        if len(self._received) < whole:
            return
        body = self._received[body_from:whole]
        self._received = b""
        self._run.answered(self._number, self._sent_s, head[9:12], body)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None or self._received:
            self._run.failed(exc or OSError("the node has closed a connection"))
