"""Faulty validators: each is a whole node whose outgoing messages pass through a script that has its keys.

A script may replace, add or hold back anything that its node sends, and sign what it likes. It can forge nothing
that others sign. Names of scripts stand in `plan.SCRIPTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from consensus.tendermint.last_sign import LastSignGuard
from consensus.tendermint.limits import MAX_VOTES_PER_MESSAGE
from consensus.tendermint.messages import (
    BodyMessage,
    Message,
    Proposal,
    ProposalMessage,
    SignedProposal,
    VotesMessage,
    encode_message,
)
from ledger.blocks import Block, transactions_root
from ledger.codec import encode
from ledger.commits import Commit, commit_hash
from ledger.decoding import MAX_ROUND
from ledger.evidence import DuplicateVoteEvidence, evidence_hash
from ledger.suite import Signer
from ledger.transactions import Operation, sign_transaction
from ledger.votes import SignedVote, Vote, VoteType, sign_vote
from node.messages import Blocks, ConsensusPayload, PeerMessage, Status
from tests.ledger.chain import EDITOR, signer
from tests.sim.sharing import read_consensus, read_frame
from tests.sim.virtual import START_MS

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.world import World


class CarelessGuard(LastSignGuard):
    """Signs whatever it is asked to."""

    def __init__(self, key: Signer, chain_id: str) -> None:
        super().__init__(key, chain_id, None, lambda data: None, 0)
        self._key = key

    @property
    def may_sign(self) -> bool:
        return True

    def sign_vote(self, vote: Vote, lock: object) -> SignedVote:
        return sign_vote(self._key, vote)

    def sign_proposal(self, proposal: Proposal, lock: object) -> SignedProposal:
        return SignedProposal(proposal, self._key.sign(proposal.signed_bytes()))


class Script:
    """Does nothing wrong by itself: what twins are, each with a guard of its own."""

    act_ms = 0
    """How often `act` is called; never if 0."""

    host: Host

    def __init__(self, world: World) -> None:
        self.world = world
        self.random: Random = world.random

    def prepare(self) -> None:
        """Set the machine up."""

    def guard(self, key: Signer, chain_id: str) -> LastSignGuard | None:
        """Return a guard that stands in for the real one, or None."""
        return None

    def incoming(self, message: PeerMessage) -> None:
        """Listen to what the node receives."""

    def outgoing(self, name: str, frame: bytes) -> Iterable[bytes]:
        """Return what goes to `name` in place of a frame."""
        return (frame,)

    def act(self) -> None:
        """Send something of one's own accord."""

    def acting(self) -> None:
        if self.act_ms and not self.world.stopped:
            if self.host.ready:
                self.act()
            self.world.loop.call_later(self.act_ms / 1000, self.acting)

    def note(self, what: str) -> None:
        self.world.injected[what] += 1


