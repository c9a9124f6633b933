"""Damage to the files of a stopped node: which places hurt, and how to hit them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

BLOCK_BYTES: Final = 32 * 1024
"""LevelDB's logs and manifests are cut into blocks of this size; no record's header spans two."""

HEADER_BYTES: Final = 7
"""Of a record: checksum (4), length (2), kind (1)."""


def flip(path: Path, at: int, bit: int = 6) -> None:
    """Turn one bit over."""
    with path.open("r+b") as file:
        file.seek(at)
        [byte] = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


def cut(path: Path, length: int) -> None:
    """Keep the beginning of a file."""
    os.truncate(path, length)


def newest(database: Path, pattern: str) -> Path:
    """Return the newest file of a LevelDB directory that matches: numbers in names grow."""
    return max(database.glob(pattern), key=lambda path: path.name)


def largest(database: Path, pattern: str) -> Path:
    """Return the largest file of a LevelDB directory that matches."""
    return max(database.glob(pattern), key=lambda path: path.stat().st_size)


def records(path: Path) -> Iterator[int]:
    """Yield the offset of each record's header in a log or manifest."""
    content = path.read_bytes()
    offset = 0
    while offset + HEADER_BYTES <= len(content):
        left = BLOCK_BYTES - offset % BLOCK_BYTES
        length = int.from_bytes(content[offset + 4 : offset + 6], "little")
        if left < HEADER_BYTES or (length == 0 and content[offset + 6] == 0):
            offset += left  # the rest of the block is filled with zeros
            continue
        yield offset
        offset += HEADER_BYTES + length


def places_in_log(path: Path) -> dict[str, int]:
    """Return offsets where one bit may do most harm: by name."""
    headers, size = list(records(path)), path.stat().st_size
    places = {}
    for which, offset in (("first", headers[0]), ("some", headers[len(headers) // 2])):
        for part, distance in (("checksum", 0), ("length", 4), ("length, high", 5), ("kind", 6)):
            places[f"{which} record, {part}"] = offset + distance
        places[f"{which} record, content"] = offset + HEADER_BYTES
    for part, distance in (("checksum", 0), ("length", 4), ("length, high", 5), ("kind", 6)):
        places[f"last record, {part}"] = headers[-1] + distance
    places["last byte"] = size - 1
    for number in range(1, size // BLOCK_BYTES + 1):
        for distance in (-1, 0, 5, 6):
            if number * BLOCK_BYTES + distance < size:
                places[f"block {number}{distance:+}"] = number * BLOCK_BYTES + distance
    return places
