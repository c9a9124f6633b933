"""Effects: everything that the height driver wants done. The runner carries them out in the order given.

The order is the promise: a `SaveWal` stands before whatever depends on what it saves, and the runner goes on to the
next effect only when the records are on disk. Effects that take long (`BuildBlock`, `ValidateBlock`, `Decide`) are
started in order, and answered by an event later, or never if the driver has moved on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from consensus.tendermint.messages import Message, Proposal
from consensus.tendermint.rounds import RoundValue, Step
from ledger.commits import Commit
from ledger.evidence import DuplicateVoteEvidence
from ledger.votes import Vote


@dataclass(frozen=True, slots=True)
class SaveWal:
    """Store `records` as numbers `first`, `first + 1`, … of the log, in one synced write, before going on."""

    first: int
    records: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SignProposal:
    """Have the guard sign our proposal; on success give `ProposalReceived(signed, None, True)` back at once.

    If the guard refuses, do nothing. `lock` goes into the guard's record.
    """

    proposal: Proposal
    lock: RoundValue | None


@dataclass(frozen=True, slots=True)
class SignVote:
    """Have the guard sign our vote; on success give `VoteReceived(signed)` back at once.

    If the guard refuses, do nothing. `lock` goes into the guard's record.
    """

    vote: Vote
    lock: RoundValue | None


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send a message to every validator that we have a link to."""

    message: Message


@dataclass(frozen=True, slots=True)
class ScheduleTimeout:
    """Give `TimeoutElapsed(height, round, step)` after `duration_ms` of a monotonic clock. Never cancelled."""

    height: int
    round: int
    step: Step
    duration_ms: int


@dataclass(frozen=True, slots=True)
class BuildBlock:
    """Build a block on top of the one before; give `BlockBuilt` with the same height and round.

    Wait first until the clock has passed the last block's time.
    """

    height: int
    round: int


@dataclass(frozen=True, slots=True)
class ValidateBlock:
    """Ask the application whether a block is valid; give `BlockValidated`. Asked once for each block."""

    height: int
    block_id: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class FetchBody:
    """Ask one peer after the other for a body (`BodyRequest`) until `BodyReceived` can be given.

    Given once for each body; `HeightDriver.wanted_bodies` lists those still missing.
    """

    height: int
    block_id: bytes


@dataclass(frozen=True, slots=True)
class Decide:
    """The height is decided (line 51): finalise and commit this block, and truncate the log in the same batch."""

    height: int
    round: int
    block_id: bytes
    body: bytes
    commit: Commit


@dataclass(frozen=True, slots=True)
class ReportEvidence:
    """A validator voted twice in one step: put the evidence into a block. Given once for each such step."""

    evidence: DuplicateVoteEvidence


@dataclass(frozen=True, slots=True)
class ReportDivergence:
    """A quorum precommitted a block that our application calls invalid: this node or a third of them is broken.

    The height will not be decided here. Stop voting and tell the operator.
    """

    height: int
    round: int
    block_id: bytes


Effect: TypeAlias = (
    SaveWal
    | SignProposal
    | SignVote
    | Broadcast
    | ScheduleTimeout
    | BuildBlock
    | ValidateBlock
    | FetchBody
    | Decide
    | ReportEvidence
    | ReportDivergence
)
