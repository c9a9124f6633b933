"""A node: everything put together, in one task group.

    peers ──► consensus messages ──► runner ──► commits ──► outcomes, checkpoints, index, peers' status
          ──► transactions ──► intake ──► mempool ──► runner
          ──► blocks ──► block sync ──► runner
          ──► checkpoint signatures ──► checkpointing ──► proven view ──► API

If any part fails, all end: a node that cannot write, or finds its data damaged, must not go on in part.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog

from consensus.tendermint.errors import InvalidMessage
from consensus.tendermint.last_sign import LastSignGuard
from consensus.tendermint.messages import Message
from consensus.tendermint.messages import decode_message as decode_consensus_message
from ledger.application import Application
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import InvalidProof, StorageError
from ledger.finalization import FinalizedBlock
from ledger.membership import certificate_authority, certificate_authority_names
from ledger.store import Store
from node.api.server import serve_api
from node.block_sync import BlockSync, collect_blocks
from node.certificates import (
    EXPIRY_WARNING_DAYS,
    TrustedAuthority,
    certificate_der,
    expires_at,
    usable_authorities,
)
from node.checkpointing import (
    Checkpointing,
    CheckpointSigner,
    CommittedCheckpoint,
)
from node.clock import clock_ms
from node.errors import InvalidConfiguration, InvalidPeerMessage
from node.home import OpenedHome
from node.index import Base, Index
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
from node.metrics import Metrics
from node.outcomes import Outcomes
from node.peers import Link, Membership, PeerNetwork
from node.runner import Runner
from node.scrubbing import scrub
from node.services import Services
from node.sessions import Sessions
from node.signal import Signal
from node.signing_guard import SigningGuard
from node.workers import Gate, Worker

MAINTENANCE_S: Final = 1.0
FAR_BEHIND: Final = 16
"""Heights behind the others from which on older checkpoints are left unsigned: they have their quorum."""

MAX_UNCHECKPOINTED: Final = 16
"""Commits whose checkpoints wait to be signed, beyond which the older ones are left out."""

CERTIFICATE_CHECK_S: Final = 12 * 3600.0

_MEMBERSHIP_KEYS: Final = ("ledger/certificate_authorit", "ledger/validators/")

_log = structlog.get_logger(__name__)


class Node:
    """One node over an open store and an application that has its chain."""

    def __init__(
        self,
        opened: OpenedHome,
        store: Store,
        application: Application,
        damage: str | None = None,
    ) -> None:
        config, genesis = opened.config, opened.genesis
        self._opened = opened
        self._store = store
        self._application = application
        self._app_worker = Worker("application")
        gate = Gate(self._app_worker)
        self._storage_worker = Worker("storage")
        self._extra_authorities = _configured_authorities(opened)
        self._uncheckpointed: asyncio.Queue[tuple[CommittedCheckpoint, bool]] = asyncio.Queue()
        self._mempool = Mempool(config.mempool.max_bytes, config.mempool.max_count)
        self._outcomes = Outcomes()
        self._proven_signal = Signal()
        self._network = PeerNetwork(
            config.name,
            config.role,
            genesis.chain_id,
            config.peers,
            opened.home.tls_certificate,
            opened.home.tls_key,
            self._membership(),
            self,
        )
        guard = signer = key = None
        if opened.signers is not None:
            key = opened.signers.consensus.public_key
            guard = LastSignGuard.open(
                opened.home.last_sign, opened.signers.consensus, genesis.chain_id, clock_ms()
            )
            signing_guard = SigningGuard(opened.home.checkpoint_guard, clock_ms())
            signer = CheckpointSigner(genesis.suite, config.name, opened.signers, signing_guard)
        self._runner = Runner(
            name=config.name,
            consensus_key=key,
            application=application,
            database=store,
            guard=guard,
            config=config.consensus,
            network=self._network,
            mempool=self._mempool,
            gate=gate,
            storage_worker=self._storage_worker,
            committed=self._committed,
        )
        self._intake = Intake(
            application,
            gate,
            self._mempool,
            self._network,
            self._runner.work_available,
            self._runner.has_queued,
        )
        self._sync = BlockSync(
            self._network,
            lambda: application.tip.height,
            self._runner.apply_blocks,
            lambda: self._runner.votes_now,
            lambda: application.tip.validators,
        )
        self._checkpointing = Checkpointing(
            genesis.suite, genesis.chain_id, signer, self._broadcast_consensus, self._record
        )
        self._index = Index(
            config.index.url or f"sqlite:///{opened.home.index}", genesis.suite, self._index_base
        )
        self._services = Services(
            config=config,
            genesis=genesis,
            genesis_json=opened.genesis_json,
            application=application,
            runner=self._runner,
            network=self._network,
            mempool=self._mempool,
            intake=self._intake,
            outcomes=self._outcomes,
            sync=self._sync,
            index=self._index,
            sessions=Sessions(config.sessions),
            proven_signal=self._proven_signal,
            metrics=Metrics(),
            root=opened.home.root,
            damage=damage,
        )

    # --- life ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until cancelled; whatever was started is ended and written before this returns.

        Raises:
            BaseExceptionGroup: a part failed, with its error.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                self._network.set_height(self._application.tip.height)
                await self._resume_checkpoints()
                tasks.create_task(self._network.run(), name="peers")
                tasks.create_task(self._runner.run(), name="runner")
                tasks.create_task(self._sync.run(), name="block-sync")
                tasks.create_task(self._index.run(), name="index")
                tasks.create_task(self._checkpoint(), name="checkpoints")
                tasks.create_task(self._maintain(), name="maintenance")
                tasks.create_task(self._watch_certificate(), name="certificate")
                tasks.create_task(self._services.failure.wait(), name="failure")
                tasks.create_task(scrub(self._store, self._application), name="scrub")
                tasks.create_task(serve_api(self._services), name="api")
        finally:
            await asyncio.shield(self._close())

    async def _close(self) -> None:
        """Let the workers finish what they have begun, then write what was held back."""
        await asyncio.to_thread(self._app_worker.close)
        await asyncio.to_thread(self._storage_worker.close)
        try:
            await asyncio.to_thread(self._application.save_checkpoints)
        except StorageError as error:
            _log.error("the newest checkpoint is not saved", reason=str(error))
        await asyncio.to_thread(self._index.close)
        _log.info("stopped", height=self._application.tip.height)

    async def _resume_checkpoints(self) -> None:
        """Take up the recorded checkpoint and sign the tip's again, in case its quorum was not complete."""
        stored = self._application.history.newest_checkpoint()
        if stored is not None:
            self._checkpointing.resume(*stored)
        await self._checkpointing.committed(self._tip_checkpoint(), sign=True)

    def _tip_checkpoint(self) -> CommittedCheckpoint:
        tip = self._application.tip
        validators = tip.last_validators or tip.validators
        return CommittedCheckpoint(
            tip.height, tip.time_ms, self._application.checkpoint(), validators
        )

    async def _maintain(self) -> None:
        while True:
            await asyncio.sleep(MAINTENANCE_S)
            self._intake.resend_overdue()
            if not self._runner.in_round:
                await self._storage_worker.run(self._application.save_checkpoints)
                self._ask_for_checkpoint()

    def _ask_for_checkpoint(self) -> None:
        """Ask for signatures that a broken link has swallowed: an idle chain brings no newer ones for minutes."""
        proven, size = self._application.proven(), self._application.tip.log.size
        if proven is None or proven.size < size:
            self._network.broadcast(GetCheckpoint().encode(), Priority.SYNC)

    async def _watch_certificate(self) -> None:
        """Warn weeks before our certificate expires."""
        while True:
            expires = expires_at(self._opened.home.tls_certificate.read_bytes())
            days = (expires.timestamp() - time.time()) / 86_400
            if days < EXPIRY_WARNING_DAYS:
                _log.warning("the certificate expires soon", days=round(days, 1))
            await asyncio.sleep(CERTIFICATE_CHECK_S)

    # --- commits ---------------------------------------------------------------------------------

    async def _committed(self, finalized: FinalizedBlock, fetched: bool) -> None:
        """Tell everybody concerned of a committed block."""
        tip = finalized.tip
        self._network.set_height(tip.height)
        self._outcomes.committed(finalized)
        proven = self._application.proven()
        status = Status(tip.height, 0 if proven is None else proven.size)
        self._network.broadcast(status.encode(), Priority.CONSENSUS)
        if any(key.startswith(_MEMBERSHIP_KEYS) for key in finalized.overlay.changes) or (
            tip.validators != tip.last_validators
        ):
            self._network.update_membership(self._membership())
        self._services.metrics.committed(finalized)
        self._index.feed(finalized)
        _log.info(
            "block committed",
            height=tip.height,
            transactions=len(finalized.transactions),
            app_hash=tip.app_hash.hex()[:16],
            fetched=fetched,
        )
        # While far behind, older heights have their quorum already: only the newest are signed.
        sign = not fetched or self._sync.target - tip.height < FAR_BEHIND
        self._uncheckpointed.put_nowait((self._tip_checkpoint(), sign))

    async def _checkpoint(self) -> None:
        """Sign and gather the checkpoint of each commit, beside consensus, which does not wait for it."""
        while True:
            committed, sign = await self._uncheckpointed.get()
            newest = self._uncheckpointed.qsize() < MAX_UNCHECKPOINTED
            await self._checkpointing.committed(committed, sign=sign and newest)

    async def _record(self, height: int, signed: SignedCheckpoint) -> None:
        try:
            await self._storage_worker.run(self._application.record_checkpoint, signed)
        except InvalidProof as error:
            _log.warning("checkpoint not recorded", height=height, reason=str(error))
            return
        self._proven_signal.notify()

    def _broadcast_consensus(self, frame: bytes) -> None:
        self._network.broadcast(frame, Priority.CONSENSUS)

    async def _index_base(self) -> Base:
        """Take a snapshot between two commits."""
        return await self._storage_worker.run(
            lambda: Base(self._application.tip, self._store.snapshot())
        )

    def _membership(self) -> Membership:
        state, tip = self._application.state, self._application.tip
        found = [certificate_authority(state, name) for name in certificate_authority_names(state)]
        registered = tuple(
            TrustedAuthority(one.name, one.controller, one.certificate)
            for one in found
            if one is not None and one.status == "active"
        )
        usable, left_out = usable_authorities(registered)
        if left_out:
            _log.warning("certificate authorities left out", names=left_out)
        return Membership(usable + self._extra_authorities, tip.validators)

    # --- links -----------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        """Tell a new link how far we are, and what it may lack."""
        tip = self._application.tip
        proven = self._application.proven()
        status = Status(tip.height, 0 if proven is None else proven.size)
        link.send(status.encode(), Priority.CONSENSUS)
        for frame in self._checkpointing.greeting():
            link.send(frame, Priority.CONSENSUS)
        self._runner.link_up(link.name)
        self._sync.peer_height(link, link.height)

    def link_down(self, link: Link) -> None:
        self._sync.link_down(link.name)
        self._checkpointing.forget_peer(link.name)

    async def message_received(self, link: Link, message: PeerMessage) -> None:
        """Hand a message on to whom it concerns; links for synchronisation only carry nothing else."""
        match message:
            case ConsensusPayload(payload):
                if not link.sync_only:
                    await self._runner.peer_said(link.name, _decode_consensus(payload))
            case Transactions(raws):
                if not link.sync_only:
                    await self._intake.from_peer(raws)
            case Status(height):
                self._sync.peer_height(link, height)
            case CheckpointSignatures() | ProvenCheckpoint():
                await self._checkpointing.received(link.name, message)
            case GetBlocks():
                history = self._application.history
                blocks = await asyncio.to_thread(collect_blocks, history, message)
                link.send(blocks.encode(), Priority.SYNC)
            case Blocks():
                self._sync.received(link.name, message)
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


def _configured_authorities(opened: OpenedHome) -> tuple[TrustedAuthority, ...]:
    """Return the certificate authorities that the configuration adds, for synchronisation only."""
    found = []
    for name in opened.config.peers.certificate_authorities:
        path = opened.home.root / name
        try:
            found.append(TrustedAuthority(name, "", certificate_der(path.read_bytes())))
        except OSError as error:
            raise InvalidConfiguration(f"cannot read {path}: {error.strerror}") from None
    return tuple(found)
