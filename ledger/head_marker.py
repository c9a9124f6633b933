"""The head marker of a store: the newest height that a batch committed, in a file beside the database. Blocking I/O."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Final

from ledger.database import Head
from ledger.errors import DamagedStoreError
from ledger.files import sync_directory


class HeadMarker:
    """A head in a file of two slots, written in turn and in place, so that a torn write leaves the other.

    A slot is height (u64), application hash (32 bytes) and CRC-32 of both, big-endian, in a sector of its own.
    """

    _RECORD: Final = struct.Struct(">Q32s")
    _CHECK: Final = struct.Struct(">I")
    _SLOT_BYTES: Final = 4096

    __slots__ = ("_descriptor", "_next_slot")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._next_slot = 0

    @classmethod
    def open(cls, path: Path, *, create: bool) -> HeadMarker:
        """Open the marker; `create` it where the database has no head yet.

        Raises:
            DamagedStoreError: it is missing, or has not the size of a marker.
        """
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        try:
            descriptor = os.open(path, flags, 0o644)
        except FileNotFoundError:
            raise DamagedStoreError(f"the head marker {path} is missing") from None
        marker = cls(descriptor)
        try:
            if os.fstat(descriptor).st_size != 2 * cls._SLOT_BYTES:
                if not create:
                    raise DamagedStoreError(f"the head marker {path} has not the size of one")
                os.pwrite(descriptor, bytes(2 * cls._SLOT_BYTES), 0)
                os.fsync(descriptor)
                sync_directory(path.parent)
        except BaseException:
            marker.close()
            raise
        return marker

    def read(self) -> Head | None:
        """Return the newer of the two slots, or None before the first commit.

        Raises:
            DamagedStoreError: both slots were written, and neither can be read.
        """
        slots = [
            os.pread(
                self._descriptor, self._RECORD.size + self._CHECK.size, slot * self._SLOT_BYTES
            )
            for slot in (0, 1)
        ]
        heads = [self._decode(slot) for slot in slots]
        written = [head for head in heads if head is not None]
        if not written:
            if any(any(slot) for slot in slots[1:]):
                raise DamagedStoreError("neither slot of the head marker can be read")
            return None
        newest = max(written, key=lambda head: head.height)
        self._next_slot = 1 - heads.index(newest)
        return newest

    def write(self, head: Head) -> None:
        """Write the older slot and sync it."""
        record = self._RECORD.pack(head.height, head.app_hash)
        record += self._CHECK.pack(zlib.crc32(record))
        os.pwrite(self._descriptor, record, self._next_slot * self._SLOT_BYTES)
        os.fdatasync(self._descriptor)
        self._next_slot = 1 - self._next_slot

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:  # once only: the number may be another file's by now
            os.close(descriptor)

    def _decode(self, slot: bytes) -> Head | None:
        record, check = slot[: self._RECORD.size], slot[self._RECORD.size :]
        if len(slot) < self._RECORD.size + self._CHECK.size or check != self._CHECK.pack(
            zlib.crc32(record)
        ):
            return None
        height, app_hash = self._RECORD.unpack(record)
        return Head(height, app_hash)