class Liar(Script):
    """Base of scripts that rewrite consensus messages."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.proposed: dict[tuple[int, int], bytes] = {}
        self.known: dict[int, list[bytes]] = {}

    def guard(self, key: Signer, chain_id: str) -> LastSignGuard | None:
        return CarelessGuard(key, chain_id)

    def incoming(self, message: PeerMessage) -> None:
        if isinstance(message, ConsensusPayload):
            said = read_consensus(message.payload)
            if isinstance(said, ProposalMessage):
                self._learn(said.proposal.proposal)

    def _learn(self, proposal: Proposal) -> None:
        self.proposed.setdefault((proposal.height, proposal.round), proposal.block_id)
        known = self.known.setdefault(proposal.height, [])
        if proposal.block_id not in known:
            known.append(proposal.block_id)

    def outgoing(self, name: str, frame: bytes) -> Iterable[bytes]:
        message = read_frame(frame)
        if not isinstance(message, ConsensusPayload):
            return [one.encode() for one in self.other(name, message)]
        said = read_consensus(message.payload)
        if isinstance(said, ProposalMessage) and self.is_own(said.proposal.proposal.proposer):
            self._learn(said.proposal.proposal)
            return [pack(one) for one in self.proposal(name, said)]
        if isinstance(said, VotesMessage):
            votes: list[SignedVote] = []
            for signed in said.votes:
                own = self.is_own(signed.vote.validator)
                votes.extend(self.vote(name, signed) if own else (signed,))
            return [pack(VotesMessage(tuple(votes[:MAX_VOTES_PER_MESSAGE])))] if votes else []
        if isinstance(said, BodyMessage):
            return [pack(one) for one in self.body(name, said)]
        return (frame,)

    def is_own(self, name: str) -> bool:
        return name == self.host.name

    def proposal(self, name: str, message: ProposalMessage) -> Iterable[Message]:
        return (message,)

    def vote(self, name: str, signed: SignedVote) -> Iterable[SignedVote]:
        return (signed,)

    def body(self, name: str, message: BodyMessage) -> Iterable[Message]:
        return (message,)

    def other(self, name: str, message: PeerMessage) -> Iterable[Any]:
        return (message,)

    # --- tools -----------------------------------------------------------------------------------

    @property
    def height(self) -> int:
        assert self.host.process is not None
        return self.host.process.application.tip.height + 1

    def signed(self, vote: Vote) -> SignedVote:
        return sign_vote(self.host.consensus, vote)

    def own_vote(
        self, height: int, round_: int, kind: VoteType, block_id: bytes | None
    ) -> SignedVote:
        chain_id = self.world.genesis.chain_id
        return self.signed(Vote(chain_id, height, round_, kind, block_id, self.host.name))

    def propose(self, message: ProposalMessage, block: Block) -> ProposalMessage:
        """Return our proposal of the same round for another block, well signed."""
        suite = self.world.genesis.suite
        proposal = replace(message.proposal.proposal, block_id=block.id(suite))
        signature = self.host.consensus.sign(proposal.signed_bytes())
        return ProposalMessage(SignedProposal(proposal, signature), block.encode())

    def rebuilt(self, block: Block, **changes: Any) -> Block:
        """Return a block with other contents and a header that names them."""
        suite = self.world.genesis.suite
        parts = {
            key: changes.pop(key)
            for key in ("transactions", "evidence", "last_commit")
            if key in changes
        }
        body = replace(block, **parts)
        header = replace(
            body.header,
            transactions_root=transactions_root(suite, body.transactions),
            evidence_hash=evidence_hash(suite, body.evidence),
            last_commit_hash=commit_hash(suite, body.last_commit),
        )
        return replace(body, header=replace(header, **changes))

    def everybody(self) -> list[str]:
        return [name for name in self.world.by_name if name != self.host.name]

    def send(self, name: str, message: Message) -> None:
        self.world.wires.transmit(self.host, name, pack(message))


def pack(message: Message) -> bytes:
    return ConsensusPayload(encode_message(message)).encode()


class EquivocatingProposer(Liar):
    """Shows some validators one valid block and some another, and votes for each of them before its audience."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.variants: dict[tuple[int, int], tuple[ProposalMessage, ...]] = {}
        self.shown: dict[tuple[int, int, str], int] = {}

    def proposal(self, name: str, message: ProposalMessage) -> Iterable[Message]:
        proposal = message.proposal.proposal
        place = (proposal.height, proposal.round)
        if message.body is not None and place not in self.variants:
            block = Block.decode(message.body)
            other = self.rebuilt(
                block, transactions=block.transactions[1:], time_ms=block.header.time_ms + 1
            )
            self.variants[place] = (message, self.propose(message, other))
            self.note("two proposals in a round")
        variants = self.variants.get(place, (message,))
        if self.random.random() < 0.1:
            return variants
        return (variants[self._side(place, name) % len(variants)],)

    def _side(self, place: tuple[int, int], name: str) -> int:
        return self.shown.setdefault((*place, name), self.random.randrange(2))

    def vote(self, name: str, signed: SignedVote) -> Iterable[SignedVote]:
        vote = signed.vote
        place = (vote.height, vote.round)
        variants = self.variants.get(place)
        if variants is None:
            return (signed,)
        self.note("double vote")
        shown = variants[self._side(place, name)]
        return (self.signed(replace(vote, block_id=shown.proposal.proposal.block_id)),)

    def body(self, name: str, message: BodyMessage) -> Iterable[Message]:
        return (message,) if self.random.random() < 0.5 else ()


