"""`mulu wallet`: a holder's licenses, consents and receipts."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cli.connection import check_node_address, new_passphrase
from cli.options import JsonOption, NodeOption, TimeoutOption, YesOption
from cli.output import (
    CommandError,
    ExitCode,
    counted,
    say,
    show_json,
    show_record,
    show_table,
    time_text,
)
from cli.output_files import check_output, write_output
from cli.proofs import load_policy
from cli.questions import confirm
from cli.validation import now_ms, read_bytes, use_id_of
from cli.wallet_answers import (
    UNBOUND,
    LicensesOption,
    answer_and_disclose,
    answer_request,
    await_disclosure,
    choose_licenses,
    emit,
    handles_of,
    try_disclose,
)
from cli.wallet_licenses import remove
from cli.wallet_link import (
    DEFAULT_WALLET,
    WalletLink,
    WalletOption,
    describe_receipt,
    describe_request,
    link_to_node,
    open_wallet,
)
from cli.wallet_policy import policy
from cli.wallet_receipts import Exported, export_receipts, list_receipts
from cli.window import consent_text, read_request
from ledger.errors import DecodeError
from ledger.files import replace_file
from ledger.suite import SHA256_ED25519
from ledger.uscc import uscc_problem
from licenses.wallet import Wallet
from node.answers import OpenedSession

app = typer.Typer(help="A holder's wallet: licenses, consents, receipts.", no_args_is_help=True)

Answer = Literal["ask", "consent", "refuse"]


app.command("policy", epilog="Example: mulu wallet policy --renew")(policy)

app.command("remove", epilog="Example: mulu wallet remove 5e…")(remove)


@app.command(epilog="Example: mulu wallet init --node http://127.0.0.1:8080 --policy policy.txt")
def init(
    policy: Annotated[
        Path, typer.Option(help="Policy file: whom the wallet believes.", dir_okay=False)
    ],
    node: Annotated[str, typer.Option(help="Node of your jurisdiction.")],
    wallet: WalletOption = DEFAULT_WALLET,
    unprotected: Annotated[
        bool, typer.Option("--unprotected", help="No passphrase; for demonstrations only.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Set up a wallet in a directory of its own."""
    home = wallet.expanduser()
    check_node_address(node)
    trusted = load_policy(policy)
    origins = {log.key.name for log in trusted.logs}
    if len(origins) != 1:
        raise CommandError(f"{policy} is not the policy of one chain")
    passphrase = "" if unprotected else new_passphrase("--unprotected")
    Wallet.create(
        home, passphrase, chain_id=origins.pop(), policy=trusted.encode(), now_ms=now_ms()
    )
    replace_file(home / "node.json", json.dumps({"node": node}).encode())
    if as_json:
        show_json({"wallet": str(home), "node": node})
    else:
        say(f"Wallet set up in {home}. Next: mulu wallet offer ISSUER")


@app.command(epilog="Example: mulu wallet offer 11110000MB1A00108A")
def offer(
    issuer: Annotated[str, typer.Argument(metavar="ISSUER", help="USCC of the issuer.")],
    algorithm: Annotated[str, typer.Option(help="ed25519 or p256.")] = "ed25519",
    wallet: WalletOption = DEFAULT_WALLET,
    as_json: JsonOption = False,
) -> None:
    """Make a fresh key and offer it to an issuer, who binds a license to it."""
    problem = uscc_problem(issuer)
    if problem is not None:
        raise CommandError(f"{issuer}: {problem}", hint="Give the issuer's USCC.")
    made = open_wallet(wallet).offer(issuer, algorithm)
    if as_json:
        show_json({"offer": str(made)})
    else:
        say(str(made))


