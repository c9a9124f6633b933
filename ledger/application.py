"""The application: the deterministic state machine that a consensus engine drives, in ABCI 2.0's vocabulary.

An engine asks `info`, on an empty database `init_chain`; then for each height `prepare_proposal` (as proposer),
`process_proposal` (before prevoting), and once it has decided `finalize_block`, which writes nothing, and
`commit`, which writes block, commit, state, log and whatever the engine adds in one atomic synced batch.

Two threads may share it: one that checks, proposes, processes and finalises, and one that writes – `commit`,
`apply_synced` (beside which nothing is checked), `record_checkpoint`, `save_checkpoints`. The tip with its state and
history is replaced at once when it is durable. Reading is open to all threads, and so is `prepare`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ledger import keyspace
from ledger.admission import (
    DUPLICATE,
    Admitted,
    PreparedTransaction,
    Signers,
    TransactionCache,
    check_chain,
    check_lifetime,
    check_operations,
    prepare_transaction,
)
from ledger.block_building import (
    choose_transactions,
    good_evidence,
    make_block,
    new_offences,
    room_for_transactions,
)
from ledger.blocks import Block
from ledger.checkpoints import Checkpoint, SignedCheckpoint
from ledger.commits import Commit
from ledger.database import Batch, Database, Head
from ledger.decisions import Decision
from ledger.errors import (
    DamagedStoreError,
    InvalidBlock,
    InvalidProof,
    InvalidTransaction,
    StorageError,
)
from ledger.evidence import DuplicateVoteEvidence
from ledger.execution import ReportError
from ledger.finalization import FinalizedBlock, finalize, finalize_genesis
from ledger.genesis import Genesis
from ledger.history import GENESIS, History, Tip
from ledger.kept_checkpoints import KeptCheckpoints
from ledger.operations import OperationTable
from ledger.proven import ProvenView, ProvenViews, View
from ledger.state_store import StateView
from ledger.state_tree import EMPTY_ROOT, StateProof
from ledger.tiles import root_from_tiles
from ledger.validation import (
    Basis,
    TransactionRules,
    check_all_evidence,
    check_decided,
    check_evidence,
    check_header,
    check_last_commit,
    check_size,
    check_transactions,
)


def _report_nothing(transaction_id: bytes, kind: str, error: BaseException) -> None:
    """Say nothing of a failed handler: who wants to know passes another function."""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """An answer from the newest committed state, not necessarily under a quorum's checkpoint."""

    height: int
    state_root: bytes
    value: bytes | None
    proof: StateProof


