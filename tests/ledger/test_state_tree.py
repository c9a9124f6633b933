"""The state tree, against a rebuild from the definition, published vectors, and attempts to cheat.

Key hashes are drawn from few bytes, so that paths share long prefixes and deletions collapse many levels at once;
real key hashes hardly ever meet below the first pages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.codec import encode
from ledger.errors import DecodeError, InvalidProof
from ledger.state_tree import (
    EMPTY_ROOT,
    Page,
    StateProof,
    key_hash_path,
    leaf_hash,
    prove,
    update,
)
from ledger.suite import SHA256_ED25519 as SUITE

_VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "testdata" / "ics23_smt.json").read_text()
)["vectors"]

_PREFIXES = (b"", b"\x00", b"\x00\x00\x00", b"\x00\x00\x01", b"\x0f", b"\x80", b"\xff\xff")

key_hashes = st.builds(
    lambda prefix, middle, last: (prefix + bytes((middle,))).ljust(31, b"\x00") + bytes((last,)),
    st.sampled_from(_PREFIXES),
    st.sampled_from((0x00, 0x01, 0x0F, 0x10, 0x7F, 0x80, 0xFE, 0xFF)),
    st.sampled_from((0, 1, 2, 128, 255)),
)
values = st.integers(0, 3).map(lambda n: bytes((n,)) * 32)
batches = st.lists(
    st.dictionaries(key_hashes, st.one_of(st.none(), values), max_size=12), max_size=8
)


class Tree:
    """A tree kept by `update`, its pages stored encoded as in a database."""

    def __init__(self) -> None:
        self.root = EMPTY_ROOT
        self.pages: dict[bytes, bytes] = {}
        self.reads = 0

    def read_page(self, path: bytes, root: bytes) -> Page:
        self.reads += 1
        page = Page.decode(SUITE, self.pages[path])
        assert page.root == root
        return page

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        updated = update(SUITE, self.read_page, self.root, sorted(changes.items()))
        self.root = updated.root
        for path, page in updated.pages.items():
            if page is None:
                del self.pages[path]  # it must have been there
            else:
                self.pages[path] = page.encode()

    def prove(self, key_hash: bytes) -> StateProof:
        return prove(SUITE, self.read_page, self.root, key_hash)


def inner_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node, as the format says."""
    return SUITE.digest(b"\x01" + left + right)


