"""A validator that is down costs its heights a moment, not the whole of timeoutPropose."""

from __future__ import annotations

from pathlib import Path

from node.config import ConsensusConfig
from tests.node.cluster import Cluster

LONGER_THAN_THE_TEST_MS = 300_000


def test_a_round_does_not_wait_for_a_proposer_without_a_link(tmp_path: Path) -> None:
    consensus = ConsensusConfig(propose_timeout_ms=LONGER_THAN_THE_TEST_MS)
    with Cluster(tmp_path / "home", consensus, without=("xiongan", "tianjin")) as cluster:
        rounds = []
        for _ in range(4):  # each validator's turn comes once, the absent one's too
            assert cluster.publish().status == "committed"
            history = cluster.nodes["beijing"]._application.history
            commit = history.commit(cluster.nodes["beijing"]._application.tip.height)
            assert commit is not None
            rounds.append(commit.round)
        assert sorted(rounds) == [0, 0, 0, 1]
