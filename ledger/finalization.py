"""Finalisation: what a decided block leaves behind, before it is written: results, entries, roots, the next tip.

Nothing here writes: the outcome carries one batch, which either becomes the next height or is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger import keyspace, merkle, tiles
from ledger.admission import PreparedTransaction
from ledger.blocks import Block
from ledger.database import Batch
from ledger.decisions import Offence
from ledger.entries import BlockEntry, EvidenceEntry, GenesisEntry, TransactionEntry
from ledger.execution import (
    BlockContext,
    Execution,
    ReportError,
    TransactionResult,
    execute,
)
from ledger.genesis import Genesis
from ledger.history import GENESIS, TIP, BlockRecord, Tip
from ledger.merkle import Frontier
from ledger.operations import Event
from ledger.state import Overlay
from ledger.state_store import StateView
from ledger.suite import Suite
from ledger.tiles import TileReader
from ledger.validation import Basis


@dataclass(frozen=True, slots=True)
class FinalizedBlock:
    """A decided block's outcome, not yet written. `results` stand in the order of `transactions`.

    `entries` begin at log index `first_index`: transactions, evidence, the block entry; none for an empty block.
    """

    block: Block
    transactions: tuple[PreparedTransaction, ...]
    results: tuple[TransactionResult, ...]
    entries: tuple[bytes, ...]
    first_index: int
    tip: Tip
    overlay: Overlay
    batch: Batch

    @property
    def height(self) -> int:
        return self.tip.height

    @property
    def block_id(self) -> bytes:
        return self.tip.block_id

    @property
    def app_hash(self) -> bytes:
        """The root of the log after this block."""
        return self.tip.app_hash

    @property
    def state_root(self) -> bytes:
        return self.tip.state_root

    @property
    def events(self) -> tuple[Event, ...]:
        """The events of all transactions that took effect, in order."""
        return tuple(event for result in self.results for event in result.events)


def finalize_genesis(genesis: Genesis, state: StateView) -> tuple[Tip, Batch]:
    """Return the tip at height 0 and what is written for it; `state` is empty."""
    suite, batch, overlay = genesis.suite, Batch(), Overlay(state)
    genesis.initialise(overlay)
    state_root = state.stage(overlay, batch)
    validators_hash = genesis.validators.hash(suite)
    entry = GenesisEntry(genesis.hash, state_root, validators_hash).encode()
    log = _append(suite, Frontier(), (entry,), _no_tile, batch)
    tip = Tip(
        height=0,
        time_ms=genesis.time_ms,
        block_id=genesis.hash,
        app_hash=log.root(suite),
        state_root=state_root,
        log=log,
        binding_index=0,
        binding_height=0,
        bound_validators_hash=validators_hash,
        bound_next_validators_hash=validators_hash,
        last_validators=None,
        validators=genesis.validators,
        next_validators=genesis.validators,
    )
    batch.put(GENESIS, genesis.hash)
    batch.put(keyspace.validators(1), genesis.validators.encode())
    batch.put(TIP, tip.encode())
    return tip, batch


def _no_tile(level: int, index: int) -> bytes:
    raise AssertionError("an empty log has no tiles")


def finalize(
    basis: Basis,
    block: Block,
    block_id: bytes,
    offences: Sequence[Offence],
    transactions: tuple[PreparedTransaction, ...],
    report: ReportError,
) -> FinalizedBlock:
    """Execute a valid block on top of `basis` and put together what it writes.

    `block_id` is what the engine that decided it calls it; `offences` are those that it proves.
    """
    suite, header, tip = basis.genesis.suite, block.header, basis.tip
    assert header.height == tip.height + 1, f"block {header.height} on top of {tip.height}"
    execution = execute(
        basis.state,
        BlockContext(suite, basis.genesis.chain_id, header.height, header.time_ms),
        transactions,
        offences,
        _culprit_keys(basis, offences),
        report,
    )
    batch = Batch()
    state_root = basis.state.stage(execution.overlay, batch, execution.encodings)
    entries = _entries(block, block_id, offences, execution, state_root, tip)
    log = _append(suite, tip.log, entries, basis.history.read_tile, batch)
    new_tip = _new_tip(suite, tip, block, block_id, execution, state_root, log)
    for index, prepared in enumerate(transactions, start=tip.log.size):
        batch.put(keyspace.transaction(prepared.id), index.to_bytes(8, "big"))
    if new_tip.next_validators != tip.next_validators:
        batch.put(keyspace.validators(header.height + 2), new_tip.next_validators.encode())
    record = BlockRecord(
        header,
        block.evidence,
        block.last_commit,
        first_index=tip.log.size,
        transaction_count=len(transactions),
        entry_count=len(entries),
    )
    batch.put(keyspace.block(header.height), record.encode())
    batch.put(TIP, new_tip.encode())
    return FinalizedBlock(
        block,
        transactions,
        execution.results,
        entries,
        tip.log.size,
        new_tip,
        execution.overlay,
        batch,
    )


def _culprit_keys(basis: Basis, offences: Sequence[Offence]) -> tuple[str, ...]:
    """Return the consensus key behind each offence, at its height."""
    keys = []
    for one in offences:
        culprit = basis.history.validators(one.height).get(one.validator)
        assert culprit is not None, "evidence is checked before it is executed"
        keys.append(str(culprit.consensus_key))
    return tuple(keys)


def _entries(
    block: Block,
    block_id: bytes,
    offences: Sequence[Offence],
    execution: Execution,
    state_root: bytes,
    tip: Tip,
) -> tuple[bytes, ...]:
    """Return the entries that a block appends: none if it is empty and no validators hash has changed."""
    header = block.header
    bound = (tip.bound_validators_hash, tip.bound_next_validators_hash)
    if (
        not block.transactions
        and not offences
        and bound == (header.validators_hash, header.next_validators_hash)
    ):
        assert state_root == tip.state_root, "an empty block changes nothing"
        return ()
    height = header.height
    entries = [
        TransactionEntry(height, index, result.code, result.operation_index, raw).encode()
        for index, (raw, result) in enumerate(
            zip(block.transactions, execution.results, strict=True)
        )
    ]
    entries += [
        EvidenceEntry(height, index, one.kind, one.validator, one.height).encode()
        for index, one in enumerate(offences)
    ]
    entries.append(
        BlockEntry(
            height=height,
            time_ms=header.time_ms,
            block_id=block_id,
            proposer=header.proposer,
            validators_hash=header.validators_hash,
            next_validators_hash=header.next_validators_hash,
            state_root=state_root,
            transaction_count=len(block.transactions),
        ).encode()
    )
    return tuple(entries)


def _append(
    suite: Suite, log: Frontier, entries: Sequence[bytes], read: TileReader, batch: Batch
) -> Frontier:
    """Add entries and the tiles over them to `batch`; return the longer log's frontier."""
    if not entries:
        return log
    leaf_hashes = [merkle.leaf_hash(suite, entry) for entry in entries]
    for index, entry in enumerate(entries, start=log.size):
        batch.put(keyspace.entry(index), entry)
    changed = tiles.append_tiles(suite, log.size, leaf_hashes, read)
    for (level, index), content in changed.items():
        batch.put(keyspace.tile(level, index), content)
    return log.extend(suite, leaf_hashes)


def _new_tip(
    suite: Suite,
    tip: Tip,
    block: Block,
    block_id: bytes,
    execution: Execution,
    state_root: bytes,
    log: Frontier,
) -> Tip:
    header = block.header
    grown = log.size > tip.log.size
    return Tip(
        height=header.height,
        time_ms=header.time_ms,
        block_id=block_id,
        app_hash=log.root(suite) if grown else tip.app_hash,
        state_root=state_root,
        log=log,
        binding_index=log.size - 1 if grown else tip.binding_index,
        binding_height=header.height if grown else tip.binding_height,
        bound_validators_hash=header.validators_hash,
        bound_next_validators_hash=header.next_validators_hash,
        last_validators=tip.validators,
        validators=tip.next_validators,
        next_validators=execution.next_validators or tip.next_validators,
    )
