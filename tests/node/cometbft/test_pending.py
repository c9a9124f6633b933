"""What was handed to CometBFT: known until it is committed, refused or expired; bounded."""

from __future__ import annotations

import pytest

from ledger.transactions import Operation, Transaction, sign_transaction
from node.cometbft import pending
from node.cometbft.pending import PendingTransactions
from tests.ledger.chain import EDITOR, START_MS, SUITE, make_genesis

CHAIN_ID = make_genesis().chain_id


def transaction(number: int, valid_until_ms: int = START_MS) -> Transaction:
    return sign_transaction(
        SUITE,
        EDITOR,
        CHAIN_ID,
        [Operation("test.note.write", {"name": "a"})],
        valid_until_ms=valid_until_ms,
        nonce=number.to_bytes(16, "big"),
    )


def test_what_waits_is_known_until_it_is_committed() -> None:
    waiting, one, other = PendingTransactions(), transaction(1), transaction(2)
    for added in (one, other, one):
        waiting.add(added)
    assert (len(waiting), waiting.size_bytes) == (2, len(one.raw) + len(other.raw))
    waiting.remove((one.id, bytes(32)))
    assert (one.id in waiting, other.id in waiting) == (False, True)
    assert waiting.size_bytes == len(other.raw)


def test_what_is_refused_when_it_is_checked_again_is_forgotten() -> None:
    waiting, one, other = PendingTransactions(), transaction(1), transaction(2)
    waiting.add(one)
    waiting.add(other)
    waiting.refused(one.raw)
    waiting.refused(b"never seen")
    assert (one.id in waiting, other.id in waiting) == (False, True)
    waiting.add(one)
    assert one.id in waiting


def test_what_no_block_will_take_any_more_is_forgotten() -> None:
    waiting, old, new = PendingTransactions(), transaction(1), transaction(2, START_MS + 1)
    waiting.add(old)
    waiting.add(new)
    waiting.expire(START_MS + 1)
    assert (old.id in waiting, new.id in waiting) == (False, True)


def test_beyond_the_bounds_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MAX_PENDING", 3)
    waiting = PendingTransactions()
    added = [transaction(number) for number in range(5)]
    for one in added:
        waiting.add(one)
    assert [one.id in waiting for one in added] == [False, False, True, True, True]
    assert (waiting.evicted, waiting.fill) == (2, 1.0)
