"""What a transcript can speak to: one driver, or one vote keeper. `transcript_files` reads the files.

Validators are a, b, c, d, …; blocks are capital letters. At height 1 of four validators the proposers of rounds 0, 1,
2, 3 are b, c, d, a. The node itself signs at once, through a real guard. `crash=sign` after any command stops the node
before the first effect whose name begins so, `crash=3` before the third effect of the command.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

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
)
from consensus.tendermint.rounds import RoundValue, Step
from consensus.tendermint.vote_keeper import VoteKeeper
from ledger.keys import SoftwareSigner
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.validators import Validator, ValidatorSet
from ledger.votes import SignedVote, Vote, VoteType, sign_vote

CHAIN_ID = "transcript-0123456789abcdef"
LETTERS = "abcdefghijklmnopqrstuv"
VALUES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BLOCK_IDS = {value: hashlib.sha256(value.encode()).digest() for value in VALUES}
VALUE_OF = {block_id: value for value, block_id in BLOCK_IDS.items()}


def signer_of(name: str, purpose: str = "consensus") -> SoftwareSigner:
    """Return a key that depends on name and purpose only."""
    seed = hashlib.sha256(f"transcript {name} {purpose}".encode()).digest()
    return SoftwareSigner.from_secret("ed25519", seed)


def validator_set(n: int) -> ValidatorSet:
    """Return validators a, b, c, …"""
    return ValidatorSet.of(
        Validator(
            name,
            "-",
            signer_of(name).public_key,
            signer_of(name, "log").public_key,
            signer_of(name, "witness").public_key,
        )
        for name in LETTERS[:n]
    )


def signed_vote(
    name: str, type: VoteType, round: int, value: str | None, height: int = 1
) -> SignedVote:
    """Return a vote for a value (a capital letter), or for nil (None)."""
    block_id = None if value is None else BLOCK_IDS[value]
    return sign_vote(signer_of(name), Vote(CHAIN_ID, height, round, type, block_id, name))


def signed_proposal(
    name: str, round: int, value: str, pol_round: int | None = None, height: int = 1
) -> SignedProposal:
    """Return a proposal of a value."""
    proposal = Proposal(CHAIN_ID, height, round, pol_round, BLOCK_IDS[value], name)
    return SignedProposal(proposal, signer_of(name).sign(proposal.signed_bytes()))


def shown(block_id: bytes | None) -> str:
    """Return a value's letter, or nil."""
    return "nil" if block_id is None else VALUE_OF[block_id]


@dataclass(frozen=True)
class Arguments:
    """The words of a command: plain ones in order, `name=value` ones by name."""

    words: tuple[str, ...]
    named: dict[str, str]

    @staticmethod
    def of(text: str) -> Arguments:
        parts = text.split()
        named = dict(part.split("=", 1) for part in parts if "=" in part)
        return Arguments(tuple(part for part in parts if "=" not in part), named)

    def number(self, name: str, default: int) -> int:
        return int(self.named.get(name, default))

    def flag(self, name: str, default: bool = True) -> bool:
        return {"yes": True, "no": False}[self.named.get(name, "yes" if default else "no")]


class Crash(Exception):
    """The node stops before the effect at hand."""


