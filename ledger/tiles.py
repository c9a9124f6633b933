"""The log as tiles (c2sp.org/tlog-tiles): coordinates and paths, appending, roots and proofs, entry
bundles.

A tile of level l and index n holds up to 256 hashes of perfect subtrees of 256^l leaves; a full
tile's own root is one hash of the level above. Tiles are stored under `(level, index)`; the
right-edge tile of a level grows in place, and a reader of a smaller tree takes the prefix that its
size implies: hashes in tiles never change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ledger import merkle
from ledger.errors import DecodeError, StorageError
from ledger.limits import MAX_ENTRY_BYTES
from ledger.suite import HASH_BYTES, Suite

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
MAX_LEVEL: Final = 63
"""tlog-tiles: `<L>` is a decimal integer between 0 and 63."""

TileReader: TypeAlias = Callable[[int, int], bytes]
"""(level, index) to the stored tile: concatenated 32-byte hashes, at most 256, possibly more than a
given size needs.
"""

_Levels: TypeAlias = "list[list[bytes]]"
"""A tile's hashes and the perfect nodes above them, by height: 256, 128, … 2 of them if the tile is
full.
"""

_PATH: Final = re.compile(
    r"tile/(?P<level>entries|[0-9]{1,2})/(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[0-9]{1,3}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile's coordinates: `level` None means the bundle of entries under the level-0 tile of that
    index.
    """

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if self.level is not None and not 0 <= self.level <= MAX_LEVEL:
            raise ValueError(f"no tile level {self.level}")
        if not 0 <= self.index < 1000**7 or not 1 <= self.width <= TILE_WIDTH:
            raise ValueError(f"no tile of index {self.index} and width {self.width}")

    @property
    def path(self) -> str:
        """The path below the log's URL prefix, e.g. `tile/0/x001/x234/067.p/8`."""
        parts = [f"{self.index % 1000:03}"]
        rest = self.index // 1000
        while rest:
            parts.append(f"x{rest % 1000:03}")
            rest //= 1000
        level = "entries" if self.level is None else str(self.level)
        suffix = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(reversed(parts))}{suffix}"

    @staticmethod
    def parse(path: str) -> Tile:
        """Read a path as `path` writes it; no other spelling is accepted.

        Raises:
            DecodeError: not the path of a tile.
        """
        match = _PATH.fullmatch(path)
        if match is None:
            raise DecodeError(f"not the path of a tile: {path[:100]!r}")
        level = None if match["level"] == "entries" else int(match["level"])
        index = int(match["index"].replace("x", "").replace("/", ""))
        try:
            tile = Tile(level, index, int(match["width"] or TILE_WIDTH))
        except ValueError as error:
            raise DecodeError(str(error)) from None
        if tile.path != path:  # leading zeros, `x000`, `.p/256`
            raise DecodeError(f"not the canonical path of a tile: {path[:100]!r}")
        return tile


def tile_width(size: int, level: int, index: int) -> int:
    """Return how many hashes tile (level, index) has in a log of `size`: 0 … 256 (tlog-tiles,
    "Partial Tiles").
    """
    hashes = size >> (TILE_HEIGHT * level)
    return max(0, min(TILE_WIDTH, hashes - index * TILE_WIDTH))


def append_tiles(
    suite: Suite, size: int, leaf_hashes: Sequence[bytes], read: TileReader
) -> dict[tuple[int, int], bytes]:
    """Return the tiles that change when `leaf_hashes` are appended to a log of `size`, by (level,
    index).

    At most one stored tile is read per level. Each completed tile costs 255 node hashes, once.

    Raises:
        StorageError: a stored tile is shorter than the log's size implies.
    """
    changed: dict[tuple[int, int], bytes] = {}
    level, new_hashes = 0, list(leaf_hashes)
    while new_hashes:
        first = size >> (TILE_HEIGHT * level)
        index, width = divmod(first, TILE_WIDTH)
        content = _read_prefix(read, level, index, width) + b"".join(new_hashes)
        new_hashes = []
        for offset in range(0, len(content), TILE_WIDTH * HASH_BYTES):
            tile = content[offset : offset + TILE_WIDTH * HASH_BYTES]
            changed[level, index] = tile
            if len(tile) == TILE_WIDTH * HASH_BYTES:
                new_hashes.append(merkle.root(suite, _hashes(tile)))
            index += 1
        level += 1
    return changed


def root_from_tiles(suite: Suite, read: TileReader, size: int) -> bytes:
    """Return the root of the log's first `size` entries; see `TileTree.root`."""
    return TileTree(suite, read).root(size)


