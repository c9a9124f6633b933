"""One life of a node in the simulation: a real replica over simulated links, disk and clocks.

Real are the runner with consensus core and guards, intake and mempool, block synchronisation, checkpointing and the
application, put together by `node.replica`. Left out are TLS, HTTP and the search index.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextvars import copy_context
from typing import TYPE_CHECKING

from consensus.tendermint.last_sign import LastSign, LastSignGuard
from consensus.tendermint.messages import Proposal, SignedProposal
from consensus.tendermint.rounds import RoundValue
from ledger.application import Application
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import DecodeError, InvalidProof, StorageError
from ledger.finalization import FinalizedBlock
from ledger.suite import Signer
from ledger.votes import SignedVote, Vote
from node.checkpointing import CheckpointSigner
from node.config import ConsensusConfig, MempoolConfig
from node.errors import InvalidPeerMessage
from node.home import ValidatorSigners
from node.messages import Priority
from node.replica import Replica
from node.signing_guard import SigningGuard, decode_signed
from tests.ledger.chain import TABLE
from tests.sim.disk import Crash, File, SimulatedDatabase
from tests.sim.sharing import read_frame
from tests.sim.virtual import machine

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.world import World

BAN_S = 0.5
"""Shorter than a real node's, so that a liar soon lies again."""

CONSENSUS = ConsensusConfig(heartbeat_interval_ms=30_000)
MEMPOOL = MempoolConfig(max_bytes=8 * 1024 * 1024, max_count=2_000)


class SimulatedLink:
    """Stands where a node has a `Link`."""

    def __init__(self, network: SimulatedLinks, name: str, height: int) -> None:
        self.name = name
        self.role = "validator"
        self.sync_only = False
        self.height = height
        self._network = network

    def send(self, frame: bytes, priority: Priority) -> bool:
        return self._network.send(self.name, frame, priority)


class SimulatedLinks:
    """Stands where a node has its `PeerNetwork`; who is removed stays linked, as a node that follows."""

    def __init__(self, host: Host, process: Process) -> None:
        self._host = host
        self._process = process
        self.links: dict[str, SimulatedLink] = {}
        self.banned_until_s: dict[str, float] = {}
        self.height = 0

    def set_height(self, height: int) -> None:
        self.height = height

    def send(self, name: str, frame: bytes, priority: Priority) -> bool:
        if name not in self.links or self._host.process is not self._process:
            return False
        self._process.reach("sending")
        self._host.world.wires.send(self._host, name, frame)
        return True

    def broadcast(
        self, frame: bytes, priority: Priority, names: Iterable[str] | None = None
    ) -> None:
        for name in tuple(self.links) if names is None else names:
            self.send(name, frame, priority)

    def cut_off(self, name: str, reason: str) -> None:
        world = self._host.world
        world.judge.cut_off(self._host, name, reason)
        self.banned_until_s[name] = world.loop.time() + BAN_S
        world.wires.unlink(self._host, name)
        world.loop.call_later(BAN_S, world.wires.link_everybody)


class ObservedGuard(LastSignGuard):
    """The real guard; the judge sees what it releases."""

    host: Host

    def sign_vote(self, vote: Vote, lock: RoundValue | None) -> SignedVote:
        signed = super().sign_vote(vote, lock)
        self.host.world.judge.vote_signed(self.host, signed)
        return signed

    def sign_proposal(self, proposal: Proposal, lock: RoundValue | None) -> SignedProposal:
        signed = super().sign_proposal(proposal, lock)
        self.host.world.judge.proposal_signed(self.host, signed)
        return signed


class ObservedApplication(Application):
    """The real application; the judge hears of a quorum's checkpoint that it refuses."""

    host: Host

    def record_checkpoint(self, signed: SignedCheckpoint) -> None:
        try:
            super().record_checkpoint(signed)
        except InvalidProof as error:
            address = self.host.address
            self.host.world.judge.violation(f"{address}: quorum checkpoint refused: {error}")
            raise


