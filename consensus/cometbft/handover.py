"""What CometBFT asks the application, answered: each ABCI method as a plain function of the ledger.

Nothing is durable before `write`: a block that `finalize_block` has executed is dropped by a crash, or by the next
call, and CometBFT replays it, since `info` tells the last height that was written. Nothing here waits, reads a clock or
writes by itself; `node.cometbft` says when each may run and on which thread.

**Old times.** CometBFT's time of a block is the median of the clocks that decided the block *before* it. After a pause
it lies minutes back, and with it all that expires would seem valid still. So an honest proposer puts no transactions
into a block whose time is older than the clock bound; the empty block that it proposes brings the time up to date, and
the next one takes what waits.
"""

from __future__ import annotations

from typing import Final

from consensus.cometbft import mapping
from consensus.cometbft.abci_pb2 import (
    ExecTxResult,
    RequestCheckTx,
    RequestFinalizeBlock,
    RequestInitChain,
    RequestPrepareProposal,
    RequestProcessProposal,
    RequestQuery,
    ResponseCheckTx,
    ResponseFinalizeBlock,
    ResponseInfo,
    ResponseInitChain,
    ResponsePrepareProposal,
    ResponseProcessProposal,
    ResponseQuery,
)
from consensus.cometbft.errors import InvalidHandover
from ledger.application import Application
from ledger.blocks import MAX_BLOCK_TRANSACTIONS
from ledger.decisions import Decision
from ledger.errors import InvalidBlock, InvalidTransaction
from ledger.execution import TransactionResult
from ledger.finalization import FinalizedBlock
from ledger.limits import CLOCK_BOUND_MS

ABCI_VERSION: Final = "2.0.0"
APPLICATION_VERSION: Final = 1
"""Of what blocks mean; it stands in CometBFT's headers."""

CODESPACE: Final = "mulu"
REFUSED: Final = 1
"""ABCI's code of every refusal and failure: ours is a word, and stands in `log`."""


