"""What no command has foreseen is no verdict: one line, and exit code 3."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import DEBUG, run

ROOT = Path(__file__).resolve().parent.parent.parent

UNFORESEEN = {
    "a bug": KeyError("x"),
    "too little memory": MemoryError(),
    "too deep": RecursionError("maximum recursion depth exceeded"),
    "several lines": ValueError("one\ntwo"),
}


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("cli.license_verify.date_ms", fail)


VERIFY = ["license", "verify", "--handle", "00", "--at", "2026-01-01"]


@pytest.mark.parametrize("case", UNFORESEEN)
def test_an_error_of_our_own_is_one_line_and_no_verdict(
    case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(DEBUG, raising=False)
    fail_with(UNFORESEEN[case], monkeypatch)
    assert run(VERIFY) == 3
    told = capsys.readouterr().err
    assert told.startswith("error: nothing could be established, for an error of Mulu's own: ")
    assert type(UNFORESEEN[case]).__name__ in told and "test_last_resort.py, line" in told
    assert len(told.splitlines()) == 1


def test_a_machine_is_told_of_it_in_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(MemoryError(), monkeypatch)
    assert run([*VERIFY, "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "internal"


def test_its_traceback_is_shown_to_who_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(DEBUG, "1")
    fail_with(KeyError("x"), monkeypatch)
    assert run(VERIFY) == 3
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def mulu(home: Path, redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command under a shell, in a process that can write no byte to a file."""
    return subprocess.run(
        ["sh", "-c", f'"$0" -m cli "$@" {redirection}', sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "MULU_HOME": str(home), "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )


SPEAKING = {
    "a table": ("network", "status", "--help"),
    "json": ("profile", "list", "--json"),
    "an error in json": ("network", "status", "--json"),
}


@pytest.mark.parametrize("case", SPEAKING)
def test_output_that_is_full_is_said_on_one_line(case: str, tmp_path: Path) -> None:
    done = mulu(tmp_path, f"> {tmp_path}/out", *SPEAKING[case])
    assert done.returncode == 3
    assert done.stderr == (
        "error: standard output cannot be written: File too large\nWhat the command did stands.\n"
    )


@pytest.mark.parametrize("case", SPEAKING)
def test_a_command_without_output_does_nothing(case: str, tmp_path: Path) -> None:
    done = mulu(tmp_path, ">&-", *SPEAKING[case])
    assert (done.returncode, done.stderr) == (3, "error: standard output is closed\n")


def test_a_reader_that_has_gone_is_told_nothing(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "cli", "--help"],
            cwd=ROOT,
            stdout=gone,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (3, b"")


def test_a_command_whose_errors_nobody_hears_ends_with_its_own_code(tmp_path: Path) -> None:
    done = mulu(tmp_path, "2>&-", "network", "status")
    assert done.returncode == 2
