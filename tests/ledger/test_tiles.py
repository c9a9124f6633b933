"""Tile coordinates, growing logs, proofs from tiles, entry bundles (c2sp.org/tlog-tiles)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import merkle, tiles
from ledger.errors import DecodeError, StorageError
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.tiles import Tile
from tests.ledger.sample_chain import tiles_of

_LEAVES = [merkle.leaf_hash(SUITE, b"entry %d" % number) for number in range(70_000)]


class _Log:
    """Tiles in memory, grown by `append_tiles` alone."""

    def __init__(self) -> None:
        self.size = 0
        self.tiles: dict[tuple[int, int], bytes] = {}

    def read(self, level: int, index: int) -> bytes:
        return self.tiles[level, index]

    def grow(self, size: int) -> dict[tuple[int, int], bytes]:
        changed = tiles.append_tiles(SUITE, self.size, _LEAVES[self.size : size], self.read)
        self.tiles.update(changed)
        self.size = size
        return changed


@pytest.fixture(scope="module")
def log() -> _Log:
    log = _Log()
    for size in (1, 256, 257, 1000, 40_000, 65_536, 70_000):
        log.grow(size)
    return log


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),  # the specification's example
        (Tile(2, 999, 1), "tile/2/999.p/1"),
        (Tile(63, 1000, 255), "tile/63/x001/000.p/255"),
        (Tile(None, 0, 112), "tile/entries/000.p/112"),
        (Tile(None, 273), "tile/entries/273"),
    ],
)
def test_a_path_names_a_tile_both_ways(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert Tile.parse(path) == tile


@given(
    st.none() | st.integers(0, tiles.MAX_LEVEL),
    st.integers(0, 1000**7 - 1),
    st.integers(1, tiles.TILE_WIDTH),
)
def test_every_tile_has_one_path(level: int | None, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert Tile.parse(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/../000",
        "tile/0/\u0660\u0660\u0660",
        "tile/entries/000\n",
        "tile/data/000",
        "tile/0/" + "x001/" * 7 + "000",
    ],
)
def test_any_other_spelling_of_a_path_is_refused(path: str) -> None:
    with pytest.raises(DecodeError):
        Tile.parse(path)


@given(st.text(max_size=40))
def test_text_is_a_path_or_a_decode_error(text: str) -> None:
    with contextlib.suppress(DecodeError):
        assert Tile.parse(f"tile/{text}").path == f"tile/{text}"


def test_a_log_of_70000_entries_has_the_tiles_of_the_specification(log: _Log) -> None:
    named = list(tiles_of(70_000))
    assert {(tile.level, tile.index) for tile in named} == set(log.tiles)
    full = [tile for tile in named if tile.width == 256]
    partial = [tile for tile in named if tile.width < 256]
    assert [sum(tile.level == level for tile in full) for level in (0, 1, 2)] == [273, 1, 0]
    assert [(tile.level, tile.width) for tile in partial] == [(0, 112), (1, 17), (2, 1)]
    for tile in named:
        assert tile.level is not None
        assert len(log.tiles[tile.level, tile.index]) == 32 * tile.width


def test_a_log_of_256_entries_has_a_full_tile_and_one_above_with_one_hash() -> None:
    assert [tile.path for tile in tiles_of(256)] == ["tile/0/000", "tile/1/000.p/1"]
    assert list(tiles_of(0)) == []


@settings(max_examples=25)
@given(st.lists(st.integers(0, 700), max_size=6))
def test_tiles_are_the_same_however_the_log_grew_and_only_changed_ones_are_returned(
    batches: list[int],
) -> None:
    grown = _Log()
    for batch in batches:
        before = dict(grown.tiles)
        changed = grown.grow(grown.size + batch)
        assert all(before.get(key) != content for key, content in changed.items())
    at_once = _Log()
    at_once.grow(grown.size)
    assert grown.tiles == at_once.tiles


@settings(max_examples=30)
@given(st.data())
def test_roots_and_proofs_from_tiles_of_a_larger_log_are_those_of_the_tree(
    log: _Log, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, 3000) | st.sampled_from([65_535, 65_536, 65_537, 70_000]))
    leaves = _LEAVES[:size]
    root = merkle.root(SUITE, leaves)
    assert tiles.root_from_tiles(SUITE, log.read, size) == root
    tree = tiles.TileTree(SUITE, log.read)
    assert tree.frontier(size) == merkle.Frontier().extend(SUITE, leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = tree.inclusion_proof(index, size)
    merkle.verify_inclusion(SUITE, leaves[index], index, size, proof, root)
    old_size = data.draw(st.integers(1, size))
    proof = tree.consistency_proof(old_size, size)
    old_root = merkle.root(SUITE, leaves[:old_size])
    merkle.verify_consistency(SUITE, old_size, size, proof, old_root, root)


@settings(max_examples=20)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=6), st.data())
def test_a_tree_that_remembers_tiles_still_follows_a_growing_log(
    batches: list[int], data: st.DataObject
) -> None:
    growing = _Log()
    tree = tiles.TileTree(SUITE, growing.read, keep=2)
    for batch in batches:
        growing.grow(growing.size + batch)
        size = data.draw(st.integers(1, growing.size))
        index = data.draw(st.integers(0, size - 1))
        assert tree.root(size) == merkle.root(SUITE, _LEAVES[:size])
        assert tree.inclusion_proof(index, size) == merkle.inclusion_proof(
            SUITE, _LEAVES[:size], index
        )
        assert tree.consistency_proof(index + 1, size) == merkle.consistency_proof(
            SUITE, _LEAVES[:size], index + 1
        )


def test_a_tree_reads_a_full_tile_once(log: _Log) -> None:
    reads: list[tuple[int, int]] = []

    def read(level: int, index: int) -> bytes:
        reads.append((level, index))
        return log.read(level, index)

    tree = tiles.TileTree(SUITE, read)
    for index in (0, 7, 255, 100):
        tree.inclusion_proof(index, 70_000)
    assert reads.count((0, 0)) == 1
    assert reads.count((1, 0)) == 1


def test_the_empty_log_has_the_empty_root(log: _Log) -> None:
    assert tiles.root_from_tiles(SUITE, log.read, 0) == SUITE.digest(b"")
    assert tiles.TileTree(SUITE, log.read).frontier(0) == merkle.Frontier()


def test_a_tile_that_is_too_short_or_ragged_is_a_storage_error(log: _Log) -> None:
    def short(level: int, index: int) -> bytes:
        return log.read(level, index)[:-32]

    def ragged(level: int, index: int) -> bytes:
        return log.read(level, index)[:-1]

    for read in (short, ragged):
        with pytest.raises(StorageError):
            tiles.root_from_tiles(SUITE, read, 70_000)
        with pytest.raises(StorageError):
            tiles.append_tiles(SUITE, 70_000, _LEAVES[:1], read)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_entry_bundles_round_trip(entries: list[bytes]) -> None:
    data = tiles.encode_entries(entries)
    assert tiles.decode_entries(data, len(entries)) == tuple(entries)
    with pytest.raises(DecodeError):
        tiles.decode_entries(data + b"\0", len(entries))
    with pytest.raises(DecodeError):
        tiles.decode_entries(data, len(entries) + 1)
    if entries:
        with pytest.raises(DecodeError):
            tiles.decode_entries(data[:-1], len(entries))


def test_an_entry_has_at_most_65535_bytes() -> None:
    assert tiles.decode_entries(tiles.encode_entries([bytes(65_535)]), 1) == (bytes(65_535),)
    with pytest.raises(ValueError, match="65536 bytes"):
        tiles.encode_entries([bytes(65_536)])
