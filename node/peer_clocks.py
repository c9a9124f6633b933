"""How far other nodes' clocks are ahead of ours, from the times that they tell with their status.

A time that was sent at s and came at r, each read on its own clock, shows an offset of s - r plus the time under way.
That is mostly short, so the greatest difference of the last half minute is kept; what is left is at most the link's
round trip. What is returned is the offset nearest to zero that fits both: it accuses nobody whose message was only
slow. Nothing is judged by one message alone, nor before the round trip is known. Consensus never looks at any of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 15.0
"""The greatest difference of this window and of the one before counts: a clock that was set back shows within twice
as long, and one slow message in between does not."""


@dataclass(frozen=True, slots=True)
class _Samples:
    """The greatest difference of the current window, which began at `since_s`, and of the one before it."""

    since_s: float
    newest_ms: int
    before_ms: int | None = None
    is_confirmed: bool = False
    """Whether there has been more than one."""

    @property
    def greatest_ms(self) -> int:
        return self.newest_ms if self.before_ms is None else max(self.newest_ms, self.before_ms)

    def with_sample(self, difference_ms: int, now_s: float) -> _Samples:
        age_s = now_s - self.since_s
        if age_s < WINDOW_S:
            newest_ms = max(self.newest_ms, difference_ms)
            return _Samples(self.since_s, newest_ms, self.before_ms, is_confirmed=True)
        before_ms = self.newest_ms if age_s < 2 * WINDOW_S else None
        return _Samples(now_s, difference_ms, before_ms, is_confirmed=before_ms is not None)


class PeerClocks:
    """Differences by node. `now_s` is a monotonic time."""

    def __init__(self) -> None:
        self._samples: dict[str, _Samples] = {}

    def told(self, name: str, difference_ms: int, now_s: float) -> None:
        """Note that a node's time was ahead of ours by `difference_ms` when it came."""
        known = self._samples.get(name)
        self._samples[name] = (
            _Samples(now_s, difference_ms)
            if known is None
            else known.with_sample(difference_ms, now_s)
        )

    def forget(self, name: str) -> None:
        """Drop what is known of a node whose link has ended."""
        self._samples.pop(name, None)

    def offsets_ms(self, round_trips_s: Mapping[str, float | None], now_s: float) -> dict[str, int]:
        """Return how far the clocks of nodes are ahead of ours, at least; `round_trips_s` has None where unknown."""
        offsets_ms = {}
        for name, round_trip_s in round_trips_s.items():
            samples = self._samples.get(name)
            if samples is None or round_trip_s is None or not samples.is_confirmed:
                continue
            if now_s - samples.since_s < 2 * WINDOW_S:
                round_trip_ms = round(round_trip_s * 1000)
                offsets_ms[name] = _nearest_to_zero(samples.greatest_ms, round_trip_ms)
        return offsets_ms


def _nearest_to_zero(difference_ms: int, round_trip_ms: int) -> int:
    """Return what of difference … difference + round trip is nearest to zero."""
    if difference_ms > 0:
        return difference_ms
    return min(0, difference_ms + round_trip_ms)
