"""`mulu audit follow` against one node that need not be honest: each outcome, and what stays in the file."""

from __future__ import annotations

import base64
import errno
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from cli.output_files import write_output
from ledger.bundle import ValidatorChange
from ledger.checkpoints import SignedCheckpoint
from ledger.merkle import verify_consistency
from ledger.notes import decode_base64
from ledger.policy import AsOf, Policy
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.tiles import Tile, encode_entries
from tests.cli.stand_in import serving
from tests.ledger.sample_chain import FOUNDERS, Member, SampleChain

NEWCOMERS = (*FOUNDERS[:3], Member("xiongan"))


def now_s() -> int:
    return time.time_ns() // 1_000_000_000


@dataclass
class Node:
    """A node that serves what a chain's log holds, or what a test puts in the place of that."""

    chain: SampleChain
    url: str = ""
    checkpoint_s: int | None = None
    changes: list[ValidatorChange] = field(default_factory=list)
    instead: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> bytes | None:
        self.asked.append(path)
        path, _, query = path.partition("?")
        if path in self.instead:
            return self.instead[path]
        if path == "/checkpoint":
            return self.chain.checkpoint(self.checkpoint_s or now_s()).encode()
        if path == "/v1/validators/changes":
            since = int(query.removeprefix("since="))
            newer = [
                base64.b64encode(change.encode()).decode()
                for change in self.changes
                if change.block.checkpoint.checkpoint.size > since
            ]
            return json.dumps({"since": since, "changes": newer}).encode()
        tile = Tile.parse(path.lstrip("/"))
        if tile.level is None:
            first = tile.index * 256
            return encode_entries(self.chain.entries[first : first + tile.width])
        content = self.chain.tiles.get((tile.level, tile.index), b"")[: 32 * tile.width]
        return content if len(content) == 32 * tile.width else None


@pytest.fixture
def node() -> Iterator[Node]:
    served = Node(grown(400))

    def answer(path: str) -> tuple[int, bytes]:
        body = served.answer(path)
        return (404, json.dumps({"code": "no_such_tile"}).encode()) if body is None else (200, body)

    with serving(answer) as served.url:
        yield served


def grown(size: int, *, differs_at: int | None = None) -> SampleChain:
    """Return a chain whose log has at least this size; with another transaction at one place if told so."""
    chain = SampleChain()
    while (first := chain.frontier.size) < size:
        numbers = (-1 if at == differs_at else at for at in range(first, first + 40))
        chain.commit(transactions=[b"%d" % number for number in numbers])
    return chain


def policy_of(chain: SampleChain) -> Policy:
    """Return the policy of a chain's validators, obtained just now."""
    policy = chain.policy()
    assert policy.as_of is not None
    as_of = AsOf(now_s(), policy.as_of.size, policy.as_of.validators_hash)
    return replace(policy, as_of=as_of)


@dataclass
class Auditor:
    """Who follows the log, with a file of what was kept."""

    node: Node
    directory: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def kept(self) -> Path:
        return self.directory / "checkpoint.txt"

    @property
    def size(self) -> int:
        return SignedCheckpoint.parse(self.kept.read_bytes()).checkpoint.size

    def trusts(self, policy: Policy) -> None:
        (self.directory / "policy.txt").write_bytes(policy.encode())

    def follows(self, *more: str, expect: int = 0) -> Any:
        """Look once, and return what is told to machines."""
        out = self._run(*more, "--json", expect=expect)
        return json.loads(out)

    def reads(self, *more: str, expect: int = 0) -> str:
        """Look once, and return what is told to people."""
        return " ".join(self._run(*more, expect=expect).split())

    def _run(self, *more: str, expect: int) -> str:
        self.capsys.readouterr()
        policy = str(self.directory / "policy.txt")
        words = ("--node", self.node.url, "--policy", policy, "--kept", str(self.kept))
        code = run(["audit", "follow", *words, *more])
        out, err = self.capsys.readouterr()
        assert code == expect, out + err
        return out

    def files(self) -> set[str]:
        return {path.name for path in self.directory.iterdir()} - {"policy.txt"}


