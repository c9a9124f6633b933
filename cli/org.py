"""`mulu org`: organisations and their keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.connection import Connection, connect, open_key, operation
from cli.options import (
    CursorOption,
    JsonOption,
    KeyOption,
    LimitOption,
    NodeOption,
    ProfileOption,
)
from cli.output import CommandError, say, show_json, show_page, show_record
from cli.validation import build
from ledger.membership import ROLES
from ledger.membership_operations import (
    AmendOrganisation,
    RegisterOrganisation,
    RevokeKey,
    enrol_key_body,
)
from ledger.operations import Body
from ledger.uscc import uscc_problem
from node.answers import SubmissionResult

app = typer.Typer(help="Organisations, their keys and roles.", no_args_is_help=True)

Uscc = Annotated[str, typer.Argument(metavar="USCC", help="Unified social credit code.")]


@app.command("list", epilog="Example: mulu org list --profile national-auditor")
def list_organisations(
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    limit: LimitOption = 100,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the registered organisations."""
    connection = connect(node, key, profile)
    with connection.client as client:
        page = client.organisations(cursor=cursor, limit=limit)
    show_page(
        page,
        "Organisations",
        ("USCC", "Name", "Level", "Division", "Authority", "Status"),
        lambda one: [
            one[name] for name in ("uscc", "name", "level", "division", "authority", "status")
        ],
        as_json=as_json,
    )


@app.command(epilog="Example: mulu org show 11110112MB1D52349B")
def show(
    uscc: Uscc,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an organisation."""
    connection = connect(node, key, profile)
    with connection.client as client:
        record = client.organisation(uscc)
    if as_json:
        show_json(record)
    else:
        show_record(f"Organisation {uscc}", record)


@app.command(
    epilog="Example: mulu org register 11110112MB1A001407 --name 'Tongzhou Archive' --level district "
    "--division 110112 --parent 11110112MB1A00052Q --profile tongzhou-registrar"
)
def register(
    uscc: Uscc,
    name: Annotated[str, typer.Option(help="Its name.")],
    level: Annotated[str, typer.Option(help="national, municipal or district.")],
    division: Annotated[str, typer.Option(help="Division code, six digits (GB/T 2260).")],
    parent: Annotated[str, typer.Option(help="USCC of the organisation above it.")],
    authority: Annotated[
        bool, typer.Option("--authority", help="It is the competent authority of its division.")
    ] = False,
    sealing_key: Annotated[
        str | None, typer.Option(help="Its X25519 key in hex: what disclosures are sealed to.")
    ] = None,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register an organisation; its division's authority does this."""
    body = build(
        RegisterOrganisation,
        uscc=uscc,
        name=name,
        level=level,
        division=division,
        parent=parent,
        authority=authority,
        sealing_key=sealing_key,
    )
    _submit(connect(node, key, profile), "ledger.organisation.register", body, as_json)


@app.command(
    epilog="Example: mulu org amend 12120000MB1A00095M --sealing-key 9f… --profile tianjin-registrar"
)
def amend(
    uscc: Uscc,
    name: Annotated[str | None, typer.Option(help="The new name.")] = None,
    sealing_key: Annotated[str | None, typer.Option(help="The new X25519 key in hex.")] = None,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change an organisation's name or sealing key."""
    body = build(AmendOrganisation, uscc=uscc, name=name, sealing_key=sealing_key)
    _submit(connect(node, key, profile), "ledger.organisation.amend", body, as_json)


@app.command(
    epilog="Example: mulu org enrol 11110112MB1D52349B --new-key li.key --role editor --profile tongzhou-registrar"
)
def enrol(
    uscc: Uscc,
    new_key: Annotated[
        Path,
        typer.Option(
            "--new-key", help="Key file to enrol; it signs its enrolment.", dir_okay=False
        ),
    ],
    role: Annotated[
        list[str],
        typer.Option("--role", help=f"One of {', '.join(sorted(ROLES))}; may be repeated."),
    ],
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enrol a key with its roles; a registrar of the organisation or of its authority does this."""
    _check_enrolment(uscc, role)
    signer = open_key(new_key)
    connection = connect(node, key, profile)
    chain_id = connection.client.network().chain_id
    body = enrol_key_body(signer, chain_id, uscc, sorted(set(role)))
    _submit(connection, "ledger.key.enrol", body, as_json)


@app.command(epilog="Example: mulu org revoke ed25519:41… --compromised-since-ms 1760000000000")
def revoke(
    public_key: Annotated[str, typer.Argument(metavar="KEY", help="The key, <algorithm>:<hex>.")],
    compromised_since_ms: Annotated[
        int | None,
        typer.Option(help="Since when others may have used it: what it signed later is suspect."),
    ] = None,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key: your own, or as registrar one of your organisation or below."""
    body = build(RevokeKey, key=public_key, compromised_since_ms=compromised_since_ms)
    _submit(connect(node, key, profile), "ledger.key.revoke", body, as_json)


def _check_enrolment(uscc: str, roles: list[str]) -> None:
    """Check what is typed before any key is asked for, and any node.

    Raises:
        CommandError: no USCC, or an unknown role.
    """
    problem = uscc_problem(uscc)
    if problem is not None:
        raise CommandError(f"uscc: {problem}")
    unknown = sorted(set(roles) - ROLES)
    if unknown:
        raise CommandError(
            f"unknown role {', '.join(repr(one) for one in unknown)}",
            hint=f"Roles: {', '.join(sorted(ROLES))}.",
        )


def _submit(connection: Connection, kind: str, body: Body, as_json: bool) -> None:
    with connection.client:
        result = connection.submit([operation(kind, body)])
    show_result(result, as_json)


def show_result(result: SubmissionResult, as_json: bool, **more: object) -> None:
    """Report a committed transaction."""
    if as_json:
        show_json(
            {"transaction": result.id, "height": result.height, "index": result.index, **more}
        )
    else:
        say(f"Committed: transaction {result.id} in block {result.height}.")
