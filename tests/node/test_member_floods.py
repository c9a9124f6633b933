"""A validator that floods the others with what its key signs: nothing grows, and they go on without it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consensus.tendermint.messages import (
    BodyRequest,
    Proposal,
    ProposalMessage,
    RoundDigest,
    SignedProposal,
    StatusMessage,
    VotesMessage,
    encode_message,
)
from consensus.tendermint.rounds import Step
from ledger.codec import Value, encode
from ledger.keys import SoftwareSigner
from ledger.votes import Vote, VoteType, sign_vote
from node.home import open_home
from node.inbox import MAX_QUEUED_MESSAGES
from node.messages import ConsensusPayload, PeerMessage, Priority, Transactions
from node.peers import Link, PeerNetwork
from tests.node.cluster import TONGZHOU, Cluster, eventually

FLOODER = "hebei"
OTHERS = {"beijing", "national", "tianjin"}
MAX_GROWTH_BYTES = 96 * 1024 * 1024
"""Of this process, in which three nodes and the flooder live."""

FAR_ROW = "far-future rounds and heights, vote floods, index −1, n, 2^31"


class Flooder:
    """A node's certificate, a validator's with its consensus key, in the hands of somebody else."""

    def __init__(self, cluster: Cluster, name: str = FLOODER, role: str = "validator") -> None:
        opened = open_home(cluster.network.node_home(cluster.network.node(name)))
        if opened.signers is not None:
            self.key: SoftwareSigner = opened.signers.consensus  # type: ignore[assignment]
        self.chain_id = opened.genesis.chain_id
        self.cut: set[str] = set()
        self.up: set[str] = set()
        self.network = PeerNetwork(
            name,
            role,
            self.chain_id,
            opened.config.peers,
            opened.home.tls_certificate,
            opened.home.tls_key,
            cluster.nodes["beijing"]._network._membership,
            self,
        )

    def link_up(self, link: Link) -> None:
        self.up.add(link.name)

    def link_down(self, link: Link) -> None:
        self.cut.add(link.name)

    async def message_received(self, link: Link, message: PeerMessage) -> None:
        """Say nothing to anybody's words."""

    def votes(self, height: int, rounds: Iterator[int] | range) -> list[bytes]:
        """Return frames of signed prevotes for nil, one a round, as many a frame as it takes."""
        signed = [
            sign_vote(
                self.key, Vote(self.chain_id, height, number, VoteType.PREVOTE, None, FLOODER)
            )
            for number in rounds
        ]
        return [
            ConsensusPayload(encode_message(VotesMessage(tuple(signed[at : at + 80])))).encode()
            for at in range(0, len(signed), 80)
        ]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("cluster") / "home"
    with Cluster(home, without=("xiongan", FLOODER)) as cluster:
        yield cluster


@pytest.fixture
def flooder(network: Cluster) -> Iterator[Flooder]:
    """The flooder, linked with all others, who have forgotten what the one before did."""
    for node in network.nodes.values():
        eventually(lambda node=node: FLOODER not in node._network.links)  # type: ignore[misc]
        network.call(node._network._banned_until.clear)
    flooder = Flooder(network)
    running = network.spawn(flooder.network.run())
    eventually(lambda: set(flooder.network.links) == OTHERS)
    yield flooder
    network.end(running)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def height_of(cluster: Cluster) -> int:
    return cluster.nodes["beijing"]._application.tip.height + 1


def far_rounds(flooder: Flooder, cluster: Cluster) -> list[bytes]:
    height = height_of(cluster)
    return flooder.votes(height, range(1, 4_000)) + flooder.votes(height + 1, range(1, 2_000))


def far_heights(flooder: Flooder, cluster: Cluster) -> list[bytes]:
    heights = (*range(height_of(cluster) + 2, height_of(cluster) + 2_000), 2**53, 2**63 - 1)
    return [one for height in heights for one in flooder.votes(height, range(1))]


def last_rounds(flooder: Flooder, cluster: Cluster) -> list[bytes]:
    return flooder.votes(height_of(cluster), range(2**31 - 2_000, 2**31)) * 3


