"""How long a round waits, and how old a new block may be. Pure arithmetic; the runner holds the clocks."""

from __future__ import annotations

from dataclasses import dataclass

from consensus.tendermint.rounds import Step
from ledger.limits import CLOCK_BOUND_MS


@dataclass(frozen=True, slots=True)
class Timeouts:
    """timeoutPropose, timeoutPrevote and timeoutPrecommit of the paper: they grow with the round, up to a cap.

    Growing is what makes a round long enough in the end, whatever the network's delay is. The first rounds are
    short, so that one dead proposer costs little; each later round is half as long again, until `cap_ms`.
    A new height begins with short ones again.
    """

    propose_ms: int = 1_000
    prevote_ms: int = 500
    precommit_ms: int = 500
    cap_ms: int = 60_000

    def __post_init__(self) -> None:
        if not min(self.propose_ms, self.prevote_ms, self.precommit_ms) > 0:
            raise ValueError("timeouts are positive")
        if self.cap_ms < 60_000:
            raise ValueError("a cap below a minute could be less than the network's delay")

    def duration_ms(self, step: Step, round: int) -> int:
        """Return how long `step` of `round` waits."""
        match step:
            case Step.PROPOSE:
                return self._grown_ms(self.propose_ms, round)
            case Step.PREVOTE:
                return self._grown_ms(self.prevote_ms, round)
            case Step.PRECOMMIT:
                return self._grown_ms(self.precommit_ms, round)
            case _:
                raise ValueError(f"step {step.name} has no timeout")

    def _grown_ms(self, first_ms: int, round: int) -> int:
        duration_ms = first_ms
        for _ in range(round):
            if duration_ms >= self.cap_ms:
                break
            duration_ms += duration_ms // 2 + 1
        return min(duration_ms, self.cap_ms)

    def message_delay_ms(self, round: int) -> int:
        """Return how long a proposal of `round` may have been under way without counting as old."""
        return self.duration_ms(Step.PROPOSE, round)


def is_timely(block_time_ms: int, received_ms: int, round: int, timeouts: Timeouts) -> bool:
    """Tell whether a fresh block's time fits our clock at the moment when proposal and body are here.

    receipt - 5 s - delay(round) ≤ time ≤ receipt + 5 s. Judged once, by the runner, which puts the answer into the
    event; it touches the prevote of line 22 and nothing else. Times in milliseconds since the epoch.
    """
    oldest_ms = received_ms - CLOCK_BOUND_MS - timeouts.message_delay_ms(round)
    return oldest_ms <= block_time_ms <= received_ms + CLOCK_BOUND_MS
