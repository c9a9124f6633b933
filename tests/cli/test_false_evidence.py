"""A node whose evidence is false is told as that, with exit code 1, by whatever command has asked it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from cli.output import CommandError
from cli.window import Case, open_fields
from ledger.bundle import Bundle
from ledger.checkpoints import SignedCheckpoint
from ledger.policy import Policy, policy_for
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.use import SignedConsent
from licenses.wallet import Wallet
from node.client import NodeClient
from tests.cli.stand_in import serving
from tests.ledger.sample_chain import CHAIN_ID, Member
from tests.licenses.story import CENTRE, Story, ready_story, sealing_key_of
from tests.licenses.wallet_story import put_license


def altered(signed: SignedCheckpoint) -> SignedCheckpoint:
    """Return a checkpoint with another root than was signed."""
    return replace(signed, checkpoint=replace(signed.checkpoint, root=bytes(32)))


def falsified(data: bytes) -> bytes:
    """Return a bundle under an altered checkpoint: well formed, and nobody has signed it."""
    bundle = Bundle.decode(SUITE, data)
    checkpoint = altered(bundle.checkpoint)
    entries = [replace(one, checkpoint=checkpoint) for one in bundle.entries]
    states = [
        replace(one, block=replace(one.block, checkpoint=checkpoint)) for one in bundle.states
    ]
    return Bundle.of(bundle.subject, entries=entries, states=states).encode(SUITE)


@dataclass
class World:
    """A wallet with a license, of which two uses are recorded, and a node that gives false evidence of all that."""

    story: Story
    wallet: Wallet
    handle: bytes
    policy: Path
    uses: list[bytes]
    url: str = ""
    lists_uses: bool = True
    falsify: Callable[[bytes], bytes] = falsified

    def answer(self, path: str) -> tuple[int, bytes]:
        where = path.partition("?")[0]
        now_s = int(time.time())
        if where == "/v1/wallet/uses":
            shown = [{"id": use.hex()} for use in self.uses if self.lists_uses]
            return 200, json.dumps({"items": shown, "cursor": None, "count": 2}).encode()
        if where.startswith("/v1/evidence/uses/"):
            use = bytes.fromhex(where.rpartition("/")[2])
            return 200, self.falsify(self.story.use_bundle(use))
        if where == "/v1/validators/changes":
            return 200, b'{"since": 0, "changes": []}'
        if where == "/checkpoint":
            return 200, altered(self.story.chain.checkpoint(now_s)).encode()
        return 200, self.falsify(self.story.license_bundle(self.handle, time_s=now_s))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("MULU_HOME", str(tmp_path))
    for name in ("MULU_NODE", "MULU_KEY", "MULU_POLICY", "MULU_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    story = ready_story()
    trusted = story.chain.policy()
    assert trusted.as_of is not None
    young = replace(trusted, as_of=replace(trusted.as_of, time_s=int(time.time())))
    file = tmp_path / "policy.txt"
    file.write_bytes(young.encode())
    wallet = Wallet.create(
        tmp_path / "wallet",
        "",
        chain_id=CHAIN_ID,
        policy=young.encode(),
        now_ms=int(time.time() * 1000),
    )
    handle = put_license(story, wallet)
    uses = []
    for _ in range(2):
        envelope = story.request()
        story.record(envelope, consent=wallet.consent(envelope, now_ms=story.time_ms))
        uses.append(story.last_use)
    world = World(story, wallet, handle, file, uses)
    with serving(world.answer) as world.url:
        yield world


def commands(world: World, out: Path) -> dict[str, list[str]]:
    member = ["--node", world.url, "--policy", str(world.policy)]
    wallet = ["--node", world.url, "--wallet", str(world.wallet.home)]
    use = world.uses[0].hex()
    return {
        "license uses": ["license", "uses", world.handle.hex(), "--all", *member],
        "audit trace": ["audit", "trace", use, *member],
        "wallet policy": ["wallet", "policy", "--renew", *wallet],
        "wallet receipts": ["wallet", "receipts", "--fetch", *wallet],
        "wallet check": ["wallet", "check", *wallet],
        "wallet disclose": ["wallet", "disclose", use, "--out", str(out), *wallet],
    }


def told(words: list[str], capsys: pytest.CaptureFixture[str], *, expect: int) -> Any:
    capsys.readouterr()
    assert run([*words, "--json"]) == expect, capsys.readouterr()
    return json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize("lists_uses", [True, False])
def test_false_evidence_is_the_node_s_falsehood_and_no_wrong_input(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], lists_uses: bool
) -> None:
    world.lists_uses = lists_uses  # without, `wallet check` goes on to the license
    out = tmp_path / "fields"
    for name, words in commands(world, out).items():
        if name == "wallet receipts" and not lists_uses:
            continue
        error = told(words, capsys, expect=1)
        assert (error["code"], error["hint"]) == ("proof_false", "Ask another node."), name
        assert error["message"].startswith("what the node shows is false: "), name
    assert not out.exists()


def test_evidence_of_another_license_is_false_evidence_of_this_one(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    other = world.story.holder().handle
    world.falsify = lambda _: world.story.license_bundle(other, time_s=int(time.time()))
    words = commands(world, Path("none"))["license uses"]
    error = told(words, capsys, expect=1)
    assert error["code"] == "proof_false"
    assert "says nothing of licenses/license/" in error["message"]


def test_a_policy_file_of_two_networks_is_wrong_input(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = Policy.parse(SUITE, world.policy.read_bytes())
    other = policy_for(SUITE, [Member("x").validator], "another-network").logs
    world.policy.write_bytes(replace(policy, logs=(*policy.logs, *other)).encode())
    error = told(commands(world, Path("none"))["audit trace"], capsys, expect=2)
    assert error["code"] == "bad_input" and "exactly one chain" in error["message"]


def test_what_was_disclosed_for_another_use_is_not_the_node_s_falsehood(world: World) -> None:
    """The evidence is true: who disclosed is who must do it again."""
    world.falsify = lambda data: data
    case, other = (
        world.wallet.disclose(world.story.use_bundle(use), use, now_ms=world.story.time_ms)
        for use in world.uses
    )
    first = world.wallet.read().receipt(world.uses[0])
    assert first is not None and first.consent is not None
    envelope = first.envelope()
    assert envelope is not None
    opened = Case(envelope, "", "", SignedConsent.decode(first.consent))
    policy = Policy.parse(SUITE, world.policy.read_bytes())
    key = sealing_key_of(CENTRE)
    with NodeClient(world.url) as client:
        assert len(open_fields(client, opened, key, policy, case)) == 1
        with pytest.raises(CommandError, match="for another use") as raised:
            open_fields(client, opened, key, policy, other)
    assert (raised.value.code, raised.value.exit_code) == ("disclosure_false", 1)
