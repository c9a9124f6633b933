"""Decisions of an engine outside the ledger's own consensus: what it says of a block, as far as the ledger keeps it.

With the embedded engine a block is ours, and so is the commit that decides it. Another engine (CometBFT) has blocks and
commits of its own; the application learns height, time, the block's hash, its proposer, transactions and who is
convicted of an offence. What the log does not hold of that is kept in place of the commit:

    [height, block_id, [[kind, validator, height of the offence], …]]
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from ledger.codec import decode_array, encode
from ledger.decoding import fields, hash_field, integer, items, short_text
from ledger.limits import MAX_VALIDATORS

MAX_DECISION_BYTES: Final = 16 * 1024
"""All validators convicted at once, and room to spare."""


_ARRAY_OF_THREE: Final = b"\x93"


class Offence(Protocol):
    """A validator's misbehaviour at a height, proved by whoever decides blocks."""

    @property
    def kind(self) -> str: ...

    @property
    def validator(self) -> str: ...

    @property
    def height(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ReportedOffence:
    """An offence that the engine vouches for. `kind` is one of the kinds of `ledger.evidence`."""

    kind: str
    validator: str
    height: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A block that another engine has decided."""

    height: int
    time_ms: int
    block_id: bytes
    proposer: str
    transactions: tuple[bytes, ...]
    offences: tuple[ReportedOffence, ...] = ()

    def encode(self) -> bytes:
        """Return what is stored of it beside its block's record and its log entries."""
        offences = tuple((one.kind, one.validator, one.height) for one in self.offences)
        return encode((self.height, self.block_id, offences))


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """What is stored of a decision beside its block's record and its log entries."""

    height: int
    block_id: bytes
    offences: tuple[ReportedOffence, ...]

    @staticmethod
    def decode(data: bytes) -> StoredDecision:
        """Read what `Decision.encode` returned.

        Raises:
            DecodeError: it is something else, for instance the embedded engine's commit.
        """
        height, block_id, listed = decode_array(data, 3, max_bytes=MAX_DECISION_BYTES)
        offences = []
        for one in items(listed, "offences", MAX_VALIDATORS):
            kind, validator, at = fields(one, "offence", 3)
            offences.append(
                ReportedOffence(
                    short_text(kind, "kind"),
                    short_text(validator, "validator"),
                    integer(at, "height", 1),
                )
            )
        return StoredDecision(
            integer(height, "height", 1), hash_field(block_id, "block_id"), tuple(offences)
        )


def is_decision(encoded: bytes) -> bool:
    """Tell a stored decision from a stored commit, which is an array of four."""
    return encoded[:1] == _ARRAY_OF_THREE


def sorted_offences(offences: Iterable[ReportedOffence]) -> tuple[ReportedOffence, ...]:
    """Return the first offence of each validator, in the order in which blocks list evidence."""
    first: dict[str, ReportedOffence] = {}
    for one in sorted(offences, key=lambda one: (one.height, one.validator, one.kind)):
        first.setdefault(one.validator, one)
    return tuple(first.values())