@app.command(epilog="Example: mulu wallet add permit.json")
def add(
    file: Annotated[Path, typer.Argument(help="The issuer's file.", dir_okay=False)],
    wallet: WalletOption = DEFAULT_WALLET,
    as_json: JsonOption = False,
) -> None:
    """Take a license into the wallet."""
    try:
        package = read_bytes(file).decode("utf-8")
    except UnicodeDecodeError:
        raise CommandError(
            f"{file} is not a license", hint="Give the file that the issuer's system wrote."
        ) from None
    try:
        held = open_wallet(wallet).add(package)
    except DecodeError as error:
        raise CommandError(
            f"{file} is not a license: {error}",
            hint="Give the file that the issuer's system wrote.",
        ) from None
    handle = held.credential.handle.hex()
    if as_json:
        bound = held.key is not None
        show_json({"handle": handle, "type": held.credential.license_type, "bound": bound})
    elif held.key is None:
        say(f"License {handle} is {UNBOUND}.")
    else:
        say(f"License {handle} is in the wallet.")


@app.command("list", epilog="Example: mulu wallet list")
def list_licenses(wallet: WalletOption = DEFAULT_WALLET, as_json: JsonOption = False) -> None:
    """List the licenses in the wallet."""
    rows = [
        {
            "handle": held.credential.handle.hex(),
            "type": held.credential.license_type,
            "issuer": held.credential.issuer,
            "bound": held.key is not None,
            "fields": dict(held.credential.fields),
        }
        for held in open_wallet(wallet).licenses()
    ]
    if as_json:
        show_json({"licenses": rows})
        return
    show_table(
        "Licenses",
        ("Handle", "Type", "Issuer", "Bound", "Fields"),
        ((row["handle"], row["type"], row["issuer"], row["bound"], row["fields"]) for row in rows),
    )


@app.command(epilog="Example: mulu wallet code")
def code(
    wallet: WalletOption = DEFAULT_WALLET,
    node: NodeOption = None,
    answer: Annotated[Answer, typer.Option(help="ask, consent or refuse.")] = "ask",
    licenses: LicensesOption = None,
    timeout: TimeoutOption = 120.0,
    as_json: JsonOption = False,
) -> None:
    """Open a one-time code, tell it to the window, answer its request, disclose once it is recorded.

    The code lives two minutes and authorises nothing: your answer does. With `--json` each event is
    one line, also an error.
    """
    with link_to_node(wallet, node) as link:
        session = link.open_session()
        emit(
            as_json,
            {"event": "code", "code": session.code, "expires": time_text(session.expires_ms)},
            f"Your code: {session.code} (until {time_text(session.expires_ms)})",
        )
        envelope = link.await_request(session, timeout_s=timeout)
        if envelope is None:
            raise CommandError(
                "no request came", code="no_request", exit_code=ExitCode.NOT_ESTABLISHED
            )
        answer_and_disclose(link, session, envelope, answer, handles_of(licenses), as_json, timeout)


