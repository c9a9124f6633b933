"""Hidden votes: the scheduler that locks are for.

For one height, enough precommits of round 0 for its block reach a single node only, the *chosen*: mostly it decides,
alone. So many prevotes stay hidden from the next round's proposer that it knows of no polka and proposes another
block. As soon as the chosen has committed, it is cut off for a while, and the rest may crash. Only their locks now
stand between its block and another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from consensus.tendermint.messages import VotesMessage, encode_message
from ledger.votes import SignedVote, VoteType
from node.messages import ConsensusPayload
from tests.sim.sharing import read_consensus, read_frame

if TYPE_CHECKING:
    from tests.sim.world import World

HIDDEN_S = 7.0
"""Long enough for several rounds."""

LOOK_S = 0.25
"""How often it is seen whether a height is over."""


@dataclass(frozen=True)
class _Rule:
    height: int
    chosen: str
    blind: str
    until_s: float
    has_struck: bool = False


class Hiding:
    """Applies one rule after the other while the faults last."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rule: _Rule | None = None

    def begin(self) -> None:
        """Choose height and roles."""
        world = self._world
        if world.stopped or not world.stormy:
            self._rule = None
            return
        height = world.judge.height + 2
        validators = world.judge.reference.tip.validators
        names = [v.name for v in validators if v.name not in world.faulty_names]
        blind = validators.proposer(height, 1).name
        if blind not in names:
            blind = world.random.choice(names)
        chosen = world.random.choice([name for name in names if name != blind])
        self._rule = _Rule(height, chosen, blind, world.loop.now_s + HIDDEN_S)
        world.loop.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        """Go on to another height when everybody has decided this one, or nobody will for long."""
        world, rule = self._world, self._rule
        assert rule is not None
        if world.loop.now_s >= rule.until_s or all(
            host.height >= rule.height for host in world.correct if host is not world.standby
        ):
            self.begin()
            return
        if not rule.has_struck and world.hosts[rule.chosen].height >= rule.height:
            self._rule = replace(rule, has_struck=True)
            self._strike(rule)
        world.loop.call_later(LOOK_S, self._look)

    def _strike(self, rule: _Rule) -> None:
        """Let those crash whose locks are all that stands against another block: a lock outlives its process."""
        world = self._world
        if world.plan.crash and world.random.random() < 0.5:
            for host in world.correct:
                if host.name != rule.chosen and host.process is not None:
                    world.injected["crash after a lonely decision"] += 1
                    host.crash()

    def isolates(self, one: str, other: str) -> bool:
        """Whether nothing passes between these two: the chosen has decided."""
        rule = self._rule
        if rule is None or not self._world.stormy or rule.chosen not in (one, other):
            return False
        return self._world.hosts[rule.chosen].height >= rule.height

    def passes(self, name: str, frame: bytes) -> bytes | None:
        """Return what of a frame may reach `name`."""
        if self._rule is None or not self._world.stormy:
            return frame
        message = read_frame(frame)
        if not isinstance(message, ConsensusPayload):
            return frame
        said = read_consensus(message.payload)
        if not isinstance(said, VotesMessage):
            return frame
        votes = tuple(vote for vote in said.votes if not self._hides(self._rule, name, vote))
        if len(votes) == len(said.votes):
            return frame
        self._world.injected["vote hidden"] += len(said.votes) - len(votes)
        return ConsensusPayload(encode_message(VotesMessage(votes))).encode() if votes else None

    def _hides(self, rule: _Rule, name: str, signed: SignedVote) -> bool:
        vote = signed.vote
        if (vote.height, vote.round) != (rule.height, 0) or vote.block_id is None:
            return False
        if vote.validator != rule.chosen and vote.validator not in self._world.faulty_names:
            return False  # the rest alone are no quorum
        return name != rule.chosen if vote.type is VoteType.PRECOMMIT else name == rule.blind
