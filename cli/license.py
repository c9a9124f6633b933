"""`mulu license`: types, issuers, licenses, their use at a window, and their verification."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from cli.connection import Connection, connect, operation, passphrase_of
from cli.offline import forbid_sockets
from cli.options import (
    AnchorAgeOption,
    CursorOption,
    FreshOption,
    JsonOption,
    KeyOption,
    LimitOption,
    NodeOption,
    PolicyOption,
    ProfileOption,
    TimeoutOption,
)
from cli.org import show_result
from cli.output import CommandError, ExitCode, say, show_json, show_record, show_table, time_text
from cli.proofs import require_policy
from cli.statutory import approve, release
from cli.validation import build, date_ms, now_ms, pairs, read_bytes
from cli.window import (
    Case,
    Wish,
    await_consent,
    basis_of,
    items_of,
    make_request,
    open_fields,
    receive_fields,
    record_operation,
    request_text,
    show_request,
    with_approval,
    with_consent,
)
from ledger.errors import DecodeError, InvalidSignature
from ledger.keyfile import load_sealing_key
from ledger.keys import SealingKey
from ledger.suite import SHA256_ED25519
from licenses.issuance import HolderOffer, license_randomness, prepare_license, read_package
from licenses.models import (
    STATUS_NAMES,
    AccreditIssuer,
    ChangeStatus,
    DefineType,
    RevokeLicense,
    SuspendIssuer,
)
from licenses.use import Basis
from licenses.verification import Outcome, Question, Report, verify
from node.client import NodeClient
from node.files import replace_file

app = typer.Typer(
    help="License types, issuers, licenses, uses, verification.", no_args_is_help=True
)
type_app = typer.Typer(help="Define and show license types.", no_args_is_help=True)
app.add_typer(type_app, name="type")

_HANDLE_HEX: Final = 64
_FIELD_LIMIT: Final = 2_000

TypeArgument = Annotated[
    str, typer.Argument(metavar="TYPE", help="Type code: USCC of the defining authority, 3 digits.")
]
HandleArgument = Annotated[
    str, typer.Argument(metavar="HANDLE", help="The license's handle, 64 hex digits.")
]
SealingKeyOption = Annotated[
    Path | None,
    typer.Option(
        envvar="MULU_SEALING_KEY", help="Your organisation's sealing key file.", dir_okay=False
    ),
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
    issuer: Annotated[str, typer.Option(help="USCC of your organisation.")],
    serial: Annotated[str, typer.Option(help="Serial number, 6 to 32 of 0-9 and A-Z.")],
    field: Annotated[list[str], typer.Option("--field", help="NAME=VALUE; repeat for each field.")],
    out: Annotated[
        Path, typer.Option(help="Where to write the credential: personal data!", dir_okay=False)
    ],
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
    """Issue a license: sign its credential, record its handle, write the file for the holder's wallet."""
    from licenses.identifiers import LicenseIdentifier

    if out.exists():
        raise CommandError(f"{out} exists already", hint="Choose another --out.")
    values = dict(pairs(field, "NAME=VALUE"))
    connection = connect(node, key, profile)
    with connection.client:
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
        replace_file(out, issued.package().encode())
        try:
            result = connection.submit([operation("licenses.license.issue", issued.body)])
        except CommandError as error:
            if error.exit_code is ExitCode.REFUSED:
                out.unlink(missing_ok=True)
            raise
    handle = issued.credential.handle.hex()
    if as_json:
        show_result(result, True, handle=handle, identifier=identifier, file=str(out))
    else:
        say(
            f"License {identifier}\nhandle {handle}\nrecorded by transaction {result.id} in block "
            f"{result.height}; the holder's file: {out}"
        )


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
    record = connection.client.state(f"licenses/type/{license_type}")["value"]
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


