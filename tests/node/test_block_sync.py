"""How much whoever is behind asks for at once."""

from __future__ import annotations

from node.block_sync import ANSWER_TIMEOUT_S, MAX_ANSWER_TIMEOUT_S, Demand
from node.messages import MAX_SYNC_BLOCKS


def test_quick_answers_let_it_ask_for_the_most_within_a_few_requests() -> None:
    demand = Demand()
    for _ in range(6):
        demand.answered(0.05)
    assert demand.count == MAX_SYNC_BLOCKS
    assert demand.timeout_s == ANSWER_TIMEOUT_S


def test_answers_that_do_not_come_let_it_ask_for_one_block_and_wait_within_a_bound() -> None:
    demand = Demand()
    for _ in range(10):
        demand.not_answered()
    assert demand.count == 1
    assert demand.timeout_s == MAX_ANSWER_TIMEOUT_S


def test_a_slow_answer_lets_it_ask_for_less_and_wait_long_enough_for_another() -> None:
    demand = Demand()
    demand.answered(0.05)
    before = demand.count
    demand.answered(16.0)
    assert demand.count < before
    assert demand.timeout_s > 16.0
    for _ in range(10):
        demand.answered(16.0)
    assert demand.count == 1


def test_a_silent_peer_does_not_cost_patience_once_others_answer() -> None:
    demand = Demand()
    demand.not_answered()
    demand.answered(0.05)
    assert demand.timeout_s == ANSWER_TIMEOUT_S
