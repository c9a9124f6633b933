"""Proposals and bodies of one height: who proposed what in which round, and what is known of each block.

The first proposal of a round is kept, a second one by an equivocating proposer is not: where 2f + 1 vote for that one,
lines 36 and 49 need only its body, which can be fetched by its id. Kept are the rounds from `PAST_ROUNDS` behind the
current one to n - 1 ahead (one for each proposer), and the bodies of those rounds' proposals, of locked and valid
values, and of those that were asked for because a quorum voted for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from consensus.tendermint.limits import PAST_ROUNDS
from consensus.tendermint.messages import SignedProposal


@dataclass(frozen=True, slots=True)
class KeptProposal:
    """A round's proposal. `timely` is None until its body is known, and matters for fresh ones only."""

    signed: SignedProposal
    timely: bool | None

    @property
    def block_id(self) -> bytes:
        return self.signed.proposal.block_id

    @property
    def pol_round(self) -> int | None:
        return self.signed.proposal.pol_round


@dataclass(frozen=True, slots=True)
class KnownBlock:
    """What is known of a block. `valid` is None until the application has answered."""

    body: bytes | None = None
    timely: bool | None = None
    """What the runner said of its time when the body came."""
    valid: bool | None = None
    asked: bool = False
    """Whether the body was asked of peers or, when it is here, its validity of the application."""


_UNKNOWN = KnownBlock()


class ProposalKeeper:
    """Keeps proposals by round and blocks by id. Signatures and rules are the driver's business."""

    def __init__(self, validator_count: int) -> None:
        self._furthest = validator_count - 1
        self._round = 0
        self._proposals: dict[int, KeptProposal] = {}
        self._blocks: dict[bytes, KnownBlock] = {}

    def wants(self, round: int) -> bool:
        """Tell whether a proposal of `round` would be kept: in the window, and the first."""
        in_window = self._round - PAST_ROUNDS <= round <= self._round + self._furthest
        return in_window and round not in self._proposals

    def add(self, signed: SignedProposal, timely: bool | None) -> None:
        """Keep a proposal that `wants` wants."""
        self._proposals[signed.proposal.round] = KeptProposal(signed, timely)

    def get(self, round: int) -> KeptProposal | None:
        """Return the proposal of a round."""
        return self._proposals.get(round)

    @property
    def rounds(self) -> list[int]:
        """Rounds that have a proposal, ascending."""
        return sorted(self._proposals)

    def block(self, block_id: bytes) -> KnownBlock:
        """Return what is known of a block."""
        return self._blocks.get(block_id, _UNKNOWN)

    def update(self, block_id: bytes, block: KnownBlock) -> None:
        """Replace what is known of a block."""
        self._blocks[block_id] = block

    def add_body(self, block_id: bytes, body: bytes, timely: bool | None) -> None:
        """Keep a body that is not here yet; proposals that waited for it learn whether it is timely."""
        self._blocks[block_id] = KnownBlock(body, timely)
        for round, kept in self._proposals.items():
            if kept.block_id == block_id and kept.timely is None:
                self._proposals[round] = replace(kept, timely=timely is True)

    @property
    def wanted_bodies(self) -> tuple[bytes, ...]:
        """Ids of blocks whose bodies have been asked for and have not come, ascending."""
        return tuple(sorted(i for i, b in self._blocks.items() if b.body is None and b.asked))

    def enter_round(self, round: int, needed: Iterable[bytes]) -> None:
        """Make `round` the current one; drop older proposals, and bodies of neither these nor `needed`."""
        self._round = round
        self._proposals = {r: p for r, p in self._proposals.items() if r >= round - PAST_ROUNDS}
        needed_ids = {kept.block_id for kept in self._proposals.values()} | set(needed)
        self._blocks = {i: b for i, b in self._blocks.items() if i in needed_ids}
