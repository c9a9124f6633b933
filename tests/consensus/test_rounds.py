"""The round machine: what holds whatever inputs come, and in whatever order. Transcripts show each line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consensus.tendermint.rounds import (
    CastVote,
    Decision,
    EnterRound,
    FreshProposal,
    Input,
    PolkaAny,
    PolkaNil,
    PolkaValue,
    PrecommitAny,
    PrecommitValue,
    Propose,
    RepeatedProposal,
    RoundState,
    RoundValue,
    SkipRound,
    StartRound,
    Step,
    TimeoutExpired,
    ValueBuilt,
    Wait,
    apply,
    remember_lock,
)
from ledger.votes import VoteType

VALUES = [letter.encode() * 32 for letter in "ABC"]
values = st.sampled_from(VALUES)
round_numbers = st.integers(0, 5)
inputs: st.SearchStrategy[Input] = st.one_of(
    st.builds(StartRound, round_numbers, st.booleans()),
    st.builds(ValueBuilt, values),
    st.builds(FreshProposal, values, st.booleans()),
    st.builds(RepeatedProposal, values, round_numbers, st.booleans()),
    st.just(PolkaAny()),
    st.builds(PolkaValue, values),
    st.just(PolkaNil()),
    st.just(PrecommitAny()),
    st.builds(PrecommitValue, round_numbers, values),
    st.builds(SkipRound, round_numbers),
    st.builds(
        TimeoutExpired, round_numbers, st.sampled_from([Step.PROPOSE, Step.PREVOTE, Step.PRECOMMIT])
    ),
)
beginnings = st.one_of(
    st.just(RoundState()),
    st.builds(RoundValue, round_numbers, values).map(
        lambda lock: remember_lock(RoundState(), lock)
    ),
)
"""States before a height: plain, or with the lock that the guard remembers though the log is lost."""
runs = st.lists(inputs, max_size=60).map(lambda rest: [StartRound(0, False), *rest])


def number(state: RoundState) -> tuple[int, int]:
    return state.round, int(state.step)


@given(beginnings, runs)
def test_rounds_and_steps_only_grow_and_locks_only_move_up(
    state: RoundState, run: list[Input]
) -> None:
    for one in run:
        after, _ = apply(state, one)
        assert number(after) >= number(state)
        for before_value, after_value in ((state.locked, after.locked), (state.valid, after.valid)):
            if before_value is not None:
                assert after_value is not None and after_value.round >= before_value.round
        if after.locked is not None:
            # A value is locked by the polka that also makes it valid (lines 38-43).
            assert after.valid is not None and after.valid.round >= after.locked.round
        state = after


@given(runs)
def test_each_step_of_a_round_votes_once(run: list[Input]) -> None:
    state, voted = RoundState(), set()
    for one in run:
        state, outputs = apply(state, one)
        for output in outputs:
            if isinstance(output, CastVote):
                key = (state.round, output.type)
                assert key not in voted
                voted.add(key)


@given(beginnings, runs)
def test_a_prevote_for_another_value_than_the_locked_one_needs_a_later_polka(
    state: RoundState,
    run: list[Input],
) -> None:
    for one in run:
        locked = state.locked
        state, outputs = apply(state, one)
        for output in outputs:
            if (
                isinstance(output, CastVote)
                and output.type is VoteType.PREVOTE
                and output.block_id is not None
                and locked is not None
                and output.block_id != locked.block_id
            ):
                assert isinstance(one, RepeatedProposal)
                assert locked.round <= one.pol_round < state.round


@given(beginnings, runs)
def test_a_proposal_names_the_polka_of_an_earlier_round(
    state: RoundState, run: list[Input]
) -> None:
    for one in run:
        state, outputs = apply(state, one)
        for output in outputs:
            if isinstance(output, Propose) and output.pol_round is not None:
                assert output.pol_round < state.round


@given(runs)
def test_a_precommit_for_a_value_locks_it_and_only_a_polka_of_the_round_leads_there(
    run: list[Input],
) -> None:
    state = RoundState()
    for one in run:
        state, outputs = apply(state, one)
        for output in outputs:
            if isinstance(output, CastVote) and output.type is VoteType.PRECOMMIT:
                if output.block_id is None:
                    assert isinstance(one, PolkaNil | TimeoutExpired)
                else:
                    assert one == PolkaValue(output.block_id)
                    assert state.locked is not None
                    assert (state.locked.round, state.locked.block_id) == (
                        state.round,
                        output.block_id,
                    )


@given(runs)
def test_an_input_given_again_does_nothing(run: list[Input]) -> None:
    """The driver gives inputs as often as it likes; only requests that the driver answers itself may repeat."""
    state = RoundState()
    for one in run:
        state, outputs = apply(state, one)
        again, repeated = apply(state, one)
        assert again is state
        assert all(output in outputs for output in repeated)
        if not isinstance(one, ValueBuilt):
            assert all(isinstance(output, EnterRound) for output in repeated)


@given(runs)
def test_a_decision_is_made_once_and_ends_everything(run: list[Input]) -> None:
    state, decisions = RoundState(), []
    for one in run:
        state, outputs = apply(state, one)
        decisions += [output for output in outputs if isinstance(output, Decision)]
    assert len(decisions) == (1 if state.step is Step.DECIDED else 0)
    assert [decision.value for decision in decisions] == [
        value for value in [state.decision] if value is not None
    ]


@given(runs)
def test_each_timeout_of_a_round_is_scheduled_once(run: list[Input]) -> None:
    state, scheduled = RoundState(), set()
    for one in run:
        state, outputs = apply(state, one)
        for output in outputs:
            if isinstance(output, Wait):
                key = (state.round, output.step)
                assert key not in scheduled
                scheduled.add(key)


@given(st.lists(inputs, max_size=20))
def test_before_the_start_only_the_start_counts(run: list[Input]) -> None:
    state = RoundState()
    for one in run:
        if not (isinstance(one, StartRound) and one.round == 0):
            assert apply(state, one) == (state, ())
