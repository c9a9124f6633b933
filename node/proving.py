"""Proving: the checkpoint of each committed height is signed here, gathered from the others, and recorded.

What `node.checkpointing` does with one checkpoint is done here for the chain as it grows, with whatever engine orders
it: beside consensus, which does not wait for it; the newest heights only, where this node is far behind; and asked for
again where a broken link has swallowed signatures. Whoever is concerned is told of each commit here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from ledger.application import Application
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import InvalidProof, StorageError
from ledger.finalization import FinalizedBlock
from node.checkpointing import Checkpointing, CheckpointSigner, CommittedCheckpoint
from node.clock import clock_ms
from node.messages import (
    CheckpointSignatures,
    GetCheckpoint,
    Priority,
    ProvenCheckpoint,
    Status,
)
from node.network import Network, PeerLink
from node.observation import UnsignedCheckpoint
from node.workers import Worker

MAINTENANCE_S: Final = 1.0
"""How often an engine has `maintain` run, beside what it looks after itself."""

MAX_UNCHECKPOINTED: Final = 16
"""Commits whose checkpoints wait to be signed, beyond which the older ones are left out."""

STATUS_EVERY: Final = 5
"""Maintenances between two words on how far we are, and what time it is, where no commit brings them."""

FAR_BEHIND: Final = 16
"""Heights behind the others from which on older checkpoints are left unsigned: they have their quorum."""

_log = structlog.get_logger(__name__)


class Proving:
    """Keeps the proven view of an application close behind its tip. Belongs to the event loop."""

    def __init__(
        self,
        application: Application,
        network: Network,
        signer: CheckpointSigner | None,
        storage_worker: Worker,
        committed: Callable[[FinalizedBlock, bool], None],
        proven: Callable[[int], None],
    ) -> None:
        """`committed` is told of every block with its outcome, and whether it was fetched rather than decided here.

        `proven` is told of every height whose checkpoint has a quorum. The storage worker is closed with us.
        """
        self._application = application
        self._network = network
        self._storage = storage_worker
        self._tell_committed = committed
        self._tell_proven = proven
        self._maintained = 0
        self._waiting: asyncio.Queue[tuple[CommittedCheckpoint, bool]] = asyncio.Queue()
        self._signing = storage_worker.beside("checkpoints")
        genesis = application.genesis
        self._checkpointing = Checkpointing(
            genesis.suite, genesis.chain_id, signer, self._signing, self._broadcast, self._record
        )

    # --- life ------------------------------------------------------------------------------------

    async def resume(self) -> None:
        """Take up where the last process stopped, before there are links: the height and the recorded checkpoint.

        The tip's is signed again, in case its quorum was not complete.
        """
        self._network.set_height(self._application.tip.height)
        stored = self._application.history.newest_checkpoint()
        if stored is not None:
            self._checkpointing.resume(*stored)
        await self._checkpointing.committed(self._tip_checkpoint(), sign=True)

    async def run(self) -> None:
        """Sign and gather until cancelled.

        Raises:
            StorageError: it is not known what was signed: the process must stop.
        """
        while True:
            committed, sign = await self._waiting.get()
            newest = self._waiting.qsize() < MAX_UNCHECKPOINTED
            await self._checkpointing.committed(committed, sign=sign and newest)

    def committed(self, finalized: FinalizedBlock, *, fetched: bool, target: int) -> None:
        """Tell everybody concerned of a committed block, and have its checkpoint signed and gathered.

        `fetched` tells that others had decided it before, `target` is the height that they have reached.
        """
        tip = finalized.tip
        self._network.set_height(tip.height)
        self._tell_committed(finalized, fetched)
        self._tell_status()
        _log.info(
            "block committed",
            height=tip.height,
            transactions=len(finalized.transactions),
            app_hash=tip.app_hash.hex()[:16],
            fetched=fetched,
        )
        # While far behind, older heights have their quorum already: only the newest are signed.
        sign = not fetched or target - tip.height < FAR_BEHIND
        self._waiting.put_nowait((self._tip_checkpoint(), sign))

    async def maintain(self, *, idle: bool) -> None:
        """Tell peers now and then how far we are; where consensus is `idle`, do what no commit does.

        That is: write checkpoints that no block has carried along, and ask for signatures that are missing.
        """
        self._maintained += 1
        if self._maintained % STATUS_EVERY == 0:
            self._tell_status()
        if not idle:
            return
        await self._storage.run(self._application.save_checkpoints)
        if self.proven_size < self._application.tip.log.size:
            self._network.broadcast(GetCheckpoint().encode(), Priority.SYNC)

    async def close(self) -> None:
        """Let the storage worker finish what it has begun, then write what was held back."""
        await asyncio.to_thread(self._storage.close)
        await asyncio.to_thread(self._signing.close)
        try:
            await asyncio.to_thread(self._application.save_checkpoints)
        except StorageError as error:
            _log.error("the newest checkpoint is not saved", reason=str(error))

    # --- peers -----------------------------------------------------------------------------------

    @property
    def proven_size(self) -> int:
        """The size of the log under the newest checkpoint with a quorum; 0 before the first."""
        proven = self._application.proven()
        return 0 if proven is None else proven.size

    @property
    def unsigned_checkpoint(self) -> UnsignedCheckpoint | None:
        """The newest checkpoint, where we must not sign it."""
        return self._checkpointing.unsigned_checkpoint

    @property
    def is_contradicted(self) -> bool:
        """Whether more validators than may be faulty have signed another checkpoint than ours."""
        return self._checkpointing.is_contradicted

    def _status(self) -> Status:
        return Status(self._application.tip.height, self.proven_size, clock_ms())

    def link_up(self, link: PeerLink) -> None:
        """Tell a new link how far we are, and the signatures that it may lack."""
        link.send(self._status().encode(), Priority.CONSENSUS)
        self._greet(link, Priority.CONSENSUS)

    def link_down(self, link: PeerLink) -> None:
        """Forget what waits from a link that has ended."""
        self._checkpointing.forget_peer(link.name)

    async def message_received(
        self, link: PeerLink, message: CheckpointSignatures | ProvenCheckpoint | GetCheckpoint
    ) -> None:
        """Take in signatures, or answer with ours.

        Raises:
            InvalidPeerMessage: not a signed checkpoint, or a bad signature.
        """
        if isinstance(message, GetCheckpoint):
            self._greet(link, Priority.SYNC)
        else:
            await self._checkpointing.received(link.name, message)

    def _greet(self, link: PeerLink, priority: Priority) -> None:
        for frame in self._checkpointing.greeting():
            link.send(frame, priority)

    # --- signing ---------------------------------------------------------------------------------

    def _tip_checkpoint(self) -> CommittedCheckpoint:
        tip = self._application.tip
        validators = tip.last_validators or tip.validators
        return CommittedCheckpoint(
            tip.height, tip.time_ms, self._application.checkpoint(), validators
        )

    async def _record(self, height: int, signed: SignedCheckpoint) -> None:
        try:
            await self._storage.run(self._application.record_checkpoint, signed)
        except InvalidProof as error:
            _log.warning("checkpoint not recorded", height=height, reason=str(error))
            return
        self._tell_proven(height)

    def _tell_status(self) -> None:
        self._broadcast(self._status().encode())

    def _broadcast(self, frame: bytes) -> None:
        self._network.broadcast(frame, Priority.CONSENSUS)