@app.command(
    epilog="Example: mulu license request --code 12345678 --matter 11110112MB1D52349B0000207110290 "
    "--ask 11100000MB1A00079T001:holder_name,permit_number --case-number TJ-1 --profile tianjin-operator; "
    "by law: --statutory --basis 11100000MB1A0001XJ-order-711:29 --request-out request.txt instead of --code"
)
def request(
    matter: Annotated[str, typer.Option(help="Code of the matter, 31 characters.")],
    ask: Annotated[
        list[str], typer.Option(help="TYPE:field,field – what you ask of a license; repeat.")
    ],
    case_number: Annotated[
        str, typer.Option(help="Your case; the holder, or the officer, sees it.")
    ],
    purpose: Annotated[str, typer.Option(help="Why you ask; the holder, or the officer, sees it.")],
    division: Annotated[str, typer.Option(help="Where, six digits (GB/T 2260).")],
    code: Annotated[
        str | None, typer.Option(help="The one-time code that the holder has told you.")
    ] = None,
    request_out: Annotated[
        Path | None,
        typer.Option(
            help="Without a code: file for the holder's wallet, or for the second officer.",
            dir_okay=False,
        ),
    ] = None,
    statutory: Annotated[
        bool,
        typer.Option(
            "--statutory", help="Without consent, by law: a second officer approves; needs --basis."
        ),
    ] = False,
    basis: Annotated[
        str | None,
        typer.Option(
            metavar="INSTRUMENT:ARTICLE",
            help="With --statutory: the article of law that you act on; the matter must rest on it.",
        ),
    ] = None,
    place: Annotated[str, typer.Option(help="Where, in words.")] = "service hall",
    window: Annotated[str, typer.Option(help="Your window.")] = "1",
    organisation: Annotated[
        str | None, typer.Option(help="USCC of your organisation; else the profile's.")
    ] = None,
    session_node: Annotated[
        str | None, typer.Option(help="Node of the holder's jurisdiction; else yours.")
    ] = None,
    sealing_key: SealingKeyOption = None,
    case: Annotated[
        Path, typer.Option(help="Case file to write: for `mulu license use`.", dir_okay=False)
    ] = Path("case.json"),
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    timeout: TimeoutOption = 120.0,
    as_json: JsonOption = False,
) -> None:
    """Ask a holder for fields of a license, and wait for the consent.

    With a one-time code the request goes to the holder's phone; else it is written to a file, and the
    consent comes back by `mulu license use --consent`. With --statutory no holder is asked: the file
    goes to a second officer, who answers by `mulu license approve`.
    """
    cited = _statutory_basis(statutory, basis, code)
    if (code is None) == (request_out is None):
        raise CommandError(
            "how does the holder get the request?", hint="Give --code or --request-out."
        )
    for file in (case, request_out):
        if file is not None and file.exists():
            raise CommandError(f"{file} exists already", hint="Choose another file.")
    connection = connect(node, key, profile)
    sealing = open_sealing_key(sealing_key or connection.sealing_key)
    wish = Wish(
        organisation=organisation or connection.organisation,
        sealing_key=sealing.public_key,
        matter=matter,
        division=division,
        items=items_of(ask),
        window=window,
        case_number=case_number,
        purpose=purpose,
        place=place,
        basis=cited,
    )
    with connection.client as client:
        envelope = make_request(connection.require_signer(), client.network().chain_id, wish)
        if request_out is not None:
            _write_request(Case(envelope, "", "", None), case, request_out, as_json)
            return
        assert code is not None, "one of both was given"
        with session_client(connection, session_node) as sessions:
            opened = show_request(sessions, code, envelope)
            opened.save(case)
            if not as_json:
                say(f"Request {opened.request_id.hex()} sent; waiting for the holder …")
            answered = await_consent(sessions, opened, sealing, timeout_s=timeout)
    answered.save(case)
    if as_json:
        show_json({"use": answered.use_id.hex(), "case": str(case)})
    else:
        say(f"The holder consents. Next: mulu license use {case}")


def _write_request(opened: Case, case: Path, request_out: Path, as_json: bool) -> None:
    opened.save(case)
    replace_file(request_out, request_text(opened.envelope).encode())
    if as_json:
        show_json(
            {"request_id": opened.request_id.hex(), "case": str(case), "request": str(request_out)}
        )
    elif opened.envelope.signed.request.basis is not None:
        say(
            f"Request written to {request_out}. A second officer, within ten minutes: mulu license "
            f"approve {request_out} --license HANDLE=FIELDS --approval-out approval.txt. Then: "
            f"mulu license use {case} --approval approval.txt"
        )
    else:
        say(
            f"Request written to {request_out}. The holder: mulu wallet consent {request_out} --out "
            f"consent.txt. Then: mulu license use {case} --consent consent.txt"
        )


def _statutory_basis(statutory: bool, basis: str | None, code: str | None) -> Basis | None:
    """Return the article that a statutory request cites; None for a request to a holder.

    Raises:
        CommandError: options that do not go together.
    """
    if statutory != (basis is not None):
        raise CommandError(
            "a request by law cites its article, and no other request does",
            hint="Give --statutory together with --basis INSTRUMENT:ARTICLE.",
        )
    if basis is None:
        return None
    if code is not None:
        raise CommandError(
            "a request by law goes to a second officer, not to a holder's phone",
            hint="Give --request-out FILE instead of --code.",
        )
    return basis_of(basis)


