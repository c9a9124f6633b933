"""Block synchronisation: whoever is behind fetches decided blocks with their commits and applies them.

Nodes tell their height when it changes. A node that sees a greater one asks for the blocks in between: a follower at
once, a validator when consensus has not brought the height itself within a moment. One request is under way at a time,
for as many blocks as the links carry within a moment; a peer that does not answer, or answers with nothing, is passed
over for a while, one that lies is cut off.
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

ANSWER_TIMEOUT_S: Final = 20.0
MAX_ANSWER_TIMEOUT_S: Final = 80.0
"""Doubled from the one to the other where answers do not come in time: on 64 KiB/s, a block of ours (1 MiB) passes
within the first, the largest one (4 MiB) within the last. What is cut short has been on the way for nothing, and what
is asked for next waits behind it."""

PASSED_OVER_S: Final = 20.0
"""How long a peer that did not help is not asked again: as long as it may have cost."""

PATIENCE_S: Final = 0.5
"""How long a validator waits for consensus to bring a height that others have decided."""

_log = structlog.get_logger(__name__)

ApplyBlocks = Callable[[str, tuple[tuple[Block, Commit], ...]], Awaitable[int]]


class Demand:
    """How many blocks to ask for at once, and how long to wait: as much as links carry within a moment."""

    def __init__(self) -> None:
        self.count = FIRST_COUNT
        self.timeout_s = ANSWER_TIMEOUT_S

    def answered(self, taken_s: float) -> None:
        """Learn from an answer that took so long."""
        if taken_s < QUICK_ANSWER_S:
            self.count = min(2 * self.count, MAX_SYNC_BLOCKS)
        elif taken_s > SLOW_ANSWER_S:
            self.count = max(self.count // 2, 1)
        self.timeout_s = min(max(ANSWER_TIMEOUT_S, 2 * taken_s), MAX_ANSWER_TIMEOUT_S)

    def not_answered(self) -> None:
        """Ask the next one for little, and wait longer."""
        self.count = 1
        self.timeout_s = min(2 * self.timeout_s, MAX_ANSWER_TIMEOUT_S)


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
        self._answer: asyncio.Future[Blocks] | None = None
        self._asked = ""
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
        if (peer, message.from_height) == (self._asked, self._asked_height):
            answer.set_result(message)

    def link_down(self, peer: str) -> None:
        """Stop waiting for a peer whose link has ended."""
        if peer == self._asked and self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the link has ended"))

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
        peer = self._choose(height)
        if peer is None:
            return False
        self.catching_up = self.target > height + 1
        try:
            message = await self._ask(peer, height + 1)
            applied = await self._apply_blocks(peer, _decode(message, height + 1))
        except (TimeoutError, ConnectionError):
            applied = 0
        except (InvalidPeerMessage, InvalidBlock, InvalidSignature) as error:
            self._network.cut_off(peer, f"synchronised block: {error}")
            return False
        if applied == 0 and self._height() == height:
            self._passed_over[peer] = time.monotonic() + PASSED_OVER_S
            _log.info("peer did not help to catch up", peer=peer, height=height + 1)
            return False
        return True

    def _choose(self, height: int) -> str | None:
        now = time.monotonic()
        able = [
            name
            for name, link in sorted(self._network.links.items())
            if link.height > height and self._passed_over.get(name, 0.0) <= now
        ]
        return able[height % len(able)] if able else None

    async def _ask(self, peer: str, from_height: int) -> Blocks:
        self._answer = asyncio.get_running_loop().create_future()
        self._asked, self._asked_height = peer, from_height
        request = GetBlocks(from_height, self._demand.count).encode()
        began_s = asyncio.get_running_loop().time()
        try:
            if not self._network.send(peer, request, Priority.SYNC):
                raise ConnectionError("not linked")
            async with asyncio.timeout(self._demand.timeout_s):
                answer = await self._answer
            self._demand.answered(asyncio.get_running_loop().time() - began_s)
            return answer
        except TimeoutError:
            self._demand.not_answered()
            raise
        finally:
            self._answer = None
            self._asked = ""


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