class Application:
    """One chain's ledger over one database."""

    def __init__(
        self,
        genesis: Genesis,
        operations: OperationTable,
        database: Database,
        report: ReportError = _report_nothing,
    ) -> None:
        """Open the chain; on an empty database call `init_chain` next.

        Raises:
            StorageError: the database holds another chain.
            DamagedStoreError: the tip cannot be read, or does not agree with the database's head.
        """
        self._genesis = genesis
        self._operations = operations
        self._database = database
        self._report = report
        self._suite = genesis.suite
        self._cache = TransactionCache(self.prepare)
        self._views = ProvenViews(genesis.suite, genesis.chain_id)
        self._signers = Signers()
        self._checkpoints = KeptCheckpoints(History(database, genesis.suite))
        self._basis: Basis | None = None
        self._load()

    # --- the chain as it is -------------------------------------------------------------------

    @property
    def genesis(self) -> Genesis:
        return self._genesis

    @property
    def operations(self) -> OperationTable:
        return self._operations

    def info(self) -> Tip | None:
        """Return the tip, or None before `init_chain`."""
        return None if self._basis is None else self._basis.tip

    @property
    def tip(self) -> Tip:
        """What the next block builds on."""
        return self._current().tip

    @property
    def state(self) -> StateView:
        """The state at the tip."""
        return self._current().state

    @property
    def history(self) -> History:
        """Blocks and log at the tip."""
        return self._current().history

    def checkpoint(self) -> Checkpoint:
        """Return the checkpoint of the log at the tip, which validators sign once it is committed."""
        tip = self.tip
        return Checkpoint(self._genesis.chain_id, tip.log.size, tip.app_hash)

    def wants_block(self) -> bool:
        """Tell whether the next block appends to the log even if empty: a change of validators is under way."""
        tip = self.tip
        return (tip.bound_validators_hash, tip.bound_next_validators_hash) != (
            tip.validators.hash(self._suite),
            tip.next_validators.hash(self._suite),
        )

    def query(self, key: str) -> QueryResult:
        """Return what the newest committed state holds at `key`, with its proof under the state root."""
        basis = self._current()  # once: the tip may move on meanwhile
        value, proof = basis.state.prove(key)
        return QueryResult(basis.tip.height, basis.state.root, value, proof)

    def _current(self) -> Basis:
        assert self._basis is not None, "init_chain comes first"
        return self._basis

    # --- start --------------------------------------------------------------------------------

    def init_chain(self) -> Tip:
        """Write genesis into an empty database: height 0, the initial state, the first log entry."""
        if self._basis is not None:
            raise StorageError("the database holds a chain already")
        empty = StateView(self._database, self._suite, EMPTY_ROOT)
        tip, batch = finalize_genesis(self._genesis, empty)
        self._database.write(batch, Head(0, tip.app_hash))
        self._load()
        return tip

    def _load(self) -> None:
        """Take up the chain that the database holds, if any."""
        snapshot = self._database.snapshot()
        history = History(snapshot, self._suite)
        tip = history.tip()
        head = self._database.head()
        if tip is None:
            if head is not None:
                raise DamagedStoreError(f"height {head.height} is committed, but there is no tip")
            return
        if head != Head(tip.height, tip.app_hash):
            raise DamagedStoreError(f"the tip is height {tip.height}, the head is {head}")
        if tip.app_hash != tip.log.root(self._suite):
            raise DamagedStoreError("the tip's application hash is not its log's root")
        if snapshot.get(GENESIS) != self._genesis.hash:
            raise StorageError(f"the database holds another chain than {self._genesis.chain_id}")
        state = StateView(snapshot, self._suite, tip.state_root)
        self._basis = Basis(self._genesis, tip, state, history)
        self._views.add(self._view(self._basis))
        stored = history.newest_checkpoint()
        if stored is not None:
            try:
                self._views.record(stored[1])
            except InvalidProof as error:
                raise DamagedStoreError(f"the stored checkpoint: {error}") from error

    def _view(self, basis: Basis) -> View:
        """Return the view at the tip, for the validators of the height at which the log reached this size."""
        tip = basis.tip
        validators = tip.last_validators
        if validators is None or tip.binding_height != tip.height:
            validators = basis.history.validators(max(tip.binding_height, 1))
        return View(
            height=tip.binding_height,
            size=tip.log.size,
            root=tip.app_hash,
            binding_index=tip.binding_index,
            state=basis.state,
            history=basis.history,
            validators=validators,
            changes_validators=tip.bound_validators_hash != tip.bound_next_validators_hash,
        )

    # --- transactions -------------------------------------------------------------------------

    def prepare(self, raw: bytes) -> PreparedTransaction:
        """Read a transaction and verify its signature. Pure: any thread may do it.

        Raises:
            InvalidTransaction: malformed, or a bad signature.
        """
        return prepare_transaction(self._suite, self._operations, raw)

    def check_transaction(self, raw: bytes, now_ms: int) -> Admitted:
        """Check a submitted transaction against the newest state and this node's clock.

        Only one that passes is remembered: anyone can sign, and strangers must not fill a node's memory.

        Raises:
            InvalidTransaction: it could not enter a block, or would certainly fail there.
        """
        basis = self._current()
        prepared = self._cache.peek(raw)
        check_chain(prepared.transaction, self._genesis.chain_id)
        check_lifetime(
            prepared.transaction, now_ms, self._genesis.parameters.transaction_lifetime_ms
        )
        authority = self._signers.look_up(basis.state, prepared.signer)
        check_operations(prepared, authority)
        if basis.history.transaction_index(prepared.id) is not None:
            raise InvalidTransaction(DUPLICATE, "the log holds it already")
        self._cache.add(prepared)
        return Admitted(prepared.transaction, authority.organisation)

    # --- blocks -------------------------------------------------------------------------------

    def check_evidence(self, evidence: DuplicateVoteEvidence) -> None:
        """Check evidence that a peer sent or this node found, before it waits for a block.

        Raises:
            InvalidBlock: bad, too old, or on the ledger already.
        """
        check_evidence(self._current(), evidence)

    def prepare_proposal(
        self,
        height: int,
        time_ms: int,
        candidates: Iterable[bytes],
        evidence: Sequence[DuplicateVoteEvidence],
        last_commit: Commit | None,
        proposer: str,
    ) -> Block:
        """Build the next block of those candidates, in their order, that may stand in it and fit.

        `time_ms` lies after the last block's time. Candidates and evidence that are no good are left out.
        """
        basis = self._current()
        assert height == basis.tip.height + 1, f"height {height} on top of {basis.tip.height}"
        assert time_ms > basis.tip.time_ms, "a proposer waits until its clock passes the last block"
        good = good_evidence(basis, evidence)
        room = room_for_transactions(self._genesis.parameters.max_block_bytes, good, last_commit)
        chosen = self.choose_transactions(time_ms, candidates, room)
        return make_block(basis, time_ms, chosen, proposer, good, last_commit)

    def choose_transactions(
        self, time_ms: int, candidates: Iterable[bytes], max_bytes: int
    ) -> tuple[bytes, ...]:
        """Return those candidates, in their order, that may stand in the next block and fit `max_bytes`.

        For engines that make the block around them.
        """
        rules = TransactionRules(self._current(), time_ms)
        return choose_transactions(rules, self._cache.get, candidates, max_bytes)

    def process_proposal(self, block: Block) -> None:
        """Check everything that a block claims and holds; a validator prevotes only for what passes.

        Raises:
            InvalidBlock: with the rule that it breaks.
        """
        basis = self._current()
        check_header(basis, block)
        check_size(basis, block)
        check_last_commit(basis, block.last_commit)
        check_all_evidence(basis, block.evidence)
        check_transactions(basis, block.header.time_ms, block.transactions, self._cache.get)

    def check_block_transactions(self, time_ms: int, transactions: Sequence[bytes]) -> None:
        """Check a proposed block's transactions, for engines that check all else about it themselves.

        Raises:
            InvalidBlock: one of them may not stand in it.
        """
        check_transactions(self._current(), time_ms, transactions, self._cache.get)

    def finalize_block(self, block: Block) -> FinalizedBlock:
        """Execute a decided block that `process_proposal` accepted. Nothing is written, nothing changes here."""
        prepared = tuple(self._cache.take(raw) for raw in block.transactions)
        return self._finalize(block, prepared)

    def finalize_decision(self, decision: Decision) -> FinalizedBlock:
        """Execute what another engine has decided, of transactions that `check_block_transactions` accepted.

        Signatures not verified before are not verified now: more than two thirds of the validators have.
        Offences of keys that are barred already, or of nobody who was a validator then, are left out. Nothing is
        written, nothing changes here.
        """
        basis = self._current()
        block = make_block(
            basis, decision.time_ms, decision.transactions, decision.proposer, (), None
        )
        return finalize(
            basis,
            block,
            decision.block_id,
            new_offences(basis, decision.offences),
            tuple(self._take_decided(raw) for raw in decision.transactions),
            self._report,
        )

    def apply_decision(self, decision: Decision) -> FinalizedBlock:
        """Verify, execute and write a block of another engine, for instance when a store is checked.

        Raises:
            InvalidBlock: a transaction may not stand in it.
        """
        self.check_block_transactions(decision.time_ms, decision.transactions)
        finalized = self.finalize_decision(decision)
        self.commit(finalized, decision)
        return finalized

    def _finalize(self, block: Block, prepared: tuple[PreparedTransaction, ...]) -> FinalizedBlock:
        return finalize(
            self._current(),
            block,
            block.id(self._suite),
            block.evidence,
            prepared,
            self._report,
        )

    def apply_synced(
        self, block: Block, commit: Commit, extra: Batch | None = None
    ) -> FinalizedBlock:
        """Verify, execute and write a block that others have decided, e.g. one fetched from a peer.

        Transactions' signatures are not verified again: more than two thirds of the validators have.

        Raises:
            InvalidBlock: the commit is not the word of the validators for this block: whoever sent it lies.
            DamagedStoreError: it is, but the block does not fit this node's own ledger: stop.
        """
        basis = self._current()
        check_decided(basis, block, commit)
        try:
            check_header(basis, block)
            check_last_commit(basis, block.last_commit)
            check_all_evidence(basis, block.evidence)
            prepared = check_transactions(
                basis, block.header.time_ms, block.transactions, self._take_decided
            )
        except InvalidBlock as error:
            raise DamagedStoreError(
                f"the validators decided a block that does not fit this ledger: {error}"
            ) from error
        finalized = self._finalize(block, prepared)
        self.commit(finalized, commit, extra)
        return finalized

    def _take_decided(self, raw: bytes) -> PreparedTransaction:
        """Return a decided transaction from the cache, or read it now without verifying its signature."""
        return self._cache.take(raw, self._prepare_decided)

    def _prepare_decided(self, raw: bytes) -> PreparedTransaction:
        return prepare_transaction(self._suite, self._operations, raw, verify=False)

    def commit(
        self, finalized: FinalizedBlock, decided: Commit | Decision, extra: Batch | None = None
    ) -> None:
        """Write a finalised block with what decided it and the engine's own changes; make it the tip.

        `extra` carries what must be true exactly when this height is: the truncation of the engine's WAL.

        Raises:
            StorageError: the outcome is unknown. Stop the process.
        """
        tip = finalized.tip
        assert tip.height == self.tip.height + 1, f"commit of {tip.height} on {self.tip.height}"
        assert (decided.height, decided.block_id) == (tip.height, tip.block_id), "another's commit"
        batch = finalized.batch
        batch.put(keyspace.commit(tip.height), decided.encode())
        batch.update(self._checkpoints.changes(self.history))
        if extra is not None:
            batch.update(extra)
        self._database.write(batch, Head(tip.height, tip.app_hash))
        self._checkpoints.written()
        self._adopt(finalized)

    def _adopt(self, finalized: FinalizedBlock) -> None:
        """Make a written block the tip."""
        tip, old = finalized.tip, self._current()
        snapshot = self._database.snapshot()
        state = old.state.successor(snapshot, tip.state_root, finalized.overlay)
        self._basis = Basis(self._genesis, tip, state, History(snapshot, self._suite))
        if tip.log.size > old.tip.log.size:
            self._views.add(self._view(self._basis))

    # --- checkpoints --------------------------------------------------------------------------

    def proven(self) -> ProvenView | None:
        """Return the newest view under a quorum's checkpoint: what answers with proof are made from.

        None until the first quorum of this process' life, unless the stored checkpoint is the tip's.
        """
        return self._views.newest

    def record_checkpoint(self, signed: SignedCheckpoint) -> ProvenView | None:
        """Take a checkpoint with a log signature and a quorum of cosignatures; return the view that it proves.

        None if it is older than what is proven, or of a size that this node has not reached. It is written with
        the next block, or by `save_checkpoints`.

        Raises:
            InvalidProof: of another chain, a bad signature, or no quorum.
            DamagedStoreError: a quorum vouches for another log: stop.
        """
        proven = self._views.record(signed)
        if proven is not None:
            self._checkpoints.keep(proven.height, signed)
        else:
            self._keep_change(signed)
        return proven

    def checkpoint_after(self, height: int) -> SignedCheckpoint | None:
        """Return the quorum checkpoint of the log after `height`, written or not.

        Kept are the newest and those after which another set of validators took over.
        """
        return self._checkpoints.after(height)

    def _keep_change(self, signed: SignedCheckpoint) -> None:
        """Keep an older checkpoint after which other validators took over, where this node has none yet."""
        size, history = signed.checkpoint.size, self.history
        for height in self._checkpoints.missing(history, size):
            root = root_from_tiles(self._suite, history.read_tile, size)
            self._views.verify(signed, size, root, history.validators(height))
            self._checkpoints.keep(height, signed)

    def save_checkpoints(self) -> None:
        """Write recorded checkpoints that no block has carried along: when the chain falls idle, and on closing."""
        batch = self._checkpoints.changes(self.history)
        if len(batch):
            self._database.write(batch)
        self._checkpoints.written()
