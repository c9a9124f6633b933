"""Liars about proposals that are valid in themselves: two for a round, some to nobody, some without a body."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from consensus.tendermint.messages import BodyMessage, Message, ProposalMessage
from ledger.blocks import Block
from ledger.votes import SignedVote
from tests.sim.byzantine.liar import Liar

if TYPE_CHECKING:
    from tests.sim.world import World


class EquivocatingProposer(Liar):
    """Shows some validators one valid block and some another, and votes for each of them before its audience."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.variants: dict[tuple[int, int], tuple[ProposalMessage, ...]] = {}
        self.shown: dict[tuple[int, int, str], int] = {}

    def proposal(self, name: str, message: ProposalMessage) -> Iterable[Message]:
        proposal = message.proposal.proposal
        place = (proposal.height, proposal.round)
        if message.body is not None and place not in self.variants:
            block = Block.decode(message.body)
            other = self.rebuilt(
                block, transactions=block.transactions[1:], time_ms=block.header.time_ms + 1
            )
            self.variants[place] = (message, self.propose(message, other))
            self.note("two proposals in a round")
        variants = self.variants.get(place, (message,))
        if self.random.random() < 0.1:
            return variants
        return (variants[self._side(place, name) % len(variants)],)

    def _side(self, place: tuple[int, int], name: str) -> int:
        return self.shown.setdefault((*place, name), self.random.randrange(2))

    def vote(self, name: str, signed: SignedVote) -> Iterable[SignedVote]:
        vote = signed.vote
        place = (vote.height, vote.round)
        variants = self.variants.get(place)
        if variants is None:
            return (signed,)
        self.note("double vote")
        shown = variants[self._side(place, name)]
        return (self.signed(replace(vote, block_id=shown.proposal.proposal.block_id)),)

    def body(self, name: str, message: BodyMessage) -> Iterable[Message]:
        return (message,) if self.random.random() < 0.5 else ()


class WithheldProposals(Liar):
    """Proposes to nobody."""

    def proposal(self, name: str, message: ProposalMessage) -> Iterable[Message]:
        self.note("proposal withheld")
        return ()


class PartialProposals(Liar):
    """Shows its proposal to some, without the body to others, and answers few who ask for it."""

    def proposal(self, name: str, message: ProposalMessage) -> Iterable[Message]:
        chance = self.random.random()
        if chance < 0.4:
            self.note("proposal without body")
            return (replace(message, body=None),)
        if chance < 0.7:
            self.note("proposal withheld")
            return ()
        return (message,)

    def body(self, name: str, message: BodyMessage) -> Iterable[Message]:
        if self.random.random() < 0.3:
            return (message,)
        if self.random.random() < 0.2:
            self.note("wrong body sent")
            return (replace(message, body=message.body + b"x"),)
        return ()
