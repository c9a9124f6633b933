"""Approving many entries against a node that refuses some, or stops midway: nothing that was done is lost."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.connection import Connection
from cli.demo import content
from cli.directory_approval import (
    Approvals,
    approve_entries,
    pending_version,
    show_approvals,
)
from cli.main import run
from cli.output import CommandError
from directory.codes import Collection
from directory.models import ENTRY_MODELS
from directory.records import entry_value, version_hash
from ledger.errors import LedgerError
from ledger.keys import SoftwareSigner
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import decode_transaction
from node.api.jsonable import jsonable
from node.client import NodeClient
from node.errors import NodeUnreachable
from tests.cli.stand_in import NETWORK, serving
from tests.ledger.chain import uscc

OWNERS = (uscc("110112"), uscc("120000"))
NOT_COMPETENT = "directory.entry.not_competent"


def waiting_entry(identifier: str, **more: Any) -> dict[str, Any]:
    """Return an entry as a node shows it, of which a first version waits."""
    body = {"id": identifier, "name": "Desk"}
    version = version_hash(SUITE, "system", identifier, 1, None, "publish", body)
    pending = {"action": "publish", "version": version.hex(), "body": body}
    return {"id": identifier, "versions": 0, "pending": pending, "history": [], **more}


def entries(count: int, owner: str = OWNERS[0]) -> list[dict[str, Any]]:
    return [waiting_entry(f"{owner}-s{number}") for number in range(count)]


def amended(versions: int) -> dict[str, Any]:
    """Return an entry of which so many versions have counted, and an amendment waits."""
    identifier, last, history = f"{OWNERS[0]}-s0", None, []
    for number in range(1, versions + 2):
        action: Any = "publish" if number == 1 else "amend"
        body = {"id": identifier, "name": f"Desk {number}"}
        version = version_hash(SUITE, "system", identifier, number, last, action, body)
        if number <= versions:
            last, effective = version, body
            history.append({"action": action, "version": version.hex()})
    assert last is not None
    return {
        "id": identifier,
        "versions": versions,
        "last": last.hex(),
        "effective": effective,
        "pending": {"action": action, "version": version.hex(), "body": body},
        "history": history,
    }


def committed(**more: Any) -> dict[str, Any]:
    result = {"status": "committed", "code": "ok", "height": 1, "index": 1, "text": ""}
    return {**result, "operation_index": None, **more}


def failed(code: str, at: int | None) -> dict[str, Any]:
    return committed(status="failed", code=code, text="for a reason", operation_index=at)


def refused(code: str = "mempool_full") -> dict[str, Any]:
    return committed(status="refused", code=code, height=None, index=None)


@dataclass
class Node:
    """A node that decides each transaction as a test has it: by the entries it approves, and how many came before."""

    decide: Callable[[Sequence[str], int], dict[str, Any] | None] = lambda *_: committed()
    url: str = ""
    submitted: list[list[str]] = field(default_factory=list)

    def posted(self, _: str, body: bytes) -> tuple[int, bytes]:
        (encoded,) = json.loads(body)["transactions"]
        operations: Any = decode_transaction(SUITE, base64.b64decode(encoded)).operations
        ids = [operation.body["id"] for operation in operations]
        result = self.decide(ids, len(self.submitted))
        self.submitted.append(ids)
        if result is None:
            return 503, b'{"title": "Stopping", "code": "stopping"}'
        answer = {"results": [{"id": f"{len(self.submitted):064}", **result}]}
        return 200, json.dumps(answer).encode()


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    with serving(lambda _: (200, json.dumps(NETWORK).encode()), posted=node.posted) as node.url:
        yield node


def approve(node: Node, waiting: Sequence[dict[str, Any]], *, is_one: bool = False) -> Approvals:
    with NodeClient(node.url) as client:
        signer = SoftwareSigner.generate()
        connection = Connection(client, signer, SUITE, None, "", None, "")
        return approve_entries(connection, "system", waiting, None, is_one=is_one)


def ids(waiting: Sequence[dict[str, Any]]) -> list[str]:
    return [entry["id"] for entry in waiting]


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])]
)
def test_a_hundred_entries_are_approved_at_once(node: Node, count: int, sizes: list[int]) -> None:
    waiting = entries(count)
    done = approve(node, waiting)
    assert [len(some) for some in node.submitted] == sizes
    assert done.approved == ids(waiting) and not done.refused and done.failure is None
    assert len(done.transactions) == len(sizes)


def test_an_entry_that_is_refused_is_left_out_and_the_others_are_tried_again(node: Node) -> None:
    waiting = entries(150)
    bad = {waiting[3]["id"], waiting[120]["id"]}

    def decide(some: Sequence[str], _: int) -> dict[str, Any]:
        at = next((place for place, one in enumerate(some) if one in bad), None)
        return committed() if at is None else failed("directory.system.x", at)

    node.decide = decide
    done = approve(node, waiting)
    assert {one for one, _, _ in done.refused} == bad
    assert done.approved == [one for one in ids(waiting) if one not in bad]
    assert [len(some) for some in node.submitted] == [100, 100, 49, 48], "a place is filled up"
    assert len(done.transactions) == 2


@pytest.mark.parametrize("code", [NOT_COMPETENT, "directory.entry.owner_dissolved"])
def test_what_is_refused_for_its_owner_is_not_tried_for_each_of_the_owner_s_entries(
    node: Node, code: str
) -> None:
    theirs, others = entries(120), entries(20, OWNERS[1])

    def decide(some: Sequence[str], _: int) -> dict[str, Any]:
        is_theirs = some[0].startswith(OWNERS[0])
        return failed(code, 0) if is_theirs else committed()

    node.decide = decide
    done = approve(node, [*theirs, *others])
    assert [one for one, _, _ in done.refused] == ids(theirs)
    assert done.approved == ids(others)
    assert len(node.submitted) == 2


def test_the_refusal_of_the_only_one_is_an_error_like_any_other(node: Node) -> None:
    node.decide = lambda *_: failed("directory.system.x", 0)
    with pytest.raises(CommandError, match=r"validators refused .*directory\.system\.x"):
        approve(node, entries(1), is_one=True)
    assert approve(node, entries(1)).refused[0][1:] == ("directory.system.x", "for a reason")


@pytest.mark.parametrize("at", [None, -1, 100])
def test_a_transaction_that_fails_for_none_of_its_entries_is_an_error(
    node: Node, at: int | None
) -> None:
    node.decide = lambda *_: failed("role_missing", at)
    with pytest.raises(CommandError, match="role_missing"):
        approve(node, entries(3))


@pytest.mark.parametrize("result", [refused(), None])
def test_where_the_first_transaction_ends_it_nothing_was_done(
    node: Node, result: dict[str, Any] | None
) -> None:
    node.decide = lambda *_: result
    with pytest.raises((CommandError, LedgerError)):
        approve(node, entries(250))
    assert len(node.submitted) == 1


MIDWAY: dict[str, tuple[dict[str, Any] | None, str, int]] = {
    "refused": (refused(), "mempool_full", 1),
    "failed as a whole": (failed("key_not_enrolled", None), "key_not_enrolled", 1),
    "not decided in time": (committed(status="not_committed"), "not_committed", 3),
    "a node that stops": (None, "stopping", 3),
}


@pytest.mark.parametrize("case", MIDWAY)
def test_a_failure_midway_hides_nothing_of_what_stands(
    node: Node, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result, code, exit_code = MIDWAY[case]
    node.decide = lambda _, before: committed() if before < 2 else result
    waiting = entries(250)
    done = approve(node, waiting)
    assert (done.approved, len(done.transactions)) == (ids(waiting)[:200], 2)
    assert done.failure is not None

    with pytest.raises(CommandError) as raised:
        show_approvals(done, as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Approved 200; transactions: {', '.join(done.transactions)}" in shown
    assert (raised.value.code, raised.value.exit_code) == (code, exit_code)
    assert raised.value.hint.startswith("200 approved before stand; 50 are not known to be decided")
    assert "Nothing was recorded" not in raised.value.hint

    with pytest.raises(typer.Exit) as ended:
        show_approvals(done, as_json=True)
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert ended.value.exit_code == exit_code
    assert (document["approved"], document["transactions"]) == (done.approved, done.transactions)
    assert document["refused"] == []
    assert (document["error"]["code"], document["error"]["hint"]) == (code, raised.value.hint)
    assert "200 approved before stand" in " ".join(told.err.split())


def test_refusals_before_a_failure_are_told_as_well(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.decide = lambda _, before: failed("directory.system.x", 1) if before == 0 else refused()
    done = approve(node, entries(3))
    with pytest.raises(CommandError, match="mempool_full"):
        show_approvals(done, as_json=False)
    shown = capsys.readouterr().out
    assert "The validators refused 1:" in shown and f"{OWNERS[0]}-s1: for a reason" in shown
    with pytest.raises(typer.Exit):
        show_approvals(done, as_json=True)
    assert json.loads(capsys.readouterr().out)["refused"][0]["id"] == f"{OWNERS[0]}-s1"


@pytest.mark.parametrize(
    ("some_approved", "hint"), [(True, "All others are approved."), (False, "None was approved.")]
)
def test_of_refusals_it_is_told_once_of_which_entry_and_whether_others_are_approved(
    some_approved: bool, hint: str
) -> None:
    waiting = ids(entries(2))
    refused = [(one, "directory.x", f"{one}: not in force") for one in waiting[some_approved:]]
    done = Approvals(waiting[:1] if some_approved else [], refused)
    with pytest.raises(CommandError) as raised:
        show_approvals(done, as_json=False)
    assert raised.value.hint.startswith(hint)
    assert f"\n  {waiting[1]}: not in force (directory.x)" in raised.value.text


def test_a_node_that_has_gone_midway_is_told_with_what_stands(node: Node) -> None:
    def decide(_: Sequence[str], before: int) -> dict[str, Any]:
        return committed() if before == 0 else {"status": "no status"}

    node.decide = decide
    done = approve(node, entries(101))
    assert len(done.approved) == 100
    assert done.failure is not None and done.failure.code == "unreachable"
    with pytest.raises(NodeUnreachable):
        approve(node, entries(1))


SAMPLES: dict[Collection, dict[str, Any]] = {
    "instrument": content.instrument(),
    "resource": content.resource(),
    "matter": content.matter(),
    "entrustment": content.entrustment(1_763_780_400_000),
}


@pytest.mark.parametrize("collection", SAMPLES)
def test_an_entry_has_the_hash_that_validators_give_it(collection: Collection) -> None:
    sample = ENTRY_MODELS[collection].model_validate_json(json.dumps(SAMPLES[collection]))
    body, identifier = entry_value(sample), sample.identifier
    version = version_hash(SUITE, collection, identifier, 1, None, "publish", body)
    shown = {"action": "publish", "version": version, "body": body}
    entry = jsonable({"id": identifier, "versions": 0, "pending": shown})
    assert pending_version(collection, json.loads(json.dumps(entry))) == version.hex()


@pytest.mark.parametrize("versions", [1, 2, 3])
def test_what_a_node_shows_as_it_is_has_the_hash_that_an_approval_names(versions: int) -> None:
    entry = amended(versions)
    assert pending_version("system", entry) == entry["pending"]["version"]


def test_a_retirement_has_the_hash_of_its_reason() -> None:
    entry = amended(2)
    last = bytes.fromhex(entry["last"])
    version = version_hash(SUITE, "system", entry["id"], 3, last, "retire", None, "no longer used")
    entry["pending"] = {"action": "retire", "version": version.hex(), "reason": "no longer used"}
    assert pending_version("system", entry) == version.hex()
    entry["pending"]["reason"] = "replaced"
    with pytest.raises(CommandError, match="is false"):
        pending_version("system", entry)


LIES: dict[str, Callable[[dict[str, Any]], None]] = {
    "another text waits": lambda entry: entry["pending"]["body"].update(name="Harmless"),
    "a text more waits": lambda entry: entry["pending"]["body"].update(more="x"),
    "it would be retired": lambda entry: entry["pending"].update(action="retire"),
    "there is a reason": lambda entry: entry["pending"].update(reason="x"),
    "what waits is the same as what counts": lambda entry: entry["effective"].update(
        entry["pending"]["body"]
    ),
    "another version counts": lambda entry: entry.update(last="00" * 32),
    "more versions have counted": lambda entry: entry.update(versions=3),
    "it is another entry": lambda entry: entry.update(id=f"{OWNERS[0]}-s1"),
    "what waits is none": lambda entry: entry["pending"].update(body={"name": 1 << 70}),
    "the last version is none": lambda entry: entry.update(last="x"),
    "versions are not counted": lambda entry: entry.update(versions="two"),
}


@pytest.mark.parametrize("lie", LIES)
def test_nothing_is_approved_of_which_a_node_shows_something_else(node: Node, lie: str) -> None:
    entry = amended(2)
    LIES[lie](entry)
    with pytest.raises(CommandError, match="is false") as raised:
        approve(node, [*entries(2, OWNERS[1]), entry])
    assert (raised.value.code, raised.value.exit_code) == ("version_false", 1)
    assert not node.submitted


def test_a_list_without_end_is_not_read_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MULU_HOME", str(tmp_path))
    monkeypatch.setattr("cli.directory_import._MAX_PAGES", 3)
    asked: list[str] = []

    def page(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return 200, json.dumps({"items": [], "cursor": "on"}).encode()

    with serving(page) as url:
        words = ["directory", "approve", "system", "--all", "--yes", "--node", url, "--json"]
        assert run(words) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "too_many_entries"
    assert len(asked) == 3


@pytest.mark.parametrize("command", ["approve", "return", "withdraw"])
def test_an_entry_in_the_place_of_another_is_not_decided(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MULU_HOME", str(tmp_path))
    shown, wanted = entries(2)
    opinion = ["--opinion", "x"] if command == "return" else []
    with serving(lambda _: (200, json.dumps(shown).encode())) as url:
        words = ["directory", command, "system", wanted["id"], "--yes", "--node", url, *opinion]
        assert run(words) == 1
    assert f"shows {shown['id']} in the place of {wanted['id']}" in capsys.readouterr().err
