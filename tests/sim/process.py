"""One life of a node in the simulation: the real parts of a node, put together as `node.node` does.

Real are the runner with consensus core and guard, intake and mempool, block synchronisation, checkpointing and the
application. Simulated are links, disk and clocks. Left out are TLS, HTTP and the search index.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextvars import copy_context
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from consensus.tendermint.errors import InvalidMessage
from consensus.tendermint.last_sign import LastSign, LastSignGuard
from consensus.tendermint.messages import Message, Proposal, SignedProposal
from consensus.tendermint.messages import decode_message as decode_consensus_message
from consensus.tendermint.rounds import RoundValue
from ledger.application import Application
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import DecodeError, InvalidProof
from ledger.finalization import FinalizedBlock
from ledger.suite import Signer
from ledger.votes import SignedVote, Vote
from node.block_sync import BlockSync, collect_blocks
from node.checkpointing import Checkpointing, CheckpointSigner, CommittedCheckpoint
from node.config import ConsensusConfig
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
    decode_message,
)
from node.runner import Runner
from node.workers import Gate, Worker
from tests.ledger.chain import TABLE
from tests.sim.disk import Crash, SimulatedDatabase
from tests.sim.virtual import clock_error_ms

if TYPE_CHECKING:
    from tests.sim.world import Host, World

BAN_S = 0.5
"""Shorter than a real node's, so that a liar soon lies again."""

FAR_BEHIND = 16
"""As in `node.node`: the checkpoints of older heights have their quorums."""

CONFIG = ConsensusConfig(heartbeat_interval_ms=30_000)

# Many get the same bytes; what they decode to is immutable.
read_frame = lru_cache(8_192)(decode_message)
read_consensus = lru_cache(8_192)(decode_consensus_message)


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
    """Stands where a node has its `PeerNetwork`."""

    def __init__(self, host: Host, process: Process) -> None:
        self._host = host
        self._process = process
        self.links: dict[str, SimulatedLink] = {}
        self.banned_until_s: dict[str, float] = {}
        self.height = 0

    def set_height(self, height: int) -> None:
        self.height = height

    def update_membership(self) -> None:
        """Links are not cut here: who was removed goes on as a node that follows."""

    def send(self, name: str, frame: bytes, priority: Priority) -> bool:
        if name not in self.links or self._host.process is not self._process:
            return False
        self._process.crash_point("sending")
        self._host.world.send(self._host, name, frame)
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
        world.unlink(self._host, name)
        world.loop.call_later(BAN_S, world.link_everybody)


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


