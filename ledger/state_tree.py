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
_BITMAP_BYTES: Final = 2

_ANCESTORS: Final = tuple(
    1 << (16 + slot >> 1) | 1 << (16 + slot >> 2) | 1 << (16 + slot >> 3) | 1 << 1
    for slot in range(_SLOTS)
)
"""For each slot, the nodes above it in its page, as a bitmap. Node i has the children 2i and 2i + 1; the page's
root is node 1, and slot s is node 16 + s."""

_COVER: Final = tuple(
    sum(1 << slot for slot in range(_SLOTS) if 16 + slot >> (5 - node.bit_length()) == node)
    for node in range(2 * _SLOTS)
)
"""For each node, the slots below it, as a bitmap."""


class Leaf(NamedTuple):
    """One key of the map, by hashes of 32 bytes."""

    key_hash: bytes
    value_hash: bytes
    hash: bytes


_Node: TypeAlias = "Leaf | bytes | None"
"""What stands at the root of a subtree: one leaf, the hash of an inner node, or nothing."""


class Page(NamedTuple):
    """Four levels of the tree. Nobody may change what it holds.

    `occupied` and `lone` are bitmaps of slots: those that are not empty, and those that are a leaf. `nodes` has all
    hashes by node number (0 is unused), `leaves` the leaves by slot.
    """

    occupied: int
    lone: int
    nodes: Sequence[bytes]
    leaves: Mapping[int, Leaf]

    @property
    def root(self) -> bytes:
        """The hash of the subtree whose root this page holds."""
        return self.nodes[1]

    def encode(self) -> bytes:
        """Return both bitmaps as u16, then for each occupied slot key and value hash of its leaf, or its hash."""
        occupied, lone, nodes, leaves = self
        parts = [occupied.to_bytes(_BITMAP_BYTES, "big"), lone.to_bytes(_BITMAP_BYTES, "big")]
        for slot in range(_SLOTS):
            if lone >> slot & 1:
                leaf = leaves[slot]
                parts.append(leaf[0])
                parts.append(leaf[1])
            elif occupied >> slot & 1:
                parts.append(nodes[_SLOTS + slot])
        return b"".join(parts)

    @staticmethod
    def decode(suite: Suite, data: bytes) -> Page:
        """Read a page and compute the hashes of its inner nodes; whether `root` is the right one is for the caller.

        Raises:
            DecodeError: it is not a page.
        """
        occupied = int.from_bytes(data[:_BITMAP_BYTES], "big")
        lone = int.from_bytes(data[_BITMAP_BYTES : 2 * _BITMAP_BYTES], "big")
        hashes = occupied.bit_count() + lone.bit_count()
        if len(data) != 2 * _BITMAP_BYTES + hashes * HASH_BYTES or lone & ~occupied or not occupied:
            raise DecodeError("not a page of the state tree")
        nodes = [EMPTY_ROOT] * (2 * _SLOTS)
        leaves: dict[int, Leaf] = {}
        offset = 2 * _BITMAP_BYTES
        dirty = 0
        for slot in range(_SLOTS):
            if not occupied >> slot & 1:
                continue
            first = data[offset : offset + HASH_BYTES]
            offset += HASH_BYTES
            dirty |= _ANCESTORS[slot]
            if lone >> slot & 1:
                second = data[offset : offset + HASH_BYTES]
                offset += HASH_BYTES
                first = leaf_hash(suite, first, second)
                leaves[slot] = Leaf(
                    data[offset - 2 * HASH_BYTES : offset - HASH_BYTES], second, first
                )
            nodes[_SLOTS + slot] = first
        _rehash(suite.digest, occupied, lone, nodes, dirty)
        return Page(occupied, lone, nodes, leaves)


PageReader: TypeAlias = Callable[[bytes, bytes], Page]
"""Returns the page at a path, whose root is the given hash; it raises where there is no such page."""


def leaf_hash(suite: Suite, key_hash: bytes, value_hash: bytes) -> bytes:
    """Return the hash of a leaf."""
    return suite.digest(b"\x00" + key_hash + value_hash)


