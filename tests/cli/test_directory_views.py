"""How entries are shown to people: what they mention with its name, and what waits beside what counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cli.directory_names import Mention, names_in, with_mentions
from cli.directory_views import show_entry, show_waiting
from directory.records import entry_key
from ledger.bundle import Bundle, StateEvidence
from ledger.codec import Value
from ledger.membership import enrolled_key_key, organisation_key
from ledger.suite import SHA256_ED25519 as SUITE
from node.client import NodeClient
from tests.cli.stand_in import serving
from tests.ledger.sample_chain import SampleChain

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


NAMED: dict[str, tuple[Mention, Value, str]] = {
    "an organisation": (("organisation", DEPARTMENT), {"name": "通州区"}, "通州区"),
    "an entry that counts": (
        ("instrument", "order-711"),
        {"effective": {"name": "Order"}, "pending": {"body": {"name": "Another"}}},
        "Order",
    ),
    "an entry that waits": (
        ("instrument", "order-711"),
        {"effective": None, "pending": {"body": {"name": "Order"}}},
        "Order",
    ),
    "an entry that is to be retired": (
        ("instrument", "order-711"),
        {"effective": {"name": "Order"}, "pending": {"action": "retire"}},
        "Order",
    ),
    "a key": (("key", KEY), {"organisation": DEPARTMENT}, DEPARTMENT),
    "a key of nobody": (("key", KEY), {}, ""),
    "a key that is a number": (("key", KEY), 5, ""),
    "an organisation that is a list": (("organisation", DEPARTMENT), ("name",), ""),
    "an organisation whose name is none": (("organisation", DEPARTMENT), {"name": 5}, ""),
    "an entry of no form": (("instrument", "order-711"), {"effective": "x", "pending": 1}, ""),
}
STATE_KEYS: dict[str, Callable[[str], str]] = {
    "organisation": organisation_key,
    "key": enrolled_key_key,
    "instrument": lambda code: entry_key("instrument", code),
}


def names_told(mention: Mention, state: Callable[[SampleChain, str], StateEvidence]) -> Any:
    """Return the names of what RECORD mentions, as a node tells them that gives this evidence and no other."""
    chain = SampleChain()
    chain.commit({"ledger/note/0": 1})
    evidence = state(chain, STATE_KEYS[mention[0]](mention[1]))
    data = Bundle.of("state:x", states=[evidence]).encode(SUITE)
    with serving(lambda _: (200, data)) as url, NodeClient(url) as client:
        return names_in(client, {**RECORD, "matters": ["", "no code/at all"]})


@pytest.mark.parametrize("case", NAMED)
def test_a_name_is_what_the_node_tells_and_nothing_where_that_is_none(case: str) -> None:
    mention, value, name = NAMED[case]

    def state(chain: SampleChain, key: str) -> StateEvidence:
        chain.commit({key: value})
        return chain.state_evidence(key, chain.checkpoint())

    assert names_told(mention, state) == {mention: name}


def test_a_value_that_cannot_be_read_keeps_no_entry_from_being_shown() -> None:
    def state(chain: SampleChain, key: str) -> StateEvidence:
        chain.commit({key: 1})
        return replace(chain.state_evidence(key, chain.checkpoint()), value=b"\xc1")

    assert names_told(("organisation", DEPARTMENT), state) == {}


def waiting(old: dict[str, Any] | None, new: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    action = "publish" if old is None else "amend" if new is not None else "retire"
    pending = {"action": action, "version": "ab" * 32, **more}
    entry: dict[str, Any] = {"id": "one", "title": "One", "pending": pending}
    if new is not None:
        pending["body"] = new
    if old is not None:
        entry["effective"] = old
    return entry


def rows(shown: str) -> list[list[str]]:
    """The rows of the tables, cell by cell, without their headings."""
    lines = [line for line in shown.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


OLD = {
    "id": "one",
    "name": "One",
    "text": "keeps",
    "from_ms": 0,
    "list": ["a", "b", "c"],
    "gone": 1,
}
NEW = {**OLD, "text": "keeps and shows", "from_ms": 1_000, "list": ["a", "c", "d"], "added": True}
del NEW["gone"]

CHANGES: dict[str, tuple[dict[str, Any], list[list[str]]]] = {
    "of an amended entry, the fields that differ, old and new": (
        waiting(OLD, NEW),
        [
            ["added", "–", "yes"],
            ["from", "1970-01-01 00:00:00Z", "1970-01-01 00:00:01Z"],
            ["gone", "1", "–"],
            ["list", "b, … and 2 as in the other", "d, … and 2 as in the other"],
            ["text", "keeps", "keeps and shows"],
        ],
    ),
    "a list in another order, whole": (
        waiting({"list": ["a", "b"]}, {"list": ["b", "a"]}),
        [["list", "a, b", "b, a"]],
    ),
    "of a new entry, all that it says": (
        waiting(None, {"id": "one", "name": "One"}),
        [["id", "one"], ["name", "One"]],
    ),
    "of an entry that is to be retired, all that would count no longer": (
        waiting({"id": "one", "name": "One"}, None, reason="merged"),
        [["id", "one", "–"], ["name", "One", "–"]],
    ),
    "nothing where nothing differs": (waiting(OLD, OLD), []),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_would_change_is_shown(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    entry, changes = CHANGES[case]
    show_waiting([entry])
    shown = capsys.readouterr().out
    *found, overview = rows(shown)
    assert found == changes
    assert overview == ["one", entry["pending"]["action"], "One", "ab" * 32]
    assert ("Reason: merged" in shown) == (entry["pending"]["action"] == "retire")
    assert ("all fields are as they were" in shown) == (not changes)


def test_every_entry_that_waits_is_shown_before_the_list_of_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    entries = [{**waiting({"name": "old"}, {"name": new}), "id": new} for new in ("x", "y")]
    show_waiting(entries)
    assert [row[:3] for row in rows(capsys.readouterr().out)] == [
        ["name", "old", "x"],
        ["name", "old", "y"],
        ["x", "amend", "x"],
        ["y", "amend", "y"],
    ]


@pytest.mark.parametrize(
    ("old", "new", "title"),
    [
        (None, {"name": "New"}, "New"),
        ({"name": "One"}, {"name": "New"}, "New"),
        ({"document": "One"}, {"document": "Letter 2"}, "Letter 2"),
        ({"name": "One"}, None, "One"),
    ],
)
def test_what_waits_has_the_title_that_it_would_have(
    old: dict[str, Any] | None,
    new: dict[str, Any] | None,
    title: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_waiting([waiting(old, new)])
    assert rows(capsys.readouterr().out)[-1][2] == title
