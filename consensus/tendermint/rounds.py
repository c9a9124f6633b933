"""The round machine: Algorithm 1 of arXiv 1807.04938, one transition at a time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Step(IntEnum):
    """Where a validator stands in its round; ordered as the paper orders steps."""

    UNSTARTED = 0
    PROPOSE = 1
    PREVOTE = 2
    PRECOMMIT = 3
    DECIDED = 4


@dataclass(frozen=True, slots=True)
class RoundValue:
    """A value and the round in which it was locked, or became valid: lockedValue and lockedRound of the paper."""

    round: int
    block_id: bytes
