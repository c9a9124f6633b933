"""Reading entries to import – a statement, a table, a list – and submitting them in transactions of many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.progress import Progress

from cli.connection import Connection
from cli.output import CommandError, error_console
from cli.validation import build
from directory.codes import Collection
from directory.models import Responsibility
from directory.statement import Statement, decode_statement, parse_statement
from ledger.codec import encode
from ledger.operations import body_value
from ledger.transactions import Operation
from ledger.uscc import uscc_problem

_ENTRIES_PER_TRANSACTION: Final = 50
_BYTES_PER_TRANSACTION: Final = 40_000
"""Well below the limit of a transaction, which its frame must fit, too."""


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import would submit, and how to show it. `document` is the JSON form."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    notes: Sequence[str]
    document: dict[str, Any]
    operations: Sequence[Operation]


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
    if sum(one is not None for one in (statement, csv, json_file)) != 1:
        raise CommandError(
            "say what to import", hint="Give one of --statement, --csv and --json-file."
        )
    if statement is not None:
        if department is None:
            raise CommandError("whose statement is it?", hint="Give --department USCC.")
        return _statement_plan(statement, department)
    return _entries_plan(csv, json_file, collection)


def responsibility_operations(department: str, statement: Statement) -> list[Operation]:
    """Return the operations that submit every numbered paragraph as a responsibility.

    Raises:
        CommandError: no paragraphs, a number that occurs twice, or a paragraph that cannot be an entry.
    """
    problem = uscc_problem(department)
    if problem is not None:
        raise CommandError(f"{department!r} is not a USCC: it {problem}")
    if not statement.responsibilities:
        raise CommandError(
            "no numbered paragraphs were found",
            hint='Expected paragraphs such as "(1) …", "Article 5 …", "（一）…" or "第五条 …".',
        )
    counts = Counter(one.number for one in statement.responsibilities)
    repeated = [number for number, count in counts.items() if count > 1]
    if repeated:
        raise CommandError(
            f"number {repeated[0]} occurs {counts[repeated[0]]} times",
            hint="Each responsibility needs its own number: correct the file. Nothing was submitted.",
        )
    return [
        Operation(
            "directory.responsibility.publish",
            body_value(
                build(
                    Responsibility,
                    department=department,
                    number=one.number,
                    name=one.title,
                    text=one.text,
                    catch_all=one.catch_all,
                )
            ),
        )
        for one in statement.responsibilities
    ]


def submit_plan(connection: Connection, plan: ImportPlan, *, show_progress: bool) -> list[str]:
    """Submit an import, many entries a transaction, with a progress bar; return the transactions' ids.

    Raises:
        CommandError: a transaction was refused; the ones before it stand.
    """
    transactions = []
    with Progress(console=error_console(), disable=not show_progress) as progress:
        task = progress.add_task("Submitting", total=len(plan.operations))
        for batch in _batches(plan.operations):
            transactions.append(connection.submit(batch).id)
            progress.advance(task, len(batch))
    return transactions


def _batches(operations: Sequence[Operation]) -> Iterator[list[Operation]]:
    """Split operations so that each part fits a transaction."""
    batch: list[Operation] = []
    size = 0
    for operation in operations:
        length = len(encode((operation.kind, operation.body)))
        full = len(batch) >= _ENTRIES_PER_TRANSACTION or size + length > _BYTES_PER_TRANSACTION
        if batch and full:
            yield batch
            batch, size = [], 0
        batch.append(operation)
        size += length
    if batch:
        yield batch


def _statement_plan(path: Path, department: str) -> ImportPlan:
    statement = parse_statement(decode_statement(_read(path)))
    operations = responsibility_operations(department, statement)
    found = statement.responsibilities
    notes = [f"{len(found)} responsibilities, {sum(one.catch_all for one in found)} catch-all."]
    if statement.unnumbered:
        notes.append(f"Not numbered, so not imported: {len(statement.unnumbered)} line(s).")
    return ImportPlan(
        f"Responsibilities of {department}",
        ("Number", "Title", "Catch-all", "Characters"),
        [(one.number, one.title, one.catch_all, len(one.text)) for one in found],
        notes,
        statement.to_value(),
        operations,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None
