"""Which license a holder consents with: the only one, the one that is given, or the one that is chosen when asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import typer

from cli import wallet_answers
from cli.output import CommandError
from cli.wallet_answers import choose_licenses
from licenses.use import Item, RequestEnvelope
from licenses.wallet import Wallet
from tests.licenses.story import OTHER_TYPE, TYPE, Story, ready_story
from tests.licenses.wallet_story import new_wallet, put_license


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    told = ready_story()
    monkeypatch.setattr(wallet_answers, "now_ms", lambda: told.time_ms)
    return told


@pytest.fixture
def wallet(story: Story, tmp_path: Path) -> Wallet:
    return new_wallet(story, tmp_path / "wallet")


def refusal(wallet: Wallet, envelope: RequestEnvelope, *given: bytes, asks: bool = False) -> str:
    with pytest.raises(CommandError) as caught:
        choose_licenses(wallet, envelope, given, asks=asks)
    return f"{caught.value.code}: {caught.value.text} {caught.value.hint}"


def test_of_one_license_there_is_no_choice(story: Story, wallet: Wallet) -> None:
    one = put_license(story, wallet)
    envelope = story.request()
    assert choose_licenses(wallet, envelope, (), asks=True) == (one,)
    assert choose_licenses(wallet, envelope, (bytes(32),), asks=True) == (one,)
    other = story.request(items=(Item(OTHER_TYPE, ("name",)),))
    assert refusal(wallet, other).startswith("wallet.no_license: no license of type")


def test_of_several_the_one_that_is_given_is_taken(story: Story, wallet: Wallet) -> None:
    first, second = put_license(story, wallet), put_license(story, wallet)
    envelope = story.request()
    for one in (first, second):
        assert choose_licenses(wallet, envelope, (one,), asks=False) == (one,)
    for given in ((), (first, second), (bytes(32),)):
        told = refusal(wallet, envelope, *given)
        assert told.startswith("wallet.choose_license") and "--license HANDLE" in told
        assert first.hex() in told and second.hex() in told and TYPE in told
    consent = wallet.consent(
        envelope,
        now_ms=story.time_ms,
        handles=choose_licenses(wallet, envelope, (second,), asks=False),
    )
    assert [grant.handle for grant in consent.consent.grants] == [second]


def test_who_sits_at_a_terminal_is_asked(
    story: Story,
    wallet: Wallet,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    held = (put_license(story, wallet), put_license(story, wallet))
    envelope = story.request()
    assert "wallet.choose_license" in refusal(wallet, envelope, asks=True), "nobody can be asked"
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    for number, one in enumerate(held, start=1):
        monkeypatch.setattr(typer, "prompt", lambda *_, answer=number, **__: answer)
        assert choose_licenses(wallet, envelope, (), asks=True) == (one,)
    assert all(one.hex() in capsys.readouterr().out for one in held[:1])
    assert "wallet.choose_license" in refusal(wallet, envelope, asks=False)
