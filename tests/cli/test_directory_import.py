"""Imports: shown by a dry run before anything is submitted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.demo import content
from cli.main import run

DEPARTMENT = content.DEPARTMENT.uscc


@pytest.fixture
def statement(tmp_path: Path) -> Path:
    path = tmp_path / "statement.txt"
    path.write_text(content.statement(), "utf-8")
    return path


def dry_run(statement: Path, *words: str) -> int:
    given = ("--statement", str(statement), "--department", DEPARTMENT)
    return run(["directory", "import", *given, "--dry-run", *words])


def test_a_statement_gives_its_numbered_paragraphs_as_json(
    statement: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dry_run(statement, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"responsibilities", "unnumbered"}
    found = document["responsibilities"]
    assert [one["number"] for one in found] == list(range(1, 9))
    assert [one["catch_all"] for one in found] == [False] * 7 + [True]
    assert len(document["unnumbered"]) == 1


def test_a_statement_is_shown_as_a_table(
    statement: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dry_run(statement) == 0
    out = capsys.readouterr().out
    assert "8 responsibilities, 1 catch-all." in out
    assert "Disclosure of information" in out


WRONG = {
    "no numbers": ("Nothing is numbered here.", "no numbered paragraph"),
    "a number twice": ("(1) One thing.\n(2) Two.\n(2) Two again.\n(3) Three.", "already"),
    "no text": ("\x00\x01\x02", "control character"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_statement_is_refused(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, problem = WRONG[case]
    path = tmp_path / "statement.txt"
    path.write_text(text, "utf-8")
    assert dry_run(path) == 2
    assert problem in capsys.readouterr().err


def test_a_wrong_department_is_refused(statement: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["directory", "import", "--statement", str(statement), "--dry-run"]
    assert run([*words, "--department", "11110112MB1D52349A"]) == 2
    err = capsys.readouterr().err
    assert err.count("check character is") == 1
    assert "--department" in err
    assert "Value error" not in err


def test_the_lines_that_are_not_imported_are_shown_the_first_few_by_how_they_begin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heading = "关于公布部门职责的通知" * 10
    path = tmp_path / "statement.txt"
    path.write_text(f"{heading}\nB\nC\nD\nE\nF\nG\n(1) One thing.\n(2) Two.\n", "utf-8")
    assert dry_run(path) == 0
    out = capsys.readouterr().out
    assert "Lines not numbered, so not imported: 7" in out
    assert f"\n  {heading[:60]} …\n  B\n  C\n  D\n  E\n  and 2 more: --json shows all\n" in out
    assert "  F\n" not in out


@pytest.mark.parametrize("option", ["--csv", "--json-file"])
def test_a_department_is_refused_where_the_rows_name_their_owners(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["directory", "import", option, str(tmp_path / "any"), "--department", DEPARTMENT]
    assert run([*words, "--dry-run"]) == 2
    assert "--department says whose a statement is" in capsys.readouterr().err


def test_a_table_is_imported_by_its_header(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "systems.csv"
    path.write_text(
        "id,name,responsibilities,network,hosting\n"
        f"{DEPARTMENT}-desk,服务台 Desk,{DEPARTMENT}-4,extranet,district_cloud\n",
        "utf-8",
    )
    words = ["directory", "import", "--csv", str(path), "--collection", "system", "--dry-run"]
    assert run([*words, "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert entry["collection"] == "system"
    assert entry["name"] == "服务台 Desk"


def test_a_json_list_names_what_is_wrong_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "entries.json"
    path.write_text(json.dumps({"matter": [{**content.matter(), "modes": ["by force"]}]}), "utf-8")
    assert run(["directory", "import", "--json-file", str(path), "--dry-run"]) == 2
    assert "matter[0], modes.0" in capsys.readouterr().err
