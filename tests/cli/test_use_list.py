"""`mulu license uses` against one node that need not be honest: a list is complete, or it is not believed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from cli import use_list
from cli.main import run
from cli.profiles import Profile, Profiles, save_profiles
from ledger.policy import AsOf
from tests.cli.stand_in import serving
from tests.licenses.story import Holder, Story, ready_story

USES = 5


@dataclass
class Node:
    """A node that proves a license's record, and lists its uses as a test has it."""

    story: Story
    holder: Holder
    items: list[Any]
    url: str = ""
    pages: list[int] = field(default_factory=list)

    def answer(self, path: str) -> bytes:
        asked = urlsplit(path)
        if asked.path == "/v1/evidence/state":
            now_s = time.time_ns() // 1_000_000_000
            return self.story.license_bundle(self.holder.handle, time_s=now_s)
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        first, limit = int(query.get("cursor", "0")), int(query["limit"])
        self.pages.append(first)
        shown = self.items[first : first + limit]
        more = str(first + limit) if len(shown) == limit else None
        return json.dumps({"items": shown, "cursor": more, "count": USES}).encode()


@pytest.fixture(scope="module")
def world() -> tuple[Story, Holder]:
    """A story with a license that was used five times."""
    story = ready_story()
    holder = story.holder()
    for _ in range(USES):
        envelope = story.request()
        story.record(envelope, consent=story.consent(envelope, holder))
    return story, holder


@pytest.fixture
def node(world: tuple[Story, Holder]) -> Iterator[Node]:
    story, holder = world
    items = [
        {
            "number": number,
            "id": use_id.hex(),
            "transaction": transaction_id.hex(),
            "organisation": "o",
            "matter": "m",
            "mode": "holder",
            "height": 1,
        }
        for number, (use_id, transaction_id) in enumerate(story.uses, start=1)
    ]
    served = Node(story, holder, items)

    with serving(lambda path: (200, served.answer(path))) as served.url:
        yield served


