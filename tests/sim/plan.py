"""What goes wrong in one run: drawn from its seed, printed before the run begins."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from random import Random
from typing import Any

PARTITIONS = ("none", "halves", "one alone", "unheard", "one way", "ring", "flapping")

SCRIPTS = (
    "equivocating proposer",
    "double votes",
    "amnesia",
    "invalid blocks",
    "censorship",
    "withheld proposals",
    "partial proposals",
    "withheld votes",
    "bad clock",
    "far-future rounds",
    "vote flood",
    "lying sync peer",
    "garbage",
    "transplanted votes",
    "twins",
)


CALM_DELAY_MS = (2, 10)
"""What frames take between storms and after healing."""

MANIFOLD = ("invalid blocks", "invalid blocks")
"""Drawn more often than others: there are some thirty kinds."""

VOTING = ("double votes", "double votes", "equivocating proposer", "amnesia", "twins")
"""Those that do most harm where a single lock protects a decision."""


@dataclass(frozen=True)
class Plan:
    """Fault settings. Probabilities are per frame, per crash point or per crash."""

    n: int = 4
    seconds: int = 12
    """Of the phase with faults."""
    calm_s: float = 0.0
    """Between storms; 0: one storm all the time."""
    scripts: tuple[str, ...] = ()
    """What the faulty validators do, one each."""
    loss: float = 0.0
    duplication: float = 0.0
    delay_ms: tuple[int, int] = CALM_DELAY_MS
    delay_stays: bool = False
    """Frames take as long after healing: only timeouts that grow bring such a network on."""
    late: float = 0.0
    """Frames that come up to two seconds late, behind later ones."""
    bytes_per_s: int = 0
    """Bandwidth of each link in each direction; 0: no limit."""
    partitions: tuple[str, ...] = ()
    crash: float = 0.0
    outage_ms: int = 4_000
    all_at_once: bool = False
    """Sometimes power fails for everybody, most often when the first of them have locked a block."""
    write_error: float = 0.0
    """Of writes: the disk is full, or the sync fails. The process must end."""
    pause_s: float = 0.0
    """Now and then a process stands still, at most so long."""
    lost_data: float = 0.0
    """Of crashes of those who may lose it: the data directory is gone, or an old copy is put back."""
    lost_guard: float = 0.0
    clock_error_ms: int = 0
    clock_jumps: bool = False
    hidden_votes: bool = False
    validator_changes: bool = False
    checkpoints: bool = False
    bad_transactions: bool = False
    pause_ms: int = 40
    """Between a client's transactions."""

    @property
    def faults_tolerated(self) -> int:
        return (self.n - 1) // 3

    def describe(self) -> str:
        """Return the settings that differ from those of a quiet run."""
        parts = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if field.name == "n" or getattr(self, field.name) != field.default
        ]
        return " ".join(parts)


BLACKOUT = Plan(seconds=150, all_at_once=True, outage_ms=40_000, pause_ms=1_000)
"""Power fails for all after a polka and stays away for long: bodies must be on disk, old blocks must still do."""


LOST_LOGS = Plan(seconds=8, crash=0.004, outage_ms=50, lost_data=1.0, loss=0.15)
"""One validator loses its log or more at every crash: only the record of its newest signature binds it."""

SLOW = Plan(seconds=40, delay_ms=(1_200, 2_500), delay_stays=True, pause_ms=1_000)
"""Slower than the first rounds' timeouts, for good."""


def plan_of(seed: int) -> Plan:
    """Return the fault settings of a seed."""
    random = Random(f"plan {seed}")

    def sometimes(chance: float) -> bool:
        return random.random() < chance

    n = 7 if sometimes(0.1) else 4
    f = (n - 1) // 3
    scripts = tuple(random.choice((*SCRIPTS, *MANIFOLD)) for _ in range(random.choice((0, f, f))))
    if sometimes(0.15):
        liars = tuple(random.choice(VOTING) for _ in range(f))
        crash = random.choice((0.0, 0.004))
        return Plan(n=n, seconds=20, scripts=liars, hidden_votes=True, crash=crash, outage_ms=200)
    if sometimes(0.05):
        return replace(BLACKOUT, n=n, loss=random.choice((0.0, 0.25, 0.25)))
    if sometimes(0.05):
        return replace(LOST_LOGS, n=n, lost_guard=random.choice((0.0, 0.2)))
    if sometimes(0.04):
        return replace(SLOW, n=n, crash=random.choice((0.0, 0.002)))
    losses: dict[str, Any] = {}
    if sometimes(0.6):
        losses = {
            "loss": random.choice((0.0, 0.02, 0.1, 0.25)),
            "duplication": random.choice((0.0, 0.1)),
            "delay_ms": random.choice(((1, 5), (2, 40), (20, 250))),
            "late": random.choice((0.0, 0.05)),
            "bytes_per_s": random.choice((0, 0, 20_000, 100_000)),
        }
    crashes: dict[str, Any] = {}
    if sometimes(0.6):
        crashes = {
            "crash": random.choice((0.0005, 0.002, 0.006)),
            "outage_ms": random.choice((50, 500, 4_000)),
            "all_at_once": sometimes(0.3),
            "lost_data": 0.3 if sometimes(0.4) else 0.0,
            "write_error": random.choice((0.0, 0.0, 0.001, 0.005)),
            "pause_s": random.choice((0.0, 0.0, 0.5, 4.0)),
            "lost_guard": 0.2 if sometimes(0.2) else 0.0,
        }
    clock_error_ms = random.choice((0, 0, 500, 2_000))
    return Plan(
        n=n,
        seconds=random.randint(5, 10),
        calm_s=random.choice((0.0, 1.0, 2.0, 3.0)),
        scripts=scripts,
        partitions=tuple(random.sample(PARTITIONS, 3)) if sometimes(0.4) else (),
        clock_error_ms=clock_error_ms,
        clock_jumps=clock_error_ms > 0 and sometimes(0.5),
        validator_changes=sometimes(0.25),
        checkpoints=sometimes(0.4),
        bad_transactions=sometimes(0.3),
        **losses,
        **crashes,
    )
