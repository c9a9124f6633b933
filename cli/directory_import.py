"""Reading entries to import – a statement, a table, a list – and submitting them in transactions of many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from rich.progress import Progress

from cli.connection import Connection
from cli.output import CommandError, ExitCode, counted, error_console
from cli.validation import read_bytes
from directory.codes import Collection, owner_of
from directory.importing import (
    MAX_IMPORT_BYTES,
    amend_operation,
    batches,
    entries_from_csv,
    entries_from_json,
    entries_from_statement,
    publish_operation,
)
from directory.models import Entry
from directory.statement import MAX_STATEMENT_BYTES, decode_statement, parse_statement
from ledger.transactions import Operation
from ledger.uscc import uscc_problem
from node.answers import Json
from node.client import NodeClient

_ACTIONS: Final = ("publish", "amend", "unchanged", "waits")
"""What an entry of an import comes to, where what counts is amended."""

_PAGE: Final = 500
"""The most entries that a node shows at once."""

_MAX_PAGES: Final = 4_000
"""Two million entries of one collection: beyond, a node only keeps the command busy."""

_LINES_SHOWN: Final = 5
_LINE_SHOWN: Final = 60
"""How many lines that are not imported people are shown, and how many characters of each."""


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import would submit, and how to show it: a row an entry. `document` is the JSON form.

    `department` is whose whole statement it is, None for a list that need not be whole.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    notes: Sequence[str]
    document: dict[str, Any]
    entries: Sequence[Entry]
    operations: Sequence[Operation]
    department: str | None = None

    @property
    def collections(self) -> Sequence[Collection]:
        """Collections of the entries, each once."""
        return list(dict.fromkeys(entry.collection for entry in self.entries))


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


def amended_plan(client: NodeClient, plan: ImportPlan) -> ImportPlan:
    """Return the plan of what is new or has changed, by what the node says that counts: the ledger decides in the end.

    An entry that waits for approval is left out, as one that is as it was. Of a whole statement it is also told what
    counts and no longer stands in it.
    """
    recorded = _recorded(client, plan.entries)
    operations: list[Operation] = []
    actions: list[str] = []
    changed: dict[str, list[str]] = {}
    for entry in plan.entries:
        record = recorded.get((entry.collection, entry.identifier), {})
        effective = record.get("effective")
        if record.get("pending"):
            actions.append("waits")
        elif effective is None:
            actions.append("publish")
            operations.append(publish_operation(entry))
        elif fields := changed_fields(effective, entry.model_dump(mode="json", exclude_none=True)):
            actions.append("amend")
            operations.append(amend_operation(entry))
            changed[entry.identifier] = fields
        else:
            actions.append("unchanged")
    gone = _gone(recorded, plan)
    counts = Counter(actions)
    notes = [
        *plan.notes,
        ", ".join(f"{name}: {counts[name]}" for name in _ACTIONS) + ".",
        *(f"It counts, and is not in the statement: {one}" for one in gone),
    ]
    if counts["waits"]:
        notes.append("What waits is left out: have it decided, or `mulu directory withdraw` it.")
    if gone:
        notes.append("What is to count no longer: `mulu directory retire responsibility ID`.")
    return replace(
        plan,
        columns=(*plan.columns, "Action"),
        rows=[
            (*row, _action_text(action, changed.get(entry.identifier, ())))
            for row, action, entry in zip(plan.rows, actions, plan.entries, strict=True)
        ],
        notes=notes,
        document={
            **plan.document,
            "actions": {
                entry.identifier: action
                for entry, action in zip(plan.entries, actions, strict=True)
            },
            "changed": changed,
            "not_in_statement": gone,
        },
        operations=operations,
    )


def _action_text(action: str, fields: Sequence[str]) -> str:
    return f"{action}: {', '.join(fields)}" if fields else action


def changed_fields(old: Json, new: Json) -> list[str]:
    """Return the fields in which a version of an entry differs from another."""
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _recorded(client: NodeClient, entries: Sequence[Entry]) -> dict[tuple[str, str], Json]:
    """Return the records of all entries of the same collections and owners, by collection and identifier."""
    wanted = dict.fromkeys((entry.collection, owner_of(entry.identifier)) for entry in entries)
    return {
        (collection, str(record["id"])): record
        for collection, owner in wanted
        for record in every_entry(client, collection, owner)
    }


def _gone(recorded: Mapping[tuple[str, str], Json], plan: ImportPlan) -> list[str]:
    """Return what counts and does not stand in a whole statement."""
    if plan.department is None:
        return []
    present = {entry.identifier for entry in plan.entries}
    return [
        identifier
        for (_, identifier), record in recorded.items()
        if record.get("effective") is not None and identifier not in present
    ]


def every_entry(client: NodeClient, collection: Collection, owner: str | None) -> Iterator[Json]:
    """Yield all entries of a collection, of one owner or of all, as a node tells them.

    Raises:
        CommandError: there is no end of them.
    """
    cursor = None
    for _ in range(_MAX_PAGES):
        page = client.directory(collection, owner=owner, cursor=cursor, limit=_PAGE)
        yield from page.items
        cursor = page.cursor
        if cursor is None:
            return
    raise CommandError(
        f"the node lists more than {_MAX_PAGES * _PAGE} entries of {collection}",
        hint="Give one owner, or ask another node.",
        code="too_many_entries",
        exit_code=ExitCode.NOT_ESTABLISHED,
    )


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
    statement = parse_statement(decode_statement(read_bytes(path, MAX_STATEMENT_BYTES)))
    entries = entries_from_statement(statement, department)
    found = statement.responsibilities
    count = counted(len(found), "responsibility", "responsibilities")
    notes = [f"{count}, {sum(one.catch_all for one in found)} catch-all."]
    if statement.unnumbered:
        notes.append(_unnumbered_text(statement.unnumbered))
    return ImportPlan(
        f"Responsibilities of {department}",
        ("Number", "Title", "Catch-all", "Characters"),
        [(one.number, one.title, one.catch_all, len(one.text)) for one in found],
        notes,
        statement.to_value(),
        entries,
        [publish_operation(entry) for entry in entries],
        department,
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
        entries: tuple[Entry, ...] = entries_from_csv(read_bytes(csv, MAX_IMPORT_BYTES), collection)
    else:
        assert json_file is not None, "one of the files was given"
        entries = entries_from_json(read_bytes(json_file, MAX_IMPORT_BYTES))
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
        entries,
        [publish_operation(entry) for entry in entries],
    )
