"""A node's engine with CometBFT: the application behind a socket, and what peers and clients want of an engine.

    CometBFT ──► abci.sock ──► handover ──► application ──► commits ──► checkpoints, peers' status, `committed`
    clients  ──► intake    ──► rpc.sock ──► CometBFT, which gossips and orders

Between nodes, CometBFT has links of its own. Over the node's own links go checkpoint signatures and heights, as with
the embedded engine; nothing else does.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import structlog

from consensus.cometbft.abci_pb2 import (
    Request,
    Response,
    ResponseApplySnapshotChunk,
    ResponseCommit,
    ResponseExtendVote,
    ResponseListSnapshots,
    ResponseLoadSnapshotChunk,
    ResponseOfferSnapshot,
    ResponseVerifyVoteExtension,
)
from consensus.cometbft.handover import Handover
from consensus.cometbft.release import ABCI_SOCKET, RPC_SOCKET
from consensus.cometbft.server import AbciServer
from ledger.admission import Admitted
from ledger.application import Application
from ledger.finalization import FinalizedBlock
from ledger.suite import PublicKey
from node.block_executor import LONG_BYTES
from node.checkpointing import CheckpointSigner
from node.clock import clock_ms
from node.cometbft.client import Broadcast, EngineClient, EngineStatus
from node.cometbft.pending import PendingTransactions
from node.cometbft.standstill import Standstill
from node.engine import CONTRADICTED, HeightProgress, RunnerStatus
from node.errors import (
    EngineSilentError,
    EngineStoppedError,
    EngineUnavailableError,
    InvalidPeerMessage,
)
from node.intake import Refused, check_all, chunks
from node.messages import (
    CheckpointSignatures,
    GetCheckpoint,
    PeerMessage,
    ProvenCheckpoint,
    Status,
)
from node.network import Network, PeerLink, reached_height
from node.observation import UnsignedCheckpoint
from node.proving import MAINTENANCE_S, Proving
from node.refusals import ENGINES_DIFFER
from node.workers import Gate, Worker

STARTING_S: Final = 0.1
"""How often the engine is asked before its first answer."""

_STARTING: Final = "CometBFT is starting"

MAX_HANDED_OVER: Final = 500
MAX_HANDED_OVER_BYTES: Final = 4 * 1024 * 1024
"""Of one request, before base64 makes a third more of it; CometBFT is configured to take 1,000 and 8 MiB."""

_log = structlog.get_logger(__name__)


class CometReplica:
    """Runs one copy of the chain with CometBFT. It is its own `runner`, `intake` and `sync`."""

    def __init__(
        self,
        *,
        name: str,
        application: Application,
        network: Network,
        directory: Path,
        consensus_key: PublicKey | None,
        checkpoint_signer: CheckpointSigner | None,
        committed: Callable[[FinalizedBlock, bool], None],
        proven: Callable[[int], None],
    ) -> None:
        """`directory` is CometBFT's home; `committed` and `proven` as for `node.replica.Replica`."""
        self.application = application
        self._name = name
        self._key = consensus_key
        self._network = network
        self._application_worker = Worker("application")
        self.storage_worker = Worker("storage")
        self._gate = Gate(self._application_worker)
        self._handover = Handover(application)
        # A Unix socket's path has 107 bytes at most, and homes may lie deep: the open directory shortens it.
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        sockets = Path(f"/proc/self/fd/{self._directory}")
        self._server = AbciServer(sockets / ABCI_SOCKET, self._answer)
        self._client = EngineClient(str(sockets / RPC_SOCKET))
        self.mempool = PendingTransactions()
        self.refused: dict[str, int] = {}
        self._engine: EngineStatus | None = None
        self._problem = _STARTING
        self._standstill = Standstill()
        self._proving = Proving(
            application, network, checkpoint_signer, self.storage_worker, committed, proven
        )

    # --- what others use -------------------------------------------------------------------------

    @property
    def runner(self) -> CometReplica:
        return self

    @property
    def intake(self) -> CometReplica:
        return self

    @property
    def sync(self) -> CometReplica:
        return self

    @property
    def status(self) -> RunnerStatus:
        engine, tip = self._engine, self.application.tip
        own = tip.validators.get(self._name)
        is_validator = own is not None and own.consensus_key == self._key
        diverged = CONTRADICTED if self._proving.is_contradicted else None
        if engine is None:
            return RunnerStatus(tip.height + 1, 0, "", False, diverged, 0, self._problem)
        return RunnerStatus(
            tip.height + 1,
            engine.round,
            engine.step if is_validator else "following",
            is_validator and not engine.catching_up and diverged is None,
            diverged,
            queued=0,
            peers=engine.peers,
            address=engine.address,
        )

    @property
    def unsigned_checkpoint(self) -> UnsignedCheckpoint | None:
        """The newest checkpoint, where we must not sign it."""
        return self._proving.unsigned_checkpoint

    def progress(self) -> HeightProgress:
        """Return what is known of the height that is being decided: CometBFT tells step and round, not whose votes."""
        engine, voting = self._engine, self.status.voting
        if engine is None or not voting:
            return HeightProgress(is_started=False, is_waiting=False)
        return HeightProgress(engine.is_deciding, engine.is_deciding or engine.waiting > 0)

    @property
    def target(self) -> int:
        """The height that others have reached at least."""
        return reached_height(self._network, self.application.tip.validators)

    @property
    def catching_up(self) -> bool:
        return self._engine is not None and self._engine.catching_up

    # --- life ------------------------------------------------------------------------------------

    async def resume(self) -> None:
        """Take up where the last process stopped, before there are links: height, and the tip's checkpoint."""
        await self._proving.resume()

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            BaseExceptionGroup: a part failed, with its error: the process must stop.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._server.run(), name="abci")
            tasks.create_task(self._proving.run(), name="checkpoints")
            tasks.create_task(self._maintain(), name="maintenance")

    async def close(self) -> None:
        """Let the workers finish what they have begun, then write what was held back."""
        await self._client.close()
        os.close(self._directory)
        await asyncio.to_thread(self._application_worker.close)
        await self._proving.close()

    async def _maintain(self) -> None:
        while True:
            await asyncio.sleep(STARTING_S if self._engine is None else MAINTENANCE_S)
            self.mempool.expire(clock_ms())
            await self._ask_engine()
            self._require_progress()
            await self._proving.maintain(idle=True)

    async def _ask_engine(self) -> None:
        """Learn how far the engine is, or why it is not known."""
        try:
            self._engine = await self._client.status()
        except EngineUnavailableError as error:
            _log.debug("the engine does not answer", reason=str(error))
            if isinstance(error, EngineSilentError):
                self._problem = "CometBFT does not answer"
            elif self._problem != _STARTING or self._engine is not None:
                self._problem = "CometBFT has ended, and both processes are restarting"
            self._engine = None

    def _require_progress(self) -> None:
        """Check that the engine decides as long as others do.

        One that has been shown to disagree with them is left alone: a new start would change nothing, and say less.

        Raises:
            EngineStoppedError: it has stopped. When this process ends, the supervisor starts both again.
        """
        height, target, engine = self.application.tip.height, self.target, self._engine
        catching_up = None if engine is None else engine.catching_up
        stopped = self._standstill.seen(
            height, target, catching_up=catching_up, now_s=time.monotonic()
        )
        if stopped and not self._proving.is_contradicted:
            raise EngineStoppedError(
                f"CometBFT runs, but decides nothing more: at height {height} for {Standstill.PATIENCE_S:.0f} s, "
                f"the others are at {target}: both processes start again"
            )

    @property
    def _fetches(self) -> bool:
        """Whether the engine gets blocks that others decided. One that has not answered yet may replay its own."""
        return self._engine is None or self._engine.catching_up

    # --- the application, for CometBFT -------------------------------------------------------------

    async def _answer(self, request: Request) -> Response:
        """Answer one request; blocks that take long are computed on a thread, and writes wait for the disk there."""
        handover, use = self._handover, self._gate.run
        match request.WhichOneof("value"):
            case "check_tx":
                check = request.check_tx
                checked = await use(handover.check_tx, check, clock_ms())
                if checked.code:
                    self.mempool.refused(check.tx)
                return Response(check_tx=checked)
            case "prepare_proposal":
                prepare = request.prepare_proposal
                answer = await use(
                    handover.prepare_proposal, prepare, clock_ms(), long=_is_long(prepare.txs)
                )
                return Response(prepare_proposal=answer)
            case "process_proposal":
                process = request.process_proposal
                return Response(
                    process_proposal=await use(
                        handover.process_proposal, process, long=_is_long(process.txs)
                    )
                )
            case "finalize_block":
                decided = request.finalize_block
                return Response(
                    finalize_block=await use(
                        handover.finalize_block, decided, long=_is_long(decided.txs)
                    )
                )
            case "commit":
                async with self._gate.lock:
                    finalized = await self.storage_worker.run(handover.write)
                self._committed(finalized)
                return Response(commit=ResponseCommit())
            case "info":
                return Response(info=await use(handover.info))
            case "init_chain":
                return Response(init_chain=await use(handover.init_chain, request.init_chain))
            case "query":
                return Response(query=await use(handover.query, request.query))
            case other:
                return _answer_unused(other, request)

    def _committed(self, finalized: FinalizedBlock) -> None:
        self.mempool.remove(prepared.id for prepared in finalized.transactions)
        self._proving.committed(finalized, fetched=self._fetches, target=self.target)

    # --- clients' transactions ---------------------------------------------------------------------

    async def submit(self, raws: Sequence[bytes]) -> list[Admitted | Refused]:
        """Check a client's transactions and hand the good ones over; return what became of each, in order."""
        results: list[Admitted | Refused] = []
        for chunk in chunks(raws):
            results += await self._gate.run(check_all, self.application, chunk, clock_ms())
        admitted = [one.transaction for one in results if isinstance(one, Admitted)]
        for transaction in admitted:
            self.mempool.add(transaction)
        refused = await self._hand_over([one.raw for one in admitted])
        for place, one in enumerate(results):
            if isinstance(one, Admitted) and one.transaction.raw in refused:
                answer = refused[one.transaction.raw]
                results[place] = Refused(one.transaction.id, answer.code, answer.text)
                self.mempool.remove((one.transaction.id,))
        for one in results:
            if isinstance(one, Refused):
                self.refused[one.code] = self.refused.get(one.code, 0) + 1
        return results

    async def _hand_over(self, raws: Sequence[bytes]) -> dict[bytes, Broadcast]:
        """Give transactions to CometBFT; return those that it has certainly not taken, with the reason."""
        refused: dict[bytes, Broadcast] = {}
        for part in _requests(raws):
            try:
                answers = await self._client.broadcast(part)
            except EngineSilentError as error:
                _log.warning("transactions that may wait or not", reason=str(error))
                continue
            except EngineUnavailableError as error:
                answers = [Broadcast("engine_unavailable", str(error))] * len(part)
            refused |= {raw: one for raw, one in zip(part, answers, strict=True) if one.code}
        return refused

    # --- links -----------------------------------------------------------------------------------

    def link_up(self, link: PeerLink) -> None:
        """Tell a new link how far we are, and what it may lack."""
        self._proving.link_up(link)

    def link_down(self, link: PeerLink) -> None:
        """Forget what was under way with a link that has ended."""
        self._proving.link_down(link)

    async def message_received(self, link: PeerLink, message: PeerMessage) -> None:
        """Take heights and checkpoint signatures; the rest is for another engine.

        Raises:
            InvalidPeerMessage: the peer is to be cut off.
        """
        match message:
            case Status(height):
                link.height = height
            case CheckpointSignatures() | ProvenCheckpoint() | GetCheckpoint():
                await self._proving.message_received(link, message)
            case _:
                raise InvalidPeerMessage(ENGINES_DIFFER)