app.command(
    epilog="Example: mulu license approve request.txt --license 5e…=holder_name "
    "--approval-out approval.txt --profile tongzhou-officer"
)(approve)


@app.command(
    epilog="Example: mulu license use case.json --profile tianjin-recorder; "
    "by law: mulu license use case.json --approval approval.txt"
)
def use(
    case: Annotated[Path, typer.Argument(help="Case file of `mulu license request`.")],
    consent: Annotated[
        Path | None,
        typer.Option(help="The holder's consent, where it came as a file.", dir_okay=False),
    ] = None,
    approval: Annotated[
        Path | None,
        typer.Option(help="By law: the approval of `mulu license approve`.", dir_okay=False),
    ] = None,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Record a use, with the holder's consent or by law with a second officer's approval.

    Every validator checks it against the directory.
    """
    opened = Case.load(case)
    if consent is not None and approval is not None:
        raise CommandError("a use rests on a consent or on an approval, not on both")
    if consent is not None:
        opened = with_consent(opened, read_bytes(consent).decode("ascii", "replace"))
        opened.save(case)
    if approval is not None:
        opened = with_approval(opened, read_bytes(approval).decode("ascii", "replace"))
        opened.save(case)
    connection = connect(node, key, profile)
    with connection.client:
        result = connection.submit([record_operation(opened)], wait="proven", timeout_s=timeout)
    use_id = opened.use_id.hex()
    if as_json:
        show_result(result, True, use=use_id)
        return
    released = (
        ""
        if opened.approval is None
        else f"the issuer: mulu license release {use_id} --package FILE --sealed-out fields.sealed. Then: "
    )
    sealed = " --sealed fields.sealed" if released else ""
    say(
        f"Recorded: use {use_id}, transaction {result.id}, block {result.height}.\n"
        f"Next: {released}mulu license receive {case}{sealed}"
    )


app.command(
    epilog="Example: mulu license release 9c… --package permit.json --sealed-out fields.sealed "
    "--profile beijing-issuer"
)(release)


@app.command(epilog="Example: mulu license receive case.json --profile tianjin-operator")
def receive(
    case: Annotated[Path, typer.Argument(help="Case file of `mulu license request`.")],
    sealed: Annotated[
        Path | None,
        typer.Option(
            help="What the wallet disclosed or the issuer released, where it came as a file.",
            dir_okay=False,
        ),
    ] = None,
    sealing_key: SealingKeyOption = None,
    policy: PolicyOption = None,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Receive the fields of a recorded use, checked against the ledger; by who asked for them."""
    opened = Case.load(case)
    connection = connect(node, key, profile, policy=policy)
    if sealed is None and not opened.session:
        raise CommandError(
            "this case has no session to receive through", hint="Give --sealed FILE."
        )
    anchor = require_policy(connection.policy)
    sealing = open_sealing_key(sealing_key or connection.sealing_key)
    with connection.client as client:
        if sealed is not None:
            disclosed = open_fields(client, opened, sealing, anchor, read_bytes(sealed))
        else:
            with session_client(connection, opened.session_node) as sessions:
                disclosed = receive_fields(
                    client, sessions, opened, sealing, anchor, timeout_s=timeout
                )
    if as_json:
        rows = [
            {"license": one.handle.hex(), "type": one.license_type, "fields": dict(one.fields)}
            for one in disclosed
        ]
        show_json({"use": opened.use_id.hex(), "licenses": rows})
        return
    for one in disclosed:
        show_record(f"License {one.handle.hex()}", dict(one.fields))


@app.command(epilog="Example: mulu license uses 5e… --profile national-auditor")
def uses(
    handle: HandleArgument,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the recorded uses of a license, by number; the ledger proves how many there are."""
    connection = connect(node, key, profile)
    with connection.client as client:
        page = client.license_uses(handle, cursor=cursor, limit=limit)
    if as_json:
        show_json({"items": page.items, "cursor": page.cursor})
        return
    show_table(
        f"Uses of {handle}",
        ("Number", "Use", "Organisation", "Matter", "Mode", "Block"),
        (
            (
                one["number"],
                one["id"],
                one["organisation"],
                one["matter"],
                one["mode"],
                one["height"],
            )
            for one in page.items
        ),
    )
    if page.cursor:
        say(f"More: --cursor {page.cursor}")


@app.command(
    "verify",
    epilog="Example: mulu license verify permit.json --policy policy.txt; offline: add --offline --bundle B",
)
def verify_license(
    credential: Annotated[
        Path | None,
        typer.Argument(
            help="A credential or presentation; - reads standard input.", allow_dash=True
        ),
    ] = None,
    handle: Annotated[
        str | None, typer.Option(help="Verify what the ledger says of this handle instead.")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Evidence bundle; asked from the node if left out.", dir_okay=False),
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="For this time: YYYY-MM-DD or YYYY-MM-DDThh:mm:ssZ.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Open no socket; needs --bundle.")
    ] = False,
    max_anchor_age: AnchorAgeOption = 90.0,
    fresh: FreshOption = 3600.0,
    audience: Annotated[
        str | None, typer.Option(help="The presentation must be for this organisation (USCC).")
    ] = None,
    nonce: Annotated[str | None, typer.Option(help="… and for this request.")] = None,
    policy: PolicyOption = None,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a license: one verdict a check.

    Exit codes: 0 valid, 1 not valid, 2 unreadable input, 3 could not be established.
    """
    if offline:
        forbid_sockets()
    text = None if credential is None else _read_text(credential)
    if text is None and handle is None and bundle is None:
        raise CommandError("nothing to verify", hint="Give a credential, --handle or --bundle.")
    question = Question(
        now_ms=now_ms(),
        at_ms=None if at is None else date_ms(at),
        audience=audience,
        nonce=nonce,
        fresh_ms=int(fresh * 1000),
        max_anchor_age_ms=int(max_anchor_age * 86_400_000),
    )
    data = None if bundle is None else read_bytes(bundle)
    anchor = policy
    if data is None and not offline:
        connection = connect(node, key, profile, policy=policy)
        anchor = connection.policy
        with connection.client:
            data = _fetch_bundle(connection, text, handle)
    trusted = require_policy(anchor)
    report = verify(SHA256_ED25519, trusted, question, credential=text, bundle=data)
    show_report(report, as_json)
    raise typer.Exit(int(report.exit_code))


def open_sealing_key(path: Path | None) -> SealingKey:
    """Load an organisation's sealing key.

    Raises:
        CommandError: none is named, or it cannot be opened.
    """
    if path is None:
        raise CommandError(
            "no sealing key was given",
            hint="Give --sealing-key FILE, set MULU_SEALING_KEY, or use a window's profile.",
        )
    return load_sealing_key(path, passphrase_of(path))


def session_client(connection: Connection, node: str | None) -> NodeClient:
    """Return a client of the node that relays the session, signing with the connection's key."""
    return NodeClient(node or connection.client.url, signer=connection.signer)


def show_report(report: Report, as_json: bool) -> None:
    """Show the verdicts of a verification."""
    if as_json:
        show_json(report.to_json())
        return
    marks = {
        Outcome.PASSED: "✓",
        Outcome.FAILED: "✗",
        Outcome.UNREADABLE: "✗",
        Outcome.UNESTABLISHED: "?",
        Outcome.NOT_CHECKED: " ",
    }
    show_table(
        f"Verification of {report.subject or 'the input'}",
        ("", "Check", "Code", "What"),
        (
            (marks[one.outcome], one.check.replace("_", " "), one.code, one.text)
            for one in report.verdicts
            if one.outcome is not Outcome.NOT_CHECKED
        ),
    )
    say(
        {
            0: "Valid.",
            1: "NOT valid.",
            2: "Unreadable input.",
            3: "Could not be established.",
        }[int(report.exit_code)]
    )


def _read_text(path: Path) -> str:
    import sys

    data = sys.stdin.buffer.read() if str(path) == "-" else read_bytes(path)
    return data.decode("utf-8", "replace")


def _fetch_bundle(connection: Connection, text: str | None, handle: str | None) -> bytes | None:
    """Return the evidence on a license; None where the credential is unreadable and so names no license."""
    if handle is None:
        try:
            handle = read_package(connection.suite, text or "").handle.hex()
        except (DecodeError, InvalidSignature):
            return None
    return connection.client.license_evidence(handle)


def _change(connection: Connection, verb: str, body: ChangeStatus, as_json: bool) -> None:
    with connection.client:
        show_result(connection.submit([operation(f"licenses.license.{verb}", body)]), as_json)
