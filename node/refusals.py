"""Why nodes refuse each other, as links tell it before they end: for the diagnosis, never for consensus.

A node that is refused sees nothing but links that end, and again after each dial. What the other end said, or what we
held against it, is kept here for as long as it is refused before it may try again, and a little longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

BAN_S: Final = 30.0
"""How long a peer that sent garbage is refused."""

KEPT_S: Final = 1.5 * BAN_S
"""When a refused peer has dialled again, the refusal is noted anew."""

MAX_NOTED: Final = 256
"""More than a network has nodes; whoever may name nodes could name many."""

LIVED_S: Final = 5.0
"""A link that lasted so long was none that ends at once: what was noted before it is over."""

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
        self._noted.pop(name, None)
        if len(self._noted) >= MAX_NOTED:
            del self._noted[next(iter(self._noted))]
        self._noted[name] = replace(refusal, reason=as_shown(refusal.reason)), now_s

    def forget(self, name: str) -> None:
        """Forget what was noted of a node: it has been linked since."""
        self._noted.pop(name, None)

    def recent(self, now_s: float) -> Mapping[str, Refusal]:
        """Return who refuses us, and whom we refuse."""
        return {
            name: one for name, (one, then_s) in self._noted.items() if _is_recent(then_s, now_s)
        }


def as_shown(text: str) -> str:
    """Return a reason, perhaps a stranger's, as it may be shown: bounded, and without control characters."""
    return "".join(one if one.isprintable() else "?" for one in text[:MAX_REASON_BYTES])


def reason_to_send(text: str) -> str:
    """Return a reason as it fits into a closing frame."""
    return as_shown(text).encode("ascii", "backslashreplace")[:MAX_REASON_BYTES].decode("ascii")


def _is_recent(then_s: float, now_s: float) -> bool:
    return now_s - then_s <= KEPT_S
