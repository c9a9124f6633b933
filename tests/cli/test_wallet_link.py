"""A wallet and its node, where a license has more uses than the node shows at once."""

from __future__ import annotations

import base64
import json
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from cli.output import CommandError
from cli.wallet_answers import await_disclosure
from cli.wallet_link import WalletLink
from ledger.bundle import ValidatorChange
from ledger.policy import Policy
from licenses.holding import WalletError
from licenses.wallet import Wallet
from node.client import NodeClient
from tests.cli.stand_in import serving
from tests.ledger.sample_chain import CHAIN_ID
from tests.licenses.story import Story, ready_story
from tests.licenses.wallet_story import STRANGERS, change_validators, put_license, young_policy

PAGE = 2


@dataclass
class Library:
    """A node that has the uses of one license and their evidence; `hidden` ones are told later.

    It shows the newest checkpoint, and `changes` of validators.
    """

    story: Story
    url: str = ""
    hidden: set[str] = field(default_factory=set)
    changes: list[ValidatorChange] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        where, _, query = path.partition("?")
        uses = [use_id.hex() for use_id, _ in self.story.uses]
        if where == "/v1/wallet/uses":
            asked = dict(urllib.parse.parse_qsl(query))
            first, limit = int(asked.get("cursor", 0)), int(asked["limit"])
            shown = [{"id": use} for use in uses[first : first + limit] if use not in self.hidden]
            cursor = str(first + limit) if first + limit <= len(uses) else None
            return 200, json.dumps({"items": shown, "cursor": cursor, "count": len(uses)}).encode()
        if where == "/checkpoint":
            return 200, self.story.chain.checkpoint(int(time.time())).encode()
        if where == "/v1/validators/changes":
            since = int(query.removeprefix("since="))
            newer = [
                base64.b64encode(each.encode()).decode()
                for each in self.changes
                if each.block.checkpoint.checkpoint.size > since
            ]
            return 200, json.dumps({"since": since, "changes": newer}).encode()
        use = where.rpartition("/")[2]
        if where == f"/v1/evidence/uses/{use}" and use in uses:
            return 200, self.story.use_bundle(bytes.fromhex(use))
        return 404, b'{"title": "Not found", "code": "use_unknown"}'

    def questions(self) -> list[str]:
        """Return what was asked since the last call."""
        asked, self.asked = self.asked, []
        return asked


@pytest.fixture
def library() -> Iterator[Library]:
    library = Library(ready_story())
    with serving(library.answer) as library.url:
        yield library


def validators_of(policy: Policy) -> bytes:
    assert policy.as_of is not None
    return policy.as_of.validators_hash


@pytest.fixture
def link(library: Library, tmp_path: Path) -> Iterator[WalletLink]:
    home = tmp_path / "wallet"
    wallet = Wallet.create(
        home,
        "",
        chain_id=CHAIN_ID,
        policy=young_policy(library.story).encode(),
        now_ms=library.story.time_ms,
    )
    put_license(library.story, wallet)
    with WalletLink(wallet, NodeClient(library.url), page=PAGE) as link:
        yield link


def use(library: Library, link: WalletLink) -> bytes:
    """Consent to a request and record its use; return the use's id."""
    envelope = library.story.request()
    consent = link.wallet.consent(envelope, now_ms=library.story.time_ms)
    library.story.record(envelope, consent=consent)
    return library.story.last_use


def test_every_use_is_seen_however_many_pages_they_fill(library: Library, link: WalletLink) -> None:
    made = [use(library, link) for _ in range(2 * PAGE + 1)]
    assert [receipt.use_id for receipt in link.new_uses()] == made
    library.questions()
    assert list(link.new_uses()) == []
    (asked,) = library.questions()
    assert "cursor=4" in asked, "what has been seen is not asked for again"
    last = use(library, link)
    assert [receipt.use_id for receipt in link.new_uses()] == [last]
    later_ms = library.story.time_ms + 2 * 86_400_000
    assert link.wallet.remove_receipts(link.wallet.receipts(), now_ms=later_ms) == 2 * PAGE + 2
    again = WalletLink(link.wallet, link.client, page=PAGE)
    assert list(again.new_uses()) == [], "receipts that were exported and removed do not come back"


