"""What must hold of any block, whatever its transactions: the same on two applications, and failures leave nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ledger.admission import (
    BAD_SIGNATURE,
    DUPLICATE,
    EXPIRED,
    INTERNAL,
    INVALID_BODY,
    KEY_REVOKED,
    MALFORMED,
    ORGANISATION_DISSOLVED,
    ROLE_MISSING,
    TOO_DISTANT,
    UNKNOWN_OPERATION,
    UNKNOWN_SIGNER,
    WRONG_CHAIN,
)
from ledger.application import Application
from ledger.blocks import Block, transactions_root
from ledger.errors import InvalidBlock, InvalidTransaction
from ledger.execution import VALUE_TOO_LARGE, TransactionResult
from ledger.finalization import FinalizedBlock
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Transaction, decode_transaction
from node.operation_table import OPERATIONS
from tests.attack.world import World

KEPT_OUT = frozenset(
    {
        MALFORMED,
        WRONG_CHAIN,
        BAD_SIGNATURE,
        EXPIRED,
        TOO_DISTANT,
        DUPLICATE,
        UNKNOWN_SIGNER,
        KEY_REVOKED,
    }
)
"""Codes of what no block may hold."""

RECORDED = frozenset({ORGANISATION_DISSOLVED, UNKNOWN_OPERATION, INVALID_BODY, ROLE_MISSING})
"""Codes of what a client is refused with, but what a block may hold: it is recorded as a failure."""


class Judge:
    """Runs transactions through every door of two applications that hold the same ledger. Nothing is committed."""

    def __init__(self, world: World, twin: World) -> None:
        self._world = world
        self._twin = twin
        self.codes: dict[str, int] = {}
        self.blocks: list[bytes] = []

    def judge(self, *raws: bytes) -> tuple[TransactionResult, ...]:
        """Check everything that must hold of these transactions; return what became of those that a block holds."""
        bystander = self._world.bystanding()
        distinct = tuple(dict.fromkeys(raws))
        refusals = {raw: self._refusal(raw) for raw in distinct}
        good = tuple(raw for raw in distinct if refusals[raw] not in KEPT_OUT)
        for raw in distinct:
            if raw not in good:
                self._is_kept_out(raw)
        block = self._propose(*raws, bystander.raw)
        assert block.transactions == (*good, bystander.raw), "a block holds what check lets pass"
        finalized = self._finalize(block)
        results = finalized.results
        assert results[-1].succeeded, "who has nothing to do with it is not held up"
        for raw, result in zip(good, results, strict=False):
            self._agrees(raw, refusals[raw], result)
        self._failures_left_nothing(finalized)
        self.blocks.append(block.encode())
        return results[:-1]

    def _refusal(self, raw: bytes) -> str:
        """Return the code that a client is refused with, "" if the transaction is admitted."""
        codes = []
        for application in (self._world.application, self._twin.application):
            try:
                application.check_transaction(raw, self._world.time_ms)
                codes.append("")
            except InvalidTransaction as refusal:
                codes.append(refusal.code)
        assert codes[0] == codes[1], "two nodes answer alike"
        assert codes[0] in {"", *KEPT_OUT, *RECORDED}
        self._count(codes[0])
        return codes[0]

    def _count(self, code: str) -> None:
        self.codes[code] = self.codes.get(code, 0) + 1

    def _propose(self, *raws: bytes) -> Block:
        application = self._world.application
        tip = application.tip
        return application.prepare_proposal(
            tip.height + 1,
            self._world.time_ms,
            raws,
            (),
            application.history.commit(tip.height),
            tip.validators.proposer(tip.height + 1, 0).name,
        )

    def _is_kept_out(self, raw: bytes) -> None:
        """A block of a proposer who takes what no block may hold is refused, and nothing else happens."""
        empty = self._propose()
        header = replace(empty.header, transactions_root=transactions_root(SUITE, (raw,)))
        block = replace(empty, header=header, transactions=(raw,))
        for application in (self._world.application, self._twin.application):
            try:
                application.process_proposal(block)
            except InvalidBlock:
                continue
            raise AssertionError("a block holds what no client may submit")

    def _finalize(self, block: Block) -> FinalizedBlock:
        outcomes = []
        for application in (self._world.application, self._twin.application):
            application.process_proposal(block)
            outcomes.append(application.finalize_block(Block.decode(block.encode())))
        first, second = outcomes
        assert (first.app_hash, first.entries) == (second.app_hash, second.entries)
        assert first.results == second.results
        assert not self._world.reported and not self._twin.reported, "no handler fails unexpectedly"
        return first

    def _agrees(self, raw: bytes, refusal: str, result: TransactionResult) -> None:
        """What check refused fails in the block, with the same code where nothing comes before it."""
        self._count(result.code)
        assert result.code != INTERNAL
        if result.succeeded:
            assert refusal == ""
            return
        transaction = decode_transaction(SUITE, raw)
        assert result.operation_index is not None
        assert result.events == ()
        if refusal and len(transaction.operations) == 1:
            assert result.code == refusal
        assert result.code in self._declared(transaction, result.operation_index)

    @staticmethod
    def _declared(transaction: Transaction, index: int) -> set[str]:
        kind = OPERATIONS.get(transaction.operations[index].kind)
        own = set() if kind is None else set(kind.codes)
        # A signer may lose what the state before the block gave it to a transaction earlier in the block.
        lost = {UNKNOWN_SIGNER, KEY_REVOKED}
        return {*own, *RECORDED, *lost, VALUE_TOO_LARGE}

    def _failures_left_nothing(self, finalized: FinalizedBlock) -> None:
        """The block without those that failed reaches the same state."""
        held = zip(finalized.block.transactions, finalized.results, strict=True)
        block = self._propose(*(raw for raw, result in held if result.succeeded))
        without = self._world.application.finalize_block(block)
        assert without.state_root == finalized.state_root
        assert without.events == finalized.events


def app_hashes(application: Application, blocks: Sequence[bytes]) -> list[str]:
    """Return the application hash that each of these blocks would reach, all on top of the same tip."""
    return [application.finalize_block(Block.decode(one)).app_hash.hex() for one in blocks]
