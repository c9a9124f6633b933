"""One checkpoint against another: a log that has grown, one that was rewritten, and tiles that are not the log's."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import merkle
from ledger.checkpoints import Checkpoint, parse_hash
from ledger.errors import InvalidProof
from ledger.growth import Growth, entry_tiles, verify_entries, verify_growth
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.tiles import TileTree, append_tiles

_ENTRIES = [b"entry %d" % number for number in range(1_300)]
_SIZES = st.integers(0, len(_ENTRIES)) | st.sampled_from([1, 2, 255, 256, 257, 512, 1024, 1025])


class _Log:
    """A log of entries with its tiles, and a count of those that are read."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self.entries = list(entries)
        leaves = [merkle.leaf_hash(SUITE, entry) for entry in entries]
        self.tiles = append_tiles(SUITE, 0, leaves, lambda level, index: b"")
        self.root = merkle.root(SUITE, leaves)
        self.reads: set[tuple[int, int]] = set()

    def read(self, level: int, index: int) -> bytes:
        self.reads.add((level, index))
        return self.tiles[level, index]

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint("mulu-test", len(self.entries), self.root)

    @property
    def tree(self) -> TileTree:
        return TileTree(SUITE, self.read)


def _grown(old: _Log, new: _Log) -> Growth:
    return verify_growth(SUITE, old.checkpoint, new.checkpoint, new.tree)


@given(_SIZES, _SIZES)
def test_a_log_that_has_only_grown_extends_what_it_was_and_few_tiles_show_it(
    one: int, other: int
) -> None:
    old, new = (_Log(_ENTRIES[:size]) for size in sorted((one, other)))
    growth = _grown(old, new)
    assert growth.extends
    assert len(new.reads) <= 2 * 2  # two levels
    added = new.entries[len(old.entries) :]
    assert verify_entries(SUITE, growth, new.tree, iter(added)) == len(added)


@given(st.integers(1, 600), st.integers(0, 600), st.data())
def test_a_log_that_was_rewritten_contradicts_what_it_was(
    size: int, more: int, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, size - 1))
    old = _Log(_ENTRIES[:size])
    new = _Log([*_ENTRIES[:at], b"rewritten", *_ENTRIES[at + 1 : size + more]])
    growth = _grown(old, new)
    assert not growth.extends
    # What is written of it shows the same to anybody who has both checkpoints.
    told = json.loads(growth.encode())
    proof = [parse_hash(one) for one in told["proof"]]
    root = parse_hash(told["root"])
    merkle.verify_consistency(
        SUITE, told["old_size"], told["new_size"], proof, root, new.checkpoint.root
    )
    assert root != old.checkpoint.root


@given(st.sampled_from([1, 3, 255, 256, 300, 512, 1000]), st.integers(0, 300), st.data())
def test_tiles_that_are_not_the_checkpoint_s_show_no_contradiction(
    size: int, more: int, data: st.DataObject
) -> None:
    """The node lies about its own log: nothing is said of those who cosigned it."""
    old, new = _Log(_ENTRIES[:size]), _Log(_ENTRIES[: size + 1 + more])
    _grown(old, new)
    level, index = data.draw(st.sampled_from(sorted(new.reads)))
    tile = bytearray(new.tiles[level, index])
    tile[data.draw(st.integers(0, len(tile) - 1))] ^= 1
    new.tiles[level, index] = bytes(tile)
    with contextlib.suppress(InvalidProof):
        assert _grown(old, new).extends, "the proof does without that hash"


def test_a_smaller_log_extends_no_larger_one_and_another_chain_none() -> None:
    small, large = _Log(_ENTRIES[:3]), _Log(_ENTRIES[:9])
    with pytest.raises(ValueError, match="cannot extend"):
        _grown(large, small)
    stranger = Checkpoint("another", 3, small.root)
    with pytest.raises(InvalidProof, match="two chains"):
        verify_growth(SUITE, stranger, large.checkpoint, large.tree)


_CHANGES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "one is missing": lambda entries: entries[:-1],
    "one is added": lambda entries: [*entries, b"more"],
    "one is changed": lambda entries: [b"changed", *entries[1:]],
    "two are exchanged": lambda entries: [entries[1], entries[0], *entries[2:]],
}


@pytest.mark.parametrize("case", _CHANGES)
@pytest.mark.parametrize("size", [0, 1, 256, 300])
def test_entries_that_are_not_the_log_s_are_refused(case: str, size: int) -> None:
    old, new = _Log(_ENTRIES[:size]), _Log(_ENTRIES[:600])
    growth = _grown(old, new)
    with pytest.raises(InvalidProof, match="not those of the checkpoint"):
        verify_entries(SUITE, growth, new.tree, _CHANGES[case](_ENTRIES[size:600]))


def test_the_bundles_of_new_entries_begin_at_the_one_that_holds_the_first_of_them() -> None:
    assert [tile.path for tile in entry_tiles(255, 700)] == [
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/188",
    ]
    assert [tile.path for tile in entry_tiles(256, 257)] == ["tile/entries/001.p/1"]
    assert list(entry_tiles(300, 300)) == list(entry_tiles(512, 512)) == []