class Handover:
    """One application, driven by CometBFT. Used by one caller at a time."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._executed: tuple[Decision, FinalizedBlock] | None = None

    # --- what the ledger holds ---------------------------------------------------------------------

    def info(self) -> ResponseInfo:
        """Return the last height that was written: what was executed beyond it will be handed over again.

        CometBFT asks this at its start, and over the same connection when somebody asks its RPC: it changes nothing.
        """
        tip = self._application.tip
        return ResponseInfo(
            data=self._application.genesis.chain_id,
            version=ABCI_VERSION,
            app_version=APPLICATION_VERSION,
            last_block_height=tip.height,
            last_block_app_hash=tip.app_hash if tip.height else b"",
        )

    def init_chain(self, request: RequestInitChain) -> ResponseInitChain:
        """Check that CometBFT's genesis is this chain's, and return the root that it starts from.

        Raises:
            InvalidHandover: it is another chain's, or the chain has begun already.
        """
        genesis, tip = self._application.genesis, self._application.tip
        if request.chain_id != genesis.chain_id:
            raise InvalidHandover(f"CometBFT's genesis is of {request.chain_id[:64]}")
        if tip.height or request.initial_height not in (0, 1):
            raise InvalidHandover(f"the chain has {tip.height} blocks already")
        given = {(one.pub_key.ed25519, one.power) for one in request.validators}
        expected = {
            (update.pub_key.ed25519, update.power)
            for update in map(mapping.validator_update, genesis.validators)
        }
        if given != expected:
            raise InvalidHandover("CometBFT's genesis names other validators")
        return ResponseInitChain(app_hash=tip.app_hash)

    def query(self, request: RequestQuery) -> ResponseQuery:
        """Return what the newest state holds at a key, with its proof under the state root."""
        try:
            key = request.data.decode("utf-8")
        except UnicodeDecodeError:
            return ResponseQuery(code=REFUSED, codespace=CODESPACE, log="a key is UTF-8 text")
        if request.path not in ("", "state", "/state"):
            return ResponseQuery(code=REFUSED, codespace=CODESPACE, log="the only path is /state")
        found = self._application.query(key)
        answer = ResponseQuery(key=request.data, height=found.height, codespace=CODESPACE)
        if found.value is not None:
            answer.value = found.value
        if request.prove:
            proof = answer.proof_ops.ops.add()
            proof.type, proof.key, proof.data = "mulu:state", request.data, found.proof.encode()
        return answer

    # --- transactions and blocks -------------------------------------------------------------------

    def check_tx(self, request: RequestCheckTx, now_ms: int) -> ResponseCheckTx:
        """Tell whether a transaction may wait; one that was verified before is not verified again."""
        try:
            self._application.check_transaction(request.tx, now_ms)
        except InvalidTransaction as error:
            return ResponseCheckTx(
                code=REFUSED, codespace=CODESPACE, log=error.code, info=error.text
            )
        return ResponseCheckTx()

    def prepare_proposal(
        self, request: RequestPrepareProposal, now_ms: int
    ) -> ResponsePrepareProposal:
        """Return what of the offered transactions may stand in the block; none if the block's time is old."""
        time_ms = mapping.time_ms(request.time)
        if time_ms < now_ms - CLOCK_BOUND_MS:
            return ResponsePrepareProposal()
        chosen = self._application.choose_transactions(time_ms, request.txs, request.max_tx_bytes)
        return ResponsePrepareProposal(txs=chosen)

    def process_proposal(self, request: RequestProcessProposal) -> ResponseProcessProposal:
        """Accept or reject a proposed block.

        Raises:
            InvalidHandover: it is not for the next height.
        """
        self._expect_next(request.height)
        reason = self._wrong_with(request)
        status = (
            ResponseProcessProposal.ACCEPT if reason is None else ResponseProcessProposal.REJECT
        )
        return ResponseProcessProposal(status=status)

    def _wrong_with(self, request: RequestProcessProposal) -> str | None:
        time_ms, tip = mapping.time_ms(request.time), self._application.tip
        if time_ms <= tip.time_ms and tip.height:
            return f"time {time_ms} is not after the last block's"
        if len(request.txs) > MAX_BLOCK_TRANSACTIONS:
            return f"{len(request.txs)} transactions"
        try:
            self._application.check_block_transactions(time_ms, request.txs)
            mapping.name_of(request.proposer_address, tip.validators)
        except (InvalidBlock, InvalidHandover) as error:
            return str(error)
        return None

    def finalize_block(self, request: RequestFinalizeBlock) -> ResponseFinalizeBlock:
        """Execute a decided block; nothing is written before `commit`.

        Raises:
            InvalidHandover: it is not for the next height, or proposed by nobody that the ledger knows.
        """
        self._expect_next(request.height)
        application = self._application
        tip, history = application.tip, application.history
        decision = Decision(
            height=request.height,
            time_ms=mapping.time_ms(request.time),
            block_id=request.hash,
            proposer=mapping.name_of(request.proposer_address, tip.validators),
            transactions=tuple(request.txs),
            offences=mapping.offences(request.misbehavior, history.validators, tip.height),
        )
        finalized = application.finalize_decision(decision)
        self._executed = (decision, finalized)
        return ResponseFinalizeBlock(
            tx_results=[_result(one) for one in finalized.results],
            validator_updates=mapping.validator_updates(
                tip.next_validators, finalized.tip.next_validators
            ),
            app_hash=finalized.app_hash,
        )

    def write(self) -> FinalizedBlock:
        """Write the block that was executed last; it is durable when this returns. Blocking I/O.

        Raises:
            InvalidHandover: none was executed.
            StorageError: the outcome is unknown. Stop the process.
        """
        if self._executed is None:
            raise InvalidHandover("CometBFT commits a block that was not finalised")
        (decision, finalized), self._executed = self._executed, None
        self._application.commit(finalized, decision)
        return finalized

    def _expect_next(self, height: int) -> None:
        expected = self._application.tip.height + 1
        if height != expected:
            raise InvalidHandover(f"CometBFT is at height {height}, the ledger at {expected}")


def _result(result: TransactionResult) -> ExecTxResult:
    """Return what CometBFT hashes of a result (the code alone) and shows of it."""
    if result.succeeded:
        return ExecTxResult()
    return ExecTxResult(code=REFUSED, codespace=CODESPACE, log=result.code, info=result.text)
