"""The authenticated state: a compact sparse Merkle tree over 256-bit key hashes.

    leaf    H(0x00 ‖ key hash ‖ value hash)     key hash = H(key), value hash = H(encoded value)
    inner   H(0x01 ‖ left ‖ right)
    empty   32 zero bytes; a subtree with a single leaf is that leaf, at whatever depth

These are the rules of the Jellyfish Merkle tree; proofs are byte-compatible with `SmtSpec` of ics23. The root
depends only on what the map holds, never on the order or grouping of the changes that led there.

The tree is kept in pages of four levels: a page has sixteen slots, each empty, a leaf, or the root of a further
page. A subtree with two leaves or more has a page of its own, named by its path: one byte, 0 to 15, for each
nibble of the key hash that leads to it. The root's page, at the empty path, is kept also for a single leaf.
Nothing here reads or writes a disk: pages come from a function, and changed pages are returned.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from ledger.codec import Value, decode_array, encode
from ledger.errors import DecodeError, InvalidProof
from ledger.suite import HASH_BYTES, Suite

EMPTY_ROOT: Final = bytes(HASH_BYTES)
"""The root of a tree, or the hash of a subtree, that holds nothing."""

MAX_DEPTH: Final = 256
"""The bits of a key hash."""

_SLOTS: Final = 16
_HEADER_BYTES: Final = 4
_LEAF_BYTES: Final = 2 * HASH_BYTES
_NODES_BYTES: Final = 2 * _SLOTS * HASH_BYTES
_ROOT: Final = slice(HASH_BYTES, 2 * HASH_BYTES)
_SLOT_HASH: Final = tuple(
    slice(HASH_BYTES * (_SLOTS + slot), HASH_BYTES * (_SLOTS + slot + 1)) for slot in range(_SLOTS)
)
"""Where `Page.nodes` holds the hash of a slot."""

_LOW_SLOTS, _HIGH_SLOTS = (
    tuple(
        tuple(_SLOT_HASH[first + bit] for bit in range(8) if slots >> bit & 1)
        for slots in range(256)
    )
    for first in (0, 8)
)
"""For each bitmap of slots 0 to 7, or 8 to 15, where `Page.nodes` holds their hashes."""

_ANCESTORS: Final = tuple(
    sum(1 << (_SLOTS + slot >> level) for level in (1, 2, 3, 4)) for slot in range(_SLOTS)
)
"""For each slot, the nodes above it in its page, as a bitmap."""

_COVER: Final = tuple(
    sum(1 << slot for slot in range(_SLOTS) if _SLOTS + slot >> (5 - node.bit_length()) == node)
    for node in range(2 * _SLOTS)
)
"""For each node, the slots at and below it, as a bitmap."""

_INNER: Final = tuple(
    (
        _COVER[node],
        slice(HASH_BYTES * node, HASH_BYTES * (node + 1)),
        slice(HASH_BYTES * 2 * node, HASH_BYTES * (2 * node + 2)),
    )
    for node in range(_SLOTS)
)
"""For each inner node, the slots below it, and where `Page.nodes` holds its hash and those of its two children."""


@functools.cache
def _upwards(dirty: int) -> tuple[tuple[int, slice, slice], ...]:
    """Return the items of `_INNER` for a bitmap of nodes, lowest level first; there are 676 such bitmaps."""
    return tuple(_INNER[number] for number in range(_SLOTS - 1, 0, -1) if dirty >> number & 1)


_BYTES: Final = tuple(bytes((slot,)) for slot in range(_SLOTS))
"""What a slot adds to a path."""

_Node: TypeAlias = tuple[bytes, bytes]
"""What stands at the root of a subtree: its hash, and for a single leaf its key hash and value hash, else nothing."""

_NOTHING: Final[_Node] = (EMPTY_ROOT, b"")

_Change: TypeAlias = tuple[bytes, _Node]
"""A key hash and its new leaf, or nothing where it is deleted."""


class Page(NamedTuple):
    """Four levels of the tree.

    `occupied` and `lone` are bitmaps of slots: those that are not empty, and those that are a leaf. `nodes` has the
    hashes by node number, 32 bytes each, from 0, which is unused. `leaves` has key hash and value hash of each leaf
    in the order of slots. Byte strings rather than lists: a page in memory is then two objects, not fifty.
    """

    occupied: int
    lone: int
    nodes: bytes
    leaves: bytes

    @property
    def root(self) -> bytes:
        """The hash of the subtree whose root this page holds."""
        return self.nodes[_ROOT]

    def encode(self) -> bytes:
        """Return both bitmaps as u16, key and value hash of each leaf, and the hashes of the other slots."""
        occupied, lone, nodes, leaves = self
        header = (occupied << _SLOTS | lone).to_bytes(_HEADER_BYTES, "big")
        inner = occupied ^ lone
        if not inner:
            return header + leaves
        parts = [header, leaves]
        parts += [nodes[where] for where in _LOW_SLOTS[inner & 255] + _HIGH_SLOTS[inner >> 8]]
        return b"".join(parts)

    @staticmethod
    def decode(suite: Suite, data: bytes) -> Page:
        """Read a page and compute the hashes of its inner nodes; whether `root` is the right one is for the caller.

        Raises:
            DecodeError: it is not a page.
        """
        bitmaps = int.from_bytes(data[:_HEADER_BYTES], "big")
        occupied, lone = bitmaps >> _SLOTS, bitmaps & (1 << _SLOTS) - 1
        inner_from = _HEADER_BYTES + _LEAF_BYTES * lone.bit_count()
        if (
            not occupied
            or lone & ~occupied
            or len(data) != inner_from + HASH_BYTES * (occupied ^ lone).bit_count()
        ):
            raise DecodeError("not a page of the state tree")
        draft = _Draft(occupied, lone, bytes(_NODES_BYTES), data[_HEADER_BYTES:inner_from])
        nodes, digest = draft.nodes, suite.digest
        leaf_from = _HEADER_BYTES
        rest = occupied
        while rest:
            slot = (rest & -rest).bit_length() - 1
            rest &= rest - 1
            draft.dirty |= _ANCESTORS[slot]
            if lone >> slot & 1:
                leaf_to = leaf_from + _LEAF_BYTES
                nodes[_SLOT_HASH[slot]] = digest(b"\x00" + data[leaf_from:leaf_to])
                leaf_from = leaf_to
            else:
                inner_to = inner_from + HASH_BYTES
                nodes[_SLOT_HASH[slot]] = data[inner_from:inner_to]
                inner_from = inner_to
        return draft.finish(digest)

    def leaf(self, slot: int) -> bytes:
        """Return key hash and value hash of the leaf in `slot`; nothing where there is none."""
        if not self.lone >> slot & 1:
            return b""
        start = _LEAF_BYTES * (self.lone & (1 << slot) - 1).bit_count()
        return self.leaves[start : start + _LEAF_BYTES]

    def node(self, number: int) -> bytes:
        """Return the hash of a node: 1 is the page's root, 2i and 2i + 1 stand below i, 16 + s is slot s."""
        return self.nodes[HASH_BYTES * number : HASH_BYTES * (number + 1)]


