"""Receipts of a wallet: listed, and exported, to files that anybody can check who trusts the policy beside them.

receipts.json    every receipt as it is shown, with request and consent (hex), and the files of its evidence
<use>.bundle     the evidence of a recorded use: `mulu audit verify`
policy.txt       whom the wallet believes; policy-2.txt and so on: earlier validators, for evidence of their time
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.output import CommandError
from cli.wallet_link import describe_receipt, describe_unreadable
from ledger.errors import LedgerError
from ledger.files import replace_file, sync_directory
from licenses.holding import Holding, Receipt
from licenses.trust import policy_that_verifies
from licenses.wallet import Wallet


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export has written: `rows` stand in `receipts.json`, one a receipt, in order."""

    receipts: tuple[Receipt, ...]
    rows: tuple[dict[str, Any], ...]

    @property
    def whole(self) -> tuple[Receipt, ...]:
        """The receipts of which everything is outside now: the evidence was written and verifies, or there is none."""
        pairs = zip(self.receipts, self.rows, strict=True)
        return tuple(receipt for receipt, row in pairs if "problem" not in row)

    @property
    def problems(self) -> tuple[tuple[str, str], ...]:
        """The uses whose receipts are not whole, and why."""
        return tuple((row["use"], row["problem"]) for row in self.rows if "problem" in row)

    @property
    def policies(self) -> tuple[str, ...]:
        """The policy files that the evidence is checked with."""
        return tuple(sorted({row["policy"] for row in self.rows if row["policy"] is not None}))


def list_receipts(wallet: Wallet) -> list[dict[str, Any]]:
    """Return a row for each receipt, oldest first; one that cannot be told has a `problem`, the others are as ever."""
    held = wallet.read()
    rows = []
    for receipt in sorted(held.receipts, key=lambda each: each.time_ms):
        try:
            rows.append(describe_receipt(wallet, receipt, held))
        except LedgerError as error:
            rows.append(describe_unreadable(receipt, error))
    return rows


def export_receipts(wallet: Wallet, directory: Path) -> Exported:
    """Write all receipts to a new directory, in clear, for their owner only. They are on disk then.

    Raises:
        CommandError: the directory exists.
    """
    if directory.exists():
        raise CommandError(f"{directory} exists already", hint="Choose another directory.")
    directory.mkdir(mode=0o700)
    sync_directory(directory.parent)
    held = wallet.read()
    policies = {held.policy: "policy.txt"}
    exported = tuple(sorted(held.receipts, key=lambda each: each.time_ms))
    rows = tuple(_export(wallet, held, receipt, directory, policies) for receipt in exported)
    for policy, name in policies.items():
        replace_file(directory / name, policy)
    document = {"chain": held.chain_id, "receipts": rows}
    replace_file(
        directory / "receipts.json", json.dumps(document, ensure_ascii=False, indent=2).encode()
    )
    return Exported(exported, rows)


def _export(
    wallet: Wallet, held: Holding, receipt: Receipt, directory: Path, policies: dict[bytes, str]
) -> dict[str, Any]:
    """Write a receipt's evidence and return what `receipts.json` says of it; damaged evidence keeps none back."""
    row: dict[str, Any] = {
        "use": receipt.use_id.hex(),
        "state": receipt.state,
        "request": None if receipt.request is None else receipt.request.hex(),
        "consent": None if receipt.consent is None else receipt.consent.hex(),
        "evidence": None,
        "policy": None,
    }
    try:
        if receipt.bundle is not None:
            bundle = wallet.bundle(receipt.use_id, held)
            name = f"{receipt.use_id.hex()}.bundle"
            replace_file(directory / name, bundle)
            row["evidence"] = name
            policy, _ = policy_that_verifies(wallet.suite, held, bundle)
            row["policy"] = policies.setdefault(policy, f"policy-{len(policies) + 1}.txt")
        return {**row, **describe_receipt(wallet, receipt, held)}
    except LedgerError as error:
        return {**row, **describe_unreadable(receipt, error)}
