"""`mulu license request … uses`: what happens at a window, from the request to the fields."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.connection import Connection, connect, passphrase_of
from cli.options import (
    CursorOption,
    HandleArgument,
    JsonOption,
    KeyOption,
    LimitOption,
    NodeOption,
    PolicyOption,
    ProfileOption,
    TimeoutOption,
)
from cli.org import show_result
from cli.output import CommandError, counted, say, show_json, show_page, show_record
from cli.output_files import check_output, write_output
from cli.proofs import require_policy
from cli.statutory import approve, release
from cli.use_list import all_uses, proved_record
from cli.validation import handle_of, read_bytes
from cli.window import (
    Case,
    Wish,
    await_consent,
    basis_of,
    check_place,
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
from ledger.keyfile import load_sealing_key
from ledger.keys import SealingKey
from ledger.light import NotEstablishedError
from licenses.use import Basis
from node.answers import Page
from node.client import NodeClient

app = typer.Typer()

SealingKeyOption = Annotated[
    Path | None,
    typer.Option(
        envvar="MULU_SEALING_KEY", help="Your organisation's sealing key file.", dir_okay=False
    ),
]


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
    division: Annotated[str, typer.Option(help="Where, six digits (GB/T 2260), within your own.")],
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
        if file is not None and check_output(file).exists():
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
        check_place(client, wish)
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
    write_output(request_out, request_text(opened.envelope).encode())
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
    sealed = "" if opened.session else f" --sealed {'fields.sealed' if released else 'FILE'}"
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
    sealing_file = sealing_key or connection.sealing_key
    sealing = open_sealing_key(sealing_file)
    check_sealing_key(opened, sealing, sealing_file)
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


@app.command(epilog="Example: mulu license uses 5e… --all --profile national-auditor")
def uses(
    handle: HandleArgument,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    whole: Annotated[
        bool,
        typer.Option(
            "--all",
            help="All of them, not a page; checked to be complete, by ids and transactions.",
        ),
    ] = False,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    policy: PolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the recorded uses of a license, by number, and check that the list is complete: the ledger counts them.

    Ids and transactions are proved; who, for which matter and in which block is the node's word, until mulu audit
    trace proves a use. A page of a longer list is not checked. Exit code 1 if the node keeps a use back or shows a
    false one.
    """
    if whole and cursor is not None:
        raise CommandError("--all begins at the first use", hint="Leave --cursor out.")
    handle = handle_of(handle).hex()  # as the ledger spells it
    connection = connect(node, key, profile, policy=policy)
    with connection.client as client:
        record, trusted, why_not = None, None, "that takes a policy, and the whole list (--all)"
        try:
            if whole or (cursor is None and connection.policy is not None):
                trusted = require_policy(connection.policy)
        except CommandError as error:
            if whole or policy is not None:
                raise
            why_not = error.text  # the profile's, which nobody has named here
        try:
            if trusted is not None:
                record = proved_record(client, trusted, handle)
        except NotEstablishedError as error:
            if whole:
                raise
            why_not = str(error)
        complete = record is not None and (whole or record.uses <= limit)
        if record is not None and complete:
            page = Page(all_uses(client, record), None)
        else:
            page = client.license_uses(handle, cursor=cursor, limit=limit)
    if as_json:
        show_json({"items": page.items, "cursor": page.cursor, "complete": complete})
        return
    show_page(
        page,
        f"Uses of {handle}",
        ("Number", "Use", "Organisation", "Matter", "Mode", "Block"),
        lambda one: [
            one[name] for name in ("number", "id", "organisation", "matter", "mode", "height")
        ],
        as_json=False,
    )
    if complete:
        say(
            f"Complete: {counted(len(page.items), 'use')}, as many as the ledger counts. "
            "Their ids and transactions are proved; who and for what is the node's word: "
            "mulu audit trace USE proves it."
        )
    else:
        say(f"Not checked whether it is complete: {why_not}.")


def check_sealing_key(case: Case, sealing: SealingKey, file: Path | None) -> None:
    """Check that a key is the one to which the request of a case has the fields sealed.

    Raises:
        CommandError: it is another.
    """
    request = case.envelope.signed.request
    if sealing.public_key != request.sealing_key:
        raise CommandError(
            f"{file} is not the sealing key that the request named",
            hint=f"Give that of {request.organisation}: --sealing-key FILE, or a --profile that has it.",
        )


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
    return connection.client_of(node or connection.client.url)
