"""The driver: hostile messages, bounds, catching up. What it does line by line is in the transcripts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.tendermint.driver import HeightDriver
from consensus.tendermint.effects import Decide, Effect, SaveWal, SignProposal, SignVote
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
from consensus.tendermint.limits import PAST_ROUNDS
from consensus.tendermint.messages import (
    ProposalMessage,
    RoundDigest,
    StatusMessage,
    VotesMessage,
    decode_message,
    encode_message,
)
from consensus.tendermint.rounds import RoundValue, Step
from consensus.tendermint.wal import encode_record
from ledger.commits import verify_commit
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.votes import Vote, VoteType, sign_vote
from tests.consensus.transcripts import (
    BLOCK_IDS,
    CHAIN_ID,
    LETTERS,
    signed_proposal,
    signed_vote,
    signer_of,
    validator_set,
)

FOUR = validator_set(4)
A, B = BLOCK_IDS["A"], BLOCK_IDS["B"]


def driver_of(name: str = "a", n: int = 4) -> HeightDriver:
    return HeightDriver(SUITE, CHAIN_ID, 1, validator_set(n), name)


def run(driver: HeightDriver, *events: Event) -> list[Effect]:
    """Handle events, signing without a guard; return all effects."""
    effects: list[Effect] = []
    for event in events:
        answers: list[Event] = []
        for effect in driver.handle(event):
            effects.append(effect)
            if isinstance(effect, SignVote):
                vote = effect.vote
                answers.append(VoteReceived(sign_vote(signer_of(vote.validator), vote)))
            elif isinstance(effect, SignProposal):
                proposal = effect.proposal
                pol_round = proposal.pol_round
                value = next(v for v, i in BLOCK_IDS.items() if i == proposal.block_id)
                signed = signed_proposal(proposal.proposer, proposal.round, value, pol_round)
                answers.append(ProposalReceived(signed, None, True))
        effects += run(driver, *answers) if answers else []
    return effects


def prevote(name: str, value: str | None, round: int = 0) -> VoteReceived:
    return VoteReceived(signed_vote(name, VoteType.PREVOTE, round, value))


def precommit(name: str, value: str | None, round: int = 0) -> VoteReceived:
    return VoteReceived(signed_vote(name, VoteType.PRECOMMIT, round, value))


def proposal(value: str, round: int = 0, pol_round: int | None = None) -> ProposalReceived:
    proposer = FOUR.proposer(1, round).name
    signed = signed_proposal(proposer, round, value, pol_round)
    return ProposalReceived(signed, value.encode(), True)


STRANGE: dict[str, Event] = {
    "a vote of a stranger": VoteReceived(signed_vote("e", VoteType.PREVOTE, 0, "A")),
    "a vote of another chain": VoteReceived(
        sign_vote(signer_of("b"), Vote("other", 1, 0, VoteType.PREVOTE, A, "b"))
    ),
    "a vote with a bad signature": VoteReceived(
        replace(prevote("b", "A").vote, signature=bytes(64))
    ),
    "a vote signed by another validator": VoteReceived(
        sign_vote(signer_of("c"), Vote(CHAIN_ID, 1, 0, VoteType.PREVOTE, A, "b"))
    ),
    "a vote whose block was changed": VoteReceived(
        replace(prevote("b", "A").vote, vote=prevote("b", "B").vote.vote)
    ),
    "a proposal of another validator": ProposalReceived(signed_proposal("c", 0, "A"), b"A", True),
    "a proposal with a bad signature": ProposalReceived(
        replace(signed_proposal("b", 0, "A"), signature=bytes(64)), b"A", True
    ),
    "a proposal whose block was changed": ProposalReceived(
        replace(signed_proposal("b", 0, "A"), proposal=signed_proposal("b", 0, "B").proposal),
        b"B",
        True,
    ),
}


@pytest.mark.parametrize("case", STRANGE)
@pytest.mark.parametrize("started", [False, True])
def test_it_refuses_and_stays_as_it_was(case: str, started: bool) -> None:
    driver = driver_of()
    if started:
        driver.handle(StartHeight(1))
    before = (driver.state, driver.status())
    with pytest.raises(InvalidMessage):
        driver.handle(STRANGE[case])
    assert (driver.state, driver.status()) == before
    # Nothing was kept either: the true message still counts.
    assert run(driver, StartHeight(1), proposal("A"), BlockValidated(1, A, True))


def test_events_of_another_height_do_nothing() -> None:
    driver = driver_of()
    run(driver, StartHeight(1))
    for event in (StartHeight(2), TimeoutElapsed(2, 0, Step.PROPOSE), BlockValidated(2, A, True)):
        assert driver.handle(event) == []


def test_a_body_that_nobody_asked_for_is_not_kept() -> None:
    driver = driver_of()
    run(driver, StartHeight(1), BodyReceived(1, A, b"A", True))
    assert driver.body(A) is None


def test_a_body_is_served_from_its_receipt_to_the_decision() -> None:
    driver = driver_of()
    run(driver, StartHeight(1), proposal("A"))
    assert driver.body(A) == b"A"
    run(driver, BlockValidated(1, A, True), *(precommit(name, "A") for name in "bcd"))
    assert driver.decided and driver.body(A) == b"A"


def test_whose_block_was_untimely_is_known_in_its_round_and_the_next_and_not_for_a_repeated_one() -> (
    None
):
    driver = driver_of()
    assert driver.untimely_proposer is None
    late = replace(proposal("A"), timely=False)
    proposer = late.proposal.proposal.proposer
    run(driver, StartHeight(1), late)
    assert driver.untimely_proposer == proposer
    run(driver, *(prevote(name, None, 1) for name in "bc"))
    assert driver.round == 1
    assert driver.untimely_proposer == proposer
    run(driver, *(prevote(name, None, 2) for name in "bc"))
    assert driver.untimely_proposer is None
    run(driver, replace(proposal("A", 2, pol_round=0), timely=False))
    assert driver.untimely_proposer is None


def test_the_body_is_saved_before_the_prevote_is_signed() -> None:
    driver = driver_of()
    effects = run(driver, StartHeight(1), proposal("A"), BlockValidated(1, A, True))
    sign = next(i for i, e in enumerate(effects) if isinstance(e, SignVote))
    saved = [r for e in effects[:sign] if isinstance(e, SaveWal) for r in e.records]
    assert encode_record(BodyReceived(1, A, b"A", True)) in saved


def test_a_decision_carries_a_commit_that_verifies() -> None:
    driver = driver_of()
    effects = run(
        driver,
        StartHeight(1),
        proposal("A"),
        BlockValidated(1, A, True),
        *(precommit(name, "A") for name in "bcd"),
    )
    decide = next(e for e in effects if isinstance(e, Decide))
    verify_commit(SUITE, CHAIN_ID, FOUR, decide.commit)
    assert (decide.block_id, decide.body) == (A, b"A")


def test_a_flood_of_far_rounds_is_bounded_in_memory_and_never_reaches_the_log() -> None:
    driver = driver_of()
    run(driver, StartHeight(1))
    logged = len(driver._log.unsaved)
    for round in range(10, 400):
        run(driver, prevote("d", "A", round), precommit("d", "B", round))
    proposers_rounds = range(2, 400, 4)  # d proposes these
    for round in proposers_rounds:
        run(driver, proposal("D", round))
    assert driver.round == 0
    assert len(driver._log.unsaved) == logged
    assert len(driver._votes.rounds) <= 3
    assert len(driver._proposals.rounds) <= 1


def test_hundreds_of_rounds_leave_only_the_newest_behind() -> None:
    driver = driver_of()
    run(driver, StartHeight(1))
    letters = "CDEFGHIJKLMNOPQRSTUVWXYZ"
    for round in range(200):
        if FOUR.proposer(1, round).name != "a":
            value = letters[round % len(letters)]
            run(driver, proposal(value, round), BlockValidated(1, BLOCK_IDS[value], False))
        run(driver, TimeoutElapsed(1, round, Step.PROPOSE))
        run(driver, *(precommit(name, None, round) for name in "bcd"))
        run(driver, TimeoutElapsed(1, round, Step.PRECOMMIT))
    assert driver.round == 200
    assert len(driver._votes.rounds) <= PAST_ROUNDS + 1
    assert len(driver._proposals._blocks) <= PAST_ROUNDS + 1
    assert len(encode_message(driver.status())) < 8_000


def test_a_locked_value_and_its_body_are_kept_whatever_comes() -> None:
    driver = driver_of()
    run(driver, StartHeight(1), proposal("A"), BlockValidated(1, A, True))
    run(driver, prevote("b", "A"), prevote("c", "A"))
    for round in range(40):
        run(driver, *(precommit(name, None, round) for name in "bcd"))
        run(driver, TimeoutElapsed(1, round, Step.PRECOMMIT))
    assert driver.state.locked == driver.state.valid == RoundValue(0, A)
    assert driver.body(A) == b"A"
    assert driver._votes.has_polka(0, A)


def test_replay_refuses_a_damaged_log() -> None:
    vote = encode_record(VoteReceived(replace(prevote("b", "A").vote, signature=bytes(64))))
    start = encode_record(StartHeight(1))
    for records in ([b"garbage"], [start, vote], [encode_record(StartHeight(2))]):
        with pytest.raises(InvalidWal):
            driver_of().replay(records)


def test_a_restarted_proposer_proposes_the_block_that_it_had_built() -> None:
    driver = driver_of("b")
    driver.handle(StartHeight(1))
    saved = next(e for e in driver.handle(BlockBuilt(1, 0, A, b"A")) if isinstance(e, SaveWal))
    again = driver_of("b")
    effects = again.replay(saved.records)
    assert [e.proposal.block_id for e in effects if isinstance(e, SignProposal)] == [A]
    assert again.body(A) == b"A"
    assert again.wal_length == driver.wal_length == 2


# ---- catching up


def give(driver: HeightDriver, other: HeightDriver) -> None:
    """Answer `other`'s status from `driver`, over the wire, bodies included."""
    status = decode_message(encode_message(other.status()))
    assert isinstance(status, StatusMessage)
    for message in driver.missing(status):
        match decode_message(encode_message(message)):
            case ProposalMessage(signed, body):
                known = body or other.body(signed.proposal.block_id)
                timely = None if known is None else True
                run(other, ProposalReceived(signed, body, timely))
            case VotesMessage(votes):
                run(other, *(VoteReceived(vote) for vote in votes))
    for block_id in other.wanted_bodies:
        body = driver.body(block_id)
        if body is not None:
            run(other, BodyReceived(1, block_id, body, True))
            run(other, BlockValidated(1, block_id, True))


