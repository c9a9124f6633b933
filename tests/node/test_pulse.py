"""What a link's questions and answers tell, for every order in which they can come."""

from __future__ import annotations

import pytest

from node.errors import InvalidPeerMessage
from node.pulse import ASK_INTERVAL_S, MAX_IN_VAIN, SILENT_S, Pulse


def test_a_new_link_has_just_answered_and_is_absent_when_nothing_more_comes() -> None:
    pulse = Pulse(100.0)
    assert pulse.is_fresh(100.0 + SILENT_S)
    assert not pulse.is_fresh(100.1 + SILENT_S)


def test_what_counts_is_when_the_question_was_asked_not_when_its_answer_came() -> None:
    pulse = Pulse(100.0)
    number = pulse.ask(101.0, 0, listening=True)
    pulse.answered(number, 131.0)  # it has waited in a buffer while we were stopped
    assert pulse.round_trip_s == 30.0
    assert not pulse.is_fresh(131.0)
    pulse.answered(pulse.ask(132.0, 20, listening=True), 132.1)
    assert pulse.is_fresh(132.1)


def test_a_later_answer_answers_the_earlier_questions_too() -> None:
    pulse = Pulse(100.0)
    first, second = (pulse.ask(at_s, 0, listening=True) for at_s in (101.0, 102.0))
    pulse.answered(second, 102.5)
    pulse.answered(first, 103.0)
    assert pulse.round_trip_s == 0.5
    assert pulse.is_fresh(102.0 + SILENT_S)
    assert not pulse.is_fresh(102.1 + SILENT_S)


@pytest.mark.parametrize("number", [0, -1, 2, 2**31])
def test_an_answer_to_what_was_never_asked_is_refused(number: int) -> None:
    pulse = Pulse(100.0)
    pulse.ask(101.0, 0, listening=True)
    with pytest.raises(InvalidPeerMessage):
        pulse.answered(number, 101.5)


def _ask_in_vain(pulse: Pulse, received_bytes: int, *, listening: bool = True) -> None:
    for second in range(MAX_IN_VAIN - 1):
        pulse.ask(200.0 + second * ASK_INTERVAL_S, received_bytes, listening=listening)


def test_a_link_is_lost_after_so_many_questions_while_no_byte_comes() -> None:
    pulse = Pulse(100.0)
    _ask_in_vain(pulse, 0)
    assert not pulse.is_lost
    pulse.ask(300.0, 0, listening=True)
    assert pulse.is_lost


def test_bytes_of_a_frame_that_is_not_whole_yet_keep_a_link() -> None:
    pulse = Pulse(100.0)
    _ask_in_vain(pulse, 0)
    pulse.ask(300.0, 1, listening=True)
    _ask_in_vain(pulse, 1)
    assert not pulse.is_lost


def test_a_pause_of_our_own_loses_no_link() -> None:
    pulse = Pulse(100.0)
    _ask_in_vain(pulse, 0, listening=False)  # the last message takes long
    pulse.ask(10_000.0, 0, listening=True)  # the process was stopped
    assert not pulse.is_lost


def test_questions_that_nobody_answers_are_remembered_within_a_bound() -> None:
    pulse = Pulse(0.0)
    numbers = [pulse.ask(float(second), second, listening=True) for second in range(1_000)]
    pulse.answered(numbers[0], 1_000.0)  # so old that it is forgotten
    assert not pulse.is_fresh(1_000.0)
    pulse.answered(numbers[-1], 1_000.0)
    assert pulse.is_fresh(1_000.0)