def endless_questions(flooder: Flooder, cluster: Cluster) -> list[bytes]:
    height = height_of(cluster)
    digests = tuple(RoundDigest(number, True, (), ()) for number in range(8))
    status = StatusMessage(height, 2**31 - 1, Step.PRECOMMIT, digests)
    questions = [BodyRequest(height, os.urandom(32)) for _ in range(3_000)]
    return [ConsensusPayload(encode_message(one)).encode() for one in (*questions, status)]


def the_same_again(flooder: Flooder, cluster: Cluster) -> list[bytes]:
    operation = ("directory.instrument.retire", {"id": f"{TONGZHOU}-none", "reason": "none"})
    one = cluster.transaction("tongzhou-editor", operation).raw  # type: ignore[arg-type]
    return [Transactions((one,) * 200).encode() for _ in range(50)]


def unsigned_proposals(flooder: Flooder, cluster: Cluster) -> list[bytes]:
    """Proposals beyond the rounds that are looked at, with large bodies: nobody's signature is under them."""
    height, body = height_of(cluster), bytes(1024 * 1024)
    validators = cluster.nodes["beijing"]._application.tip.validators
    proposals = [
        Proposal(
            flooder.chain_id,
            height,
            number,
            None,
            os.urandom(32),
            validators.proposer(height, number).name,
        )
        for number in range(10_000, 10_020)
    ]
    return [
        ConsensusPayload(
            encode_message(ProposalMessage(SignedProposal(one, bytes(64)), body))
        ).encode()
        for one in proposals
    ]


FLOODS: dict[str, Callable[[Flooder, Cluster], list[bytes]]] = {
    "votes for far rounds": far_rounds,
    "votes for far heights": far_heights,
    "votes for the last rounds there are": last_rounds,
    "requests for bodies that nobody has": endless_questions,
    "large proposals for far rounds that nobody signed": unsigned_proposals,
    "the same transaction ten thousand times": the_same_again,
}


@pytest.mark.row(FAR_ROW)
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_flood_of_well_formed_messages_is_bounded_and_holds_nobody_up(
    network: Cluster, flooder: Flooder, flood: Callable[[Flooder, Cluster], list[bytes]]
) -> None:
    frames = flood(flooder, network)
    before = resident_bytes()

    def send() -> None:
        for one in frames:
            flooder.network.broadcast(one, Priority.CONSENSUS)

    network.call(send)
    for _ in range(3):
        assert network.publish().status == "committed"
    eventually(lambda: all(not any(link._queued_bytes) for link in flooder.network.links.values()))
    assert network.publish().status == "committed"
    for node in network.nodes.values():
        assert node._services.runner.status.queued <= MAX_QUEUED_MESSAGES * len(network.names) + 16
        assert set(node._network.links) >= set(network.nodes) - {node._opened.config.name}
    grown = resident_bytes() - before
    assert grown < MAX_GROWTH_BYTES, f"{grown >> 20} MiB"


def test_what_no_validator_has_signed_begins_no_height(network: Cluster, flooder: Flooder) -> None:
    stays_idle(network, flooder, unsigned_proposals(flooder, network)[:5])
    assert FLOODER not in banned(network)


@pytest.mark.parametrize("role", ("query", "validator"))
def test_who_does_not_vote_has_no_say_in_consensus(network: Cluster, role: str) -> None:
    for node in network.nodes.values():
        network.call(node._network._banned_until.clear)
    stranger = Flooder(network, "xiongan", role)
    running = network.spawn(stranger.network.run())
    eventually(lambda: set(stranger.network.links) == OTHERS)
    frames = [
        *unsigned_proposals(stranger, network)[:5],
        *endless_questions(stranger, network)[-2:],
    ]
    stays_idle(network, stranger, frames)
    if role == "query":

        def is_banned_by_all() -> bool:
            # Said again to whom it has not reached: it is lost with a link that the pair's other one replaces.
            network.call(lambda: stranger.network.broadcast(frames[-1], Priority.CONSENSUS))
            return banned(network).count("xiongan") == len(OTHERS)

        eventually(is_banned_by_all)
    assert ("xiongan" in banned(network)) == (role == "query")
    network.end(running)


