"""Approving many entries against a node that refuses some, or stops midway: nothing that was done is lost."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import typer

from cli.connection import Connection
from cli.directory_approval import Approvals, approve_entries, show_approvals
from cli.output import CommandError
from ledger.errors import LedgerError
from ledger.keys import SoftwareSigner
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import decode_transaction
from node.client import NodeClient
from node.errors import NodeUnreachable
from tests.cli.stand_in import NETWORK, serving
from tests.ledger.chain import uscc

OWNERS = (uscc("110112"), uscc("120000"))
NOT_COMPETENT = "directory.entry.not_competent"


def entries(count: int, owner: str = OWNERS[0]) -> list[dict[str, Any]]:
    return [
        {"id": f"{owner}-s{number}", "pending": {"version": "ab" * 32}} for number in range(count)
    ]


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


def test_a_node_that_has_gone_midway_is_told_with_what_stands(node: Node) -> None:
    def decide(_: Sequence[str], before: int) -> dict[str, Any]:
        return committed() if before == 0 else {"status": "no status"}

    node.decide = decide
    done = approve(node, entries(101))
    assert len(done.approved) == 100
    assert done.failure is not None and done.failure.code == "unreachable"
    with pytest.raises(NodeUnreachable):
        approve(node, entries(1))
