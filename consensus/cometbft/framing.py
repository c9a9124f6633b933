"""Frames of the ABCI socket: an unsigned LEB128 length, then that many bytes of one protobuf message.

ABCI specification, "ABCI++ client and server", section on the socket protocol; protobuf encoding of varints.
"""

from __future__ import annotations

from typing import Final

from consensus.cometbft.errors import InvalidAbciMessage

MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
"""A block's 4 MiB of transactions with their frames, and as much again as may wait in a mempool's proposal."""

_MAX_LENGTH_BYTES: Final = 4
"""28 bits say more than the bound allows."""


def encode_frame(message: bytes) -> bytes:
    """Return a message behind its length."""
    length, head = len(message), bytearray()
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + message


class FrameReader:
    """Cuts a stream into messages: bytes in, whole messages out. What is not whole waits."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take in bytes; return the messages that are whole now.

        Raises:
            InvalidAbciMessage: a length beyond the bound, or one that is not in its shortest form.
        """
        buffer = self._buffer
        buffer += data
        messages, start = [], 0
        while True:
            head = self._length(start)
            if head is None:
                break
            first, length = head
            if len(buffer) < first + length:
                break
            messages.append(bytes(buffer[first : first + length]))
            start = first + length
        del buffer[:start]
        return messages

    def _length(self, start: int) -> tuple[int, int] | None:
        """Return where the message begins whose length begins at `start`, and that length; None if more must come."""
        length = 0
        for position in range(_MAX_LENGTH_BYTES):
            if start + position >= len(self._buffer):
                return None
            byte = self._buffer[start + position]
            length |= (byte & 0x7F) << 7 * position
            if byte < 0x80:
                if position and not byte:
                    raise InvalidAbciMessage("a length that is not in its shortest form")
                if length > MAX_FRAME_BYTES:
                    break
                return start + position + 1, length
        raise InvalidAbciMessage(f"a message of more than {MAX_FRAME_BYTES} bytes")