def rebuilt_root(leaves: Mapping[bytes, bytes], depth: int = 0) -> bytes:
    """The definition, bit by bit."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaf_hash(SUITE, *next(iter(leaves.items())))
    halves: tuple[dict[bytes, bytes], dict[bytes, bytes]] = ({}, {})
    for key_hash, value_hash in leaves.items():
        halves[key_hash[depth // 8] >> (7 - depth % 8) & 1][key_hash] = value_hash
    return inner_hash(rebuilt_root(halves[0], depth + 1), rebuilt_root(halves[1], depth + 1))


def applied(history: Sequence[Mapping[bytes, bytes | None]]) -> dict[bytes, bytes]:
    leaves: dict[bytes, bytes | None] = {}
    for changes in history:
        leaves.update(changes)
    return {key_hash: value for key_hash, value in leaves.items() if value is not None}


def test_an_empty_tree_is_32_zero_bytes_and_one_leaf_is_its_own_root() -> None:
    tree = Tree()
    tree.apply({})
    assert (tree.root, tree.pages) == (bytes(32), {})
    tree.apply({b"k" * 32: b"v" * 32})
    assert tree.root == leaf_hash(SUITE, b"k" * 32, b"v" * 32)
    tree.apply({b"k" * 32: None})
    assert (tree.root, tree.pages) == (bytes(32), {})


def test_leaves_that_share_255_bits_are_parted_by_256_levels_and_joined_again() -> None:
    tree = Tree()
    low, high = bytes(32), bytes(31) + b"\x01"
    tree.apply({low: b"a" * 32, high: b"b" * 32})
    assert tree.root == rebuilt_root({low: b"a" * 32, high: b"b" * 32})
    assert len(tree.pages) == 64
    assert len(tree.prove(low).siblings) == 256
    tree.apply({high: None})
    assert tree.root == leaf_hash(SUITE, low, b"a" * 32)
    assert len(tree.pages) == 1


@given(batches)
def test_the_root_is_that_of_a_rebuild_after_every_batch(
    history: list[dict[bytes, bytes | None]],
) -> None:
    tree = Tree()
    for number, changes in enumerate(history, start=1):
        tree.apply(changes)
        assert tree.root == rebuilt_root(applied(history[:number]))


@given(batches)
def test_the_pages_tell_nothing_of_the_history(
    history: list[dict[bytes, bytes | None]],
) -> None:
    tree, fresh = Tree(), Tree()
    for changes in history:
        tree.apply(changes)
    fresh.apply(applied(history))
    assert tree.pages == fresh.pages


@given(batches)
def test_an_update_returns_only_pages_that_changed(
    history: list[dict[bytes, bytes | None]],
) -> None:
    tree = Tree()
    for changes in history:
        tree.apply(changes)
    leaves = applied(history)
    rewritten = update(SUITE, tree.read_page, tree.root, sorted(leaves.items()))
    assert (rewritten.root, dict(rewritten.pages)) == (tree.root, {})


def test_a_change_reads_and_returns_only_the_pages_on_its_path() -> None:
    tree = Tree()
    tree.apply({SUITE.digest(b"%d" % number): SUITE.digest(b"") for number in range(2000)})
    key_hash = SUITE.digest(b"17")
    tree.reads = 0
    updated = update(SUITE, tree.read_page, tree.root, [(key_hash, b"v" * 32)])
    path = key_hash_path(key_hash)
    assert set(updated.pages) == {path[:depth] for depth in range(len(updated.pages))}
    assert tree.reads == len(updated.pages)


def test_changes_must_be_sorted_and_name_a_key_once() -> None:
    leaf = (b"b" * 32, b"v" * 32)
    for changes in ([leaf, leaf], [leaf, (b"a" * 32, None)]):
        with pytest.raises(ValueError, match="ascending"):
            update(SUITE, Tree().read_page, EMPTY_ROOT, changes)


@given(st.dictionaries(key_hashes, values, max_size=20))
def test_a_page_decodes_to_what_was_encoded(leaves: dict[bytes, bytes]) -> None:
    changed = update(SUITE, Tree().read_page, EMPTY_ROOT, sorted(leaves.items()))
    for page in changed.pages.values():
        assert page is not None
        assert Page.decode(SUITE, page.encode()) == page


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(4),
        bytes.fromhex("00000001") + bytes(64),  # a leaf in a slot that is not occupied
        bytes.fromhex("00010001") + bytes(32),  # a leaf cut short
        bytes.fromhex("00010000") + bytes(64),  # more than its bitmaps tell
        bytes.fromhex("0001"),
    ],
)
def test_what_is_not_a_page_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        Page.decode(SUITE, data)


@given(st.dictionaries(key_hashes, values, max_size=20), key_hashes)
def test_every_key_is_proved_present_or_absent_and_nothing_else(
    leaves: dict[bytes, bytes], other: bytes
) -> None:
    tree = Tree()
    tree.apply(leaves)
    for key_hash in (*leaves, other):
        proof = StateProof.decode(tree.prove(key_hash).encode())
        value = leaves.get(key_hash)
        proof.verify_hashes(SUITE, tree.root, key_hash, value)
        for claim in (None, b"\x77" * 32):
            if claim != value:
                with pytest.raises(InvalidProof):
                    proof.verify_hashes(SUITE, tree.root, key_hash, claim)


@settings(max_examples=50)
@given(st.dictionaries(key_hashes, values, min_size=1, max_size=20), st.data())
def test_an_altered_proof_is_refused(leaves: dict[bytes, bytes], data: st.DataObject) -> None:
    tree = Tree()
    tree.apply(leaves)
    key_hash = data.draw(st.one_of(st.sampled_from(sorted(leaves)), key_hashes))
    value = leaves.get(key_hash)
    proof = tree.prove(key_hash)
    siblings, other = proof.siblings, proof.other
    forged: list[tuple[tuple[bytes, bytes] | None, tuple[bytes, ...]]] = [
        (other, (*siblings, extra)) for extra in (EMPTY_ROOT, b"\x01" * 32, tree.root)
    ]
    forged += [(other, (extra, *siblings)) for extra in (EMPTY_ROOT, b"\x01" * 32, tree.root)]
    forged += [(other, (*siblings[:at], *siblings[at + 1 :])) for at in range(len(siblings))]
    forged += [
        (other, (*siblings[:at], b"\x01" * 32, *siblings[at + 1 :])) for at in range(len(siblings))
    ]
    forged += [(other, tuple(reversed(siblings)))] if siblings != siblings[::-1] else []
    own = (key_hash, value or b"\x01" * 32)
    forged += [
        (leaf, siblings) for leaf in (None, own, (b"\x55" * 32, b"\x55" * 32)) if leaf != other
    ]
    for leaf, hashes in forged:
        with pytest.raises((InvalidProof, ValueError)):
            StateProof(leaf, hashes).verify_hashes(SUITE, tree.root, key_hash, value)


@settings(max_examples=30)
@given(st.dictionaries(key_hashes, values, max_size=6), key_hashes, st.data())
def test_an_encoded_proof_with_any_byte_changed_is_refused(
    leaves: dict[bytes, bytes], key_hash: bytes, data: st.DataObject
) -> None:
    tree = Tree()
    tree.apply(leaves)
    encoded = bytearray(tree.prove(key_hash).encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((InvalidProof, DecodeError)):
        StateProof.decode(bytes(encoded)).verify_hashes(
            SUITE, tree.root, key_hash, leaves.get(key_hash)
        )


def test_the_leaf_of_a_key_on_another_path_shows_nothing() -> None:
    tree = Tree()
    leaves = {bytes((first,)).ljust(32, b"\x00"): b"v" * 32 for first in (0x00, 0x40, 0x80, 0xC0)}
    tree.apply(leaves)
    target = b"\x80".ljust(32, b"\x00")
    beside = b"\x40".ljust(32, b"\x00")
    proof = tree.prove(beside)
    for siblings in (proof.siblings, proof.siblings[1:]):
        with pytest.raises(InvalidProof):
            StateProof((beside, b"v" * 32), siblings).verify_hashes(SUITE, tree.root, target, None)


@given(st.dictionaries(key_hashes, values, min_size=1, max_size=20))
def test_a_keys_own_leaf_never_shows_that_it_is_absent(leaves: dict[bytes, bytes]) -> None:
    tree = Tree()
    tree.apply(leaves)
    for key_hash, value_hash in leaves.items():
        present = tree.prove(key_hash)
        present.verify_hashes(SUITE, tree.root, key_hash, value_hash)
        absent = StateProof((key_hash, value_hash), present.siblings)
        with pytest.raises(InvalidProof, match="its own"):
            absent.verify_hashes(SUITE, tree.root, key_hash, None)


def test_a_leaf_out_of_its_place_shows_nothing_even_under_a_root_that_holds_it() -> None:
    """Whoever makes roots could else hide a key behind any leaf that lies on the key's path and not on its own."""
    target, stray, other = (bytes((first,)).ljust(32, b"\x00") for first in (0x00, 0x80, 0xC0))
    beside = leaf_hash(SUITE, other, b"v" * 32)
    root = inner_hash(leaf_hash(SUITE, stray, b"v" * 32), beside)
    with pytest.raises(InvalidProof, match="another path"):
        StateProof((stray, b"v" * 32), (beside,)).verify_hashes(SUITE, root, target, None)


