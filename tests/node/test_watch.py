"""Who has not voted, and which findings are news to be logged."""

from __future__ import annotations

from dataclasses import replace

import pytest
import structlog

from consensus.tendermint.messages import RoundDigest, StatusMessage
from consensus.tendermint.rounds import Step
from node.diagnosis import (
    Code,
    Finding,
)
from node.watch import REMINDER_S, SETTLED, Journal, silent_validators
from tests.node.links import NAMES, NOW, Jurisdictions

A_BLOCK = bytes(32)


@pytest.mark.parametrize(
    ("round_", "step", "digests", "expected"),
    [
        (0, Step.UNSTARTED, (), ()),
        (0, Step.PROPOSE, (), ()),
        (0, Step.PREVOTE, (), NAMES),
        (
            0,
            Step.PREVOTE,
            (RoundDigest(0, True, ((None, 0b0001), (A_BLOCK, 0b1000)), ()),),
            ("hebei", "national"),
        ),
        (
            0,
            Step.PRECOMMIT,
            (RoundDigest(0, True, ((A_BLOCK, 0b1011),), ((A_BLOCK, 0b0100),)),),
            (),
        ),
        # A round that has just begun says nothing: the one before does.
        (
            2,
            Step.PROPOSE,
            (
                RoundDigest(1, True, ((None, 0b0111),), ()),
                RoundDigest(2, True, ((None, 0b1000),), ()),
            ),
            ("tianjin",),
        ),
    ],
)
def test_validators_without_a_vote_of_the_newest_round_with_votes_are_named(
    round_: int, step: Step, digests: tuple[RoundDigest, ...], expected: tuple[str, ...]
) -> None:
    validators = Jurisdictions(NOW).membership().validators
    status = StatusMessage(812, round_, step, digests)
    assert silent_validators(status, validators) == expected


# --- the log ------------------------------------------------------------------------------------------

DOWN = Finding("critical", Code.NO_QUORUM, "no quorum", ("hebei",), {"online": 2})
HEBEI = Finding("warning", Code.CERTIFICATE_EXPIRES, "expires in 12 days", ("hebei",))
TIANJIN = replace(HEBEI, names=("tianjin",))


def logged(*ticks: tuple[Finding, ...], interval_s: float = 1.0) -> list[tuple[str, str]]:
    """Return level and text of what the journal writes."""
    journal = Journal()
    with structlog.testing.capture_logs() as lines:
        for number, findings in enumerate(ticks):
            journal.write(findings, number * interval_s)
    return [(line["log_level"], line["event"]) for line in lines]


def test_a_finding_is_logged_once_when_it_has_come_to_stay_and_once_when_it_has_gone() -> None:
    there = (DOWN,)
    assert logged(*[there] * (SETTLED - 1)) == []
    assert logged(*[there] * 50) == [("warning", "no quorum")]
    gone = [("warning", "no quorum"), ("info", "no longer found")]
    assert logged(*[there] * 50, *[()] * 50) == gone


def test_what_flutters_is_no_news() -> None:
    assert logged((DOWN,), (DOWN,), (), (DOWN,), (DOWN,), ()) == []
    assert logged(*[(DOWN,)] * 5, (), (DOWN,), (), *[(DOWN,)] * 5) == [("warning", "no quorum")]


def test_other_names_are_other_news_of_certificates_but_not_of_a_quorum() -> None:
    assert logged(*[(HEBEI, TIANJIN)] * 5) == [("warning", "expires in 12 days")] * 2
    fewer = replace(DOWN, names=("hebei", "national"))
    assert logged(*[(DOWN,)] * 5, *[(fewer,)] * 5) == [("warning", "no quorum")]


def test_a_start_without_quorum_is_no_news_and_nothing_is_called_gone_that_has_grown_worse() -> (
    None
):
    starting = replace(DOWN, severity="warning", text="just started")
    assert logged(*[(starting,)] * 10, *[(DOWN,)] * 10) == [("warning", "no quorum")]


def test_one_more_validator_offline_is_news() -> None:
    one = Finding("warning", Code.VALIDATORS_OFFLINE, "one is offline", ("hebei",))
    two = replace(one, text="two are offline", names=("hebei", "national"))
    lines = logged(*[(one,)] * 5, *[(two,)] * 10, *[()] * 5)
    assert lines == [
        ("warning", "one is offline"),
        ("warning", "two are offline"),
        ("info", "no longer found"),
    ]


def test_what_becomes_critical_is_news() -> None:
    critical = replace(HEBEI, severity="critical", text="expires in 2 days")
    lines = logged(*[(HEBEI,)] * 5, *[(critical,)] * 2)
    assert lines == [("warning", "expires in 12 days")]
    lines = logged(*[(HEBEI,)] * 5, *[(critical,)] * 5)
    assert lines[:2] == [("warning", "expires in 12 days"), ("warning", "expires in 2 days")]


def test_what_stays_is_logged_again_once_a_day() -> None:
    lines = logged(*[(HEBEI,)] * (SETTLED + 48), interval_s=REMINDER_S / 24)
    assert lines == [("warning", "expires in 12 days")] * 3
