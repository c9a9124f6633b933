"""Whether the other end of a link still answers, and how long ago it was asked what it has answered.

A link that is there says little: a host that has vanished, a cut cable and a process that is stopped leave it open. So
each end asks the other every second, and what counts is when the newest question was asked that has been answered:
everything that the other had sent before it answered is here by then. The time of hearing would not do, since what
comes may have waited in a buffer, as it does at a process that has been stopped itself. Questions and answers pass
the queues that votes pass: whoever answers late has no part in rounds either.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from node.errors import InvalidPeerMessage

ASK_INTERVAL_S: Final = 1.0
"""How often the other end is asked. A question and its answer are some 20 bytes each."""

SILENT_S: Final = 5.0
"""An end that has answered nothing that was asked since then counts as absent: some five rounds have passed."""

MAX_IN_VAIN: Final = 15
"""Questions in a row while not one byte comes, after which a link is given up and dialled anew. Counted, not timed:
a process that has been stopped does not blame the others. A frame of 8 MiB may take longer, but its bytes come."""


class Pulse:
    """One link's questions and answers. Times are of a monotonic clock, in seconds; a new link has just answered."""

    def __init__(self, now_s: float) -> None:
        self._answered_s = now_s
        self._asked: deque[tuple[int, float]] = deque(maxlen=2 * MAX_IN_VAIN)
        self._newest = 0
        self._in_vain = 0
        self._received_bytes = 0
        self.round_trip_s: float | None = None

    def ask(self, now_s: float, received_bytes: int, *, listening: bool) -> int:
        """Return the number of a new question.

        `received_bytes` is what has come so far. While not `listening`, nothing can come, and silence is our own.
        """
        silent = listening and received_bytes == self._received_bytes
        self._in_vain = self._in_vain + 1 if silent else 0
        self._received_bytes = received_bytes
        self._newest += 1
        self._asked.append((self._newest, now_s))
        return self._newest

    def answered(self, number: int, now_s: float) -> None:
        """Take an answer.

        Raises:
            InvalidPeerMessage: to a question that was never asked.
        """
        if not 0 < number <= self._newest:
            raise InvalidPeerMessage(f"an answer to question {number} of {self._newest}")
        while self._asked and self._asked[0][0] <= number:
            _, self._answered_s = self._asked.popleft()
            self.round_trip_s = now_s - self._answered_s

    def is_fresh(self, now_s: float) -> bool:
        """Tell whether something that was asked a moment ago has been answered."""
        return now_s - self._answered_s <= SILENT_S

    @property
    def is_lost(self) -> bool:
        """Whether the link is to be given up."""
        return self._in_vain >= MAX_IN_VAIN