def test_an_inner_node_cannot_be_passed_off_as_a_leaf() -> None:
    tree = Tree()
    tree.apply({bytes(32): b"a" * 32, b"\xff" * 32: b"b" * 32})
    children = (tree.prove(b"\xff" * 32).siblings[0], tree.prove(bytes(32)).siblings[0])
    assert inner_hash(*children) == tree.root
    with pytest.raises(InvalidProof):
        StateProof(None, ()).verify_hashes(SUITE, tree.root, *children)
    with pytest.raises(InvalidProof):
        StateProof(children, ()).verify_hashes(SUITE, tree.root, b"\x11" * 32, None)


@pytest.mark.parametrize(
    ("other", "siblings"),
    [
        (None, (b"\x01" * 31,)),
        (None, (b"\x01" * 33,)),
        (None, (EMPTY_ROOT,)),
        (None, (b"\x01" * 32,) * 257),
        ((b"\x01" * 32, b"\x01" * 31), ()),
    ],
)
def test_a_proof_of_the_wrong_shape_is_refused(
    other: tuple[bytes, bytes] | None, siblings: tuple[bytes, ...]
) -> None:
    with pytest.raises(ValueError, match="state proof"):
        StateProof(other, siblings)


@pytest.mark.parametrize(
    "value",
    [
        None,
        (None,),
        (None, None),
        (None, (1,)),
        (None, (b"\x01" * 32, EMPTY_ROOT)),  # an empty subtree has one encoding, the short one
        (None, (b"",)),
        ((b"\x01" * 32,), ()),
        (b"\x01" * 64, ()),
        ((b"\x01" * 32, "text"), ()),
    ],
)
def test_an_encoding_that_is_not_a_proof_is_refused(value: Any) -> None:
    with pytest.raises(DecodeError):
        StateProof.from_value(value)


