"""The runner: one queue of events in, the height driver's effects out, in order, durable before sent.

Everything that bears on consensus passes through one queue with one consumer: messages of peers, answers of the
application, timeouts, blocks fetched by synchronisation. The driver of the current height says what is to be done;
each effect is carried out before the next. Long work (building, validating) runs on the application's worker and
answers through the queue; writes run on the storage worker and are waited for.

An idle chain makes no blocks: a height starts when a transaction waits, a peer has started it, the validator set is
changing, evidence waits, or the heartbeat is due.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

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
from ledger.errors import DecodeError, InvalidBlock, InvalidSignature, InvalidTransaction
from ledger.evidence import DuplicateVoteEvidence
from ledger.finalization import FinalizedBlock
from ledger.suite import PublicKey
from ledger.validators import ValidatorSet
from node.config import ConsensusConfig
from node.mempool import Mempool
from node.messages import ConsensusPayload, Priority
from node.peers import PeerNetwork
from node.workers import Gate, Worker

MAX_QUEUED_MESSAGES: Final = 16
"""Messages of one peer that may wait for the runner; when they do, its link is read no further. Bodies have up to
4 MiB each."""

KEPT_BLOCKS: Final = 8
"""Decoded blocks kept between receipt, validation and decision."""

TICK_S: Final = 1.0
"""How often a height that is not decided is told to peers, and bodies are asked for again."""

INLINE_BODY_BYTES: Final = 256 * 1024
"""Larger bodies are decoded on a thread, so that the loop stays free."""

LONG_TRANSACTIONS: Final = 1_000
"""Blocks of more transactions are built, judged and executed on a thread: some 0.1 s and more."""

PROPOSED_TRANSACTIONS: Final = 4_000
"""Transactions in a block of ours: larger blocks gain nothing, and everybody waits for them longer."""

_log = structlog.get_logger(__name__)


def clock_ms() -> int:
    """Return this node's clock in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class PeerSaid:
    """A consensus message of a peer."""

    peer: str
    message: Message
    slots: asyncio.Semaphore


@dataclass(frozen=True, slots=True)
class BlocksFetched:
    """Consecutive blocks with their commits from a peer. `done` gets the number that were applied."""

    peer: str
    blocks: tuple[tuple[Block, Commit], ...]
    done: asyncio.Future[int]


