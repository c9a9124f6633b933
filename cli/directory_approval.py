"""Approving many entries: in transactions of many, and without those that the validators refuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import typer

from cli.connection import Connection, operation, require_success
from cli.failures import command_error
from cli.output import CommandError, ExitCode, say, show_error, show_json
from cli.validation import build
from directory.codes import Collection, owner_of
from directory.models import ENTRY_MODELS, ApproveEntry
from directory.records import version_hash
from ledger.errors import LedgerError
from ledger.suite import SHA256_ED25519
from ledger.transactions import Operation
from node.answers import Json, SubmissionResult

AT_ONCE: Final = 100
"""Entries of one transaction."""

_OF_AN_OWNER: Final = ("directory.entry.not_competent", "directory.entry.owner_dissolved")
"""Refusals that all entries of the same owner would meet."""


@dataclass(slots=True)
class Approvals:
    """What became of the entries, by identifier; `refused` with code and text.

    `failure` is what ended it before all were decided, where something had been decided before.
    """

    approved: list[str] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    transactions: list[str] = field(default_factory=list)
    failure: CommandError | None = None


def approve_entries(
    connection: Connection,
    collection: Collection,
    waiting: Sequence[Json],
    opinion: str | None,
    *,
    is_one: bool,
) -> Approvals:
    """Approve entries as they are given; of a transaction that is refused for one of them, the others are tried again.

    `is_one` says that somebody has named the only one: then its refusal is an error like any other. What ends it
    midway is in the account that is returned: transactions before it stand.

    Raises:
        CommandError, LedgerError: nothing was decided: the first transaction was refused as a whole, was not decided
            in time, or the node does not answer.
    """
    done = Approvals()
    left = {str(entry["id"]): _approval(collection, entry, opinion) for entry in waiting}
    try:
        while left:
            _approve_some(connection, left, done, is_one)
    except (CommandError, LedgerError) as error:
        if not done.approved and not done.refused:
            raise
        done.failure = _midway(error, done, len(left))
    return done


def _approve_some(
    connection: Connection, left: dict[str, Operation], done: Approvals, is_one: bool
) -> None:
    """Submit one transaction, note what became of it, and take what is decided out of what is left."""
    batch = list(left)[:AT_ONCE]
    result = connection.attempt([left[one] for one in batch])
    at_fault = result.operation_index if result.status == "failed" and not is_one else None
    if at_fault is not None and 0 <= at_fault < len(batch):
        decided = _alike(batch[at_fault], result, list(left))
        done.refused += [(one, result.code, result.text) for one in decided]
    else:
        require_success(result, connection.profile)
        decided = batch
        done.approved += batch
        done.transactions.append(result.id)
    for one in decided:
        del left[one]


def _midway(error: CommandError | LedgerError, done: Approvals, left: int) -> CommandError:
    """Return an error that ended the approvals, with what stands and what does not."""
    failure = error if isinstance(error, CommandError) else command_error(error)
    hint = f"{len(done.approved)} approved before stand; {left} are not known to be decided. {failure.hint}"
    return CommandError(
        failure.text, hint=hint.rstrip(), code=failure.code, exit_code=failure.exit_code
    )


def show_approvals(done: Approvals, *, as_json: bool) -> None:
    """Show what was approved and what was not.

    Raises:
        CommandError: something was refused, or ended the approvals midway; as JSON that is said in the answer, and
            typer.Exit is raised.
    """
    if as_json:
        _show_json(done)
        return
    if done.approved:
        say(f"Approved {len(done.approved)}; transactions: {', '.join(done.transactions)}")
    lines = [
        f"  {one}: {text.removeprefix(f'{one}: ') or code} ({code})"
        for one, code, text in done.refused
    ]
    refusals = "\n".join([f"the validators refused {len(done.refused)}:", *lines])
    if done.failure is not None:
        if done.refused:
            say(refusals[0].upper() + refusals[1:])
        raise done.failure
    if done.refused:
        raise CommandError(
            refusals,
            code=done.refused[0][1],
            exit_code=ExitCode.REFUSED,
            hint=f"{'All others are' if done.approved else 'None was'} approved. "
            "`mulu directory return` sends an entry back to its owner.",
        )


def _show_json(done: Approvals) -> None:
    refused = [{"id": one, "code": code, "text": text} for one, code, text in done.refused]
    document = {"approved": done.approved, "refused": refused, "transactions": done.transactions}
    failure = done.failure
    if failure is None:
        show_json(document)
        if done.refused:
            raise typer.Exit(ExitCode.REFUSED)
        return
    error = {"code": failure.code, "message": failure.text, "hint": failure.hint}
    show_json({**document, "error": error})
    show_error(failure.text, hint=failure.hint)
    raise typer.Exit(failure.exit_code)


def pending_version(collection: Collection, entry: Json) -> str:
    """Return the hash of the version of an entry that waits: it is of what the node shows, which nobody need believe.

    Raises:
        CommandError: nothing waits, or the node shows something else than what has this hash, or than what it amends.
    """
    pending = entry.get("pending")
    if not pending:
        raise CommandError(
            f"nothing of {entry['id']} waits for approval",
            code="directory.entry.nothing_pending",
            exit_code=ExitCode.REFUSED,
        )
    version = str(pending["version"])
    try:
        is_shown = _counts_as_shown(collection, entry) and version == _hash_of(
            collection,
            entry,
            entry.get("versions", 0) + 1,
            entry.get("last"),
            pending["action"],
            pending.get("body"),
            pending.get("reason"),
        )
    except (TypeError, ValueError, OverflowError):  # nothing such can be an entry
        is_shown = False
    if not is_shown:
        raise CommandError(
            f"what the node shows of {entry['id']} is false: version {version} is of something else",
            hint="Nothing was decided. Ask another node.",
            code="version_false",
            exit_code=ExitCode.REFUSED,
        )
    return version


def _counts_as_shown(collection: Collection, entry: Json) -> bool:
    """Tell whether what counts, which what waits is shown against, has the hash that the waiting version builds on."""
    effective, history = entry.get("effective"), entry.get("history", [])
    if effective is None:
        return True  # then all that waits is shown
    before = history[-2]["version"] if len(history) > 1 else None
    action = history[-1]["action"] if history else "publish"
    shown = _hash_of(collection, entry, entry.get("versions", 0), before, action, effective)
    return shown == entry.get("last")


def _hash_of(
    collection: Collection,
    entry: Json,
    number: int,
    previous: str | None,
    action: Any,
    body: Any,
    reason: str | None = None,
) -> str:
    before = None if previous is None else bytes.fromhex(previous)
    value = None if body is None else _value_of(collection, body)
    named = version_hash(
        SHA256_ED25519, collection, entry["id"], number, before, action, value, reason
    )
    return named.hex()


def _value_of(collection: Collection, body: Json) -> dict[str, Any]:
    """Return a version as the ledger has it: of what a node shows as text, bytes are in hex."""
    fields = ENTRY_MODELS[collection].model_fields
    in_hex = {name for name, one in fields.items() if one.annotation is bytes}
    return {name: bytes.fromhex(one) if name in in_hex else one for name, one in body.items()}


def _approval(collection: Collection, entry: Json, opinion: str | None) -> Operation:
    version = pending_version(collection, entry)
    body = build(
        ApproveEntry, collection=collection, id=entry["id"], version=version, opinion=opinion
    )
    return operation("directory.entry.approve", body)


def _alike(refused: str, result: SubmissionResult, left: Sequence[str]) -> list[str]:
    """Return the entry that was refused, and those that would be refused for the same reason."""
    if result.code not in _OF_AN_OWNER:
        return [refused]
    return [one for one in left if owner_of(one) == owner_of(refused)]
