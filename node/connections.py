"""WebSocket connections that take binary messages of one frame each, and no more pings than their sender reads answers.

Nodes send every message in one frame. The library that reads them would gather the fragments of a message without a
bound on their number – empty ones cost their sender six bytes and us some hundred – and answer pings whether or not
anybody reads the answers. So a fragment ends the connection here, as text does, and answers that pile up.
"""

from __future__ import annotations

from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event

from node.messages import MAX_FRAME_BYTES
from node.refusals import as_shown

MAX_UNREAD_BYTES: Final = 2 * MAX_FRAME_BYTES
"""What may wait to be written when a ping comes: one frame of the largest size, and as much again of answers."""

_FAULTS: Final = frozenset(
    {CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA, CloseCode.MESSAGE_TOO_BIG}
)
"""What we end a connection with when the other side breaks the rules of WebSocket or ours."""


class PeerConnection(Connection):
    """Refuses text, fragments and unread answers; `refused` says which.

    `received_bytes` counts all that has come: of a large frame, long before it is whole.
    """

    refused: str | None = None
    received_bytes = 0

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        super().data_received(data)

    def process_event(self, event: Event) -> None:
        """Take one event of the library; of a refused connection, none."""
        if isinstance(event, Frame):
            if self.refused is None:
                self._check(event)
            if self.refused is not None:
                return
        super().process_event(event)

    def fault(self, closed: ConnectionClosed) -> str | None:
        """Return what the other side did wrong, where that is why the connection has ended."""
        if self.refused is not None:
            return self.refused
        sent = closed.sent
        if sent is None or closed.rcvd_then_sent or sent.code not in _FAULTS:
            return None
        return sent.reason or f"broke the protocol ({sent.code})"

    def _check(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PING:
            if self.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
                self.refused = "does not read the answers to its pings"
                self.transport.abort()
            return
        if frame.opcode is Opcode.TEXT:
            self.refused = "a text frame"
        elif frame.opcode is Opcode.CONT or not frame.fin:
            self.refused = "a message in fragments"
        if self.refused is not None:
            self.protocol.fail(CloseCode.PROTOCOL_ERROR, self.refused)
            self.send_data()


class PeerClientConnection(PeerConnection, ClientConnection):
    """A connection that we have dialled."""


class PeerServerConnection(PeerConnection, ServerConnection):
    """A connection that we have accepted."""


def told_reason(closed: ConnectionClosed) -> str | None:
    """Return why the other end refuses us, where that is how a connection has ended: what of it can be shown."""
    told = closed.rcvd
    if told is None or told.code != CloseCode.POLICY_VIOLATION or not told.reason:
        return None
    return as_shown(told.reason)
