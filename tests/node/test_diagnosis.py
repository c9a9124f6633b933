"""What a node says is wrong: each finding, its absence, their order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.diagnosis import (
    NOT_READY,
    OPERATORS_ONLY,
    Code,
    clock_offset_ms,
    diagnose,
)
from tests.node.diagnosis_cases import CASES, WELL


def test_where_all_is_well_nothing_is_found() -> None:
    assert diagnose(WELL) == ()


@pytest.mark.parametrize("case", CASES)
def test_each_finding_stands_where_it_is_due_and_nowhere_else(case: str) -> None:
    changes, expected = CASES[case]
    found = diagnose(replace(WELL, **changes))
    assert [(one.severity, one.code) for one in found] == [(s, c) for s, c, _ in expected]
    for finding, (_, _, text) in zip(found, expected, strict=True):
        if text.endswith("…"):
            assert finding.text.startswith(text.removesuffix("…"))
        else:
            assert finding.text == text


def test_every_code_has_a_case() -> None:
    assert {code for _, expected in CASES.values() for _, code, _ in expected} == set(Code)


def test_critical_findings_stand_first_and_otherwise_in_the_order_of_the_codes() -> None:
    everything: dict[str, Any] = {}
    for changes, _ in CASES.values():
        everything |= changes
    everything |= CASES["our clock and a peer's are off"][0] | CASES["certificates have expired"][0]
    found = diagnose(replace(WELL, **everything))
    codes = list(Code)
    places = [(one.severity != "critical", codes.index(one.code)) for one in found]
    assert places == sorted(places)
    assert len(found) > 10


def test_findings_carry_their_figures_and_whom_they_concern() -> None:
    stalled, _ = diagnose(replace(WELL, **CASES["two of four down, a height is under way"][0]))
    assert stalled.to_json() == {
        "severity": "critical",
        "code": "stalled",
        "text": stalled.text,
        "names": ["hebei", "national"],
        "numbers": {
            "height": 812,
            "round": 6,
            "seconds": 35,
            "online": 2,
            "total": 4,
            "needed": 3,
        },
    }
    [clock] = diagnose(replace(WELL, **CASES["our clock is 40 s behind"][0]))
    assert clock.numbers == {"offset_ms": -40_000, "measured": 3}


def test_only_what_makes_answers_old_ends_readiness_and_free_disk_is_nobody_elses_business() -> (
    None
):
    assert Code.CLOCK_OFF not in NOT_READY
    assert Code.VALIDATORS_OFFLINE not in NOT_READY
    assert Code.CERTIFICATE_EXPIRES not in NOT_READY
    [disk] = diagnose(replace(WELL, disk_free_bytes=0))
    assert not disk.is_public
    assert not disk.ends_readiness
    assert frozenset({disk.code}) == OPERATORS_ONLY


@given(
    honest=st.lists(st.integers(-1_000, 1_000), min_size=2, max_size=6),
    liar=st.integers(-(10**15), 10**15),
)
def test_one_peer_never_makes_our_clock_look_wrong(honest: list[int], liar: int) -> None:
    offsets = {f"v{number}": value for number, value in enumerate([*honest, liar])}
    median_ms = clock_offset_ms(replace(WELL, clock_offsets_ms=offsets))
    assert median_ms is not None
    assert abs(median_ms) <= 1_000


def test_where_no_more_are_measured_than_may_be_faulty_our_clock_is_not_judged() -> None:
    assert clock_offset_ms(replace(WELL, clock_offsets_ms={})) is None
    assert clock_offset_ms(replace(WELL, clock_offsets_ms={"hebei": 9_000})) is None
    two = replace(WELL, clock_offsets_ms={"hebei": 9_000, "tianjin": 8_000}, faults_tolerated=2)
    assert clock_offset_ms(two) is None


def test_the_operators_page_explains_every_code() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "OPERATING.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for code in Code:
        assert any(f"`{code.value}`" in row.split("|")[1] for row in rows), code