@pytest.fixture
def auditor(
    node: Node,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Auditor:
    monkeypatch.setenv("MULU_HOME", str(tmp_path / "home"))
    for name in ("MULU_NODE", "MULU_KEY", "MULU_POLICY", "MULU_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    auditor = Auditor(node, tmp_path, capsys)
    auditor.trusts(policy_of(node.chain))
    return auditor


def test_the_first_look_keeps_what_a_quorum_has_cosigned_and_says_that_nothing_was_compared(
    auditor: Auditor,
) -> None:
    auditor.node.checkpoint_s = now_s()  # cosigned in the same second when it is asked for again
    told = auditor.follows()
    assert (told["outcome"], told["kept_before"], told["tiles"]) == ("first", None, 0)
    assert len(told["cosigners"]) == 3
    assert auditor.kept.read_bytes() == auditor.node.answer("/checkpoint")
    auditor.kept.unlink()
    assert "Nothing was kept before, so nothing was compared" in auditor.reads()


def test_the_same_checkpoint_replaces_a_kept_one_that_nobody_has_signed(
    auditor: Auditor, node: Node
) -> None:
    auditor.follows()
    kept = auditor.kept.read_bytes()
    signed = SignedCheckpoint.parse(kept)
    strangers = [replace(one, name="x") for one in signed.signatures]
    auditor.kept.write_bytes(replace(signed, signatures=tuple(strangers)).encode())
    assert auditor.follows()["outcome"] == "same"
    policy = policy_of(node.chain)
    assert policy.check(SUITE, SignedCheckpoint.parse(auditor.kept.read_bytes())).satisfied
    again = auditor.kept.read_bytes()
    node.checkpoint_s = now_s() - 60
    assert auditor.follows()["kept_before_cosigners"]
    assert auditor.kept.read_bytes() == again, "what is signed stays"


def test_a_log_that_has_grown_takes_the_kept_one_s_place_and_few_tiles_show_it(
    auditor: Auditor, node: Node
) -> None:
    before = auditor.follows()["checkpoint"]
    node.chain = grown(1_000)
    node.asked.clear()
    told = auditor.follows()
    assert (told["outcome"], told["kept_before"]) == ("extends", before)
    assert auditor.size == node.chain.frontier.size == told["checkpoint"]["size"]
    tiles = [path for path in node.asked if path.startswith("/tile/")]
    assert len(tiles) == told["tiles"] == 3
    node.chain = grown(1_030)
    assert "nothing before was changed" in auditor.reads()
    assert auditor.files() == {"checkpoint.txt"}


def test_all_new_entries_are_read_where_they_are_asked_for(auditor: Auditor, node: Node) -> None:
    assert auditor.follows("--entries")["entries"] == node.chain.frontier.size
    before, node.chain = auditor.size, grown(1_000)
    assert auditor.follows("--entries")["entries"] == auditor.size - before
    assert auditor.follows("--entries")["entries"] == 0
    size, node.chain = auditor.size, grown(1_100)
    entries = node.chain.entries[1_024:]
    path = f"/tile/entries/004.p/{len(entries)}"
    node.instead[path] = encode_entries([*entries[:-1], b"another"])
    told = auditor.follows("--entries", expect=1)
    assert told["error"]["code"] == "proof_false"
    assert auditor.size == size, "what was not verified is not kept"


def test_the_same_checkpoint_is_nothing_new(auditor: Auditor) -> None:
    auditor.follows()
    content = auditor.kept.read_bytes()
    assert auditor.follows()["outcome"] == "same"
    assert "Nothing new" in auditor.reads()
    assert auditor.kept.read_bytes() == content


def test_a_node_that_is_behind_is_not_false_and_the_file_stays(
    auditor: Auditor, node: Node
) -> None:
    auditor.follows()
    content, node.chain = auditor.kept.read_bytes(), grown(100)
    told = auditor.follows(expect=3)
    assert (told["outcome"], told["checkpoint"]["size"]) == ("behind", node.chain.frontier.size)
    assert len(told["kept_before_cosigners"]) == 3
    assert "This node is behind" in auditor.reads(expect=3)
    assert auditor.kept.read_bytes() == content
    assert auditor.files() == {"checkpoint.txt"}


def test_a_kept_size_that_nobody_has_signed_makes_no_node_behind(
    auditor: Auditor, node: Node
) -> None:
    signed = node.chain.checkpoint(now_s())
    altered = replace(signed.checkpoint, size=10**9)
    auditor.kept.write_bytes(replace(signed, checkpoint=altered).encode())
    content = auditor.kept.read_bytes()
    told = auditor.follows(expect=3)
    assert (told["outcome"], told["kept_before_cosigners"]) == ("behind", None)
    text = auditor.reads(expect=3)
    assert "is behind" not in text
    assert "whether that was ever vouched for" in text and "This shows nothing;" in text
    assert auditor.kept.read_bytes() == content


@pytest.mark.parametrize("size", [400, 420, 1_000])
def test_a_fork_is_told_with_who_signed_both_and_its_evidence_is_kept(
    auditor: Auditor, node: Node, size: int
) -> None:
    """Of the same size, or larger: the validators have signed a log in which one transaction is another one."""
    auditor.follows()
    kept = auditor.kept.read_bytes()
    node.chain = grown(size, differs_at=200)
    told = auditor.follows(expect=1)
    assert told["outcome"] == "contradicts"
    assert set(told["kept_before_cosigners"]) & set(told["cosigners"])
    assert auditor.kept.read_bytes() == kept, "the file stays"
    text = auditor.reads(expect=1)
    assert "FORKED" in text and "Who signed both: beijing" in text

    old, proof, new = (Path(path).read_bytes() for path in told["evidence"])
    assert old == kept
    policy = policy_of(node.chain)
    notes = [SignedCheckpoint.parse(note) for note in (old, new)]
    assert all(policy.check(SUITE, note).satisfied for note in notes)
    shown = json.loads(proof)
    root, path = (
        decode_base64(shown["root"]),
        [decode_base64(one) for one in shown["proof"]],
    )
    assert root != notes[0].checkpoint.root
    verify_consistency(
        SUITE, shown["old_size"], shown["new_size"], path, root, notes[1].checkpoint.root
    )

    assert auditor.follows(expect=1)["evidence"] == told["evidence"]
    assert Path(told["evidence"][2]).read_bytes() == new, "what was found first stays"
    assert len(auditor.files()) == 4

    node.chain = grown(size + 100, differs_at=50)
    other = auditor.follows(expect=1)["evidence"]
    old, proof, newer = (Path(path).read_bytes() for path in other)
    assert (old, SignedCheckpoint.parse(newer).checkpoint.root) == (
        kept,
        node.chain.frontier.root(SUITE),
    )
    assert json.loads(proof) != shown, "another fork has its own evidence"
    assert Path(told["evidence"][2]).read_bytes() == new
    assert len(auditor.files()) == 7
    node.chain = grown(1_200)
    assert auditor.follows()["outcome"] == "extends", "another node may have the kept log"


def test_a_fork_is_told_also_where_its_evidence_cannot_be_written(
    auditor: Auditor, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the disk is full, or the directory read-only, must not stand in the place of the fork."""
    auditor.follows()
    node.chain = grown(420, differs_at=200)
    full_from = 0

    def write(path: Path, data: bytes, *, mode: int) -> None:
        if len(auditor.files()) > full_from:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_output(path, data, mode=mode)

    monkeypatch.setattr("cli.following.write_output", write)
    lacking = ["kept", "proof", "new"]
    for full_from in (0, 1, 2):
        told = auditor.follows(expect=1)
        assert told["outcome"] == "contradicts"
        written, unwritten = told["evidence"], told["evidence_not_written"]
        assert [Path(path).suffix[1:] for path in written + unwritten] == lacking
        assert len(written) == full_from
        assert told["evidence_not_written_because"] == "No space left on device"
        text = auditor.reads(expect=1)
        assert "FORKED" in text and "NOT WRITTEN" in text and "No space left on device" in text
        for path in written:
            Path(path).unlink()


def test_a_fork_is_told_also_where_something_else_has_the_place_of_its_evidence(
    auditor: Auditor, node: Node
) -> None:
    auditor.follows()
    node.chain = grown(420, differs_at=200)
    evidence = [Path(path) for path in auditor.follows(expect=1)["evidence"]]
    for path in evidence:
        path.unlink()
    evidence[1].mkdir()
    told = auditor.follows(expect=1)
    assert told["evidence"] == [str(evidence[0])]
    assert told["evidence_not_written"] == [str(path) for path in evidence[1:]]
    assert "is no regular file" in told["evidence_not_written_because"]
    evidence[1].rmdir()
    told = auditor.follows(expect=1)
    assert told["evidence"] == [str(path) for path in evidence] and all(
        path.exists() for path in evidence
    )
    assert (told["evidence_not_written"], told["evidence_not_written_because"]) == ([], None)


def test_a_fork_from_a_file_that_nobody_vouches_for_says_so(auditor: Auditor, node: Node) -> None:
    other = grown(400, differs_at=7)
    stranger = replace(other.checkpoint(), signatures=other.checkpoint().signatures[:1])
    auditor.kept.write_bytes(stranger.encode())
    told = auditor.follows(expect=1)
    assert (told["outcome"], told["kept_before_cosigners"]) == ("contradicts", None)
    text = auditor.reads(expect=1)
    assert "this policy does not say" in text and "FORKED" not in text


def test_false_tiles_are_the_node_s_falsehood_and_no_fork(auditor: Auditor, node: Node) -> None:
    auditor.follows()
    content, size = auditor.kept.read_bytes(), auditor.size
    node.chain = grown(1_000)
    for level, width in ((0, 256), (1, node.chain.frontier.size // 256)):
        part = "" if width == 256 else f".p/{width}"
        path = f"/tile/{level}/{size // 256 ** (level + 1):03}{part}"
        for false in (bytes(32 * width), b"", b"x" * 100):
            node.instead = {path: false}
            told = auditor.follows(expect=1)
            assert told["error"]["code"] == "proof_false", path
    assert auditor.kept.read_bytes() == content
    assert auditor.files() == {"checkpoint.txt"}


@pytest.mark.parametrize(
    ("path", "content", "code", "exit_code"),
    [
        ("/checkpoint", b"nothing", "proof_false", 1),
        ("/checkpoint", b"x" * 100_000, "unreachable", 3),
        ("/v1/validators/changes", b"{}", "unreachable", 3),
        ("/v1/validators/changes", b"[1]", "unreachable", 3),
        ("/v1/validators/changes", b'{"changes": [5]}', "unreachable", 3),
        ("/v1/validators/changes", b'{"changes": ["AAAA"]}', "proof_false", 1),
    ],
)
def test_what_is_no_answer_is_refused_and_the_file_stays(
    auditor: Auditor, node: Node, path: str, content: bytes, code: str, exit_code: int
) -> None:
    auditor.follows()
    kept = auditor.kept.read_bytes()
    node.instead[path] = content
    assert auditor.follows(expect=exit_code)["error"]["code"] == code
    assert auditor.kept.read_bytes() == kept


def test_a_checkpoint_without_a_quorum_or_of_another_network_is_not_kept(
    auditor: Auditor, node: Node
) -> None:
    signed = node.chain.checkpoint(now_s())
    node.instead["/checkpoint"] = replace(signed, signatures=signed.signatures[:3]).encode()
    assert auditor.follows(expect=3)["error"]["code"] == "no_quorum"
    other = replace(signed.checkpoint, origin="another")
    node.instead["/checkpoint"] = replace(signed, checkpoint=other).encode()
    assert auditor.follows(expect=3)["error"]["code"] == "other_network"
    assert auditor.files() == set()


def test_an_old_checkpoint_is_kept_and_said_to_be_old_and_an_old_policy_establishes_nothing(
    auditor: Auditor, node: Node
) -> None:
    node.checkpoint_s = now_s() - 7_200
    assert auditor.follows(expect=3)["error"]["code"] == "stale"
    assert auditor.size == node.chain.frontier.size
    assert auditor.follows("--fresh", "8000")["outcome"] == "same"
    auditor.trusts(node.chain.policy())  # of 2025
    auditor.kept.unlink()
    assert auditor.follows(expect=3)["error"]["code"] == "anchor_too_old"
    assert not auditor.kept.exists()


def test_changes_of_validators_are_followed_from_the_policy_on(
    auditor: Auditor, node: Node
) -> None:
    auditor.follows()
    strangers = (Member("a"), Member("b"), Member("c"), FOUNDERS[0])
    for members in (NEWCOMERS, strangers):
        node.chain.commit(next_members=members, transactions=[b"change"])
        node.changes.append(node.chain.change_evidence())
        node.chain.commit(transactions=[b"after it"])
    told = auditor.follows()
    assert (told["outcome"], {*told["cosigners"]} <= {"a", "b", "c", "beijing"}) == (
        "extends",
        True,
    )

    forked = grown(400, differs_at=3)
    for members in (NEWCOMERS, strangers):
        forked.commit(next_members=members, transactions=[b"change"])
        forked.commit(transactions=[b"after it"])
    node.chain = forked
    assert auditor.follows(expect=1)["kept_before_cosigners"], "by the set that it is of"
    node.changes.clear()
    assert auditor.follows(expect=3)["error"]["code"] == "no_quorum"


def test_changes_that_come_again_and_again_are_asked_for_twice(
    auditor: Auditor, node: Node
) -> None:
    node.chain.commit(next_members=NEWCOMERS, transactions=[b"change"])
    change = base64.b64encode(node.chain.change_evidence().encode()).decode()
    node.chain.commit(transactions=[b"after it"])
    node.instead["/v1/validators/changes"] = json.dumps({"changes": [change]}).encode()
    assert auditor.follows(expect=1)["error"]["code"] == "proof_false"
    assert sum("changes" in path for path in node.asked) == 2


def test_a_change_that_is_newer_than_the_checkpoint_is_not_followed_yet(
    auditor: Auditor, node: Node
) -> None:
    signed = node.chain.checkpoint(now_s())
    node.chain.commit(next_members=NEWCOMERS, transactions=[b"change"])
    node.changes.append(node.chain.change_evidence())
    node.instead["/checkpoint"] = signed.encode()
    assert auditor.follows()["outcome"] == "first"
    node.instead.clear()
    assert auditor.follows()["outcome"] == "extends", "the old set cosigns the change itself"


def test_a_file_that_holds_something_else_is_wrong_input_and_stays(
    auditor: Auditor, node: Node
) -> None:
    other = replace(node.chain.checkpoint().checkpoint, origin="another")
    of_another = replace(node.chain.checkpoint(), checkpoint=other).encode()
    for content, said in ((b"precious", "not a checkpoint"), (of_another, "'another'")):
        auditor.kept.write_bytes(content)
        assert said in auditor.follows(expect=2)["error"]["message"]
        assert auditor.kept.read_bytes() == content
    auditor.kept.unlink()
    auditor.kept.mkdir()
    assert "Is a directory" in auditor.follows(expect=2)["error"]["message"]


def test_a_tile_that_the_node_does_not_give_establishes_nothing(
    auditor: Auditor, node: Node
) -> None:
    auditor.follows()
    node.chain = grown(1_000)
    node.chain.tiles.pop((0, 1))
    assert auditor.follows(expect=3)["error"]["code"] == "no_such_tile"