def inner_hash(suite: Suite, left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return suite.digest(b"\x01" + left + right)


@dataclass(frozen=True, slots=True)
class Updated:
    """The outcome of an update: the new root, and every page that changed; None marks one to delete."""

    root: bytes
    pages: Mapping[bytes, Page | None]


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
    leaves: list[tuple[bytes, Leaf | None]] = []
    previous = b""
    for key_hash, value_hash in changes:
        if key_hash <= previous:
            raise ValueError("key hashes must be strictly ascending")
        previous = key_hash
        leaf = None
        if value_hash is not None:
            leaf = Leaf(key_hash, value_hash, digest(b"\x00" + key_hash + value_hash))
        leaves.append((key_hash, leaf))
    descent = _Descent(digest, read_page)
    node: _Node
    if root == EMPTY_ROOT:
        node = descent.build(b"", [leaf for _, leaf in leaves if leaf is not None])
    else:
        node = descent.change(b"", read_page(b"", root), leaves, 0, len(leaves))
    if isinstance(node, Leaf):  # the root's page is kept also for a single leaf
        descent.write(b"", {_nibble(node.key_hash, 0): node})
        return Updated(node.hash, descent.pages)
    return Updated(EMPTY_ROOT if node is None else node, descent.pages)


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
            leaf = page.leaves[below.bit_length() - 1]
            other = None if leaf.key_hash == key_hash else (leaf.key_hash, leaf.value_hash)
            return StateProof(other, tuple(reversed(siblings)))
        if node >= _SLOTS:
            page = read_page(path[: depth // 4], page.nodes[node])
            node = 1
        node = 2 * node + (path[depth // 4] >> 3 - depth % 4 & 1)
        siblings.append(page.nodes[node ^ 1])
        depth += 1


def key_hash_path(key_hash: bytes) -> bytes:
    """Return a key hash as a path: one byte, 0 to 15, for each nibble."""
    return bytes(nibble for byte in key_hash for nibble in (byte >> 4, byte & 15))


def _nibble(key_hash: bytes, depth: int) -> int:
    """Return the slot of a key in a page `depth` pages below the root."""
    byte = key_hash[depth >> 1]
    return byte & 15 if depth & 1 else byte >> 4


def _rehash(
    digest: Callable[[bytes], bytes], occupied: int, lone: int, nodes: list[bytes], dirty: int
) -> None:
    """Compute the inner nodes of the bitmap `dirty`, lowest level first."""
    while dirty:
        node = dirty.bit_length() - 1
        dirty ^= 1 << node
        below = occupied & _COVER[node]
        if below & (below - 1) or below & ~lone:
            nodes[node] = digest(b"\x01" + nodes[2 * node] + nodes[2 * node + 1])
        elif below:
            nodes[node] = nodes[_SLOTS - 1 + below.bit_length()]
        else:
            nodes[node] = EMPTY_ROOT


class _Descent:
    """One update on its way down and up again; `pages` collects what it changes."""

    __slots__ = ("_digest", "_read_page", "pages")

    def __init__(self, digest: Callable[[bytes], bytes], read_page: PageReader) -> None:
        self._digest = digest
        self._read_page = read_page
        self.pages: dict[bytes, Page | None] = {}

    def change(
        self,
        path: bytes,
        page: Page,
        changes: Sequence[tuple[bytes, Leaf | None]],
        low: int,
        high: int,
    ) -> _Node:
        """Apply `changes[low:high]`, all of which lie below `page`; return what then stands at its root."""
        occupied, lone = page.occupied, page.lone
        nodes, leaves = list(page.nodes), dict(page.leaves)
        depth = len(path)
        byte, shift = depth >> 1, 0 if depth & 1 else 4
        dirty = 0
        while low < high:
            slot = changes[low][0][byte] >> shift & 15
            end = low + 1
            while end < high and changes[end][0][byte] >> shift & 15 == slot:
                end += 1
            bit = 1 << slot
            old: _Node
            new: _Node
            if lone & bit:
                old = leaves[slot]
                new = self.build(path + _BYTES[slot], _merged(old, changes[low:end]))
            elif occupied & bit:
                old = nodes[_SLOTS + slot]
                below = path + _BYTES[slot]
                new = self.change(below, self._read_page(below, old), changes, low, end)
            else:
                old = None
                new = self.build(
                    path + _BYTES[slot], [leaf for _, leaf in changes[low:end] if leaf]
                )
            low = end
            if new == old:
                continue
            dirty |= _ANCESTORS[slot]
            leaves.pop(slot, None)
            occupied |= bit
            lone &= ~bit
            if new is None:
                occupied &= ~bit
                nodes[_SLOTS + slot] = EMPTY_ROOT
            elif isinstance(new, Leaf):
                lone |= bit
                leaves[slot] = new
                nodes[_SLOTS + slot] = new.hash
            else:
                nodes[_SLOTS + slot] = new
        if not dirty:
            return page.root
        if occupied == lone and not occupied & (occupied - 1):
            self.pages[path] = None
            return leaves.popitem()[1] if leaves else None
        _rehash(self._digest, occupied, lone, nodes, dirty)
        self.pages[path] = Page(occupied, lone, nodes, leaves)
        return nodes[1]

    def build(self, path: bytes, leaves: Sequence[Leaf]) -> _Node:
        """Make the pages of a subtree that holds these leaves only; return what stands at its root."""
        if len(leaves) < 2:
            return leaves[0] if leaves else None
        depth = len(path)
        groups: dict[int, list[Leaf]] = {}
        for leaf in leaves:
            groups.setdefault(_nibble(leaf.key_hash, depth), []).append(leaf)
        return self.write(
            path, {slot: self.build(path + _BYTES[slot], group) for slot, group in groups.items()}
        )

    def write(self, path: bytes, slots: Mapping[int, _Node]) -> bytes:
        """Make a new page of these slots; return its root."""
        occupied = lone = dirty = 0
        nodes = [EMPTY_ROOT] * (2 * _SLOTS)
        leaves: dict[int, Leaf] = {}
        for slot, node in slots.items():
            assert node is not None
            occupied |= 1 << slot
            dirty |= _ANCESTORS[slot]
            if isinstance(node, Leaf):
                lone |= 1 << slot
                leaves[slot] = node
                nodes[_SLOTS + slot] = node.hash
            else:
                nodes[_SLOTS + slot] = node
        _rehash(self._digest, occupied, lone, nodes, dirty)
        self.pages[path] = Page(occupied, lone, nodes, leaves)
        return nodes[1]


_BYTES: Final = tuple(bytes((value,)) for value in range(_SLOTS))


def _merged(leaf: Leaf, changes: Sequence[tuple[bytes, Leaf | None]]) -> list[Leaf]:
    """Return the leaves of a subtree that held `leaf` alone, after `changes`."""
    merged = [new for _, new in changes if new is not None]
    if all(key_hash != leaf.key_hash for key_hash, _ in changes):
        merged.append(leaf)
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
        for sibling in self.siblings:
            left, right = (sibling, node) if path & 1 else (node, sibling)
            node = inner_hash(suite, left, right)
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
