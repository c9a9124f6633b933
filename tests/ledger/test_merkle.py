"""Trees, proofs and the frontier, against RFC 6962's definitions, the published vectors, and attempts to cheat."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import merkle
from ledger.errors import DecodeError, InvalidProof
from ledger.suite import SHA256_ED25519 as SUITE

# The tree of the Certificate Transparency project's own tests, with its roots and proofs.
_CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
_CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
_A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
_B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
_C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
_D = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
_E = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
_F = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
_CT_INCLUSION = [  # index, size, proof
    (0, 1, []),
    (0, 8, [_A, _B, _C]),
    (5, 8, [_D, _E, _CT_ROOTS[3]]),
    (2, 3, [_CT_ROOTS[1]]),
    (1, 5, [_CT_ROOTS[0], _B, _D]),
]
_CT_CONSISTENCY = [  # old size, new size, proof
    (1, 1, []),
    (1, 8, [_A, _B, _C]),
    (6, 8, [_F, _E, _CT_ROOTS[3]]),
    (2, 5, [_B, _D]),
]


def _leaves(count: int) -> list[bytes]:
    return [merkle.leaf_hash(SUITE, b"entry %d" % number) for number in range(count)]


# Section 2.1 of RFC 6962, word for word: the oracles.


def _mth(leaves: list[bytes]) -> bytes:
    if not leaves:
        return SUITE.digest(b"")
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return SUITE.digest(b"\x01" + _mth(leaves[:k]) + _mth(leaves[k:]))


def _path(m: int, leaves: list[bytes]) -> list[bytes]:
    n = len(leaves)
    if n == 1:
        return []
    k = 1
    while 2 * k < n:
        k *= 2
    if m < k:
        return [*_path(m, leaves[:k]), _mth(leaves[k:])]
    return [*_path(m - k, leaves[k:]), _mth(leaves[:k])]


def _subproof(m: int, leaves: list[bytes], complete: bool) -> list[bytes]:
    n = len(leaves)
    if m == n:
        return [] if complete else [_mth(leaves)]
    k = 1
    while 2 * k < n:
        k *= 2
    if m <= k:
        return [*_subproof(m, leaves[:k], complete), _mth(leaves[k:])]
    return [*_subproof(m - k, leaves[k:], False), _mth(leaves[:k])]


def test_roots_are_those_of_the_published_vectors() -> None:
    hashes = [merkle.leaf_hash(SUITE, leaf) for leaf in _CT_LEAVES]
    assert merkle.root(SUITE, []).hex() == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    for size, expected in enumerate(_CT_ROOTS, 1):
        assert merkle.root(SUITE, hashes[:size]).hex() == expected


@pytest.mark.parametrize(("index", "size", "proof"), _CT_INCLUSION)
def test_inclusion_proofs_are_those_of_the_published_vectors(
    index: int, size: int, proof: list[str]
) -> None:
    hashes = [merkle.leaf_hash(SUITE, leaf) for leaf in _CT_LEAVES[:size]]
    computed = merkle.inclusion_proof(SUITE, hashes, index)
    assert [item.hex() for item in computed] == proof
    root = bytes.fromhex(_CT_ROOTS[size - 1])
    merkle.verify_inclusion(SUITE, hashes[index], index, size, computed, root)


@pytest.mark.parametrize(("old_size", "new_size", "proof"), _CT_CONSISTENCY)
def test_consistency_proofs_are_those_of_the_published_vectors(
    old_size: int, new_size: int, proof: list[str]
) -> None:
    hashes = [merkle.leaf_hash(SUITE, leaf) for leaf in _CT_LEAVES[:new_size]]
    computed = merkle.consistency_proof(SUITE, hashes, old_size)
    assert [item.hex() for item in computed] == proof
    old_root, new_root = (bytes.fromhex(_CT_ROOTS[size - 1]) for size in (old_size, new_size))
    merkle.verify_consistency(SUITE, old_size, new_size, computed, old_root, new_root)


def test_every_proof_of_every_small_tree_follows_the_rfc_and_verifies() -> None:
    for size in range(1, 35):
        leaves = _leaves(size)
        root = merkle.root(SUITE, leaves)
        assert root == _mth(leaves)
        for index in range(size):
            proof = merkle.inclusion_proof(SUITE, leaves, index)
            assert list(proof) == _path(index, leaves)
            merkle.verify_inclusion(SUITE, leaves[index], index, size, proof, root)
        for old_size in range(1, size + 1):
            proof = merkle.consistency_proof(SUITE, leaves, old_size)
            assert list(proof) == _subproof(old_size, leaves, True)
            merkle.verify_consistency(SUITE, old_size, size, proof, _mth(leaves[:old_size]), root)
        merkle.verify_consistency(SUITE, 0, size, (), SUITE.digest(b""), root)


@given(st.integers(1, 300), st.data())
def test_an_inclusion_proof_verifies_for_its_own_leaf_place_and_root_only(
    size: int, data: st.DataObject
) -> None:
    leaves = _leaves(size)
    root = merkle.root(SUITE, leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(SUITE, leaves, index)
    merkle.verify_inclusion(SUITE, leaves[index], index, size, proof, root)
    other = data.draw(st.integers(0, size - 1).filter(lambda n: n != index)) if size > 1 else None
    if other is not None:
        for leaf, place in ((leaves[other], index), (leaves[index], other)):
            with pytest.raises(InvalidProof):
                merkle.verify_inclusion(SUITE, leaf, place, size, proof, root)
    wrong: list[tuple[bytes, ...]] = [(*proof, root), (*proof, proof[-1] if proof else root)]
    if proof:
        position = data.draw(st.integers(0, len(proof) - 1))
        flipped = bytearray(proof[position])
        flipped[data.draw(st.integers(0, 31))] ^= 1 << data.draw(st.integers(0, 7))
        wrong += [
            proof[1:],
            proof[:-1],
            (*proof[:position], bytes(flipped), *proof[position + 1 :]),
            (*proof[:position], proof[position][:-1], *proof[position + 1 :]),
        ]
    for forged in wrong:
        with pytest.raises(InvalidProof):
            merkle.verify_inclusion(SUITE, leaves[index], index, size, forged, root)


@given(st.integers(2, 300), st.data())
def test_a_consistency_proof_verifies_for_its_own_roots_only(
    new_size: int, data: st.DataObject
) -> None:
    old_size = data.draw(st.integers(1, new_size - 1))
    leaves = _leaves(new_size)
    old_root, new_root = merkle.root(SUITE, leaves[:old_size]), merkle.root(SUITE, leaves)
    proof = merkle.consistency_proof(SUITE, leaves, old_size)
    merkle.verify_consistency(SUITE, old_size, new_size, proof, old_root, new_root)
    position = data.draw(st.integers(0, len(proof) - 1))
    flipped = bytearray(proof[position])
    flipped[data.draw(st.integers(0, 31))] ^= 1 << data.draw(st.integers(0, 7))
    for forged in (
        (*proof, new_root),
        proof[:-1],
        proof[1:],
        (),
        (*proof[:position], bytes(flipped), *proof[position + 1 :]),
    ):
        with pytest.raises(InvalidProof):
            merkle.verify_consistency(SUITE, old_size, new_size, forged, old_root, new_root)
    changed = bytearray(leaves[data.draw(st.integers(0, old_size - 1))])
    changed[0] ^= 1
    for roots in ((bytes(changed), new_root), (old_root, bytes(changed)), (new_root, old_root)):
        with pytest.raises(InvalidProof):
            merkle.verify_consistency(SUITE, old_size, new_size, proof, *roots)


def test_an_odd_leaf_is_not_duplicated() -> None:
    three = _leaves(3)
    assert merkle.root(SUITE, three) != merkle.root(SUITE, [*three, three[2]])


def test_a_node_cannot_pass_as_an_entry() -> None:
    leaves = _leaves(4)
    node = merkle.node_hash(SUITE, leaves[0], leaves[1])
    root = merkle.root(SUITE, leaves)
    right = merkle.node_hash(SUITE, leaves[2], leaves[3])
    below = leaves[0] + leaves[1]
    # The node's children, as an entry, and all that was hashed to make the node, its prefix included.
    for entry in (below, b"\x01" + below):
        assert merkle.leaf_hash(SUITE, entry) != node
        with pytest.raises(InvalidProof):
            merkle.verify_inclusion(SUITE, merkle.leaf_hash(SUITE, entry), 0, 2, (right,), root)


@pytest.mark.parametrize(
    ("index", "size"), [(-1, 4), (4, 4), (2**31, 4), (0, 0), (0, -1), (0, 2**63), (2**63, 2**63)]
)
def test_an_index_outside_the_tree_is_refused(index: int, size: int) -> None:
    with pytest.raises(InvalidProof):
        merkle.verify_inclusion(SUITE, bytes(32), index, size, (), bytes(32))
    with pytest.raises(ValueError, match="no leaf"):
        merkle.inclusion_ranges(index, size)


@pytest.mark.parametrize(("old_size", "new_size"), [(5, 4), (-1, 4), (0, 2**63)])
def test_a_log_cannot_shrink(old_size: int, new_size: int) -> None:
    with pytest.raises(InvalidProof):
        merkle.verify_consistency(SUITE, old_size, new_size, (), bytes(32), bytes(32))


def test_trees_of_one_size_have_one_root_and_the_empty_tree_its_own() -> None:
    for old_size, new_size, proof in ((3, 3, ()), (3, 3, (bytes(32),)), (0, 3, (bytes(32),))):
        with pytest.raises(InvalidProof):
            merkle.verify_consistency(SUITE, old_size, new_size, proof, bytes(32), b"\1" * 32)
    with pytest.raises(InvalidProof):
        merkle.verify_consistency(SUITE, 0, 3, (), bytes(32), b"\1" * 32)


def test_proofs_of_the_largest_trees_are_bounded() -> None:
    largest = merkle.MAX_TREE_SIZE
    for index in (0, 1, largest // 2, largest - 1):
        assert len(merkle.inclusion_ranges(index, largest)) <= merkle.MAX_PROOF_HASHES
    for old_size in (1, 2, 2**62 - 1, 2**62, 2**62 + 1, largest - 1):
        assert len(merkle.consistency_ranges(old_size, largest)) <= merkle.MAX_PROOF_HASHES


@given(st.lists(st.integers(0, 40), max_size=8))
def test_a_frontier_has_the_root_of_the_whole_tree_however_it_grew(batches: list[int]) -> None:
    leaves = _leaves(sum(batches))
    frontier, size = merkle.Frontier(), 0
    for batch in batches:
        frontier = frontier.extend(SUITE, leaves[size : size + batch])
        size += batch
        assert frontier.size == size
        assert frontier.root(SUITE) == merkle.root(SUITE, leaves[:size])
        assert merkle.Frontier.decode(frontier.encode()) == frontier
    one_by_one = merkle.Frontier()
    for leaf in leaves:
        one_by_one = one_by_one.append(SUITE, leaf)
    assert one_by_one == frontier


@given(st.binary(max_size=120))
def test_bytes_are_a_frontier_or_a_decode_error(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        assert merkle.Frontier.decode(data).encode() == data


@pytest.mark.parametrize(
    ("size", "hashes"), [(1, ()), (0, (bytes(32),)), (2, (bytes(32), bytes(32))), (-1, ())]
)
def test_a_frontier_has_one_hash_for_each_perfect_subtree(
    size: int, hashes: tuple[bytes, ...]
) -> None:
    with pytest.raises(ValueError, match="frontier"):
        merkle.Frontier(size, hashes)