@pytest.fixture
def policy(tmp_path: Path, node: Node, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The policy of the story's validators, obtained just now."""
    monkeypatch.setenv("MULU_HOME", str(tmp_path))
    for name in ("MULU_NODE", "MULU_KEY", "MULU_POLICY", "MULU_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    trusted = node.story.chain.policy()
    assert trusted.as_of is not None
    now = AsOf(time.time_ns() // 1_000_000_000, trusted.as_of.size, trusted.as_of.validators_hash)
    path = tmp_path / "policy.txt"
    path.write_bytes(replace(trusted, as_of=now).encode())
    return path


@dataclass
class Lister:
    node: Node
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str, expect: int = 0) -> Any:
        self.capsys.readouterr()
        handle = self.node.holder.handle.hex()
        code = run(["license", "uses", handle, "--node", self.node.url, *words])
        out, err = self.capsys.readouterr()
        assert code == expect, out + err
        return json.loads(out) if "--json" in words else out + err


@pytest.fixture
def lists(node: Node, capsys: pytest.CaptureFixture[str]) -> Lister:
    return Lister(node, capsys)


def test_a_whole_list_is_said_to_be_complete(lists: Lister, policy: Path, node: Node) -> None:
    told = lists("--policy", str(policy), "--json")
    assert (told["complete"], told["items"], told["cursor"]) == (True, node.items, None)
    said = " ".join(lists("--policy", str(policy)).split())
    assert "Complete: 5 uses" in said and "and the same" not in said


def test_a_handle_is_looked_up_as_the_ledger_spells_it(
    node: Node, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    answer, handle = node.answer, node.holder.handle.hex()

    def noted(path: str) -> Any:
        asked.append(path)
        return answer(path)

    node.answer = noted  # type: ignore[method-assign]  # a spy, on this node alone
    words = ["--node", node.url, "--policy", str(policy), "--json"]
    assert run(["license", "uses", f" {handle.upper()} ", *words]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == node.items
    assert any(handle in path for path in asked)
    assert not any(handle.upper() in path for path in asked)


def test_what_nobody_has_proved_of_a_complete_list_is_said_to_be_the_node_s_word(
    lists: Lister, policy: Path, node: Node
) -> None:
    """Ids, transactions and numbers are checked; whoever the node names beside them, the list is complete."""
    node.items = [
        {**one, "organisation": "another", "matter": "another", "height": 9_999}
        for one in node.items
    ]
    said = " ".join(lists("--policy", str(policy)).split())
    assert "another" in said
    assert "ids and transactions are proved; who and for what is the node's word" in said
    assert "mulu audit trace USE proves it" in said


def test_a_profile_whose_policy_cannot_be_used_lists_without_a_check(
    lists: Lister, policy: Path, node: Node, tmp_path: Path
) -> None:
    profile = Profile(node=node.url, policy=policy.name)
    save_profiles(Profiles(tmp_path, "reader", {"reader": profile}))
    assert lists("--json")["complete"] is True
    policy.unlink()
    told = lists()
    assert "Not checked whether it is complete: " in told and policy.name in told
    assert node.items[4]["id"] in told
    assert lists("--json")["items"] == node.items
    assert policy.name in lists("--all", "--json", expect=2)["error"]["message"]
    named = lists("--policy", str(policy), "--json", expect=2)
    assert policy.name in named["error"]["message"], "what somebody has named must be there"


def test_all_pages_are_fetched_as_far_as_the_record_counts_and_no_further(
    lists: Lister, policy: Path, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(use_list, "_PAGE", 2)
    true = list(node.items)
    node.items += [{**true[0], "number": number} for number in range(6, 1_000)]
    told = lists("--policy", str(policy), "--all", "--json")
    assert (told["complete"], told["items"]) == (True, true)
    assert node.pages == [0, 2, 4]


@pytest.mark.parametrize("words", [("--limit", "2"), ("--cursor", "2"), ("--limit", "4", "--json")])
def test_a_page_of_a_longer_list_is_not_called_complete(
    lists: Lister, policy: Path, words: tuple[str, ...]
) -> None:
    told = lists("--policy", str(policy), *words)
    assert told["complete"] is False if "--json" in words else "Not checked" in told


def test_without_a_policy_nothing_is_checked_and_the_whole_is_not_asked_for(lists: Lister) -> None:
    assert lists("--json")["complete"] is False
    assert "no policy" in lists("--all", expect=3)
    assert "--all begins" in lists("--all", "--cursor", "2", expect=2)


def test_what_cannot_be_proved_now_is_listed_without_a_check_and_not_called_whole(
    lists: Lister, policy: Path, node: Node
) -> None:
    policy.write_bytes(node.story.chain.policy().encode())  # of 2025
    told = lists("--policy", str(policy))
    assert "Not checked whether it is complete: the policy is" in told
    assert node.items[4]["id"] in told
    refused = lists("--policy", str(policy), "--all", "--json", expect=3)
    assert refused["error"]["code"] == "anchor_too_old"


_LIES: dict[str, Callable[[list[Any]], list[Any]]] = {
    "the last is kept back": lambda items: items[:-1],
    "the first is kept back": lambda items: items[1:],
    "all are kept back": lambda items: [],
    "one is told twice for another": lambda items: [*items[:3], items[2], items[4]],
    "one is invented": lambda items: [*items[:4], {**items[4], "id": "ab" * 32}],
    "one is inserted": lambda items: [{**items[0], "id": "ab" * 32}, *items],
    "two are exchanged": lambda items: [items[1], items[0], *items[2:]],
    "one is said to be of another transaction": lambda items: [
        *items[:4],
        {**items[4], "transaction": items[3]["transaction"]},
    ],
    "the numbers are others": lambda items: [{**one, "number": 7} for one in items],
}


@pytest.mark.parametrize("lie", _LIES)
@pytest.mark.parametrize("words", [(), ("--all",)])
def test_a_list_that_the_record_does_not_count_is_false(
    lists: Lister, policy: Path, node: Node, lie: str, words: tuple[str, ...]
) -> None:
    node.items = _LIES[lie](node.items)
    told = lists("--policy", str(policy), *words, "--json", expect=1)
    assert told["error"]["code"] == "uses_false"
    assert "counts 5 uses" in told["error"]["message"]


_NO_LISTS: dict[str, Callable[[list[Any]], list[Any]]] = {
    "an id is none": lambda items: [*items[:4], {**items[4], "id": "xyz"}],
    "an id is a number": lambda items: [*items[:4], {**items[4], "id": 5}],
    "an item is none": lambda items: [*items[:4], "use"],
    "an id is missing": lambda items: [*items[:4], {"transaction": "00" * 32}],
}


@pytest.mark.parametrize("answer", _NO_LISTS)
def test_an_answer_that_no_node_gives_is_no_list_and_says_nothing_of_the_license(
    lists: Lister, policy: Path, node: Node, answer: str
) -> None:
    node.items = _NO_LISTS[answer](node.items)
    told = lists("--policy", str(policy), "--json", expect=3)
    assert told["error"]["code"] == "unreachable"
    assert "is no Mulu node" in told["error"]["message"]


def test_a_node_that_tells_no_transactions_establishes_nothing(
    lists: Lister, policy: Path, node: Node
) -> None:
    for item in node.items:
        del item["transaction"]
    assert lists("--policy", str(policy), "--json", expect=3)["error"]["code"] == "no_evidence"
