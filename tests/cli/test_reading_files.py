"""Files that are given to commands are read up to a bound, and what is larger is named with its size."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from cli import license_verify
from cli.main import run
from cli.output import CommandError
from cli.validation import MAX_FILE_BYTES, read_bytes
from directory.importing import MAX_IMPORT_BYTES
from directory.statement import MAX_STATEMENT_BYTES
from ledger.bundle import MAX_BUNDLE_BYTES
from ledger.genesis import MAX_GENESIS_BYTES
from ledger.policy import MAX_POLICY_BYTES
from tests.cli.officers import DEPARTMENT


@pytest.fixture(autouse=True)
def _sockets_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without sockets for `--offline` this process would have none for the tests that follow: it cannot be undone."""
    monkeypatch.setattr(license_verify, "forbid_sockets", lambda: None)


HUGE_BYTES = 1 << 40
"""A terabyte, none of it on the disk: whoever reads it whole has no memory left."""


def huge(directory: Path) -> Path:
    path = directory / "huge"
    with path.open("wb") as file:
        file.truncate(HUGE_BYTES)
    return path


def test_a_file_of_the_limit_is_read_and_one_byte_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1234")
    assert read_bytes(path, 4) == b"1234"
    with pytest.raises(CommandError) as refused:
        read_bytes(path, 3)
    assert refused.value.text == f"{path} is too large: 4 bytes, at most 3 are read"


def test_a_device_that_never_ends_is_read_up_to_the_limit() -> None:
    with pytest.raises(CommandError, match="/dev/zero is too large: more than 10 bytes, at most"):
        read_bytes(Path("/dev/zero"), 10)


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"1234",))
    writer.start()
    assert read_bytes(path, 4) == b"1234"
    writer.join()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot read .*nothing: No such file"):
        read_bytes(tmp_path / "nothing")


OFFLINE = ("license", "verify", "--offline")
IMPORT = ("directory", "import", "--dry-run")
NODE = ("--node", "http://127.0.0.1:1")

COMMANDS: dict[str, tuple[tuple[str, ...], int]] = {
    "a license to verify": ((*OFFLINE, "FILE"), MAX_FILE_BYTES),
    "evidence on it": ((*OFFLINE, "--bundle", "FILE"), MAX_BUNDLE_BYTES),
    "a policy": ((*OFFLINE, "--handle", "0" * 64, "--policy", "FILE"), MAX_POLICY_BYTES),
    "a statement": (
        (*IMPORT, "--statement", "FILE", "--department", DEPARTMENT),
        MAX_STATEMENT_BYTES,
    ),
    "a table": ((*IMPORT, "--csv", "FILE"), MAX_IMPORT_BYTES),
    "entries": ((*IMPORT, "--json-file", "FILE"), MAX_IMPORT_BYTES),
    "an entry": (("directory", "submit", "matter", "FILE", *NODE), MAX_FILE_BYTES),
    "operations": (("tx", "send", "FILE", *NODE), MAX_FILE_BYTES),
    "a license for the wallet": (("wallet", "add", "FILE"), MAX_FILE_BYTES),
    "a request": (("wallet", "consent", "FILE", "--out", "x"), MAX_FILE_BYTES),
    "a wallet's policy": (
        ("wallet", "init", "--policy", "FILE", *NODE, "--unprotected"),
        MAX_POLICY_BYTES,
    ),
    "a case": (("license", "use", "FILE", *NODE), MAX_FILE_BYTES),
    "a genesis": (
        (
            *("node", "init", "home", "--genesis", "FILE", "--policy", "policy.txt"),
            *("--authority", "ca.key", "--name", "tianjin"),
        ),
        MAX_GENESIS_BYTES,
    ),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_a_command_names_the_file_its_size_and_the_limit(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, limit = COMMANDS[case]
    monkeypatch.setenv("MULU_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    file = str(huge(tmp_path))
    assert run([file if word == "FILE" else word for word in words]) == 2
    told = capsys.readouterr()
    assert f"{file} is too large: {HUGE_BYTES} bytes, at most {limit} are read" in (
        " ".join((told.out + told.err).split())
    )


def test_standard_input_is_read_up_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with huge(tmp_path).open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert run(["license", "verify", "--offline", "-"]) == 2
    assert f"standard input is too large: {HUGE_BYTES} bytes" in capsys.readouterr().err
