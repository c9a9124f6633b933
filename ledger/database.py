"""The database as pure code sees it: an ordered map of byte strings with snapshots and atomic batches.

`ledger.store.Store` is the real one; modules that must stay free of I/O are written against these protocols.
A batch holds the last change of each key. It is written whole or not at all, and is durable once written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from ledger.codec import decode_array, encode
from ledger.errors import DecodeError
from ledger.suite import HASH_BYTES


class Reader(Protocol):
    """Read access to one consistent or current version of the database."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value at `key`, or None.

        Raises:
            DamagedStoreError: the bytes on disk do not verify.
            StorageError: they cannot be read.
        """
        ...

    def iterate(
        self,
        prefix: bytes,
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) in ascending byte order of the keys that begin with `prefix`.

        Full keys `start` (inclusive) and `stop` (exclusive) narrow the range; `reverse` yields it backwards.

        Raises:
            DamagedStoreError: the bytes on disk do not verify.
            StorageError: they cannot be read.
        """
        ...


class Snapshot(Reader, Protocol):
    """The database as it was at one moment. Close it: it keeps old versions from being dropped."""

    def close(self) -> None: ...


class Batch:
    """Changes that are written together. A deleted key maps to None."""

    __slots__ = ("_changes",)

    def __init__(self) -> None:
        self._changes: dict[bytes, bytes | None] = {}

    def put(self, key: bytes, value: bytes) -> None:
        self._changes[key] = value

    def delete(self, key: bytes) -> None:
        self._changes[key] = None

    def update(self, other: Batch) -> None:
        """Add all changes of `other`; they win over those made here before."""
        self._changes.update(other._changes)

    @property
    def changes(self) -> Mapping[bytes, bytes | None]:
        """The last change of each key; None marks a deletion."""
        return self._changes

    def __len__(self) -> int:
        return len(self._changes)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest committed height and the application hash (32 bytes) after it."""

    height: int
    app_hash: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.height < 2**64 or len(self.app_hash) != HASH_BYTES:
            raise ValueError("a head is a height and a 32-byte hash")

    def encode(self) -> bytes:
        """Return `[height, app_hash]`."""
        return encode((self.height, self.app_hash))

    @staticmethod
    def decode(data: bytes) -> Head:
        """Read `[height, app_hash]`.

        Raises:
            DecodeError: it is something else.
        """
        height, app_hash = decode_array(data, 2)
        if type(height) is not int or type(app_hash) is not bytes:
            raise DecodeError("a head is [height, application hash]")
        try:
            return Head(height, app_hash)
        except ValueError as error:
            raise DecodeError(str(error)) from None


class Database(Reader, Protocol):
    """A database that can be written. One writer at a time; readers may be on other threads."""

    def head(self) -> Head | None:
        """Return the head that the last batch with one recorded, or None in an empty database."""
        ...

    def write(self, batch: Batch, head: Head | None = None) -> None:
        """Write `batch` atomically and durably; with `head`, it is the batch that commits that height.

        Raises:
            StorageError: the outcome is unknown. Stop the process; never try again.
        """
        ...

    def snapshot(self) -> Snapshot:
        """Return the database as it is now."""
        ...