Queued: TypeAlias = Event | PeerSaid | BlocksFetched
CommittedHook = Callable[[FinalizedBlock, bool], Awaitable[None]]
"""Called after each commit with the outcome, and whether it was fetched rather than decided here."""


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """What health checks and metrics tell about consensus."""

    height: int
    round: int
    step: str
    voting: bool
    diverged: bool
    queued: int


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
        network: PeerNetwork,
        mempool: Mempool,
        gate: Gate,
        storage_worker: Worker,
        committed: CommittedHook,
    ) -> None:
        self._name = name
        self._key = consensus_key
        self._application = application
        self._database = database
        self._guard = guard
        self._config = config
        self._network = network
        self._mempool = mempool
        self._gate = gate
        self._storage = storage_worker
        self._committed = committed
        self._timeouts = Timeouts(
            propose_ms=config.propose_timeout_ms,
            prevote_ms=config.prevote_timeout_ms,
            precommit_ms=config.precommit_timeout_ms,
        )
        self._queue: asyncio.Queue[Queued] = asyncio.Queue()
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._driver: HeightDriver | None = None
        self._next: HeightDriver | None = None
        self._blocks: OrderedDict[bytes, tuple[bytes, Block]] = OrderedDict()  # id: body, block
        self._evidence: dict[str, DuplicateVoteEvidence] = {}
        self._heard_height = 0
        self._start_queued = 0
        self._earliest_start = 0.0
        self._heartbeat_due = False
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._committing = False
        self._asked = 0
        self._diverged = False
        self._jobs: asyncio.TaskGroup | None = None

    # --- what others use -------------------------------------------------------------------------

    @property
    def status(self) -> RunnerStatus:
        driver = self._driver
        return RunnerStatus(
            self._application.tip.height + 1,
            0 if driver is None else driver.round,
            "following" if driver is None else driver.step.name.lower(),
            driver is not None and self._guard is not None and self._guard.may_sign,
            self._diverged,
            self._queue.qsize(),
        )

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
        slots = self._slots.get(peer)
        if slots is None:
            slots = self._slots[peer] = asyncio.Semaphore(MAX_QUEUED_MESSAGES)
        await slots.acquire()
        self._queue.put_nowait(PeerSaid(peer, message, slots))

    async def apply_blocks(self, peer: str, blocks: tuple[tuple[Block, Commit], ...]) -> int:
        """Apply fetched blocks in order; return how many were new.

        Raises:
            InvalidBlock: one is not the network's.
        """
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(BlocksFetched(peer, blocks, done))
        return await done

    def has_queued(self) -> bool:
        """Tell whether events wait for the runner."""
        return not self._queue.empty()

    def work_available(self) -> None:
        """Start the height if there is now a reason to."""
        self._consider_start()

    def link_up(self, peer: str) -> None:
        """Tell a new link what we have of the current height."""
        self._slots.pop(peer, None)
        if self._driver is not None:
            self._send(peer, self._driver.status())

    # --- the loop --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Drive heights until cancelled.

        Raises:
            StorageError: the process must stop.
            InvalidWal: the write-ahead log is damaged: this node must not vote.
        """
        async with asyncio.TaskGroup() as jobs:
            self._jobs = jobs
            jobs.create_task(self._tick(), name="runner-tick")
            await self._begin()
            while True:
                await self._take(await self._queue.get())

    async def _begin(self) -> None:
        tip = self._application.tip
        self._driver = self._make_driver(tip.height + 1, tip.validators)
        self._next = self._make_driver(tip.height + 2, tip.next_validators)
        self._schedule_heartbeat()
        if self._driver is None or self._guard is None:
            return
        if not self._guard.may_sign:
            _log.warning("not voting until a height that began after this start is decided")
        records = tuple(record for _, record in self._database.iterate(keyspace.WAL))
        effects = self._driver.replay(records, self._guard.lock_for(tip.height + 1))
        if records:
            _log.info("write-ahead log replayed", height=tip.height + 1, records=len(records))
        await self._carry_out(self._driver, effects)
        self._consider_start()

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
            case PeerSaid(peer, message, slots):
                slots.release()
                try:
                    await self._peer_said(peer, message)
                except InvalidMessage as error:
                    self._network.cut_off(peer, str(error))
            case BlocksFetched():
                await self._apply_fetched(item)
            case _:
                if isinstance(item, StartHeight):
                    self._start_queued = 0
                driver = self._driver_of(item.height)
                if driver is not None:
                    await self._carry_out(driver, driver.handle(item))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            driver = self._driver
            if driver is not None and not driver.decided and (driver.started or self._heard()):
                self._broadcast(driver.status())
                for block_id in driver.wanted_bodies:
                    self._ask_for_body(driver.height, block_id)
            self._consider_start()

    # --- starting a height -----------------------------------------------------------------------

    def _heard(self) -> bool:
        return self._driver is not None and self._heard_height >= self._driver.height

    def _consider_start(self) -> None:
        """Queue the start of the height if there is a reason, after the pause between blocks."""
        driver = self._driver
        if driver is None or driver.started or self._start_queued == driver.height:
            return
        if not self._heard():
            if not self._has_reason():
                return
            delay_s = self._earliest_start - time.monotonic()
            if delay_s > 0:
                self._set_timer("start", delay_s, self._consider_start)
                return
        self._start_queued = driver.height
        self._queue.put_nowait(StartHeight(driver.height))

    def _has_reason(self) -> bool:
        return (
            len(self._mempool) > 0
            or self._heartbeat_due
            or bool(self._evidence)
            or self._application.wants_block()
        )

    def _schedule_heartbeat(self) -> None:
        self._heartbeat_due = False
        age_ms = clock_ms() - self._application.tip.time_ms
        delay_ms = max(0, self._config.heartbeat_interval_ms - age_ms)
        self._set_timer("heartbeat", delay_ms / 1000, self._heartbeat)

    def _heartbeat(self) -> None:
        self._heartbeat_due = True
        self._consider_start()

    def _set_timer(self, name: str, delay_s: float, callback: Callable[[], None]) -> None:
        known = self._timers.get(name)
        if known is not None:
            known.cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(delay_s, callback)

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
                if driver is not None:
                    await self._proposal_received(driver, message)
            case BodyMessage(height, block_id, body):
                driver = self._driver_of(height)
                if driver is not None and block_id in driver.wanted_bodies:
                    block = await self._checked_block(body, block_id, height)
                    timely = self._is_timely(block, driver.round)
                    await self._handle_from_peer(BodyReceived(height, block_id, body, timely))
            case StatusMessage(height):
                driver = self._driver
                if driver is not None and driver.height == height:
                    for missing in driver.missing(message):
                        self._send(peer, missing)
                    if message.step is not Step.UNSTARTED:
                        self._heard_of(height)
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
        self._heard_of(event.height)
        await self._carry_out(driver, effects)

    def _heard_of(self, height: int) -> None:
        """Note that a peer has started this height, which is a reason to start it here."""
        if height > self._heard_height:
            self._heard_height = height
            self._consider_start()

    async def _proposal_received(self, driver: HeightDriver, message: ProposalMessage) -> None:
        proposal, body = message.proposal.proposal, message.body
        timely: bool | None = None
        known = body if body is not None else driver.body(proposal.block_id)
        if known is not None:
            block = await self._checked_block(known, proposal.block_id, proposal.height)
            timely = self._is_timely(block, proposal.round)
        await self._handle_from_peer(ProposalReceived(message.proposal, body, timely))

    def _is_timely(self, block: Block, round: int) -> bool:
        return is_timely(block.header.time_ms, clock_ms(), round, self._timeouts)

    async def _checked_block(self, body: bytes, block_id: bytes, height: int) -> Block:
        """Decode a body and check that it is the block of that id.

        Raises:
            InvalidMessage: it is not.
        """
        known = self._blocks.get(block_id)
        if known is not None and known[0] == body:  # the id alone proves nothing of these bytes
            return known[1]
        if len(body) > INLINE_BODY_BYTES:
            block = await asyncio.to_thread(self._decode_block, body, block_id, height)
        else:
            block = self._decode_block(body, block_id, height)
        self._blocks[block_id] = (body, block)
        while len(self._blocks) > KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        return block

    def _decode_block(self, body: bytes, block_id: bytes, height: int) -> Block:
        suite = self._application.genesis.suite
        try:
            block = Block.decode(body)
            if block.header.height != height or block.id(suite) != block_id:
                raise DecodeError("the body is another block's")
            block.check_body(suite)
        except DecodeError as error:
            raise InvalidMessage(f"body of a proposal: {error}") from None
        return block

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
                asyncio.get_running_loop().call_later(
                    duration_ms / 1000, self._queue.put_nowait, TimeoutElapsed(height, round_, step)
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
                await self._report_evidence(evidence)
            case ReportDivergence(height, round_, block_id):
                self._diverged = True
                _log.critical(
                    "a quorum decided a block that this node calls invalid: it stops voting",
                    height=height,
                    round=round_,
                    block=block_id.hex(),
                )
        return None

    async def _sign(self, effect: SignVote | SignProposal) -> Event | None:
        assert self._guard is not None, "a driver without guard never signs"
        if self._diverged:
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

    def _start_job(self, job: Awaitable[None], name: str) -> None:
        assert self._jobs is not None, "effects are carried out inside run"
        self._jobs.create_task(_as_coroutine(job), name=f"runner-{name}")

    async def _build(self, height: int, round_: int) -> None:
        """Build our proposal once the clock has passed the last block's time."""
        tip = self._application.tip
        await asyncio.sleep(max(0, tip.time_ms + 1 - clock_ms()) / 1000)
        if self._committing or self._application.tip is not tip or tip.height + 1 != height:
            return  # another has decided this height meanwhile
        parameters = self._application.genesis.parameters
        candidates = self._mempool.candidates(parameters.max_block_bytes, PROPOSED_TRANSACTIONS)
        evidence = tuple(self._evidence.values())
        async with self._gate.lock:
            if self._committing or self._application.tip is not tip:
                return
            block_id, block, body, bad = self._build_block(height, candidates, evidence)
        self._mempool.remove(bad)
        self._blocks[block_id] = (body, block)
        self._queue.put_nowait(BlockBuilt(height, round_, block_id, body))

    def _build_block(
        self, height: int, candidates: list[bytes], evidence: tuple[DuplicateVoteEvidence, ...]
    ) -> tuple[bytes, Block, bytes, list[bytes]]:
        application = self._application
        now_ms = max(clock_ms(), application.tip.time_ms + 1)
        last_commit = application.history.commit(height - 1)
        block = application.prepare_proposal(
            height, now_ms, candidates, evidence, last_commit, self._name
        )
        body = block.encode()
        bad: list[bytes] = []
        if len(block.transactions) < len(candidates):
            chosen = set(block.transactions)
            bad = list(self._no_longer_good([c for c in candidates if c not in chosen], now_ms))
        return block.id(application.genesis.suite), block, body, bad

    def _no_longer_good(self, raws: list[bytes], now_ms: int) -> Iterator[bytes]:
        """Yield the ids of pending transactions that no block will take any more."""
        for raw in raws:
            try:
                self._application.check_transaction(raw, now_ms)
            except InvalidTransaction:
                transaction_id = self._mempool.known(raw)
                if transaction_id is not None:
                    yield transaction_id

    async def _validate(self, height: int, block_id: bytes, body: bytes) -> None:
        block = await self._checked_block(body, block_id, height)
        valid = await self._gate.run(self._is_valid, block, long=_is_long(block))
        self._queue.put_nowait(BlockValidated(height, block_id, valid))

    def _is_valid(self, block: Block) -> bool:
        try:
            self._application.process_proposal(block)
        except InvalidBlock as error:
            _log.warning("invalid block", height=block.header.height, reason=str(error))
            return False
        return True

    async def _report_evidence(self, evidence: DuplicateVoteEvidence) -> None:
        try:
            await self._gate.run(self._application.check_evidence, evidence)
        except InvalidBlock:
            return
        self._evidence[evidence.validator] = evidence  # one a validator is all that a block takes
        _log.warning("double voting found", validator=evidence.validator, height=evidence.height)

    # --- commits ---------------------------------------------------------------------------------

    async def _decide(self, driver: HeightDriver, decision: Decide) -> None:
        block = await self._checked_block(decision.body, decision.block_id, decision.height)
        self._committing = True
        finalized = await self._gate.run(
            self._application.finalize_block, block, long=_is_long(block)
        )
        extra = _truncation(driver)
        await self._storage.run(self._application.commit, finalized, decision.commit, extra)
        self._committing = False
        await self._advance(finalized, fetched=False)

    async def _apply_fetched(self, fetched: BlocksFetched) -> None:
        """Apply blocks that others decided; the first bad one ends it and names the peer a liar."""
        applied = 0
        try:
            for block, commit in fetched.blocks:
                if block.header.height != self._application.tip.height + 1:
                    continue
                self._committing = True
                async with self._gate.lock:
                    finalized = await self._storage.run(
                        self._application.apply_synced, block, commit, _truncation(self._driver)
                    )
                self._committing = False
                await self._advance(finalized, fetched=True)
                applied += 1
        except (InvalidBlock, InvalidSignature) as error:
            self._committing = False
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
        self._earliest_start = time.monotonic() + self._config.block_pause_ms / 1000
        self._mempool.remove([prepared.id for prepared in finalized.transactions])
        for one in finalized.block.evidence:
            self._evidence.pop(one.validator, None)
        self._blocks = OrderedDict(
            item for item in self._blocks.items() if item[1][1].header.height > tip.height
        )
        self._schedule_heartbeat()
        await self._committed(finalized, fetched)
        self._consider_start()

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
            self._asked += 1
            self._send(names[self._asked % len(names)], BodyRequest(height, block_id))


def _truncation(driver: HeightDriver | None) -> Batch:
    """Return the deletion of a height's write-ahead log, for the batch that commits the height."""
    batch = Batch()
    for number in range(0 if driver is None else driver.wal_length):
        batch.delete(keyspace.wal(number))
    return batch


def _is_long(block: Block) -> bool:
    return len(block.transactions) > LONG_TRANSACTIONS


async def _as_coroutine(job: Awaitable[None]) -> None:
    await job
