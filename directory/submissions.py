"""What an owner's editors do with an entry: publish, amend, retire, and withdraw what still waits.

Nothing here makes anything count: a submission waits in the record, beside the version that counts,
until the competent authority decides. At most one waits at a time. Only the owner acts, and the
owner is part of the identifier.
"""

from __future__ import annotations

from collections.abc import Mapping

from directory.catch_all import is_catch_all
from directory.codes import Collection, owner_of
from directory.models import Action, Entry, Responsibility, RetireEntry, WithdrawEntry
from directory.records import (
    Decision,
    EntryRecord,
    Submission,
    entry_value,
    load_record,
    new_record,
    save_record,
    settled_status,
    version_hash,
)
from ledger.codec import Value
from ledger.errors import InvalidOperation
from ledger.membership import organisation
from ledger.operations import Context, Event
from ledger.state import State


def publish(state: State, body: Entry, context: Context) -> list[Event]:
    """Submit an entry of which no version counts."""
    collection, identifier = body.collection, body.identifier
    _require_owner(state, identifier, context)
    _require_marked(body)
    record = load_record(state, collection, identifier)
    if record is not None:
        _require_nothing_pending(identifier, record)
        if record.effective is not None:
            raise InvalidOperation(
                "directory.entry.exists", f"{identifier} is published; amend it instead"
            )
    value = entry_value(body)
    return _submit(state, collection, identifier, record, "publish", value, None, context)


def amend(state: State, body: Entry, context: Context) -> list[Event]:
    """Submit a new version of an entry that counts; until it is approved, the present version
    counts."""
    collection, identifier = body.collection, body.identifier
    _require_owner(state, identifier, context)
    _require_marked(body)
    record = _effective_record(state, collection, identifier)
    value = entry_value(body)
    if value == record.effective:
        raise InvalidOperation("directory.entry.unchanged", "the new version changes nothing")
    return _submit(state, collection, identifier, record, "amend", value, None, context)


def retire(
    collection: Collection, state: State, body: RetireEntry, context: Context
) -> list[Event]:
    """Ask that an entry count no longer."""
    _require_owner(state, body.id, context)
    record = _effective_record(state, collection, body.id)
    return _submit(state, collection, body.id, record, "retire", None, body.reason, context)


def withdraw(state: State, body: WithdrawEntry, context: Context) -> list[Event]:
    """Take back what waits."""
    _require_owner(state, body.id, context)
    record, pending = pending_submission(state, body.collection, body.id, body.version)
    decision = Decision("withdrawn", pending.version, str(context.signer), context.time_ms)
    record = record._replace(
        status=settled_status(record, "withdrawn"), pending=None, decision=decision
    )
    save_record(state, body.id, record)
    return [entry_event("directory.entry.withdraw", body.id, record, pending.version)]


def pending_submission(
    state: State, collection: Collection, identifier: str, version: bytes
) -> tuple[EntryRecord, Submission]:
    """Return an entry's record and what waits, which must be the version named."""
    record = load_record(state, collection, identifier)
    if record is None:
        raise InvalidOperation("directory.entry.unknown", f"no {collection} {identifier}")
    if record.pending is None:
        raise InvalidOperation("directory.entry.nothing_pending", f"{identifier}: nothing waits")
    if record.pending.version != version:
        raise InvalidOperation(
            "directory.entry.other_version",
            f"what waits is version {record.pending.version.hex()}; look at it again",
        )
    return record, record.pending


def entry_event(kind: str, identifier: str, record: EntryRecord, version: bytes) -> Event:
    """Return the event that tells indexes which entry to read again."""
    return Event(
        kind,
        {
            "organisation": record.owner,
            "collection": record.collection,
            "entry": identifier,
            "status": record.status,
            "version": version.hex(),
        },
    )


def _submit(
    state: State,
    collection: Collection,
    identifier: str,
    record: EntryRecord | None,
    action: Action,
    body: Mapping[str, Value] | None,
    reason: str | None,
    context: Context,
) -> list[Event]:
    versions, last = (0, None) if record is None else (record.versions, record.last)
    version = version_hash(
        context.suite, collection, identifier, versions + 1, last, action, body, reason
    )
    pending = Submission(
        action, body, version, str(context.signer), context.time_ms, context.height, reason
    )
    if record is None:
        record = new_record(collection, identifier, pending)
    else:
        # Spelt out: every entry that is amended passes here, and `replace` would cost a tenth more.
        record = EntryRecord(
            collection=record.collection,
            owner=record.owner,
            status=settled_status(record, "pending"),
            versions=record.versions,
            last=record.last,
            effective=record.effective,
            pending=pending,
            decision=None,
            history=record.history,
        )
    save_record(state, identifier, record)
    return [entry_event(f"directory.{collection}.{action}", identifier, record, version)]


def _require_owner(state: State, identifier: str, context: Context) -> None:
    owner = owner_of(identifier)
    if context.organisation != owner:
        raise InvalidOperation(
            "directory.entry.not_owner",
            f"only {owner} changes {identifier}, not {context.organisation}",
        )
    record = organisation(state, owner)
    if record is None or not record.active:
        raise InvalidOperation("directory.entry.owner_dissolved", f"{owner} is not active")


def _require_nothing_pending(identifier: str, record: EntryRecord) -> None:
    if record.pending is not None:
        raise InvalidOperation(
            "directory.entry.pending",
            f"{identifier}: a submission waits for approval; withdraw it first",
        )


def _effective_record(state: State, collection: Collection, identifier: str) -> EntryRecord:
    record = load_record(state, collection, identifier)
    if record is None:
        raise InvalidOperation("directory.entry.unknown", f"no {collection} {identifier}")
    _require_nothing_pending(identifier, record)
    if record.effective is None:
        raise InvalidOperation(
            "directory.entry.not_effective", f"{identifier}: no version counts; publish one"
        )
    return record


def _require_marked(body: Entry) -> None:
    if isinstance(body, Responsibility) and not body.catch_all and is_catch_all(body.text):
        raise InvalidOperation(
            "directory.responsibility.catch_all_unmarked",
            f"{body.identifier}: a clause on other tasks that somebody assigns must be marked catch_all",
        )
