"""Why a node cannot make progress, or soon will not: findings from what is known, pure and in a fixed order.

`diagnose(Observation) -> tuple[Finding, ...]`, critical ones first. `node.watch` gathers the observation; the API,
the log and the metrics show the findings. Rules:

- A finding says what is wrong and what to do, in one sentence, and carries its figures for machines.
- Nobody is accused on one witness: our clock is judged by the median of more validators than may be faulty.
- What is not known is no finding: each part of an observation has a value that says "nothing wrong".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from ledger.limits import CLOCK_BOUND_MS
from node.observation import Observation

CLOCK_WARNING_MS: Final = 2_000
"""Clocks this far apart are worth a word; beyond `CLOCK_BOUND_MS` blocks count as untimely."""

EXPIRY_WARNING_DAYS: Final = 30
"""From here on a certificate is warned of: time for a signed renewal by people."""

EXPIRY_CRITICAL_DAYS: Final = 3

MAX_BEHIND: Final = 2
"""Blocks that a node may be behind and still serve current answers: they are on their way."""

UNHELPED_S: Final = 15.0
"""A node that is behind and has got no block for so long is not being helped; an unanswered request takes 10 s."""

MEMPOOL_FULL: Final = 0.95

DISK_WARNING_BYTES: Final = 10 * 1024**3
DISK_CRITICAL_BYTES: Final = 1024**3
"""What a few days' and a few hours' transactions, and LevelDB's compactions beside them, may need."""

_DAY_MS: Final = 86_400_000

Severity = Literal["critical", "warning"]


class Code(StrEnum):
    """What can be found, in the order in which findings of one severity stand."""

    DIVERGED = "diverged"
    ENGINE_SILENT = "engine_silent"
    STALLED = "stalled"
    REFUSED = "refused"
    NO_QUORUM = "no_quorum"
    VALIDATORS_OFFLINE = "validators_offline"
    DATABASE_DAMAGED = "database_damaged"
    SYNC_STUCK = "sync_stuck"
    CATCHING_UP = "catching_up"
    NO_CHECKPOINT = "no_checkpoint"
    KEYS_DIFFER = "keys_differ"
    CHECKPOINT_UNSIGNED = "checkpoint_unsigned"
    GUARD_SILENT = "guard_silent"
    INDEX_UNAVAILABLE = "index_unavailable"
    CLOCK_OFF = "clock_off"
    PEER_CLOCK_OFF = "peer_clock_off"
    CERTIFICATE_EXPIRES = "certificate_expires"
    AUTHORITY_EXPIRES = "authority_expires"
    MEMPOOL_FULL = "mempool_full"
    DISK_LOW = "disk_low"


NOT_READY: Final = frozenset(
    {
        Code.DIVERGED,
        Code.ENGINE_SILENT,
        Code.STALLED,
        Code.REFUSED,
        Code.NO_QUORUM,
        Code.SYNC_STUCK,
        Code.CATCHING_UP,
        Code.NO_CHECKPOINT,
    }
)
"""With one of these a node's answers are not current."""

OPERATORS_ONLY: Final = frozenset({Code.DISK_LOW})
"""Not shown over HTTP: it would tell a stranger when flooding the node pays. The log has it."""

ABOUT_ONE_NODE: Final = frozenset(
    {Code.PEER_CLOCK_OFF, Code.CERTIFICATE_EXPIRES, Code.AUTHORITY_EXPIRES}
)
"""There is one of these for each node or authority that it names."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `names` are the nodes or authorities concerned, `numbers` its figures by name."""

    severity: Severity
    code: Code
    text: str
    names: tuple[str, ...] = ()
    numbers: Mapping[str, int | float] = field(default_factory=dict)

    @property
    def ends_readiness(self) -> bool:
        """Whether a node with this finding does not serve current answers."""
        return self.code in NOT_READY

    @property
    def is_public(self) -> bool:
        """Whether strangers may see it."""
        return self.code not in OPERATORS_ONLY

    def to_json(self) -> dict[str, object]:
        """Return the object that the API shows."""
        return {
            "severity": self.severity,
            "code": self.code.value,
            "text": self.text,
            "names": list(self.names),
            "numbers": dict(self.numbers),
        }


