"""What goes into the next block: of what waits, or what an engine has decided, that which may stand in it and fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from ledger.admission import PreparedTransaction
from ledger.blocks import MAX_BLOCK_EVIDENCE, MAX_BLOCK_TRANSACTIONS, Block
from ledger.commits import Commit
from ledger.decisions import ReportedOffence, sorted_offences
from ledger.errors import InvalidBlock, InvalidTransaction
from ledger.evidence import DuplicateVoteEvidence
from ledger.membership import is_faulty_key
from ledger.validation import Basis, TransactionRules, check_evidence, make_header

_BLOCK_FRAME_BYTES: Final = 1024
"""Header, array heads and rounding in a block's encoding."""

_TRANSACTION_FRAME_BYTES: Final = 5
"""A byte string's head is at most this long."""


def room_for_transactions(
    max_block_bytes: int, evidence: Sequence[DuplicateVoteEvidence], last_commit: Commit | None
) -> int:
    """Return how many bytes are left for transactions in a block with this evidence and commit."""
    used = _BLOCK_FRAME_BYTES + sum(len(one.encode()) for one in evidence)
    used += 0 if last_commit is None else len(last_commit.encode())
    return max_block_bytes - used


def choose_transactions(
    rules: TransactionRules,
    prepared: Callable[[bytes], PreparedTransaction],
    candidates: Iterable[bytes],
    room: int,
) -> tuple[bytes, ...]:
    """Return those candidates, in their order, that may stand in the block and fit `room` bytes.

    `prepared` reads one and verifies its signature.
    """
    chosen: list[bytes] = []
    for raw in candidates:
        size = len(raw) + _TRANSACTION_FRAME_BYTES
        if size > room or len(chosen) == MAX_BLOCK_TRANSACTIONS:
            break  # in order: what does not fit now is first in line for the next block
        try:
            rules.check(prepared(raw))
        except InvalidTransaction:
            continue
        chosen.append(raw)
        room -= size
    return tuple(chosen)


def good_evidence(
    basis: Basis, evidence: Sequence[DuplicateVoteEvidence]
) -> tuple[DuplicateVoteEvidence, ...]:
    """Return the evidence that may stand in the next block, one for each validator, in its order there."""
    good: dict[str, DuplicateVoteEvidence] = {}
    for one in evidence:
        if len(good) == MAX_BLOCK_EVIDENCE:
            break
        if one.validator in good:
            continue
        try:
            check_evidence(basis, one)
        except InvalidBlock:
            continue
        good[one.validator] = one
    return tuple(sorted(good.values(), key=lambda one: (one.height, one.validator)))


def new_offences(basis: Basis, offences: Sequence[ReportedOffence]) -> tuple[ReportedOffence, ...]:
    """Return the offences, in their order in a block, of validators of then whose keys are not barred yet."""
    new = []
    for one in offences:
        if 1 <= one.height <= basis.tip.height:
            culprit = basis.history.validators(one.height).get(one.validator)
            if culprit is not None and not is_faulty_key(basis.state, str(culprit.consensus_key)):
                new.append(one)
    return sorted_offences(new)


def make_block(
    basis: Basis,
    time_ms: int,
    transactions: tuple[bytes, ...],
    proposer: str,
    evidence: tuple[DuplicateVoteEvidence, ...],
    last_commit: Commit | None,
) -> Block:
    """Return the block with this content on top of the tip."""
    header = make_header(
        basis,
        time_ms=time_ms,
        transactions=transactions,
        evidence=evidence,
        last_commit=last_commit,
        proposer=proposer,
    )
    return Block(header, transactions, evidence, last_commit)
