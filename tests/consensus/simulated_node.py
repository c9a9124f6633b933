"""A node of a simulated network: the driver, the log and the guard are real, the disk and the application are not.

It does what the runner of a real node has to do, with its writes numbered, so that a crash can come between any two
of them. The equivocator is the faulty one: it signs whatever it likes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

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
from consensus.tendermint.last_sign import LastSign, LastSignGuard
from consensus.tendermint.messages import (
    BodyMessage,
    BodyRequest,
    Message,
    Proposal,
    ProposalMessage,
    SignedProposal,
    StatusMessage,
    VotesMessage,
    decode_message,
    encode_message,
)
from consensus.tendermint.rounds import RoundValue
from consensus.tendermint.timeouts import Timeouts, is_timely
from ledger.codec import decode, encode
from ledger.commits import Commit, verify_commit
from ledger.evidence import DuplicateVoteEvidence
from ledger.keys import SoftwareSigner
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.votes import Vote, sign_vote

if TYPE_CHECKING:
    from tests.consensus.simulation import Simulation

CHAIN_ID = "simulation-0123456789abcdef"
START_MS = 1_700_000_000_000
GOSSIP_MS = 1_000
COMMIT_MS = 5


def signer_of(name: str, purpose: str = "consensus") -> SoftwareSigner:
    """Return a key that depends on name and purpose only."""
    return SoftwareSigner.from_secret(
        "ed25519", hashlib.sha256(f"{name} {purpose}".encode()).digest()
    )


def make_body(height: int, time_ms: int, maker: str, number: int, *, valid: bool = True) -> bytes:
    """Return a block of the simulated application."""
    return encode((height, time_ms, maker, number, valid))


def block_id_of(body: bytes) -> bytes:
    """Return the id of a simulated block: here the hash of the body, so a foreign body never fits."""
    return hashlib.sha256(body).digest()


@dataclass
class Disk:
    """What outlives a crash."""

    wal: dict[int, bytes] = field(default_factory=dict)
    guard: bytes = field(default_factory=lambda: LastSign(CHAIN_ID).encode())
    blocks: list[tuple[bytes, bytes, Commit]] = field(default_factory=list)  # id, body, commit

    @property
    def height(self) -> int:
        return len(self.blocks)

    def last_time_ms(self) -> int:
        return time_of(self.blocks[-1][1]) if self.blocks else START_MS


def time_of(body: bytes) -> int:
    """Return the time in a simulated block."""
    value = decode(body)
    assert isinstance(value, tuple) and isinstance(value[1], int)
    return value[1]


def is_valid(body: bytes, height: int, last_time_ms: int) -> bool:
    """Say what the simulated application says of a block."""
    value = decode(body)
    assert isinstance(value, tuple)
    return value[0] == height and value[4] is True and time_of(body) > last_time_ms


class Crash(Exception):
    """The node stops here."""


class Node:
    """A correct node: the runner's part, with its write points numbered."""

    def __init__(self, simulation: Simulation, address: str, disk: Disk) -> None:
        self.simulation = simulation
        self.address = address
        self.name = address.rstrip("'")  # a twin has the address of its key's owner, primed
        self.disk = disk
        self.up = False
        self.life = 0  # events of an earlier life are void
        self.evidence: set[DuplicateVoteEvidence] = set()
        self.refused: list[str] = []
        self.skew_ms = 0

    # ---- life

    def start(self) -> None:
        self.up = True
        self.life += 1
        last = LastSign.decode(self.disk.guard)
        self.guard = LastSignGuard(
            signer_of(self.name), CHAIN_ID, last, self._save_guard, self.now_ms
        )
        self.driver = self.new_driver(self.disk.height + 1)
        self.next_driver = self.new_driver(self.disk.height + 2)
        records = [self.disk.wal[i] for i in sorted(self.disk.wal)]
        lock = self.guard.lock_for(self.driver.height)
        self.guarded(lambda: self._run(self.driver.replay(records, lock)))
        self.guarded(lambda: self.handle(StartHeight(self.driver.height)))
        self.later(0, self.gossip)

    def stop(self) -> None:
        self.up = False

    def new_driver(self, height: int) -> HeightDriver:
        return HeightDriver(
            SUITE, CHAIN_ID, height, self.simulation.validators, self.name, Timeouts()
        )

    @property
    def now_ms(self) -> int:
        return self.simulation.now_ms + self.skew_ms

    def later(self, delay_ms: int, action: Callable[[], None]) -> None:
        life = self.life

        def run() -> None:
            if self.up and self.life == life:
                self.guarded(action)

        self.simulation.at(delay_ms, run)

    def guarded(self, action: Callable[[], None]) -> None:
        try:
            if self.up:
                action()
        except Crash:
            self.simulation.crashed(self)

    def write_point(self) -> None:
        """Crash here, perhaps."""
        if self.simulation.random.random() < self.simulation.faults.crash:
            raise Crash

    # ---- events and effects

    def handle(self, event: Event) -> None:
        if event.height == self.driver.height:
            self._run(self.driver.handle(event))
        elif event.height == self.next_driver.height:
            self._run(self.next_driver.handle(event))

    def _run(self, effects: list[Effect]) -> None:
        """Carry out the effects of one event, then give the guard's answers back."""
        answers: list[Event] = []
        for effect in effects:
            self.write_point()
            answers += self.carry_out(effect)
        self.write_point()
        for answer in answers:
            self.handle(answer)

    def carry_out(self, effect: Effect) -> list[Event]:
        match effect:
            case SignVote(vote, lock):
                return self._answer_of_guard(lambda: self._sign_vote(vote, lock))
            case SignProposal(proposal, lock):
                return self._answer_of_guard(lambda: self._sign_proposal(proposal, lock))
            case SaveWal(first, records):
                assert first == len(self.disk.wal)
                self.disk.wal.update(enumerate(records, first))
            case Broadcast(message):
                self.broadcast(message)
            case ScheduleTimeout(height, round, step, duration_ms):
                self.later(duration_ms, lambda: self.handle(TimeoutElapsed(height, round, step)))
            case BuildBlock(height, round):
                time_ms = max(self.now_ms, self.disk.last_time_ms() + 1)
                wait_ms = time_ms - self.now_ms + 2
                self.later(wait_ms, lambda: self.build(height, round, time_ms))
            case ValidateBlock(height, block_id, body):
                self.later(1, lambda: self.validate(height, block_id, body))
            case FetchBody():
                self.later(1, self.fetch_bodies)
            case Decide(_, _, block_id, body, commit):
                self.later(COMMIT_MS, lambda: self.commit(block_id, body, commit))
            case ReportEvidence(evidence):
                self.evidence.add(evidence)
            case ReportDivergence():
                assert self.simulation.is_faulty(self.name), f"{self.name}: {effect}"
        return []

    def _answer_of_guard(self, sign: Callable[[], Event]) -> list[Event]:
        try:
            return [sign()]
        except SigningRefused as error:
            self.refused.append(str(error))
            return []

    def _sign_vote(self, vote: Vote, lock: RoundValue | None) -> Event:
        signed = self.guard.sign_vote(vote, lock)
        step = 1 + vote.type
        self.simulation.note_signature(self.name, vote.height, vote.round, step, signed)
        return VoteReceived(signed)

    def _sign_proposal(self, proposal: Proposal, lock: RoundValue | None) -> Event:
        signed = self.guard.sign_proposal(proposal, lock)
        self.simulation.note_signature(self.name, proposal.height, proposal.round, 1, signed)
        return ProposalReceived(signed, None, True)

    def _save_guard(self, data: bytes) -> None:
        self.write_point()
        self.disk.guard = data
        self.write_point()

    # ---- the application

    def build(self, height: int, round: int, time_ms: int) -> None:
        body = make_body(height, time_ms, self.name, next(self.simulation.numbers))
        self.handle(BlockBuilt(height, round, block_id_of(body), body))

    def validate(self, height: int, block_id: bytes, body: bytes) -> None:
        valid = is_valid(body, height, self.disk.last_time_ms())
        self.handle(BlockValidated(height, block_id, valid))

    def commit(self, block_id: bytes, body: bytes, commit: Commit) -> None:
        """Write a block and truncate the log, as one batch; go on to the next height."""
        if commit.height != self.disk.height + 1:
            return
        self.write_point()
        self.disk.blocks.append((block_id, body, commit))
        self.disk.wal.clear()
        self.simulation.note_commit(self, commit, block_id, body)
        self.write_point()
        self.guard.note_decided(commit.height, time_of(body))
        self.driver = self.next_driver
        self.next_driver = self.new_driver(self.driver.height + 1)
        self.handle(StartHeight(self.driver.height))

    # ---- messages

    def gossip(self) -> None:
        self.broadcast(self.driver.status())
        self.fetch_bodies()
        self.later(GOSSIP_MS, self.gossip)

    def fetch_bodies(self) -> None:
        for block_id in self.driver.wanted_bodies:
            others = [address for address in self.simulation.nodes if address != self.address]
            peer = self.simulation.random.choice(others)
            self.send(peer, BodyRequest(self.driver.height, block_id))

    def broadcast(self, message: Message) -> None:
        for address in self.simulation.nodes:
            if address != self.address:
                self.send(address, message)

    def send(self, to: str, message: Message) -> None:
        if isinstance(message, VotesMessage):
            hides = self.simulation.hides
            message = VotesMessage(
                tuple(vote for vote in message.votes if not hides(to, vote.vote))
            )
        self.simulation.send(self.address, to, encode_message(message))

    def receive(self, sender: str, data: bytes) -> None:
        message = decode_message(data)
        try:
            self._take(sender, message)
        except InvalidMessage as error:
            assert self.simulation.is_faulty(sender), f"correct {sender} sent: {error}"

    def _take(self, sender: str, message: Message) -> None:
        match message:
            case ProposalMessage(signed, body):
                if body is not None and block_id_of(body) != signed.proposal.block_id:
                    raise InvalidMessage("a body of another block")
                known = body or self.driver.body(signed.proposal.block_id)
                timely = None if known is None else self._is_timely(known, signed.proposal.round)
                self.handle(ProposalReceived(signed, body, timely))
            case VotesMessage(votes):
                for vote in votes:
                    self.handle(VoteReceived(vote))
            case BodyMessage(height, block_id, body):
                if block_id_of(body) != block_id:
                    raise InvalidMessage("a body of another block")
                timely = self._is_timely(body, self.driver.round)
                self.handle(BodyReceived(height, block_id, body, timely))
            case BodyRequest(height, block_id):
                held = self.driver.body(block_id)
                if height == self.driver.height and held is not None:
                    self.send(sender, BodyMessage(height, block_id, held))
            case StatusMessage():
                self._answer(sender, message)

    def _answer(self, sender: str, status: StatusMessage) -> None:
        for message in self.driver.missing(status):
            self.send(sender, message)
        if status.height <= self.disk.height:  # block sync, in its simplest form
            block = self.disk.blocks[status.height - 1]
            self.simulation.send_block(self.address, sender, block)

    def receive_block(self, sender: str, block_id: bytes, body: bytes, commit: Commit) -> None:
        verify_commit(SUITE, CHAIN_ID, self.simulation.validators, commit)
        assert block_id == commit.block_id == block_id_of(body)
        if commit.height == self.disk.height + 1:
            self.commit(block_id, body, commit)
            self.send(sender, self.driver.status())  # and the next one, please

    def _is_timely(self, body: bytes, round: int) -> bool:
        return is_timely(time_of(body), self.now_ms, round, Timeouts())


