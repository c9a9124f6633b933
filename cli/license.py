"""`mulu license`: types, issuers and licenses; their use and verification have modules of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from cli import license_use, license_verify
from cli.connection import Connection, connect, operation
from cli.options import (
    HandleArgument,
    JsonOption,
    KeyOption,
    NodeOption,
    ProfileOption,
)
from cli.org import show_result
from cli.output import CommandError, ExitCode, say, show_json, show_record, show_table, time_text
from cli.output_files import check_output, write_output
from cli.validation import build, date_ms, now_ms, pairs
from ledger.membership import enrolled_key_key
from licenses.issuance import HolderOffer, license_randomness, prepare_license
from licenses.models import (
    STATUS_NAMES,
    AccreditIssuer,
    ChangeStatus,
    DefineType,
    RevokeLicense,
    SuspendIssuer,
)
from node.errors import ApiProblem, NodeUnreachable
from node.shapes import EnrolledKeyShape, LicenseTypeShape

app = typer.Typer(
    help="License types, issuers, licenses, uses, verification.", no_args_is_help=True
)
type_app = typer.Typer(help="Define and show license types.", no_args_is_help=True)
app.add_typer(type_app, name="type")

_FIELD_LIMIT: Final = 2_000

TypeArgument = Annotated[
    str, typer.Argument(metavar="TYPE", help="Type code: USCC of the defining authority, 3 digits.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept on the ledger.")]


@type_app.command(
    epilog="Example: mulu license type define 11100000MB1A00079T001 --name 居住证 --holder person "
    "--field holder_name=姓名 --field permit_number=证件号 --profile residence-ministry"
)
def define(
    code: TypeArgument,
    name: Annotated[str, typer.Option(help="What the license is called.")],
    holder: Annotated[str, typer.Option(help="person or organisation.")],
    field: Annotated[list[str], typer.Option("--field", help="NAME=TITLE; repeat for each field.")],
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Define a license type, or widen it; its defining authority does this."""
    fields = [
        {"name": field_name, "title": title} for field_name, title in pairs(field, "NAME=TITLE")
    ]
    body = build(DefineType, type=code, name=name, holder_kind=holder, fields=fields)
    connection = connect(node, key, profile)
    with connection.client:
        show_result(connection.submit([operation("licenses.type.define", body)]), as_json)


