"""A database edited by hand, checksums and all: fsck names the row, and no node serves a wrong proof of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import plyvel
import pytest
from typer.testing import CliRunner

from cli.node import app
from ledger import keyspace
from ledger.bundle import Bundle
from ledger.light import TrustedView
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Transaction
from node.client import NodeClient
from node.errors import ApiProblem, NodeUnreachable
from tests.faults.network import FaultyNetwork, faulty_network
from tests.node.processes import TONGZHOU, eventually

VICTIM = "hebei"

pytestmark = pytest.mark.row("torn tail / damage in the middle / cut MANIFEST / missing table")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyNetwork]:
    """Four validators."""
    with faulty_network(tmp_path_factory.mktemp("edited")) as started:
        yield started


def edit_value(database: Any, sent: Transaction, index: int) -> None:
    """Give a record the value of another one."""
    key, other = (keyspace.value(state_key(one)) for one in (sent, None))
    assert database.get(key) != database.get(other)
    database.put(key, database.get(other))


def edit_page(database: Any, sent: Transaction, index: int) -> None:
    """Put another page of the state tree in the place of the root's."""
    rows = database.iterator(prefix=keyspace.PAGES)
    (root, _), *_, (_, other) = rows
    database.put(root, other)


def edit_entry(database: Any, sent: Transaction, index: int) -> None:
    """Put another entry in the place of the transaction's."""
    database.put(keyspace.entry(index), database.get(keyspace.entry(index - 1)))


def edit_tile(database: Any, sent: Transaction, index: int) -> None:
    """Change the hash of the entry before, with which the transaction is proved."""
    key = keyspace.tile(0, index // 256)
    content = bytearray(database.get(key))
    content[(index % 256 ^ 1) * 32] ^= 1
    database.put(key, bytes(content))


def edit_transaction_index(database: Any, sent: Transaction, index: int) -> None:
    """Let a transaction's id lead to another one."""
    other = next(
        value
        for _, value in database.iterator(prefix=keyspace.TRANSACTIONS)
        if value != database.get(keyspace.transaction(sent.id))
    )
    database.put(keyspace.transaction(sent.id), other)


def state_key(sent: Transaction | None) -> str:
    """Return the key of the record that a transaction makes; None: of an organisation."""
    if sent is None:
        return f"ledger/organisation/{TONGZHOU}"
    return f"directory/instrument/{sent.operations[0].body['id']}"


Edit = Callable[[Any, Transaction, int], None]


@pytest.mark.parametrize(
    ("edit", "names", "asked"),
    [
        (edit_value, "state value", True),
        pytest.param(edit_value, "state value", False, marks=pytest.mark.faults),
        pytest.param(edit_page, "state page", True, marks=pytest.mark.faults),
        pytest.param(edit_entry, "height", False, marks=pytest.mark.faults),
        pytest.param(edit_entry, "height", True, marks=pytest.mark.faults),
        pytest.param(edit_tile, "tile", True, marks=pytest.mark.faults),
        pytest.param(edit_transaction_index, "transaction", True, marks=pytest.mark.faults),
    ],
)
def test_a_row_edited_by_hand_is_named_by_fsck_and_never_served_as_proved(
    network: FaultyNetwork, injected: Counter[str], edit: Edit, names: str, asked: bool
) -> None:
    sent = [network.commit_one("beijing") for _ in range(3)][-1]
    with network.client(VICTIM, "national-auditor") as victim:
        eventually(lambda: victim.transaction(sent.id.hex(), wait_s=10).status == "committed")
        index = victim.transaction(sent.id.hex()).index
        assert index is not None
    assert network.stop(VICTIM) == 0
    home = network.home(VICTIM)
    database = plyvel.DB(str(home / "data" / "ledger" / "db"))
    edit(database, sent, index)
    database.close()
    injected[edit.__name__] += 1
    found = CliRunner().invoke(app, ["fsck", str(home), "--json"])
    assert found.exit_code == 1, found.output
    assert any(one["where"].startswith(names) for one in json.loads(found.output)["problems"])
    network.start(VICTIM)
    policy = Policy.parse(SUITE, (network.network.directory / "policy.txt").read_bytes())
    with network.client(VICTIM, "national-auditor") as victim:
        eventually(lambda: is_whole_again(victim, sent if asked else None, policy), 60.0)
        network.await_ready(VICTIM)
        eventually(lambda: victim.network().checkpoint_size > index)
        ask(victim, sent, policy)


def ask(victim: NodeClient, sent: Transaction, policy: Policy) -> None:
    """Fetch all that proves a transaction and its effect, and verify it."""
    for evidence in (
        victim.transaction_evidence(sent.id.hex()),
        victim.state_evidence(state_key(sent)),
    ):
        TrustedView(SUITE, policy).verify_bundle(Bundle.decode(SUITE, evidence))
    assert victim.transaction(sent.id.hex()).entry is not None


def is_whole_again(victim: NodeClient, asked: Transaction | None, policy: Policy) -> bool:
    """Tell whether the node has started anew, saying why; ask it meanwhile, and let a wrong answer be a failure."""
    try:
        if "fetched anew" in (victim.network().damage or ""):
            return True
        if asked is not None:
            ask(victim, asked, policy)
    except (ApiProblem, NodeUnreachable):
        pass  # it refuses, or starts
    return False


@pytest.mark.faults
def test_after_all_edits_every_invariant_holds(
    network: FaultyNetwork, injected: Counter[str]
) -> None:
    network.kill(VICTIM)
    injected["kill -9"] += 1
    network.start(VICTIM)
    network.await_ready(VICTIM)
    network.check()
