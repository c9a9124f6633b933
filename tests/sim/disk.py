"""A simulated disk: a log of batches of which only what was synced outlives a crash for certain, and small files.

A write appends a record and syncs it; the process may die at each step between. What was appended and not synced is
lost, torn or whole after the crash, as chance has it. A record carries its checksum: a torn one is cut off when the
database is opened again. A file (a guard's record) is replaced: after a crash it is the old one or the new one.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

from ledger.codec import decode_array, encode
from ledger.database import Batch, Head
from ledger.errors import DecodeError, StorageError
from ledger.keyspace import WAL, prefix_end
from node.signing_guard import NEVER_SIGNED

Reach = Callable[[str], None]
"""Called with the name of each point of a write at which the process may die, or the write fail; it raises then."""


class Crash(BaseException):
    """The process dies here."""


class Contents:
    """Keys with all their versions, in order."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.versions: dict[bytes, list[tuple[int, bytes | None]]] = {}
        self.version = 0
        self.heads: list[tuple[int, Head | None]] = [(0, None)]

    def apply(self, batch: Batch, head: Head | None) -> None:
        self.version += 1
        version = self.version
        for key, value in batch.changes.items():
            known = self.versions.get(key)
            if known is None:
                self.versions[key] = [(version, value)]
                insort(self.keys, key)
            else:
                known.append((version, value))
        if head is not None:
            self.heads.append((version, head))

    def get(self, key: bytes, version: int) -> bytes | None:
        for written, value in reversed(self.versions.get(key, ())):
            if written <= version:
                return value
        return None

    def back_to(self, version: int) -> Contents:
        """Return the contents as they were in an earlier version: an old backup."""
        old = Contents()
        old.version = version
        for key in self.keys:
            kept = [one for one in self.versions[key] if one[0] <= version]
            if kept:
                old.keys.append(key)
                old.versions[key] = kept
        old.heads = [one for one in self.heads if one[0] <= version]
        return old


