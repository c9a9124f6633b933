"""Votes, validator sets, commits and evidence: bytes both ways, and what each refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.codec import encode
from ledger.commits import Commit, commit_hash, verify_commit
from ledger.errors import DecodeError, InvalidSignature
from ledger.evidence import DuplicateVoteEvidence
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.validators import Validator, ValidatorSet, distribution_problem, is_quorum
from ledger.votes import SignedVote, Vote, VoteType, sign_vote
from tests.ledger.chain import Member, members, signer

CHAIN = "test-00000000000000000000000000000000"
MEMBERS = members()
SET = ValidatorSet.of(member.validator for member in MEMBERS)
BLOCK = b"\x11" * 32
OTHER = b"\x22" * 32

votes = st.builds(
    Vote,
    chain_id=st.text("abc-09", min_size=1, max_size=50),
    height=st.integers(1, 2**63 - 1),
    round=st.integers(0, 2**31 - 1),
    type=st.sampled_from(VoteType),
    block_id=st.none() | st.binary(min_size=32, max_size=32),
    validator=st.text("abcxyz", min_size=1, max_size=64),
)


def precommit(member: Member, block_id: bytes | None = BLOCK, **changes: object) -> SignedVote:
    vote = Vote(CHAIN, 5, 1, VoteType.PRECOMMIT, block_id, member.name)
    return sign_vote(member.consensus, replace(vote, **changes))  # type: ignore[arg-type]


COMMIT = Commit.of(precommit(member) for member in MEMBERS)


@given(votes, st.binary(min_size=64, max_size=64))
def test_votes_survive_their_encoding(vote: Vote, signature: bytes) -> None:
    assert Vote.decode(vote.encode()) == vote
    signed = SignedVote(vote, signature)
    assert SignedVote.decode(signed.encode()) == signed


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, ""),
        (0, "a b"),
        (0, 7),
        (1, 0),
        (1, -1),
        (1, 2**63),
        (1, True),
        (2, -1),
        (2, 2**31),
        (3, 0),
        (3, 3),
        (3, None),
        (4, b"short"),
        (4, b""),
        (4, "text"),
        (5, None),
        (5, "x" * 65),
        (5, "北京"),
    ],
)
def test_a_vote_with_a_bad_field_is_refused(position: int, value: object) -> None:
    parts: list[object] = [CHAIN, 5, 1, 2, BLOCK, "beijing"]
    Vote.decode(encode(tuple(parts)))  # type: ignore[arg-type]
    parts[position] = value
    with pytest.raises(DecodeError):
        Vote.decode(encode(tuple(parts)))  # type: ignore[arg-type]
    with pytest.raises(DecodeError):
        Vote.decode(encode(tuple(parts[:position] + parts[position + 1 :])))  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_garbage_is_refused_as_garbage(data: bytes) -> None:
    for decode in (
        Vote.decode,
        SignedVote.decode,
        Commit.decode,
        ValidatorSet.decode,
        DuplicateVoteEvidence.decode,
    ):
        with pytest.raises(DecodeError):
            decode(data)


def test_a_vote_is_bound_to_every_field_of_it() -> None:
    signed = precommit(MEMBERS[0])
    key = MEMBERS[0].consensus.public_key
    assert signed.verify(SUITE, key)
    for change in (
        {"chain_id": "other"},
        {"height": 6},
        {"round": 0},
        {"type": VoteType.PREVOTE},
        {"block_id": None},
        {"block_id": OTHER},
        {"validator": "hebei"},
    ):
        changed = SignedVote(replace(signed.vote, **change), signed.signature)  # type: ignore[arg-type]
        assert not changed.verify(SUITE, key)


# --- sets -----------------------------------------------------------------------------------------


@given(st.integers(0, 30), st.integers(1, 30))
def test_a_quorum_is_more_than_two_thirds_and_two_of_them_share_a_correct_one(
    votes: int, n: int
) -> None:
    assert is_quorum(votes, n) == (votes > 2 * n / 3)
    faults = (n - 1) // 3
    if is_quorum(votes, n) and votes <= n:
        assert 2 * votes - n > faults


@pytest.mark.parametrize(("n", "quorum", "faults"), [(4, 3, 1), (6, 5, 1), (7, 5, 2), (22, 15, 7)])
def test_quorum_sizes(n: int, quorum: int, faults: int) -> None:
    validators = ValidatorSet.of(Member(f"v{i:02}", "110000").validator for i in range(n))
    assert (validators.quorum_size, validators.faults_tolerated) == (quorum, faults)
    assert validators.quorum(quorum) and not validators.quorum(quorum - 1)


def test_proposers_take_turns_by_height_and_round() -> None:
    names = [validator.name for validator in SET]
    assert names == ["beijing", "hebei", "national", "tianjin"]
    assert [SET.proposer(5, r).name for r in range(5)] == [
        "hebei",
        "national",
        "tianjin",
        "beijing",
        "hebei",
    ]
    assert SET.proposer(6, 0) == SET.proposer(5, 1)


def test_a_sets_hash_covers_names_and_keys_but_not_controllers() -> None:
    moved = ValidatorSet.of(replace(validator, controller="another") for validator in SET)
    assert moved.hash(SUITE) == SET.hash(SUITE)
    for name in ("consensus_key", "log_key", "witness_key"):
        first = replace(SET.validators[0], **{name: signer("other").public_key})
        assert ValidatorSet((first, *SET.validators[1:])).hash(SUITE) != SET.hash(SUITE)


def test_sets_survive_their_encoding_and_refuse_disorder() -> None:
    assert ValidatorSet.decode(SET.encode()) == SET
    first, second, *rest = SET.validators
    with pytest.raises(ValueError, match="sorted"):
        ValidatorSet((second, first, *rest))
    with pytest.raises(ValueError, match="sorted"):
        ValidatorSet((first, first, *rest))
    with pytest.raises(ValueError, match="key"):
        ValidatorSet((first, replace(second, log_key=first.witness_key), *rest))
    with pytest.raises(ValueError, match="validators"):
        ValidatorSet(())
    swapped = encode((second.to_texts(), first.to_texts()))
    with pytest.raises(DecodeError):
        ValidatorSet.decode(swapped)


@pytest.mark.parametrize(
    ("controllers", "good"),
    [
        ("abc", False),
        ("abcd", True),
        ("aabcd", False),
        ("aabcde", False),
        ("aabcdef", True),
        ("aabbccd", True),
        ("aaabcdef", False),
        ("aaabcdefgh", True),
        ("abcdefghijklmnopqrstuvw", False),
    ],
)
def test_no_controller_may_have_a_third(controllers: str, good: bool) -> None:
    validators = [
        replace(Member(f"v{i:02}", "110000").validator, controller=c)
        for i, c in enumerate(controllers)
    ]
    assert (distribution_problem(validators) is None) == good


def test_a_low_order_key_is_no_validators_key() -> None:
    texts = list(SET.validators[0].to_texts())
    texts[2] = "ed25519:" + "00" * 32
    with pytest.raises(DecodeError, match="low order"):
        Validator.from_value(tuple(texts))


# --- commits --------------------------------------------------------------------------------------


def test_a_commit_of_all_or_of_a_quorum_verifies() -> None:
    verify_commit(SUITE, CHAIN, SET, COMMIT)
    verify_commit(SUITE, CHAIN, SET, replace(COMMIT, signatures=COMMIT.signatures[1:]))
    assert Commit.decode(COMMIT.encode()) == COMMIT
    assert all(
        vote.verify(SUITE, member.consensus.public_key)
        for vote, member in zip(COMMIT.votes(CHAIN), MEMBERS, strict=True)
    )


A, B, C, D = COMMIT.signatures


@pytest.mark.parametrize(
    "signatures",
    [
        (A, B),
        (A, B, B),
        (A, B, B, C),
        (B, A, C),
        (A, B, C, ("tianjin", A[1])),
        (A, B, C, ("tianjin", bytes(64))),
        (A, B, C, ("zhejiang", D[1])),
        (A, (B[0], C[1]), (C[0], B[1])),
        (),
    ],
    ids=[
        "two of four",
        "one twice",
        "one twice beside a quorum",
        "not sorted",
        "another's signature beyond a quorum",
        "garbage beyond a quorum",
        "an alien beyond a quorum",
        "signatures swapped",
        "none",
    ],
)
def test_a_commit_with_anything_wrong_in_it_is_refused(
    signatures: tuple[tuple[str, bytes], ...],
) -> None:
    with pytest.raises(InvalidSignature):
        verify_commit(SUITE, CHAIN, SET, replace(COMMIT, signatures=signatures))


@pytest.mark.parametrize("change", [{"height": 6}, {"round": 0}, {"block_id": OTHER}])
def test_a_commit_is_bound_to_height_round_block_and_chain(change: dict[str, object]) -> None:
    with pytest.raises(InvalidSignature):
        verify_commit(SUITE, CHAIN, SET, replace(COMMIT, **change))  # type: ignore[arg-type]
    with pytest.raises(InvalidSignature):
        verify_commit(SUITE, "other", SET, COMMIT)


def test_prevotes_nil_votes_and_mixed_votes_make_no_commit() -> None:
    good = [precommit(member) for member in MEMBERS]
    for wrong in (
        [],
        [precommit(MEMBERS[0], None)],
        [precommit(member, type=VoteType.PREVOTE) for member in MEMBERS],
        [*good[:3], precommit(MEMBERS[3], OTHER)],
        [*good[:3], precommit(MEMBERS[3], round=2)],
    ):
        with pytest.raises(ValueError):
            Commit.of(wrong)


def test_no_commit_has_another_hash_than_any_commit() -> None:
    assert commit_hash(SUITE, None) != commit_hash(SUITE, COMMIT)


# --- evidence -------------------------------------------------------------------------------------


def test_two_votes_for_different_blocks_are_evidence_in_one_order() -> None:
    one, other = precommit(MEMBERS[0], BLOCK), precommit(MEMBERS[0], OTHER)
    evidence = DuplicateVoteEvidence.of(one, other)
    assert evidence == DuplicateVoteEvidence.of(other, one)
    assert (evidence.validator, evidence.height) == ("beijing", 5)
    evidence.verify(SUITE, CHAIN, SET)
    assert DuplicateVoteEvidence.decode(evidence.encode()) == evidence
    backwards = encode(("duplicate_vote", other.to_value(), one.to_value()))
    with pytest.raises(DecodeError, match="order"):
        DuplicateVoteEvidence.decode(backwards)


def test_a_vote_for_nil_and_one_for_a_block_conflict() -> None:
    DuplicateVoteEvidence.of(precommit(MEMBERS[0], None), precommit(MEMBERS[0])).verify(
        SUITE, CHAIN, SET
    )


@pytest.mark.parametrize(
    "other",
    [
        precommit(MEMBERS[0], BLOCK),
        precommit(MEMBERS[1], OTHER),
        precommit(MEMBERS[0], OTHER, round=2),
        precommit(MEMBERS[0], OTHER, height=6),
        precommit(MEMBERS[0], OTHER, type=VoteType.PREVOTE),
        precommit(MEMBERS[0], OTHER, chain_id="other"),
    ],
    ids=["same block", "another validator", "round", "height", "type", "chain"],
)
def test_votes_that_may_both_be_cast_are_no_evidence(other: SignedVote) -> None:
    with pytest.raises(ValueError):
        DuplicateVoteEvidence.of(precommit(MEMBERS[0], BLOCK), other)


def test_forged_evidence_is_refused() -> None:
    good = DuplicateVoteEvidence.of(precommit(MEMBERS[0], BLOCK), precommit(MEMBERS[0], OTHER))
    forged = replace(good, vote_b=SignedVote(good.vote_b.vote, bytes(64)))
    stranger = Member("zhejiang", "330000")
    alien = DuplicateVoteEvidence.of(precommit(stranger, BLOCK), precommit(stranger, OTHER))
    for wrong in (forged, alien):
        with pytest.raises(InvalidSignature):
            wrong.verify(SUITE, CHAIN, SET)
    with pytest.raises(InvalidSignature):
        good.verify(SUITE, "other", SET)