@type_app.command(epilog="Example: mulu license type show 11100000MB1A00079T001")
def show(
    code: TypeArgument,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a license type as the ledger holds it."""
    connection = connect(node, key, profile)
    with connection.client as client:
        record = client.state(f"licenses/type/{code}")["value"]
    if record is None:
        raise CommandError(
            f"the ledger has no license type {code}", code="unknown", exit_code=ExitCode.REFUSED
        )
    if as_json:
        show_json({"code": code, **record})
    else:
        show_record(f"License type {code}", record)


@app.command(
    epilog="Example: mulu license accredit 11100000MB1A00079T001 11110000MB1A00108A --from 2026-01-01"
)
def accredit(
    code: TypeArgument,
    issuer: Annotated[str, typer.Argument(metavar="ISSUER", help="USCC of the issuer.")],
    valid_from: Annotated[str, typer.Option("--from", help="Date, YYYY-MM-DD.")],
    valid_to: Annotated[
        str | None, typer.Option("--to", help="Date, YYYY-MM-DD; without end if left out.")
    ] = None,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Accredit an issuer for a type and a period."""
    body = build(
        AccreditIssuer,
        type=code,
        issuer=issuer,
        valid_from_ms=date_ms(valid_from),
        valid_to_ms=None if valid_to is None else date_ms(valid_to),
    )
    connection = connect(node, key, profile)
    with connection.client:
        show_result(connection.submit([operation("licenses.issuer.accredit", body)]), as_json)


@app.command(
    epilog="Example: mulu license suspend 11100000MB1A00079T001 11110000MB1A00108A --reason 'under review'"
)
def suspend(
    code: TypeArgument,
    issuer: Annotated[str, typer.Argument(metavar="ISSUER", help="USCC of the issuer.")],
    reason: ReasonOption,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Suspend an issuer: no new licenses; those recorded before stay valid."""
    body = build(SuspendIssuer, type=code, issuer=issuer, reason=reason)
    connection = connect(node, key, profile)
    with connection.client:
        show_result(connection.submit([operation("licenses.issuer.suspend", body)]), as_json)


@app.command(
    epilog="Example: mulu license issue --type 11100000MB1A00079T001 --issuer 11110000MB1A00108A "
    "--serial 2026000001 --field holder_name=李明 --offer mulu-offer:… --out permit.json"
)
def issue(
    license_type: Annotated[str, typer.Option("--type", help="Type code, 21 characters.")],
    serial: Annotated[
        str,
        typer.Option(
            help="Serial number, 6 to 32 of 0-9 and A-Z. That it is new is for you to know: the ledger hides it."
        ),
    ],
    field: Annotated[list[str], typer.Option("--field", help="NAME=VALUE; repeat for each field.")],
    out: Annotated[
        Path, typer.Option(help="Where to write the credential: personal data!", dir_okay=False)
    ],
    issuer: Annotated[
        str | None,
        typer.Option(help="USCC of your organisation; that of the signing key if left out."),
    ] = None,
    offer: Annotated[
        str | None,
        typer.Option(help="The holder's offer, from `mulu wallet offer`; unbound if left out."),
    ] = None,
    valid_from: Annotated[
        str | None, typer.Option("--from", help="Date, YYYY-MM-DD; now if left out.")
    ] = None,
    valid_to: Annotated[
        str | None, typer.Option("--to", help="Date, YYYY-MM-DD; without end if left out.")
    ] = None,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Issue a license: sign its credential, record its handle, write the file for the holder's wallet.

    Each is a license of its own with a status of its own, also under a serial number that was issued before.
    """
    from licenses.identifiers import LicenseIdentifier

    written = check_output(out)
    if written.exists():
        raise CommandError(f"{out} exists already", hint="Choose another --out.")
    values = dict(pairs(field, "NAME=VALUE"))
    connection = connect(node, key, profile)
    with connection.client:
        issuer = _check_issuer(connection, issuer)
        _check_fields(connection, license_type, values)
        identifier = str(LicenseIdentifier.build(license_type, issuer, serial))
        issued = prepare_license(
            connection.suite,
            connection.require_signer(),
            chain_id=connection.client.network().chain_id,
            issuer=issuer,
            license_type=license_type,
            identifier=identifier,
            fields=values,
            offer=None if offer is None else HolderOffer.parse(offer),
            valid_from_ms=now_ms() if valid_from is None else date_ms(valid_from),
            valid_to_ms=None if valid_to is None else date_ms(valid_to),
            now_ms=now_ms(),
            randomness=os.urandom(license_randomness(len(values))),
        )
        # The file first: a recorded license whose only credential is lost could never be used.
        write_output(out, issued.package().encode())
        try:
            result = connection.submit([operation("licenses.license.issue", issued.body)])
        except (CommandError, ApiProblem, NodeUnreachable) as error:
            if _is_refusal(error):
                written.unlink(missing_ok=True)
                raise
            raise _with_file(error, out) from None
    handle = issued.credential.handle.hex()
    if as_json:
        show_result(result, True, handle=handle, identifier=identifier, file=str(out))
    else:
        say(
            f"License {identifier}\nhandle {handle}\nrecorded by transaction {result.id} in block "
            f"{result.height}; the holder's file: {out}"
        )


def _check_issuer(connection: Connection, named: str | None) -> str:
    """Return the USCC of the organisation whose key signs: the ledger records no other as the issuer.

    Raises:
        CommandError: another one is named, or the key is enrolled for none.
    """
    key = str(connection.require_signer().public_key)
    record = connection.client.state(enrolled_key_key(key), EnrolledKeyShape)["value"]
    if record is None:
        raise CommandError(
            f"the key {key} is enrolled for no organisation",
            code="unknown_signer",
            exit_code=ExitCode.REFUSED,
            hint="Give --profile NAME, or have it enrolled: mulu org enrol.",
        )
    own = str(record["organisation"])
    if named not in (None, own):
        raise CommandError(
            f"--issuer {named} is not the organisation of the key that signs, {own}",
            hint="Leave --issuer out, or give the profile of that issuer.",
        )
    return own


def _is_refusal(error: CommandError | ApiProblem | NodeUnreachable) -> bool:
    """Tell whether nothing will be recorded: else the answer, or the decision, has not come yet."""
    if isinstance(error, ApiProblem):
        return 400 <= error.status < 500
    return isinstance(error, CommandError) and error.exit_code is not ExitCode.NOT_ESTABLISHED


def _with_file(error: CommandError | ApiProblem | NodeUnreachable, out: Path) -> CommandError:
    """Return an error that also says what a file is worth of which the recording is not decided yet."""
    hint, code = f"Keep {out}: it is the license if its transaction is committed.", "not_committed"
    if isinstance(error, CommandError):
        hint, code = f"{hint} {error.hint}", error.code
    return CommandError(str(error), hint=hint, code=code, exit_code=ExitCode.NOT_ESTABLISHED)


def _check_fields(connection: Connection, license_type: str, values: dict[str, str]) -> None:
    """Check a license's fields against its type: no validator sees them, and nobody could ask for another field.

    Raises:
        CommandError: a field that the type does not have, or a value that is no plain text of reasonable length.
    """
    for name, value in values.items():
        if not value or len(value) > _FIELD_LIMIT or not value.isprintable():
            raise CommandError(
                f"{name}: expected 1 to {_FIELD_LIMIT} characters, none of them a control character"
            )
    record = connection.client.state(f"licenses/type/{license_type}", LicenseTypeShape)["value"]
    if record is None:
        return  # the validators refuse it, and say why
    unknown = sorted(values.keys() - record["fields"].keys())
    if unknown:
        raise CommandError(
            f"the license type has no field {', '.join(unknown)}",
            hint=f"Its fields: {', '.join(sorted(record['fields']))}.",
        )


@app.command(epilog="Example: mulu license withhold 5e… --reason 'under investigation'")
def withhold(
    handle: Annotated[list[str], typer.Argument(metavar="HANDLE…", help="Handles of one license.")],
    reason: ReasonOption,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Withhold a license for a time."""
    body = build(ChangeStatus, licenses=handle, reason=reason)
    _change(connect(node, key, profile), "withhold", body, as_json)


@app.command("give-back", epilog="Example: mulu license give-back 5e… --reason 'found in order'")
def give_back(
    handle: Annotated[list[str], typer.Argument(metavar="HANDLE…", help="Handles of one license.")],
    reason: ReasonOption,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a withheld license back."""
    body = build(ChangeStatus, licenses=handle, reason=reason)
    _change(connect(node, key, profile), "give_back", body, as_json)


@app.command(epilog="Example: mulu license revoke 5e… --reason 'moved away' --status 04")
def revoke(
    handle: Annotated[list[str], typer.Argument(metavar="HANDLE…", help="Handles of one license.")],
    reason: ReasonOption,
    status: Annotated[
        str,
        typer.Option(
            help="03 rescinded, 04 cancelled, 05 lapsed, 06 transferred out, 07 revoked, 99 other."
        ),
    ] = "07",
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a license for good."""
    body = build(RevokeLicense, licenses=handle, reason=reason, status=status)
    _change(connect(node, key, profile), "revoke", body, as_json)


@app.command(epilog="Example: mulu license status 5e… --profile national-auditor")
def status(
    handle: HandleArgument,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the ledger knows of a license: status, history, number of uses."""
    connection = connect(node, key, profile)
    with connection.client as client:
        record = client.license(handle)
    if as_json:
        show_json(record)
        return
    history = record.pop("history", [])
    code = record.get("status")
    record["status"] = f"{code} {STATUS_NAMES.get(str(code), '')}"
    for name in ("valid_from_ms", "valid_to_ms", "recorded_ms"):
        if record.get(name) is not None:
            record[name.removesuffix("_ms")] = time_text(record.pop(name))
    show_record(f"License {handle}", record)
    show_table(
        "Status history",
        ("Status", "Since", "Block", "Reason", "By"),
        (
            (
                f"{change['status']} {STATUS_NAMES.get(change['status'], '')}",
                time_text(change["time_ms"]),
                change["height"],
                change["reason"],
                change["organisation"],
            )
            for change in history
        ),
    )


def _change(connection: Connection, verb: str, body: ChangeStatus, as_json: bool) -> None:
    with connection.client:
        show_result(connection.submit([operation(f"licenses.license.{verb}", body)]), as_json)


for part in (license_use, license_verify):  # without a name: their commands are ours
    app.add_typer(part.app)
