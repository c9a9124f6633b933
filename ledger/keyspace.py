"""Every key of the database: a one-letter prefix, a slash, then fixed-width big-endian numbers or bytes.

Big-endian keeps the order of numbers in the order of keys, so ranges are iterated in height or index order.
docs/FORMATS.md lists what each key holds.
"""

from __future__ import annotations

from typing import Final

ENTRIES: Final = b"e/"
"""Log entries by log index."""
TILES: Final = b"t/"
"""Hash tiles of the log by level and index."""
VALUES: Final = b"v/"
"""State values by state key."""
PAGES: Final = b"p/"
"""Pages of the state tree by path."""
BLOCKS: Final = b"b/"
"""Blocks by height, without their transactions' bytes, which are log entries."""
COMMITS: Final = b"c/"
"""The commit that decided a height."""
TRANSACTIONS: Final = b"x/"
"""Where the log holds a transaction, by its id."""
WAL: Final = b"w/"
"""Records of the write-ahead log by sequence number."""
CHECKPOINTS: Final = b"k/"
"""Checkpoints with a quorum of cosignatures by height."""
VALIDATORS: Final = b"s/"
"""Validator sets by the height from which they vote."""
META: Final = b"m/"
"""Single records by name."""

_PREFIX_BYTES: Final = 2


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def entry(index: int) -> bytes:
    """Key of the log entry at `index`."""
    return ENTRIES + _number(index)


def tile(level: int, index: int) -> bytes:
    """Key of the hash tile `index` of `level` (0 holds leaf hashes); a partial tile has the same key."""
    return TILES + level.to_bytes(1, "big") + _number(index)


def value(state_key: str) -> bytes:
    """Key of the encoded state value at `state_key`."""
    return VALUES + state_key.encode()


def page(path: bytes) -> bytes:
    """Key of the state tree's page at `path`: one byte, 0 to 15, for each nibble from the root."""
    return PAGES + path


def block(height: int) -> bytes:
    """Key of the block at `height`."""
    return BLOCKS + _number(height)


def commit(height: int) -> bytes:
    """Key of the commit that decided `height`."""
    return COMMITS + _number(height)


def transaction(transaction_id: bytes) -> bytes:
    """Key of the place of the transaction with this id (32 bytes)."""
    return TRANSACTIONS + transaction_id


def wal(sequence: int) -> bytes:
    """Key of the write-ahead log's record `sequence`."""
    return WAL + _number(sequence)


def checkpoint(height: int) -> bytes:
    """Key of the quorum checkpoint made after `height`."""
    return CHECKPOINTS + _number(height)


def validators(height: int) -> bytes:
    """Key of the validator set that votes from `height` on, until the next such key."""
    return VALIDATORS + _number(height)


def meta(name: str) -> bytes:
    """Key of the single record `name` (ASCII); `head` belongs to the store itself."""
    return META + name.encode("ascii")


HEAD: Final = meta("head")
"""The newest committed height and its application hash, written by the store in the same batch."""


def number_of(key: bytes) -> int:
    """Return the number in the key of an entry, block, commit, checkpoint, validator set or WAL record."""
    return int.from_bytes(key[_PREFIX_BYTES:], "big")


def tile_of(key: bytes) -> tuple[int, int]:
    """Return level and index in the key of a tile."""
    return key[_PREFIX_BYTES], int.from_bytes(key[_PREFIX_BYTES + 1 :], "big")


def state_key_of(key: bytes) -> str:
    """Return the state key in the key of a state value."""
    return key[_PREFIX_BYTES:].decode()


def prefix_end(prefix: bytes) -> bytes | None:
    """Return the smallest key above all that begin with `prefix`; None where there is none (all 0xff)."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else None
