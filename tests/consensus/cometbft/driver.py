"""What CometBFT asks, asked of a real application: heights driven through the handover as a correct engine does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from consensus.cometbft import mapping
from consensus.cometbft.abci_pb2 import (
    Misbehavior,
    RequestCheckTx,
    RequestFinalizeBlock,
    RequestPrepareProposal,
    RequestProcessProposal,
    ResponseFinalizeBlock,
    ResponseProcessProposal,
)
from consensus.cometbft.handover import Handover
from ledger.application import Application
from ledger.finalization import FinalizedBlock
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Transaction
from tests.ledger.chain import Chain

MAX_TX_BYTES = 4 * 1024 * 1024


def timestamp_of(milliseconds: int) -> Timestamp:
    """Return the protobuf time of a time in milliseconds."""
    seconds, rest = divmod(milliseconds, 1000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000_000)


@dataclass
class Driven:
    """One application driven as by CometBFT. Its clock stands at the block time unless a test says otherwise."""

    chain: Chain
    handover: Handover

    @staticmethod
    def of(chain: Chain) -> Driven:
        return Driven(chain, Handover(chain.application))

    @property
    def application(self) -> Application:
        return self.chain.application

    @property
    def height(self) -> int:
        return self.application.tip.height + 1

    @property
    def proposer(self) -> bytes:
        """The address of a validator of the next height."""
        return mapping.address_of(next(iter(self.application.tip.validators)).consensus_key)

    def check(self, transaction: Transaction, now_ms: int | None = None) -> str:
        """Return the code with which CheckTx refuses, "" if it does not."""
        answer = self.handover.check_tx(
            RequestCheckTx(tx=transaction.raw), now_ms or self.chain.time_ms
        )
        assert bool(answer.code) == bool(answer.log)
        return answer.log

    def prepare(
        self, *transactions: Transaction, now_ms: int | None = None, max_bytes: int = MAX_TX_BYTES
    ) -> list[bytes]:
        request = RequestPrepareProposal(
            max_tx_bytes=max_bytes,
            txs=[one.raw for one in transactions],
            height=self.height,
            time=timestamp_of(self.chain.time_ms),
            proposer_address=self.proposer,
        )
        answer = self.handover.prepare_proposal(request, now_ms or self.chain.time_ms)
        return list(answer.txs)

    def accepts(self, *transactions: Transaction, **changes: Any) -> bool:
        parts: dict[str, Any] = {
            "txs": [one.raw for one in transactions],
            "height": self.height,
            "hash": self.block_id,
            "time": timestamp_of(self.chain.time_ms),
            "proposer_address": self.proposer,
        }
        answer = self.handover.process_proposal(RequestProcessProposal(**{**parts, **changes}))
        return answer.status == ResponseProcessProposal.ACCEPT

    @property
    def block_id(self) -> bytes:
        """What stands for the hash of the next block's header."""
        return SUITE.digest(b"block %d" % self.height)

    def decided(
        self, *transactions: Transaction, misbehavior: Sequence[Misbehavior] = (), **changes: Any
    ) -> RequestFinalizeBlock:
        parts: dict[str, Any] = {
            "txs": [one.raw for one in transactions],
            "height": self.height,
            "hash": self.block_id,
            "time": timestamp_of(self.chain.time_ms),
            "proposer_address": self.proposer,
            "misbehavior": misbehavior,
        }
        return RequestFinalizeBlock(**{**parts, **changes})

    def commit(
        self, *transactions: Transaction, **changes: Any
    ) -> tuple[ResponseFinalizeBlock, FinalizedBlock]:
        """Take a height through all that CometBFT asks for."""
        assert self.prepare(*transactions) == [one.raw for one in transactions]
        assert self.accepts(*transactions)
        answer = self.handover.finalize_block(self.decided(*transactions, **changes))
        return answer, self.handover.write()
