"""Liars beside proposals and votes: about heights and decided blocks, and senders of what no node sends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from consensus.tendermint.messages import VotesMessage
from ledger.blocks import Block
from ledger.codec import encode
from ledger.commits import Commit
from ledger.votes import VoteType
from node.messages import Blocks, PeerMessage, Status
from tests.sim.byzantine.liar import Liar, pack


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
