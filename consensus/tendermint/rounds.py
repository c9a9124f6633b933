"""The round machine: Algorithm 1 of arXiv 1807.04938, one rule at a time. Pure; values are block ids.

`apply(state, input)` returns the next state and what it puts out. An input says that the condition of a rule holds
as far as messages are concerned; the machine knows round, step, lock and "for the first time". So an input may be
given at any time and as often as one likes: where its rule does not fire, the same state object comes back with no
output. Each arm names its lines. Three points where this reads the paper with care:

- A polka for nil does not unlock (the paper has no such rule, whatever CometBFT's older code did).
- Line 36 and line 49 take the value's body from wherever it came: 2f + 1 votes hold those of f + 1 correct validators,
  which voted for the value only because the round's proposer had proposed it.
- Line 21: the proposer, too, waits for timeoutPropose. Else one that cannot build a block would hold up its round.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, TypeAlias

from ledger.votes import VoteType


class Step(IntEnum):
    """Where a validator stands in its round; ordered as the paper orders steps."""

    UNSTARTED = 0
    PROPOSE = 1
    PREVOTE = 2
    PRECOMMIT = 3
    DECIDED = 4


@dataclass(frozen=True, slots=True)
class RoundValue:
    """A value and the round in which it was locked, became valid, or was decided."""

    round: int
    block_id: bytes


@dataclass(frozen=True, slots=True)
class RoundState:
    """The variables of one height (lines 1-9), and two flags for "for the first time" (lines 34 and 47)."""

    round: int = 0
    step: Step = Step.UNSTARTED
    locked: RoundValue | None = None
    valid: RoundValue | None = None
    decision: RoundValue | None = None
    waits_for_prevotes: bool = False
    waits_for_precommits: bool = False

    def describe(self) -> str:
        """Return one line, such as `round 1 prevote, locked 0:6f2c, valid 0:6f2c`."""
        parts = [f"round {self.round} {self.step.name.lower()}"]
        for name, value in (
            ("locked", self.locked),
            ("valid", self.valid),
            ("decided", self.decision),
        ):
            if value is not None:
                parts.append(f"{name} {value.round}:{value.block_id.hex()[:4]}")
        return ", ".join(parts)


# Inputs. Those without a round speak of the current one.


@dataclass(frozen=True, slots=True)
class StartRound:
    """Begin `round`; `is_proposer` tells whether it is ours to propose."""

    round: int
    is_proposer: bool


@dataclass(frozen=True, slots=True)
class ValueBuilt:
    """getValue() of line 18 has returned."""

    block_id: bytes


@dataclass(frozen=True, slots=True)
class FreshProposal:
    """A proposal with validRound -1. `acceptable` is valid(v), and that its time was timely."""

    block_id: bytes
    acceptable: bool


@dataclass(frozen=True, slots=True)
class RepeatedProposal:
    """A proposal with a validRound in which 2f + 1 prevoted for it. Its time is judged no more."""

    block_id: bytes
    pol_round: int
    valid: bool


@dataclass(frozen=True, slots=True)
class PolkaAny:
    """2f + 1 prevotes, for whatever."""


@dataclass(frozen=True, slots=True)
class PolkaValue:
    """2f + 1 prevotes for a block that is here and valid."""

    block_id: bytes


@dataclass(frozen=True, slots=True)
class PolkaNil:
    """2f + 1 prevotes for nil."""


@dataclass(frozen=True, slots=True)
class PrecommitAny:
    """2f + 1 precommits, for whatever."""


@dataclass(frozen=True, slots=True)
class PrecommitValue:
    """2f + 1 precommits, in any round, for a block that is here and valid."""

    round: int
    block_id: bytes


@dataclass(frozen=True, slots=True)
class SkipRound:
    """f + 1 validators have sent votes of a later round."""

    round: int


@dataclass(frozen=True, slots=True)
class TimeoutExpired:
    """OnTimeoutPropose, OnTimeoutPrevote or OnTimeoutPrecommit."""

    round: int
    step: Step


Input: TypeAlias = (
    StartRound
    | ValueBuilt
    | FreshProposal
    | RepeatedProposal
    | PolkaAny
    | PolkaValue
    | PolkaNil
    | PrecommitAny
    | PrecommitValue
    | SkipRound
    | TimeoutExpired
)

# Outputs. All speak of the current round, but for EnterRound.


@dataclass(frozen=True, slots=True)
class GetValue:
    """Call getValue(); answer with `ValueBuilt`."""


@dataclass(frozen=True, slots=True)
class Propose:
    """Broadcast a proposal with this validRound (None for -1)."""

    block_id: bytes
    pol_round: int | None


@dataclass(frozen=True, slots=True)
class CastVote:
    """Broadcast a prevote or a precommit."""

    type: VoteType
    block_id: bytes | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Schedule the timeout of this step."""

    step: Step