PageReader: TypeAlias = Callable[[bytes, bytes], Page]
"""Returns the page at a path, whose root is the given hash; it raises where there is no such page."""


def leaf_hash(suite: Suite, key_hash: bytes, value_hash: bytes) -> bytes:
    """Return the hash of a leaf."""
    return suite.digest(b"\x00" + key_hash + value_hash)


@dataclass(frozen=True, slots=True)
class Updated:
    """The outcome of an update: the new root, and every page that changed, by its path; None marks one to delete.

    `made` has the new pages by their roots, `replaced` the roots of the pages that were there before.
    """

    root: bytes
    pages: Mapping[bytes, Page | None]
    made: Mapping[bytes, Page]
    replaced: Sequence[bytes]


def update(
    suite: Suite,
    read_page: PageReader,
    root: bytes,
    changes: Sequence[tuple[bytes, bytes | None]],
) -> Updated:
    """Apply `changes` to the tree under `root`: key hash and new value hash, or None to delete, each 32 bytes.

    All changes are made in one descent; only changed paths are hashed again. Deleting an absent key changes nothing.

    Raises:
        ValueError: the key hashes are not strictly ascending.
    """
    digest = suite.digest
    nodes: list[_Change] = []
    previous = b""
    for key_hash, value_hash in changes:
        if key_hash <= previous:
            raise ValueError("key hashes must be strictly ascending")
        previous = key_hash
        node = _NOTHING
        if value_hash is not None:
            leaf = key_hash + value_hash
            node = (digest(b"\x00" + leaf), leaf)
        nodes.append((key_hash, node))
    descent = _Descent(digest, read_page)
    if root == EMPTY_ROOT:
        node = descent.build(b"", [new for _, new in nodes if new[1]])
    else:
        node = descent.change(b"", read_page(b"", root), nodes, 0, len(nodes))
    if node[1]:  # the root's page is kept also for a single leaf
        descent.write(b"", {_nibble(node[1], 0): node})
    return Updated(node[0], descent.pages, descent.made, descent.replaced)


