"""Errors become messages and exit codes; every command explains itself."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from cli.main import GROUPS, build_app, run
from cli.questions import confirm

ROOT = Path(__file__).resolve().parent.parent.parent


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its path."""

    def walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield path, command
            return
        for name, child in children.items():
            yield from walk(f"{path} {name}".strip(), child)

    yield from walk("", get_command(build_app([])))


COMMANDS = dict(commands())


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_help_with_an_example(path: str) -> None:
    command = COMMANDS[path]
    assert command.help
    text = f"{command.help} {command.epilog or ''}"
    assert f"mulu {path}" in text.replace("\n", " ") or "Example: MULU_HOME" in text


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_of_every_command_is_explained(path: str) -> None:
    for parameter in COMMANDS[path].params:
        assert getattr(parameter, "help", None), f"mulu {path}: {parameter.name}"


@pytest.mark.parametrize("file", ["README.md", "docs/OPERATING.md"])
def test_documents_name_only_commands_that_exist(file: str) -> None:
    text = (ROOT / file).read_text("utf-8")
    for words in re.findall(r"(?:^|`|\s)mulu ([a-z][a-z -]*[a-z])", text):
        path = words.split(" --")[0]
        known = [command for command in COMMANDS if f"{path} ".startswith(f"{command} ")]
        assert known or path.split()[0] in GROUPS, f"{file}: mulu {words}"


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_alone_shows_its_commands(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([group]) == 2
    assert "Commands:" in capsys.readouterr().out


REQUEST = (
    *("--matter", "m", "--ask", "type:field", "--case-number", "1", "--purpose", "p"),
    *("--division", "110112"),
)

WRONG = {
    "an unknown command": (["nonsense"], "No such command"),
    "an unknown option": (["keys", "show", "--nonsense", "x"], "No such option"),
    "a missing argument": (["tx", "show"], "Missing argument"),
    "a node to stop": (["network", "stop", "hebei"], "Name nodes by --only NAME."),
    "nodes to start": (["network", "start", "hebei", "beijing"], "Name nodes by --only NAME."),
    "no node": (["org", "list"], "no node is named"),
    "an address that is none": (["org", "list", "--node", "beijing"], "not an address"),
    "an address without a host": (["org", "list", "--node", "http://"], "not an address"),
    "an address of a host that cannot be": (
        ["org", "list", "--node", f"http://{'a' * 300}"],
        "not an address",
    ),
    "an address of a name that cannot be": (
        ["org", "list", "--node", "http://é..x"],
        "not an address",
    ),
    "a key file that is not there": (
        ["org", "list", "--node", "http://127.0.0.1:1", "--key", "/nonexistent.key"],
        "no key file",
    ),
    "an unknown profile": (["org", "list", "--profile", "nobody"], "no profile"),
    "an id that is none": (
        ["tx", "show", "xyz", "--node", "http://127.0.0.1:1"],
        "not a transaction id",
    ),
    "an unknown collection": (
        ["directory", "list", "laws", "--node", "http://127.0.0.1:1"],
        "not a collection",
    ),
    "an unknown status": (
        ["directory", "list", "matter", "--status", "x", "--node", "http://127.0.0.1:1"],
        "not a status",
    ),
    "a network's node that is no address": (
        ["network", "status", "--node", "beijing"],
        "not an address",
    ),
    "an age beyond all bounds": (["license", "verify", "x", "--fresh", "1e400"], "--fresh"),
    "an answer that is none": (["wallet", "code", "--answer", "perhaps"], "--answer"),
    "a wallet's node that is no address": (
        ["wallet", "init", "--node", "beijing", "--policy", "x", "--unprotected"],
        "not an address",
    ),
    "an offer to nobody": (["wallet", "offer", "beijing", "--wallet", "w"], "a USCC has 18"),
    "nothing to import": (["directory", "import"], "say what to import"),
    "nothing to verify": (["license", "verify"], "nothing to verify"),
    "a date that is none": (
        ["license", "verify", "--handle", "00", "--at", "yesterday"],
        "not a date",
    ),
    "a request by law that cites nothing": (
        ["license", "request", "--statutory", *REQUEST, "--request-out", "x"],
        "cites its article",
    ),
    "an article cited to a holder": (
        ["license", "request", "--basis", "law:1", *REQUEST, "--code", "12345678"],
        "cites its article",
    ),
    "a request by law to a phone": (
        ["license", "request", "--statutory", "--basis", "law:1", *REQUEST, "--code", "12345678"],
        "goes to a second officer",
    ),
    "an article that is none": (
        ["license", "request", "--statutory", "--basis", "law", *REQUEST, "--request-out", "x"],
        "does not cite an article",
    ),
    "a release of no use": (
        ["license", "release", "xyz", "--package", "x", "--sealed-out", "y"],
        "not the id of a use",
    ),
    "a network that is not there": (["network", "start", "--home", "/nonexistent"], "no network"),
    "a home that is none": (["node", "start", "/nonexistent"], "no node's home"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_named_and_exits_with_2(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MULU_HOME", str(tmp_path))
    words, text = WRONG[case]
    assert run(words) == 2
    assert text in capsys.readouterr().err


def test_a_question_that_nobody_answers_is_wrong_input_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(_: Path) -> None:
        typer.confirm("Well?", err=True)

    monkeypatch.setattr("cli.profile.load_profiles", ask)
    monkeypatch.setattr("cli.profile.mulu_home", lambda: tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run(["profile", "list"]) == 2
    assert "\nerror: nobody answered" in capsys.readouterr().err


def test_a_question_without_a_terminal_says_on_a_line_of_its_own_which_option_answers_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.profile.load_profiles", lambda _: confirm("Well?", "--yes"))
    monkeypatch.setattr("cli.profile.mulu_home", lambda: tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run(["profile", "list"]) == 2
    told = capsys.readouterr().err
    assert "Well? [y/N]:\nerror: nobody answered the question\n" in told
    assert "or give --yes: then it does not ask" in told


def test_every_question_is_asked_so() -> None:
    modules = (ROOT / "cli").rglob("*.py")
    asking = {path.name for path in modules if "typer.confirm(" in path.read_text("utf-8")}
    assert asking == {"questions.py"}


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_every_command_speaks_json(path: str) -> None:
    assert any("--json" in parameter.opts for parameter in COMMANDS[path].params)


def test_an_error_is_one_line_of_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MULU_HOME", str(tmp_path))
    run(["org", "list", "--json"])
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_machine_gets_the_error_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MULU_HOME", str(tmp_path))
    assert run(["org", "list", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "bad_input"
    assert error["hint"]


def test_a_node_that_does_not_answer_is_not_established(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["network", "status", "--node", "http://127.0.0.1:1"]) == 3
    assert "no node answers" in capsys.readouterr().err
