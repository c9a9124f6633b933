"""Key files made on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.main import run
from ledger.keyfile import load_key


@pytest.mark.parametrize("algorithm", ["ed25519", "p256", "sealing"])
def test_a_new_key_is_saved_and_shown(
    algorithm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new.key"
    assert run(["keys", "new", str(file), "--algorithm", algorithm, "--unencrypted"]) == 0
    capsys.readouterr()
    assert run(["keys", "show", str(file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["encrypted"] is False
    prefix = "x25519" if algorithm == "sealing" else algorithm
    assert shown["public_key"].startswith(f"{prefix}:")


def test_a_key_is_encrypted_with_the_passphrase_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MULU_PASSPHRASE", "correct horse")
    file = tmp_path / "new.key"
    assert run(["keys", "new", str(file), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["encrypted"] is True
    assert str(load_key(file, "correct horse").public_key) == made["public_key"]


def test_a_key_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new.key"
    file.write_text("something")
    assert run(["keys", "new", str(file), "--unencrypted"]) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert file.read_text() == "something"


def test_a_short_passphrase_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MULU_PASSPHRASE", "short")
    assert run(["keys", "new", str(tmp_path / "new.key")]) == 2
    assert "shorter than 8" in capsys.readouterr().err
    assert not (tmp_path / "new.key").exists()
