"""What the competent authority decides: approve what waits, so that it counts, or return it with
the reason.

Rules. The authority is that of the owner's division; for an authority's own entries it is the one
above; at the top a second officer decides. Never the key that submitted. The decision names the
hash of the version, so what was looked at is what is decided. What an entry needs is checked
against the state at this moment (`requirements`).
"""

from __future__ import annotations

from directory.codes import owner_of
from directory.models import ENTRY_MODELS, ApproveEntry, ReturnEntry
from directory.records import (
    MAX_CHANGES,
    Change,
    Decision,
    EntryRecord,
    Submission,
    save_record,
    settled_status,
)
from directory.requirements import check_requirements
from directory.submissions import entry_event, pending_submission
from ledger.errors import InvalidOperation
from ledger.membership import Organisation, authority_of, enrolled_key, organisation
from ledger.operations import Context, Event
from ledger.state import State


def approve(state: State, body: ApproveEntry, context: Context) -> list[Event]:
    """Make the version that waits the one that counts; a retirement ends the entry."""
    record, pending = pending_submission(state, body.collection, body.id, body.version)
    owner = _require_competent(state, body.id, pending, context)
    _require_untainted(state, pending)
    if pending.body is not None:
        if not owner.active:
            raise InvalidOperation(
                "directory.entry.owner_dissolved", f"{owner.uscc} is not active any more"
            )
        entry = ENTRY_MODELS[body.collection].model_validate(pending.body)
        check_requirements(state, entry, context.time_ms)
    record = _changed(record, pending, context)
    save_record(state, body.id, record)
    return [entry_event("directory.entry.approve", body.id, record, pending.version)]


def return_entry(state: State, body: ReturnEntry, context: Context) -> list[Event]:
    """Send what waits back; the version that counted goes on counting."""
    record, pending = pending_submission(state, body.collection, body.id, body.version)
    _require_competent(state, body.id, pending, context)
    decision = Decision(
        "returned", pending.version, str(context.signer), context.time_ms, body.opinion
    )
    record = record._replace(
        status=settled_status(record, "returned"), pending=None, decision=decision
    )
    save_record(state, body.id, record)
    return [entry_event("directory.entry.return", body.id, record, pending.version)]


def _changed(record: EntryRecord, pending: Submission, context: Context) -> EntryRecord:
    change = Change(
        record.versions + 1,
        pending.action,
        pending.version,
        pending.submitter,
        str(context.signer),
        context.time_ms,
        context.height,
    )
    return record._replace(
        status="retired" if pending.action == "retire" else "effective",
        versions=change.number,
        last=pending.version,
        effective=pending.body,
        pending=None,
        decision=None,
        history=(*record.history, change)[-MAX_CHANGES:],
    )


def _require_competent(
    state: State, identifier: str, pending: Submission, context: Context
) -> Organisation:
    """Return the owner, having checked that the signer decides on its entries and did not submit
    this one."""
    owner = organisation(state, owner_of(identifier))
    assert owner is not None, "only registered organisations have entries"
    authority = authority_of(state, owner)
    if authority is None or not authority.active or authority.uscc != context.organisation:
        raise InvalidOperation(
            "directory.entry.not_competent",
            f"{context.organisation} is not the competent authority over {owner.uscc}",
        )
    if pending.submitter == str(context.signer):
        raise InvalidOperation(
            "directory.entry.own_submission", "nobody decides on what they submitted themselves"
        )
    return owner


def _require_untainted(state: State, pending: Submission) -> None:
    """Refuse what was submitted with a key after it had been compromised."""
    key = enrolled_key(state, pending.submitter)
    assert key is not None, "keys are never removed"
    since_ms = key.compromised_since_ms
    if since_ms is not None and since_ms <= pending.submitted_ms:
        raise InvalidOperation(
            "directory.entry.submitter_compromised",
            "the key that submitted this was compromised then; it must be submitted again",
        )
