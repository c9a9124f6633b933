"""`mulu directory`: responsibilities, matters and what they rest on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final, get_args

import typer

from cli.connection import connect, mulu_home, operation
from cli.directory_approval import Approvals, approve_entries, pending_version, show_approvals
from cli.directory_import import amended_plan, every_entry, read_plan, submit_plan
from cli.directory_names import names_in
from cli.directory_views import show_entry, show_plan, show_tree, show_waiting
from cli.options import (
    CursorOption,
    JsonOption,
    KeyOption,
    LimitOption,
    NodeOption,
    ProfileOption,
    YesOption,
)
from cli.output import (
    CommandError,
    ExitCode,
    counted,
    say,
    show_json,
    show_page,
    show_table,
)
from cli.profiles import load_profiles
from cli.questions import confirm
from cli.validation import build, build_from, read_json
from directory.codes import COLLECTIONS, Collection
from directory.models import ENTRY_MODELS, RetireEntry, ReturnEntry, WithdrawEntry
from directory.records import Status
from node.answers import Json, SubmissionResult
from node.client import NodeClient

app = typer.Typer(
    help="Responsibilities, matters, instruments of law, systems, resources, entrustments.",
    no_args_is_help=True,
)

CollectionArgument = Annotated[
    str, typer.Argument(metavar="COLLECTION", help=f"One of {', '.join(COLLECTIONS)}.")
]
_STATUSES: Final[tuple[Status, ...]] = get_args(Status)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The entry's identifier.")]
OpinionOption = Annotated[str | None, typer.Option("--opinion", help="Why; kept on the ledger.")]


@app.command(
    "import",
    epilog="Example: mulu directory import --statement responsibilities.txt "
    "--department 11110112MB1D52349B --dry-run",
)
def import_entries(
    statement: Annotated[
        Path | None,
        typer.Option(
            help="A department's published statement: numbered paragraphs.", dir_okay=False
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="A table with a header row.", dir_okay=False)
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json-file", help="JSON: an object of lists by collection.", dir_okay=False),
    ] = None,
    collection: Annotated[
        str, typer.Option(help="What the rows of the table are.")
    ] = "responsibility",
    department: Annotated[
        str | None, typer.Option(help="With --statement: USCC of the department that it is of.")
    ] = None,
    amend: Annotated[
        bool,
        typer.Option(
            "--amend", help="Submit what is new, and new versions of what counts and has changed."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show what would be submitted; needs no node but with --amend."
        ),
    ] = False,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import entries from a statement in plain text, a CSV table or JSON.

    What is imported waits for the competent authority: `mulu directory approve`.
    """
    plan = read_plan(
        statement=statement,
        csv=csv,
        json_file=json_file,
        collection=_collection(collection),
        department=department,
    )
    if dry_run and not amend:
        show_plan(plan, as_json)
        return
    connection = connect(node, key, profile)
    with connection.client:
        if amend:
            plan = amended_plan(connection.client, plan)
        if dry_run:
            show_plan(plan, as_json)
            return
        progress = not as_json and sys.stderr.isatty()
        transactions = submit_plan(connection, plan, show_progress=progress)
    if as_json:
        show_json({**plan.document, "transactions": transactions})
    else:
        show_plan(plan, as_json=False)
        if not plan.operations:
            say("Nothing to submit.")
            return
        approver = _approver(department or connection.organisation)
        say(
            f"Submitted {counted(len(plan.operations), 'entry', 'entries')} in "
            f"{counted(len(transactions), 'transaction')}, waiting for {_COMPETENT}: "
            + "; ".join(
                f"mulu directory approve {name} --all --profile {approver}"
                for name in plan.collections
            )
        )


