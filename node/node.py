"""A node: a replica of the chain with everything around it that faces the world, in one task group.

    peers ──► replica ──► commits ──► outcomes, index, metrics, who may link
                      ──► proven view ──► API
    clients ──► API ──► intake of the replica

If any part fails, all end: a node that cannot write, or finds its data damaged, must not go on in part.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from consensus.tendermint.last_sign import LastSignGuard
from ledger.application import Application
from ledger.finalization import FinalizedBlock
from ledger.membership import certificate_authority, certificate_authority_names
from ledger.store import Store
from node.api.server import serve_api
from node.certificates import TrustedAuthority, certificate_der, usable_authorities
from node.checkpointing import CheckpointSigner
from node.clock import clock_ms
from node.cometbft.replica import CometReplica
from node.engine import Engine
from node.errors import InvalidCertificate, InvalidConfiguration
from node.home import OpenedHome
from node.index import Base, Index
from node.link import Link
from node.messages import PeerMessage, Status
from node.metrics import Metrics
from node.observation import Damage
from node.outcomes import Outcomes
from node.peers import Membership, PeerNetwork
from node.replica import Replica
from node.scrubbing import scrub
from node.services import Services
from node.sessions import Sessions
from node.signal import Signal
from node.signing_guard import SigningGuard
from node.watch import Watch

_MEMBERSHIP_KEYS: Final = ("ledger/certificate_authorit", "ledger/validators/")

_log = structlog.get_logger(__name__)


class Node:
    """One node over an open store and an application that has its chain."""

    def __init__(
        self,
        opened: OpenedHome,
        store: Store,
        application: Application,
        damage: Damage | None = None,
    ) -> None:
        config, genesis = opened.config, opened.genesis
        self._opened = opened
        self._store = store
        self._application = application
        self._extra_authorities = _configured_authorities(opened)
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
        self._replica = self._make_engine()
        self._index = Index(
            config.index.url or f"sqlite:///{opened.home.index}", genesis.suite, self._index_base
        )
        self._watch = Watch(opened, application, self._replica, self._network, damage, self._index)
        self._services = Services(
            config=config,
            genesis=genesis,
            genesis_json=opened.genesis_json,
            application=application,
            runner=self._replica.runner,
            network=self._network,
            mempool=self._replica.mempool,
            intake=self._replica.intake,
            outcomes=self._outcomes,
            sync=self._replica.sync,
            index=self._index,
            sessions=Sessions(config.sessions),
            proven_signal=self._proven_signal,
            metrics=Metrics(),
            watch=self._watch,
            root=opened.home.root,
            damage=damage,
        )

    def _make_engine(self) -> Engine:
        opened, config, genesis = self._opened, self._opened.config, self._opened.genesis
        self._check_engine()
        guard = signer = key = None
        if opened.signers is not None:
            key = opened.signers.consensus.public_key
            signing_guard = SigningGuard.open(opened.home.checkpoint_guard, clock_ms())
            signer = CheckpointSigner(genesis.suite, config.name, opened.signers, signing_guard)
        if config.consensus.engine == "cometbft":
            return CometReplica(
                name=config.name,
                application=self._application,
                network=self._network,
                directory=opened.home.cometbft,
                consensus_key=key,
                checkpoint_signer=signer,
                committed=self._committed,
                proven=self._proven,
            )
        if opened.signers is not None:
            guard = LastSignGuard.open(
                opened.home.last_sign, opened.signers.consensus, genesis.chain_id, clock_ms()
            )
        return Replica(
            name=config.name,
            application=self._application,
            database=self._store,
            network=self._network,
            consensus=config.consensus,
            mempool=config.mempool,
            consensus_key=key,
            guard=guard,
            checkpoint_signer=signer,
            committed=self._committed,
            proven=self._proven,
        )

    def _check_engine(self) -> None:
        """Refuse to go on with another engine than the one that decided the tip, or with one that has lost its blocks.

        Raises:
            InvalidConfiguration: so it is.
        """
        tip, wanted = self._application.tip, self._opened.config.consensus.engine
        decided_elsewhere = self._application.history.decision(tip.height) is not None
        if tip.height and decided_elsewhere != (wanted == "cometbft"):
            raise InvalidConfiguration(
                f"config.toml names the engine {wanted}, but another one has decided height {tip.height}; "
                "docs/OPERATING.md says how a network changes its engine"
            )
        if tip.height and wanted == "cometbft" and not self._opened.home.has_engine_data():
            raise InvalidConfiguration(
                f"CometBFT's data are gone from {self._opened.home.cometbft}, the ledger's are there; "
                "docs/OPERATING.md says how both are fetched anew"
            )

    # --- life ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until cancelled; whatever was started is ended and written before this returns.

        Raises:
            BaseExceptionGroup: a part failed, with its error.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._replica.resume()
                tasks.create_task(self._network.run(), name="peers")
                tasks.create_task(self._replica.run(), name="replica")
                tasks.create_task(self._index.run(), name="index")
                tasks.create_task(self._watch.run(), name="watch")
                tasks.create_task(self._services.failure.wait(), name="failure")
                tasks.create_task(scrub(self._store, self._application), name="scrub")
                tasks.create_task(serve_api(self._services), name="api")
        finally:
            await asyncio.shield(self._close())

    async def _close(self) -> None:
        await self._replica.close()
        await asyncio.to_thread(self._index.close)
        await asyncio.to_thread(self._services.thread_reads.close)
        _log.info("stopped", height=self._application.tip.height)

    # --- commits ---------------------------------------------------------------------------------

    def _committed(self, finalized: FinalizedBlock, fetched: bool) -> None:
        """Tell everybody around the replica of a committed block."""
        tip = finalized.tip
        self._outcomes.committed(finalized)
        if any(key.startswith(_MEMBERSHIP_KEYS) for key in finalized.overlay.changes) or (
            tip.validators != tip.last_validators
        ):
            self._network.update_membership(self._membership())
        self._services.metrics.committed(finalized)
        self._index.feed(finalized)

    def _proven(self, height: int) -> None:
        self._proven_signal.notify()

    async def _index_base(self) -> Base:
        """Take a snapshot between two commits."""
        return await self._replica.storage_worker.run(
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
            _log.warning("certificate authorities left out", reasons=left_out)
        return Membership(usable + self._extra_authorities, tip.validators)

    # --- links -----------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        self._replica.link_up(link)

    def link_down(self, link: Link) -> None:
        self._replica.link_down(link)
        self._watch.link_down(link.name)

    async def message_received(self, link: Link, message: PeerMessage) -> None:
        if isinstance(message, Status) and message.clock_ms is not None:
            self._watch.clock_told(link.name, message.clock_ms)
        await self._replica.message_received(link, message)


def _configured_authorities(opened: OpenedHome) -> tuple[TrustedAuthority, ...]:
    """Return the certificate authorities that the configuration adds, for synchronisation only."""
    found = []
    for name in opened.config.peers.certificate_authorities:
        path = opened.home.root / name
        try:
            found.append(TrustedAuthority(name, "", certificate_der(path.read_bytes())))
        except OSError as error:
            raise InvalidConfiguration(f"cannot read {path}: {error.strerror}") from None
        except InvalidCertificate:
            raise InvalidConfiguration(f"{path} is no certificate") from None
    return tuple(found)
