"""Reading entries to import – a statement, a table, a list – and submitting them in transactions of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.progress import Progress

from cli.connection import Connection
from cli.output import CommandError, error_console
from directory.codes import Collection
from directory.importing import (
    batches,
    entries_from_csv,
    entries_from_json,
    entries_from_statement,
    publish_operation,
)
from directory.models import Entry
from directory.statement import decode_statement, parse_statement
from ledger.transactions import Operation
from ledger.uscc import uscc_problem

_LINES_SHOWN: Final = 5
_LINE_SHOWN: Final = 60
"""How many lines that are not imported people are shown, and how many characters of each."""


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import would submit, and how to show it. `document` is the JSON form."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    notes: Sequence[str]
    document: dict[str, Any]
    operations: Sequence[Operation]
    collections: Sequence[Collection]
    """Collections of the entries, each once."""


def read_plan(
    *,
    statement: Path | None,
    csv: Path | None,
    json_file: Path | None,
    collection: Collection,
    department: str | None,
) -> ImportPlan:
    """Read the one file that was given.

    Raises:
        CommandError: none or several were given, or the file is not what it should be.
    """
    given = sum(one is not None for one in (statement, csv, json_file))
    if given != 1:
        raise CommandError(
            "say what to import" if not given else "one file is imported at a time",
            hint="Give one of --statement, --csv and --json-file.",
        )
    if statement is not None:
        if department is None:
            raise CommandError("whose statement is it?", hint="Give --department USCC.")
        problem = uscc_problem(department)
        if problem is not None:
            raise CommandError(
                f"--department {department}: {problem}",
                hint="Give the department's USCC, 18 characters with good check characters.",
            )
        return _statement_plan(statement, department)
    if department is not None:
        raise CommandError(
            "--department says whose a statement is; the rows of a table or list name their owners themselves",
            hint="Leave --department out, or give --statement FILE.",
        )
    return _entries_plan(csv, json_file, collection)


def submit_plan(connection: Connection, plan: ImportPlan, *, show_progress: bool) -> list[str]:
    """Submit an import, many entries a transaction, with a progress bar; return the transactions' ids.

    Raises:
        CommandError: a transaction was refused; the ones before it stand.
    """
    transactions = []
    with Progress(console=error_console(), disable=not show_progress) as progress:
        task = progress.add_task("Submitting", total=len(plan.operations))
        for batch in batches(plan.operations):
            transactions.append(connection.submit(batch).id)
            progress.advance(task, len(batch))
    return transactions


def _statement_plan(path: Path, department: str) -> ImportPlan:
    statement = parse_statement(decode_statement(_read(path)))
    entries = entries_from_statement(statement, department)
    found = statement.responsibilities
    notes = [f"{len(found)} responsibilities, {sum(one.catch_all for one in found)} catch-all."]
    if statement.unnumbered:
        notes.append(_unnumbered_text(statement.unnumbered))
    return ImportPlan(
        f"Responsibilities of {department}",
        ("Number", "Title", "Catch-all", "Characters"),
        [(one.number, one.title, one.catch_all, len(one.text)) for one in found],
        notes,
        statement.to_value(),
        [publish_operation(entry) for entry in entries],
        ["responsibility"],
    )


def _unnumbered_text(lines: Sequence[str]) -> str:
    """Say which lines are not imported: the first few, each by how it begins."""
    shown = [
        f"  {line}" if len(line) <= _LINE_SHOWN else f"  {line[:_LINE_SHOWN]} …"
        for line in lines[:_LINES_SHOWN]
    ]
    more = len(lines) - len(shown)
    rest = [f"  and {more} more: --json shows all"] if more else []
    return "\n".join([f"Lines not numbered, so not imported: {len(lines)}", *shown, *rest])


def _entries_plan(csv: Path | None, json_file: Path | None, collection: Collection) -> ImportPlan:
    if csv is not None:
        entries: tuple[Entry, ...] = entries_from_csv(_read(csv), collection)
    else:
        assert json_file is not None, "one of the files was given"
        entries = entries_from_json(_read(json_file))
    rows = [(entry.collection, entry.identifier, entry.title) for entry in entries]
    return ImportPlan(
        f"Entries of {csv or json_file}",
        ("Collection", "Id", "Title"),
        rows,
        [],
        {
            "entries": [
                {"collection": entry.collection, **entry.model_dump(mode="json", exclude_none=True)}
                for entry in entries
            ]
        },
        [publish_operation(entry) for entry in entries],
        list(dict.fromkeys(entry.collection for entry in entries)),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None