def test_one_who_heard_nothing_learns_the_decision_from_one_who_decided() -> None:
    ahead, behind = driver_of("a"), driver_of("d")
    run(
        ahead,
        StartHeight(1),
        proposal("A"),
        BlockValidated(1, A, True),
        *(precommit(name, "A") for name in "bc"),
        *(prevote(name, "A") for name in "bc"),
    )
    assert ahead.decided
    run(behind, StartHeight(1))
    give(ahead, behind)
    assert behind.decided


def test_one_in_an_old_round_is_brought_to_the_current_one_with_the_polka() -> None:
    ahead, behind = driver_of("a"), driver_of("d")
    run(ahead, StartHeight(1), proposal("A"), BlockValidated(1, A, True))
    run(ahead, prevote("b", "A"), prevote("c", "A"))
    for round in range(30):
        run(ahead, *(precommit(name, None, round) for name in "bc"), precommit("d", None, round))
        run(ahead, TimeoutElapsed(1, round, Step.PRECOMMIT))
    run(ahead, prevote("b", None, 30))
    run(ahead, TimeoutElapsed(1, 30, Step.PROPOSE))
    run(behind, StartHeight(1))
    give(ahead, behind)
    assert behind.round == 30
    run(behind, proposal("A", 30, 0))
    give(ahead, behind)
    assert behind._votes.has_polka(0, A)