class DriverTranscript:
    """Commands to one driver."""

    def __init__(self, own_name: str, n: int, height: int) -> None:
        self.own_name, self.n, self.height = own_name, n, height
        self.validators = validator_set(n)
        self.wal: dict[int, bytes] = {}
        self.guard_record = LastSign(CHAIN_ID).encode()
        self.lines: list[str] = []
        self.crash_at = ""
        self.effects_begun = 0
        self._boot()

    def _boot(self, *, silent: bool = False) -> None:
        def save(data: bytes) -> None:
            self.guard_record = data

        last = None if silent else LastSign.decode(self.guard_record)
        self.guard = LastSignGuard(signer_of(self.own_name), CHAIN_ID, last, save, 0)
        self.driver = self._new_driver()

    def _new_driver(self) -> HeightDriver:
        return HeightDriver(SUITE, CHAIN_ID, self.height, self.validators, self.own_name)

    # ---- commands

    def command(self, name: str, arguments: Arguments) -> list[str]:
        self.lines = []
        self.crash_at = arguments.named.get("crash", "")
        self.effects_begun = 0
        before = self.driver.state
        try:
            getattr(self, "do_" + name)(arguments)
        except InvalidMessage as error:
            self.lines.append(f"refused: {error}")
        except Crash:
            self.lines.append("crash")
        if self.driver.state != before:
            self.lines.append("= " + self._state())
        return self.lines or ["(nothing)"]

    def do_start(self, arguments: Arguments) -> None:
        self._handle(StartHeight(self.height))

    def do_next(self, arguments: Arguments) -> None:
        """Go on to the next height, as after a commit: its driver is new, the log is cut."""
        assert self.driver.decided
        self.height += 1
        self.wal.clear()
        self.driver = self._new_driver()

    def do_proposal(self, arguments: Arguments) -> None:
        round = arguments.number("round", self.driver.round)
        pol = arguments.named.get("pol")
        sender = arguments.named.get("by", self.validators.proposer(self.height, round).name)
        value = arguments.words[0]
        signed = signed_proposal(
            sender, round, value, None if pol is None else int(pol), self.height
        )
        body = value.encode() if arguments.flag("body", pol is None) else None
        known = body is not None or self.driver.body(BLOCK_IDS[value]) is not None
        timely = arguments.flag("timely") if known else None
        self._handle(ProposalReceived(signed, body, timely))

    def do_body(self, arguments: Arguments) -> None:
        value = arguments.words[0]
        timely = arguments.flag("timely")
        self._handle(BodyReceived(self.height, BLOCK_IDS[value], value.encode(), timely))

    def do_built(self, arguments: Arguments) -> None:
        value = arguments.words[0]
        round = arguments.number("round", self.driver.round)
        self._handle(BlockBuilt(self.height, round, BLOCK_IDS[value], value.encode()))

    def do_valid(self, arguments: Arguments) -> None:
        self._handle(BlockValidated(self.height, BLOCK_IDS[arguments.words[0]], True))

    def do_invalid(self, arguments: Arguments) -> None:
        self._handle(BlockValidated(self.height, BLOCK_IDS[arguments.words[0]], False))

    def do_prevote(self, arguments: Arguments) -> None:
        self._votes(VoteType.PREVOTE, arguments)

    def do_precommit(self, arguments: Arguments) -> None:
        self._votes(VoteType.PRECOMMIT, arguments)

    def _votes(self, type: VoteType, arguments: Arguments) -> None:
        """Votes of several validators, `prevote b,c A round=1`."""
        names, value = arguments.words
        round = arguments.number("round", self.driver.round)
        height = arguments.number("height", self.height)
        for name in names.split(","):
            vote = signed_vote(name, type, round, None if value == "nil" else value, height)
            self._handle(VoteReceived(vote))

    def do_timeout(self, arguments: Arguments) -> None:
        round = arguments.number("round", self.driver.round)
        height = arguments.number("height", self.height)
        self._handle(TimeoutElapsed(height, round, Step[arguments.words[0].upper()]))

    def do_restart(self, arguments: Arguments) -> None:
        """Start again with what is saved; `log=lost` without the log, `guard=lost` without the guard's file."""
        if arguments.named.get("log") == "lost":
            self.wal.clear()
        self._boot(silent=arguments.named.get("guard") == "lost")
        records = [self.wal[i] for i in sorted(self.wal)]
        self._carry_out(self.driver.replay(records, self.guard.lock_for(self.height)))

    def do_describe(self, arguments: Arguments) -> None:
        driver = self.driver
        text = f"height {driver.height}, {driver.state.describe()}\n{driver._votes.describe()}"
        for line in text.splitlines():
            for block_id, value in VALUE_OF.items():
                line = line.replace(block_id.hex()[:4], value)
            self.lines.append(line)

    def do_wanted(self, arguments: Arguments) -> None:
        self.lines += [shown(block_id) for block_id in self.driver.wanted_bodies]

    def do_serve(self, arguments: Arguments) -> None:
        """Answer a peer that asks for a body."""
        value = arguments.words[0]
        held = self.driver.body(BLOCK_IDS[value]) is not None
        self.lines.append(f"body {value}" if held else f"no body {value}")

    # ---- effects

    def _handle(self, event: Event) -> None:
        self._carry_out(self.driver.handle(event))

    def _carry_out(self, effects: list[Effect]) -> None:
        """Carry out the effects of one event, then give the guard's answers back."""
        answers: list[Event] = []
        for effect in effects:
            self.effects_begun += 1
            name = type(effect).__name__.lower()
            if self.crash_at and self.crash_at in (
                str(self.effects_begun),
                name[: len(self.crash_at)],
            ):
                raise Crash
            self._show(effect)
            answers += self._perform(effect)
        for answer in answers:
            self._handle(answer)

    def _perform(self, effect: Effect) -> list[Event]:
        """Do what an effect asks for; return the guard's answer, if it gives one."""
        match effect:
            case SaveWal(first, records):
                assert first == len(self.wal)
                self.wal.update(enumerate(records, first))
            case SignVote(vote, lock):
                return self._sign(lambda: VoteReceived(self.guard.sign_vote(vote, lock)))
            case SignProposal(proposal, lock):
                return self._sign(
                    lambda: ProposalReceived(self.guard.sign_proposal(proposal, lock), None, True)
                )
            case _:
                pass
        return []

    def _sign(self, sign: Callable[[], Event]) -> list[Event]:
        try:
            return [sign()]
        except SigningRefused:
            self._print("the guard refuses")
            return []

    def _show(self, effect: Effect) -> None:
        self._print(self._line(effect))

    def _print(self, line: str) -> None:
        self.lines.append(line)

    def _line(self, effect: Effect) -> str:
        match effect:
            case SaveWal(first, records):
                return f"save {first}..{first + len(records) - 1}"
            case SignProposal(proposal):
                pol = "" if proposal.pol_round is None else f" pol {proposal.pol_round}"
                return f"sign proposal {shown(proposal.block_id)} round {proposal.round}{pol}"
            case SignVote(vote, lock):
                return f"sign {self._vote(vote)}{self._lock(lock)}"
            case Broadcast(message):
                return f"send {self._message(message)}"
            case ScheduleTimeout(_, round, step, duration_ms):
                return f"schedule {step.name.lower()} round {round} in {duration_ms} ms"
            case BuildBlock(_, round):
                return f"build round {round}"
            case ValidateBlock(_, block_id, body):
                assert BLOCK_IDS[body.decode()[0]] == block_id
                return f"validate {shown(block_id)}"
            case FetchBody(_, block_id):
                return f"fetch {shown(block_id)}"
            case Decide(_, round, block_id, _, commit):
                names = " ".join(name for name, _ in commit.signatures)
                return f"decide {shown(block_id)} round {round} by {names}"
            case ReportEvidence(evidence):
                return f"evidence against {evidence.validator}"
            case ReportDivergence(_, round, block_id):
                return f"divergence {shown(block_id)} round {round}"

    def _vote(self, vote: Vote) -> str:
        return f"{vote.type.name.lower()} {shown(vote.block_id)} round {vote.round}"

    def _lock(self, lock: RoundValue | None) -> str:
        return "" if lock is None else f" locked {lock.round}:{shown(lock.block_id)}"

    def _message(self, message: Message) -> str:
        match message:
            case ProposalMessage(signed, body):
                with_body = "with body" if body is not None else "without body"
                return f"proposal {shown(signed.proposal.block_id)} {with_body}"
            case VotesMessage(votes):
                return ", ".join(self._vote(signed.vote) for signed in votes)
            case StatusMessage() | BodyRequest() | BodyMessage():
                return type(message).__name__

    def _state(self) -> str:
        text = self.driver.state.describe()
        for block_id, value in VALUE_OF.items():
            text = text.replace(":" + block_id.hex()[:4], ":" + value)
        return text


