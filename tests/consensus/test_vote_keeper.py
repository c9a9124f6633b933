"""The vote keeper against a dumb one that keeps a list of votes and counts it each time."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from consensus.tendermint.limits import MAX_FUTURE_ROUNDS, PAST_ROUNDS
from consensus.tendermint.vote_keeper import Threshold, ThresholdKind, VoteKeeper
from ledger.votes import SignedVote, Vote, VoteType
from tests.consensus.transcripts import BLOCK_IDS, CHAIN_ID, LETTERS, validator_set

SETS = {n: validator_set(n) for n in (4, 5, 6, 7)}


def unsigned(index: int, type: VoteType, round: int, value: str | None) -> SignedVote:
    """Return a vote whose signature nobody looks at: the keeper does not."""
    block_id = None if value is None else BLOCK_IDS[value]
    return SignedVote(Vote(CHAIN_ID, 1, round, type, block_id, LETTERS[index]), bytes(64))


@dataclass
class DumbKeeper:
    """Keeps every vote, counts from scratch. At most two votes of a validator in a step."""

    n: int
    votes: list[SignedVote] = field(default_factory=list)

    def voters(self, round: int, type: VoteType | None, value: bytes | str | None) -> set[str]:
        return {
            s.vote.validator
            for s in self.votes
            if s.vote.round == round
            and (type is None or s.vote.type is type)
            and (value == "any" or s.vote.block_id == value)
        }

    def thresholds(self, round: int, current: int) -> set[Threshold]:
        """Return all thresholds that the votes of `round` reach."""
        reached = set()
        for type in VoteType:
            is_prevote = type is VoteType.PREVOTE
            if 3 * len(self.voters(round, type, "any")) > 2 * self.n:
                kind = ThresholdKind.POLKA_ANY if is_prevote else ThresholdKind.PRECOMMIT_ANY
                reached.add(Threshold(kind, round))
            for value in {s.vote.block_id for s in self.votes}:
                if 3 * len(self.voters(round, type, value)) > 2 * self.n:
                    if value is not None:
                        kind = (
                            ThresholdKind.POLKA_VALUE
                            if is_prevote
                            else ThresholdKind.PRECOMMIT_VALUE
                        )
                        reached.add(Threshold(kind, round, value))
                    elif is_prevote:
                        reached.add(Threshold(ThresholdKind.POLKA_NIL, round))
        if round > current and len(self.voters(round, None, "any")) > (self.n - 1) // 3:
            reached.add(Threshold(ThresholdKind.SKIP_ROUND, round))
        return reached


votes = st.tuples(
    st.integers(0, 6),
    st.sampled_from(VoteType),
    st.integers(0, 2),
    st.sampled_from([None, "A", "B"]),
)


@given(st.sampled_from([4, 5, 6, 7]), st.lists(votes, max_size=120))
def test_it_tells_each_threshold_once_and_when_a_dumb_count_reaches_it(
    n: int, cast: list[tuple[int, VoteType, int, str | None]]
) -> None:
    keeper, dumb = VoteKeeper(SETS[n]), DumbKeeper(n)
    told: list[Threshold] = []
    for index, type, round, value in cast:
        signed = unsigned(index % n, type, round, value)
        if not keeper.wants(index % n, signed.vote):
            continue
        counted = keeper.add(index % n, signed)
        dumb.votes.append(signed)
        told += counted.thresholds
        assert {t for t in told if t.round == round} == dumb.thresholds(round, current=0)
    assert len(told) == len(set(told))
    for round in range(3):
        reached = dumb.thresholds(round, 0)
        assert keeper.has_any_quorum(VoteType.PREVOTE, round) == (
            Threshold(ThresholdKind.POLKA_ANY, round) in reached
        )
        assert keeper.has_polka(round, None) == (
            Threshold(ThresholdKind.POLKA_NIL, round) in reached
        )
        for value in ("A", "B"):
            assert keeper.has_polka(round, BLOCK_IDS[value]) == (
                Threshold(ThresholdKind.POLKA_VALUE, round, BLOCK_IDS[value]) in reached
            )


@given(st.lists(votes, max_size=80))
def test_a_conflict_is_reported_once_for_each_step_of_a_validator_that_voted_twice(
    cast: list[tuple[int, VoteType, int, str | None]],
) -> None:
    keeper = VoteKeeper(SETS[7])
    found: list[tuple[str, VoteType, int]] = []
    values: dict[tuple[str, VoteType, int], set[str | None]] = {}
    for index, type, round, value in cast:
        signed = unsigned(index, type, round, value)
        step = (LETTERS[index], type, round)
        values.setdefault(step, set()).add(value)
        if keeper.wants(index, signed.vote):
            conflict = keeper.add(index, signed).conflict
            if conflict is not None:
                assert conflict.vote.block_id != signed.vote.block_id
                found.append(step)
    assert sorted(found) == sorted(step for step, kinds in values.items() if len(kinds) > 1)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(VoteType),
            st.integers(0, 2**31 - 1) | st.integers(0, 40),
            st.sampled_from([None, *"ABCDEFG"]),
            st.sampled_from([0, 0, 0, 0, 1, 5]),
        ),
        max_size=200,
    )
)
def test_whatever_comes_it_keeps_no_more_than_its_bounds(
    flood: list[tuple[int, VoteType, int, str | None, int]],
) -> None:
    keeper, current = VoteKeeper(SETS[4]), 0
    decided = set()
    for index, type, round, value, step in flood:
        signed = unsigned(index, type, round, value)
        if keeper.wants(index, signed.vote):
            keeper.add(index, signed)
        decided |= {r for r, _ in keeper.decisions()}
        if step:
            current += step
            keeper.enter_round(current, asked_for=[current - 1])
        assert len(keeper.rounds) <= PAST_ROUNDS + 1 + 1 + 4 * MAX_FUTURE_ROUNDS + len(decided)
        for number in keeper.rounds:
            assert len(list(keeper.votes_of_round(number))) <= 4 * 2 * (2 + 4)
    # What was decided is never dropped.
    assert {r for r, _ in keeper.decisions()} >= decided


def test_a_quorum_split_by_double_votes_is_still_reached() -> None:
    """d tells us nil and A first; the others saw it vote B, and b and c voted B: we must be able to see that polka."""
    keeper = VoteKeeper(SETS[4])
    for value in (None, "A"):
        keeper.add(3, unsigned(3, VoteType.PREVOTE, 0, value))
    late = unsigned(3, VoteType.PREVOTE, 0, "B")
    assert not keeper.wants(3, late.vote)
    for index in (1, 2):
        keeper.add(index, unsigned(index, VoteType.PREVOTE, 0, "B"))
    assert keeper.wants(3, late.vote)
    keeper.add(3, late)
    assert keeper.polka_value(0) == BLOCK_IDS["B"]
