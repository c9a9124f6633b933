"""Directory commands against a running network: what is shown with names, and what is asked before it is done."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from cli.demo import content
from cli.main import run
from node.client import NodeClient
from tests.cli.officers import DEPARTMENT, Shell, register_matter


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
