"""Faulty validators: each is a whole node whose outgoing messages pass through a script that has its keys.

A script may replace, add or hold back anything that its node sends, and sign what it likes. It can forge nothing
that others sign. Here are the bases of all scripts; `catalogue` has their names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from consensus.tendermint.last_sign import LastSignGuard
from consensus.tendermint.limits import MAX_VOTES_PER_MESSAGE
from consensus.tendermint.messages import (
    BodyMessage,
    Message,
    Proposal,
    ProposalMessage,
    SignedProposal,
    VotesMessage,
    encode_message,
)
from ledger.blocks import Block, transactions_root
from ledger.commits import commit_hash
from ledger.evidence import evidence_hash
from ledger.suite import Signer
from ledger.votes import SignedVote, Vote, VoteType, sign_vote
from node.messages import ConsensusPayload, PeerMessage
from tests.sim.sharing import read_consensus, read_frame

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.world import World


class CarelessGuard(LastSignGuard):
    """Signs whatever it is asked to."""

    def __init__(self, key: Signer, chain_id: str) -> None:
        super().__init__(key, chain_id, None, lambda data: None, 0)
        self._key = key

    @property
    def may_sign(self) -> bool:
        return True

    def sign_vote(self, vote: Vote, lock: object) -> SignedVote:
        return sign_vote(self._key, vote)

    def sign_proposal(self, proposal: Proposal, lock: object) -> SignedProposal:
        return SignedProposal(proposal, self._key.sign(proposal.signed_bytes()))


class Script:
    """Does nothing wrong by itself: what twins are, each with a guard of its own."""

    act_ms = 0
    """How often `act` is called; never if 0."""

    host: Host

    def __init__(self, world: World) -> None:
        self.world = world
        self.random: Random = world.random

    def prepare(self) -> None:
        """Set the machine up."""

    def guard(self, key: Signer, chain_id: str) -> LastSignGuard | None:
        """Return a guard that stands in for the real one, or None."""
        return None

    def incoming(self, message: PeerMessage) -> None:
        """Listen to what the node receives."""

    def outgoing(self, name: str, frame: bytes) -> Iterable[bytes]:
        """Return what goes to `name` in place of a frame."""
        return (frame,)

    def act(self) -> None:
        """Send something of one's own accord."""

    def acting(self) -> None:
        if self.act_ms and not self.world.stopped:
            if self.host.ready:
                self.act()
            self.world.loop.call_later(self.act_ms / 1000, self.acting)

    def note(self, what: str) -> None:
        self.world.injected[what] += 1


class Liar(Script):
    """Base of scripts that rewrite consensus messages."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.proposed: dict[tuple[int, int], bytes] = {}
        self.known: dict[int, list[bytes]] = {}

    def guard(self, key: Signer, chain_id: str) -> LastSignGuard | None:
        return CarelessGuard(key, chain_id)

    def incoming(self, message: PeerMessage) -> None:
        if isinstance(message, ConsensusPayload):
            said = read_consensus(message.payload)
            if isinstance(said, ProposalMessage):
                self._learn(said.proposal.proposal)

    def _learn(self, proposal: Proposal) -> None:
        self.proposed.setdefault((proposal.height, proposal.round), proposal.block_id)
        known = self.known.setdefault(proposal.height, [])
        if proposal.block_id not in known:
            known.append(proposal.block_id)

    def outgoing(self, name: str, frame: bytes) -> Iterable[bytes]:
        message = read_frame(frame)
        if not isinstance(message, ConsensusPayload):
            return [one.encode() for one in self.other(name, message)]
        said = read_consensus(message.payload)
        if isinstance(said, ProposalMessage) and self.is_own(said.proposal.proposal.proposer):
            self._learn(said.proposal.proposal)
            return [pack(one) for one in self.proposal(name, said)]
        if isinstance(said, VotesMessage):
            votes: list[SignedVote] = []
            for signed in said.votes:
                own = self.is_own(signed.vote.validator)
                votes.extend(self.vote(name, signed) if own else (signed,))
            return [pack(VotesMessage(tuple(votes[:MAX_VOTES_PER_MESSAGE])))] if votes else []
        if isinstance(said, BodyMessage):
            return [pack(one) for one in self.body(name, said)]
        return (frame,)

    def is_own(self, name: str) -> bool:
        return name == self.host.name

    def proposal(self, name: str, message: ProposalMessage) -> Iterable[Message]:
        return (message,)

    def vote(self, name: str, signed: SignedVote) -> Iterable[SignedVote]:
        return (signed,)

    def body(self, name: str, message: BodyMessage) -> Iterable[Message]:
        return (message,)

    def other(self, name: str, message: PeerMessage) -> Iterable[Any]:
        return (message,)

    # --- tools -----------------------------------------------------------------------------------

    @property
    def height(self) -> int:
        assert self.host.process is not None
        return self.host.process.application.tip.height + 1

    def signed(self, vote: Vote) -> SignedVote:
        return sign_vote(self.host.consensus, vote)

    def own_vote(
        self, height: int, round_: int, kind: VoteType, block_id: bytes | None
    ) -> SignedVote:
        chain_id = self.world.genesis.chain_id
        return self.signed(Vote(chain_id, height, round_, kind, block_id, self.host.name))

    def propose(self, message: ProposalMessage, block: Block) -> ProposalMessage:
        """Return our proposal of the same round for another block, well signed."""
        suite = self.world.genesis.suite
        proposal = replace(message.proposal.proposal, block_id=block.id(suite))
        signature = self.host.consensus.sign(proposal.signed_bytes())
        return ProposalMessage(SignedProposal(proposal, signature), block.encode())

    def rebuilt(self, block: Block, **changes: Any) -> Block:
        """Return a block with other contents and a header that names them."""
        suite = self.world.genesis.suite
        parts = {
            key: changes.pop(key)
            for key in ("transactions", "evidence", "last_commit")
            if key in changes
        }
        body = replace(block, **parts)
        header = replace(
            body.header,
            transactions_root=transactions_root(suite, body.transactions),
            evidence_hash=evidence_hash(suite, body.evidence),
            last_commit_hash=commit_hash(suite, body.last_commit),
        )
        return replace(body, header=replace(header, **changes))

    def everybody(self) -> list[str]:
        return [name for name in self.world.by_name if name != self.host.name]

    def send(self, name: str, message: Message) -> None:
        self.world.wires.transmit(self.host, name, pack(message))


def pack(message: Message) -> bytes:
    return ConsensusPayload(encode_message(message)).encode()
