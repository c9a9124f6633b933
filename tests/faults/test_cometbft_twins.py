"""One validator's key in two places, with CometBFT: it is convicted on the ledger and leaves, the others go on."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.network_setup import create_network, free_ports
from consensus.cometbft import layout
from ledger.errors import LedgerError
from ledger.keys import SoftwareSigner
from node.config import ConsensusConfig, format_config, load_config
from node.home import Home
from tests.node.cometbft.engine import needs_cometbft
from tests.node.cometbft.proofs import convicted, verify_from_genesis
from tests.node.processes import Processes, eventually

pytestmark = needs_cometbft

RECOVERY_S = 150.0
NAMES = ("beijing", "hebei", "national", "tianjin", "xiongan")
CULPRIT = "hebei"
CORRECT = tuple(name for name in NAMES if name != CULPRIT)
TWIN = "twin"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Five validators, so that four remain."""
    network = create_network(
        tmp_path / "home",
        validators=NAMES,
        query_nodes=(),
        consensus=ConsensusConfig(engine="cometbft"),
    )
    started = Processes(network)
    try:
        started.start(*NAMES)
        started.await_ready(*NAMES, timeout_s=RECOVERY_S)
        yield started
    finally:
        started.close()


def make_twin(processes: Processes) -> None:
    """Stop a validator, copy its home with all keys, and start both: the same key in two places."""
    assert processes.stop(CULPRIT) == 0
    home = processes.home(CULPRIT)
    twin = home.parent / TWIN
    shutil.copytree(home, twin)
    peers, api, engine = free_ports(3)
    config = load_config(Home(twin).config)
    changed = config.model_copy(
        update={
            "peers": config.peers.model_copy(update={"listen_port": peers, "addresses": ()}),
            "api": config.api.model_copy(update={"listen_port": api}),
        }
    )
    Home(twin).config.write_text(format_config(changed), "utf-8")
    settings = twin / "cometbft" / "config"
    text = (settings / "config.toml").read_text("utf-8")
    text = re.sub(r'laddr = "tcp://[^"]+"', f'laddr = "tcp://127.0.0.1:{engine}"', text)
    (settings / "config.toml").write_text(text, "utf-8")
    key = layout.node_key_json(SoftwareSigner.generate())
    (settings / "node_key.json").write_text(key, "ascii")
    processes.start(CULPRIT)
    processes.start_home(TWIN, twin)


def load_until_convicted(processes: Processes) -> None:
    """Submit through all until the culprit is no validator any more."""

    def removed() -> bool:
        for name in CORRECT:
            sent = [one.raw for one in processes.transactions(5)]
            with processes.client(name) as client:
                try:
                    client.submit(sent, wait="none")
                except LedgerError:
                    continue
        with processes.client("beijing") as beijing:
            return CULPRIT not in {one.name for one in beijing.network().validators}

    eventually(removed, 150.0)


@pytest.mark.row("equivocating proposer, double votes, forged evidence, amnesia")
@pytest.mark.faults
@pytest.mark.timeout(500)
def test_a_key_that_signs_in_two_places_is_convicted_and_leaves_and_the_others_go_on(
    processes: Processes, injected: Counter[str]
) -> None:
    make_twin(processes)
    injected["a key in two places"] += 1
    load_until_convicted(processes)
    [sent] = processes.transactions(1)
    with processes.client("xiongan") as client:
        [result] = client.submit([sent.raw], wait="proven", timeout_s=60)
    assert result.status == "committed"
    assert verify_from_genesis(processes, result.id) == [4]
    for name in CORRECT:
        assert processes.stop(name) == 0
        offences = convicted(processes, name)
        # Once or more: until it has left, it may sign twice in further rounds.
        assert {(one.kind, one.validator) for one in offences} == {("duplicate_vote", CULPRIT)}
