"""A fifth jurisdiction joins a running network with CometBFT: laid out, proposed, approved, voting, proved."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import node as node_commands
from cli.network_setup import create_network
from ledger.codec import Value
from ledger.keyfile import load_key
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Operation, sign_transaction
from node.answers import SubmissionResult
from node.config import ConsensusConfig, load_config
from node.home import Home
from tests.node.cometbft.engine import needs_cometbft
from tests.node.cometbft.proofs import verify_from_genesis
from tests.node.processes import Processes, eventually

pytestmark = needs_cometbft

RECOVERY_S = 150.0
NEW = "xiongan"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    network = create_network(
        tmp_path / "home", consensus=ConsensusConfig(engine="cometbft"), query_nodes=(NEW,)
    )
    started = Processes(network)
    try:
        names = [place.name for place in network.validators]
        started.start(*names)
        started.await_ready(*names, timeout_s=RECOVERY_S)
        yield started
    finally:
        started.close()


def submit(
    processes: Processes, profile: str, kind: str, body: dict[str, Value]
) -> SubmissionResult:
    signer = load_key(processes.network.directory / "keys" / f"{profile}.key", "")
    transaction = sign_transaction(
        SUITE,
        signer,
        processes.network.chain_id,
        [Operation(kind, body)],
        valid_until_ms=time.time_ns() // 1_000_000 + 600_000,
        nonce=os.urandom(16),
    )
    with processes.client("beijing") as client:
        [result] = client.submit([transaction.raw], wait="proven", timeout_s=60)
    assert result.status == "committed", result
    return result


def lay_out_new_validator(processes: Processes) -> dict[str, str]:
    """Have `mulu node init` make the home of a validator that joins; return what it prints."""
    directory, home = processes.network.directory, processes.home(NEW)
    old = load_config(Home(home).config)
    shutil.rmtree(home)
    words = ["init", str(home), "--name", NEW, "--validator", "--engine", "cometbft"]
    words += ["--genesis", str(directory / "genesis.json"), "--policy", str(directory / "policy.txt")]  # fmt: skip
    words += ["--authority", str(directory / "authorities" / f"{NEW}.pem")]
    words += ["--api-port", str(old.api.listen_port), "--peer-port", str(old.peers.listen_port)]
    for peer in old.peers.addresses:
        words += ["--peer", f"{peer.name}={peer.host}:{peer.port}"]
        with processes.client(peer.name) as client:
            address = client.network().engine.address
        assert address is not None
        words += ["--engine-peer", address]
    done = CliRunner().invoke(node_commands.app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    return {
        key: re.search(rf'"{key}": "([^"]+)"', done.stdout)[1]  # type: ignore[index]
        for key in ("consensus_key", "log_key", "witness_key", "engine")
    }


def admit(processes: Processes, keys: dict[str, str]) -> None:
    body: dict[str, Value] = {
        "action": "admit",
        "name": NEW,
        **{key: value for key, value in keys.items() if key.endswith("_key")},
    }
    proposed = submit(processes, f"{NEW}-governor", "ledger.validator.propose", body)
    approval: dict[str, Value] = {"proposal": f"{proposed.id}-0"}
    for governor in ("beijing-governor", "hebei-governor", "tianjin-governor"):
        submit(processes, governor, "ledger.validator.approve", approval)


def test_a_validator_joins_as_people_do_it_votes_and_is_proved_to_belong(
    processes: Processes,
) -> None:
    keys = lay_out_new_validator(processes)
    admit(processes, keys)
    processes.start(NEW)
    processes.await_ready(NEW, timeout_s=RECOVERY_S)
    with processes.client("beijing") as beijing, processes.client(NEW) as new:
        eventually(lambda: beijing.network().total == 5)
        eventually(lambda: new.network().raw["voting"], RECOVERY_S)
    # Four of five are a quorum: with one gone, the new one's vote decides.
    assert processes.stop("national") == 0
    publish = processes.transactions(1)
    with processes.client(NEW) as new:
        [result] = new.submit([publish[0].raw], wait="proven", timeout_s=60)
    assert result.status == "committed"
    assert verify_from_genesis(processes, result.id) == [5]
