"""Approving many entries: in transactions of many, and without those that the validators refuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import typer

from cli.connection import Connection, operation, require_success
from cli.output import CommandError, ExitCode, say, show_json
from cli.validation import build
from directory.codes import Collection, owner_of
from directory.models import ApproveEntry
from ledger.transactions import Operation
from node.answers import Json, SubmissionResult

AT_ONCE: Final = 100
"""Entries of one transaction."""

_OF_AN_OWNER: Final = ("directory.entry.not_competent", "directory.entry.owner_dissolved")
"""Refusals that all entries of the same owner would meet."""


@dataclass(slots=True)
class Approvals:
    """What became of the entries, by identifier; `refused` with code and text."""

    approved: list[str] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    transactions: list[str] = field(default_factory=list)


def approve_entries(
    connection: Connection,
    collection: Collection,
    waiting: Sequence[Json],
    opinion: str | None,
    *,
    is_one: bool,
) -> Approvals:
    """Approve entries as they are given; of a transaction that is refused for one of them, the others are tried again.

    `is_one` says that somebody has named the only one: then its refusal is an error like any other.

    Raises:
        CommandError: it was refused, or a transaction as a whole, or one was not decided in time; those before stand.
    """
    done = Approvals()
    left = {str(entry["id"]): _approval(collection, entry, opinion) for entry in waiting}
    while left:
        batch = list(left)[:AT_ONCE]
        result = connection.attempt([left[one] for one in batch])
        if result.status == "failed" and result.operation_index is not None and not is_one:
            refused = batch[result.operation_index]
            for one in _alike(refused, result, list(left)):
                done.refused.append((one, result.code, result.text))
                del left[one]
            continue
        require_success(result, connection.profile)
        done.approved += batch
        done.transactions.append(result.id)
        for one in batch:
            del left[one]
    return done


def show_approvals(done: Approvals, *, as_json: bool) -> None:
    """Show what was approved and what was not.

    Raises:
        CommandError: something was refused; as JSON that is said in the answer, and typer.Exit is raised.
    """
    if as_json:
        refused = [{"id": one, "code": code, "text": text} for one, code, text in done.refused]
        show_json(
            {"approved": done.approved, "refused": refused, "transactions": done.transactions}
        )
        if done.refused:
            raise typer.Exit(ExitCode.REFUSED)
        return
    if done.approved:
        say(f"Approved {len(done.approved)}; transactions: {', '.join(done.transactions)}")
    if done.refused:
        lines = [f"  {one}: {text or code} ({code})" for one, code, text in done.refused]
        raise CommandError(
            "\n".join([f"the validators refused {len(done.refused)}:", *lines]),
            code=done.refused[0][1],
            exit_code=ExitCode.REFUSED,
            hint="All others are approved. `mulu directory return` sends an entry back to its owner.",
        )


def pending_version(entry: Json) -> str:
    """Return the hash of the version of an entry that waits.

    Raises:
        CommandError: nothing waits.
    """
    pending = entry.get("pending")
    if not pending:
        raise CommandError(
            f"nothing of {entry['id']} waits for approval",
            code="directory.entry.nothing_pending",
            exit_code=ExitCode.REFUSED,
        )
    return str(pending["version"])


def _approval(collection: Collection, entry: Json, opinion: str | None) -> Operation:
    version = pending_version(entry)
    body = build(
        ApproveEntry, collection=collection, id=entry["id"], version=version, opinion=opinion
    )
    return operation("directory.entry.approve", body)


def _alike(refused: str, result: SubmissionResult, left: Sequence[str]) -> list[str]:
    """Return the entry that was refused, and those that would be refused for the same reason."""
    if result.code not in _OF_AN_OWNER:
        return [refused]
    return [one for one in left if owner_of(one) == owner_of(refused)]
