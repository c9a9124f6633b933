"""How entries are shown to people: what they mention with its name, and nothing else changed."""

from __future__ import annotations

from typing import Any

import pytest

from cli.directory_names import Mention, with_mentions
from cli.directory_views import show_entry

DEPARTMENT = "11110112MB1D52349B"
KEY = "ed25519:" + "0123456789abcdef" * 4
RECORD: dict[str, Any] = {
    "collection": "resource",
    "id": f"{DEPARTMENT}-desk",
    "owner": DEPARTMENT,
    "status": "effective",
    "effective": {
        "id": f"{DEPARTMENT}-desk",
        "name": "Applications",
        "systems": [f"{DEPARTMENT}-desk"],
        "sharing": {"type": "none", "ground": {"instrument": "order-711", "article": "29"}},
    },
    "pending": {"action": "retire", "submitter": KEY, "submitted_ms": 1_763_780_400_000},
    "history": [
        {
            "number": 1,
            "action": "publish",
            "version": "00",
            "submitter": KEY,
            "approver": "ed25519:short",
            "time_ms": 1_763_780_400_000,
            "height": 7,
        }
    ],
}


def test_what_a_record_mentions_is_told_by_the_field_that_mentions_it() -> None:
    found: list[Mention] = []

    def note(mention: Mention) -> str:
        found.append(mention)
        return mention[1]

    assert with_mentions(RECORD, note) == RECORD
    assert found == [
        ("organisation", DEPARTMENT),
        ("system", f"{DEPARTMENT}-desk"),  # of the same code as the resource itself
        ("instrument", "order-711"),
        ("key", KEY),
        ("key", KEY),
        ("key", "ed25519:short"),
    ]


def test_an_entry_is_shown_with_the_names_that_are_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {
        ("organisation", DEPARTMENT): "通州区",
        ("system", f"{DEPARTMENT}-desk"): "Desk",
        ("key", KEY): "通州区",
    }
    show_entry("Resource", RECORD, names)
    shown = capsys.readouterr().out
    assert f"{DEPARTMENT} (通州区)" in shown
    assert shown.count(f"{DEPARTMENT}-desk (Desk)") == 1
    assert f'"id": "{DEPARTMENT}-desk"' in shown
    assert shown.count("ed25519:0123456789ab… (通州区)") == 2
    assert KEY not in shown
    assert "ed25519:short " in shown
    assert '"instrument": "order-711"' in shown