class _View:
    """One version of the contents; implements `ledger.database.Snapshot`."""

    def __init__(self, contents: Contents, version: int) -> None:
        self._contents = contents
        self._version = version

    def get(self, key: bytes) -> bytes | None:
        return self._contents.get(key, self._version)

    def iterate(
        self,
        prefix: bytes,
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        end = prefix_end(prefix)
        keys = self._contents.keys
        first = bisect_left(keys, max(prefix, start or b""))
        bounds = [bound for bound in (end, stop) if bound is not None]
        last = bisect_left(keys, min(bounds)) if bounds else len(keys)
        found = keys[first:last]
        for key in reversed(found) if reverse else found:
            value = self.get(key)
            if value is not None:
                yield key, value

    def close(self) -> None:
        pass


class File:
    """A small file that is replaced as a whole; `content` is None where there is none."""

    def __init__(self, name: str, content: bytes | None) -> None:
        self.name = name
        self.content = content
        self._written: bytes | None = None

    def write(self, data: bytes) -> None:
        self._written = data

    def sync(self) -> None:
        self.content, self._written = self._written, None

    def settle(self, random: Random) -> None:
        """The machine starts: it is the old one or the new one."""
        if self._written is not None and random.random() < 0.5:
            self.content = self._written
        self._written = None


class Disk:
    """What a machine has besides its memory. `injected` counts what happened to it."""

    def __init__(self, random: Random, last_sign: bytes | None, injected: Counter[str]) -> None:
        self._random = random
        self._injected = injected
        self.contents = Contents()
        self.last_sign = File("guard", last_sign)
        self.checkpoint_guard = File("checkpoint guard", NEVER_SIGNED)
        self.forgets_syncs = False
        """A disk that lies: what it calls synced is lost with the crash. For tests of the tests."""
        self._unsynced: tuple[Batch, Head | None] | None = None
        self._since_boot = 0

    def open(self) -> None:
        """The machine starts: what was on the way to the disk has come to it, or not."""
        if self._unsynced is not None:
            self._settle(*self._unsynced)
            self._unsynced = None
        for file in (self.last_sign, self.checkpoint_guard):
            file.settle(self._random)
        if self.forgets_syncs:
            self.contents = self.contents.back_to(max(self._since_boot, self.contents.version - 2))
        self._since_boot = self.contents.version

    def _settle(self, batch: Batch, head: Head | None) -> None:
        """An appended record that was not synced: what has reached the disk of it?"""
        record = _frame(batch, head)
        length = self._random.choice((0, self._random.randrange(len(record)), len(record)))
        try:
            survived = _unframe(record[:length])
        except DecodeError:
            self._injected["torn write" if length else "lost write"] += 1
        else:
            self._injected["unsynced write that survived"] += 1
            self.contents.apply(*survived)

    def append(self, batch: Batch, head: Head | None) -> None:
        self._unsynced = (batch, head)

    def sync(self) -> None:
        assert self._unsynced is not None
        self.contents.apply(*self._unsynced)
        self._unsynced = None

    def wipe(self) -> None:
        """Lose the data directory; the key and its guard stay."""
        self.contents = Contents()
        self._unsynced = None
        self._since_boot = 0

    def restore_backup(self) -> None:
        """Put back an old copy of the data directory; the key and its guard stay."""
        self._go_back(self._random.randint(0, self.contents.version))

    def lose_log(self) -> None:
        """Lose all that was written after the last block: the write-ahead log of the height."""
        self._go_back(self.contents.heads[-1][0])

    def _go_back(self, version: int) -> None:
        self._unsynced = None
        self.contents = self.contents.back_to(version)
        self._since_boot = 0


class SimulatedDatabase:
    """Implements `ledger.database.Database` for one life of a process."""

    def __init__(self, disk: Disk, reach: Reach) -> None:
        disk.open()
        self._disk = disk
        self._contents = disk.contents
        self._failed = False
        self._reach = reach

    def head(self) -> Head | None:
        return self._contents.heads[-1][1]

    def write(self, batch: Batch, head: Head | None = None) -> None:
        if self._disk.contents is not self._contents:
            raise StorageError("the disk is another process' now")
        if self._failed:
            raise StorageError("the store stopped after a failed write")
        is_log = any(key.startswith(WAL) for key in batch.changes)
        kind = "block write" if head is not None else "log write" if is_log else "checkpoint write"
        try:
            self._reach(f"before {kind}")
            self._disk.append(batch, head)
            self._reach(f"during {kind}")
        except StorageError:
            self._failed = True
            raise
        self._disk.sync()
        self._reach(f"after {kind}")

    def get(self, key: bytes) -> bytes | None:
        return self._contents.get(key, self._contents.version)

    def iterate(
        self,
        prefix: bytes,
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        return self.snapshot().iterate(prefix, start=start, stop=stop, reverse=reverse)

    def snapshot(self) -> _View:
        return _View(self._contents, self._contents.version)


def _frame(batch: Batch, head: Head | None) -> bytes:
    content = encode(
        (
            tuple((key, value) for key, value in batch.changes.items()),
            None if head is None else head.encode(),
        )
    )
    return zlib.crc32(content).to_bytes(4, "big") + content


def _unframe(record: bytes) -> tuple[Batch, Head | None]:
    checksum, content = record[:4], record[4:]
    if len(checksum) < 4 or zlib.crc32(content).to_bytes(4, "big") != checksum:
        raise DecodeError("a torn record")
    changes, head = decode_array(content, 2)
    batch = Batch()
    assert isinstance(changes, tuple)
    for change in changes:
        assert isinstance(change, tuple)
        key, value = change
        assert isinstance(key, bytes)
        if isinstance(value, bytes):
            batch.put(key, value)
        else:
            batch.delete(key)
    return batch, Head.decode(head) if isinstance(head, bytes) else None
