"""Every bound of the ledger layer, each with its reason. Times in milliseconds unless the name says otherwise."""

from __future__ import annotations

from typing import Final

MAX_TRANSACTION_BYTES: Final = 60_000
"""A log entry is at most 65,535 bytes (tlog-tiles entry bundles carry uint16 lengths); the rest is its frame."""

MAX_ENTRY_BYTES: Final = 65_535
"""tlog-tiles: an entry's length is a big-endian uint16."""

MAX_OPERATIONS: Final = 256
"""Bounds the work of one transaction; a bulk import uses several transactions."""

MAX_BLOCK_BYTES: Final = 4 * 1024 * 1024
"""A body crosses a 10 Mbit/s link within the propose timeout's cap, and fits a peer frame twice."""

MAX_NESTING_DEPTH: Final = 16
"""Deeper structures serve nobody and exhaust a recursive decoder."""

MIN_VALIDATORS: Final = 4
"""One fault is survived from four on (n = 3f + 1)."""

MAX_VALIDATORS: Final = 22
"""Readers of a note need accept only 16 signatures: one log signature and a quorum of 22 is 15 + 1."""

CLOCK_BOUND_MS: Final = 5_000
"""How far a proposer's clock may differ from ours before its block counts as untimely."""

DEFAULT_TRANSACTION_LIFETIME_MS: Final = 3_600_000
"""How far ahead `valid_until` may lie, and how long an id must be remembered against replay."""

HEARTBEAT_INTERVAL_MS: Final = 600_000
"""An idle chain makes one empty block in this time, so that its checkpoint stays fresh."""

CHECKPOINT_FRESH_MS: Final = 3_600_000
"""A verifier calls an answer current while its checkpoint is younger than this."""

MAX_CODE_BYTES: Final = 64
"""A failure code is recorded in the log; it is an identifier, not a message."""
