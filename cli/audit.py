"""`mulu audit`: trace a use to its grounds, bundle the evidence, verify it offline, follow the log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.connection import anchor_of, connect
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
from cli.output import CommandError, ExitCode, say, show_json, show_table
from cli.output_files import check_output, write_output
from cli.proofs import load_policy, require_policy
from cli.tracing import trace_use
from cli.validation import date_ms, now_ms
from ledger.light import NotEstablishedError, TrustedView
from ledger.suite import SHA256_ED25519
from licenses.verification import Question
from licenses.verifier import Verifier

app = typer.Typer(help="Trace, bundle and verify evidence; follow the log.", no_args_is_help=True)

UseArgument = Annotated[str, typer.Argument(metavar="USE", help="Id of the use, 64 hex digits.")]


@app.command(epilog="Example: mulu audit trace 9c… --profile national-auditor")
def trace(
    use: UseArgument,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    policy: PolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Trace a use: license, issuer, matter, responsibility, article of law, block, proof."""
    connection = connect(node, key, profile, policy=policy)
    if connection.policy is None:
        raise CommandError("no policy to verify with", hint="Give --policy FILE.")
    with connection.client as client:
        links = trace_use(client, use, load_policy(connection.policy))
    if as_json:
        show_json({"use": use, "trace": [link.to_json() for link in links]})
        return
    show_table(
        f"Trace of use {use}",
        ("What", "Id", "Says", "Proved by"),
        ((link.what, link.identifier, link.text, link.proof) for link in links),
    )


@app.command(epilog="Example: mulu audit bundle --use 9c… --out use.bundle")
def bundle(
    out: Annotated[Path, typer.Option(help="The bundle file to write.", dir_okay=False)],
    use: Annotated[str | None, typer.Option(help="Evidence on this use.")] = None,
    license_handle: Annotated[
        str | None, typer.Option("--license", help="Evidence on the license of this handle.")
    ] = None,
    transaction: Annotated[
        str | None, typer.Option("--transaction", help="Evidence on this transaction.")
    ] = None,
    key_name: Annotated[
        str | None, typer.Option("--state", help="Evidence on this state key, also of absence.")
    ] = None,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write an evidence bundle: all that is needed to verify offline, but the policy."""
    chosen = [one for one in (use, license_handle, transaction, key_name) if one is not None]
    if len(chosen) != 1:
        raise CommandError(
            "say what for", hint="Give one of --use, --license, --transaction, --state."
        )
    check_output(out)
    connection = connect(node, key, profile)
    with connection.client as client:
        if use is not None:
            data = client.use_evidence(use)
        elif license_handle is not None:
            data = client.license_evidence(license_handle)
        elif transaction is not None:
            data = client.transaction_evidence(transaction)
        else:
            data = client.state_evidence(chosen[0])
    write_output(out, data)
    if as_json:
        show_json({"file": str(out), "bytes": len(data)})
    else:
        anchor = f" --policy {connection.policy}" if connection.policy is not None else ""
        say(f"{len(data)} bytes written to {out}. Verify: mulu audit verify {out}{anchor}")


@app.command("verify", epilog="Example: mulu audit verify use.bundle --policy policy.txt")
def verify_evidence(
    files: Annotated[
        list[Path], typer.Argument(metavar="BUNDLE...", help="Bundle files, one or many.")
    ],
    policy: PolicyOption = None,
    profile: ProfileOption = None,
    max_anchor_age: AnchorAgeOption = 90.0,
    fresh: FreshOption = 3600.0,
    at: Annotated[
        str | None, typer.Option(help="For this time: YYYY-MM-DD or YYYY-MM-DDThh:mm:ssZ.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify evidence bundles; opens no socket.

    Exit codes: 0 what they show holds; else that of the gravest: 1 one is false or shows something not valid,
    then 2 one is unreadable, then 3 one could not be established.
    """
    from cli.bundles import verify_bundles

    forbid_sockets()
    question = Question(
        now_ms=now_ms(),
        at_ms=None if at is None else date_ms(at),
        fresh_ms=int(fresh * 1000),
        max_anchor_age_ms=int(max_anchor_age * 86_400_000),
    )
    anchor = anchor_of(policy, profile)
    verifier = Verifier(SHA256_ED25519, require_policy(anchor))
    raise typer.Exit(verify_bundles(files, verifier, question, anchor, as_json))


@app.command(epilog="Example: mulu audit follow --kept checkpoint.txt --profile national-auditor")
def follow(
    kept: Annotated[
        Path,
        typer.Option(help="File with the checkpoint of the last look; made by the first."),
    ],
    entries: Annotated[
        bool,
        typer.Option(
            "--entries",
            help="Also read all new entries and check that they are the log's; needs an auditor's or reader's key.",
        ),
    ] = False,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    policy: PolicyOption = None,
    max_anchor_age: AnchorAgeOption = 90.0,
    fresh: FreshOption = 3600.0,
    as_json: JsonOption = False,
) -> None:
    """Look whether the log has only grown since the last look, and keep its newest checkpoint.

    Exit codes: 0 it has, or is the same; 1 it was forked (the evidence is written beside the file, or
    it is said why not), or the node shows what is false; 3 not established: the node is behind, no quorum has
    cosigned, checkpoint or policy are too old.
    """
    from cli.following import look

    connection = connect(node, key, profile, policy=policy)
    view = TrustedView(SHA256_ED25519, require_policy(connection.policy))
    now, max_age_ms = now_ms(), int(max_anchor_age * 86_400_000)
    view.require_fresh(now, now, max_anchor_age_ms=max_age_ms)  # the age of the policy
    with connection.client as client:
        found = look(client, view, kept, with_entries=entries)
    if found.exit_code is ExitCode.OK and found.verified.time_ms is not None:
        try:
            view.require_fresh(
                found.verified.time_ms,
                now_ms(),
                fresh_ms=int(fresh * 1000),
                max_anchor_age_ms=max_age_ms,
            )
        except NotEstablishedError as error:
            text = f"{error}; it contradicts nothing, and {kept} has it"
            raise NotEstablishedError(error.code, text) from None
    if as_json:
        show_json({"file": str(kept), **found.to_json()})
    else:
        say(found.text(kept))
    raise typer.Exit(int(found.exit_code))
