"""Liars about votes: of two minds, without memory, silent, far ahead, too many, or in others' names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consensus.tendermint.messages import Proposal, ProposalMessage, SignedProposal, VotesMessage
from ledger.decoding import MAX_ROUND
from ledger.votes import SignedVote, VoteType
from node.messages import ConsensusPayload, PeerMessage
from tests.sim.byzantine.liar import Liar
from tests.sim.sharing import read_consensus

if TYPE_CHECKING:
    from tests.sim.world import World


class DoubleVotes(Liar):
    """Votes for anything it has heard of, differently before each validator."""

    def vote(self, name: str, signed: SignedVote) -> Iterable[SignedVote]:
        vote = signed.vote
        values = [vote.block_id, None, *self.known.get(vote.height, ())]
        if self.random.random() < 0.1:
            values.append(self.random.randbytes(32))
        chosen = self.random.sample(values, min(len(values), self.random.randint(1, 2)))
        if chosen != [vote.block_id]:
            self.note("double vote")
        return [self.signed(replace(vote, block_id=value)) for value in chosen]


class Amnesia(Liar):
    """Knows nothing of its locks: prevotes for whatever the round proposes, also after it has precommitted."""

    def vote(self, name: str, signed: SignedVote) -> Iterable[SignedVote]:
        vote = signed.vote
        proposed = self.proposed.get((vote.height, vote.round))
        if vote.type is VoteType.PREVOTE and vote.round and proposed not in (None, vote.block_id):
            self.note("prevote against the own lock")
            return (self.signed(replace(vote, block_id=proposed)),)
        return (signed,)


class WithheldVotes(Liar):
    """Votes before some validators only, or before none."""

    def vote(self, name: str, signed: SignedVote) -> Iterable[SignedVote]:
        if self.random.random() < 0.7:
            self.note("vote withheld")
            return ()
        return (signed,)


class FarFuture(Liar):
    """Sends votes and proposals of rounds and heights that are far ahead."""

    act_ms = 150

    def act(self) -> None:
        height = self.height + self.random.choice((0, 0, 0, 1, 2, 1_000, 2**40))
        rounds = (1, 2, 3, 5, 9, 1_000, 2**20, MAX_ROUND - 1, MAX_ROUND)
        round_ = self.random.choice(rounds)
        self.note("message of a far-future round or height")
        value = self.random.choice((None, self.random.randbytes(32)))
        votes = [self.own_vote(height, round_, kind, value) for kind in VoteType]
        for name in self.everybody():
            self.send(name, VotesMessage(tuple(votes)))
        names = [validator.name for validator in self.world.judge.reference.tip.validators]
        if self.host.name in names:
            step = (names.index(self.host.name) - height - round_) % len(names)
            if round_ + step <= MAX_ROUND:
                proposal = Proposal(
                    self.world.genesis.chain_id,
                    height,
                    round_ + step,
                    None,
                    self.random.randbytes(32),
                    self.host.name,
                )
                signature = self.host.consensus.sign(proposal.signed_bytes())
                message = ProposalMessage(SignedProposal(proposal, signature), None)
                self.send(self.random.choice(self.everybody()), message)


class VoteFlood(Liar):
    """Sends many votes, each for another block, in many rounds."""

    act_ms = 250

    def act(self) -> None:
        self.note("flood of votes")
        height = self.height
        votes = tuple(
            self.own_vote(
                height,
                self.random.randrange(12),
                self.random.choice(tuple(VoteType)),
                self.random.randbytes(32),
            )
            for _ in range(24)
        )
        for name in self.everybody():
            self.send(name, VotesMessage(votes))


class TransplantedVotes(Liar):
    """Sends others' votes on with their signatures, and another height, round, step or block in them."""

    act_ms = 300

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.heard: list[SignedVote] = []

    def incoming(self, message: PeerMessage) -> None:
        super().incoming(message)
        if isinstance(message, ConsensusPayload):
            said = read_consensus(message.payload)
            if isinstance(said, VotesMessage):
                self.heard.extend(said.votes)
                del self.heard[:-50]

    def act(self) -> None:
        if not self.heard:
            return
        signed = self.random.choice(self.heard)
        vote, height = signed.vote, self.height
        changes: tuple[dict[str, Any], ...] = (
            {"height": height},
            {"height": height, "round": self.random.randrange(3)},
            {"round": vote.round + 1},
            {"type": VoteType(3 - vote.type)},
            {"block_id": self.random.choice((None, bytes(32)))},
            {"validator": self.random.choice(self.everybody())},
        )
        changed = replace(vote, **self.random.choice(changes))
        if changed != vote:
            self.note("vote transplanted")
            moved = VotesMessage((SignedVote(changed, signed.signature),))
            self.send(self.random.choice(self.everybody()), moved)