def stays_idle(cluster: Cluster, sender: Flooder, frames: list[bytes]) -> None:
    """Send these frames to an idle network and see that it decides nothing."""
    height = height_of(cluster)
    cluster.call(lambda: [sender.network.broadcast(f, Priority.CONSENSUS) for f in frames])
    eventually(lambda: all(not any(link._queued_bytes) for link in sender.network.links.values()))
    time.sleep(1)
    assert height_of(cluster) == height


def banned(cluster: Cluster) -> list[str]:
    """Return whom the nodes refuse, each as often as nodes do."""
    return [name for node in cluster.nodes.values() for name in node._network._banned_until]


def odd_vote(**changes: Value) -> Callable[[Flooder, Cluster], bytes]:
    """Return a maker of a votes message with one part of its vote replaced, as no encoder of ours writes it."""

    def make(flooder: Flooder, cluster: Cluster) -> bytes:
        parts: dict[str, Value] = {
            "chain_id": flooder.chain_id,
            "height": height_of(cluster),
            "round": 0,
            "type": 1,
            "block_id": None,
            "validator": FLOODER,
            **changes,
        }
        return encode((2, ((*parts.values(), bytes(64)),)))

    return make


ODD: dict[str, Callable[[Flooder, Cluster], bytes]] = {
    "round -1": odd_vote(round=-1),
    "round 2^31": odd_vote(round=2**31),
    "round 2^64 - 1": odd_vote(round=2**64 - 1),
    "height 0": odd_vote(height=0),
    "height -1": odd_vote(height=-1),
    "height 2^63": odd_vote(height=2**63),
    "type 0": odd_vote(type=0),
    "type 3": odd_vote(type=3),
    "a block id of 31 bytes": odd_vote(block_id=bytes(31)),
    "another chain": odd_vote(chain_id="other"),
    "a validator that there is not": odd_vote(validator="nobody"),
    "a signature that is none": odd_vote(),
    "voters beyond the set": lambda f, c: encode(
        (3, height_of(c), 0, 1, ((0, True, ((None, 2**22),), ()),))
    ),
    "voters of index -1": lambda f, c: encode(
        (3, height_of(c), 0, 1, ((0, True, ((None, -1),), ()),))
    ),
    "a step that there is not": lambda f, c: encode((3, height_of(c), 0, 99, ())),
    "a status of ten thousand rounds": lambda f, c: encode(
        (3, height_of(c), 0, 1, tuple((number, False, (), ()) for number in range(10_000)))
    ),
    "an empty body": lambda f, c: encode((5, height_of(c), bytes(32), b"")),
    "a message of unknown number": lambda f, c: encode((6, 1)),
    "ten thousand votes": lambda f, c: encode((2, (None,) * 10_000)),
    "deep nesting": lambda f, c: b"\x91" * 5_000 + b"\xc0",
    "a proposal that nobody signed": lambda f, c: encode(
        (1, (f.chain_id, height_of(c), 0, None, bytes(32), FLOODER), bytes(64), b"x")
    ),
}


@pytest.mark.row(FAR_ROW)
@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_a_message_that_no_correct_validator_sends_costs_its_sender_the_links(
    network: Cluster, flooder: Flooder, make: Callable[[Flooder, Cluster], bytes]
) -> None:
    frame = ConsensusPayload(make(flooder, network)).encode()

    def is_banned_by_all() -> bool:
        # Said again to whom it has not reached: it is lost with a link that the pair's other one replaces.
        network.call(lambda: flooder.network.broadcast(frame, Priority.CONSENSUS))
        return all(FLOODER in node._network._banned_until for node in network.nodes.values())

    eventually(is_banned_by_all)
    eventually(lambda: flooder.cut >= OTHERS)


def test_nothing_of_this_needed_a_restart(network: Cluster) -> None:
    assert network.publish().status == "committed"
    assert not any(task.done() for task in network._tasks.values())


def test_a_node_that_is_flooded_ends_when_it_is_told_to(network: Cluster, flooder: Flooder) -> None:
    """Nobody takes what waits for the runner any more: who hands it on must not wait for that."""
    frames = endless_questions(flooder, network) * 4

    def send() -> None:
        for one in frames:
            flooder.network.send("tianjin", one, Priority.CONSENSUS)

    try:
        network.call(send)
        network.stop("tianjin")
    finally:
        if "tianjin" not in network.nodes:
            network.start("tianjin")