@app.command(epilog="Example: mulu directory submit matter matter.json --profile tongzhou-editor")
def submit(
    collection: CollectionArgument,
    file: Annotated[Path, typer.Argument(help="The whole entry as JSON.", dir_okay=False)],
    amend: Annotated[
        bool, typer.Option("--amend", help="A new version of an entry that counts.")
    ] = False,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Submit an entry; it counts once the competent authority has approved it.

    docs/OPERATIONS.md lists the fields of each collection under directory.<collection>.publish.
    """
    name = _collection(collection)
    document = read_json(file, "an entry")
    entry = build_from(ENTRY_MODELS[name], document, where=str(file))
    kind = f"directory.{name}.{'amend' if amend else 'publish'}"
    connection = connect(node, key, profile)
    with connection.client:
        result = connection.submit([operation(kind, entry)])
    _submitted(result, as_json, name, entry.identifier, connection.organisation)


@app.command(
    epilog="Example: mulu directory retire matter 11110112MB1D52349B0000000000001 --reason …"
)
def retire(
    collection: CollectionArgument,
    identifier: IdArgument,
    reason: Annotated[str, typer.Option(help="Why; kept on the ledger.")],
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask that an entry count no longer; that waits for approval, too."""
    body = build(RetireEntry, id=identifier, reason=reason)
    connection = connect(node, key, profile)
    with connection.client:
        result = connection.submit([operation(f"directory.{_collection(collection)}.retire", body)])
    _submitted(result, as_json, _collection(collection), identifier, connection.organisation)


@app.command(
    epilog="Example: mulu directory approve responsibility --all --profile tongzhou-approver"
)
def approve(
    collection: CollectionArgument,
    identifier: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The entry; or --all.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All entries of the collection that wait.")
    ] = False,
    owner: Annotated[str | None, typer.Option(help="With --all: only this owner's.")] = None,
    opinion: OpinionOption = None,
    yes: YesOption = False,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve what waits, exactly as it is shown now: the approval names the hash of that, whatever the node says.

    With --all, what the validators refuse is named and left out, and the others are approved; then the exit code is 1.
    Where a transaction ends it midway, what was approved before is shown, then the error.
    """
    name = _collection(collection)
    connection = connect(node, key, profile)
    with connection.client as client:
        if everything == (identifier is not None):
            raise CommandError("give an ID, or --all", hint="See mulu directory approve --help")
        waiting = (
            _waiting(client, name, owner)
            if identifier is None
            else [_entry(client, name, identifier)]
        )
        if not waiting:
            if as_json:
                show_approvals(Approvals(), as_json=True)
            else:
                say("Nothing waits.")
            return
        if not yes and not as_json:
            for entry in waiting:
                pending_version(name, entry)  # nobody is asked about what a node makes up
            _ask(waiting, f"Approve {len(waiting)}?", done="approved")
        done = approve_entries(connection, name, waiting, opinion, is_one=identifier is not None)
    show_approvals(done, as_json=as_json)


@app.command(
    "return", epilog="Example: mulu directory return matter 11110112MB1D52349B… --opinion …"
)
def return_entry(
    collection: CollectionArgument,
    identifier: IdArgument,
    opinion: Annotated[str, typer.Option(help="The reason; kept on the ledger.")],
    yes: YesOption = False,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Return what waits to its owner, with the reason."""
    name = _collection(collection)
    connection = connect(node, key, profile)
    with connection.client as client:
        entry = _entry(client, name, identifier)
        version = pending_version(name, entry)
        if not yes and not as_json:
            _ask([entry], "Return it to its owner?", done="returned")
        body = build(ReturnEntry, collection=name, id=identifier, version=version, opinion=opinion)
        result = connection.submit([operation("directory.entry.return", body)])
    _committed(result.id, result.height, as_json, id=identifier)


@app.command(epilog="Example: mulu directory withdraw matter 11110112MB1D52349B…")
def withdraw(
    collection: CollectionArgument,
    identifier: IdArgument,
    yes: YesOption = False,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back your organisation's own submission before it is decided."""
    name = _collection(collection)
    connection = connect(node, key, profile)
    with connection.client as client:
        entry = _entry(client, name, identifier)
        version = pending_version(name, entry)
        if not yes and not as_json:
            _ask([entry], "Withdraw it?", done="withdrawn")
        body = build(WithdrawEntry, collection=name, id=identifier, version=version)
        result = connection.submit([operation("directory.entry.withdraw", body)])
    _committed(result.id, result.height, as_json, id=identifier)


@app.command("list", epilog="Example: mulu directory list matter --text disclosure")
def list_entries(
    collection: CollectionArgument,
    text: Annotated[str | None, typer.Option(help="Words to look for.")] = None,
    owner: Annotated[str | None, typer.Option(help="USCC of the owner.")] = None,
    status: Annotated[
        str | None,
        typer.Option(help="pending, effective, returned, withdrawn or retired."),
    ] = None,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """List entries of a collection."""
    if status is not None and status not in _STATUSES:
        raise CommandError(
            f"{status!r} is not a status", hint=f"Choose from {', '.join(_STATUSES)}."
        )
    connection = connect(node, key, profile)
    with connection.client as client:
        page = client.directory(
            _collection(collection),
            text=text,
            owner=owner,
            status=status,
            cursor=cursor,
            limit=limit,
        )
    show_page(
        page,
        collection.capitalize(),
        ("Id", "Title", "Status", "Waiting", "Versions"),
        lambda entry: (
            entry["id"],
            entry.get("title"),
            entry.get("status"),
            (entry.get("pending") or {}).get("action"),
            entry.get("versions"),
        ),
        as_json=as_json,
    )


@app.command(epilog="Example: mulu directory show responsibility 11110112MB1D52349B-1")
def show(
    collection: CollectionArgument,
    identifier: IdArgument,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an entry: what counts, what waits, and its history."""
    connection = connect(node, key, profile)
    with connection.client as client:
        record = client.directory_entry(_collection(collection), identifier)
        names = {} if as_json else names_in(client, record)
    if as_json:
        show_json(record)
    else:
        show_entry(f"{collection.capitalize()} {identifier}", record, names)


@app.command(epilog="Example: mulu directory trace matter 11110112MB1D52349B… --up")
def trace(
    collection: CollectionArgument,
    identifier: IdArgument,
    up: Annotated[
        bool, typer.Option("--up/--down", help="Up: what it rests on. Down: what rests on it.")
    ] = True,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Trace an entry: responsibility to system to data, matter to responsibility to article."""
    connection = connect(node, key, profile)
    with connection.client as client:
        tree = client.directory_trace(
            _collection(collection), identifier, direction="up" if up else "down"
        )
    if as_json:
        show_json(tree)
    else:
        show_tree(tree)


@app.command(epilog="Example: mulu directory check --department 11110112MB1D52349B")
def check(
    department: Annotated[str | None, typer.Option(help="Only this department.")] = None,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the structure: a responsibility without system or data, data without responsibility …

    Exit code 1 where there are findings.
    """
    connection = connect(node, key, profile)
    with connection.client as client:
        report = client.directory_check(department=department)
    findings = report["findings"]
    if as_json:
        show_json(report)
    else:
        show_table(
            "Findings",
            ("Finding", "Entry", "What"),
            ((one.get("code"), one.get("entry"), one.get("text")) for one in findings),
        )
    if findings:
        raise typer.Exit(ExitCode.REFUSED)


def _entry(client: NodeClient, collection: Collection, identifier: str) -> Json:
    """Return the entry of which something is to be decided.

    Raises:
        CommandError: the node shows another one.
    """
    entry = client.directory_entry(collection, identifier)
    if entry["id"] != identifier:
        raise CommandError(
            f"the node shows {entry['id']} in the place of {identifier}",
            hint="Nothing was decided. Ask another node.",
            code="version_false",
            exit_code=ExitCode.REFUSED,
        )
    return entry


def _waiting(client: NodeClient, collection: Collection, owner: str | None) -> list[Json]:
    """Return all entries of a collection of which something waits."""
    return [entry for entry in every_entry(client, collection, owner) if entry.get("pending")]


def _ask(waiting: list[Json], question: str, *, done: str) -> None:
    """Show what waits, and ask whether it shall be `done`.

    Raises:
        CommandError: no, or nobody answers.
    """
    show_waiting(waiting)
    if not confirm(question, "--yes"):
        raise CommandError(f"nothing was {done}", code=f"not_{done}", exit_code=ExitCode.REFUSED)


_COMPETENT: Final = (
    "an approver of its division's authority (for an authority's own, of the one above)"
)


def _approver(organisation: str) -> str:
    """Return the profile of who approves what an organisation publishes, or what to put in its place."""
    return load_profiles(mulu_home()).approver_for(organisation) or "APPROVER"


def _submitted(
    result: SubmissionResult,
    as_json: bool,
    collection: Collection,
    identifier: str,
    organisation: str,
) -> None:
    """Say that a submission is committed, and who approves it."""
    _committed(result.id, result.height, as_json, id=identifier, waits_for="approval")
    if not as_json:
        say(
            f"It waits for {_COMPETENT}: "
            f"mulu directory approve {collection} {identifier} --profile {_approver(organisation)}"
        )


def _collection(text: str) -> Collection:
    if text not in COLLECTIONS:
        raise CommandError(
            f"{text!r} is not a collection", hint=f"Choose from {', '.join(COLLECTIONS)}."
        )
    return text


def _committed(transaction: str, height: int | None, as_json: bool, **more: object) -> None:
    if as_json:
        show_json({"transaction": transaction, "height": height, **more})
    else:
        say(f"Committed: transaction {transaction} in block {height}.")
