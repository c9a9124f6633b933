"""A network in a transcript: drivers a, b, c, … with their logs, guards and clocks, and the messages between them.

Nothing moves by itself. What is sent is in flight until `deliver` or `lose` takes it; both choose by kind
(`proposal`, `prevote`, `precommit`), `from=a,b` and `to=c`. Printed are signatures, refusals, fetched bodies and
decisions; logs, timers and validation go without saying, and every block is valid. A block carries its proposer and
its time by that one's clock, shown in seconds since the beginning, and is judged by the engine's own `is_timely`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from consensus.tendermint.effects import (
    Broadcast,
    BuildBlock,
    Decide,
    Effect,
    FetchBody,
    ReportEvidence,
    ScheduleTimeout,
    SignProposal,
    SignVote,
    ValidateBlock,
)
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
from consensus.tendermint.messages import (
    Message,
    ProposalMessage,
    VotesMessage,
    decode_message,
    encode_message,
)
from consensus.tendermint.rounds import Step
from consensus.tendermint.timeouts import Timeouts, is_timely
from tests.consensus.transcripts import (
    BLOCK_IDS,
    LETTERS,
    Arguments,
    Crash,
    DriverTranscript,
    shown,
)

START_MS: Final = 1_700_000_000_000


def body_of(value: str, maker: str, time_ms: int) -> bytes:
    """Return a block: its letter, who made it, and its time."""
    return f"{value} {maker} {time_ms}".encode()


def time_of(body: bytes) -> int:
    """Return a block's time."""
    return int(body.split()[2])


class Member(DriverTranscript):
    """One validator: a driver that speaks to a network."""

    def __init__(self, name: str, network: NetworkTranscript) -> None:
        self.network = network
        self.up = True
        self.ahead_ms = 0
        super().__init__(name, network.n, 1)

    def _boot(self, *, silent: bool = False) -> None:
        self.building: int | None = None
        self.scheduled: set[tuple[int, Step]] = set()
        self.validations: deque[BlockValidated] = deque()
        super()._boot(silent=silent)

    @property
    def now_ms(self) -> int:
        return self.network.now_ms + self.ahead_ms

    def give(self, event: Event) -> None:
        """Take in an event, and whatever the application answers."""
        if self.up:
            self._guarded(lambda: self._handle(event))

    def restart(self, arguments: Arguments) -> None:
        self._guarded(lambda: self.do_restart(arguments))
        if not self.driver.started:
            self.give(StartHeight(self.height))

    def crash(self) -> None:
        self.up = False
        self.network.forget(self.own_name)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
            while self.validations:
                self._handle(self.validations.popleft())
        except Crash:
            self._print("crash")
            self.crash()

    def is_timely(self, body: bytes, round: int) -> bool:
        return is_timely(time_of(body), self.now_ms, round, Timeouts())

    def receive(self, message: Message) -> None:
        match message:
            case ProposalMessage(signed, body):
                known = body or self.driver.body(signed.proposal.block_id)
                timely = None if known is None else self.is_timely(known, signed.proposal.round)
                self.give(ProposalReceived(signed, body, timely))
            case VotesMessage(votes):
                for vote in votes:
                    self.give(VoteReceived(vote))
            case _:
                raise AssertionError(message)

    def _perform(self, effect: Effect) -> list[Event]:
        match effect:
            case Broadcast(message):
                self.network.broadcast(self.own_name, message)
            case BuildBlock(_, round):
                self.building = round
            case ValidateBlock(height, block_id, _):
                self.validations.append(BlockValidated(height, block_id, True))
            case ScheduleTimeout(_, round, step):
                self.scheduled.add((round, step))
            case _:
                return super()._perform(effect)
        return []

    def _show(self, effect: Effect) -> None:
        match effect:
            case SignVote() | SignProposal() | FetchBody() | BuildBlock() | ReportEvidence():
                self._print(self._line(effect))
            case Decide(_, _, _, body):
                value, maker, time_ms = body.decode().split()
                second = (int(time_ms) - START_MS) // 1000
                self._print(f"{self._line(effect)}; {value} was made by {maker} at second {second}")
            case _:
                pass

    def _print(self, line: str) -> None:
        self.network.lines.append(f"{self.own_name}: {line}")


@dataclass(frozen=True)
class InFlight:
    """A message on its way: a proposal, or one vote."""

    sender: str
    to: str
    message: Message

    @property
    def kind(self) -> str:
        if isinstance(self.message, VotesMessage):
            return self.message.votes[0].vote.type.name.lower()
        return "proposal"

    def matches(self, arguments: Arguments) -> bool:
        senders, to = arguments.named.get("from"), arguments.named.get("to")
        return (
            (not arguments.words or self.kind in arguments.words)
            and (senders is None or self.sender in senders.split(","))
            and (to is None or self.to in to.split(","))
        )


