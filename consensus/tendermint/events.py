"""Events: everything that the height driver is told. Frozen; each names the height that it belongs to.

The runner makes them, puts them into its one queue, and gives them to the driver of their height, one by one.
Those that changed the driver are records of the write-ahead log, so an event holds no clock reading and nothing
that could turn out differently when it is replayed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from consensus.tendermint.messages import SignedProposal
from consensus.tendermint.rounds import Step
from ledger.votes import SignedVote


@dataclass(frozen=True, slots=True)
class StartHeight:
    """Begin round 0 (line 10). Given once; until then the driver only collects messages of its height.

    The runner gives it when the height before is committed and there is a reason to make a block: a transaction in
    the mempool, a message of this height, or the heartbeat.
    """

    height: int


@dataclass(frozen=True, slots=True)
class ProposalReceived:
    """A proposal of a peer, or our own once the guard has signed it (then `body` is None and `timely` True).

    `body` is None where the message brought none. Where it brought one, the runner has decoded it, found its hash to
    be the proposal's block id, and has checked the body against its header (`Block.check_body`): a body that
    is not the block's own never becomes an event, else one liar could have a good block called invalid.

    `timely` is what `timeouts.is_timely` said when proposal and body were both here; None while the body is not
    known (neither in this message nor by `HeightDriver.body`): `BodyReceived` brings both then. It is read for a
    fresh proposal (no pol_round) only.
    """

    proposal: SignedProposal
    body: bytes | None
    timely: bool | None

    @property
    def height(self) -> int:
        return self.proposal.proposal.height


@dataclass(frozen=True, slots=True)
class BodyReceived:
    """A body that the driver asked for with `FetchBody`, checked by the runner as in `ProposalReceived`.

    `timely` is judged on receipt, with the driver's round; it is used by fresh proposals that wait for this body.
    """

    height: int
    block_id: bytes
    body: bytes
    timely: bool


@dataclass(frozen=True, slots=True)
class VoteReceived:
    """A vote of a peer, or our own once the guard has signed it. The driver verifies the signature."""

    vote: SignedVote

    @property
    def height(self) -> int:
        return self.vote.vote.height


@dataclass(frozen=True, slots=True)
class BlockBuilt:
    """The answer to `BuildBlock`: a new block and its encoding."""

    height: int
    round: int
    block_id: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class BlockValidated:
    """The answer to `ValidateBlock`: what the application says of a block's validity (valid(v) of the paper)."""

    height: int
    block_id: bytes
    valid: bool


@dataclass(frozen=True, slots=True)
class TimeoutElapsed:
    """The answer to `ScheduleTimeout`, given when its time has passed. Stale ones do nothing."""

    height: int
    round: int
    step: Step


Event: TypeAlias = (
    StartHeight
    | ProposalReceived
    | BodyReceived
    | VoteReceived
    | BlockBuilt
    | BlockValidated
    | TimeoutElapsed
)
