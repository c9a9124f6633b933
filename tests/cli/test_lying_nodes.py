"""A node that lies, or a program that has its port, ends no command in anything but one error: exit code 3."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.main import run
from ledger.keyfile import save_key
from ledger.keys import SoftwareSigner
from licenses.wallet import Wallet
from node.answers import MAX_ANSWER_BYTES
from node.client import NodeClient
from node.errors import NodeUnreachable
from tests.cli.stand_in import NETWORK, ZEROS, serving
from tests.ledger.sample_chain import CHAIN_ID
from tests.licenses.story import ISSUER, ready_story
from tests.licenses.wallet_story import put_license, young_policy


@dataclass(slots=True)
class Liar:
    """Answers everything with the same; of the network the truth, where it `knows_the_network`."""

    url: str
    status: int = 200
    body: bytes = b""
    is_endless: bool = False
    knows_the_network: bool = False


@pytest.fixture(scope="module")
def server() -> Iterator[Liar]:
    liar = Liar("")

    def answer(path: str) -> tuple[int, bytes | Iterable[bytes]]:
        if liar.knows_the_network and path == "/v1/network":
            return 200, json.dumps(NETWORK).encode()
        return liar.status, endless() if liar.is_endless else liar.body

    with serving(answer, posted=lambda path, _: answer(path)) as liar.url:
        yield liar


def endless() -> Iterator[bytes]:
    """Yield spaces for as long as somebody reads them."""
    while True:
        yield b" " * 1_000_000


@pytest.fixture
def liar(server: Liar) -> Liar:
    server.status, server.body = 200, b""
    server.is_endless = server.knows_the_network = False
    return server


@dataclass(frozen=True, slots=True)
class Home:
    """Files for commands: a wallet with a license, a permit, a policy and a key."""

    wallet: str
    permit: str
    policy: str
    key: str


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    directory = tmp_path_factory.mktemp("home")
    story = ready_story()
    policy = young_policy(story).encode()
    wallet = Wallet.create(
        directory / "wallet", "", chain_id=CHAIN_ID, policy=policy, now_ms=story.time_ms
    )
    put_license(story, wallet)
    permit = directory / "permit.json"
    permit.write_text(story.prepare(wallet.offer(ISSUER)).package(), "utf-8")
    (directory / "policy.txt").write_bytes(policy)
    save_key(directory / "a.key", SoftwareSigner.generate("ed25519"), "")
    return Home(
        str(directory / "wallet"),
        str(permit),
        str(directory / "policy.txt"),
        str(directory / "a.key"),
    )


def commands(home: Home, url: str, out: Path) -> dict[str, list[str]]:
    member = ["--node", url, "--key", home.key]
    wallet = ["--node", url, "--wallet", home.wallet]
    return {
        "license verify": ["license", "verify", home.permit, *member, "--policy", home.policy],
        "license status": ["license", "status", ZEROS, *member],
        "license uses": ["license", "uses", ZEROS, *member],
        "license type show": ["license", "type", "show", "11100000MB1A00079T001", *member],
        "wallet receipts": ["wallet", "receipts", "--fetch", *wallet],
        "wallet check": ["wallet", "check", *wallet],
        "wallet code": ["wallet", "code", "--timeout", "1", *wallet],
        "tx show": ["tx", "show", ZEROS, *member],
        "audit trace": ["audit", "trace", ZEROS, *member, "--policy", home.policy],
        "audit bundle": ["audit", "bundle", "--use", ZEROS, "--out", str(out), *member],
        "org list": ["org", "list", *member],
        "org show": ["org", "show", ISSUER, *member],
        "directory list": ["directory", "list", "matter", *member],
        "directory show": ["directory", "show", "matter", "x", *member],
        "directory trace": ["directory", "trace", "matter", "x", *member],
        "directory check": ["directory", "check", *member],
    }


ANSWERS: dict[str, tuple[int, bytes]] = {
    "deep arrays": (200, b"[" * 100_000 + b"]" * 100_000),
    "deep objects": (200, b'{"a":' * 60_000 + b"1" + b"}" * 60_000),
    "a deep refusal": (400, b"[" * 100_000 + b"]" * 100_000),
    "a refusal that is a list": (404, b"[]"),
    "a list": (200, b"[]"),
    "an empty object": (200, b"{}"),
    "null": (200, b"null"),
    "a string": (200, b'"x"'),
    "no number": (200, b"NaN"),
    "a large number": (200, b"9" * 5_000),
    "half a character": (200, b'{"chain_id":"\\ud800","code":"\\ud800"}'),
    "bytes": (200, b"\xff\xfe"),
    "nothing": (200, b""),
    "a page": (200, b"<html>"),
    "fields of other types": (
        200,
        b'{"items":[1,null],"uses":[{}],"licenses":5,"complete":true,"value":7,"findings":4,"id":1}',
    ),
}


def check_all(liar: Liar, home: Home, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run all commands: each ends with exit code 3 and says that it is the node that is wrong."""
    for name, words in commands(home, liar.url, out).items():
        assert run(words) == 3, name
        told = capsys.readouterr()
        assert "Traceback" not in told.err, name
        said = " ".join((told.out + told.err).split())
        assert f"{liar.url} is no Mulu node" in said, name
    assert not out.exists()


@pytest.mark.parametrize("answer", ANSWERS)
def test_whatever_a_node_answers_a_command_says_that_it_is_none(
    answer: str,
    liar: Liar,
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MULU_HOME", str(tmp_path))
    liar.status, liar.body = ANSWERS[answer]
    liar.knows_the_network = True
    check_all(liar, home, tmp_path / "bundle", capsys)


def test_a_node_that_does_not_know_the_network_is_none(
    liar: Liar,
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MULU_HOME", str(tmp_path))
    liar.body = b"{}"
    check_all(liar, home, tmp_path / "bundle", capsys)
    for words in (["network", "status"], ["node", "status"]):
        assert run([*words, "--node", liar.url]) == 3


@pytest.mark.parametrize("status", [200, 500])
def test_no_more_is_read_of_an_answer_than_the_longest_that_a_node_gives(
    liar: Liar, status: int
) -> None:
    liar.is_endless, liar.status = True, status
    with (
        NodeClient(liar.url) as client,
        pytest.raises(
            NodeUnreachable, match=f"HTTP {status} to /v1/policy: more than {MAX_ANSWER_BYTES}"
        ),
    ):
        client.policy()


def test_as_many_results_are_told_as_transactions_were_submitted(liar: Liar) -> None:
    liar.body = b'{"results": []}'
    with (
        NodeClient(liar.url) as client,
        pytest.raises(NodeUnreachable, match="0 results of 1 transactions"),
    ):
        client.submit([b"x"])


@pytest.mark.parametrize("event", ["id: x", 'data: ["x"]', "data: " + "[" * 100_000])
def test_events_that_are_none_end_the_stream_in_an_error_that_names_the_node(
    event: str, liar: Liar
) -> None:
    liar.body = f"{event}\n\n".encode()
    with (
        NodeClient(liar.url) as client,
        pytest.raises(NodeUnreachable, match=f"{liar.url} is no Mulu node"),
    ):
        list(client.events())
