"""What the state holds of an entry: what counts, what waits for approval, and what happened so far.

One key an entry: `directory/<collection>/<id>`. Versions are numbered from 1 and chained: a
version's hash covers the hash of the version before it, so `last` stands for all of them, and the
log proves each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, cast

from directory.codes import Collection, owner_of
from directory.models import ENTRY_MODELS, Action, Entry
from ledger.codec import Value, encode
from ledger.operations import body_value
from ledger.state import State, StateReader, state_key
from ledger.suite import Suite

VERSION_KIND: Final = "directory-version"

MAX_CHANGES: Final = 64
"""Changes kept in a record; older ones are proved by the log and stand in the chain of hashes."""

Status = Literal["pending", "effective", "returned", "withdrawn", "retired"]
"""`pending`, `returned`, `withdrawn`: no version has counted yet, or none since the entry was
retired."""


# Named tuples, not frozen data classes: some are made for each operation, and cost a third to make.


class Submission(NamedTuple):
    """A version that waits for approval. `body` is None where it would retire the entry."""

    action: Action
    body: Mapping[str, Value] | None
    version: bytes
    submitter: str
    submitted_ms: int
    height: int
    reason: str | None = None


class Decision(NamedTuple):
    """How the last submission that did not take effect ended."""

    outcome: Literal["returned", "withdrawn"]
    version: bytes
    by: str
    time_ms: int
    opinion: str | None = None


class Change(NamedTuple):
    """A version that took effect: it counts from `time_ms`, the time of block `height`, until the
    next change."""

    number: int
    action: Action
    version: bytes
    submitter: str
    approver: str
    time_ms: int
    height: int


class EntryRecord(NamedTuple):
    """An entry's record. `versions` counts all versions that took effect, `last` is the hash of the
    last of them.

    `effective` is the version that counts, None if none does; `history` holds the last changes,
    oldest first.
    """

    collection: Collection
    owner: str
    status: Status
    versions: int
    last: bytes | None
    effective: Mapping[str, Value] | None
    pending: Submission | None
    decision: Decision | None
    history: tuple[Change, ...]


def entry_key(collection: Collection, identifier: str) -> str:
    """Return the state key of an entry."""
    return state_key("directory", collection, identifier)


def version_hash(
    suite: Suite,
    collection: Collection,
    identifier: str,
    number: int,
    previous: bytes | None,
    action: Action,
    body: Mapping[str, Value] | None,
    reason: str | None = None,
) -> bytes:
    """Return the hash that names a version: what an approver approves. `previous` is the version
    before it, if any; `reason` is why an entry is to be retired."""
    return suite.hash(
        VERSION_KIND, encode((collection, identifier, number, previous, action, body, reason))
    )


def load_record(state: StateReader, collection: Collection, identifier: str) -> EntryRecord | None:
    """Return an entry's record, or None.

    Raises:
        ValueError: the identifier cannot stand in a state key.
    """
    value = state.get(entry_key(collection, identifier))
    return None if value is None else record_from_value(value)


def save_record(state: State, identifier: str, record: EntryRecord) -> None:
    """Write an entry's record."""
    state.set(entry_key(record.collection, identifier), record_to_value(record))


def effective_entry(record: EntryRecord | None) -> Entry | None:
    """Return the version of an entry that counts, or None."""
    if record is None or record.effective is None:
        return None
    return ENTRY_MODELS[record.collection].model_validate(record.effective)


def entry_value(entry: Entry) -> dict[str, Value]:
    """Return an entry as the map that operations and records carry."""
    return body_value(entry)


def record_to_value(record: EntryRecord) -> dict[str, Value]:
    """Return a record as the map that the state holds; what is None is left out."""
    value: dict[str, Value] = {
        "kind": record.collection,
        "owner": record.owner,
        "status": record.status,
        "versions": record.versions,
        "history": tuple(
            [
                (
                    change.number,
                    change.action,
                    change.version,
                    change.submitter,
                    change.approver,
                    change.time_ms,
                    change.height,
                )
                for change in record.history
            ]
        ),
    }
    if record.last is not None:
        value["last"] = record.last
    if record.effective is not None:
        value["effective"] = record.effective
    if record.pending is not None:
        value["pending"] = _submission_value(record.pending)
    if record.decision is not None:
        value["decision"] = _decision_value(record.decision)
    return value


def record_from_value(value: Value) -> EntryRecord:
    """Return the record that the state holds as `value`."""
    fields = cast("Mapping[str, Any]", value)
    pending = fields.get("pending")
    decision = fields.get("decision")
    return EntryRecord(
        fields["kind"],
        fields["owner"],
        fields["status"],
        fields["versions"],
        fields.get("last"),
        fields.get("effective"),
        None if pending is None else Submission(**{"body": None, **pending}),
        None if decision is None else Decision(**decision),
        tuple(Change(*change) for change in fields["history"]),
    )


def _submission_value(pending: Submission) -> dict[str, Value]:
    value: dict[str, Value] = {
        "action": pending.action,
        "version": pending.version,
        "submitter": pending.submitter,
        "submitted_ms": pending.submitted_ms,
        "height": pending.height,
    }
    if pending.body is not None:
        value["body"] = pending.body
    if pending.reason is not None:
        value["reason"] = pending.reason
    return value


def _decision_value(decision: Decision) -> dict[str, Value]:
    value: dict[str, Value] = {
        "outcome": decision.outcome,
        "version": decision.version,
        "by": decision.by,
        "time_ms": decision.time_ms,
    }
    if decision.opinion is not None:
        value["opinion"] = decision.opinion
    return value


def settled_status(record: EntryRecord, otherwise: Status) -> Status:
    """Return the status of an entry whose submission was made, returned or withdrawn: `effective`
    while a version counts, else `otherwise`."""
    return "effective" if record.effective is not None else otherwise


def new_record(collection: Collection, identifier: str, pending: Submission) -> EntryRecord:
    """Return the record of an entry that is submitted for the first time."""
    return EntryRecord(
        collection, owner_of(identifier), "pending", 0, None, None, pending, None, ()
    )
