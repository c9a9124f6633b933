"""Directory commands against a running network: what is shown with names, and what is asked before it is done."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from cli.demo import content
from cli.main import run
from cli.output import time_text
from cli.sample import by_short_name
from node.client import NodeClient
from tests.cli.officers import DEPARTMENT, Shell, register_matter

TIANJIN = by_short_name("tianjin-department").uscc


@pytest.mark.parametrize(
    ("verb", "more", "by", "status"),
    [
        ("return", ("--opinion", "Which desk?"), "tongzhou-approver", "returned"),
        ("withdraw", (), "tongzhou-editor", "withdrawn"),
    ],
)
def test_what_waits_is_returned_or_withdrawn_once_somebody_has_said_yes(
    shell: Shell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    more: tuple[str, ...],
    by: str,
    status: str,
) -> None:
    register_matter(shell, tmp_path)
    identifier = f"{DEPARTMENT}-{verb}"
    file = tmp_path / "system.json"
    file.write_text(json.dumps({**content.system(), "id": identifier}), "utf-8")

    def submit() -> str:
        shell("directory", "submit", "system", str(file), profile="tongzhou-editor")
        entry = shell.eventually(
            *("directory", "show", "system", identifier),
            profile=by,
            holds=lambda entry: entry.get("pending"),
        )
        return str(entry["pending"]["version"])

    def decide(answer: str, *options: str) -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        return run(["directory", verb, "system", identifier, *more, *options, "--profile", by])

    def is_settled() -> None:
        shell.eventually(
            *("directory", "show", "system", identifier),
            profile=by,
            holds=lambda entry: entry["status"] == status and not entry.get("pending"),
        )

    version = submit()
    assert decide("") == 2
    seen = capsys.readouterr()
    assert version in seen.out
    assert "or give --yes: then it does not ask" in seen.err
    assert decide("n\n") == 1
    assert f"nothing was {status}" in capsys.readouterr().err
    assert shell("directory", "show", "system", identifier, profile=by)["pending"]
    assert decide("y\n") == 0
    is_settled()
    submit()
    assert decide("", "--yes") == 0
    is_settled()


def test_an_entry_is_shown_with_the_names_of_what_it_mentions_asked_for_together(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_matter(shell, tmp_path)
    asked: list[str] = []
    request = NodeClient.request

    def counted(self: NodeClient, method: str, path: str, **options: Any) -> Any:
        asked.append(path)
        return request(self, method, path, **options)

    monkeypatch.setattr(NodeClient, "request", counted)
    record = shell("directory", "show", "matter", content.MATTER, profile="national-auditor")
    assert sum("evidence" in path for path in asked) == 0
    shown = shell.text("directory", "show", "matter", content.MATTER, "national-auditor")
    assert sum("evidence" in path for path in asked) <= 2
    (responsibility,) = record["effective"]["responsibilities"]
    assert f"{responsibility} (Disclosure of information)" in shown
    assert f"{content.INSTRUMENT_ID} ({content.instrument()['name']})" in shown
    name = content.DEPARTMENT.name
    assert f"{DEPARTMENT} ({name})" in shown
    assert f"{record['history'][0]['submitter'][:20]}… ({name})" in shown


def test_who_approves_is_shown_what_would_change_before_the_question(
    shell: Shell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    register_matter(shell, tmp_path)
    file = tmp_path / "matter.json"
    file.write_text(json.dumps({**content.matter(), "name": "Another name"}), "utf-8")
    shell("directory", "submit", "matter", str(file), "--amend", profile="tongzhou-editor")
    shell.eventually(
        *("directory", "show", "matter", content.MATTER),
        profile="tongzhou-approver",
        holds=lambda entry: entry.get("pending"),
    )
    approve = ("directory", "approve", "matter", content.MATTER, "--profile", "tongzhou-approver")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run([*approve]) == 1
    seen = capsys.readouterr()
    assert content.matter()["name"] in seen.out
    assert "Another name" in seen.out
    assert "nothing was approved" in seen.err
    assert run([*approve, "--yes"]) == 0
    assert capsys.readouterr().out.startswith("Approved 1")


def test_of_all_that_waits_what_is_refused_is_named_and_the_others_are_approved(
    shell: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register_matter(shell, tmp_path)
    good, bad = ([f"{DEPARTMENT}-{kind}{n}" for n in range(2)] for kind in ("good", "bad"))
    for identifier in (*good, *bad):
        rests_on = {"responsibilities": [f"{DEPARTMENT}-9999"]} if identifier in bad else {}
        file = tmp_path / f"{identifier}.json"
        file.write_text(json.dumps({**content.system(), "id": identifier, **rests_on}), "utf-8")
        shell("directory", "submit", "system", str(file), profile="tongzhou-editor")
    all_of_them = ("directory", "approve", "system", "--all", "--owner", DEPARTMENT)
    shell.eventually(
        *("directory", "show", "system", bad[-1]),
        profile="tongzhou-approver",
        holds=lambda entry: entry.get("pending"),
    )
    answer = shell(*all_of_them, profile="tongzhou-approver", expect=1)
    assert answer["approved"] == good
    assert [one["id"] for one in answer["refused"]] == bad
    code = "directory.system.responsibility_not_effective"
    assert {one["code"] for one in answer["refused"]} == {code}
    assert len(answer["transactions"]) == 1
    assert run([*all_of_them, "--yes", "--profile", "tongzhou-approver"]) == 1
    seen = capsys.readouterr()
    assert "Approved" not in seen.out
    assert all(f"{identifier}: " in seen.err for identifier in bad)
    for identifier in bad:
        shell("directory", "withdraw", "system", identifier, profile="tongzhou-editor")


def test_a_statement_becomes_responsibilities_that_count(shell: Shell, tmp_path: Path) -> None:
    statement = tmp_path / "statement.txt"
    statement.write_text(content.statement(), "utf-8")
    words = ("directory", "import", "--statement", str(statement), "--department", TIANJIN)
    answer = shell(*words, profile="tianjin-editor")
    assert len(answer["transactions"]) == 1
    again = shell(*words, profile="tianjin-editor", expect=1)
    assert again["error"]["code"] == "directory.entry.pending"
    mine = shell(
        *("directory", "approve", "responsibility", f"{TIANJIN}-1"),
        profile="tianjin-editor",
        expect=1,
    )
    assert mine["error"]["code"] == "role_missing"
    assert "the key of profile tianjin-editor; `mulu profile list`" in mine["error"]["hint"]
    shell.eventually(
        *("directory", "list", "responsibility", "--owner", TIANJIN),
        profile="tianjin-approver",
        holds=lambda page: len(page["items"]) == 8,
    )
    approved = shell("directory", "approve", "responsibility", "--all", profile="tianjin-approver")
    assert len(approved["approved"]) == 8
    shown = shell.eventually(
        *("directory", "show", "responsibility", f"{TIANJIN}-4"),
        profile="national-auditor",
        holds=lambda entry: entry["status"] == "effective",
    )
    assert shown["title"] == "Disclosure of information"
    people = shell.text("directory", "show", "responsibility", f"{TIANJIN}-4", "national-auditor")
    assert time_text(shown["history"][0]["time_ms"]) in people
    assert str(shown["history"][0]["time_ms"]) not in people
    proven = shell("tx", "wait", approved["transactions"][0], profile="national-auditor")
    assert proven["verified"]
    stranger = tmp_path / "strange" / "policy.txt"
    shell("network", "init", "--home", str(stranger.parent))
    words = ("tx", "show", approved["transactions"][0], "--policy", str(stranger))
    other = shell(*words, profile="national-auditor", expect=3)
    assert other["error"]["code"] == "other_network"
    assert shell.network.chain_id in other["error"]["message"]
    assert "Give the policy of that network" in other["error"]["hint"]
    findings = shell("directory", "check", "--department", TIANJIN, expect=1)
    assert findings["findings"]


def test_a_revised_statement_amends_what_has_changed_and_nothing_else(
    shell: Shell, tmp_path: Path
) -> None:
    statement = tmp_path / "statement.txt"
    revise = (
        *("directory", "import", "--statement", str(statement), "--department", TIANJIN),
        "--amend",
    )

    def counts(number: int, version: int) -> None:
        """Wait until so many entries count, the fourth for so many versions."""
        shell.eventually(
            *("directory", "list", "responsibility", "--owner", TIANJIN, "--status", "effective"),
            profile="tianjin-editor",
            holds=lambda page: (
                len(page["items"]) == number
                and [one["versions"] for one in page["items"] if one["id"].endswith("-4")]
                == [version]
            ),
        )

    def approve() -> None:
        waiting = ("directory", "list", "responsibility", "--owner", TIANJIN)
        shell.eventually(
            *waiting,
            profile="tianjin-editor",
            holds=lambda page: any(one.get("pending") for one in page["items"]),
        )
        shell("directory", "approve", "responsibility", "--all", profile="tianjin-approver")

    statement.write_text(content.statement(), "utf-8")
    if shell(*revise, profile="tianjin-editor")["transactions"]:
        approve()
    counts(8, 1)
    same = shell(*revise, profile="tianjin-editor")
    assert set(same["actions"].values()) == {"unchanged"}
    assert same["transactions"] == same["not_in_statement"] == []
    assert "Nothing to submit." in shell.text(*revise, "tianjin-editor")
    text = content.statement()
    gone = next(line for line in text.splitlines() if line.startswith("(2)"))
    revised = text.replace(gone + "\n", "").replace("Disclosure of information", "Disclosure")
    statement.write_text(
        revised + "\n(9) Archives. Keeps the archives of the department.\n", "utf-8"
    )
    dry = shell(*revise, "--dry-run", profile="tianjin-editor")
    wanted = dict.fromkeys((f"{TIANJIN}-{number}" for number in (1, 3, 5, 6, 7, 8)), "unchanged")
    assert dry["actions"] == {**wanted, f"{TIANJIN}-4": "amend", f"{TIANJIN}-9": "publish"}
    assert dry["not_in_statement"] == [f"{TIANJIN}-2"]
    assert dry["changed"] == {f"{TIANJIN}-4": ["name", "text"]}
    submitted = shell(*revise, profile="tianjin-editor")
    assert submitted["actions"] == dry["actions"]
    shell.eventually(
        *revise,
        "--dry-run",
        profile="tianjin-editor",
        holds=lambda plan: (
            [plan["actions"][f"{TIANJIN}-{number}"] for number in (4, 9)] == ["waits", "waits"]
        ),
    )
    people = shell.text(*revise, "tianjin-editor")
    assert "Nothing to submit." in people
    assert f"not in the statement: {TIANJIN}-2" in people
    approve()
    counts(9, 2)
