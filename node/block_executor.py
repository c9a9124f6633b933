"""Everything that consensus asks of the application: build, judge, execute and commit blocks; evidence that waits.

Each step passes the gate, so that none sees the tip change under it. Commits are written by the storage worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import structlog

from ledger.application import Application
from ledger.blocks import MAX_BLOCK_TRANSACTIONS, Block
from ledger.commits import Commit
from ledger.database import Batch
from ledger.errors import InvalidBlock, InvalidTransaction
from ledger.evidence import DuplicateVoteEvidence
from ledger.finalization import FinalizedBlock
from node.clock import clock_ms
from node.mempool import Mempool
from node.workers import Gate, Worker

LONG_BYTES: Final = 128 * 1024
"""Blocks with more bytes of transactions are judged and executed on a thread: some 50 ms and more."""

PROPOSED_BYTES: Final = 1024 * 1024
"""Bytes of transactions in a block of ours: some 2,500 of one operation, or 3,000 operations in large ones. Larger
blocks gain nothing, and everybody waits for them longer."""

LONGEST_WAIT_S: Final = 1.0
"""A proposer whose clock is behind looks this often whether it has been set, or the others have decided: it may be
hours behind."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Built:
    """A block of ours with its id and encoding."""

    block_id: bytes
    body: bytes
    block: Block


class BlockExecutor:
    """Builds, judges, executes and commits blocks."""

    def __init__(
        self,
        name: str,
        application: Application,
        mempool: Mempool,
        gate: Gate,
        storage_worker: Worker,
    ) -> None:
        self._name = name
        self._application = application
        self._mempool = mempool
        self._gate = gate
        self._storage = storage_worker
        self._evidence: dict[str, DuplicateVoteEvidence] = {}

    def has_work(self) -> bool:
        """Tell whether something waits for a block."""
        return len(self._mempool) > 0 or bool(self._evidence) or self._application.wants_block()

    async def build(self, height: int) -> Built | None:
        """Build a block once the clock has passed the last one's time; None if others have decided the height."""
        tip = self._application.tip
        while self._application.tip is tip and clock_ms() <= tip.time_ms:
            wait_ms = tip.time_ms + 1 - clock_ms()
            await asyncio.sleep(min(wait_ms / 1000, LONGEST_WAIT_S))
        async with self._gate.lock:
            if self._application.tip is not tip or tip.height + 1 != height:
                return None
            return self._build(height)

    def _build(self, height: int) -> Built:
        application = self._application
        limit = min(PROPOSED_BYTES, application.genesis.parameters.max_block_bytes)
        candidates = self._mempool.candidates(limit, MAX_BLOCK_TRANSACTIONS)
        now_ms = max(clock_ms(), application.tip.time_ms + 1)
        block = application.prepare_proposal(
            height,
            now_ms,
            candidates,
            tuple(self._evidence.values()),
            application.history.commit(height - 1),
            self._name,
        )
        if len(block.transactions) < len(candidates):
            chosen = set(block.transactions)
            left_out = [one for one in candidates if one not in chosen]
            self._mempool.remove(tuple(self._no_longer_good(left_out, now_ms)))
        return Built(block.id(application.genesis.suite), block.encode(), block)

    def _no_longer_good(self, raws: Iterable[bytes], now_ms: int) -> Iterator[bytes]:
        """Yield the ids of pending transactions that no block will take any more."""
        for raw in raws:
            try:
                self._application.check_transaction(raw, now_ms)
            except InvalidTransaction:
                transaction_id = self._mempool.known(raw)
                if transaction_id is not None:
                    yield transaction_id

    async def is_valid(self, block: Block) -> bool:
        """Tell whether the application accepts a proposed block."""
        return await self._gate.run(self._is_valid, block, long=_is_long(block))

    def _is_valid(self, block: Block) -> bool:
        try:
            self._application.process_proposal(block)
        except InvalidBlock as error:
            _log.warning("invalid block", height=block.header.height, reason=str(error))
            return False
        return True

    async def commit(self, block: Block, commit: Commit, extra: Batch) -> FinalizedBlock:
        """Execute a decided block and write it, with `extra`, in one batch.

        Raises:
            StorageError: the outcome is unknown: stop the process.
        """
        async with self._gate.lock:
            finalized = await self._gate.use(
                self._application.finalize_block, block, long=_is_long(block)
            )
            await self._storage.run(self._application.commit, finalized, commit, extra)
        self._forget(finalized)
        return finalized

    async def apply_fetched(self, block: Block, commit: Commit, extra: Batch) -> FinalizedBlock:
        """Verify, execute and write a block that others have decided.

        Raises:
            InvalidBlock: it is not the network's.
            StorageError: the outcome is unknown: stop the process.
        """
        async with self._gate.lock:
            finalized = await self._storage.run(
                self._application.apply_synced, block, commit, extra
            )
        self._forget(finalized)
        return finalized

    def add_evidence(self, evidence: DuplicateVoteEvidence) -> None:
        """Keep evidence of double voting for a block of ours, if it is good and new."""
        if evidence.validator in self._evidence or self._is_known(evidence):
            return
        self._evidence[evidence.validator] = evidence  # one a validator is all that a block takes
        _log.warning("double voting found", validator=evidence.validator, height=evidence.height)

    def _forget(self, finalized: FinalizedBlock) -> None:
        """Forget what a block has taken."""
        self._mempool.remove([prepared.id for prepared in finalized.transactions])
        for one in list(self._evidence.values()):
            if self._is_known(one):
                del self._evidence[one.validator]

    def _is_known(self, evidence: DuplicateVoteEvidence) -> bool:
        """Tell whether a block need not take it any more; evidence of the height being decided waits for the next."""
        if evidence.height > self._application.tip.height:
            return False
        try:
            self._application.check_evidence(evidence)
        except InvalidBlock:
            return True
        return False


def _is_long(block: Block) -> bool:
    return sum(map(len, block.transactions)) > LONG_BYTES