@dataclass(frozen=True, slots=True)
class EnterRound:
    """Answer with `StartRound(round, …)`."""

    round: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The height is decided."""

    value: RoundValue


Output: TypeAlias = GetValue | Propose | CastVote | Wait | EnterRound | Decision

_PROPOSE, _PREVOTE, _PRECOMMIT = Step.PROPOSE, Step.PREVOTE, Step.PRECOMMIT
_NOTHING: Final[tuple[Output, ...]] = ()


def apply(state: RoundState, input: Input) -> tuple[RoundState, tuple[Output, ...]]:
    """Return the state after `input`, and the outputs in order; `state` itself and none where no rule fires."""
    round_, step, locked = state.round, state.step, state.locked
    match input:
        # A height that has not begun knows only its beginning; one that is decided knows nothing more.
        case _ if step is Step.DECIDED:
            return state, _NOTHING
        case StartRound(round=0) if step is Step.UNSTARTED:  # line 10
            return _start_round(state, input)
        case _ if step is Step.UNSTARTED:
            return state, _NOTHING

        case StartRound(round=later) if later > round_:  # lines 11-21
            return _start_round(state, input)
        case ValueBuilt(block_id) if step is _PROPOSE:  # lines 18-19
            return state, (Propose(block_id, None),)

        case FreshProposal(block_id, acceptable) if step is _PROPOSE:  # lines 22-27
            agrees = locked is None or locked.block_id == block_id
            return _prevote(state, block_id if acceptable and agrees else None)
        case RepeatedProposal(block_id, pol_round, valid) if (
            step is _PROPOSE and pol_round < round_  # lines 28-33
        ):
            agrees = locked is None or locked.round <= pol_round or locked.block_id == block_id
            return _prevote(state, block_id if valid and agrees else None)

        case PolkaAny() if step is _PREVOTE and not state.waits_for_prevotes:  # lines 34-35
            return replace(state, waits_for_prevotes=True), (Wait(_PREVOTE),)
        case PolkaValue(block_id) if step is _PREVOTE:  # lines 36-43
            return _precommit(remember_lock(state, RoundValue(round_, block_id)), block_id)
        case PolkaValue(block_id) if step is _PRECOMMIT and (
            state.valid is None or state.valid.round < round_  # lines 36, 42-43
        ):
            return replace(state, valid=RoundValue(round_, block_id)), _NOTHING
        case PolkaNil() if step is _PREVOTE:  # lines 44-46
            return _precommit(state, None)

        case PrecommitAny() if not state.waits_for_precommits:  # lines 47-48
            return replace(state, waits_for_precommits=True), (Wait(_PRECOMMIT),)
        case PrecommitValue(decided_round, block_id):  # lines 49-54
            value = RoundValue(decided_round, block_id)
            return replace(state, step=Step.DECIDED, decision=value), (Decision(value),)
        case SkipRound(later) if later > round_:  # lines 55-56
            return state, (EnterRound(later),)

        case TimeoutExpired(round=r, step=Step.PROPOSE) if r == round_ and step is _PROPOSE:
            return _prevote(state, None)  # lines 57-60
        case TimeoutExpired(round=r, step=Step.PREVOTE) if r == round_ and step is _PREVOTE:
            return _precommit(state, None)  # lines 61-64
        case TimeoutExpired(round=r, step=Step.PRECOMMIT) if r == round_:  # lines 65-67
            return state, (EnterRound(round_ + 1),)
        case _:
            return state, _NOTHING


def remember_lock(state: RoundState, lock: RoundValue) -> RoundState:
    """Return the state after a polka: its value is locked and valid (lines 38-39, 42-43), unless a later one is.

    Rounds only grow, so in the paper none can be later. But a validator whose log was lost begins again in round 0
    with the lock that its guard remembers, and then hears of older polkas once more.
    """
    return replace(state, locked=_later(state.locked, lock), valid=_later(state.valid, lock))


def _later(old: RoundValue | None, new: RoundValue) -> RoundValue:
    return old if old is not None and old.round > new.round else new


def _start_round(state: RoundState, start: StartRound) -> tuple[RoundState, tuple[Output, ...]]:
    started = replace(
        state,
        round=start.round,  # line 12
        step=Step.PROPOSE,  # line 13
        waits_for_prevotes=False,
        waits_for_precommits=False,
    )
    if not start.is_proposer:
        return started, (Wait(_PROPOSE),)  # line 21
    if state.valid is not None and state.valid.round < start.round:  # lines 15-16
        return started, (Wait(_PROPOSE), Propose(state.valid.block_id, state.valid.round))
    return started, (Wait(_PROPOSE), GetValue())  # line 18


def _prevote(state: RoundState, block_id: bytes | None) -> tuple[RoundState, tuple[Output, ...]]:
    return replace(state, step=Step.PREVOTE), (CastVote(VoteType.PREVOTE, block_id),)


def _precommit(state: RoundState, block_id: bytes | None) -> tuple[RoundState, tuple[Output, ...]]:
    return replace(state, step=Step.PRECOMMIT), (CastVote(VoteType.PRECOMMIT, block_id),)
