"""What a node knows of itself at one moment: `node.watch` gathers it, `node.diagnosis` says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from node.refusals import Refusal


@dataclass(frozen=True, slots=True)
class Damage:
    """The store was found damaged when this process opened it: what was done, and the height it had reached."""

    text: str
    height: int | None


@dataclass(frozen=True, slots=True)
class Certificate:
    """When a certificate stops being valid. `name` is the node or the authority that it is of."""

    kind: Literal["own", "peer", "authority"]
    name: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class UnsignedCheckpoint:
    """A checkpoint that this validator must not sign: `other_keys` are those keys of ours that the ledger does not
    register for it; where there are none, the guard forbids it.
    """

    height: int
    other_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """What a node knows of itself at one moment; the defaults say that nothing is wrong.

    `height` is the last committed one. `waiting_s` tells how long something has waited for the next height to be
    decided, `is_started` whether that height has started here, `patience_s` how long that may take. `silent` are
    validators whose votes of the newest full round have not been seen, `untimely` is who proposed a block whose time
    did not fit, `diverged` what shows that this node's data are not the others', `engine_problem` why an engine that
    is a process of its own does not work. `clock_offsets_ms` says how far linked validators' clocks are ahead of ours,
    at least. `quorum_s` tells how long there has been a quorum, `unhelped_s` how long this node has been `behind`
    without getting a block. `is_starting` says that links have not had the time to come up, `refusals` why some that
    did have ended at once.
    """

    name: str
    now_ms: int
    height: int = 0
    round: int = 0
    is_started: bool = False
    waiting_s: float = 0.0
    patience_s: float = 10.0
    validators: tuple[str, ...] = ()
    online: frozenset[str] = frozenset()
    quorum: int = 0
    quorum_s: float = math.inf
    faults_tolerated: int = 0
    is_starting: bool = False
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    untimely: str | None = None
    diverged: str | None = None
    engine_problem: str | None = None
    is_guard_silent: bool = False
    is_proven: bool = True
    unsigned_checkpoint: UnsignedCheckpoint | None = None
    behind: int = 0
    unhelped_s: float = 0.0
    damage: Damage | None = None
    clock_offsets_ms: Mapping[str, int] = field(default_factory=dict)
    certificates: tuple[Certificate, ...] = ()
    is_index_failing: bool = False
    mempool_fill: float = 0.0
    disk_free_bytes: int | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """Validators that are not online."""
        return tuple(name for name in self.validators if name not in self.online)

    @property
    def has_quorum(self) -> bool:
        return len(self.validators) - len(self.missing) >= self.quorum

    @property
    def is_quorum_new(self) -> bool:
        """Whether there is a quorum that has not had the time to decide what has waited for it."""
        return self.has_quorum and self.quorum_s <= self.patience_s

    @property
    def online_text(self) -> str:
        online = len(self.validators) - len(self.missing)
        return f"{online} of {len(self.validators)} validators online, {self.quorum} needed"

    @property
    def online_numbers(self) -> dict[str, int | float]:
        return {
            "online": len(self.validators) - len(self.missing),
            "total": len(self.validators),
            "needed": self.quorum,
        }
