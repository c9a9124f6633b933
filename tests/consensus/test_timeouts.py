"""Timeouts grow with the round up to a cap of at least a minute; blocks must fit the clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.tendermint.rounds import Step
from consensus.tendermint.timeouts import Timeouts, is_timely
from ledger.limits import CLOCK_BOUND_MS

STEPS = [Step.PROPOSE, Step.PREVOTE, Step.PRECOMMIT]


@given(st.sampled_from(STEPS), st.integers(0, 60), st.integers(1, 100_000))
def test_a_timeout_grows_strictly_until_the_cap_and_stays_there(
    step: Step, round: int, first_ms: int
) -> None:
    timeouts = Timeouts(first_ms, first_ms, first_ms, cap_ms=120_000)
    now_ms, next_ms = timeouts.duration_ms(step, round), timeouts.duration_ms(step, round + 1)
    assert now_ms < next_ms <= 120_000 or now_ms == next_ms == 120_000


@pytest.mark.parametrize("step", STEPS)
def test_even_the_last_possible_round_has_a_timeout(step: Step) -> None:
    assert Timeouts().duration_ms(step, 2**31 - 1) == 60_000


@pytest.mark.parametrize("bad", [{"propose_ms": 0}, {"prevote_ms": -1}, {"cap_ms": 59_999}])
def test_senseless_settings_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        Timeouts(**bad)


def test_only_three_steps_have_timeouts() -> None:
    for step in (Step.UNSTARTED, Step.DECIDED):
        with pytest.raises(ValueError):
            Timeouts().duration_ms(step, 0)


def test_a_block_is_timely_within_the_clock_bound_and_the_rounds_delay() -> None:
    timeouts, received_ms = Timeouts(propose_ms=1_000), 1_700_000_000_000
    oldest_ms = received_ms - CLOCK_BOUND_MS - 1_000
    newest_ms = received_ms + CLOCK_BOUND_MS
    assert is_timely(oldest_ms, received_ms, 0, timeouts)
    assert is_timely(newest_ms, received_ms, 0, timeouts)
    assert not is_timely(oldest_ms - 1, received_ms, 0, timeouts)
    assert not is_timely(newest_ms + 1, received_ms, 0, timeouts)
    # A later round allows for a slower network, never for a clock that is ahead.
    assert is_timely(oldest_ms - 1, received_ms, 1, timeouts)
    assert not is_timely(newest_ms + 1, received_ms, 20, timeouts)
