"""The LevelDB store of a data directory; the only module that imports plyvel.

    <directory>/db/     the LevelDB database
    <directory>/head    the head marker: the newest height that a batch committed

Every batch is one atomic, synced write. After a write or sync has failed nothing is known about the disk: the
store refuses all further writes, and the process must stop and open it anew (never a second fsync: the kernel
may have dropped the pages that the first one could not write).

LevelDB alone can lose the newest batches without an error: a log cut short looks like a crash. So the head marker
is written after each batch that commits a height, and a database whose head is behind its marker is refused.
All other damage shows as a failed checksum, when opening or when reading: `DamagedStoreError`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import plyvel

from ledger import keyspace
from ledger.database import Batch, Head
from ledger.errors import DamagedStoreError, DecodeError, StorageError
from ledger.files import sync_directory
from ledger.head_marker import HeadMarker

WRITE_BUFFER_BYTES: Final = 64 * 1024 * 1024
"""About so much: a block's batch must fit many times over, or writers wait for compaction."""

BLOCK_CACHE_BYTES: Final = 64 * 1024 * 1024
"""Holds the hot blocks of tables; the tree's decoded pages have their own cache."""

TABLE_BYTES: Final = 16 * 1024 * 1024
"""Large enough that ten million keys stay within LevelDB's 1,000 open tables."""

BLOOM_FILTER_BITS: Final = 10
"""One per cent false positives: most look-ups of absent transaction ids read no table."""

COMPACTION_NICENESS: Final = 10
"""A tenth of the processor time of another thread that wants it too: enough not to be starved, and to write a full
buffer before the next one is full."""

FIRST_DAMAGED_COPIES: Final = 4
NEWEST_DAMAGED_COPIES: Final = 2
"""Which copies of damaged stores are kept; each is as large as the store was. One incident makes two where it cannot be
recovered: the store as it was found, and what repair has made of it."""

_DATABASE: Final = "db"
_MARKER: Final = "head"
_DAMAGED: Final = re.compile(r"damaged-([1-9][0-9]{0,5})", re.ASCII)


class _PlyvelReader(Protocol):
    """What plyvel's database and its snapshots have in common."""

    def get(self, key: bytes, *, verify_checksums: bool) -> bytes | None: ...

    def iterator(self, **options: Any) -> Any: ...


def _storage_error(what: str, error: Exception) -> StorageError:
    """Translate an error of plyvel or the system."""
    if isinstance(error, plyvel.CorruptionError):
        return DamagedStoreError(f"{what}: {_text(error)}")
    return StorageError(f"{what}: {_text(error)}")


def _reading_error(error: Exception) -> StorageError:
    """Translate an error of reading: a table that is empty, and so cannot be mapped, is damage too."""
    what, text = "cannot read the database", _text(error)
    if "Invalid argument" in text:
        return DamagedStoreError(f"{what}: {text}")
    return _storage_error(what, error)


def _text(error: Exception) -> str:
    # plyvel passes LevelDB's message on as bytes
    argument = error.args[0] if error.args else ""
    return argument.decode("utf-8", "replace") if isinstance(argument, bytes) else str(error)


_FAILURES: Final = (plyvel.Error, OSError, RuntimeError)
"""plyvel's own errors; the system's; RuntimeError is plyvel's word for a closed database."""


def _get(source: _PlyvelReader, key: bytes) -> bytes | None:
    try:
        return source.get(key, verify_checksums=True)
    except _FAILURES as error:
        raise _reading_error(error) from error


def _iterate(
    source: _PlyvelReader, prefix: bytes, start: bytes | None, stop: bytes | None, reverse: bool
) -> Iterator[tuple[bytes, bytes]]:
    end = keyspace.prefix_end(prefix)
    first = prefix if start is None else max(start, prefix)
    last = end if stop is None else stop if end is None else min(stop, end)
    if last is not None and first >= last:
        return
    try:
        with source.iterator(
            start=first, stop=last, reverse=reverse, verify_checksums=True, fill_cache=False
        ) as rows:
            yield from rows
    except _FAILURES as error:
        raise _reading_error(error) from error