def _requests(raws: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield transactions in runs that CometBFT takes in one request."""
    part: list[bytes] = []
    size = 0
    for raw in raws:
        if part and (len(part) == MAX_HANDED_OVER or size + len(raw) > MAX_HANDED_OVER_BYTES):
            yield part
            part, size = [], 0
        part.append(raw)
        size += len(raw)
    if part:
        yield part


def _is_long(transactions: Sequence[bytes]) -> bool:
    return sum(map(len, transactions)) > LONG_BYTES


def _answer_unused(kind: str | None, request: Request) -> Response:
    """Answer what this application has no use for: it keeps no snapshots, and votes carry nothing of its own."""
    match kind:
        case "extend_vote":
            return Response(extend_vote=ResponseExtendVote())
        case "verify_vote_extension":
            extension = request.verify_vote_extension.vote_extension
            status = (
                ResponseVerifyVoteExtension.REJECT
                if extension
                else ResponseVerifyVoteExtension.ACCEPT
            )
            return Response(verify_vote_extension=ResponseVerifyVoteExtension(status=status))
        case "list_snapshots":
            return Response(list_snapshots=ResponseListSnapshots())
        case "load_snapshot_chunk":
            return Response(load_snapshot_chunk=ResponseLoadSnapshotChunk())
        case "offer_snapshot":
            refusal = ResponseOfferSnapshot(result=ResponseOfferSnapshot.REJECT)
            return Response(offer_snapshot=refusal)
        case _:
            abort = ResponseApplySnapshotChunk(result=ResponseApplySnapshotChunk.ABORT)
            return Response(apply_snapshot_chunk=abort)
