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
from collections.abc import Callable

from consensus.tendermint.errors import InvalidMessage
from consensus.tendermint.last_sign import LastSignGuard
from consensus.tendermint.messages import Message
from consensus.tendermint.messages import decode_message as decode_consensus_message
from ledger.application import Application
from ledger.database import Database
from ledger.finalization import FinalizedBlock
from ledger.suite import PublicKey
from node.block_sync import BlockSync, collect_blocks
from node.checkpointing import CheckpointSigner
from node.config import ConsensusConfig, MempoolConfig
from node.engine import HeightProgress
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
from node.observation import UnsignedCheckpoint
from node.proving import MAINTENANCE_S, Proving
from node.runner import Runner
from node.workers import Gate, Worker


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
        self._application_worker = Worker("application")
        self.storage_worker = Worker("storage")
        gate = Gate(self._application_worker)
        self.mempool = Mempool(mempool.max_bytes, mempool.max_count)
        self._proving = Proving(
            application, network, checkpoint_signer, self.storage_worker, committed, proven
        )
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
            is_contradicted=lambda: self._proving.is_contradicted,
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
            tasks.create_task(self.runner.run(), name="runner")
            tasks.create_task(self.sync.run(), name="block-sync")
            tasks.create_task(self._proving.run(), name="checkpoints")
            tasks.create_task(self._maintain(), name="maintenance")

    async def close(self) -> None:
        """Let the workers finish what they have begun, then write what was held back."""
        await asyncio.to_thread(self._application_worker.close)
        await self._proving.close()

    async def _maintain(self) -> None:
        while True:
            await asyncio.sleep(MAINTENANCE_S)
            self.intake.resend_overdue()
            await self._proving.maintain(idle=not self.runner.in_round)

    # --- commits ---------------------------------------------------------------------------------

    async def _committed(self, finalized: FinalizedBlock, fetched: bool) -> None:
        self._proving.committed(finalized, fetched=fetched, target=self.sync.target)

    @property
    def unsigned_checkpoint(self) -> UnsignedCheckpoint | None:
        """The newest checkpoint, where we must not sign it."""
        return self._proving.unsigned_checkpoint

    def progress(self) -> HeightProgress:
        """Return what is known of the height that is being decided."""
        runner = self.runner
        driver, status = runner.driver, runner.status
        return HeightProgress(
            is_started=runner.in_round,
            is_waiting=runner.in_round or (runner.votes_now and runner.has_work),
            is_guard_silent=runner.votes_now and not status.voting and status.diverged is None,
            votes=None if driver is None else driver.status(),
            untimely=None if driver is None else driver.untimely_proposer,
        )

    # --- links -----------------------------------------------------------------------------------

    def link_up(self, link: PeerLink) -> None:
        """Tell a new link how far we are, and what it may lack."""
        self._proving.link_up(link)
        self.runner.link_up(link.name)
        self.sync.peer_height(link, link.height)

    def link_down(self, link: PeerLink) -> None:
        """Forget what was under way with a link that has ended."""
        self.sync.link_down(link.name)
        self._proving.link_down(link)

    def _votes_soon(self, name: str) -> bool:
        """Whether a node votes at the current height or at the next: nobody else has a say in consensus."""
        tip = self.application.tip
        return name in tip.validators or name in tip.next_validators

    async def message_received(self, link: PeerLink, message: PeerMessage) -> None:
        """Hand a message on to whom it concerns; links for synchronisation only carry nothing else.

        Raises:
            InvalidPeerMessage: the peer is to be cut off.
        """
        match message:
            case ConsensusPayload():
                if link.role == "query":
                    raise InvalidPeerMessage("a query node has no say in consensus")
                if not link.sync_only and self._votes_soon(link.name):
                    await self.runner.peer_said(link.name, _decode_consensus(message.payload))
            case Transactions(raws):
                if not link.sync_only:
                    await self.intake.from_peer(raws)
            case Status(height):
                self.sync.peer_height(link, height)
            case CheckpointSignatures() | ProvenCheckpoint() | GetCheckpoint():
                await self._proving.message_received(link, message)
            case GetBlocks():
                history = self.application.history
                blocks = await asyncio.to_thread(collect_blocks, history, message)
                link.send(blocks.encode(), Priority.SYNC)
            case Blocks():
                self.sync.received(link.name, message)
            case _:
                raise InvalidPeerMessage("a message out of place")


def _decode_consensus(payload: bytes) -> Message:
    try:
        return decode_consensus_message(payload)
    except InvalidMessage as error:
        raise InvalidPeerMessage(str(error)) from None
