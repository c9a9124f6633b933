"""What counts now: the version that was approved, in its period; what is remembered of it never stands for another."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from directory.codes import COLLECTIONS
from directory.lookup import (
    effective_instrument,
    effective_system,
    instrument_article_in_force,
    is_entrusted,
    matter_problem,
)
from directory.models import Matter
from directory.records import entry_value
from ledger.codec import Value
from tests.directory.town import (
    CENTRE,
    DAY_MS,
    DEPARTMENT,
    LAW,
    MATTER,
    OTHER,
    RESOURCE,
    START_MS,
    SYSTEM,
    Ledger,
    everything,
    sample,
)

OWN_LAW = f"{DEPARTMENT}-law"
KEY = f"directory/instrument/{OWN_LAW}"


def test_look_ups_answer_for_what_counts_only(ledger: Ledger) -> None:
    now_ms = ledger.time_ms
    assert effective_system(ledger, SYSTEM) == sample("system")
    assert effective_instrument(ledger, LAW) == sample("instrument")
    for missing in (f"{OTHER}-1", "", "a/b", "x" * 200, "with space"):
        assert effective_system(ledger, missing) is None
    matter = sample("matter")
    assert isinstance(matter, Matter)
    assert matter_problem(ledger, matter, now_ms) is None
    assert matter.demand("nothing") is None


def test_an_entrustment_holds_within_its_period_only(ledger: Ledger) -> None:
    def entrusted(time_ms: int, **other: str) -> bool:
        names = {"department": DEPARTMENT, "centre": CENTRE, "matter": MATTER, **other}
        return is_entrusted(ledger, names["department"], names["centre"], names["matter"], time_ms)

    end_ms = START_MS + 30 * DAY_MS
    assert [entrusted(time_ms) for time_ms in (START_MS - 1, START_MS, end_ms - 1, end_ms)] == [
        False,
        True,
        True,
        False,
    ]
    assert not entrusted(START_MS, department=OTHER)
    assert not entrusted(START_MS, centre=OTHER)
    assert not entrusted(START_MS, department=CENTRE, centre=DEPARTMENT)
    assert not entrusted(START_MS, matter=f"{DEPARTMENT}0000000000002")


def test_an_article_is_in_force_between_its_instruments_dates(ledger: Ledger) -> None:
    begin_ms, end_ms = START_MS - 365 * DAY_MS, START_MS + 365 * DAY_MS

    def in_force(article: str, time_ms: int) -> bool:
        return instrument_article_in_force(ledger, LAW, article, time_ms)

    assert [
        in_force("29", time_ms) for time_ms in (begin_ms - 1, begin_ms, end_ms - 1, end_ms)
    ] == [
        False,
        True,
        True,
        False,
    ]
    assert in_force("2-2", START_MS)
    assert not in_force("3", START_MS)
    assert not instrument_article_in_force(ledger, RESOURCE, "1", START_MS)


def test_a_submission_waits_without_counting() -> None:
    ledger = Ledger()
    for entry in everything():
        editor = "national" if entry.collection == "instrument" else "editor"
        assert ledger.submit(editor, "publish", entry) == ""
        record = ledger.record(entry.collection, entry.identifier)
        assert record is not None and record.effective is None and record.status == "pending"
    assert effective_system(ledger, SYSTEM) is None
    assert not is_entrusted(ledger, DEPARTMENT, CENTRE, MATTER, START_MS)
    assert not instrument_article_in_force(ledger, LAW, "29", START_MS)


def test_the_present_version_counts_while_a_new_one_waits(ledger: Ledger) -> None:
    for collection in COLLECTIONS:
        present = sample(collection)
        before = ledger.record(collection, present.identifier)
        field = {"entrustment": "document"}.get(collection, "name")
        editor = "national" if collection == "instrument" else "editor"
        assert ledger.submit(editor, "amend", sample(collection, **{field: "New"})) == ""
        record = ledger.record(collection, present.identifier)
        assert record is not None and before is not None and record.pending is not None
        assert record.effective == before.effective == entry_value(present)
        assert (record.status, record.last) == ("effective", before.last)


# --- what is remembered between look-ups ----------------------------------------------------------


class Reader:
    """A state that holds one instrument."""

    def __init__(self, version: bytes, **changes: Any) -> None:
        body = {
            "id": OWN_LAW,
            "kind": "law",
            "name": "A law",
            "issuer": "Tongzhou",
            "in_force_from_ms": 1,
            "articles": ("1", "2"),
            "digest": bytes(32),
            **changes,
        }
        self._value = {"owner": DEPARTMENT, "last": version, "effective": body}

    def get(self, key: str) -> Value | None:
        return self._value if key == KEY else None


def test_two_states_are_told_apart_whichever_is_asked_first() -> None:
    old, new = Reader(b"1"), Reader(b"2", articles=("2",))
    for reader, in_force in ((old, True), (new, False), (old, True), (new, False)):
        assert instrument_article_in_force(reader, OWN_LAW, "1", 5) is in_force


def test_what_python_calls_equal_is_not_taken_for_the_same_version() -> None:
    """A node that remembered 1 and one that has just started must not judge True differently."""
    assert effective_instrument(Reader(b"3"), OWN_LAW) is not None
    for changes in ({"in_force_from_ms": True}, {"in_force_from_ms": 1.0}):
        with pytest.raises(ValidationError):
            effective_instrument(Reader(b"4", **changes), OWN_LAW)
