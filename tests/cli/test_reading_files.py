"""Files that are given to commands are read up to a bound, and what is larger is named with its size."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from cli.main import run
from cli.output import CommandError
from cli.validation import MAX_FILE_BYTES, read_bytes
from directory.importing import MAX_IMPORT_BYTES
from directory.statement import MAX_STATEMENT_BYTES
from ledger.bundle import MAX_BUNDLE_BYTES
from ledger.genesis import MAX_GENESIS_BYTES
from ledger.policy import MAX_POLICY_BYTES
from licenses.wallet import Wallet
from tests.cli.officers import DEPARTMENT
from tests.ledger.sample_chain import CHAIN_ID, START_MS, SampleChain

POLICY = SampleChain().policy().encode()


HUGE_BYTES = 1 << 40
"""A terabyte, none of it on the disk: whoever reads it whole has no memory left."""


@pytest.fixture(autouse=True)
def sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be undone would be kept from all tests that this process runs later."""
    for module in ("cli.license_verify", "cli.audit"):
        monkeypatch.setattr(f"{module}.forbid_sockets", lambda: None)


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


@pytest.mark.parametrize("path", ["pipe", "/dev/zero"])
def test_only_regular_files_are_read(path: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CommandError, match=f"{path} is no regular file"):
        read_bytes(tmp_path / path)


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
    "a case whose fields came": (("license", "receive", "FILE", *NODE), MAX_FILE_BYTES),
    "a bundle": (("audit", "verify", "FILE", "--policy", "policy.txt"), MAX_BUNDLE_BYTES),
    "an auditor's policy": (("audit", "verify", "x", "--policy", "FILE"), MAX_POLICY_BYTES),
    "a tracer's policy": (
        ("audit", "trace", "0" * 64, *NODE, "--policy", "FILE"),
        MAX_POLICY_BYTES,
    ),
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
    file = huge(tmp_path)
    told = refused(words, file, monkeypatch, capsys)
    assert f"{file} is too large: {HUGE_BYTES} bytes, at most {limit} are read" in told


@pytest.mark.parametrize("case", COMMANDS)
def test_no_command_waits_for_a_pipe(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, _ = COMMANDS[case]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert f"{pipe} is no regular file" in refused(words, pipe, monkeypatch, capsys)


def refused(
    words: tuple[str, ...],
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """Run a command with this file, in its directory, which has a policy: wrong input; return what it says."""
    monkeypatch.setenv("MULU_HOME", str(file.parent))
    monkeypatch.chdir(file.parent)
    Path("policy.txt").write_bytes(POLICY)
    assert run([str(file) if word == "FILE" else word for word in words]) == 2
    told = capsys.readouterr()
    return " ".join((told.out + told.err).split())


DEEP = b"[" * 100_000 + b"]" * 100_000

JSON_READERS: dict[str, tuple[str, ...]] = {
    "an entry": ("directory", "submit", "matter", "FILE", *NODE),
    "entries": (*IMPORT, "--json-file", "FILE"),
    "operations": ("tx", "send", "FILE", *NODE),
    "a case": ("license", "use", "FILE", *NODE),
    "a case whose fields came": ("license", "receive", "FILE", *NODE),
    "a license": (*OFFLINE, "FILE", "--policy", "policy.txt"),
    "a network": ("network", "status"),
}


@pytest.mark.parametrize("content", [DEEP, b"[]", b"{}", b"null", b"NaN", b'"\\ud800"', b"\xff"])
@pytest.mark.parametrize("case", JSON_READERS)
def test_json_that_is_not_what_a_command_reads_is_wrong_input(
    case: str,
    content: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "network.json"
    file.write_bytes(content)
    assert refused(JSON_READERS[case], file, monkeypatch, capsys)


@pytest.mark.parametrize("content", [DEEP, b"[]", b"{}", b"null", b"NaN", b"\xff"])
def test_a_wallet_whose_node_cannot_be_read_asks_for_one(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Wallet.create(tmp_path / "w", "", chain_id=CHAIN_ID, policy=POLICY, now_ms=START_MS)
    (tmp_path / "w" / "node.json").write_bytes(content)
    assert run(["wallet", "check", "--wallet", str(tmp_path / "w")]) == 2
    assert "the wallet names no node" in capsys.readouterr().err


def test_profiles_nested_too_deeply_are_wrong_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MULU_HOME", str(tmp_path))
    (tmp_path / "profiles.toml").write_bytes(b"a = " + DEEP)
    assert run(["profile", "list"]) == 2
    assert "profiles.toml" in capsys.readouterr().err


def test_standard_input_is_read_up_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with huge(tmp_path).open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert run(["license", "verify", "--offline", "-"]) == 2
    assert f"standard input is too large: {HUGE_BYTES} bytes" in capsys.readouterr().err
