"""`mulu tx`: transactions."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from cli.connection import connect
from cli.options import (
    JsonOption,
    KeyOption,
    NodeOption,
    PolicyOption,
    ProfileOption,
    TimeoutOption,
)
from cli.output import (
    CommandError,
    ExitCode,
    say,
    show_json,
    show_record,
    show_table,
    time_text,
)
from cli.proofs import load_policy, verify_transaction_proof
from cli.validation import build_from, read_json
from ledger.transactions import Operation
from node.answers import TransactionView
from node.client import NodeClient
from node.errors import ApiProblem

app = typer.Typer(help="Look up, wait for and send transactions.", no_args_is_help=True)

_ID: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ASK_AGAIN_S: Final = 0.5

TransactionId = Annotated[str, typer.Argument(metavar="ID", help="Transaction id, 64 hex digits.")]


@app.command(epilog="Example: mulu tx show 3f0c… --policy policy.txt")
def show(
    transaction: TransactionId,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    policy: PolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a transaction with its proof; with a policy, verify the proof here."""
    connection = connect(node, key, profile, policy=policy)
    with connection.client as client:
        view = client.transaction(check_id(transaction))
        _show(view, _verified(view, connection.policy), as_json)


@app.command(epilog="Example: mulu tx wait 3f0c… --timeout 20")
def wait(
    transaction: TransactionId,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    policy: PolicyOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Wait until a transaction is proven. Exit code 1 if it failed, 3 if it is not there in time."""
    connection = connect(node, key, profile, policy=policy)
    with connection.client as client:
        view = _await_transaction(client, check_id(transaction), timeout)
        _show(view, _verified(view, connection.policy), as_json)
    if view.status == "failed":
        raise typer.Exit(ExitCode.REFUSED)
    if view.proof is None:
        raise typer.Exit(ExitCode.NOT_ESTABLISHED)


def _await_transaction(client: NodeClient, transaction: str, timeout_s: float) -> TransactionView:
    """Return a transaction once it is proven, or as far as it is in time.

    A node that does not know it is asked again: it may have been submitted at another one.

    Raises:
        CommandError: the node does not know it in time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        left_s = max(0.0, deadline - time.monotonic())
        try:
            return client.transaction(transaction, wait_s=left_s)
        except ApiProblem as problem:
            if problem.code != "transaction_unknown":
                raise
            if time.monotonic() + _ASK_AGAIN_S > deadline:
                raise CommandError(
                    f"{client.url} knew no such transaction in time",
                    hint="It was not admitted, or has expired, or another node has it: give --node.",
                    code=problem.code,
                    exit_code=ExitCode.NOT_ESTABLISHED,
                ) from None
        time.sleep(_ASK_AGAIN_S)


@app.command(epilog="Example: mulu tx send operations.json --profile national-governor")
def send(
    file: Annotated[
        Path,
        typer.Argument(
            help='JSON: [{"kind": "ledger.validator.approve", "body": {…}}, …]; see docs/OPERATIONS.md.',
            dir_okay=False,
        ),
    ],
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    timeout: TimeoutOption = 15.0,
    as_json: JsonOption = False,
) -> None:
    """Sign and submit operations of any kind from a file, as one transaction: all or nothing."""
    operations = read_operations(file)
    connection = connect(node, key, profile)
    with connection.client:
        result = connection.submit(operations, timeout_s=timeout)
    proposals = [
        f"{result.id}-{position}"
        for position, one in enumerate(operations)
        if one.kind == "ledger.validator.propose"
    ]
    if as_json:
        show_json(
            {
                "transaction": result.id,
                "height": result.height,
                "index": result.index,
                "proposals": proposals,
            }
        )
        return
    say(f"Committed: transaction {result.id} in block {result.height}.")
    for proposal in proposals:
        say(f"Proposal for others to approve by ledger.validator.approve: {proposal}")


def check_id(text: str) -> str:
    """Return a transaction id.

    Raises:
        CommandError: not 64 lower-case hex digits.
    """
    if _ID.fullmatch(text) is None:
        raise CommandError(f"{text!r} is not a transaction id", hint="An id has 64 hex digits.")
    return text


def read_operations(file: Path) -> list[Operation]:
    """Read operations as JSON and validate each body with its model.

    Raises:
        CommandError: not JSON, an unknown kind, a body that its model refuses, or a CA that no node can use.
    """
    from cli.authorities import check_registration
    from ledger.membership_operations import RegisterCertificateAuthority
    from ledger.operations import body_value
    from node.operation_table import OPERATIONS

    document = read_json(file, "a list of operations")
    if not isinstance(document, list) or not document:
        raise CommandError(f"{file} holds no list of operations")
    table = OPERATIONS
    operations = []
    for position, item in enumerate(document):
        kind = item.get("kind") if isinstance(item, dict) else None
        if not isinstance(kind, str) or kind not in table:
            raise CommandError(
                f"{file}, operation {position}: unknown kind {kind!r}",
                hint="docs/OPERATIONS.md lists all kinds.",
            )
        where = f"{file}, operation {position}"
        body = build_from(table[kind].body, item.get("body"), where=where)
        if isinstance(body, RegisterCertificateAuthority):
            check_registration(body.certificate, where)
        operations.append(Operation(kind, body_value(body)))
    return operations


def _verified(view: TransactionView, policy: Path | None) -> str | None:
    if policy is None or view.proof is None or view.entry is None:
        return None
    return verify_transaction_proof(view, load_policy(policy))


def _show(view: TransactionView, verified: str | None, as_json: bool) -> None:
    if as_json:
        show_json({**view.raw, "verified": verified})
        return
    outcome = view.status if not view.code else f"{view.status}: {view.code}"
    show_record(
        f"Transaction {view.id}",
        {
            "outcome": outcome,
            "block": view.height,
            "time": time_text(view.time_ms),
            "log index": view.index,
            "failed operation": view.operation_index,
            "proof": "available" if view.proof else "not yet",
            "verified here": verified or "no policy given (--policy)",
        },
    )
    show_table(
        "Operations",
        ("Kind", "Body"),
        ((one["kind"], one["body"]) for one in view.operations),
    )
