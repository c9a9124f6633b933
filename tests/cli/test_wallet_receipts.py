"""Receipts that are exported can be checked by anybody, with nothing but the files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from cli.output import CommandError
from cli.processes import python_environment
from cli.validation import now_ms
from cli.wallet_receipts import export_receipts
from licenses.wallet import BUNDLES, Wallet
from tests.ledger.sample_chain import CHAIN_ID
from tests.licenses.story import DEPARTMENT, Story, ready_story
from tests.licenses.wallet_story import (
    change_validators,
    put_license,
    use_by_law,
    use_with_consent,
)


@pytest.fixture
def story() -> Story:
    return ready_story()


@pytest.fixture
def wallet(story: Story, tmp_path: Path) -> Wallet:
    """A wallet with a use by law from before a change of validators, and one with consent from after it."""
    policy = story.chain.policy().encode()
    wallet = Wallet.create(
        tmp_path / "wallet", "", chain_id=CHAIN_ID, policy=policy, now_ms=story.time_ms
    )
    handle = put_license(story, wallet)
    use_id, bundle = use_by_law(story, handle)
    wallet.note_use(bundle, use_id, now_ms=story.time_ms)
    change = change_validators(story)
    wallet.renew_policy([change], story.chain.checkpoint(), now_ms=story.time_ms)
    use_id, bundle = use_with_consent(story, wallet)
    wallet.disclose(bundle, use_id, now_ms=story.time_ms)
    return wallet


def rows_of(directory: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((directory / "receipts.json").read_bytes())["receipts"]
    return rows


def test_exported_receipts_are_checked_with_the_policies_beside_them(
    wallet: Wallet, tmp_path: Path
) -> None:
    directory = tmp_path / "export"
    exported = export_receipts(wallet, directory)
    by_law, consented = rows_of(directory)
    assert [each.use_id.hex() for each in exported.receipts] == [by_law["use"], consented["use"]]
    assert (by_law["mode"], by_law["organisation"]) == ("statutory", DEPARTMENT)
    assert (consented["state"], consented["purpose"]) == ("disclosed", "登记")
    assert (by_law["policy"], consented["policy"]) == ("policy-2.txt", "policy.txt")
    for row in (by_law, consented):
        words = ("audit", "verify", str(directory / row["evidence"]), "--json")
        trusting = ("--policy", str(directory / row["policy"]), "--max-anchor-age", "36500")
        done = subprocess.run(
            [sys.executable, "-m", "cli", *words, *trusting],
            env=python_environment(),
            check=False,
            timeout=60,
            capture_output=True,
        )
        assert done.returncode == 0, done.stdout
        assert json.loads(done.stdout)["subject"] == f"use:{row['use']}"
    for path in (directory, *directory.iterdir()):
        assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(CommandError, match="exists already"):
        export_receipts(wallet, directory)


def test_damaged_evidence_keeps_no_receipt_from_being_exported(
    wallet: Wallet, tmp_path: Path
) -> None:
    by_law, consented = wallet.receipts()
    for receipt in (by_law, consented):
        (wallet.home / BUNDLES / receipt.use_id.hex()).write_bytes(b"damaged")
    export_receipts(wallet, tmp_path / "export")
    rows = rows_of(tmp_path / "export")
    assert [row["use"] for row in rows] == [by_law.use_id.hex(), consented.use_id.hex()]
    assert all("not a file of a wallet" in row["problem"] for row in rows)
    assert consented.request is not None
    assert rows[1]["request"] == consented.request.hex()


def test_the_command_removes_what_it_has_exported_and_nothing_else(
    wallet: Wallet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ("--wallet", str(wallet.home), "--json")
    assert run(["wallet", "receipts", "--remove-exported", *home]) == 2
    assert len(wallet.receipts()) == 2
    capsys.readouterr()
    export = ("--export", str(tmp_path / "export"), "--remove-exported")
    assert run(["wallet", "receipts", *export, *home]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["exported"], answer["removed"]) == (2, 2)
    assert wallet.receipts() == ()


@pytest.mark.parametrize("harm", ["damaged", "exposed"])
def test_evidence_that_was_not_exported_is_not_removed(
    wallet: Wallet, tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    by_law, consented = wallet.receipts()
    evidence = wallet.home / BUNDLES / by_law.use_id.hex()
    if harm == "damaged":
        evidence.write_bytes(b"damaged")
    else:
        evidence.chmod(0o644)
    content = evidence.read_bytes()
    export = ("--export", str(tmp_path / "export"), "--remove-exported")
    assert run(["wallet", "receipts", *export, "--wallet", str(wallet.home), "--json"]) == 3
    answer = json.loads(capsys.readouterr().out)
    assert (answer["exported"], answer["removed"]) == (2, 1)
    assert [problem["use"] for problem in answer["problems"]] == [by_law.use_id.hex()]
    assert wallet.receipts() == (by_law,)
    assert evidence.read_bytes() == content
    assert not (wallet.home / BUNDLES / consented.use_id.hex()).exists()
    assert (tmp_path / "export" / f"{consented.use_id.hex()}.bundle").exists()
    export = ("--export", str(tmp_path / "again"), "--wallet", str(wallet.home))
    assert run(["wallet", "receipts", *export]) == 3
    told = " ".join(capsys.readouterr().out.split())
    assert f"Use {by_law.use_id.hex()}: " in told and "mulu audit verify" not in told


def test_the_export_says_which_policies_its_evidence_is_checked_with(
    wallet: Wallet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ("--wallet", str(wallet.home))
    assert run(["wallet", "receipts", "--export", str(tmp_path / "both"), *home]) == 0
    assert "policy-2.txt or policy.txt" in " ".join(capsys.readouterr().out.split())
    _, consented = wallet.receipts()
    assert wallet.remove_receipts([consented], now_ms=now_ms()) == 1
    assert run(["wallet", "receipts", "--export", str(tmp_path / "one"), *home]) == 0
    assert f"*.bundle --policy {tmp_path}/one/policy-2.txt" in capsys.readouterr().out


def test_a_receipt_that_cannot_be_told_hides_no_other(
    wallet: Wallet, capsys: pytest.CaptureFixture[str]
) -> None:
    by_law, consented = wallet.receipts()
    home = ("--wallet", str(wallet.home))
    (wallet.home / BUNDLES / by_law.use_id.hex()).write_bytes(b"damaged")
    assert run(["wallet", "receipts", *home, "--json"]) == 3
    damaged, whole = json.loads(capsys.readouterr().out)["receipts"]
    assert (damaged["use"], damaged["state"]) == (by_law.use_id.hex(), "recorded")
    assert "not a file of a wallet" in damaged["problem"] and damaged["organisation"] is None
    assert (whole["use"], whole["purpose"]) == (consented.use_id.hex(), "登记")
    assert damaged.keys() == {*whole, "problem"}
    assert run(["wallet", "receipts", *home]) == 3
    told = capsys.readouterr().out
    assert consented.use_id.hex() in told and f"Use {by_law.use_id.hex()}: " in told
