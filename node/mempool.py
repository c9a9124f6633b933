"""Transactions that wait for a block: bounded in bytes and in number, fair between organisations.

Each organisation has a queue of its own, oldest first. A block takes from the queues in turn, so that a flood by one
delays nobody else. When the pool is full, room is made at the expense of the organisation that holds most, its newest
first; whoever holds most is refused. The pool checks nothing itself: what comes in has been verified, once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ledger.errors import InvalidTransaction
from ledger.transactions import Transaction

RESEND_AFTER_MS: Final = 3_000
"""A transaction handed in here that waits this long is sent again: a link may have broken with it under way. Each
further time it waits twice as long, so that a full network is not flooded by its own backlog."""

MAX_RESENT: Final = 256
"""Transactions sent again at one time."""


@dataclass(slots=True)
class _Waiting:
    raw: bytes
    organisation: str
    valid_until_ms: int
    send_at_ms: int
    pause_ms: int


class Mempool:
    """Pending transactions by id."""

    def __init__(self, max_bytes: int, max_count: int) -> None:
        self._max_bytes = max_bytes
        self._max_count = max_count
        self._queues: dict[str, dict[bytes, _Waiting]] = {}
        self._by_id: dict[bytes, _Waiting] = {}
        self._local: dict[bytes, _Waiting] = {}
        self._ids: dict[bytes, bytes] = {}
        self._sizes: dict[str, int] = {}
        self._bytes = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, transaction_id: bytes) -> bool:
        return transaction_id in self._by_id

    @property
    def size_bytes(self) -> int:
        """Bytes of all pending transactions."""
        return self._bytes

    @property
    def fill(self) -> float:
        """How full the pool is, from 0 to 1: in number or in bytes, whichever is fuller."""
        return max(len(self._by_id) / self._max_count, self._bytes / self._max_bytes)

    def known(self, raw: bytes) -> bytes | None:
        """Return the id under which these very bytes are pending, or None; cheap, for repeated gossip."""
        return self._ids.get(raw)

    def add(
        self, transaction: Transaction, organisation: str, now_ms: int, *, local: bool = False
    ) -> bool:
        """Take in a verified transaction of `organisation`; False if it is pending already.

        `local` tells that a client handed it in here, so that it is ours to send to the others.

        Raises:
            InvalidTransaction: `mempool_full`, and this organisation holds most of it.
        """
        if transaction.id in self._by_id:
            return False
        self._make_room(organisation, len(transaction.raw))
        waiting = _Waiting(
            transaction.raw,
            organisation,
            transaction.valid_until_ms,
            now_ms + RESEND_AFTER_MS,
            RESEND_AFTER_MS,
        )
        if local:
            self._local[transaction.id] = waiting
        self._queues.setdefault(organisation, {})[transaction.id] = waiting
        self._by_id[transaction.id] = waiting
        self._ids[transaction.raw] = transaction.id
        self._sizes[organisation] = self._sizes.get(organisation, 0) + len(transaction.raw)
        self._bytes += len(transaction.raw)
        return True

    def candidates(self, max_bytes: int, max_count: int) -> list[bytes]:
        """Return pending transactions for a block, one from each organisation in turn."""
        chosen: list[bytes] = []
        size = 0
        sources = [iter(queue.values()) for queue in self._queues.values()]
        while sources:
            still = []
            for source in sources:
                waiting = next(source, None)
                if waiting is None:
                    continue
                if len(chosen) == max_count or size + len(waiting.raw) > max_bytes:
                    return chosen
                chosen.append(waiting.raw)
                size += len(waiting.raw)
                still.append(source)
            sources = still
        return chosen

    def remove(self, transaction_ids: Iterable[bytes]) -> None:
        """Forget transactions: they are committed, or can no longer be."""
        for transaction_id in transaction_ids:
            waiting = self._by_id.pop(transaction_id, None)
            if waiting is None:
                continue
            self._local.pop(transaction_id, None)
            organisation = waiting.organisation
            del self._ids[waiting.raw]
            queue = self._queues[organisation]
            del queue[transaction_id]
            self._sizes[organisation] -= len(waiting.raw)
            self._bytes -= len(waiting.raw)
            if not queue:
                del self._queues[organisation]
                del self._sizes[organisation]

    def expire(self, now_ms: int) -> list[bytes]:
        """Forget transactions whose `valid_until` has passed; return their ids."""
        expired = [key for key, waiting in self._by_id.items() if waiting.valid_until_ms < now_ms]
        self.remove(expired)
        return expired

    def overdue(self, now_ms: int) -> list[bytes]:
        """Return what was handed in here and has waited long since it was last sent; it counts as sent now."""
        overdue = []
        for waiting in self._local.values():
            if now_ms >= waiting.send_at_ms:
                waiting.pause_ms *= 2
                waiting.send_at_ms = now_ms + waiting.pause_ms
                overdue.append(waiting.raw)
                if len(overdue) == MAX_RESENT:
                    break
        return overdue

    def _make_room(self, organisation: str, size: int) -> None:
        while len(self._by_id) >= self._max_count or self._bytes + size > self._max_bytes:
            largest = max(self._sizes, key=lambda name: (self._sizes[name], name), default=None)
            if largest is None or self._sizes.get(organisation, 0) + size >= self._sizes[largest]:
                raise InvalidTransaction(
                    "mempool_full", "too many transactions wait; try again later"
                )
            newest = next(reversed(self._queues[largest]))
            self.remove((newest,))
            self.evicted += 1
