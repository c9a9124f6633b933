"""Whether CometBFT has stopped deciding though its process runs.

CometBFT recovers a panic of its consensus ("CONSENSUS FAILURE!!!" in the log), decides nothing more, and goes on to
answer and to keep its links (its `consensus/state.go`, `receiveRoutine`). Only a new start mends that. What can be seen
of it is that the height stands still while others go on. The same is seen of a process that hangs, and answers no more.
"""

from __future__ import annotations

from typing import ClassVar, Final

WELL_BEYOND: Final = 5
"""Heights that others must be ahead of us: what is on its way from them lies closer together."""


class Standstill:
    """Follows one height. Ask it about once a second."""

    PATIENCE_S: ClassVar[float] = 60.0
    """How long no height may come: a full block comes over a slow link in less."""

    def __init__(self) -> None:
        self._height = -1
        self._since_s: float | None = None
        self._has_answered = False

    def seen(self, height: int, target: int, *, catching_up: bool | None, now_s: float) -> bool:
        """Take in what is so now; tell whether the engine has stopped.

        `target` is the height that others have reached; `catching_up` is what the engine says itself (by blocksync,
        whose blocks may all wait for one peer), or None where it is silent. Before its first answer it may replay
        its own blocks; one that has answered and is silent now may hang, and gets no more patience than others.
        """
        if catching_up is None:
            fetching = not self._has_answered
        else:
            fetching, self._has_answered = catching_up, True
        if fetching or height != self._height or target - height < WELL_BEYOND:
            self._height, self._since_s = height, None
        elif self._since_s is None:
            self._since_s = now_s
        return self._since_s is not None and now_s - self._since_s >= self.PATIENCE_S
