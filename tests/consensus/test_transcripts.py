"""Every transcript under testdata/ prints what it says it prints, and no line or rule is without one."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import pytest

from tests.consensus.transcript_files import TESTDATA, markers, run, table

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "CONSENSUS.md"
REWRITE: Final = bool(os.environ.get("MULU_REWRITE"))

ALGORITHM_1: Final = range(10, 68)
"""The lines of Algorithm 1 of arXiv 1807.04938 that do something; those before give variables their first values."""

BRANCHES: Final = {
    "14-16",
    "17-18",
    "20-21",
    "22-24",
    "23, locked on another value",
    "23, locked on this value",
    "25-27, invalid",
    "25-27, untimely",
    "28, no polka yet",
    "29-30, not locked",
    "29-30, locked before the polka",
    "29-30, locked on this value",
    "31-33, locked after the polka",
    "31-33, invalid",
    "34, step propose",
    "36-43, step prevote",
    "42-43, step precommit",
    "36, step propose",
    "36, first time",
    "36, invalid",
    "44, step propose",
    "44, step precommit",
    "49, past round",
    "49, future round",
    "49, decided",
    "50, invalid",
    "55, one validator",
    "58, stale round",
    "58, stale step",
    "58, another height",
    "62, stale round",
    "61-62, stale step",
    "62, another height",
    "65, step prevote",
    "66, stale round",
    "66, another height",
}
"""Branches of a line, and moments at which it must do nothing: a transcript of the line alone does not show them."""

RULES: Final = {
    # locks
    "no-unlock-on-a-nil-polka",
    "nil-on-conflict-with-the-lock",
    "hidden-lock",
    "guard-lock-binds",
    "guard-lock-binds-during-replay",
    "lock-never-goes-back",
    # votes and rounds
    "decision-of-a-past-round",
    "decision-of-a-future-round",
    "decision-beyond-the-window",
    "round-skip-counts-both-types",
    "precommit-any-does-not-shadow-polka-nil",
    "late-vote-completes-an-old-polka",
    "late-vote-after-our-precommit",
    "late-vote-of-no-proposal",
    "evidence-once",
    "second-votes-count",
    "votes-carry-no-time",
    "timeouts-grow",
    "timeouts-are-capped",
    "timeouts-start-again",
    # bounds
    "bounded-future-rounds",
    "bounded-past-rounds",
    "bounded-future-proposals",
    "bounded-heights",
    "bounded-votes-in-a-step",
    "bounded-log",
    # bodies and restarts
    "body-durable-before-prevote",
    "body-served-until-decided",
    "body-of-no-use-is-dropped",
    "body-unasked-is-refused",
    "body-from-another-peer",
    "all-crash-after-a-polka",
    "restart-between-effects",
    "restart-between-two-signatures",
    "restart-of-a-proposer",
    "restart-signs-what-is-due",
    "log-brings-back-third-votes",
    "guard-repeats-the-same-signature",
    "guard-refuses-other-bytes",
    "guard-lost-is-silent",
    # time
    "timely-judged-once",
    "timely-judged-with-the-body",
    "timely-again-in-another-round",
    "timely-is-logged",
    "timely-is-for-fresh-proposals",
    "timely-touches-only-line-22",
    "untimely-blocks-are-decided",
    "clock-an-hour-off",
    "reproposal-past-its-clock-bound",
    "reproposal-keeps-time-and-proposer",
}
"""What implementations of Tendermint get wrong, and what this one promises beyond the paper."""


@pytest.mark.parametrize("path", sorted(TESTDATA.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript_prints_what_it_says(path: Path) -> None:
    expected, printed = run(path)
    if REWRITE:
        path.write_text(printed)
    else:
        assert printed == expected


def test_each_line_of_the_algorithm_has_a_transcript() -> None:
    shown = {line for marker in markers() for line in marker.lines}
    assert shown == set(ALGORITHM_1)


def test_each_branch_of_a_line_has_a_transcript() -> None:
    assert {marker.name for marker in markers() if marker.kind == "line"} >= BRANCHES


def test_the_transcripts_show_the_rules_and_no_others() -> None:
    assert {marker.name for marker in markers() if marker.kind == "rule"} == RULES


def test_what_a_transcript_shows_is_named_once() -> None:
    names = [(marker.kind, marker.name) for marker in markers()]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("kind", ["line", "rule"])
def test_the_document_lists_every_transcript(kind: str) -> None:
    text = DOCUMENT.read_text()
    begin, end = f"<!-- transcripts: {kind} -->\n", "<!-- end of transcripts -->"
    wanted, found = re.subn(
        f"{begin}.*?{end}", lambda _: f"{begin}{table(kind)}\n{end}", text, flags=re.DOTALL
    )
    assert found == 1
    if REWRITE:
        DOCUMENT.write_text(wanted)
    else:
        assert text == wanted