def _perfect(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Split [start, end) into perfect subtrees (height, index), largest first.

    Ranges of RFC 6962 proofs start at a multiple of the power of two that is at least their length,
    so each piece is aligned.
    """
    while start < end:
        height = (end - start).bit_length() - 1
        yield height, start >> height
        start += 1 << height


class TileTree:
    """Roots and proofs of a growing log, from its tiles. It remembers the inner nodes of tiles it
    has hashed.

    A full tile never changes, so its nodes are kept, for `keep` tiles of about 40 KB each; when
    there are more, all are dropped at once. Of the tile at the right edge of each level the nodes
    are kept until it has grown.
    """

    __slots__ = ("_edges", "_full", "_keep", "_read", "_suite")

    def __init__(self, suite: Suite, read: TileReader, *, keep: int = 256) -> None:
        self._suite = suite
        self._read = read
        self._keep = keep
        self._full: dict[tuple[int, int], _Levels] = {}
        self._edges: dict[int, tuple[int, bytes, _Levels]] = {}  # level to index, content, nodes

    def root(self, size: int) -> bytes:
        """Return the root of the log's first `size` entries (RFC 6962, section 2.1).

        Raises:
            StorageError: a tile is missing or too short.
        """
        return self._range_hashes([(0, size)])[0]

    def inclusion_proof(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return the proof that entry `index` is in the log of `size` (RFC 6962, section 2.1.1).

        Raises:
            ValueError: there is no such entry.
            StorageError: a tile is missing or too short.
        """
        return self._range_hashes(merkle.inclusion_ranges(index, size))

    def consistency_proof(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """Return the proof that the log of `new_size` extends that of `old_size` (RFC 6962, section
        2.1.2).

        Raises:
            ValueError: not 0 < old_size <= new_size.
            StorageError: a tile is missing or too short.
        """
        return self._range_hashes(merkle.consistency_ranges(old_size, new_size))

    def frontier(self, size: int) -> merkle.Frontier:
        """Return the frontier of the log's first `size` entries.

        Raises:
            StorageError: a tile is missing or too short.
        """
        seen: dict[tuple[int, int], _Levels] = {}
        nodes = (self._node(height, index, seen) for height, index in _perfect(0, size))
        return merkle.Frontier(size, tuple(nodes))

    def _range_hashes(self, ranges: Sequence[tuple[int, int]]) -> tuple[bytes, ...]:
        """Return MTH(D[start:end]) of RFC 6962, section 2.1, for each range; no tile is read
        twice.
        """
        seen: dict[tuple[int, int], _Levels] = {}
        return tuple(self._range_hash(start, end, seen) for start, end in ranges)

    def _range_hash(self, start: int, end: int, seen: dict[tuple[int, int], _Levels]) -> bytes:
        nodes = [self._node(height, index, seen) for height, index in _perfect(start, end)]
        if not nodes:
            return self._suite.digest(b"")
        computed = nodes.pop()
        while nodes:
            computed = merkle.node_hash(self._suite, nodes.pop(), computed)
        return computed

    def _node(self, height: int, index: int, seen: dict[tuple[int, int], _Levels]) -> bytes:
        """Return the root of the perfect subtree over leaves [index * 2^height, (index + 1) *
        2^height).
        """
        level, above = divmod(height, TILE_HEIGHT)
        tile_index, position = divmod(index, TILE_WIDTH >> above)
        key = (level, tile_index)
        levels = self._full.get(key) or seen.get(key)
        if levels is None:
            levels = seen[key] = self._load(level, tile_index)
        if position >= len(levels[above]):
            raise StorageError(f"tile {level}/{tile_index} is too short")
        return levels[above][position]

    def _load(self, level: int, index: int) -> _Levels:
        """Read a tile and return its hashes and all perfect nodes above them, by height 0 … 7."""
        content = self._read(level, index)
        edge = self._edges.get(level)
        if edge is not None and edge[:2] == (index, content):
            return edge[2]
        digest = self._suite.digest
        levels = [_hashes(content)]
        for _ in range(TILE_HEIGHT - 1):
            below = levels[-1]
            pairs = range(0, len(below) - 1, 2)
            levels.append([digest(b"\x01" + below[i] + below[i + 1]) for i in pairs])
        if len(levels[0]) < TILE_WIDTH:
            self._edges[level] = (index, content, levels)
            return levels
        if len(self._full) >= self._keep:
            self._full.clear()
        self._full[level, index] = levels
        return levels


def _read_prefix(read: TileReader, level: int, index: int, width: int) -> bytes:
    """Return the first `width` hashes of a stored tile; a tile not yet begun is not read."""
    if width == 0:
        return b""
    content = read(level, index)
    if len(content) < width * HASH_BYTES:
        raise StorageError(
            f"tile {level}/{index} has {len(content)} bytes, needs {width * HASH_BYTES}"
        )
    return content[: width * HASH_BYTES]


def _hashes(content: bytes) -> list[bytes]:
    if len(content) % HASH_BYTES or len(content) > TILE_WIDTH * HASH_BYTES:
        raise StorageError(f"a tile cannot have {len(content)} bytes")
    return [content[i : i + HASH_BYTES] for i in range(0, len(content), HASH_BYTES)]


def encode_entries(entries: Iterable[bytes]) -> bytes:
    """Return an entry bundle: each entry with its length as a big-endian uint16 (tlog-tiles, "Log
    entries").

    Raises:
        ValueError: an entry is longer than 65,535 bytes.
    """
    parts = []
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise ValueError(f"entry of {len(entry)} bytes, at most {MAX_ENTRY_BYTES}")
        parts.append(len(entry).to_bytes(2, "big") + entry)
    return b"".join(parts)


def decode_entries(data: bytes, count: int) -> tuple[bytes, ...]:
    """Read an entry bundle of exactly `count` entries.

    Raises:
        DecodeError: cut short, or bytes left over.
    """
    entries = []
    position = 0
    for _ in range(count):
        start = position + 2
        position = start + int.from_bytes(data[start - 2 : start], "big")
        if start > len(data) or position > len(data):
            raise DecodeError("entry bundle is cut short")
        entries.append(data[start:position])
    if position != len(data):
        raise DecodeError("bytes after the last entry of a bundle")
    return tuple(entries)