class DoubleVotes(Liar):
    """Votes for anything it has heard of, differently before each validator."""

    def vote(self, name: str, signed: SignedVote) -> Iterable[SignedVote]:
        vote = signed.vote
        values = [vote.block_id, None, *self.known.get(vote.height, ())]
        if self.random.random() < 0.1:
            values.append(self.random.randbytes(32))
        chosen = self.random.sample(values, min(len(values), self.random.randint(1, 2)))
        if chosen != [vote.block_id]:
            self.note("double vote")
        return [self.signed(replace(vote, block_id=value)) for value in chosen]


class Amnesia(Liar):
    """Knows nothing of its locks: prevotes for whatever the round proposes, also after it has precommitted."""

    def vote(self, name: str, signed: SignedVote) -> Iterable[SignedVote]:
        vote = signed.vote
        proposed = self.proposed.get((vote.height, vote.round))
        if vote.type is VoteType.PREVOTE and vote.round and proposed not in (None, vote.block_id):
            self.note("prevote against the own lock")
            return (self.signed(replace(vote, block_id=proposed)),)
        return (signed,)


class InvalidBlocks(Liar):
    """Proposes blocks that break one rule each, and votes for them."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.made: dict[tuple[int, int], ProposalMessage] = {}

    def proposal(self, name: str, message: ProposalMessage) -> Iterable[Message]:
        proposal = message.proposal.proposal
        place = (proposal.height, proposal.round)
        if message.body is None or self.random.random() < 0.1:
            return (self.made.get(place, message),)
        if place not in self.made:
            kind = self.corruption()
            self.made[place] = made = CORRUPTIONS[kind](self, message, Block.decode(message.body))
            if made != message:
                self.note(f"proposal: {kind}")
        return (self.made[place],)

    def corruption(self) -> str:
        return self.random.choice(sorted(INVALID_BLOCKS))

    def vote(self, name: str, signed: SignedVote) -> Iterable[SignedVote]:
        made = self.made.get((signed.vote.height, signed.vote.round))
        if made is None:
            return (signed,)
        return (self.signed(replace(signed.vote, block_id=made.proposal.proposal.block_id)),)


Corruption = Callable[[InvalidBlocks, ProposalMessage, Block], ProposalMessage]


def _changed(**changes: Any) -> Corruption:
    return lambda liar, message, block: liar.propose(message, liar.rebuilt(block, **changes))


def _relative_time(offset_ms: int) -> Corruption:
    def corrupt(liar: InvalidBlocks, message: ProposalMessage, block: Block) -> ProposalMessage:
        time_ms = max(0, block.header.time_ms + offset_ms)
        return liar.propose(message, liar.rebuilt(block, time_ms=time_ms))

    return corrupt


def _with_transactions(make: Callable[[InvalidBlocks, Block], list[bytes]]) -> Corruption:
    def corrupt(liar: InvalidBlocks, message: ProposalMessage, block: Block) -> ProposalMessage:
        transactions = (*block.transactions, *make(liar, block))
        return liar.propose(message, liar.rebuilt(block, transactions=transactions))

    return corrupt


def _transaction(liar: InvalidBlocks, block: Block, **changes: Any) -> bytes:
    options: dict[str, Any] = {
        "by": EDITOR,
        "chain_id": liar.world.genesis.chain_id,
        "valid_until_ms": block.header.time_ms + 60_000,
        **changes,
    }
    return sign_transaction(
        liar.world.genesis.suite,
        options["by"],
        options["chain_id"],
        (Operation("test.note.write", {"name": "liar", "text": "", "fail": ""}),),
        valid_until_ms=options["valid_until_ms"],
        nonce=liar.random.randbytes(16),
    ).raw


def _badly_signed(liar: InvalidBlocks, block: Block) -> list[bytes]:
    raw = bytearray(_transaction(liar, block))
    raw[-1] ^= 1
    return [bytes(raw)]


def _replayed(liar: InvalidBlocks, block: Block) -> list[bytes]:
    assert liar.host.process is not None
    history = liar.host.process.application.history
    for height in range(block.header.height - 1, max(0, block.header.height - 20), -1):
        old = history.block(height)
        if old is not None and old.transactions:
            return [old.transactions[0]]
    return [b"nothing to replay"]


def _with_commit(change: Callable[[InvalidBlocks, Commit], Commit | None]) -> Corruption:
    def corrupt(liar: InvalidBlocks, message: ProposalMessage, block: Block) -> ProposalMessage:
        if block.last_commit is None:
            return message
        last_commit = change(liar, block.last_commit)
        return liar.propose(message, liar.rebuilt(block, last_commit=last_commit))

    return corrupt


def _flipped(commit: Commit) -> Commit:
    (name, signature), *rest = commit.signatures
    return replace(commit, signatures=((name, bytes(64)), *rest)) if signature else commit


def _forged_evidence(
    liar: InvalidBlocks, message: ProposalMessage, block: Block
) -> ProposalMessage:
    height = block.header.height - 1
    if height < 1:
        return message
    victim = next(name for name in liar.everybody())
    votes = [
        Vote(liar.world.genesis.chain_id, height, 0, VoteType.PREVOTE, value, victim)
        for value in (None, bytes(32))
    ]
    evidence = DuplicateVoteEvidence.of(*(sign_vote(liar.host.consensus, vote) for vote in votes))
    return liar.propose(message, liar.rebuilt(block, evidence=(evidence,)))


def _repeated_evidence(
    liar: InvalidBlocks, message: ProposalMessage, block: Block
) -> ProposalMessage:
    height = block.header.height - 1
    if height < 1:
        return message
    kinds = (VoteType.PREVOTE, VoteType.PRECOMMIT)
    evidence = tuple(
        DuplicateVoteEvidence.of(
            liar.own_vote(height, 9, kind, None), liar.own_vote(height, 9, kind, bytes(32))
        )
        for kind in kinds
    )
    return liar.propose(message, liar.rebuilt(block, evidence=evidence))


def _other_body(liar: InvalidBlocks, message: ProposalMessage, block: Block) -> ProposalMessage:
    other = replace(block, transactions=(*block.transactions, b"stowaway"))
    return replace(message, body=other.encode())


INVALID_BLOCKS: dict[str, Corruption] = {
    "application hash": _changed(app_hash=bytes(32)),
    "parent": _changed(last_block_id=bytes(32)),
    "chain": _changed(chain_id="test-" + "0" * 32),
    "height": lambda liar, message, block: liar.propose(
        message, liar.rebuilt(block, height=block.header.height + 1)
    ),
    "proposer": _changed(proposer="nobody"),
    "validators": _changed(validators_hash=bytes(32)),
    "next validators": _changed(next_validators_hash=bytes(32)),
    "time before the last block's": _relative_time(-3_600_000),
    "time an hour ahead": _relative_time(3_600_000),
    "time zero": _changed(time_ms=0),
    "no last commit": _with_commit(lambda liar, commit: None),
    "bad signature in the last commit": _with_commit(lambda liar, commit: _flipped(commit)),
    "last commit without quorum": _with_commit(
        lambda liar, commit: replace(commit, signatures=commit.signatures[:1])
    ),
    "last commit with an alien": _with_commit(
        lambda liar, commit: replace(commit, signatures=(*commit.signatures, ("zzz", bytes(64))))
    ),
    "last commit of another round": _with_commit(
        lambda liar, commit: replace(commit, round=commit.round + 1)
    ),
    "last commit of another block": _with_commit(
        lambda liar, commit: replace(commit, block_id=bytes(32))
    ),
    "last commit out of order": _with_commit(
        lambda liar, commit: replace(commit, signatures=commit.signatures[::-1])
    ),
    "badly signed transaction": _with_transactions(_badly_signed),
    "transaction twice": _with_transactions(lambda liar, block: [_transaction(liar, block)] * 2),
    "replayed transaction": _with_transactions(_replayed),
    "expired transaction": _with_transactions(
        lambda liar, block: [_transaction(liar, block, valid_until_ms=START_MS - 1)]
    ),
    "too distant transaction": _with_transactions(
        lambda liar, block: [_transaction(liar, block, valid_until_ms=START_MS * 2)]
    ),
    "foreign transaction": _with_transactions(
        lambda liar, block: [_transaction(liar, block, chain_id="test-" + "0" * 32)]
    ),
    "stranger's transaction": _with_transactions(
        lambda liar, block: [_transaction(liar, block, by=signer("stranger"))]
    ),
    "garbage transaction": _with_transactions(lambda liar, block: [liar.random.randbytes(100)]),
    "oversize": _with_transactions(lambda liar, block: [bytes(60_000)] * 3),
    "forged evidence": _forged_evidence,
    "evidence twice": _repeated_evidence,
    "other body": _other_body,
}


CORRUPTIONS: dict[str, Corruption] = {
    **INVALID_BLOCKS,
    "censored": lambda liar, message, block: liar.propose(
        message, liar.rebuilt(block, transactions=())
    ),
}


class Censorship(InvalidBlocks):
    """Proposes blocks without transactions, whatever waits. They are valid: others must bring what waits."""

    def corruption(self) -> str:
        return "censored"


class WithheldProposals(Liar):
    """Proposes to nobody."""

    def proposal(self, name: str, message: ProposalMessage) -> Iterable[Message]:
        self.note("proposal withheld")
        return ()


class PartialProposals(Liar):
    """Shows its proposal to some, without the body to others, and answers few who ask for it."""

    def proposal(self, name: str, message: ProposalMessage) -> Iterable[Message]:
        chance = self.random.random()
        if chance < 0.4:
            self.note("proposal without body")
            return (replace(message, body=None),)
        if chance < 0.7:
            self.note("proposal withheld")
            return ()
        return (message,)

    def body(self, name: str, message: BodyMessage) -> Iterable[Message]:
        if self.random.random() < 0.3:
            return (message,)
        if self.random.random() < 0.2:
            self.note("wrong body sent")
            return (replace(message, body=message.body + b"x"),)
        return ()


class WithheldVotes(Liar):
    """Votes before some validators only, or before none."""

    def vote(self, name: str, signed: SignedVote) -> Iterable[SignedVote]:
        if self.random.random() < 0.7:
            self.note("vote withheld")
            return ()
        return (signed,)


class BadClock(Script):
    """An honest node with a clock that is minutes or an hour off."""

    def prepare(self) -> None:
        error_ms = self.random.choice((-3_600_000, -30_000, 8_000, 60_000, 3_600_000))
        self.host.clock_error_ms = error_ms
        self.note("clock far off")


class FarFuture(Liar):
    """Sends votes and proposals of rounds and heights that are far ahead."""

    act_ms = 150

    def act(self) -> None:
        height = self.height + self.random.choice((0, 0, 0, 1, 2, 1_000, 2**40))
        rounds = (1, 2, 3, 5, 9, 1_000, 2**20, MAX_ROUND - 1, MAX_ROUND)
        round_ = self.random.choice(rounds)
        self.note("message of a far-future round or height")
        value = self.random.choice((None, self.random.randbytes(32)))
        votes = [self.own_vote(height, round_, kind, value) for kind in VoteType]
        for name in self.everybody():
            self.send(name, VotesMessage(tuple(votes)))
        names = [validator.name for validator in self.world.judge.reference.tip.validators]
        if self.host.name in names:
            step = (names.index(self.host.name) - height - round_) % len(names)
            if round_ + step <= MAX_ROUND:
                proposal = Proposal(
                    self.world.genesis.chain_id,
                    height,
                    round_ + step,
                    None,
                    self.random.randbytes(32),
                    self.host.name,
                )
                signature = self.host.consensus.sign(proposal.signed_bytes())
                message = ProposalMessage(SignedProposal(proposal, signature), None)
                self.send(self.random.choice(self.everybody()), message)


class VoteFlood(Liar):
    """Sends many votes, each for another block, in many rounds."""

    act_ms = 250

    def act(self) -> None:
        self.note("flood of votes")
        height = self.height
        votes = tuple(
            self.own_vote(
                height,
                self.random.randrange(12),
                self.random.choice(tuple(VoteType)),
                self.random.randbytes(32),
            )
            for _ in range(24)
        )
        for name in self.everybody():
            self.send(name, VotesMessage(votes))


class LyingSyncPeer(Liar):
    """Claims heights that do not exist, and serves blocks that nobody decided."""

    act_ms = 700

    def act(self) -> None:
        self.note("height claimed that does not exist")
        claim = Status(self.height + self.random.randint(1, 1_000), 10**6).encode()
        for name in self.everybody():
            self.world.wires.transmit(self.host, name, claim)

    def other(self, name: str, message: PeerMessage) -> Iterable[Any]:
        if not isinstance(message, Blocks):
            return (message,)
        lie = self.random.choice(("garbage", "commit", "block", "height", "nothing", "reordered"))
        self.note(f"lie in a synchronised block: {lie}")
        rows = list(message.blocks)
        if lie == "nothing" or not rows:
            return (Blocks(message.from_height, ()),)
        block, commit = rows[0]
        match lie:
            case "garbage":
                rows[0] = (self.random.randbytes(len(block)), commit)
            case "commit":
                decided = Commit.decode(commit)
                rows[0] = (block, replace(decided, signatures=decided.signatures[:1]).encode())
            case "block":
                decoded = Block.decode(block)
                changed = self.rebuilt(decoded, transactions=(), time_ms=decoded.header.time_ms + 1)
                decided = Commit.decode(commit)
                own = self.own_vote(
                    decided.height,
                    decided.round,
                    VoteType.PRECOMMIT,
                    changed.id(self.world.genesis.suite),
                )
                forged = replace(
                    decided,
                    block_id=changed.id(self.world.genesis.suite),
                    signatures=tuple((who, own.signature) for who, _ in decided.signatures),
                )
                rows[0] = (changed.encode(), forged.encode())
            case "height":
                return (Blocks(message.from_height + 1, message.blocks),)
            case _:
                rows.reverse()
        return (Blocks(message.from_height, tuple(rows)),)


class Garbage(Liar):
    """Sends what no node sends: random and cut frames, votes in the names of others."""

    act_ms = 500

    def act(self) -> None:
        kind = self.random.choice(("random", "cut", "deep", "alien vote", "other's vote"))
        self.note(f"garbage: {kind}")
        vote = self.own_vote(self.height, 0, VoteType.PREVOTE, None)
        good = pack(VotesMessage((vote,)))
        match kind:
            case "random":
                frame = self.random.randbytes(self.random.randrange(1, 300))
            case "cut":
                frame = good[: self.random.randrange(1, len(good))]
            case "deep":
                frame = b"\x91" * 1_000 + encode(())
            case "alien vote":
                frame = pack(VotesMessage((self.signed(replace(vote.vote, validator="nobody")),)))
            case _:
                victim = self.random.choice(self.everybody())
                frame = pack(VotesMessage((self.signed(replace(vote.vote, validator=victim)),)))
        self.world.wires.transmit(self.host, self.random.choice(self.everybody()), frame)


class TransplantedVotes(Liar):
    """Sends others' votes on with their signatures, and another height, round, step or block in them."""

    act_ms = 300

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.heard: list[SignedVote] = []

    def incoming(self, message: PeerMessage) -> None:
        super().incoming(message)
        if isinstance(message, ConsensusPayload):
            said = read_consensus(message.payload)
            if isinstance(said, VotesMessage):
                self.heard.extend(said.votes)
                del self.heard[:-50]

    def act(self) -> None:
        if not self.heard:
            return
        signed = self.random.choice(self.heard)
        vote, height = signed.vote, self.height
        changes: tuple[dict[str, Any], ...] = (
            {"height": height},
            {"height": height, "round": self.random.randrange(3)},
            {"round": vote.round + 1},
            {"type": VoteType(3 - vote.type)},
            {"block_id": self.random.choice((None, bytes(32)))},
            {"validator": self.random.choice(self.everybody())},
        )
        changed = replace(vote, **self.random.choice(changes))
        if changed != vote:
            self.note("vote transplanted")
            moved = VotesMessage((SignedVote(changed, signed.signature),))
            self.send(self.random.choice(self.everybody()), moved)


_SCRIPTS: dict[str, type[Script]] = {
    "equivocating proposer": EquivocatingProposer,
    "double votes": DoubleVotes,
    "amnesia": Amnesia,
    "invalid blocks": InvalidBlocks,
    "censorship": Censorship,
    "withheld proposals": WithheldProposals,
    "partial proposals": PartialProposals,
    "withheld votes": WithheldVotes,
    "bad clock": BadClock,
    "far-future rounds": FarFuture,
    "vote flood": VoteFlood,
    "lying sync peer": LyingSyncPeer,
    "garbage": Garbage,
    "transplanted votes": TransplantedVotes,
    "twins": Script,
}


def script_of(kind: str, world: World) -> Script:
    """Return a new script of this name."""
    world.injected[f"validator: {kind}"] += 1
    return _SCRIPTS[kind](world)