def diagnose(seen: Observation) -> tuple[Finding, ...]:
    """Return what is wrong, critical findings first, otherwise in the order of `Code`."""
    checks = (
        _progress,
        _damage,
        _sync,
        _checkpoints,
        _guard,
        _index,
        _clocks,
        _certificates,
        _room,
    )
    found = [finding for check in checks for finding in check(seen)]
    order = list(Code)
    found.sort(key=lambda one: (one.severity != "critical", order.index(one.code)))
    return tuple(found)


def clock_offset_ms(seen: Observation) -> int | None:
    """Return how far the validators' median clock is ahead of ours; None where too few have been measured.

    More validators than may be faulty must have been. Of two values in the middle that nearer to zero counts.
    """
    offsets = sorted(seen.clock_offsets_ms.values())
    if not offsets or len(offsets) <= seen.faults_tolerated:
        return None
    middle = offsets[(len(offsets) - 1) // 2], offsets[len(offsets) // 2]
    if middle[0] < 0 < middle[1]:
        return 0
    return min(middle, key=abs)


# --- checks, each for one part of an observation ------------------------------------------------------


def _progress(seen: Observation) -> Iterator[Finding]:
    if seen.diverged is not None:
        yield Finding(
            "critical",
            Code.DIVERGED,
            f"{seen.diverged}: compare its release with the others', then check its data with `mulu node fsck`",
            numbers={"height": seen.height + 1},
        )
    if seen.engine_problem is not None:
        yield Finding(
            "critical",
            Code.ENGINE_SILENT,
            f"{seen.engine_problem}: wait until both of this node's processes run, or look into its log",
        )
    if seen.waiting_s > seen.patience_s:
        yield _stalled(seen)
    if not seen.has_quorum:
        yield from _refused(seen)
        yield _no_quorum(seen)
    elif seen.missing and not seen.is_starting:
        yield _offline(seen)


def _refused(seen: Observation) -> Iterator[Finding]:
    """Yield why this node gets no links: what it has in common with more validators than may be faulty."""
    told = Counter(seen.refusals[name].reason for name in seen.missing if name in seen.refusals)
    for reason, count in told.most_common(1):
        if count <= seen.faults_tolerated:
            return
        names = tuple(
            name
            for name in seen.missing
            if name in seen.refusals and seen.refusals[name].reason == reason
        )
        ours = {seen.refusals[name].is_ours for name in names}
        if ours == {True}:
            who = f"this node refuses {_list(names)}"
        elif ours == {False}:
            who = f"{_list(names)} {'refuses' if count == 1 else 'refuse'} this node"
        else:
            who = f"this node and {_list(names)} refuse each other"
        text = f"{who}: '{reason}': compare this node's configuration with theirs"
        yield Finding("critical", Code.REFUSED, text, names)


def _no_quorum(seen: Observation) -> Finding:
    severity: Severity = "critical"
    text = f"no quorum: {_missing_text(seen)}"
    if seen.is_starting:
        severity = "warning"
        text = f"no quorum yet, just started: {seen.online_text}; missing {_list(seen.missing)}: wait for links"
    return Finding(severity, Code.NO_QUORUM, text, seen.missing, seen.online_numbers)


def _offline(seen: Observation) -> Finding:
    many = len(seen.missing) > 1
    spare = len(seen.validators) - len(seen.missing) - seen.quorum
    more = (
        "one more failure stops the chain"
        if spare == 0
        else f"{spare} more may fail before the chain stops"
    )
    return Finding(
        "warning",
        Code.VALIDATORS_OFFLINE,
        f"{'validators' if many else 'validator'} {_list(seen.missing)} {'are' if many else 'is'} offline or not"
        f" linked here: {seen.online_text}; as seen from here, {more}: start {'them' if many else 'it'}"
        " or mend the links",
        seen.missing,
        {**seen.online_numbers, "spare": spare},
    )


def _stalled(seen: Observation) -> Finding:
    where = f"height {seen.height + 1}"
    if seen.is_started:
        where += f", round {seen.round}"
    causes, names = _causes(seen)
    return Finding(
        "warning" if seen.is_quorum_new else "critical",
        Code.STALLED,
        f"stalled at {where}, for {seen.waiting_s:.0f} s: {'; '.join(causes)}",
        names,
        {
            "height": seen.height + 1,
            "round": seen.round,
            "seconds": round(seen.waiting_s),
            **seen.online_numbers,
        },
    )


def _missing_text(seen: Observation) -> str:
    return (
        f"{seen.online_text}; missing {_list(seen.missing)}: start them or mend the links to them"
    )


def _causes(seen: Observation) -> tuple[list[str], tuple[str, ...]]:
    """Return why no block is decided as far as that is known, with the names of those concerned."""
    if not seen.has_quorum:
        return [_missing_text(seen)], seen.missing
    if seen.is_quorum_new:
        return [f"{seen.online_text}, back for {seen.quorum_s:.0f} s: wait"], seen.missing
    causes, names = [seen.online_text], list(seen.missing)
    if not seen.is_started:
        causes.append("transactions wait, but no validator that is linked here starts the height")
    silent = tuple(name for name in seen.silent if name not in seen.missing)
    if silent:
        causes.append(f"online, but not voting: {_list(silent)}: look into their status and log")
        names += silent
    if seen.untimely is not None:
        causes.append(
            f"the time of the block that {seen.untimely} proposed does not fit this node's clock:"
            " compare both clocks"
        )
        names += [seen.untimely] if seen.untimely not in names else []
    if len(causes) == 1:
        causes.append("all online validators vote: look for slow links and at the validators' logs")
    return causes, tuple(names)


def _damage(seen: Observation) -> Iterator[Finding]:
    if seen.damage is None:
        return
    at = "" if seen.damage.height is None else f" at height {seen.damage.height}"
    numbers: dict[str, int | float] = {"height": seen.height}
    if seen.damage.height is not None:
        numbers["damaged_height"] = seen.damage.height
    yield Finding(
        "critical",
        Code.DATABASE_DAMAGED,
        f"database damaged{at}: re-syncing from the others, {seen.height} blocks are here: examine the disk",
        numbers=numbers,
    )


def _sync(seen: Observation) -> Iterator[Finding]:
    numbers = {"behind": seen.behind, "height": seen.height}
    if seen.behind > 0 and seen.unhelped_s > UNHELPED_S:
        yield Finding(
            "critical",
            Code.SYNC_STUCK,
            f"{seen.behind} blocks behind, and no peer has sent one for {seen.unhelped_s:.0f} s:"
            " link this node to a node that has them",
            numbers={**numbers, "seconds": round(seen.unhelped_s)},
        )
    elif seen.behind > MAX_BEHIND:
        yield Finding(
            "warning",
            Code.CATCHING_UP,
            f"catching up: {seen.behind} blocks behind: wait until they are fetched",
            numbers=numbers,
        )


def _checkpoints(seen: Observation) -> Iterator[Finding]:
    if not seen.is_proven:
        yield Finding(
            "warning",
            Code.NO_CHECKPOINT,
            "no checkpoint with a quorum of signatures yet: wait until enough validators are linked",
        )
    unsigned = seen.unsigned_checkpoint
    if unsigned is None:
        return
    if unsigned.other_keys:
        many = len(unsigned.other_keys) > 1
        keys = "keys" if many else "key"
        yield Finding(
            "warning",
            Code.KEYS_DIFFER,
            f"checkpoint of height {unsigned.height} not signed: the ledger registers {'other' if many else 'another'}"
            f" {' and '.join(unsigned.other_keys)} {keys} for {seen.name} than this node has:"
            f" put the registered {keys} into its home and restart, or have the governors register this node's",
            (seen.name,),
            {"height": unsigned.height},
        )
    else:
        yield Finding(
            "warning",
            Code.CHECKPOINT_UNSIGNED,
            f"checkpoint of height {unsigned.height} not signed: the guard holds another one, of as large a"
            " log or a larger: wait until the log has outgrown it, and never delete the guard's file",
            numbers={"height": unsigned.height},
        )


def _guard(seen: Observation) -> Iterator[Finding]:
    if seen.is_guard_silent:
        yield Finding(
            "warning",
            Code.GUARD_SILENT,
            "not voting until a height that began after this start is decided (last-sign file missing or damaged):"
            " leave the node running; nothing else is to be done",
        )


def _index(seen: Observation) -> Iterator[Finding]:
    if seen.is_index_failing:
        yield Finding(
            "warning",
            Code.INDEX_UNAVAILABLE,
            "the index's database fails: lists, searches, traces and wallets are not answered; proofs and submissions"
            " are: look into the log for the reason and mend it; the index is built anew by itself",
        )


def _clocks(seen: Observation) -> Iterator[Finding]:
    median_ms = clock_offset_ms(seen)
    if median_ms is not None and abs(median_ms) > CLOCK_WARNING_MS:
        side = "behind" if median_ms > 0 else "ahead of"
        yield Finding(
            _clock_severity(median_ms),
            Code.CLOCK_OFF,
            f"my clock is {_seconds(median_ms)} off, {side} the median of {len(seen.clock_offsets_ms)} validators:"
            f" set it by NTP; blocks more than {CLOCK_BOUND_MS // 1000} s off are refused",
            (seen.name,),
            {"offset_ms": -median_ms, "measured": len(seen.clock_offsets_ms)},
        )
    for name, offset_ms in sorted(seen.clock_offsets_ms.items()):
        off_ms = offset_ms - (median_ms or 0)
        if abs(off_ms) > CLOCK_WARNING_MS:
            side = "ahead of" if off_ms > 0 else "behind"
            whom = "this node's: one of the two is wrong" if median_ms is None else "the others'"
            yield Finding(
                "warning",
                Code.PEER_CLOCK_OFF,
                f"the clock of {name} is {_seconds(off_ms)} {side} {whom}: have it set by NTP",
                (name,),
                {"offset_ms": off_ms},
            )


def _clock_severity(offset_ms: int) -> Severity:
    return "critical" if abs(offset_ms) > CLOCK_BOUND_MS else "warning"


def _certificates(seen: Observation) -> Iterator[Finding]:
    for one in seen.certificates:
        days = (one.expires_ms - seen.now_ms) / _DAY_MS
        if days > EXPIRY_WARNING_DAYS:
            continue
        if one.kind == "authority":
            code, what = Code.AUTHORITY_EXPIRES, f"certificate authority {one.name}"
            remedy = "register a new one and issue its nodes' certificates anew"
        else:
            code, what = Code.CERTIFICATE_EXPIRES, f"certificate of {one.name}"
            remedy = "issue a new one with `mulu node renew HOME --authority CA.pem` and restart"
            remedy += "" if one.kind == "own" else " that node"
        yield Finding(
            "critical" if days < EXPIRY_CRITICAL_DAYS else "warning",
            code,
            f"{what} {_when(days)}: {remedy}",
            (one.name,),
            {"days": round(days, 2), "expires_ms": one.expires_ms},
        )


def _room(seen: Observation) -> Iterator[Finding]:
    if seen.mempool_fill >= MEMPOOL_FULL:
        yield Finding(
            "warning",
            Code.MEMPOOL_FULL,
            f"mempool {seen.mempool_fill:.0%} full: transactions are refused or pushed out: send fewer, or find who"
            " floods the network",
            numbers={"fill": round(seen.mempool_fill, 3)},
        )
    free = seen.disk_free_bytes
    if free is not None and free < DISK_WARNING_BYTES:
        yield Finding(
            "critical" if free < DISK_CRITICAL_BYTES else "warning",
            Code.DISK_LOW,
            f"{free / 1024**3:.1f} GiB of disk are free: make room; a node that cannot write stops",
            numbers={"free_bytes": free},
        )


# --- words ----------------------------------------------------------------------------------------------


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _seconds(milliseconds: int) -> str:
    """Return a span without its sign: 40 s, 2.4 s."""
    seconds = abs(milliseconds) / 1000
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def _when(days: float) -> str:
    whole = int(abs(days))
    if days < 0:
        return "has expired" if whole == 0 else f"expired {_days(whole)} ago"
    return "expires within a day" if whole == 0 else f"expires in {_days(whole)}"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"