class NetworkTranscript:
    """Commands to a network."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.now_ms = START_MS
        self.lines: list[str] = []
        self.in_flight: list[InFlight] = []
        self.members = {name: Member(name, self) for name in LETTERS[:n]}

    def command(self, name: str, arguments: Arguments) -> list[str]:
        self.lines = []
        for member in self.members.values():
            member.crash_at = arguments.named.get("crash", "")
            member.effects_begun = 0
        getattr(self, "do_" + name)(arguments)
        return self.lines or ["(nothing)"]

    def _chosen(self, arguments: Arguments, word: int = 0) -> Iterator[Member]:
        """Yield the members that a word of a command names, `a,b` or `all`."""
        names = arguments.words[word]
        for name, member in self.members.items():
            if names == "all" or name in names.split(","):
                yield member

    # ---- time and life

    def do_clock(self, arguments: Arguments) -> None:
        """`clock d 3600`: d's clock is so many seconds ahead."""
        for member in self._chosen(arguments):
            member.ahead_ms = int(arguments.words[1]) * 1000

    def do_wait(self, arguments: Arguments) -> None:
        """`wait 60`: so many seconds pass on all clocks; timeouts come by `timeout` only."""
        self.now_ms += int(arguments.words[0]) * 1000

    def do_start(self, arguments: Arguments) -> None:
        for member in self._chosen(arguments):
            member.give(StartHeight(1))

    def do_timeout(self, arguments: Arguments) -> None:
        """`timeout prevote all`: it elapses wherever it is scheduled for the current round."""
        step = Step[arguments.words[0].upper()]
        for member in self._chosen(arguments, 1):
            round = member.driver.round
            if member.up and (round, step) in member.scheduled:
                member.give(TimeoutElapsed(1, round, step))

    def do_crash(self, arguments: Arguments) -> None:
        for member in self._chosen(arguments):
            member.crash()

    def do_restart(self, arguments: Arguments) -> None:
        """`restart all`, or `restart d log=lost`."""
        chosen = list(self._chosen(arguments))
        for member in chosen:
            member.up = True
        for member in chosen:
            member.restart(arguments)

    def do_build(self, arguments: Arguments) -> None:
        """`build b A`: the block that b was asked for is there, with b's time."""
        value = arguments.words[1]
        for member in self._chosen(arguments):
            assert member.building is not None, f"{member.own_name} was not asked for a block"
            body = body_of(value, member.own_name, member.now_ms)
            member.give(BlockBuilt(1, member.building, BLOCK_IDS[value], body))

    # ---- messages

    def broadcast(self, sender: str, message: Message) -> None:
        for to in self.members:
            if to != sender:
                self._send(sender, to, message)

    def _send(self, sender: str, to: str, message: Message) -> None:
        if not self.members[to].up:
            return
        parts: list[Message] = [message]
        if isinstance(message, VotesMessage):
            parts = [VotesMessage((vote,)) for vote in message.votes]
        for part in parts:
            self.in_flight.append(InFlight(sender, to, decode_message(encode_message(part))))

    def forget(self, name: str) -> None:
        """Lose what is in flight to or from a node that stops."""
        self.in_flight = [m for m in self.in_flight if name not in (m.sender, m.to)]

    def do_deliver(self, arguments: Arguments) -> None:
        """Deliver what is in flight and matches; what comes of it stays in flight. `deliver all`: until nothing is."""
        if arguments.words == ("all",):
            while self.in_flight:
                self._deliver(self._take(Arguments((), {})))
        else:
            self._deliver(self._take(arguments))

    def _deliver(self, messages: list[InFlight]) -> None:
        for one in messages:
            self.members[one.to].receive(one.message)

    def do_lose(self, arguments: Arguments) -> None:
        self._take(arguments)

    def _take(self, arguments: Arguments) -> list[InFlight]:
        taken = [one for one in self.in_flight if one.matches(arguments)]
        self.in_flight = [one for one in self.in_flight if not one.matches(arguments)]
        return taken

    def do_gossip(self, arguments: Arguments) -> None:
        """All who are up tell each other what they have and send what the other lacks, and then once more.

        One who has decided answers as well; a real one is at the next height, and sends the block with its commit.
        """
        up = [member for member in self.members.values() if member.up]
        for _ in range(
            2
        ):  # what was sent may have brought one into a round of which it lacks the rest
            for one in up:
                for other in up:
                    for message in other.driver.missing(one.driver.status()):
                        self._send(other.own_name, one.own_name, message)
            self.do_deliver(Arguments(("all",), {}))

    def do_fetch(self, arguments: Arguments) -> None:
        """`fetch from=c`: who wants a body asks c."""
        peer = self.members[arguments.named["from"]]
        for member in self.members.values():
            for block_id in member.driver.wanted_bodies:
                body = peer.driver.body(block_id) if peer.up else None
                if member is peer or not member.up:
                    continue
                if body is None:
                    member._print(f"no body {shown(block_id)} from {peer.own_name}")
                    continue
                member._print(f"body {shown(block_id)} from {peer.own_name}")
                timely = member.is_timely(body, member.driver.round)
                member.give(BodyReceived(1, block_id, body, timely))

    def do_describe(self, arguments: Arguments) -> None:
        for name, member in self.members.items():
            self.lines.append(f"{name}: {member._state() if member.up else 'down'}")
