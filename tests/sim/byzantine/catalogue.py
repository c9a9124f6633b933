"""The scripts of faulty validators by the names that `plan.SCRIPTS` has for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.byzantine.blocks import Censorship, InvalidBlocks
from tests.sim.byzantine.liar import Script
from tests.sim.byzantine.messages import Garbage, LyingSyncPeer
from tests.sim.byzantine.proposals import EquivocatingProposer, PartialProposals, WithheldProposals
from tests.sim.byzantine.votes import (
    Amnesia,
    DoubleVotes,
    FarFuture,
    TransplantedVotes,
    VoteFlood,
    WithheldVotes,
)

if TYPE_CHECKING:
    from tests.sim.world import World


class BadClock(Script):
    """An honest node with a clock that is minutes or an hour off."""

    def prepare(self) -> None:
        error_ms = self.random.choice((-3_600_000, -30_000, 8_000, 60_000, 3_600_000))
        self.host.clock_error_ms = error_ms
        self.note("clock far off")


_SCRIPTS: dict[str, type[Script]] = {
    "equivocating proposer": EquivocatingProposer,
    "double votes": DoubleVotes,
    "amnesia": Amnesia,
    "invalid blocks": InvalidBlocks,
    "censorship": Censorship,
    "withheld proposals": WithheldProposals,
    "partial proposals": PartialProposals,
    "withheld votes": WithheldVotes,
    "bad clock": BadClock,
    "far-future rounds": FarFuture,
    "vote flood": VoteFlood,
    "lying sync peer": LyingSyncPeer,
    "garbage": Garbage,
    "transplanted votes": TransplantedVotes,
    "twins": Script,
}


def script_of(kind: str, world: World) -> Script:
    """Return a new script of this name."""
    world.injected[f"validator: {kind}"] += 1
    return _SCRIPTS[kind](world)