@app.command(epilog="Example: mulu wallet consent request.txt --out consent.txt")
def consent(
    file: Annotated[
        Path, typer.Argument(metavar="REQUEST", help="The window's request.", dir_okay=False)
    ],
    out: Annotated[Path, typer.Option(help="File for the consent.", dir_okay=False)],
    licenses: LicensesOption = None,
    wallet: WalletOption = DEFAULT_WALLET,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Look at a request that came as a file, and consent to it or not. With --json nobody sees it: give --yes, too."""
    if check_output(out).exists():
        raise CommandError(f"{out} exists already", hint="Choose another --out.")
    given = handles_of(licenses)
    envelope = read_request(read_bytes(file).decode("ascii", "replace"))
    opened = open_wallet(wallet)
    opened.review(envelope, now_ms())
    record = describe_request(opened, envelope)
    if as_json and not yes:
        raise CommandError(
            "with --json nobody is shown what is asked",
            hint="Give --yes as well, or leave --json out.",
            code="no_answer",
        )
    if not as_json:
        show_record("Somebody asks for your license", record)
    if not yes and not confirm("Do you consent?", "--yes"):
        opened.refuse(envelope, now_ms=now_ms())
        raise CommandError(
            "refused; nothing leaves the wallet", code="refused", exit_code=ExitCode.REFUSED
        )
    chosen = choose_licenses(opened, envelope, given, asks=not yes)
    signed = opened.consent(envelope, now_ms=now_ms(), handles=chosen)
    write_output(out, consent_text(signed).encode())
    use_id = signed.consent.use_id(SHA256_ED25519).hex()
    if as_json:
        show_json({"use": use_id, "file": str(out), **record})
    else:
        say(
            f"Consent written to {out}. Once it is recorded: mulu wallet disclose {use_id} --out FILE"
        )


@app.command(epilog="Example: mulu wallet receipts --fetch")
def receipts(
    wallet: WalletOption = DEFAULT_WALLET,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Ask the node first for uses not seen yet.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            help="Write them with their evidence to a new directory, in clear.",
            file_okay=False,
        ),
    ] = None,
    remove_exported: Annotated[
        bool,
        typer.Option(
            "--remove-exported",
            help="With --export: then remove those on which nothing rests any more.",
        ),
    ] = False,
    node: NodeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the receipts: every request answered, every use recorded, also those by law; or export them.

    Without --fetch they are what the wallet has seen so far; `mulu wallet watch` keeps looking. The
    export has all that is needed to check them later. A request that may still be answered, and for a
    day a consent whose fields may still be disclosed, is not removed; nor is a receipt whose evidence cannot
    be exported. A receipt that cannot be told, or exported, is named, with exit code 3.
    """
    if remove_exported and export is None:
        raise CommandError("only what is exported is removed", hint="Give --export DIRECTORY.")
    opened = open_wallet(wallet)
    if fetch:
        with link_to_node(wallet, node) as link:
            opened = link.wallet
            for _ in link.new_uses():
                pass  # each is verified and kept as a receipt
    if export is not None:
        _export(opened, export, remove_exported, as_json)
        return
    rows = list_receipts(opened)
    problems = [row for row in rows if "problem" in row]
    if as_json:
        show_json({"receipts": rows})
    else:
        _show_receipts(rows)
        for row in problems:
            say(f"Use {row['use']}: {row['problem']}")
    if problems:
        raise typer.Exit(int(ExitCode.NOT_ESTABLISHED))


def _show_receipts(rows: list[dict[str, Any]]) -> None:
    show_table(
        "Receipts",
        ("Time", "State", "Mode", "Organisation", "Matter", "Purpose or law", "Use"),
        (
            (
                *(row[name] for name in ("time", "state", "mode", "organisation", "matter")),
                row["purpose"] or row["basis"],
                row["use"],
            )
            for row in rows
        ),
    )


def _export(wallet: Wallet, directory: Path, remove: bool, as_json: bool) -> None:
    exported = export_receipts(wallet, directory)
    removed = wallet.remove_receipts(exported.whole, now_ms=now_ms()) if remove else 0
    if as_json:
        show_json(
            {
                "directory": str(directory),
                "exported": len(exported.receipts),
                "removed": removed,
                "problems": [{"use": use, "problem": text} for use, text in exported.problems],
            }
        )
    else:
        say(
            f"{counted(len(exported.receipts), 'receipt')} written to {directory}, "
            f"{removed} of them removed from the wallet."
        )
        for use, text in exported.problems:
            say(f"Use {use}: {text}. What is left of its evidence stays in the wallet.")
        say(f"They tell of your business: keep them safe.{_how_to_check(directory, exported)}")
    if exported.problems:
        raise typer.Exit(int(ExitCode.NOT_ESTABLISHED))


def _how_to_check(directory: Path, exported: Exported) -> str:
    match exported.policies:
        case ():
            return ""
        case (policy,):
            return (
                f" To check them: mulu audit verify {directory}/*.bundle --policy {directory}/{policy} "
                "--max-anchor-age DAYS"
            )
        case policies:
            return (
                f" To check them: mulu audit verify {directory}/USE.bundle --policy {directory}/POLICY "
                f"--max-anchor-age DAYS, where POLICY is {' or '.join(policies)}: receipts.json names it for each use."
            )


@app.command(epilog="Example: mulu wallet check")
def check(
    wallet: WalletOption = DEFAULT_WALLET, node: NodeOption = None, as_json: JsonOption = False
) -> None:
    """Compare the receipts with how many uses the ledger counts, which no node can make look fewer.

    Exit code 1 if uses are missing: told later by law, or kept back by the node.
    """
    with link_to_node(wallet, node) as link:
        for _ in link.new_uses():
            pass  # each is verified and kept as a receipt
        rows = [{"license": handle.hex(), "unseen": count} for handle, count in link.unseen_uses()]
    if as_json:
        show_json({"licenses": rows})
    else:
        show_table(
            "Uses that no receipt shows",
            ("License", "Unseen uses"),
            ((row["license"], row["unseen"]) for row in rows),
        )
    if any(row["unseen"] for row in rows):
        raise typer.Exit(int(ExitCode.REFUSED))


@app.command(epilog="Example: mulu wallet disclose 9c… --out fields.sealed")
def disclose(
    use: Annotated[str, typer.Argument(metavar="USE", help="Id of the use, 64 hex digits.")],
    out: Annotated[Path, typer.Option(help="File for the sealed fields.", dir_okay=False)],
    wallet: WalletOption = DEFAULT_WALLET,
    node: NodeOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonOption = False,
) -> None:
    """Disclose the fields of a recorded use to a file: sealed, readable by the organisation only."""
    check_output(out)
    use_id = use_id_of(use)
    with link_to_node(wallet, node) as link:
        sealed = await_disclosure(link, use_id, timeout)
    write_output(out, sealed)
    if as_json:
        show_json({"use": use_id.hex(), "file": str(out)})
    else:
        say(f"Sealed fields written to {out}.")


@app.command(epilog="Example: mulu wallet watch")
def watch(
    wallet: WalletOption = DEFAULT_WALLET,
    node: NodeOption = None,
    codes: Annotated[
        bool, typer.Option("--codes", help="Keep a one-time code open, and answer its requests.")
    ] = False,
    answer: Annotated[Answer, typer.Option(help="With --codes: ask, consent or refuse.")] = "ask",
    licenses: LicensesOption = None,
    interval: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds between looks.")] = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Watch the ledger for uses of your licenses, and tell of each as it is recorded. Ends with Ctrl-C.

    With `--json` each event is one line.
    """
    with link_to_node(wallet, node) as link:
        _watch(link, codes, answer, handles_of(licenses), interval, as_json)


def _watch(
    link: WalletLink,
    codes: bool,
    answer: str,
    licenses: Sequence[bytes],
    interval_s: float,
    as_json: bool,
) -> None:
    session: OpenedSession | None = None
    pending: list[tuple[OpenedSession, bytes]] = []
    while True:
        if codes and session is None:
            session = link.open_session()
            emit(as_json, {"event": "code", "code": session.code}, f"Your code: {session.code}")
        if session is not None:
            envelope = link.await_request(session, timeout_s=interval_s)
            if envelope is not None:
                use_id = answer_request(link, session, envelope, answer, licenses, as_json)
                if use_id is not None:
                    pending.append((session, use_id))
                session = None
            elif now_ms() >= session.expires_ms:
                session = None
        else:
            time.sleep(interval_s)
        for receipt in link.new_uses():
            told = describe_receipt(link.wallet, receipt)
            emit(as_json, {"event": "use", **told}, _told_text(told))
        pending = [one for one in pending if not try_disclose(link, *one, as_json)]


def _told_text(told: dict[str, Any]) -> str:
    """Return what a holder reads of a use that has been recorded."""
    text = f"A license of yours was used: {told['use']} at {told['time']}"
    if told["basis"] is None:
        return text
    fields = "; ".join(", ".join(one["fields"]) for one in told["licenses"])
    return (
        f"{text}, without your consent, by {told['organisation']} for {told['matter']} on "
        f"{told['basis']}; fields: {fields}"
    )
