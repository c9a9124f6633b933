"""What a holder is told of the licenses in a wallet: taken in, asked for, removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli import wallet_answers
from cli.license_use import check_sealing_key
from cli.main import run
from cli.output import CommandError
from cli.wallet_answers import choose_licenses
from cli.wallet_link import describe_request
from cli.window import Case
from ledger.keys import SealingKey
from licenses.wallet import Wallet
from tests.licenses.story import TYPE, Story, ready_story
from tests.licenses.wallet_story import new_wallet, put_license


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    told = ready_story()
    monkeypatch.setattr(wallet_answers, "now_ms", lambda: told.time_ms)
    return told


@pytest.fixture
def wallet(story: Story, tmp_path: Path) -> Wallet:
    return new_wallet(story, tmp_path / "wallet")


def test_a_license_is_removed_and_its_receipts_stay(story: Story, wallet: Wallet) -> None:
    first, second = put_license(story, wallet), put_license(story, wallet)
    wallet.consent(story.request(), now_ms=story.time_ms, handles=(first,))
    home = ("--wallet", str(wallet.home))
    assert run(["wallet", "remove", first.hex(), *home]) == 2, "nobody answers"
    assert len(wallet.licenses()) == 2
    assert run(["wallet", "remove", first.hex(), *home, "--yes"]) == 0
    assert [one.credential.handle for one in wallet.licenses()] == [second]
    assert [one.licenses for one in wallet.receipts()] == [(first,)]
    assert run(["wallet", "remove", first.hex(), *home, "--yes"]) == 2


def test_a_holder_sees_the_values_that_would_be_sent(story: Story, wallet: Wallet) -> None:
    handle = put_license(story, wallet)
    envelope = story.request()
    (sent,) = describe_request(wallet, envelope)["would_send"]
    (held,) = wallet.licenses()
    (item,) = envelope.signed.request.items
    assert (sent["license"], sent["type"]) == (handle.hex(), TYPE)
    assert sent["fields"] == {name: held.credential.fields[name] for name in item.fields}
    assert all(sent["fields"].values())


def test_a_license_that_is_not_bound_is_told_of(
    story: Story, wallet: Wallet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "permit.json"
    file.write_text(story.prepare(None).package())
    add = ["wallet", "add", str(file), "--wallet", str(wallet.home)]
    assert run([*add, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bound"] is False
    assert run(add) == 2
    assert "in the wallet already" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(CommandError, match="held, but not bound") as caught:
        choose_licenses(wallet, story.request(), (), asks=False)
    assert caught.value.code == "wallet.no_license"


def test_a_file_that_is_no_license_is_named(
    wallet: Wallet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "matter.json"
    file.write_text("{}")
    assert run(["wallet", "add", str(file), "--wallet", str(wallet.home)]) == 2
    assert "matter.json is not a license" in "".join(capsys.readouterr().err.replace("\n", " "))


def test_a_sealing_key_that_is_not_the_request_s_is_named(story: Story) -> None:
    case = Case(story.request(), "", "", None)
    with pytest.raises(CommandError, match=r"other\.key is not the sealing key"):
        check_sealing_key(case, SealingKey.generate(), Path("other.key"))


def test_a_case_file_without_an_entry_is_told_of_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    path.write_text("{}")
    with pytest.raises(CommandError, match="not a case file: it has no entry 'consent'"):
        Case.load(path)
