"""A fifth jurisdiction joins a running network: proposed, approved, caught up, voting; and is proved to belong."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.following import look
from consensus.tendermint.last_sign import create_last_sign
from ledger.bundle import Bundle, ValidatorChange
from ledger.codec import Value
from ledger.files import replace_file
from ledger.keyfile import save_key
from ledger.keys import SoftwareSigner
from ledger.light import TrustedView
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519 as SUITE
from node.config import format_config, load_config
from node.home import Home
from node.signing_guard import create_checkpoint_guard
from tests.node.cluster import Cluster, eventually, new_instrument


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "home", without=("xiongan",)) as cluster:
        yield cluster


def make_validator(cluster: Cluster, name: str) -> tuple[SoftwareSigner, ...]:
    """Turn a query node's home into a validator's; return its three keys."""
    home = Home(cluster.network.node_home(cluster.network.node(name)))
    config = load_config(home.config).model_copy(update={"role": "validator"})
    replace_file(home.config, format_config(config).encode())
    keys = tuple(SoftwareSigner.generate() for _ in range(3))
    for path, key in zip((home.consensus_key, home.log_key, home.witness_key), keys, strict=True):
        save_key(path, key, "")
    create_last_sign(home.last_sign, cluster.network.chain_id)
    create_checkpoint_guard(home.checkpoint_guard)
    return keys


def test_a_new_validator_joins_votes_and_is_proved(cluster: Cluster) -> None:
    consensus, log, witness = make_validator(cluster, "xiongan")
    body: dict[str, Value] = {
        "action": "admit",
        "name": "xiongan",
        "consensus_key": str(consensus.public_key),
        "log_key": str(log.public_key),
        "witness_key": str(witness.public_key),
    }
    proposed = cluster.submit("beijing", "xiongan-governor", ("ledger.validator.propose", body))
    assert proposed.status == "committed", proposed
    approval: dict[str, Value] = {"proposal": f"{proposed.id}-0"}
    for governor in ("beijing-governor", "hebei-governor", "tianjin-governor"):
        result = cluster.submit("hebei", governor, ("ledger.validator.approve", approval))
        assert result.status == "committed", result
    with cluster.client("beijing") as beijing:
        eventually(lambda: beijing.network().total == 5)
        assert beijing.network().online == 4
        cluster.start("xiongan")
        eventually(lambda: beijing.network().online == 5)
        with cluster.client("xiongan") as xiongan:
            eventually(lambda: xiongan.network().height == beijing.network().height)
        # Four of five are a quorum: with one gone, the new one's vote decides.
        cluster.stop("hebei")
        result = cluster.submit("national", "tongzhou-editor", new_instrument())
        assert result.status == "committed", result
    _check_evidence(cluster, result.id)


def _check_evidence(cluster: Cluster, transaction_id: str) -> None:
    """The policy of genesis must be enough to verify what the new set has signed."""
    policy = Policy.parse(SUITE, (cluster.network.directory / "policy.txt").read_bytes())
    with cluster.client("xiongan", "national-auditor") as auditor:
        bundle = Bundle.decode(SUITE, auditor.transaction_evidence(transaction_id))
        answer = auditor.validator_changes()
    changes = [ValidatorChange.decode(base64.b64decode(one)) for one in answer["changes"]]
    assert [len(change.validators) for change in changes] == [5]
    view = TrustedView(SUITE, policy)
    for change in changes:
        view.advance(change)
    assert view.verify_bundle(replace(bundle, changes=())).entries
    assert TrustedView(SUITE, policy).verify_bundle(bundle).entries
    kept = cluster.network.directory / "checkpoint.txt"
    with cluster.client("xiongan", "national-auditor") as auditor:
        found = look(auditor, TrustedView(SUITE, policy), kept, with_entries=True)
        assert (found.outcome, found.entries) == ("first", found.verified.checkpoint.size)
