"""One live link to another node: bounded queues of frames out, messages in, and a pulse.

Three queues of outgoing frames, consensus first. A peer that is too slow loses its link when the consensus queue
overflows, and frames of the other two.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import structlog
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from node.certificates import NodeIdentity
from node.connections import PeerConnection
from node.messages import (
    MAX_FRAME_BYTES,
    Hello,
    PeerMessage,
    Ping,
    Pong,
    Priority,
    decode_message,
)
from node.pulse import ASK_INTERVAL_S, Pulse
from node.refusals import reason_to_send

CLOSE_TIMEOUT_S: Final = 1.0
"""How long a peer may take to hear why its link ends."""

QUEUE_BYTES: Final[Mapping[Priority, int]] = MappingProxyType(
    {
        Priority.CONSENSUS: 32 * 1024 * 1024,
        Priority.TRANSACTIONS: 8 * 1024 * 1024,
        Priority.SYNC: 2 * MAX_FRAME_BYTES,
    }
)
"""Bytes that may wait for a slow peer: a link whose consensus queue overflows is cut, other frames are dropped."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Traffic:
    """Bytes of frames that a node's links have carried since its start, those that have ended included."""

    received: int = 0
    sent: int = 0


class Link:
    """One live link. `height` is the peer's last announced height."""

    def __init__(
        self,
        connection: PeerConnection,
        certificate: bytes,
        identity: NodeIdentity,
        hello: Hello,
        dialler: str,
        traffic: Traffic,
    ) -> None:
        self.name: Final = identity.name
        self.role: Final = hello.role
        self.certificate: Final = certificate
        self.certificate_expires_ms: Final = identity.expires_ms
        self.sync_only: Final = not identity.controllers
        self.dialler: Final = dialler
        self.height = hello.height
        self.frames_dropped = 0
        self._traffic = traffic
        self._connection = connection
        self._queues: tuple[deque[bytes], ...] = (deque(), deque(), deque())
        self._queued_bytes = [0, 0, 0]
        self._waiting = asyncio.Event()
        self._listening = False
        self._aborted = False
        self._pulse = Pulse(time.monotonic())
        self._cut = asyncio.Event()
        self._cut_for = ""

    @property
    def is_fresh(self) -> bool:
        """Whether the peer has answered what was asked a moment ago."""
        return self._pulse.is_fresh(time.monotonic())

    @property
    def round_trip_s(self) -> float | None:
        """The round trip of the newest question; None before the first answer."""
        return self._pulse.round_trip_s

    def send(self, frame: bytes, priority: Priority) -> bool:
        """Queue a frame; False if it was dropped because the peer is too slow."""
        if self._queued_bytes[priority] + len(frame) > QUEUE_BYTES[priority]:
            self.frames_dropped += 1
            if priority is Priority.CONSENSUS:
                self.abort()
            return False
        self._queues[priority].append(frame)
        self._queued_bytes[priority] += len(frame)
        self._waiting.set()
        return True

    async def write_frames(self) -> None:
        """Send queued frames, the most urgent first, until the link ends."""
        while True:
            priority = self._next_priority()
            if priority is None:
                self._waiting.clear()
                await self._waiting.wait()
                continue
            frame = self._queues[priority].popleft()
            self._queued_bytes[priority] -= len(frame)
            await self._connection.send(frame)
            self._traffic.sent += len(frame)

    def _next_priority(self) -> Priority | None:
        for priority in Priority:
            if self._queues[priority]:
                return priority
        return None

    async def read_message(self) -> PeerMessage:
        """Return the next message.

        Raises:
            InvalidPeerMessage: not a message.
            ConnectionClosed: the link has ended.
        """
        self._listening = True
        frame = await self._connection.recv()
        self._listening = False
        assert isinstance(frame, bytes), "the connection refuses text"
        self._traffic.received += len(frame)
        return decode_message(frame)

    async def keep_asking(self) -> None:
        """Ask whether the peer is there, and cut the link when it is lost, until the link ends."""
        while not self._pulse.is_lost:
            await asyncio.sleep(ASK_INTERVAL_S)
            received = self._connection.received_bytes
            number = self._pulse.ask(time.monotonic(), received, listening=self._listening)
            self.send(Ping(number).encode(), Priority.CONSENSUS)
        _log.warning("peer is silent: link cut", peer=self.name)
        self.abort()

    def answer(self, message: Ping | Pong) -> None:
        """Answer a question, or take an answer to one of ours.

        Raises:
            InvalidPeerMessage: an answer to what was never asked.
        """
        if isinstance(message, Ping):
            self.send(Pong(message.number).encode(), Priority.CONSENSUS)
        else:
            self._pulse.answered(message.number, time.monotonic())

    def fault(self, closed: ConnectionClosed) -> str | None:
        """Return what the peer did wrong, where that is why the connection has ended."""
        return self._connection.fault(closed)

    @property
    def is_cut(self) -> bool:
        """Whether the peer has been cut off, and is told why."""
        return self._cut.is_set()

    @property
    def is_given_up(self) -> bool:
        """Whether this node has parted with the link: what has come by it and was not heard yet does not count."""
        return self._aborted or self.is_cut

    def cut(self, reason: str) -> None:
        """Have the link ended for what the peer did; `close_when_cut` tells it."""
        if not self.is_cut:
            self._cut_for = reason
            self._cut.set()

    async def close_when_cut(self) -> None:
        """Wait until the link is cut, tell the other side why, if it still reads, and end the link."""
        await self._cut.wait()
        await self.close(CloseCode.POLICY_VIOLATION, reason_to_send(self._cut_for))

    def abort(self) -> None:
        """Cut the link at once; what is queued is lost, and what has come and was not heard yet."""
        self._aborted = True
        self._connection.transport.abort()

    async def close(self, code: CloseCode, reason: str) -> None:
        """End the link and tell the other side why, if it still reads."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._connection.close(code, reason)
        self.abort()