class Process:
    """From start to crash."""

    def __init__(self, host: Host) -> None:
        self.host = self._host = host
        self.world: World = host.world
        self.context = copy_context()
        self._task: asyncio.Task[None] | None = None
        self.ready = False
        self.write_failed = False
        self.context.run(self._start)

    def _start(self) -> None:
        host = self._host
        machine.set(host)
        database = SimulatedDatabase(host.disk, self.reach)
        self.application = ObservedApplication(
            self.world.genesis, TABLE, database, lambda transaction, kind, error: None
        )
        self.application.host = host
        self.network = SimulatedLinks(host, self)
        self.guard = self._open_guard(host.consensus)
        self.replica = Replica(
            name=host.name,
            application=self.application,
            database=database,
            network=self.network,
            consensus=CONSENSUS,
            mempool=MEMPOOL,
            consensus_key=host.consensus.public_key,
            guard=self.guard,
            checkpoint_signer=self._checkpoint_signer() if self.world.plan.checkpoints else None,
            committed=self._committed,
            proven=self._proven,
        )
        self._task = self.world.loop.create_task(self._run(), context=self.context)

    def _open_guard(self, signer: Signer) -> LastSignGuard:
        host, chain_id = self._host, self.world.genesis.chain_id
        if host.script is not None:
            careless = host.script.guard(signer, chain_id)
            if careless is not None:
                return careless
        last: LastSign | None = None
        if host.disk.last_sign.content is not None:
            try:
                last = LastSign.decode(host.disk.last_sign.content)
            except DecodeError:
                last = None
        guard = ObservedGuard(
            signer,
            chain_id,
            last,
            lambda data: self._replace(host.disk.last_sign, data),
            self.world.loop.wall_clock_ms(),
        )
        guard.host = host
        return guard

    def _checkpoint_signer(self) -> CheckpointSigner:
        host = self._host
        file = host.disk.checkpoint_guard
        guard = SigningGuard(
            None if file.content is None else decode_signed(file.content),
            lambda data: self._replace(file, data),
            self.world.loop.wall_clock_ms(),
        )
        signers = ValidatorSigners(host.consensus, host.log, host.witness)
        return CheckpointSigner(self.world.genesis.suite, host.name, signers, guard)

    def _replace(self, file: File, data: bytes) -> None:
        self.reach(f"before {file.name} write")
        file.write(data)
        self.reach(f"during {file.name} write")
        file.sync()
        self.reach(f"after {file.name} write")

    # --- life ------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self._host.process is self

    def reach(self, point: str) -> None:
        """Come to a point of the work: before, in or after a write, or before sending.

        The process may die here; a dead one writes and sends nothing any more.

        Raises:
            StorageError: the write fails; the process must write and sign nothing from then on, and end.
        """
        if not self.alive and self._task is not None:
            raise Crash
        if self._host.dies_at(point):
            self._host.crash()
            raise Crash
        if self.write_failed and point != "sending":
            self.world.judge.violation(f"{self._host.address}: {point} after a write had failed")
        if self._host.fails_at(point):
            self.write_failed = True
            raise StorageError(f"injected {point}")

    def kill(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            if self.application.info() is None:
                self.application.init_chain()
            await self.replica.resume()
            self._host.started()
            await self.replica.run()
        except asyncio.CancelledError:
            if self.alive:
                raise
        except BaseException as error:
            self.failed(error)

    def failed(self, error: BaseException) -> None:
        """Something in this process raised; the process ends. Only a kill or a failed write may be why."""
        if isinstance(error, Crash) or not self.alive:
            return
        if not self.write_failed:
            self.world.judge.process_failed(self._host, error)
        self._host.crash()

    # --- what the replica tells ------------------------------------------------------------------

    def _committed(self, finalized: FinalizedBlock, fetched: bool) -> None:
        self.world.judge.committed(self._host, self.application, finalized)

    def _proven(self, height: int) -> None:
        self.world.judge.proven(self._host, height)

    # --- links -----------------------------------------------------------------------------------

    def link_up(self, name: str, height: int) -> None:
        link = SimulatedLink(self.network, name, height)
        self.network.links[name] = link
        self.replica.link_up(link)

    def link_down(self, name: str) -> None:
        link = self.network.links.pop(name, None)
        if link is not None:
            self.replica.link_down(link)

    async def receive(self, sender: str, frame: bytes) -> None:
        """Take a frame from a linked node."""
        link = self.network.links.get(sender)
        if link is None:
            return
        try:
            message = read_frame(frame)
            await self.replica.message_received(link, message)
            if self._host.script is not None:
                self._host.script.incoming(message)
        except InvalidPeerMessage as error:
            self.network.cut_off(sender, str(error))
