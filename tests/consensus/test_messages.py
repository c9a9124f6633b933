"""Messages, log records: one encoding each, and nothing but our own error for other bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.tendermint.errors import InvalidMessage, InvalidWal
from consensus.tendermint.events import (
    BlockBuilt,
    BlockValidated,
    BodyReceived,
    Event,
    ProposalReceived,
    StartHeight,
    TimeoutElapsed,
    VoteReceived,
)
from consensus.tendermint.limits import MAX_STATUS_ROUNDS, MAX_VOTES_PER_MESSAGE
from consensus.tendermint.messages import (
    BodyMessage,
    BodyRequest,
    Message,
    Proposal,
    ProposalMessage,
    RoundDigest,
    SignedProposal,
    StatusMessage,
    VotesMessage,
    decode_message,
    encode_message,
)
from consensus.tendermint.rounds import Step
from consensus.tendermint.wal import decode_record, encode_record
from ledger.codec import Value, encode
from ledger.limits import MAX_BLOCK_BYTES
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.votes import SignedVote, Vote, VoteType
from tests.consensus.transcripts import BLOCK_IDS, CHAIN_ID, signed_proposal, signer_of

heights = st.integers(1, 2**63 - 1)
rounds = st.integers(0, 2**31 - 1)
ids = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=64, max_size=64)
names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=64)
bodies = st.binary(min_size=1, max_size=200)
votes = st.builds(
    SignedVote,
    st.builds(Vote, names, heights, rounds, st.sampled_from(VoteType), st.none() | ids, names),
    signatures,
)


@st.composite
def proposals(draw: st.DrawFn) -> SignedProposal:
    round = draw(rounds)
    pol_round = draw(st.none() | st.integers(0, round - 1)) if round else None
    proposal = Proposal(draw(names), draw(heights), round, pol_round, draw(ids), draw(names))
    return SignedProposal(proposal, draw(signatures))


voters = st.lists(st.tuples(st.none() | ids, st.integers(1, 2**22 - 1)), max_size=46).map(tuple)
digests = st.builds(RoundDigest, rounds, st.booleans(), voters, voters)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(ProposalMessage, proposals(), st.none() | bodies),
    st.builds(VotesMessage, st.lists(votes, max_size=5).map(tuple)),
    st.builds(
        StatusMessage,
        heights,
        rounds,
        st.sampled_from(Step),
        st.lists(digests, max_size=3).map(tuple),
    ),
    st.builds(BodyRequest, heights, ids),
    st.builds(BodyMessage, heights, ids, bodies),
)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(StartHeight, heights),
    st.builds(ProposalReceived, proposals(), st.none(), st.none() | st.booleans()),
    st.builds(BodyReceived, heights, ids, bodies, st.booleans()),
    st.builds(VoteReceived, votes),
    st.builds(BlockBuilt, heights, rounds, ids, bodies),
    st.builds(BlockValidated, heights, ids, st.booleans()),
    st.builds(
        TimeoutElapsed,
        heights,
        rounds,
        st.sampled_from([Step.PROPOSE, Step.PREVOTE, Step.PRECOMMIT]),
    ),
)


@given(messages)
def test_a_message_comes_back_from_its_encoding(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(proposals())
def test_a_signed_proposal_comes_back_from_its_encoding(signed: SignedProposal) -> None:
    assert SignedProposal.decode(signed.encode()) == signed


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_with_our_error(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        decode_message(data)


@given(messages, st.data())
def test_a_message_with_a_field_replaced_is_refused_or_still_canonical(
    message: Message, data: st.DataObject
) -> None:
    encoded = bytearray(encode_message(message))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_message(bytes(encoded))
    except InvalidMessage:
        return
    assert encode_message(decoded) == bytes(encoded)


ID = BLOCK_IDS["A"]
GOOD_VOTE = ((CHAIN_ID, 1, 0, 1, ID, "a"), bytes(64))
REFUSED: dict[str, Value] = {
    "an empty array": (),
    "no array": 7,
    "an unknown number": (9, 1),
    "a missing field": (4, 1),
    "a field too many": (4, 1, ID, 0),
    "a short block id": (4, 1, ID[:31]),
    "height 0": (4, 0, ID),
    "a negative height": (4, -1, ID),
    "a bool for a height": (4, True, ID),
    "a proposal with a polka of its own round": (1, (CHAIN_ID, 1, 2, 2, ID, "a"), bytes(64), None),
    "a proposal of round 0 with a polka": (1, (CHAIN_ID, 1, 0, 0, ID, "a"), bytes(64), None),
    "a proposal for nil": (1, (CHAIN_ID, 1, 0, None, None, "a"), bytes(64), None),
    "an empty body": (1, (CHAIN_ID, 1, 0, None, ID, "a"), bytes(64), b""),
    "round 2^31": (1, (CHAIN_ID, 1, 2**31, None, ID, "a"), bytes(64), None),
    "a body beyond the limit": (5, 1, ID, bytes(MAX_BLOCK_BYTES + 1)),
    "a vote of type 3": (2, (((CHAIN_ID, 1, 0, 3, ID, "a"), bytes(64)),)),
    "a short signature": (2, (((CHAIN_ID, 1, 0, 1, ID, "a"), bytes(63)),)),
    "too many votes": (2, (GOOD_VOTE,) * (MAX_VOTES_PER_MESSAGE + 1)),
    "a status of too many rounds": (3, 1, 0, 1, ((0, True, (), ()),) * (MAX_STATUS_ROUNDS + 1)),
    "a status of an unknown step": (3, 1, 0, 9, ()),
    "voters beyond the largest set": (3, 1, 0, 1, ((0, True, ((ID, 2**22),), ()),)),
    "nobody as voters": (3, 1, 0, 1, ((0, True, ((ID, 0),), ()),)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses(case: str) -> None:
    with pytest.raises(InvalidMessage):
        decode_message(encode(REFUSED[case]))


def test_a_proposals_signature_covers_every_field() -> None:
    key = signer_of("b").public_key
    signed = signed_proposal("b", 2, "A", 1)
    assert signed.verify(SUITE, key)
    for field, other in {
        "chain_id": "other-chain",
        "height": 2,
        "round": 3,
        "pol_round": None,
        "block_id": BLOCK_IDS["B"],
        "proposer": "c",
    }.items():
        fields = {name: getattr(signed.proposal, name) for name in Proposal.__slots__}
        changed = Proposal(**{**fields, field: other})
        assert not SignedProposal(changed, signed.signature).verify(SUITE, key)


@given(events)
def test_an_event_comes_back_from_its_record(event: Event) -> None:
    assert decode_record(encode_record(event), event.height) == event


@given(events, st.binary(max_size=100))
def test_a_damaged_record_is_refused(event: Event, garbage: bytes) -> None:
    record = encode_record(event)
    for damaged in (garbage, record[:-1], record + b"\0"):
        with pytest.raises(InvalidWal):
            decode_record(damaged, event.height)


@given(events)
def test_a_record_of_another_height_is_refused(event: Event) -> None:
    other = event.height - 1 if event.height > 1 else 2
    with pytest.raises(InvalidWal):
        decode_record(encode_record(event), other)