class KeeperTranscript:
    """Commands to a vote keeper."""

    def __init__(self, n: int) -> None:
        self.validators = validator_set(n)
        self.keeper = VoteKeeper(self.validators)

    def command(self, name: str, arguments: Arguments) -> list[str]:
        lines: list[str] = []
        match name:
            case "prevote" | "precommit":
                names, value = arguments.words
                for voter in names.split(","):
                    lines += self._vote(voter, VoteType[name.upper()], value, arguments)
            case "enter":
                self.keeper.enter_round(int(arguments.words[0]))
            case "describe":
                for line in self.keeper.describe().splitlines():
                    for block_id, value in VALUE_OF.items():
                        line = line.replace(block_id.hex()[:4], value)
                    lines.append(line)
            case _:
                raise ValueError(name)
        return lines or ["(nothing)"]

    def _vote(self, voter: str, type: VoteType, value: str, arguments: Arguments) -> list[str]:
        round = arguments.number("round", 0)
        index = LETTERS.index(voter)
        signed = signed_vote(voter, type, round, None if value == "nil" else value)
        if not self.keeper.wants(index, signed.vote):
            return [f"{voter}: not wanted"]
        counted = self.keeper.add(index, signed)
        lines = []
        if counted.conflict is not None:
            lines.append(f"{voter}: contradicts {shown(counted.conflict.vote.block_id)}")
        for threshold in counted.thresholds:
            what = "" if threshold.block_id is None else f" {shown(threshold.block_id)}"
            lines.append(f"{threshold.kind.value}{what} round {threshold.round}")
        return lines