class StoreSnapshot:
    """The store as it was when `Store.snapshot` was called."""

    __slots__ = ("_snapshot",)

    def __init__(self, snapshot: Any) -> None:
        self._snapshot = snapshot

    def get(self, key: bytes) -> bytes | None:
        return _get(self._snapshot, key)

    def iterate(
        self,
        prefix: bytes,
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        return _iterate(self._snapshot, prefix, start, stop, reverse)

    def close(self) -> None:
        """Let LevelDB drop what only this snapshot held. Reading afterwards raises `StorageError`."""
        self._snapshot.close()


class Store:
    """An open database. One process at a time; threads may read while one writes."""

    def __init__(self, database: Any, marker: HeadMarker, head: Head | None) -> None:
        """Use `Store.open`."""
        self._database = database
        self._marker = marker
        self._head = head
        self._failure: str | None = None
        self._writing = threading.Lock()

    @staticmethod
    def open(directory: Path) -> Store:
        """Open the store in `directory`, which is created when it does not exist.

        Raises:
            DamagedStoreError: the database is damaged, partly missing, or behind its head marker; try `recover`.
            StorageError: it cannot be opened, for instance because another process has it open.
        """
        path = directory / _DATABASE
        fresh = not (path.exists() or (directory / _MARKER).exists())
        if fresh:
            _create(directory)
        # A database is created only in a new directory: in an old one, its absence is damage.
        return _open(directory, _open_database(path, create=fresh or _is_empty(path)))

    @staticmethod
    def recover(directory: Path) -> Store:
        """Open a damaged store leniently, having copied it to `<directory>/damaged-<n>` first; of
        such copies the first and the newest are kept.

        What opens again may still lack rows. The caller verifies roots and hash chain before using it (`fsck`), then
        closes it and calls `open`; where that fails, it calls `set_aside` and synchronises anew.

        Raises:
            DamagedStoreError: it does not open even so, or is behind its head marker.
            StorageError: it cannot be copied or opened.
        """
        path = directory / _DATABASE
        try:
            _copy(path, _next_damaged(directory))
        except (OSError, shutil.Error) as error:
            raise StorageError(f"cannot copy {path}: {error}") from error
        _forget_damaged(directory)
        try:
            database = _open_database(path, lenient=True)
        except DamagedStoreError:
            _repair(path)
            database = _open_database(path, lenient=True)
        return _open(directory, database)

    @staticmethod
    def marked_height(directory: Path) -> int | None:
        """Return the height that a closed store has reached as its head marker says; None where that says nothing."""
        try:
            marker = HeadMarker.open(directory / _MARKER, create=False)
        except (OSError, DamagedStoreError):
            return None
        try:
            head = marker.read()
        except (OSError, DamagedStoreError):
            return None
        finally:
            marker.close()
        return None if head is None else head.height

    @staticmethod
    def set_aside(directory: Path) -> Path:
        """Move a closed store, its marker included, to `<directory>/damaged-<n>`; return that directory.

        Raises:
            StorageError: it cannot be moved.
        """
        try:
            aside = _next_damaged(directory)
            aside.mkdir()
            # The marker goes first: a database without one is refused, a marker without a database forgotten.
            for name in (_MARKER, _DATABASE):
                if (directory / name).exists():
                    (directory / name).rename(aside / name)
            sync_directory(directory)
        except OSError as error:
            raise StorageError(f"cannot move the store in {directory}: {error}") from error
        _forget_damaged(directory)
        return aside

    def head(self) -> Head | None:
        return self._head

    def get(self, key: bytes) -> bytes | None:
        return _get(self._database, key)

    def iterate(
        self,
        prefix: bytes,
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        return _iterate(self._database, prefix, start, stop, reverse)

    def write(self, batch: Batch, head: Head | None = None) -> None:
        with self._writing:
            if self._failure is not None:
                raise StorageError(f"the store stopped after a failed write: {self._failure}")
            try:
                self._write(batch, head)
            except _FAILURES as error:
                self._failure = _text(error)
                raise _storage_error("cannot write the database", error) from error

    def _write(self, batch: Batch, head: Head | None) -> None:
        if head is not None and self._head is not None and head.height < self._head.height:
            raise ValueError(f"height {head.height} after {self._head.height}")
        # transaction=True: without it plyvel writes what it has even when the block raises
        with self._database.write_batch(transaction=True, sync=True) as rows:
            for key, value in batch.changes.items():
                if value is None:
                    rows.delete(key)
                else:
                    rows.put(key, value)
            if head is not None:
                rows.put(keyspace.HEAD, head.encode())
        if head is not None:
            self._marker.write(head)
            self._head = head

    def snapshot(self) -> StoreSnapshot:
        try:
            return StoreSnapshot(self._database.snapshot())
        except _FAILURES as error:
            raise _reading_error(error) from error

    def verify_checksums(self) -> int:
        """Read every row with its checksum; return their number.

        Raises:
            DamagedStoreError: one does not verify.
            StorageError: one cannot be read.
        """
        return sum(1 for _ in self.iterate(b""))

    def close(self) -> None:
        """Close the database. What is read or written afterwards raises `StorageError`."""
        with self._writing:
            self._database.close()
            self._marker.close()


def lower_compaction_priority() -> None:
    """Have LevelDB compact, in this process, with less priority than everything else has that asks for a processor.

    Compaction keeps a processor busy for a second and more at a time. LevelDB has one thread for it whatever the number
    of databases, starts it when it is first needed, and a thread begins with the priority of the one that starts it. So
    a thread of ours that gives up its own has it started, in a database that is thrown away. It is a wish: where the
    system does not grant it, nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return  # elsewhere a priority is the whole process'
    starter = threading.Thread(target=_start_compaction_thread, name="compaction")
    starter.start()
    starter.join()


def _start_compaction_thread() -> None:
    # LevelDB may have no place for files here, and a sandbox may forbid the rest.
    with suppress(*_FAILURES), tempfile.TemporaryDirectory(prefix="mulu-") as scratch:
        os.nice(COMPACTION_NICENESS)  # of this thread alone
        database = plyvel.DB(scratch, create_if_missing=True)
        database.compact_range()
        database.close()


def _create(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / _DATABASE).mkdir()
        sync_directory(directory)
        sync_directory(directory.parent)  # where `directory` may be new
    except OSError as error:
        raise StorageError(f"cannot create {directory}: {error.strerror}") from error


def _is_empty(path: Path) -> bool:
    """Tell whether a crash left nothing but the directory that `_create` made."""
    return path.is_dir() and not any(path.iterdir())


def _open_database(path: Path, *, create: bool = False, lenient: bool = False) -> Any:
    try:
        database = plyvel.DB(
            str(path),
            create_if_missing=create,
            paranoid_checks=not lenient,
            write_buffer_size=_write_buffer_bytes(),
            lru_cache_size=BLOCK_CACHE_BYTES,
            max_file_size=TABLE_BYTES,
            bloom_filter_bits=BLOOM_FILTER_BITS,
        )
    except _FAILURES as error:
        raise _opening_error(path, error) from error
    try:
        # LevelDB renames CURRENT last and syncs no directory after it: until a file system that keeps no order of names
        # has the new one, synced writes could be lost with the old.
        sync_directory(path)
    except OSError as error:
        database.close()
        raise StorageError(f"cannot sync {path}: {error.strerror}") from error
    return database


def _write_buffer_bytes() -> int:
    """Return `WRITE_BUFFER_BYTES`, up to a quarter more or less.

    Validators write the same: else all would be busy with their full buffers at the same moment, and no quorum be left.
    """
    return WRITE_BUFFER_BYTES * (192 + os.urandom(1)[0] % 129) // 256


def _repair(path: Path) -> None:
    """Let LevelDB rebuild its manifest from whatever tables and logs can be read."""
    try:
        plyvel.repair_db(str(path), max_file_size=TABLE_BYTES, bloom_filter_bits=BLOOM_FILTER_BITS)
    except _FAILURES as error:
        raise _opening_error(path, error) from error


def _damaged_copies(directory: Path) -> dict[int, Path]:
    """Return what is called `damaged-<n>`, by ascending n; other names are none of ours."""
    found = {
        int(match[1]): path
        for path in directory.iterdir()
        if (match := _DAMAGED.fullmatch(path.name)) is not None
    }
    return dict(sorted(found.items()))


def _next_damaged(directory: Path) -> Path:
    """Return `damaged-<n>` for the n after the last one."""
    return directory / f"damaged-{max(_damaged_copies(directory), default=0) + 1}"


def _copy(database: Path, copy: Path) -> None:
    """Copy a database whole, or leave nothing."""
    try:
        shutil.copytree(database, copy / _DATABASE)
    except BaseException:
        shutil.rmtree(copy, ignore_errors=True)
        raise


def _forget_damaged(directory: Path) -> None:
    """Remove all copies but the first and the newest, so that a disk that goes on failing is not filled with them.

    Best effort: what cannot be removed, and what is no directory of ours (a link to another disk), stays.
    """
    with suppress(OSError):
        copies = [path for path in _damaged_copies(directory).values() if not path.is_symlink()]
        for path in copies[FIRST_DAMAGED_COPIES:-NEWEST_DAMAGED_COPIES]:
            shutil.rmtree(path, ignore_errors=True)


def _opening_error(path: Path, error: Exception) -> StorageError:
    text = _text(error)
    if "/LOCK: " in text:
        return StorageError(f"{path} is open already, here or in another process ({text})")
    if isinstance(error, OSError) and "No such file" not in text:
        return StorageError(f"cannot open {path}: {text}")
    # a checksum, a missing file that others name, or a directory that holds no database
    return DamagedStoreError(f"cannot open {path}: {text}")


def _open(directory: Path, database: Any) -> Store:
    """Compare the database's head with its marker, and bring the marker forward where a crash came between."""
    marker: HeadMarker | None = None
    try:
        head = _head_of(database)
        marker = HeadMarker.open(directory / _MARKER, create=head is None)
        marked = marker.read()
        if marked is not None and _is_behind(head, marked):
            raise DamagedStoreError(
                f"{directory}: the database ends at {_describe(head)}, but {_describe(marked)} was committed"
            )
        if head is not None and head != marked:
            marker.write(head)
        return Store(database, marker, head)
    except BaseException as error:
        database.close()
        if marker is not None:
            marker.close()
        if isinstance(error, OSError):
            raise StorageError(f"cannot use {directory / _MARKER}: {error.strerror}") from error
        raise


def _head_of(database: Any) -> Head | None:
    encoded = _get(database, keyspace.HEAD)
    try:
        return None if encoded is None else Head.decode(encoded)
    except DecodeError as error:
        raise DamagedStoreError(f"the database's head is not readable: {error}") from error


def _is_behind(head: Head | None, marked: Head) -> bool:
    """Tell whether the database lacks, or contradicts, the commit that the marker names."""
    return (
        head is None
        or head.height < marked.height
        or (head.height == marked.height and head.app_hash != marked.app_hash)
    )


def _describe(head: Head | None) -> str:
    return "nothing" if head is None else f"height {head.height} ({head.app_hash.hex()[:16]})"
