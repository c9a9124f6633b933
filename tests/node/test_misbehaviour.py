"""A member that lies: whatever it sends, it is cut off, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from consensus.tendermint.messages import Proposal, ProposalMessage, SignedProposal, VotesMessage
from consensus.tendermint.messages import encode_message as encode_consensus_message
from ledger.blocks import Block
from ledger.codec import encode
from ledger.commits import Commit
from ledger.keys import SoftwareSigner
from ledger.votes import SignedVote, Vote, VoteType
from node.home import Home, open_home
from node.link import Link
from node.messages import (
    Blocks,
    CheckpointSignatures,
    ConsensusPayload,
    GetBlocks,
    PeerMessage,
    Priority,
    Status,
    Transactions,
)
from node.peers import Membership, PeerNetwork
from tests.node.cluster import Cluster, eventually

SYNC_ROW = "lying sync peer, bad snapshot, bad certificate"


class Liar:
    """A node with a good certificate that says what it is told to say."""

    def __init__(self, cluster: Cluster, say: Callable[[Link], list[bytes]]) -> None:
        self.say = say
        self.blocks: Callable[[int], Blocks] | None = None
        self.cut: set[str] = set()
        opened = open_home(cluster.network.node_home(cluster.network.node("xiongan")))
        honest = cluster.nodes["beijing"]
        membership: Membership = honest._network._membership
        home: Home = opened.home
        self.network = PeerNetwork(
            "xiongan",
            "query",
            opened.genesis.chain_id,
            opened.config.peers,
            home.tls_certificate,
            home.tls_key,
            membership,
            self,
        )

    def link_up(self, link: Link) -> None:
        for frame in self.say(link):
            link.send(frame, Priority.CONSENSUS)

    def link_down(self, link: Link) -> None:
        self.cut.add(link.name)

    async def message_received(self, link: Link, message: PeerMessage) -> None:
        if isinstance(message, GetBlocks) and self.blocks is not None:
            link.send(self.blocks(message.from_height).encode(), Priority.SYNC)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster") / "home", without=("xiongan",)) as cluster:
        yield cluster


@pytest.fixture
def cluster(network: Cluster) -> Cluster:
    """The network at one height, with what it holds against the liar of the test before forgotten.

    A node that is still behind does not judge a vote or a proposal of a height that it has not reached.
    """
    eventually(lambda: len({n._application.tip.height for n in network.nodes.values()}) == 1)
    for node in network.nodes.values():
        eventually(lambda node=node: "xiongan" not in node._network.links)  # type: ignore[misc]
        network.call(node._network._banned_until.clear)
        network.call(node._replica.sync._passed_over.clear)
    return network


def stranger_vote(cluster: Cluster) -> SignedVote:
    height = cluster.nodes["beijing"]._application.tip.height + 1
    vote = Vote(cluster.network.chain_id, height, 0, VoteType.PREVOTE, None, "beijing")
    return SignedVote(vote, SoftwareSigner.generate().sign(vote.signed_bytes()))


def forged_proposal(cluster: Cluster) -> bytes:
    tip = cluster.nodes["beijing"]._application.tip
    proposer = tip.validators.proposer(tip.height + 1, 0).name
    proposal = Proposal(cluster.network.chain_id, tip.height + 1, 0, None, b"\x01" * 32, proposer)
    signed = SignedProposal(proposal, SoftwareSigner.generate().sign(proposal.signed_bytes()))
    return encode_consensus_message(ProposalMessage(signed, b"no block"))


LIES: dict[str, Callable[[Cluster], list[bytes]]] = {
    "a frame that is no message": lambda c: [b"\xc1\xc1"],
    "a consensus message that is none": lambda c: [ConsensusPayload(b"\x91\x63").encode()],
    "a vote in another's name": lambda c: [
        ConsensusPayload(encode_consensus_message(VotesMessage((stranger_vote(c),)))).encode()
    ],
    "a proposal in another's name": lambda c: [ConsensusPayload(forged_proposal(c)).encode()],
    "a transaction that is none": lambda c: [Transactions((b"garbage",)).encode()],
    "a transaction with a bad signature": lambda c: [
        Transactions(
            (
                (raw := c.transaction("tongzhou-editor", ("ledger.key.revoke", {"key": "x"})).raw)[
                    :-1
                ]
                + bytes([raw[-1] ^ 1]),
            )
        ).encode()
    ],
    "a checkpoint of another log": lambda c: [CheckpointSignatures(0, b"garbage\n").encode()],
    "a second hello": lambda c: [encode(("hello", 1, c.network.chain_id, "xiongan", "query", 1))],
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_liar_is_cut_off_and_the_others_go_on(
    cluster: Cluster, lie: Callable[[Cluster], list[bytes]]
) -> None:
    frames = lie(cluster)
    liar = Liar(cluster, lambda link: frames)
    running = cluster.spawn(liar.network.run())
    try:
        eventually(lambda: liar.cut >= {"beijing", "hebei", "national", "tianjin"})
        assert cluster.publish().status == "committed"
        for node in cluster.nodes.values():
            assert "xiongan" not in node._network.links
    finally:
        cluster.end(running)


def _garbage(cluster: Cluster, from_height: int) -> Blocks:
    return Blocks(from_height, ((b"garbage", b"garbage"),))


def _forged(cluster: Cluster, from_height: int) -> Blocks:
    """A block of the right height with a commit that nobody signed."""
    history = cluster.nodes["beijing"]._application.history
    real, commit = history.block(1), history.commit(1)
    assert real is not None
    assert commit is not None
    header = replace(real.header, height=from_height)
    block = Block(header, real.transactions, (), real.last_commit)
    suite = cluster.nodes["beijing"]._application.genesis.suite
    forged = Commit(from_height, 0, block.id(suite), commit.signatures)
    return Blocks(from_height, ((block.encode(), forged.encode()),))


def _gap(cluster: Cluster, from_height: int) -> Blocks:
    """A block of a later height than was asked for."""
    return Blocks(from_height, _forged(cluster, from_height + 5).blocks)


@pytest.mark.row(SYNC_ROW)
@pytest.mark.parametrize(
    "answer", [_garbage, _forged, _gap], ids=["garbage", "forged commit", "a gap"]
)
def test_a_lying_synchronisation_peer_is_dropped(
    cluster: Cluster, answer: Callable[[Cluster, int], Blocks]
) -> None:
    assert cluster.publish().status == "committed"
    liar = Liar(cluster, lambda link: [Status(1_000, 0).encode()])
    liar.blocks = lambda from_height: answer(cluster, from_height)
    running = cluster.spawn(liar.network.run())
    try:
        eventually(lambda: len(liar.cut) == 4)
        assert cluster.publish().status == "committed"
    finally:
        cluster.end(running)


@pytest.mark.row(SYNC_ROW)
def test_a_peer_that_claims_blocks_and_has_none_is_passed_over(cluster: Cluster) -> None:
    liar = Liar(cluster, lambda link: [Status(1_000, 0).encode()])
    liar.blocks = lambda from_height: Blocks(from_height, ())
    running = cluster.spawn(liar.network.run())
    try:
        eventually(lambda: "xiongan" in cluster.nodes["beijing"]._replica.sync._passed_over)
        assert cluster.publish().status == "committed"
        with cluster.client("beijing") as client:
            assert client.ready()[0], "one claim does not make a node call itself behind"
            status = client.network()
            assert status.height < 1_000
            assert status.checkpoint_size == status.raw["log_size"], (
                "nor leave checkpoints unsigned"
            )
    finally:
        cluster.end(running)


@pytest.mark.row(SYNC_ROW)
def test_a_peer_that_tells_a_height_and_then_less_holds_nobody_up(cluster: Cluster) -> None:
    asked: list[int] = []

    def nothing(from_height: int) -> Blocks:
        asked.append(from_height)
        return Blocks(from_height, ())

    liar = Liar(cluster, lambda link: [Status(height, 0).encode() for height in (1_000, 1, 900, 0)])
    liar.blocks = nothing
    running = cluster.spawn(liar.network.run())
    try:
        eventually(lambda: len(liar.network.links) == 4)
        assert cluster.publish().status == "committed"
        for node in cluster.nodes.values():
            eventually(lambda node=node: node._network.links["xiongan"].height == 0)  # type: ignore[misc]
            assert not node._services.sync.catching_up
        assert cluster.publish().status == "committed"
        with cluster.client("national") as client:
            assert client.ready()[0]
    finally:
        cluster.end(running)


def test_nothing_of_this_needed_a_restart(cluster: Cluster) -> None:
    assert cluster.publish().status == "committed"
    assert not any(task.done() for task in cluster._tasks.values())
