"""A validator whose log the others' checkpoints contradict, on the embedded engine: it signs nothing, and says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ledger.checkpoints import Checkpoint, SignedCheckpoint, cosign, sign_checkpoint
from ledger.suite import SHA256_ED25519
from node.checkpointing import Checkpointing
from node.engine import CONTRADICTED
from node.home import open_home
from node.messages import CheckpointSignatures
from node.node import Node
from node.replica import Replica
from tests.node.cluster import Cluster, eventually

VICTIM = "beijing"


def replica_of(node: Node) -> Replica:
    assert isinstance(node._replica, Replica)
    return node._replica


def checkpointing_of(node: Node) -> Checkpointing:
    return replica_of(node)._proving._checkpointing


def signed_by(cluster: Cluster, name: str, checkpoint: Checkpoint) -> SignedCheckpoint:
    """What a validator sends whose log is another."""
    signers = open_home(cluster.network.node_home(cluster.network.node(name))).signers
    assert signers is not None
    return SignedCheckpoint(
        checkpoint,
        (
            sign_checkpoint(SHA256_ED25519, signers.log, checkpoint),
            cosign(SHA256_ED25519, signers.witness, name, checkpoint, 1),
        ),
    )


def test_it_votes_and_signs_no_more_and_every_place_says_the_same(tmp_path: Path) -> None:
    with Cluster(tmp_path / "home") as cluster, cluster.client(VICTIM) as client:
        assert cluster.publish(VICTIM).status == "committed"
        node = cluster.nodes[VICTIM]
        checkpointing, runner = checkpointing_of(node), replica_of(node).runner
        assert client.network().raw["voting"]
        height, opened = cluster.call(lambda: tuple(checkpointing._open.items())[-1])

        def has_signed() -> bool:  # three others may have proven the height before
            return checkpointing._own is not None and checkpointing._own.height == height

        eventually(lambda: cluster.call(has_signed))
        other = replace(opened.collector.checkpoint, root=b"\x01" * 32)
        for name in ("hebei", "tianjin"):
            note = signed_by(cluster, name, other).encode()
            told = cluster.spawn(checkpointing.received(name, CheckpointSignatures(height, note)))
            eventually(told.done)
            assert told.exception() is None

        status, (ready, reason) = client.network(), client.ready()
        assert not status.raw["voting"]
        assert status.stalled == CONTRADICTED
        assert [one["code"] for one in status.findings] == ["diverged"]
        assert str(status.findings[0]["text"]).startswith(CONTRADICTED)
        assert not ready
        assert CONTRADICTED in reason

        assert runner._guard is not None
        vote, own = runner._guard._last, checkpointing._own
        for _ in range(4):  # each validator's turn to propose comes once
            assert cluster.publish("hebei").status == "committed"
        target = cluster.nodes["hebei"]._application.tip.height
        eventually(lambda: cluster.call(lambda: next(reversed(checkpointing._open))) >= target)
        assert runner._guard._last == vote
        assert checkpointing._own == own
