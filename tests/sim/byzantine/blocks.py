"""Liars who propose blocks that break one rule each, and those who propose blocks without what waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consensus.tendermint.messages import Message, ProposalMessage
from ledger.blocks import Block
from ledger.commits import Commit
from ledger.evidence import DuplicateVoteEvidence
from ledger.transactions import Operation, sign_transaction
from ledger.votes import SignedVote, Vote, VoteType, sign_vote
from tests.ledger.chain import EDITOR, signer
from tests.sim.byzantine.liar import Liar
from tests.sim.virtual import START_MS

if TYPE_CHECKING:
    from tests.sim.world import World


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
