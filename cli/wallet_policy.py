"""`mulu wallet policy`: whom a wallet believes, and since when; renewing it before it is too old."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import JsonOption, NodeOption
from cli.output import CommandError, show_json, show_record, time_text
from cli.proofs import load_policy
from cli.validation import now_ms
from cli.wallet_link import DEFAULT_WALLET, WalletOption, link_to_node, open_wallet
from ledger.light import DEFAULT_MAX_ANCHOR_AGE_MS
from ledger.policy import Policy

_DAY_MS = 86_400_000


def policy(
    renew: Annotated[
        bool,
        typer.Option(
            "--renew",
            help="Ask the node for the validators of today; the present policy proves them.",
        ),
    ] = False,
    replace: Annotated[
        Path | None,
        typer.Option(
            "--replace",
            metavar="FILE",
            help="Believe this policy file instead, which somebody gave you whom you trust.",
            dir_okay=False,
        ),
    ] = None,
    wallet: WalletOption = DEFAULT_WALLET,
    node: NodeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show whom the wallet believes; with --renew or --replace, renew that.

    Under a policy older than 90 days a wallet believes no evidence, consents to nothing and discloses
    nothing: validators that have left since might sign anything. Renew it before; afterwards only
    --replace helps.
    """
    if renew and replace is not None:
        raise CommandError("--renew asks a node, --replace takes a file", hint="Give one of them.")
    if renew:
        with link_to_node(wallet, node) as link:
            trusted = link.renew_policy()
    else:
        opened = open_wallet(wallet)
        if replace is not None:
            opened.replace_policy(load_policy(replace), now_ms=now_ms())
        trusted = opened.policy()
    record = describe_policy(trusted, now_ms())
    if as_json:
        show_json(record)
    else:
        show_record("Whom the wallet believes", record)


def describe_policy(policy: Policy, time_ms: int) -> dict[str, Any]:
    """Return what a holder is shown of a policy at a time."""
    as_of_ms = None if policy.as_of is None else policy.as_of.time_s * 1000
    return {
        "chain": policy.logs[0].key.name,
        "validators": [witness.name for witness in policy.witnesses],
        "as_of": time_text(as_of_ms),
        "age_days": None if as_of_ms is None else max(0, time_ms - as_of_ms) // _DAY_MS,
        "renew_before": None
        if as_of_ms is None
        else time_text(as_of_ms + DEFAULT_MAX_ANCHOR_AGE_MS),
    }
