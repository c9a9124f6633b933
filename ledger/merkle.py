"""RFC 6962 Merkle trees over the suite's digest: roots, inclusion and consistency proofs, a compact
frontier.

Leaf hash `digest(0x00 ‖ entry)`, node hash `digest(0x01 ‖ left ‖ right)`, empty tree `digest("")`
(section 2.1). A proof is described once, as the ranges of leaves whose hashes make it up
(`inclusion_ranges`, `consistency_ranges`); how a range is hashed – from leaf hashes here, from
tiles in `ledger.tiles` – is another matter. Verification follows RFC 9162, sections 2.1.3.2 and
2.1.4.2, which describe the same proofs.

Rules: an odd leaf is never duplicated but moves up; a proof must have exactly the length that index
    and size imply; every hash in it has exactly 32 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.codec import decode_array, encode
from ledger.errors import DecodeError, InvalidProof
from ledger.suite import HASH_BYTES, Suite

MAX_TREE_SIZE: Final = 2**63 - 1
"""Readers in other languages hold sizes in a signed 64-bit integer."""

MAX_PROOF_HASHES: Final = 64
"""A tree of at most 2^63 leaves is at most 63 levels high; a consistency proof may hold one hash
more.
"""

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


def leaf_hash(suite: Suite, entry: bytes) -> bytes:
    """Return the hash of a leaf (RFC 6962, section 2.1)."""
    return suite.digest(_LEAF + entry)


def node_hash(suite: Suite, left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 6962, section 2.1)."""
    return suite.digest(_NODE + left + right)


