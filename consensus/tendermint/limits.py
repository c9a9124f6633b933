"""Every bound of the engine, each with its reason. Times in milliseconds unless the name says otherwise."""

from __future__ import annotations

from typing import Final

from ledger.limits import MAX_BLOCK_BYTES, MAX_VALIDATORS

PAST_ROUNDS: Final = 8
"""Rounds behind the current one whose votes, proposals and bodies are kept. What is older can no longer decide
anything but through a lock, and locked and valid values are kept whatever their round."""

MAX_FUTURE_ROUNDS: Final = 3
"""Rounds ahead of ours in which one validator's votes are kept: its newest ones. f + 1 votes in one of them make us
skip to it, so a correct validator never needs more, and a flood of far rounds only pushes out its own."""

VOTES_PER_STEP: Final = 2
"""Votes of one validator for one step of one round that are kept in any case: the second is the evidence. A further
one counts only where f + 1 others already voted the same, which can be true of at most n values."""

MAX_STATUS_ROUNDS: Final = PAST_ROUNDS + 4
"""Rounds that a status tells of: those kept behind, the current one, and rounds of locked, valid and proposed
values."""

MAX_STATUS_VALUES: Final = 2 * MAX_VALIDATORS + 2
"""Values that one step of one round can have votes for: two for each validator, and slack for backed ones."""

MAX_VOTES_PER_MESSAGE: Final = 4 * MAX_VALIDATORS
"""Two rounds of prevotes and precommits; more are sent as several messages."""

MAX_MESSAGE_BYTES: Final = MAX_BLOCK_BYTES + 4 * 1024
"""A body with its proposal; everything else is smaller."""

MAX_PROPOSAL_BYTES: Final = 512
"""Six short fields, as a vote."""

MAX_WAL_RECORD_BYTES: Final = MAX_MESSAGE_BYTES
"""The largest record is a proposal with its body."""
