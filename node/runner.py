"""The runner: one queue of events in, the height driver's effects out, in order, durable before sent.

Everything that bears on consensus passes through one queue with one consumer: messages of peers, answers of the
application, timeouts, blocks fetched by synchronisation. The driver of the current height says what is to be done;
each effect is carried out before the next. Building and validating are jobs that answer through the queue, and judge
large blocks on the application's worker; writes run on the storage worker and are waited for.

An idle chain makes no blocks: a height starts when a transaction waits, a peer has started it, the validator set is
changing, evidence waits, or the heartbeat is due.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing
from typing import Any, Final

import structlog

from consensus.tendermint.driver import HeightDriver
from consensus.tendermint.effects import (
    Broadcast,
    BuildBlock,
    Decide,
    Effect,
    FetchBody,
    ReportDivergence,
    ReportEvidence,
    SaveWal,
    ScheduleTimeout,
    SignProposal,
    SignVote,
    ValidateBlock,
)
from consensus.tendermint.errors import InvalidMessage, SigningRefused
from consensus.tendermint.events import (
    BlockBuilt,
    BlockValidated,
    BodyReceived,
    Event,
    ProposalReceived,
    StartHeight,
    TimeoutElapsed,
    VoteReceived,
)
from consensus.tendermint.last_sign import LastSignGuard
from consensus.tendermint.messages import (
    BodyMessage,
    BodyRequest,
    Message,
    ProposalMessage,
    StatusMessage,
    VotesMessage,
    encode_message,
)
from consensus.tendermint.rounds import Step
from consensus.tendermint.timeouts import Timeouts, is_timely
from ledger import keyspace
from ledger.application import Application
from ledger.blocks import Block
from ledger.commits import Commit
from ledger.database import Batch, Database
from ledger.errors import InvalidBlock, InvalidSignature
from ledger.finalization import FinalizedBlock
from ledger.suite import PublicKey
from ledger.validators import ValidatorSet
from node.block_executor import BlockExecutor
from node.bodies import Bodies
from node.clock import clock_ms
from node.config import ConsensusConfig
from node.engine import CONTRADICTED, DISAGREES, RunnerStatus
from node.inbox import BlocksFetched, Inbox, PeerSaid, Queued
from node.mempool import Mempool
from node.messages import ConsensusPayload, Priority
from node.network import Network
from node.pace import Pace
from node.workers import Gate, Worker

TICK_S: Final = 1.0
"""How often a height that is not decided is told to peers, and bodies are asked for again."""

ABSENT_PROPOSER_MS: Final = 100
"""How long round 0 waits for a proposer to whom there is no link: else a dead validator costs every fourth height of
four the whole of timeoutPropose. Later rounds wait as long as ever, so that links may be of any shape."""

_log = structlog.get_logger(__name__)

CommittedHook = Callable[[FinalizedBlock, bool], Awaitable[None]]
"""Called after each commit with the outcome, and whether it was fetched rather than decided here."""


class Runner:
    """Drives the heights of one node, one after the other."""

    def __init__(
        self,
        *,
        name: str,
        consensus_key: PublicKey | None,
        application: Application,
        database: Database,
        guard: LastSignGuard | None,
        config: ConsensusConfig,
        network: Network,
        mempool: Mempool,
        gate: Gate,
        storage_worker: Worker,
        committed: CommittedHook,
        is_contradicted: Callable[[], bool],
    ) -> None:
        """`is_contradicted` tells whether others' checkpoints show that what we compute is not what they compute."""
        self._name = name
        self._key = consensus_key
        self._application = application
        self._database = database
        self._guard = guard
        self._network = network
        self._executor = BlockExecutor(name, application, mempool, gate, storage_worker)
        self._bodies = Bodies(application.genesis.suite, gate.worker)
        self._pace = Pace(config, self._executor.has_work, self._start_height)
        self._storage = storage_worker
        self._committed = committed
        self._timeouts = Timeouts(
            propose_ms=config.propose_timeout_ms,
            prevote_ms=config.prevote_timeout_ms,
            precommit_ms=config.precommit_timeout_ms,
        )
        self._inbox = Inbox()
        self._driver: HeightDriver | None = None
        self._next: HeightDriver | None = None
        self._asked: Counter[bytes] = Counter()
        self._disagrees = False
        self._is_contradicted = is_contradicted
        self._jobs: asyncio.TaskGroup | None = None

    # --- what others use -------------------------------------------------------------------------

    @property
    def status(self) -> RunnerStatus:
        driver = self._driver
        return RunnerStatus(
            self._application.tip.height + 1,
            0 if driver is None else driver.round,
            "following" if driver is None else driver.step.name.lower(),
            driver is not None
            and self._guard is not None
            and self._guard.may_sign
            and self._diverged is None,
            self._diverged,
            self._inbox.waiting,
        )

    @property
    def _diverged(self) -> str | None:
        """What shows that this node's data are not the others'; it signs nothing then."""
        if self._disagrees:
            return DISAGREES
        return CONTRADICTED if self._is_contradicted() else None

    @property
    def driver(self) -> HeightDriver | None:
        """The driver of the current height, to be read only; None where this node follows."""
        return self._driver

    @property
    def has_work(self) -> bool:
        """Whether something waits for a block."""
        return self._executor.has_work()

    @property
    def votes_now(self) -> bool:
        """Whether this node is a validator at the current height."""
        return self._driver is not None

    @property
    def in_round(self) -> bool:
        """Whether the current height has started and is not decided."""
        driver = self._driver
        return driver is not None and driver.started and not driver.decided

    async def peer_said(self, peer: str, message: Message) -> None:
        """Queue a peer's message; waits while too many of this peer's are queued."""
        await self._inbox.put_message(peer, message)

    async def apply_blocks(self, blocks: tuple[tuple[Block, Commit], ...]) -> int:
        """Apply fetched blocks in order; return how many were new.

        Raises:
            InvalidBlock: one is not the network's.
        """
        return await self._inbox.apply_blocks(blocks)

    def has_queued(self) -> bool:
        """Tell whether events wait for the runner."""
        return self._inbox.waiting > 0

    def work_available(self) -> None:
        """Start the height if there is now a reason to."""
        self._pace.consider()

    def link_up(self, peer: str) -> None:
        """Tell a new link what we have of the current height."""
        self._inbox.link_up(peer)
        if self._driver is not None:
            self._send(peer, self._driver.status())

    # --- the loop --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Drive heights until cancelled.

        Raises:
            StorageError: the process must stop.
            InvalidWal: the write-ahead log is damaged: this node must not vote.
        """
        with closing(self._inbox):
            async with asyncio.TaskGroup() as jobs:
                self._jobs = jobs
                jobs.create_task(self._tick(), name="runner-tick")
                await self._begin()
                while True:
                    await self._take(await self._inbox.take())

    async def _begin(self) -> None:
        tip = self._application.tip
        self._driver = self._make_driver(tip.height + 1, tip.validators)
        self._next = self._make_driver(tip.height + 2, tip.next_validators)
        if self._driver is None or self._guard is None:
            self._pace.next_height(None)
            return
        if not self._guard.may_sign:
            _log.warning("not voting until a height that began after this start is decided")
        records = tuple(record for _, record in self._database.iterate(keyspace.WAL))
        effects = self._driver.replay(records, self._guard.lock_for(tip.height + 1))
        if records:
            _log.info("write-ahead log replayed", height=tip.height + 1, records=len(records))
        age_ms = clock_ms() - tip.time_ms
        self._pace.next_height(tip.height + 1, age_ms=age_ms, started=self._driver.started)
        await self._carry_out(self._driver, effects)
        self._pace.consider()

    def _start_height(self, height: int) -> None:
        self._inbox.put(StartHeight(height))

    def _make_driver(self, height: int, validators: ValidatorSet) -> HeightDriver | None:
        """Return the driver of a height that we vote at; others follow decided blocks."""
        own = validators.get(self._name)
        if own is None or own.consensus_key != self._key:
            return None
        application = self._application
        return HeightDriver(
            application.genesis.suite,
            application.genesis.chain_id,
            height,
            validators,
            self._name,
            self._timeouts,
        )

    async def _take(self, item: Queued) -> None:
        match item:
            case PeerSaid(peer, message):
                try:
                    await self._peer_said(peer, message)
                except InvalidMessage as error:
                    self._network.cut_off(peer, str(error))
            case BlocksFetched():
                await self._apply_fetched(item)
            case _:
                driver = self._driver_of(item.height)
                if driver is not None:
                    await self._carry_out(driver, driver.handle(item))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            driver = self._driver
            if (
                driver is not None
                and not driver.decided
                and (driver.started or self._pace.is_heard)
            ):
                self._broadcast(driver.status())
                for block_id in driver.wanted_bodies:
                    self._ask_for_body(driver.height, block_id)
            self._pace.consider()

    # --- messages of peers -----------------------------------------------------------------------

    def _driver_of(self, height: int) -> HeightDriver | None:
        for driver in (self._driver, self._next):
            if driver is not None and driver.height == height:
                return driver
        return None

    async def _peer_said(self, peer: str, message: Message) -> None:
        match message:
            case VotesMessage(votes):
                for vote in votes:
                    await self._handle_from_peer(VoteReceived(vote))
            case ProposalMessage(signed, body):
                driver = self._driver_of(signed.proposal.height)
                if driver is not None and driver.awaits(signed):
                    await self._proposal_received(driver, message)
            case BodyMessage(height, block_id, body):
                driver = self._driver_of(height)
                if driver is not None and block_id in driver.wanted_bodies:
                    block = await self._bodies.checked(body, block_id, height)
                    timely = self._is_timely(block, driver.round)
                    await self._handle_from_peer(BodyReceived(height, block_id, body, timely))
            case StatusMessage(height):
                driver = self._driver
                if driver is not None and driver.height == height:
                    for missing in driver.missing(message):
                        self._send(peer, missing)
                    if (
                        message.step is not Step.UNSTARTED
                        and peer in self._application.tip.validators
                    ):
                        self._pace.heard(height)
            case BodyRequest(height, block_id):
                driver = self._driver_of(height)
                body = None if driver is None else driver.body(block_id)
                if body is not None:
                    self._send(peer, BodyMessage(height, block_id, body))

    async def _handle_from_peer(
        self, event: ProposalReceived | BodyReceived | VoteReceived
    ) -> None:
        driver = self._driver_of(event.height)
        if driver is None:
            return
        effects = driver.handle(event)
        if driver.is_heard:
            self._pace.heard(event.height)
        await self._carry_out(driver, effects)

    async def _proposal_received(self, driver: HeightDriver, message: ProposalMessage) -> None:
        proposal, body = message.proposal.proposal, message.body
        timely: bool | None = None
        known = body if body is not None else driver.body(proposal.block_id)
        if known is not None:
            block = await self._bodies.checked(known, proposal.block_id, proposal.height)
            timely = self._is_timely(block, proposal.round)
        await self._handle_from_peer(ProposalReceived(message.proposal, body, timely))

    def _is_timely(self, block: Block, round: int) -> bool:
        return is_timely(block.header.time_ms, clock_ms(), round, self._timeouts)

    # --- effects ---------------------------------------------------------------------------------

    async def _carry_out(self, driver: HeightDriver, effects: list[Effect]) -> None:
        """Carry out effects in order; the guard's answers are handled before anything else in the queue."""
        own: deque[Event] = deque()
        while True:
            for effect in effects:
                answer = await self._perform(driver, effect)
                if answer is not None:
                    own.append(answer)
            if not own:
                return
            effects = driver.handle(own.popleft())

    def _proposer_is_away(self, height: int) -> bool:
        """Tell whether there is no link to the proposer of round 0: nothing that it proposes would come here."""
        proposer = self._application.tip.validators.proposer(height, 0).name
        return proposer != self._name and proposer not in self._network.links

    async def _perform(self, driver: HeightDriver, effect: Effect) -> Event | None:
        match effect:
            case SaveWal(first, records):
                batch = Batch()
                for number, record in enumerate(records, first):
                    batch.put(keyspace.wal(number), record)
                await self._storage.run(self._database.write, batch)
            case SignVote() | SignProposal():
                return await self._sign(effect)
            case Broadcast(message):
                self._broadcast(message)
            case ScheduleTimeout(height, round_, step, duration_ms):
                if step is Step.PROPOSE and round_ == 0 and self._proposer_is_away(height):
                    duration_ms = min(duration_ms, ABSENT_PROPOSER_MS)
                asyncio.get_running_loop().call_later(
                    duration_ms / 1000, self._inbox.put, TimeoutElapsed(height, round_, step)
                )
            case BuildBlock(height, round_):
                self._start_job(self._build(height, round_), "build")
            case ValidateBlock(height, block_id, body):
                self._start_job(self._validate(height, block_id, body), "validate")
            case FetchBody(height, block_id):
                self._ask_for_body(height, block_id)
            case Decide():
                await self._decide(driver, effect)
            case ReportEvidence(evidence):
                self._executor.add_evidence(evidence)
            case ReportDivergence(height, round_, block_id):
                self._disagrees = True
                _log.critical(
                    "a quorum decided a block that this node calls invalid: it stops voting",
                    height=height,
                    round=round_,
                    block=block_id.hex(),
                )
        return None

    async def _sign(self, effect: SignVote | SignProposal) -> Event | None:
        assert self._guard is not None, "a driver without guard never signs"
        if self._diverged is not None:
            return None
        try:
            if isinstance(effect, SignVote):
                guard = self._guard.sign_vote
                return VoteReceived(await self._storage.run(guard, effect.vote, effect.lock))
            signed = await self._storage.run(
                self._guard.sign_proposal, effect.proposal, effect.lock
            )
            return ProposalReceived(signed, None, True)
        except SigningRefused as refusal:
            _log.warning("not signed", reason=str(refusal))
            return None

    def _start_job(self, job: Coroutine[Any, Any, None], name: str) -> None:
        assert self._jobs is not None, "effects are carried out inside run"
        self._jobs.create_task(job, name=f"runner-{name}")

    async def _build(self, height: int, round_: int) -> None:
        built = await self._executor.build(height)
        if built is not None:
            self._bodies.keep(built.block_id, built.body, built.block)
            self._inbox.put(BlockBuilt(height, round_, built.block_id, built.body))

    async def _validate(self, height: int, block_id: bytes, body: bytes) -> None:
        block = await self._bodies.checked(body, block_id, height)
        valid = await self._executor.is_valid(block)
        self._inbox.put(BlockValidated(height, block_id, valid))

    # --- commits ---------------------------------------------------------------------------------

    async def _decide(self, driver: HeightDriver, decision: Decide) -> None:
        block = await self._bodies.checked(decision.body, decision.block_id, decision.height)
        finalized = await self._executor.commit(block, decision.commit, _truncation(driver))
        await self._advance(finalized, fetched=False)

    async def _apply_fetched(self, fetched: BlocksFetched) -> None:
        """Apply blocks that others decided; the first bad one ends it and names the peer a liar."""
        applied = 0
        try:
            for block, commit in fetched.blocks:
                if block.header.height != self._application.tip.height + 1:
                    continue
                extra = _truncation(self._driver)
                finalized = await self._executor.apply_fetched(block, commit, extra)
                await self._advance(finalized, fetched=True)
                applied += 1
        except (InvalidBlock, InvalidSignature) as error:
            if not fetched.done.done():
                fetched.done.set_exception(error)
        if not fetched.done.done():
            fetched.done.set_result(applied)

    async def _advance(self, finalized: FinalizedBlock, *, fetched: bool) -> None:
        """Go on to the next height after a commit."""
        tip = finalized.tip
        if self._guard is not None:
            self._guard.note_decided(tip.height, tip.time_ms)
        self._driver = self._next
        self._next = self._make_driver(tip.height + 2, tip.next_validators)
        self._bodies.forget_up_to(tip.height)
        self._asked.clear()
        self._pace.next_height(None if self._driver is None else tip.height + 1)
        await self._committed(finalized, fetched)
        self._pace.consider()

    # --- sending ---------------------------------------------------------------------------------

    def _broadcast(self, message: Message) -> None:
        frame = ConsensusPayload(encode_message(message)).encode()
        names = [validator.name for validator in self._application.tip.validators]
        self._network.broadcast(frame, Priority.CONSENSUS, names)

    def _send(self, peer: str, message: Message) -> None:
        frame = ConsensusPayload(encode_message(message)).encode()
        self._network.send(peer, frame, Priority.CONSENSUS)

    def _ask_for_body(self, height: int, block_id: bytes) -> None:
        """Ask one validator for a body, another one each time."""
        names = [v.name for v in self._application.tip.validators if v.name in self._network.links]
        if names:
            self._asked[block_id] += 1
            self._send(names[self._asked[block_id] % len(names)], BodyRequest(height, block_id))


def _truncation(driver: HeightDriver | None) -> Batch:
    """Return the deletion of a height's write-ahead log, for the batch that commits the height."""
    batch = Batch()
    for number in range(0 if driver is None else driver.wal_length):
        batch.delete(keyspace.wal(number))
    return batch
