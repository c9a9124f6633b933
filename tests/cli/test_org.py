"""What `mulu org` says to wrong input, before any node is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.main import run
from ledger.membership import ROLES

USCC = "11110112MB1D52349B"
REGISTER = ("--name", "n", "--level", "district", "--division", "110112", "--parent", USCC)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert run([*words, "--node", "http://127.0.0.1:1"]) == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("uscc", ["11110112MB1D52349A", "1", "11110112MB1D52349I"])
def test_a_wrong_uscc_is_told_alike_by_register_and_enrol(
    uscc: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registered = refused(capsys, "org", "register", uscc, *REGISTER)
    enrol = ("--new-key", str(tmp_path / "none"), "--role", "editor")
    assert refused(capsys, "org", "enrol", uscc, *enrol) == registered
    assert registered.startswith("error: uscc: ")


def test_an_unknown_role_is_refused_with_those_that_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roles = ("--role", "editor", "--role", "boss")
    told = refused(capsys, "org", "enrol", USCC, "--new-key", str(tmp_path / "none"), *roles)
    assert told.startswith("error: unknown role 'boss' ")
    assert ", ".join(sorted(ROLES)) in told


def test_the_help_of_enrol_lists_the_roles(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["org", "enrol", "--help"]) == 0
    assert ", ".join(sorted(ROLES)) in " ".join(capsys.readouterr().out.split())
