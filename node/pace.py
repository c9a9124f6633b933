"""When a height starts: an idle chain makes no blocks, a busy one pauses between them.

A height starts when a validator has started it; or, after the pause, when a transaction or evidence waits, the set of
validators is changing, or the heartbeat is due: an empty block that keeps the checkpoint fresh. All
waiting is by the monotonic clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from node.config import ConsensusConfig


class Pace:
    """Calls `start` once for each height when it is time. Belongs to the event loop."""

    def __init__(
        self, config: ConsensusConfig, has_work: Callable[[], bool], start: Callable[[int], None]
    ) -> None:
        self._config = config
        self._has_work = has_work
        self._start = start
        self._height: int | None = None
        self._started = True
        self._heard = 0
        self._earliest = 0.0
        self._heartbeat_due = False
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def next_height(self, height: int | None, *, age_ms: int = 0, started: bool = False) -> None:
        """Go on to `height`, None where this node does not vote.

        `age_ms` is how old the last block is where it has not just been committed, by our clock, which may be wrong:
        so it hastens one heartbeat, never the next ones.
        """
        self._height = height
        self._started = started
        self._earliest = time.monotonic() + self._config.block_pause_ms / 1000
        self._heartbeat_due = False
        interval_ms = self._config.heartbeat_interval_ms
        delay_ms = interval_ms - min(max(0, age_ms), interval_ms)
        self._set_timer("heartbeat", delay_ms / 1000, self._heartbeat)

    def heard(self, height: int) -> None:
        """Note that a validator has started a height."""
        if height > self._heard:
            self._heard = height
            self.consider()

    @property
    def is_heard(self) -> bool:
        """Whether a validator has started the height that is ours."""
        return self._height is not None and self._heard >= self._height

    def consider(self) -> None:
        """Start the height if there is a reason to, now or when the pause is over."""
        height = self._height
        if height is None or self._started:
            return
        if not self.is_heard:
            if not self._heartbeat_due and not self._has_work():
                return
            delay_s = self._earliest - time.monotonic()
            if delay_s > 0:
                self._set_timer("start", delay_s, self.consider)
                return
        self._started = True
        self._start(height)

    def _heartbeat(self) -> None:
        self._heartbeat_due = True
        self.consider()

    def _set_timer(self, name: str, delay_s: float, callback: Callable[[], None]) -> None:
        known = self._timers.get(name)
        if known is not None:
            known.cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(delay_s, callback)