def test_nothing_is_sent_to_who_lacks_nothing() -> None:
    one, other = driver_of("a"), driver_of("d")
    for driver in (one, other):
        run(driver, StartHeight(1), proposal("A"), prevote("b", "A"), prevote("c", "B"))
    assert one.missing(other.status()) == ()


votes = st.tuples(
    st.sampled_from("bcd"),
    st.sampled_from(VoteType),
    st.integers(0, 2),
    st.sampled_from([None, "A", "B"]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(votes, max_size=20), st.lists(votes, max_size=20))
def test_two_who_exchange_statuses_soon_lack_nothing(
    mine: list[tuple[str, VoteType, int, str | None]],
    yours: list[tuple[str, VoteType, int, str | None]],
) -> None:
    one, other = driver_of("a"), driver_of("d")
    for driver, heard in ((one, mine), (other, yours)):
        run(driver, StartHeight(1), proposal("A"))
        for name, type, round, value in heard:
            run(driver, VoteReceived(signed_vote(name, type, round, value)))
    for _ in range(6):
        give(one, other)
        give(other, one)
    if not one.decided and not other.decided:
        assert one.round == other.round
        for round in range(one.round + 1):
            for name in LETTERS[:4]:
                index = LETTERS.index(name)
                for type in VoteType:
                    heard_here = one._votes.vote_of(index, round, type)
                    heard_there = other._votes.vote_of(index, round, type)
                    assert (heard_here is None) == (heard_there is None)


voters = st.lists(
    st.tuples(st.sampled_from([None, A, B, bytes(32)]), st.integers(1, 2**22 - 1)), max_size=4
).map(tuple)
claims = st.lists(
    st.builds(RoundDigest, st.integers(0, 3), st.booleans(), voters, voters), max_size=4
).map(tuple)


@settings(max_examples=100, deadline=None)
@given(st.lists(votes, max_size=20), st.integers(0, 2**31 - 1), claims)
def test_whatever_a_status_claims_it_brings_only_what_is_held_and_changes_nothing(
    heard: list[tuple[str, VoteType, int, str | None]],
    claimed_round: int,
    claimed: tuple[RoundDigest, ...],
) -> None:
    """Bits that contradict each other, the votes or the size of the set are claims, and no votes."""
    driver = driver_of("a")
    run(driver, StartHeight(1), proposal("A"))
    for name, type, round, value in heard:
        run(driver, VoteReceived(signed_vote(name, type, round, value)))
    before = (driver.state, driver.status(), driver.wal_length)
    for message in driver.missing(StatusMessage(1, claimed_round, Step.PRECOMMIT, claimed)):
        match message:
            case VotesMessage(given):
                for signed in given:
                    assert signed in driver._votes.votes_of_round(signed.vote.round)
            case _:
                assert message == ProposalMessage(signed_proposal("b", 0, "A"), None)
    assert (driver.state, driver.status(), driver.wal_length) == before
