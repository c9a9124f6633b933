"""Transactions that were handed to CometBFT here and are not committed yet: what clients ask about.

They wait in CometBFT's mempool, in memory, and in those of its peers. When this node's two processes start again, both
have forgotten them: whoever waits for one learns that it was not committed, and submits it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ledger.transactions import Transaction

MAX_PENDING: Final = 50_000
MAX_PENDING_BYTES: Final = 64 * 1024 * 1024
"""As the mempool of either engine; beyond, the oldest are forgotten here: CometBFT has them, and its peers."""


class PendingTransactions:
    """By id, in the order in which they came."""

    def __init__(self) -> None:
        self._by_id: dict[bytes, Transaction] = {}
        self._ids: dict[bytes, bytes] = {}
        self.size_bytes = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, transaction_id: bytes) -> bool:
        return transaction_id in self._by_id

    @property
    def fill(self) -> float:
        """How full it is, from 0 to 1: by count or by bytes, whichever is more."""
        return max(len(self._by_id) / MAX_PENDING, self.size_bytes / MAX_PENDING_BYTES)

    def add(self, transaction: Transaction) -> None:
        if transaction.id in self._by_id:
            return
        self._by_id[transaction.id] = transaction
        self._ids[transaction.raw] = transaction.id
        self.size_bytes += len(transaction.raw)
        while len(self._by_id) > MAX_PENDING or self.size_bytes > MAX_PENDING_BYTES:
            self.remove((next(iter(self._by_id)),))
            self.evicted += 1

    def remove(self, transaction_ids: Iterable[bytes]) -> None:
        """Forget what is committed, or was refused after all."""
        for transaction_id in transaction_ids:
            known = self._by_id.pop(transaction_id, None)
            if known is not None:
                self.size_bytes -= len(known.raw)
                del self._ids[known.raw]

    def refused(self, raw: bytes) -> None:
        """Forget what CometBFT drops, since it was refused when it was checked again after a block."""
        transaction_id = self._ids.get(raw)
        if transaction_id is not None:
            self.remove((transaction_id,))

    def expire(self, now_ms: int) -> None:
        """Forget what no block will take any more."""
        self.remove([one.id for one in self._by_id.values() if one.valid_until_ms < now_ms])
