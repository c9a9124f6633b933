"""`mulu license verify`, online and offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from cli.connection import Connection, anchor_of, connect
from cli.offline import forbid_sockets
from cli.options import (
    AnchorAgeOption,
    FreshOption,
    JsonOption,
    KeyOption,
    NodeOption,
    PolicyOption,
    ProfileOption,
)
from cli.output import CommandError, say, show_json, show_table
from cli.proofs import require_policy
from cli.validation import date_ms, handle_of, now_ms, read_bytes, read_input
from ledger.bundle import MAX_BUNDLE_BYTES
from ledger.errors import DecodeError, InvalidSignature
from ledger.suite import SHA256_ED25519
from licenses.issuance import read_package
from licenses.verdicts import NOT_APPLICABLE, Outcome, Report
from licenses.verification import NO_BUNDLE, Question
from licenses.verifier import Verifier
from node.errors import ApiProblem

app = typer.Typer()

MARKS: Final = {
    Outcome.PASSED: "✓",
    Outcome.FAILED: "✗",
    Outcome.UNREADABLE: "✗",
    Outcome.UNESTABLISHED: "?",
    Outcome.NOT_CHECKED: " ",
}


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
        str | None,
        typer.Option(
            help="The presentation must be for this organisation (USCC), which asked for it …"
        ),
    ] = None,
    nonce: Annotated[
        str | None,
        typer.Option(
            help="… and for this request: of a use, its id. Without both, a presentation may be a copy."
        ),
    ] = None,
    policy: PolicyOption = None,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a license: one verdict a check.

    Who shows it is verified with --audience and --nonce only.

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
        handle=None if handle is None else handle_of(handle),
        fresh_ms=int(fresh * 1000),
        max_anchor_age_ms=int(max_anchor_age * 86_400_000),
    )
    data = None if bundle is None else read_bytes(bundle, MAX_BUNDLE_BYTES)
    no_bundle = NO_BUNDLE
    if data is not None or offline:
        anchor = anchor_of(policy, profile)
        trusted = require_policy(anchor)
    else:
        connection = connect(node, key, profile, policy=policy)
        with connection.client:
            anchor, trusted = connection.policy, require_policy(connection.policy)
            try:
                data = _fetch_bundle(connection, text, question.handle)
            except ApiProblem as problem:  # one node's word: it shows nothing of the license
                no_bundle = _why_no_bundle(problem)
    report = Verifier(SHA256_ED25519, trusted).verify(
        question, credential=text, bundle=data, no_bundle=no_bundle
    )
    show_report(report, as_json, anchor)
    raise typer.Exit(int(report.exit_code))


def show_report(
    report: Report, as_json: bool, policy: Path | None, what: str = "the input"
) -> None:
    """Show the verdicts of a verification, and the policy file that was trusted: a profile may have chosen it.

    `what` names what was read where it does not say what it is about.
    """
    if as_json:
        show_json({**report.to_json(), "policy": str(policy)})
        return
    show_table(
        f"Verification of {report.subject or what}",
        ("", "Check", "Code", "What"),
        (
            (MARKS[one.outcome], one.check.replace("_", " "), one.code, one.text)
            for one in report.verdicts
            if one.code != NOT_APPLICABLE
        ),
    )
    say(f"Trusted: {policy}")
    say(
        {
            0: "Valid." if report.shows_holder else "Valid. Who shows it was not verified.",
            1: "NOT valid.",
            2: "Unreadable input.",
            3: "Could not be established.",
        }[int(report.exit_code)]
    )


def _read_text(path: Path) -> str:
    if str(path) == "-":
        return read_input().decode("utf-8", "replace")
    return read_bytes(path).decode("utf-8", "replace")


def _fetch_bundle(connection: Connection, text: str | None, handle: bytes | None) -> bytes | None:
    """Return the evidence on a license; None where the credential is unreadable and so names no license."""
    if handle is None:
        try:
            handle = read_package(connection.suite, text or "").handle
        except (DecodeError, InvalidSignature):
            return None
    return connection.client.license_evidence(handle.hex())


def _why_no_bundle(problem: ApiProblem) -> str:
    if problem.code == "license_unknown":
        return (
            "the node says that it knows no such license, which it has not proved: "
            "ask another node, or wait"
        )
    advice = "give an enrolled key" if problem.status in (401, 403) else "ask another node"
    return f"the node gave no evidence ({problem}): {advice}"
