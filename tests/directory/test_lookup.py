"""What counts now: what is remembered between look-ups never stands for another version."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from directory.lookup import effective_instrument, instrument_article_in_force
from ledger.codec import Value
from tests.directory.town import DEPARTMENT

LAW = f"{DEPARTMENT}-law"
KEY = f"directory/instrument/{LAW}"


class Reader:
    """A state that holds one instrument."""

    def __init__(self, version: bytes, **changes: Any) -> None:
        body = {
            "id": LAW,
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
        assert instrument_article_in_force(reader, LAW, "1", 5) is in_force


def test_what_python_calls_equal_is_not_taken_for_the_same_version() -> None:
    """A node that remembered 1 and one that has just started must not judge True differently."""
    assert effective_instrument(Reader(b"3"), LAW) is not None
    for changes in ({"in_force_from_ms": True}, {"in_force_from_ms": 1.0}):
        with pytest.raises(ValidationError):
            effective_instrument(Reader(b"4", **changes), LAW)