def test_a_use_that_is_told_late_is_seen_among_later_ones(
    library: Library, link: WalletLink
) -> None:
    made = [use(library, link) for _ in range(2 * PAGE + 1)]
    library.hidden = {made[0].hex()}
    assert [receipt.use_id for receipt in link.new_uses()] == made[1:]
    assert list(link.new_uses()) == []
    library.hidden = set()
    assert [receipt.use_id for receipt in link.new_uses()] == made[:1]


def test_the_use_that_is_waited_for_is_asked_for_by_its_id(
    library: Library, link: WalletLink
) -> None:
    for _ in range(2 * PAGE):
        use(library, link)
    awaited = use(library, link)
    assert await_disclosure(link, awaited, timeout_s=0)
    assert library.questions() == [f"/v1/evidence/uses/{awaited.hex()}"]


def test_a_use_that_is_not_recorded_is_waited_for_in_vain(
    library: Library, link: WalletLink
) -> None:
    envelope = library.story.request()
    signed = link.wallet.consent(envelope, now_ms=library.story.time_ms)
    use_id = signed.consent.use_id(link.wallet.suite)
    with pytest.raises(CommandError, check=lambda error: error.code == "not_recorded"):
        await_disclosure(link, use_id, timeout_s=0)
    with pytest.raises(WalletError, check=lambda error: error.code == "wallet.not_consented"):
        await_disclosure(link, bytes(32), timeout_s=0)


def test_a_policy_is_renewed_by_what_the_node_shows(library: Library, link: WalletLink) -> None:
    library.changes = [change_validators(library.story)]
    renewed = link.renew_policy()
    assert replace(renewed, as_of=None) == replace(library.story.chain.policy(), as_of=None)
    assert renewed == link.wallet.policy()
    assert use(library, link) in [receipt.use_id for receipt in link.new_uses()]


@pytest.mark.parametrize("shown", [True, False])
def test_a_policy_renewed_at_a_change_s_own_checkpoint_is_renewed_through_the_change_next(
    library: Library, link: WalletLink, shown: bool
) -> None:
    """The old set cosigns that checkpoint: the anchor then has the change's size, and is of the old set."""
    chain, before = library.story.chain, validators_of(link.wallet.policy())
    chain.commit({"ledger/note/0": 1}, next_members=STRANGERS)
    change = chain.change_evidence()
    library.changes = [change] if shown else []
    assert validators_of(link.renew_policy()) == before
    chain.commit({"ledger/note/1": 1})
    library.changes = [change]
    for _ in range(2):
        assert validators_of(link.renew_policy()) == validators_of(chain.policy()) != before


def test_the_command_renews_a_policy_and_takes_another(
    library: Library, link: WalletLink, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ("--wallet", str(link.wallet.home), "--json")

    def told(*words: str, expect: int = 0) -> dict[str, Any]:
        assert run(["wallet", "policy", *words, *home]) == expect
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    founders = told()["validators"]
    old = tmp_path / "old.txt"
    old.write_bytes(link.wallet.policy().encode())
    library.changes = [change_validators(library.story)]
    renewed = told("--renew", "--node", library.url)
    assert set(renewed["validators"]) == {member.name for member in STRANGERS} != set(founders)
    assert renewed["age_days"] == 0
    refused = told("--replace", str(old), expect=2)
    assert refused["error"]["code"] == "wallet.policy_older"
    library.story.chain.commit({"ledger/note/2": 1})
    new = tmp_path / "new.txt"
    new.write_bytes(young_policy(library.story).encode())
    assert told("--replace", str(new))["validators"] == renewed["validators"]
    assert link.wallet.policy() == Policy.parse(link.wallet.suite, new.read_bytes())


def test_no_wallet_is_set_up_under_a_policy_that_proves_nothing_now(
    library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, home = tmp_path / "policy.txt", tmp_path / "new"
    words = ("wallet", "init", "--policy", str(policy), "--node", library.url, "--unprotected")
    old = library.story.chain.policy()
    for given, code, expect in (
        (replace(old, as_of=None), "wallet.bad_policy", 2),
        (old, "anchor_too_old", 3),
    ):
        policy.write_bytes(given.encode())
        assert run([*words, "--wallet", str(home), "--json"]) == expect
        assert json.loads(capsys.readouterr().out)["error"]["code"] == code
        assert not home.exists()
    policy.write_bytes(young_policy(library.story).encode())
    assert run([*words, "--wallet", str(home), "--json"]) == 0