@pytest.mark.parametrize("vector", _VECTORS, ids=lambda vector: str(vector["name"]))
def test_proofs_made_elsewhere_by_the_rules_of_ics23_verify(vector: dict[str, Any]) -> None:
    root = bytes.fromhex(vector["root"])
    for leaf in vector["present"]:
        siblings = tuple(bytes.fromhex(text) or EMPTY_ROOT for text in leaf["siblings"])
        key_hash, value = bytes.fromhex(leaf["key_hash"]), leaf["value"].encode()
        StateProof(None, siblings).verify_hashes(SUITE, root, key_hash, SUITE.digest(value))
        if "key" in leaf:
            StateProof(None, siblings).verify(SUITE, root, leaf["key"], value)
    if vector["absent_key_hash"] is not None:
        # ics23 shows absence by both neighbours; one of them stands where the key's own path ends
        absent = bytes.fromhex(vector["absent_key_hash"])
        leaf = max(vector["present"], key=lambda leaf: _shared_bits(leaf["key_hash"], absent))
        other = (bytes.fromhex(leaf["key_hash"]), SUITE.digest(leaf["value"].encode()))
        siblings = tuple(bytes.fromhex(text) or EMPTY_ROOT for text in leaf["siblings"])
        StateProof(other, siblings).verify_hashes(SUITE, root, absent, None)


def _shared_bits(key_hash: str, other: bytes) -> int:
    return 256 - (int(key_hash, 16) ^ int.from_bytes(other, "big")).bit_length()


def test_the_example_in_the_formats_page_is_what_this_code_makes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "FORMATS.md").read_text("utf-8")
    example = page.split("```state-tree\n")[1].split("```")[0]
    values = {
        "directory/instrument/a": encode({"n": 1}),
        "directory/instrument/b": encode({"n": 2}),
        "licenses/license/00ff": encode("valid"),
    }
    tree = Tree()
    tree.apply({SUITE.digest(key.encode()): SUITE.digest(value) for key, value in values.items()})
    unwrapped = "".join(line.strip() for line in example.splitlines())
    assert f"state root = {tree.root.hex()}" in unwrapped
    for key, words in (
        ("directory/instrument/a", "proof of directory/instrument/a ="),
        ("directory/instrument/c", "proof that directory/instrument/c has no value ="),
    ):
        proof = tree.prove(SUITE.digest(key.encode()))
        assert words + proof.encode().hex() in unwrapped
        proof.verify(SUITE, tree.root, key, values.get(key))