def root(suite: Suite, leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash of these leaf hashes, `digest("")` for none (RFC 6962, section
    2.1).
    """
    if not leaf_hashes:
        return suite.digest(b"")
    digest = suite.digest
    level = list(leaf_hashes)
    while len(level) > 1:
        # Pairing from the left and moving an odd last node up yields the RFC's split at the largest power of two.
        above = [digest(_NODE + level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def split_point(size: int) -> int:
    """Return the largest power of two smaller than `size`, which is at least 2 (RFC 6962, section
    2.1).
    """
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Return the leaf ranges [start, end) whose hashes prove leaf `index` in a tree of `size`,
    leaf's sibling first.

    This is PATH(m, D[n]) of RFC 6962, section 2.1.1, unrolled.

    Raises:
        ValueError: not 0 <= index < size <= MAX_TREE_SIZE.
    """
    if not 0 <= index < size <= MAX_TREE_SIZE:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    ranges = []
    start, end = 0, size
    while end - start > 1:
        middle = start + split_point(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    ranges.reverse()
    return ranges


def consistency_ranges(old_size: int, new_size: int) -> list[tuple[int, int]]:
    """Return the leaf ranges whose hashes prove that a tree of `new_size` extends one of
    `old_size`.

    This is PROOF(m, D[n]) of RFC 6962, section 2.1.2, unrolled; empty if the sizes are equal.

    Raises:
        ValueError: not 0 < old_size <= new_size <= MAX_TREE_SIZE.
    """
    if not 0 < old_size <= new_size <= MAX_TREE_SIZE:
        raise ValueError(f"no consistency proof from size {old_size} to {new_size}")
    ranges = []
    start, end = 0, new_size
    while end != old_size:
        middle = start + split_point(end - start)
        if old_size <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if (
        start > 0
    ):  # the old tree is not itself a node that the verifier knows: SUBPROOF with b = false
        ranges.append((start, end))
    ranges.reverse()
    return ranges


def inclusion_proof(suite: Suite, leaf_hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the audit path of leaf `index`, from the leaf's sibling up (RFC 6962, section 2.1.1).

    Raises:
        ValueError: there is no such leaf.
    """
    ranges = inclusion_ranges(index, len(leaf_hashes))
    return tuple(root(suite, leaf_hashes[start:end]) for start, end in ranges)


def consistency_proof(
    suite: Suite, leaf_hashes: Sequence[bytes], old_size: int
) -> tuple[bytes, ...]:
    """Return the proof that this tree extends its first `old_size` leaves (RFC 6962, section
    2.1.2).

    Raises:
        ValueError: not 0 < old_size <= number of leaves.
    """
    ranges = consistency_ranges(old_size, len(leaf_hashes))
    return tuple(root(suite, leaf_hashes[start:end]) for start, end in ranges)


def verify_inclusion(
    suite: Suite, leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Verify that the leaf stands at `index` in the tree of `size` with this root (RFC 9162,
    section 2.1.3.2).

    Raises:
        InvalidProof: index or size out of range, wrong length of proof, or another root.
    """
    if not 0 <= index < size <= MAX_TREE_SIZE:
        raise InvalidProof(f"no leaf {index} in a tree of {size}")
    _check_hashes(leaf_hash, root, *proof[: MAX_PROOF_HASHES + 1])
    node, last = index, size - 1
    computed = leaf_hash
    for sibling in proof:
        if last == 0:
            raise InvalidProof("inclusion proof is too long")
        if node & 1 or node == last:
            computed = node_hash(suite, sibling, computed)
            while not node & 1 and node:  # an odd node moved up without a sibling
                node >>= 1
                last >>= 1
        else:
            computed = node_hash(suite, computed, sibling)
        node >>= 1
        last >>= 1
    if last != 0:
        raise InvalidProof("inclusion proof is too short")
    if computed != root:
        raise InvalidProof("inclusion proof leads to another root")


def verify_consistency(
    suite: Suite,
    old_size: int,
    new_size: int,
    proof: Sequence[bytes],
    old_root: bytes,
    new_root: bytes,
) -> None:
    """Verify that the tree of `new_size` extends the tree of `old_size` (RFC 9162, section
    2.1.4.2).

    Every tree extends the empty one: for `old_size` 0 the proof is empty and the old root that of
    the empty tree.

    Raises:
        InvalidProof: sizes out of order, wrong length of proof, or another root.
    """
    if not 0 <= old_size <= new_size <= MAX_TREE_SIZE:
        raise InvalidProof(f"a tree of {new_size} cannot extend one of {old_size}")
    _check_hashes(old_root, new_root, *proof[: MAX_PROOF_HASHES + 1])
    if old_size in (0, new_size):
        if proof:
            raise InvalidProof("consistency proof is too long")
        if old_size == new_size and old_root != new_root:
            raise InvalidProof("two roots for one size")
        if old_size == 0 and old_root != suite.digest(b""):
            raise InvalidProof("not the root of the empty tree")
        return
    # An old tree of a power of two is a node of the new one: its root is the proof's first hash (step 2).
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        raise InvalidProof("consistency proof is too short")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old_computed = new_computed = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise InvalidProof("consistency proof is too long")
        if node & 1 or node == last:
            old_computed = node_hash(suite, sibling, old_computed)
            new_computed = node_hash(suite, sibling, new_computed)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new_computed = node_hash(suite, new_computed, sibling)
        node >>= 1
        last >>= 1
    if last != 0:
        raise InvalidProof("consistency proof is too short")
    if old_computed != old_root:
        raise InvalidProof("consistency proof leads to another old root")
    if new_computed != new_root:
        raise InvalidProof("consistency proof leads to another new root")


def _check_hashes(*hashes: bytes) -> None:
    for item in hashes:
        if len(item) != HASH_BYTES:
            raise InvalidProof(f"a hash has {HASH_BYTES} bytes, not {len(item)}")


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: the roots of its perfect subtrees, largest first, one for each 1
    bit of `size`.

    It is all that appending needs, so a block of m entries costs m leaf hashes and about m node
    hashes, whatever the size of the log.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_TREE_SIZE or len(self.hashes) != self.size.bit_count():
            raise ValueError(
                f"a frontier of size {self.size} cannot have {len(self.hashes)} hashes"
            )

    def append(self, suite: Suite, leaf_hash: bytes) -> Frontier:
        """Return the frontier with one more leaf."""
        return self.extend(suite, (leaf_hash,))

    def extend(self, suite: Suite, leaf_hashes: Iterable[bytes]) -> Frontier:
        """Return the frontier with more leaves."""
        digest = suite.digest
        size, hashes = self.size, list(self.hashes)
        for item in leaf_hashes:
            carry = size
            while carry & 1:
                item = digest(_NODE + hashes.pop() + item)
                carry >>= 1
            hashes.append(item)
            size += 1
        return Frontier(size, tuple(hashes))

    def root(self, suite: Suite) -> bytes:
        """Return the root of the tree (RFC 6962, section 2.1)."""
        if not self.hashes:
            return suite.digest(b"")
        computed = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            computed = node_hash(suite, left, computed)
        return computed

    def encode(self) -> bytes:
        """Return the canonical encoding `[size, [hash, …]]`."""
        return encode((self.size, self.hashes))

    @staticmethod
    def decode(data: bytes) -> Frontier:
        """Decode a frontier.

        Raises:
            DecodeError: not the encoding of a frontier.
        """
        size, hashes = decode_array(data, 2, max_bytes=4096)
        if type(size) is not int or not 0 <= size <= MAX_TREE_SIZE or type(hashes) is not tuple:
            raise DecodeError("a frontier is [size, hashes]")
        checked = tuple(item for item in hashes if type(item) is bytes and len(item) == HASH_BYTES)
        if len(checked) != len(hashes) or len(checked) != size.bit_count():
            raise DecodeError("a frontier has one hash for each 1 bit of its size")
        return Frontier(size, checked)