def prove(suite: Suite, read_page: PageReader, root: bytes, key_hash: bytes) -> StateProof:
    """Return the proof that the tree under `root` holds this key (with whatever value), or that it does not."""
    siblings: list[bytes] = []
    if root == EMPTY_ROOT:
        return StateProof(None, ())
    path = key_hash_path(key_hash)
    page, node, depth = read_page(b"", root), 1, 0
    while True:
        below = page.occupied & _COVER[node]
        if not below:
            return StateProof(None, tuple(reversed(siblings)))
        if below & page.lone and not below & (below - 1):
            leaf = page.leaf(below.bit_length() - 1)
            other = (leaf[:HASH_BYTES], leaf[HASH_BYTES:])
            return StateProof(None if other[0] == key_hash else other, tuple(reversed(siblings)))
        if node >= _SLOTS:
            page = read_page(path[: depth // 4], page.node(node))
            node = 1
        node = 2 * node + (path[depth // 4] >> 3 - depth % 4 & 1)
        siblings.append(page.node(node ^ 1))
        depth += 1


def key_hash_path(key_hash: bytes) -> bytes:
    """Return a key hash as a path: one byte, 0 to 15, for each nibble."""
    return bytes(nibble for byte in key_hash for nibble in (byte >> 4, byte & 15))


def _nibble(key_hash: bytes, depth: int) -> int:
    """Return the slot of a key in a page `depth` pages below the root."""
    byte = key_hash[depth >> 1]
    return byte & 15 if depth & 1 else byte >> 4


class _Draft:
    """A page in the making: set slots, then finish."""

    __slots__ = ("dirty", "leaves", "lone", "nodes", "occupied")

    def __init__(self, occupied: int, lone: int, nodes: bytes, leaves: bytes) -> None:
        self.occupied = occupied
        self.lone = lone
        self.nodes = bytearray(nodes)
        self.leaves = leaves
        self.dirty = 0

    def set(self, slot: int, node_hash: bytes, leaf: bytes) -> None:
        """Put a node into `slot`, whatever was there."""
        bit = 1 << slot
        was_leaf = self.lone & bit
        if leaf or was_leaf:
            start = _LEAF_BYTES * (self.lone & bit - 1).bit_count()
            end = start + _LEAF_BYTES if was_leaf else start
            self.leaves = self.leaves[:start] + leaf + self.leaves[end:]
            self.lone = self.lone | bit if leaf else self.lone ^ bit
        if node_hash == EMPTY_ROOT:
            self.occupied &= ~bit
        else:
            self.occupied |= bit
        self.nodes[_SLOT_HASH[slot]] = node_hash
        self.dirty |= _ANCESTORS[slot]

    def finish(self, digest: Callable[[bytes], bytes]) -> Page:
        """Compute the inner nodes above the slots that were set, lowest level first."""
        occupied, lone, nodes = self.occupied, self.lone, self.nodes
        inner = occupied ^ lone
        for cover, where, children in _upwards(self.dirty):
            below = occupied & cover
            if below & inner or below & (below - 1):
                nodes[where] = digest(b"\x01" + nodes[children])
            elif below:
                nodes[where] = nodes[_SLOT_HASH[below.bit_length() - 1]]
            else:
                nodes[where] = EMPTY_ROOT
        return Page(occupied, lone, bytes(nodes), self.leaves)


_NO_PAGE: Final = Page(0, 0, bytes(_NODES_BYTES), b"")


class _Descent:
    """One update on its way down and up again; `pages`, `made` and `replaced` collect what it changes."""

    __slots__ = ("_digest", "_read_page", "made", "pages", "replaced")

    def __init__(self, digest: Callable[[bytes], bytes], read_page: PageReader) -> None:
        self._digest = digest
        self._read_page = read_page
        self.pages: dict[bytes, Page | None] = {}
        self.made: dict[bytes, Page] = {}
        self.replaced: list[bytes] = []

    def change(
        self, path: bytes, page: Page, changes: Sequence[_Change], low: int, high: int
    ) -> _Node:
        """Apply `changes[low:high]`, all of which lie below `page`; return what then stands at its root."""
        nodes, inner = page.nodes, page.occupied ^ page.lone
        draft = _Draft(*page)
        depth = len(path)
        byte, shift = depth >> 1, 0 if depth & 1 else 4
        while low < high:
            key_hash, node = changes[low]
            slot = key_hash[byte] >> shift & 15
            end = low + 1
            while end < high and changes[end][0][byte] >> shift & 15 == slot:
                end += 1
            old_hash = nodes[_SLOT_HASH[slot]]
            below = path + _BYTES[slot]
            if inner >> slot & 1:
                node = self.change(below, self._read_page(below, old_hash), changes, low, end)
            else:
                leaf = page.leaf(slot)
                if end - low > 1 or (leaf and leaf[:HASH_BYTES] != key_hash):
                    node = self.build(below, _merged((old_hash, leaf), changes[low:end]))
            if node[0] != old_hash:
                draft.set(slot, *node)
            low = end
        if not draft.dirty:
            return nodes[_ROOT], b""
        self.replaced.append(nodes[_ROOT])
        occupied = draft.occupied
        if occupied != draft.lone or occupied & (occupied - 1):
            return self._write(path, draft)
        self.pages[path] = None
        if not occupied:
            return _NOTHING
        return bytes(draft.nodes[_SLOT_HASH[occupied.bit_length() - 1]]), draft.leaves

    def build(self, path: bytes, leaves: Sequence[_Node]) -> _Node:
        """Make the pages of a subtree that holds these leaves only; return what stands at its root."""
        if len(leaves) < 2:
            return leaves[0] if leaves else _NOTHING
        depth = len(path)
        groups: dict[int, list[_Node]] = {}
        for leaf in leaves:
            groups.setdefault(_nibble(leaf[1], depth), []).append(leaf)
        return self.write(
            path, {slot: self.build(path + _BYTES[slot], group) for slot, group in groups.items()}
        )

    def write(self, path: bytes, slots: Mapping[int, _Node]) -> _Node:
        """Make a page of these slots; return what stands at its root."""
        draft = _Draft(*_NO_PAGE)
        for slot, node in slots.items():
            draft.set(slot, *node)
        return self._write(path, draft)

    def _write(self, path: bytes, draft: _Draft) -> _Node:
        page = self.pages[path] = draft.finish(self._digest)
        root = page.nodes[_ROOT]
        self.made[root] = page
        return root, b""


def _merged(old: _Node, changes: Sequence[_Change]) -> Sequence[_Node]:
    """Return the leaves of a subtree that held the leaf `old`, or nothing, after `changes`."""
    merged = [new for _, new in changes if new[1]]
    key_hash = old[1][:HASH_BYTES]
    if key_hash and all(changed != key_hash for changed, _ in changes):
        merged.append(old)
    return merged


@dataclass(frozen=True, slots=True)
class StateProof:
    """A proof that a key has a value, or has none.

    `siblings` are the hashes beside the path, deepest first. A key is absent when its path ends at an empty subtree
    (`other` is None) or at the leaf of another key: `other` is then that leaf's key hash and value hash.
    """

    other: tuple[bytes, bytes] | None
    siblings: tuple[bytes, ...]

    def __post_init__(self) -> None:
        hashes = self.siblings if self.other is None else self.siblings + self.other
        if len(self.siblings) > MAX_DEPTH or any(len(item) != HASH_BYTES for item in hashes):
            raise ValueError(f"a state proof has at most {MAX_DEPTH} siblings, hashes of 32 bytes")
        if self.siblings and self.siblings[0] == EMPTY_ROOT:
            raise ValueError("a state proof's path ends where the sibling is not empty")

    def verify(self, suite: Suite, root: bytes, key: str, value_encoding: bytes | None) -> None:
        """Check that under `root`, `key` has the value with this encoding, or None: that it has no value.

        Raises:
            InvalidProof: it does not prove that.
        """
        self.verify_hashes(
            suite,
            root,
            suite.digest(key.encode()),
            None if value_encoding is None else suite.digest(value_encoding),
        )

    def verify_hashes(
        self, suite: Suite, root: bytes, key_hash: bytes, value_hash: bytes | None
    ) -> None:
        """Check as `verify` does, from the key's hash and the value's hash or None.

        Raises:
            InvalidProof: it does not prove that.
        """
        path = int.from_bytes(key_hash, "big")
        depth = len(self.siblings)
        if value_hash is not None:
            if self.other is not None:
                raise InvalidProof("the proof is one of absence, by another key's leaf")
            node = leaf_hash(suite, key_hash, value_hash)
        elif self.other is not None:
            other_path = int.from_bytes(self.other[0], "big")
            if other_path == path:
                raise InvalidProof("the leaf that should show the key's absence is its own")
            if (other_path ^ path) >> (MAX_DEPTH - depth):
                raise InvalidProof("the leaf that should show the key's absence is on another path")
            node = leaf_hash(suite, *self.other)
        else:
            node = EMPTY_ROOT
        path >>= MAX_DEPTH - depth
        digest = suite.digest
        for sibling in self.siblings:
            children = sibling + node if path & 1 else node + sibling
            node = digest(b"\x01" + children)
            path >>= 1
        if node != root:
            raise InvalidProof("the proof does not lead to the state root")

    def value(self) -> Value:
        """Return `[other or nil, siblings]`; an empty subtree's hash is written as an empty byte string."""
        return (self.other, tuple(b"" if item == EMPTY_ROOT else item for item in self.siblings))

    def encode(self) -> bytes:
        """Return the canonical encoding of `value`."""
        return encode(self.value())

    @staticmethod
    def from_value(value: Value) -> StateProof:
        """Read what `value` returned.

        Raises:
            DecodeError: it is not a proof.
        """
        if type(value) is not tuple or len(value) != 2:
            raise DecodeError("a state proof is [other leaf or nil, siblings]")
        other, siblings = value
        leaf = None if other is None else _hashes(other)
        if leaf is not None and len(leaf) != 2:
            raise DecodeError("the other leaf of a state proof is [key hash, value hash]")
        hashes = _hashes(siblings)
        if EMPTY_ROOT in hashes:
            raise DecodeError("an empty subtree's hash is written as an empty byte string")
        try:
            return StateProof(
                None if leaf is None else (leaf[0], leaf[1]),
                tuple(item or EMPTY_ROOT for item in hashes),
            )
        except ValueError as error:
            raise DecodeError(str(error)) from None

    @staticmethod
    def decode(data: bytes) -> StateProof:
        """Read a proof.

        Raises:
            DecodeError: it is not one.
        """
        return StateProof.from_value(decode_array(data, 2))


def _hashes(value: Value) -> tuple[bytes, ...]:
    """Read an array of byte strings."""
    if type(value) is not tuple:
        raise DecodeError("expected an array of hashes")
    hashes = tuple(item for item in value if type(item) is bytes)
    if len(hashes) != len(value):
        raise DecodeError("expected an array of hashes")
    return hashes