class SimulatedCheckpointGuard:
    """The rule of `node.checkpointing.SigningGuard`, with its record on the simulated disk."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def admit(self, checkpoint: Any, time_ms: int) -> bool:
        wanted = (checkpoint.size, checkpoint.root)
        signed = self._host.signed_checkpoint
        if signed == wanted:
            return True
        if signed is not None and checkpoint.size <= signed[0]:
            return False
        self._host.signed_checkpoint = wanted
        return True


class Process:
    """From start to crash."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.world: World = host.world
        self.context = copy_context()
        self._task: asyncio.Task[None] | None = None
        self.ready = False
        self.context.run(self._start)

    def _start(self) -> None:
        host, world = self._host, self.world
        clock_error_ms.set(host.clock_error_ms)
        database = SimulatedDatabase(host.disk, self.crash_point)
        self.database = database
        genesis = world.genesis
        self.application = application = Application(
            genesis, TABLE, database, lambda transaction, kind, error: None
        )
        self.links = SimulatedLinks(host, self)
        self.network = cast(Any, self.links)
        self.mempool = Mempool(8 * 1024 * 1024, 2_000)
        gate, storage = Gate(Worker("application")), Worker("storage")
        self.guard = self._open_guard(host.member_consensus)
        self.runner = Runner(
            name=host.name,
            consensus_key=host.member_consensus.public_key,
            application=application,
            database=database,
            guard=self.guard,
            config=CONFIG,
            network=self.network,
            mempool=self.mempool,
            gate=gate,
            storage_worker=storage,
            committed=self._committed,
        )
        self.intake = Intake(
            application,
            gate,
            self.mempool,
            self.network,
            self.runner.work_available,
            self.runner.has_queued,
        )
        self.sync = BlockSync(
            self.network,
            lambda: application.tip.height,
            self.runner.apply_blocks,
            lambda: self.runner.votes_now,
            lambda: application.tip.validators,
        )
        self._uncheckpointed: asyncio.Queue[tuple[CommittedCheckpoint, bool]] = asyncio.Queue()
        self.checkpointing: Checkpointing | None = None
        if world.plan.checkpoints:
            guard: Any = SimulatedCheckpointGuard(host)
            signers: Any = host
            signer = CheckpointSigner(genesis.suite, host.name, signers, guard)
            self.checkpointing = Checkpointing(
                genesis.suite, genesis.chain_id, signer, self._broadcast, self._record
            )
        self._task = world.loop.create_task(self._run(), context=self.context)

    def _open_guard(self, signer: Signer) -> LastSignGuard:
        host = self._host
        last: LastSign | None = None
        if host.disk.guard is not None:
            try:
                last = LastSign.decode(host.disk.guard)
            except DecodeError:
                last = None
        if host.script is not None:
            careless = host.script.guard(signer, self.world.genesis.chain_id)
            if careless is not None:
                return careless
        guard = ObservedGuard(
            signer,
            self.world.genesis.chain_id,
            last,
            self._save_guard,
            self.world.loop.wall_clock_ms(),
        )
        guard.host = host
        return guard

    def _save_guard(self, data: bytes) -> None:
        self.crash_point("before guard write")
        self._host.disk.write_guard(data)
        self.crash_point("during guard write")
        self._host.disk.sync_guard()
        self.crash_point("after guard write")

    # --- life ------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self._host.process is self

    def crash_point(self, name: str) -> None:
        """Die here, perhaps; a dead process writes and sends nothing any more."""
        if not self.alive and self._task is not None:
            raise Crash
        if self.world.dies_here(self._host, name):
            self._host.crash()
            raise Crash

    def kill(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            if self.application.info() is None:
                self.application.init_chain()
            self._host.started()
            self.network.set_height(self.application.tip.height)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.runner.run())
                tasks.create_task(self.sync.run())
                tasks.create_task(self._maintain())
                if self.checkpointing is not None:
                    await self._resume_checkpoints(self.checkpointing)
                    tasks.create_task(self._checkpoint(self.checkpointing))
        except asyncio.CancelledError:
            if self.alive:
                raise
        except BaseException as error:
            self.failed(error)

    def failed(self, error: BaseException) -> None:
        """Something in this process raised; unless it was killed, the process ends and must not have."""
        if isinstance(error, Crash) or not self.alive:
            return
        self.world.judge.process_failed(self._host, error)
        self._host.crash()

    async def _maintain(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.intake.resend_overdue()
            if self.checkpointing is not None and not self.runner.in_round:
                self.application.save_checkpoints()
                if self.proven_size < self.application.tip.log.size:
                    self.network.broadcast(GetCheckpoint().encode(), Priority.SYNC)

    @property
    def proven_size(self) -> int:
        proven = self.application.proven()
        return 0 if proven is None else proven.size

    # --- commits, as in node.node ----------------------------------------------------------------

    async def _committed(self, finalized: FinalizedBlock, fetched: bool) -> None:
        tip = finalized.tip
        self.network.set_height(tip.height)
        self.world.judge.committed(self._host, self.application, finalized)
        status = Status(tip.height, self.proven_size)
        self.network.broadcast(status.encode(), Priority.CONSENSUS)
        if self.checkpointing is not None:
            sign = not fetched or self.sync.target - tip.height < FAR_BEHIND
            self._uncheckpointed.put_nowait((self._tip_checkpoint(), sign))

    async def _checkpoint(self, checkpointing: Checkpointing) -> None:
        while True:
            committed, sign = await self._uncheckpointed.get()
            await checkpointing.committed(committed, sign=sign)

    def _tip_checkpoint(self) -> CommittedCheckpoint:
        tip = self.application.tip
        validators = tip.last_validators or tip.validators
        return CommittedCheckpoint(
            tip.height, tip.time_ms, self.application.checkpoint(), validators
        )

    async def _resume_checkpoints(self, checkpointing: Checkpointing) -> None:
        stored = self.application.history.newest_checkpoint()
        if stored is not None:
            checkpointing.resume(*stored)
        await checkpointing.committed(self._tip_checkpoint(), sign=True)

    async def _record(self, height: int, signed: SignedCheckpoint) -> None:
        try:
            self.application.record_checkpoint(signed)
        except InvalidProof as error:
            self.world.judge.violation(f"{self._host.address}: quorum checkpoint refused: {error}")
        self.world.judge.proven(self._host, height)

    def _broadcast(self, frame: bytes) -> None:
        self.network.broadcast(frame, Priority.CONSENSUS)

    # --- links -----------------------------------------------------------------------------------

    def link_up(self, name: str, height: int) -> None:
        link: Any = SimulatedLink(self.network, name, height)
        self.network.links[name] = link
        status = Status(self.application.tip.height, self.proven_size)
        link.send(status.encode(), Priority.CONSENSUS)
        if self.checkpointing is not None:
            for frame in self.checkpointing.greeting():
                link.send(frame, Priority.CONSENSUS)
        self.runner.link_up(name)
        self.sync.peer_height(link, height)

    def link_down(self, name: str) -> None:
        if self.network.links.pop(name, None) is not None:
            self.sync.link_down(name)
            if self.checkpointing is not None:
                self.checkpointing.forget_peer(name)

    async def receive(self, sender: str, frame: bytes) -> None:
        """Take a frame from a linked node."""
        links: Mapping[str, Any] = self.network.links
        link = links.get(sender)
        if link is None:
            return
        try:
            message = read_frame(frame)
            await self._message_received(link, message)
            if self._host.script is not None:
                self._host.script.incoming(message)
        except InvalidPeerMessage as error:
            self.network.cut_off(sender, str(error))

    async def _message_received(self, link: Any, message: PeerMessage) -> None:
        match message:
            case ConsensusPayload(payload):
                await self.runner.peer_said(link.name, _consensus(payload))
            case Transactions(raws):
                await self.intake.from_peer(raws)
            case Status(height):
                self.sync.peer_height(link, height)
            case CheckpointSignatures() | ProvenCheckpoint():
                if self.checkpointing is not None:
                    await self.checkpointing.received(link.name, message)
            case GetBlocks():
                blocks = collect_blocks(self.application.history, message)
                link.send(blocks.encode(), Priority.SYNC)
            case Blocks():
                self.sync.received(link.name, message)
            case GetCheckpoint():
                if self.checkpointing is not None:
                    for frame in self.checkpointing.greeting():
                        link.send(frame, Priority.SYNC)
            case _:
                raise InvalidPeerMessage("a message out of place")


def _consensus(payload: bytes) -> Message:
    try:
        return read_consensus(payload)
    except InvalidMessage as error:
        raise InvalidPeerMessage(str(error)) from None
