"""Block synchronisation: whoever is behind fetches decided blocks with their commits and applies them.

Nodes tell their height when it changes. A node that sees a greater one asks for the blocks in between: a follower at
once, a validator when consensus has not brought the height itself within a moment. It asks one peer for as many blocks
as links carry within a moment, and when that one does not answer soon the next as well: a quorum may wait for us, and
nobody can tell a slow peer from one that has stopped. Who does not answer soon, or answers with nothing, is passed over
for a while; who lies is cut off.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from ledger.blocks import Block
from ledger.commits import Commit
from ledger.errors import DecodeError, InvalidBlock, InvalidSignature
from ledger.history import History
from ledger.validators import ValidatorSet
from node.errors import InvalidPeerMessage
from node.messages import BLOCKS_FRAME_BYTES, MAX_SYNC_BLOCKS, Blocks, GetBlocks, Priority
from node.network import Network, PeerLink, reached_height

FIRST_COUNT: Final = 1
"""Blocks in the first request; quick answers double it, slow ones halve it. One may be of megabytes."""

QUICK_ANSWER_S: Final = 1.0
SLOW_ANSWER_S: Final = 4.0

NEXT_PEER_S: Final = 1.0
"""When the next peer is asked as well: a round at most is lost to the one that has stopped. Later where answers take
longer: what several send over a narrow link takes as many times as long."""

ANSWER_TIMEOUT_S: Final = 80.0
"""The largest block is 4 MiB, and passes a link of 64 KiB/s within this. Everybody has been asked long before."""

PASSED_OVER_S: Final = 10.0
"""How long a peer that did not help is not asked again."""

PATIENCE_S: Final = 0.5
"""How long a validator waits for consensus to bring a height that others have decided."""

_log = structlog.get_logger(__name__)

ApplyBlocks = Callable[[tuple[tuple[Block, Commit], ...]], Awaitable[int]]


class Demand:
    """How many blocks to ask for at once, and when to ask the next peer: as much as links carry within a moment."""

    def __init__(self) -> None:
        self.count = FIRST_COUNT
        self.next_peer_s = NEXT_PEER_S

    def answered(self, taken_s: float) -> None:
        """Learn from an answer that has helped and took so long; others may come whenever a liar likes."""
        if taken_s < QUICK_ANSWER_S:
            self.count = min(2 * self.count, MAX_SYNC_BLOCKS)
        elif taken_s > SLOW_ANSWER_S:
            self.count = max(self.count // 2, 1)
        self.next_peer_s = min(max(NEXT_PEER_S, 2 * taken_s), ANSWER_TIMEOUT_S)

    def not_answered(self) -> None:
        """Ask for little again."""
        self.count = FIRST_COUNT


class BlockSync:
    """Fetches what this node lacks, and serves what others lack."""

    def __init__(
        self,
        network: Network,
        height: Callable[[], int],
        apply_blocks: ApplyBlocks,
        is_voting: Callable[[], bool],
        validators: Callable[[], ValidatorSet],
    ) -> None:
        self._network = network
        self._height = height
        self._apply_blocks = apply_blocks
        self._is_voting = is_voting
        self._validators = validators
        self._news = asyncio.Event()
        self._answer: asyncio.Future[tuple[str, Blocks] | None] | None = None
        self._asked: list[str] = []
        self._asked_height = 0
        self._passed_over: dict[str, float] = {}
        self._demand = Demand()
        self.catching_up = False

    def peer_height(self, link: PeerLink, height: int) -> None:
        """Note a peer's height."""
        link.height = height
        if height > self._height():
            self._news.set()

    def received(self, peer: str, message: Blocks) -> None:
        """Take the answer to our request; an unasked one, or one that came too late, is dropped."""
        answer = self._answer
        if answer is None or answer.done():
            return
        if peer in self._asked and message.from_height == self._asked_height:
            answer.set_result((peer, message))

    def link_down(self, peer: str) -> None:
        """Stop waiting for a peer whose link has ended."""
        if peer in self._asked:
            self._asked.remove(peer)
            if not self._asked and self._answer is not None and not self._answer.done():
                self._answer.set_result(None)

    @property
    def claimed(self) -> int:
        """The greatest height that a linked peer has told; it may be lying."""
        return max((link.height for link in self._network.links.values()), default=0)

    @property
    def target(self) -> int:
        """The height that the network has reached at least: told by more validators than may be faulty."""
        return reached_height(self._network, self._validators())

    async def run(self) -> None:
        """Catch up whenever there is something to fetch, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self.claimed > self._height():
                if self._is_voting() and not await self._overdue():
                    continue
                if not await self._fetch():
                    self.catching_up = False
                    await asyncio.sleep(PATIENCE_S)
            self.catching_up = False

    async def _overdue(self) -> bool:
        """Give consensus a moment to bring the next height; tell whether it has not."""
        height = self._height()
        if self.catching_up:
            return True
        await asyncio.sleep(PATIENCE_S)
        return self._height() == height

    async def _fetch(self) -> bool:
        """Fetch one run of blocks and apply it; False if nobody could help."""
        height = self._height()
        if self._choose(height) is None:
            return False
        self.catching_up = self.target > height + 1
        began_s = time.monotonic()
        try:
            peer, message = await self._ask(height)
        except (TimeoutError, ConnectionError):
            return False
        taken_s = time.monotonic() - began_s
        try:
            applied = await self._apply_blocks(_decode(message, height + 1))
        except (InvalidPeerMessage, InvalidBlock, InvalidSignature) as error:
            self._network.cut_off(peer, f"synchronised block: {error}")
            return False
        if applied == 0 and self._height() == height:
            self._pass_over(peer, height)
            return False
        self._demand.answered(taken_s)
        return True

    def _choose(self, height: int) -> str | None:
        """Return who is to be asked next for what follows `height`."""
        now = time.monotonic()
        able = [
            name
            for name, link in sorted(self._network.links.items())
            if link.height > height
            and name not in self._asked
            and self._passed_over.get(name, 0.0) <= now
        ]
        return able[height % len(able)] if able else None

    def _pass_over(self, peer: str, height: int) -> None:
        self._passed_over[peer] = time.monotonic() + PASSED_OVER_S
        _log.info("peer did not help to catch up", peer=peer, height=height + 1)

    async def _ask(self, height: int) -> tuple[str, Blocks]:
        """Return the first answer to a request for what follows `height`, and who has given it.

        Raises:
            TimeoutError: nobody has answered.
            ConnectionError: nobody who has been asked is linked any more.
        """
        self._answer = answer = asyncio.get_running_loop().create_future()
        self._asked_height = height + 1
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                peer, message = await self._ask_one_after_the_other(answer, height)
        except TimeoutError:
            self._demand.not_answered()
            for silent in self._asked:
                self._pass_over(silent, height)
            raise
        else:
            for slow in self._asked:
                if slow != peer:
                    self._pass_over(slow, height)
            return peer, message
        finally:
            self._answer = None
            self._asked.clear()

    async def _ask_one_after_the_other(
        self, answer: asyncio.Future[tuple[str, Blocks] | None], height: int
    ) -> tuple[str, Blocks]:
        request = GetBlocks(height + 1, self._demand.count).encode()
        while not answer.done():
            peer = self._choose(height)
            if peer is not None and self._network.send(peer, request, Priority.SYNC):
                self._asked.append(peer)
            elif not self._asked:
                break
            await asyncio.wait([answer], timeout=self._demand.next_peer_s)
        found = answer.result() if answer.done() else None
        if found is None:
            raise ConnectionError("nobody who could help is linked")
        return found


def _decode(message: Blocks, from_height: int) -> tuple[tuple[Block, Commit], ...]:
    """Read fetched blocks.

    Raises:
        InvalidPeerMessage: not blocks with commits, or not of the heights that follow.
    """
    try:
        blocks = tuple(
            (Block.decode(block), Commit.decode(commit)) for block, commit in message.blocks
        )
    except DecodeError as error:
        raise InvalidPeerMessage(str(error)) from None
    for offset, (block, _) in enumerate(blocks):
        if block.header.height != from_height + offset:
            raise InvalidPeerMessage("blocks with a gap")
    return blocks


def collect_blocks(history: History, request: GetBlocks) -> Blocks:
    """Return what a peer asked for, as far as it is here and fits a frame. Blocking reads."""
    found: list[tuple[bytes, bytes]] = []
    size = 0
    for height in range(request.from_height, request.from_height + request.count):
        block, commit = history.block(height), history.commit(height)
        if block is None or commit is None:
            break
        row = (block.encode(), commit.encode())
        size += len(row[0]) + len(row[1])
        if found and size > BLOCKS_FRAME_BYTES:
            break
        found.append(row)
    return Blocks(request.from_height, tuple(found))