class Equivocator(Node):
    """A faulty node: signs whatever it likes, tells different peers different things, keeps bodies back."""

    def carry_out(self, effect: Effect) -> list[Event]:
        match effect:
            case SignVote(vote):
                return self._vote_for_everything(vote)
            case SignProposal(proposal):
                self._propose_two(proposal)
                return []
            case ReportDivergence():
                return []
            case _:
                return super().carry_out(effect)

    def _vote_for_everything(self, vote: Vote) -> list[Event]:
        known = self.simulation.known_ids(vote.height)
        votes: list[Event] = []
        for block_id in dict.fromkeys((vote.block_id, None, *known)):
            signed = sign_vote(signer_of(self.name), replace(vote, block_id=block_id))
            self._tell_some(VotesMessage((signed,)))
            votes.append(VoteReceived(signed))
        return votes

    def _propose_two(self, proposal: Proposal) -> None:
        random = self.simulation.random
        number = next(self.simulation.numbers)
        valid = random.random() < 0.5
        other = make_body(proposal.height, self.now_ms, self.name, number, valid=valid)
        for body in (self.driver.body(proposal.block_id), other):
            if body is not None:
                pol_round = proposal.pol_round if body is not other else None
                changed = replace(proposal, block_id=block_id_of(body), pol_round=pol_round)
                signature = signer_of(self.name).sign(changed.signed_bytes())
                sent_body = body if random.random() < 0.7 else None
                self._tell_some(ProposalMessage(SignedProposal(changed, signature), sent_body))

    def _tell_some(self, message: Message) -> None:
        for address in self.simulation.nodes:
            if address != self.address and self.simulation.random.random() < 0.6:
                self.send(address, message)
