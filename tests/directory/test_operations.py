"""Operations on entries: who may, what is written, and that every declared code is raised by
something."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from directory.codes import COLLECTIONS, Collection
from directory.models import MAX_ARTICLES
from directory.operations import OPERATIONS
from directory.records import (
    MAX_CHANGES,
    entry_key,
    entry_value,
    record_from_value,
    record_to_value,
    version_hash,
)
from directory.requirements import MATTER_CODES
from ledger.codec import encode
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Operation
from tests.directory.town import (
    DAY_MS,
    DEPARTMENT,
    LAW,
    MATTER,
    OTHER,
    START_MS,
    SYSTEM,
    Ledger,
    body_of,
    everything,
    key,
    sample,
    uscc,
)

_SOURCES = Path(__file__).resolve().parents[2] / "directory"


def test_the_table_holds_publish_amend_and_retire_for_each_collection() -> None:
    kinds = {operation.kind for operation in OPERATIONS}
    expected = {
        f"directory.{collection}.{verb}"
        for collection in COLLECTIONS
        for verb in ("publish", "amend", "retire")
    }
    assert kinds == expected | {
        f"directory.entry.{verb}" for verb in ("approve", "return", "withdraw")
    }
    assert all(operation.summary.endswith(".") for operation in OPERATIONS)


STRANGERS_CHANGES: dict[Collection, dict[str, Any]] = {
    "instrument": {
        "kind": "rule",
        "name": "x",
        "number": "x",
        "issuer": "x",
        "in_force_from_ms": 1,
        "in_force_until_ms": START_MS + 500 * DAY_MS,
        "articles": ("1",),
        "digest": bytes(32),
    },
    "responsibility": {"name": "x", "text": "x", "catch_all": True},
    "system": {
        "name": "x",
        "summary": "x",
        "responsibilities": (f"{DEPARTMENT}-2",),
        "network": "portal",
        "hosting": "own_premises",
    },
    "resource": {
        "name": "x",
        "code": "101/1",
        "summary": "x",
        "format": "file",
        "systems": (f"{DEPARTMENT}-x",),
        "items": ({"name": "x", "type": "text", "grade": "general", "sensitive": False},),
        "grade": "core",
        "confidential": True,
        "sharing": {"type": "unconditional", "method": "file"},
        "opening": {"open": True},
        "update_cycle": "yearly",
        "related": (f"{OTHER}-x",),
    },
    "matter": {
        "name": "x",
        "responsibilities": (f"{DEPARTMENT}-2",),
        "articles": ({"instrument": LAW, "article": "1"},),
        "licenses": (),
        "modes": ("holder",),
    },
    "entrustment": {
        "matters": (f"{DEPARTMENT}0000000000002",),
        "valid_from_ms": 1,
        "valid_to_ms": START_MS + 90 * DAY_MS,
        "document": "x",
        "digest": bytes(range(32)),
    },
}
_IDENTITY = {"id", "department", "number", "code", "organisation"}


@pytest.mark.parametrize("collection", STRANGERS_CHANGES)
@pytest.mark.parametrize("officer", ["stranger", "centre", "tongzhou", "beijing", "clerk"])
def test_nobody_but_the_owners_editors_changes_any_field(
    ledger: Ledger, collection: Collection, officer: str
) -> None:
    present = sample(collection)
    changes = STRANGERS_CHANGES[collection]
    unnamed = set(body_of(collection)) - set(changes) - _IDENTITY
    assert not unnamed, f"fields that this test forgets: {unnamed}"
    before = dict(ledger.values)
    for field, value in changes.items():
        body = body_of(collection, **{field: value})
        if collection == "matter" and field == "licenses":
            body["modes"] = ()
        if collection == "resource" and field == "confidential":
            body["opening"] = {"open": False}
        for verb in ("amend", "publish"):
            code = ledger.run(officer, Operation(f"directory.{collection}.{verb}", body))
            assert code in ("directory.entry.not_owner", "role_missing"), (field, code, ledger.text)
    assert ledger.retire(officer, collection, present.identifier) in (
        "directory.entry.not_owner",
        "role_missing",
    )
    assert ledger.values == before


@pytest.mark.parametrize("collection", STRANGERS_CHANGES)
def test_the_owner_may_change_each_field_and_it_counts_once_approved(
    collection: Collection,
) -> None:
    editor, approver = (
        ("national", "national-second") if collection == "instrument" else ("editor", "tongzhou")
    )
    for field, value in STRANGERS_CHANGES[collection].items():
        ledger = Ledger()
        ledger.establish(*everything())
        body = body_of(collection, **{field: value})
        if collection == "matter" and field == "licenses":
            body["modes"] = ()
        if collection == "resource" and field == "confidential":
            continue  # needs a system on the intranet: see below
        kind = f"directory.{collection}.amend"
        identifier = sample(collection).identifier
        assert ledger.run(editor, Operation(kind, body)) == "", (field, ledger.text)
        record = ledger.record(collection, identifier)
        assert record is not None and record.effective == entry_value(sample(collection))
        code = ledger.decide(approver, "approve", collection, identifier)
        record = ledger.record(collection, identifier)
        assert record is not None
        if code == "":
            assert record.effective is not None and record.effective[field] == value
        else:
            assert field in ("responsibilities", "systems", "matters"), (field, code)
            assert record.effective == entry_value(sample(collection))


REQUIREMENTS: dict[str, tuple[Collection, dict[str, Any], str]] = {
    "a system for a responsibility that does not count": (
        "system",
        {"responsibilities": (f"{DEPARTMENT}-9",)},
        "directory.system.responsibility_not_effective",
    ),
    "a system for a catch-all clause": (
        "system",
        {"responsibilities": (f"{DEPARTMENT}-8",)},
        "directory.system.responsibility_catch_all",
    ),
    "data in a system that does not count": (
        "resource",
        {"systems": (f"{DEPARTMENT}-nothing",)},
        "directory.resource.system_not_effective",
    ),
    "confidential data off the intranet": (
        "resource",
        {"confidential": True},
        "directory.resource.confidential_on_open_network",
    ),
    "data withheld on an article that does not exist": (
        "resource",
        {"sharing": {"type": "none", "ground": {"instrument": LAW, "article": "30"}}},
        "directory.resource.ground_not_in_force",
    ),
    "a matter on a responsibility that does not count": (
        "matter",
        {"responsibilities": (f"{DEPARTMENT}-1", f"{DEPARTMENT}-9")},
        "directory.matter.responsibility_not_effective",
    ),
    "a matter on a catch-all clause": (
        "matter",
        {"responsibilities": (f"{DEPARTMENT}-1", f"{DEPARTMENT}-8")},
        "directory.matter.responsibility_catch_all",
    ),
    "a matter on an article that the law does not have": (
        "matter",
        {"articles": ({"instrument": LAW, "article": "3"},)},
        "directory.matter.article_not_in_force",
    ),
    "a matter on an instrument that nobody registered": (
        "matter",
        {"articles": ({"instrument": f"{OTHER}-law", "article": "1"},)},
        "directory.matter.article_not_in_force",
    ),
    "an entrustment with a matter that does not count": (
        "entrustment",
        {"matters": (MATTER, f"{DEPARTMENT}0000000000009")},
        "directory.entrustment.matter_not_effective",
    ),
    "an entrustment whose period is over": (
        "entrustment",
        {"valid_from_ms": 0, "valid_to_ms": START_MS},
        "directory.entrustment.expired",
    ),
}


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_what_lacks_its_basis_is_not_approved(ledger: Ledger, name: str) -> None:
    collection, changes, code = REQUIREMENTS[name]
    clause = sample("responsibility", number=8, text="Do other work.", catch_all=True)
    ledger.establish(clause)
    entry = sample(collection, **changes)
    assert ledger.submit("editor", "amend", entry) == ""
    before = dict(ledger.values)
    assert ledger.decide("tongzhou", "approve", collection, entry.identifier) == code
    assert ledger.values == before
    assert ledger.decide("tongzhou", "return", collection, entry.identifier) == ""


def test_an_entrustment_needs_a_registered_organisation(ledger: Ledger) -> None:
    entry = sample("entrustment", organisation=uscc("120000", 77))
    assert ledger.submit("editor", "publish", entry) == ""
    code = ledger.decide("tongzhou", "approve", "entrustment", entry.identifier)
    assert code == "directory.entrustment.organisation_not_active"


def test_confidential_data_may_lie_on_the_intranet(ledger: Ledger) -> None:
    intranet = sample("system", id=f"{DEPARTMENT}-inner", network="intranet")
    data = sample(
        "resource",
        id=f"{DEPARTMENT}-secrets",
        systems=(intranet.identifier,),
        confidential=True,
    )
    ledger.establish(intranet, data)
    record = ledger.record("resource", data.identifier)
    assert record is not None and record.effective is not None and record.pending is None


def test_an_unmarked_catch_all_clause_is_refused_from_the_start(ledger: Ledger) -> None:
    text = "Do other work assigned by the district."
    clause = sample("responsibility", number=8, text=text)
    code = "directory.responsibility.catch_all_unmarked"
    assert ledger.submit("editor", "publish", clause) == code
    assert ledger.submit("editor", "amend", sample("responsibility", text=text)) == code
    assert ledger.submit("editor", "publish", clause.model_copy(update={"catch_all": True})) == ""


def test_submitting_and_approving_in_one_transaction_is_refused(ledger: Ledger) -> None:
    entry = sample("instrument", name="Mine")
    record = ledger.record("instrument", LAW)
    assert record is not None
    version = version_hash(
        SUITE, "instrument", LAW, record.versions + 1, record.last, "amend", entry_value(entry)
    )
    approval = {"collection": "instrument", "id": LAW, "version": version}
    before = dict(ledger.values)
    code = ledger.run(
        "national",
        Operation("directory.instrument.amend", entry_value(entry)),
        Operation("directory.entry.approve", approval),
    )
    assert code == "directory.entry.own_submission"
    assert ledger.values == before


def test_an_approval_of_the_right_version_in_the_wrong_collection_is_refused(
    ledger: Ledger,
) -> None:
    entry = sample("responsibility", number=2)
    assert ledger.submit("editor", "publish", entry) == ""
    record = ledger.record("responsibility", entry.identifier)
    assert record is not None and record.pending is not None
    version = record.pending.version
    for collection in COLLECTIONS:
        if collection != "responsibility":
            code = ledger.decide("tongzhou", "approve", collection, entry.identifier, version)
            assert code == "directory.entry.unknown"


def test_the_reason_of_a_retirement_cannot_be_exchanged_unseen(ledger: Ledger) -> None:
    identifier = f"{DEPARTMENT}-1"

    def ask(reason: str) -> bytes:
        body = {"id": identifier, "reason": reason}
        assert ledger.run("editor", Operation("directory.responsibility.retire", body)) == ""
        record = ledger.record("responsibility", identifier)
        assert record is not None and record.pending is not None
        return record.pending.version

    seen = ask("the duty went to another department")
    withdraw = {"collection": "responsibility", "id": identifier, "version": seen}
    assert ledger.run("editor", Operation("directory.entry.withdraw", withdraw)) == ""
    assert ask("nobody checks this") != seen
    code = ledger.decide("tongzhou", "approve", "responsibility", identifier, seen)
    assert code == "directory.entry.other_version"


def test_versions_form_a_chain_of_hashes() -> None:
    ledger = Ledger()
    hashes: list[bytes] = []
    for number in range(1, 4):
        entry = sample("responsibility", name=f"version {number}")
        action = "publish" if number == 1 else "amend"
        assert ledger.submit("editor", action, entry) == ""
        assert ledger.decide("tongzhou", "approve", "responsibility", entry.identifier) == ""
        hashes.append(
            version_hash(
                SUITE,
                "responsibility",
                entry.identifier,
                number,
                hashes[-1] if hashes else None,
                action,  # type: ignore[arg-type]
                entry_value(entry),
            )
        )
    record = ledger.record("responsibility", f"{DEPARTMENT}-1")
    assert record is not None
    assert record.versions == 3
    assert record.last == hashes[-1]
    assert [change.version for change in record.history] == hashes
    assert [change.number for change in record.history] == [1, 2, 3]
    assert {change.submitter for change in record.history} == {str(key("editor").public_key)}
    assert {change.approver for change in record.history} == {str(key("tongzhou").public_key)}
    heights = [change.height for change in record.history]
    assert heights == sorted(set(heights))


def test_a_record_keeps_the_last_changes_and_counts_all() -> None:
    ledger = Ledger()
    for number in range(MAX_CHANGES + 3):
        entry = sample("responsibility", name=f"version {number}")
        assert ledger.submit("editor", "amend" if number else "publish", entry) == ""
        assert ledger.decide("tongzhou", "approve", "responsibility", entry.identifier) == ""
    record = ledger.record("responsibility", f"{DEPARTMENT}-1")
    assert record is not None
    assert record.versions == MAX_CHANGES + 3
    assert [change.number for change in record.history] == list(range(4, MAX_CHANGES + 4))


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_a_record_survives_the_state(ledger: Ledger, collection: Collection) -> None:
    identifier = sample(collection).identifier
    editor = "national" if collection == "instrument" else "editor"
    approver = "national-second" if collection == "instrument" else "tongzhou"
    steps = [
        lambda: ledger.retire(editor, collection, identifier),
        lambda: ledger.decide(approver, "return", collection, identifier),
        lambda: ledger.retire(editor, collection, identifier),
        lambda: ledger.decide(approver, "approve", collection, identifier),
    ]
    for step in steps:
        assert step() == ""
        value = ledger.value(collection, identifier)
        assert record_to_value(record_from_value(value)) == value


def test_events_tell_which_entry_to_read_again(ledger: Ledger) -> None:
    assert ledger.submit("editor", "amend", sample("matter", name="New")) == ""
    (event,) = ledger.events
    assert event.kind == "directory.matter.amend"
    assert dict(event.attributes) | {"version": ""} == {
        "organisation": DEPARTMENT,
        "collection": "matter",
        "entry": MATTER,
        "status": "effective",
        "version": "",
    }


def test_an_operation_changes_one_key_only(ledger: Ledger) -> None:
    before = dict(ledger.values)
    assert ledger.submit("editor", "amend", sample("system", name="New")) == ""
    changed = {name for name in ledger.values if ledger.values[name] != before.get(name)}
    assert changed == {entry_key("system", SYSTEM)}


def test_the_largest_instrument_fits_a_transaction() -> None:
    articles = tuple(str(number) for number in range(1, MAX_ARTICLES + 1))
    entry = sample("instrument", articles=articles)
    assert len(encode(entry_value(entry))) < 30_000


def test_the_table_declares_exactly_the_codes_that_handlers_raise() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in _SOURCES.glob("*.py"))
    raised = set(re.findall(r'InvalidOperation\(\s*"([^"]+)"', source)) | set(MATTER_CODES)
    declared = {code for operation in OPERATIONS for code in operation.codes}
    assert raised == declared


def test_every_declared_code_belongs_to_the_module() -> None:
    for operation in OPERATIONS:
        assert len(set(operation.codes)) == len(operation.codes)
        assert all(code.startswith("directory.") for code in operation.codes)
