"""A replica: the parts of a node that make the chain with others, over any links, database and guards.

    links ──► consensus messages ──► runner ──► commits ──► checkpoints, peers' status, `committed`
          ──► transactions ──► intake ──► mempool ──► runner
          ──► blocks ──► block sync ──► runner
          ──► checkpoint signatures ──► checkpointing ──► proven view, `proven`

It opens no socket and no file. `node.node` gives it links over mutual TLS and a store on disk; the simulator of
tests/sim gives it links and disks that fail.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Final

import structlog

from consensus.tendermint.errors import InvalidMessage
from consensus.tendermint.last_sign import LastSignGuard
from consensus.tendermint.messages import Message
from consensus.tendermint.messages import decode_message as decode_consensus_message
from ledger.application import Application
from ledger.checkpoints import SignedCheckpoint
from ledger.database import Database
from ledger.errors import InvalidProof, StorageError
from ledger.finalization import FinalizedBlock
from ledger.suite import PublicKey
from node.block_sync import BlockSync, collect_blocks
from node.checkpointing import Checkpointing, CheckpointSigner, CommittedCheckpoint
from node.clock import clock_ms
from node.config import ConsensusConfig, MempoolConfig
from node.errors import InvalidPeerMessage
from node.intake import Intake
from node.mempool import Mempool
from node.messages import (
    Blocks,
    CheckpointSignatures,
    ConsensusPayload,
    GetBlocks,
    GetCheckpoint,
    PeerMessage,
    Priority,
    ProvenCheckpoint,
    Status,
    Transactions,
)
from node.network import Network, PeerLink
from node.runner import Runner
from node.workers import DiskState, Gate, Worker

MAINTENANCE_S: Final = 1.0
STATUS_EVERY: Final = 5
"""Maintenances between two words on how far we are, and what time it is, where no commit brings them."""

FAR_BEHIND: Final = 16
"""Heights behind the others from which on older checkpoints are left unsigned: they have their quorum."""

MAX_UNCHECKPOINTED: Final = 16
"""Commits whose checkpoints wait to be signed, beyond which the older ones are left out."""

_log = structlog.get_logger(__name__)


class Replica:
    """Runs one copy of the chain. A validator's has a consensus key with its guard, and a checkpoint signer.

    `committed` is told of every block with its outcome, and whether it was fetched rather than decided here; `proven`
    of every height whose checkpoint has a quorum.
    """

    def __init__(
        self,
        *,
        name: str,
        application: Application,
        database: Database,
        network: Network,
        consensus: ConsensusConfig,
        mempool: MempoolConfig,
        consensus_key: PublicKey | None,
        guard: LastSignGuard | None,
        checkpoint_signer: CheckpointSigner | None,
        committed: Callable[[FinalizedBlock, bool], None],
        proven: Callable[[int], None],
    ) -> None:
        self.application = application
        self._network = network
        self._tell_committed = committed
        self._tell_proven = proven
        self._application_worker = Worker("application")
        disk = DiskState()
        self.storage_worker = Worker("storage", disk)
        self._signing_worker = Worker("checkpoints", disk)
        self._uncheckpointed: asyncio.Queue[tuple[CommittedCheckpoint, bool]] = asyncio.Queue()
        gate = Gate(self._application_worker)
        self.mempool = Mempool(mempool.max_bytes, mempool.max_count)
        self.runner = Runner(
            name=name,
            consensus_key=consensus_key,
            application=application,
            database=database,
            guard=guard,
            config=consensus,
            network=network,
            mempool=self.mempool,
            gate=gate,
            storage_worker=self.storage_worker,
            committed=self._committed,
        )
        self.intake = Intake(
            application,
            gate,
            self.mempool,
            network,
            self.runner.work_available,
            self.runner.has_queued,
        )
        self.sync = BlockSync(
            network,
            lambda: application.tip.height,
            self.runner.apply_blocks,
            lambda: self.runner.votes_now,
            lambda: application.tip.validators,
        )
        genesis = application.genesis
        self._checkpointing = Checkpointing(
            genesis.suite,
            genesis.chain_id,
            checkpoint_signer,
            self._signing_worker,
            self._broadcast_checkpoint,
            self._record,
        )

    # --- life ------------------------------------------------------------------------------------

    async def resume(self) -> None:
        """Take up where the last process stopped, before there are links: height, and the tip's checkpoint.

        The tip's is signed again, in case its quorum was not complete.
        """
        self._network.set_height(self.application.tip.height)
        stored = self.application.history.newest_checkpoint()
        if stored is not None:
            self._checkpointing.resume(*stored)
        await self._checkpointing.committed(self._tip_checkpoint(), sign=True)

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            BaseExceptionGroup: a part failed, with its error: the process must stop.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.runner.run(), name="runner")
            tasks.create_task(self.sync.run(), name="block-sync")
            tasks.create_task(self._checkpoint(), name="checkpoints")
            tasks.create_task(self._maintain(), name="maintenance")

    async def close(self) -> None:
        """Let the workers finish what they have begun, then write what was held back."""
        await asyncio.to_thread(self._application_worker.close)
        await asyncio.to_thread(self.storage_worker.close)
        await asyncio.to_thread(self._signing_worker.close)
        try:
            await asyncio.to_thread(self.application.save_checkpoints)
        except StorageError as error:
            _log.error("the newest checkpoint is not saved", reason=str(error))

    async def _maintain(self) -> None:
        for count in itertools.count(1):
            await asyncio.sleep(MAINTENANCE_S)
            self.intake.resend_overdue()
            if count % STATUS_EVERY == 0:
                self._network.broadcast(self._status().encode(), Priority.CONSENSUS)
            if not self.runner.in_round:
                await self.storage_worker.run(self.application.save_checkpoints)
                self._ask_for_checkpoint()

    def _ask_for_checkpoint(self) -> None:
        """Ask for signatures that a broken link has swallowed: an idle chain brings no newer ones for minutes."""
        if self._proven_size < self.application.tip.log.size:
            self._network.broadcast(GetCheckpoint().encode(), Priority.SYNC)

    # --- commits ---------------------------------------------------------------------------------

    async def _committed(self, finalized: FinalizedBlock, fetched: bool) -> None:
        """Tell everybody concerned of a committed block, and have its checkpoint signed."""
        tip = finalized.tip
        self._network.set_height(tip.height)
        self._tell_committed(finalized, fetched)
        self._network.broadcast(self._status().encode(), Priority.CONSENSUS)
        _log.info(
            "block committed",
            height=tip.height,
            transactions=len(finalized.transactions),
            app_hash=tip.app_hash.hex()[:16],
            fetched=fetched,
        )
        # While far behind, older heights have their quorum already: only the newest are signed.
        sign = not fetched or self.sync.target - tip.height < FAR_BEHIND
        self._uncheckpointed.put_nowait((self._tip_checkpoint(), sign))

    async def _checkpoint(self) -> None:
        """Sign and gather the checkpoint of each commit, beside consensus, which does not wait for it."""
        while True:
            committed, sign = await self._uncheckpointed.get()
            newest = self._uncheckpointed.qsize() < MAX_UNCHECKPOINTED
            await self._checkpointing.committed(committed, sign=sign and newest)

    def _tip_checkpoint(self) -> CommittedCheckpoint:
        tip = self.application.tip
        validators = tip.last_validators or tip.validators
        return CommittedCheckpoint(
            tip.height, tip.time_ms, self.application.checkpoint(), validators
        )

    async def _record(self, height: int, signed: SignedCheckpoint) -> None:
        try:
            await self.storage_worker.run(self.application.record_checkpoint, signed)
        except InvalidProof as error:
            _log.warning("checkpoint not recorded", height=height, reason=str(error))
            return
        self._tell_proven(height)

    def _broadcast_checkpoint(self, frame: bytes) -> None:
        self._network.broadcast(frame, Priority.CONSENSUS)

    def _status(self) -> Status:
        return Status(self.application.tip.height, self._proven_size, clock_ms())

    @property
    def unsigned_height(self) -> int | None:
        """Height of the newest checkpoint, where our guard forbids to sign it."""
        return self._checkpointing.unsigned_height

    @property
    def _proven_size(self) -> int:
        proven = self.application.proven()
        return 0 if proven is None else proven.size

    # --- links -----------------------------------------------------------------------------------

    def link_up(self, link: PeerLink) -> None:
        """Tell a new link how far we are, and what it may lack."""
        link.send(self._status().encode(), Priority.CONSENSUS)
        for frame in self._checkpointing.greeting():
            link.send(frame, Priority.CONSENSUS)
        self.runner.link_up(link.name)
        self.sync.peer_height(link, link.height)

    def link_down(self, link: PeerLink) -> None:
        """Forget what was under way with a link that has ended."""
        self.sync.link_down(link.name)
        self._checkpointing.forget_peer(link.name)

    async def message_received(self, link: PeerLink, message: PeerMessage) -> None:
        """Hand a message on to whom it concerns; links for synchronisation only carry nothing else.

        Raises:
            InvalidPeerMessage: the peer is to be cut off.
        """
        match message:
            case ConsensusPayload(payload):
                if not link.sync_only:
                    await self.runner.peer_said(link.name, _decode_consensus(payload))
            case Transactions(raws):
                if not link.sync_only:
                    await self.intake.from_peer(raws)
            case Status(height):
                self.sync.peer_height(link, height)
            case CheckpointSignatures() | ProvenCheckpoint():
                await self._checkpointing.received(link.name, message)
            case GetBlocks():
                history = self.application.history
                blocks = await asyncio.to_thread(collect_blocks, history, message)
                link.send(blocks.encode(), Priority.SYNC)
            case Blocks():
                self.sync.received(link.name, message)
            case GetCheckpoint():
                for frame in self._checkpointing.greeting():
                    link.send(frame, Priority.SYNC)
            case _:
                raise InvalidPeerMessage("a message out of place")


def _decode_consensus(payload: bytes) -> Message:
    try:
        return decode_consensus_message(payload)
    except InvalidMessage as error:
        raise InvalidPeerMessage(str(error)) from None
