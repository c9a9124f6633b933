"""Whether CometBFT has stopped deciding though its process runs.

CometBFT recovers a panic of its consensus ("CONSENSUS FAILURE!!!" in the log), decides nothing more, and goes on to
answer and to keep its links (its `consensus/state.go`, `receiveRoutine`). Only a new start mends that. What can be seen
of it is that the height stands still while others go on.
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

    def seen(self, height: int, target: int, *, fetching: bool, now_s: float) -> bool:
        """Take in what is so now; tell whether the engine has stopped.

        `target` is the height that others have reached; `fetching` tells that the engine says itself that it catches up
        (by blocksync, whose blocks may all wait for one peer), or that it is not known.
        """
        if fetching or height != self._height or target - height < WELL_BEYOND:
            self._height, self._since_s = height, None
        elif self._since_s is None:
            self._since_s = now_s
        return self._since_s is not None and now_s - self._since_s >= self.PATIENCE_S
