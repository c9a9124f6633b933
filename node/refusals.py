"""Why nodes refuse each other, as links tell it before they end: for the diagnosis, never for consensus.

A node that is refused sees nothing but links that end, and again after each dial. What the other end said, or what we
held against it, is kept here for as long as it is refused before it may try again, and a little longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

KEPT_S: Final = 45.0
"""A peer is refused for 30 s; when it has dialled again, the refusal is noted anew."""

MAX_REASON_BYTES: Final = 120
"""What a closing frame of WebSocket has room for is 123 bytes."""

ENGINES_DIFFER: Final = (
    "one end has the engine tendermint, the other cometbft: a network has one for all its nodes"
)
"""Said of a message that only a node with the other engine sends."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a link ended at once. `is_ours` tells whether this node refused the other, or the other this one."""

    is_ours: bool
    reason: str


class Refusals:
    """The newest refusal of each node. Times are of a monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._noted: dict[str, tuple[Refusal, float]] = {}

    def note(self, name: str, refusal: Refusal, now_s: float) -> None:
        """Note why a link with a node has ended."""
        self._noted = {one: kept for one, kept in self._noted.items() if _is_recent(kept[1], now_s)}
        self._noted[name] = refusal, now_s

    def recent(self, now_s: float) -> Mapping[str, Refusal]:
        """Return who refuses us, and whom we refuse."""
        return {
            name: one for name, (one, then_s) in self._noted.items() if _is_recent(then_s, now_s)
        }


def reason_to_send(text: str) -> str:
    """Return a reason as it fits into a closing frame."""
    return text.encode("ascii", "backslashreplace")[:MAX_REASON_BYTES].decode("ascii")


def _is_recent(then_s: float, now_s: float) -> bool:
    return now_s - then_s <= KEPT_S
