"""What waits for the runner: one queue of consensus events, peers' messages and fetched blocks, with one consumer."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Final, TypeAlias

from consensus.tendermint.events import Event
from consensus.tendermint.messages import Message
from ledger.blocks import Block
from ledger.commits import Commit

MAX_QUEUED_MESSAGES: Final = 16
"""Messages of one peer that may wait for the runner, by whichever of its links they came; when they do, its link is
read no further. Bodies have up to 4 MiB each."""


@dataclass(frozen=True, slots=True)
class PeerSaid:
    """A consensus message of a peer."""

    peer: str
    message: Message


@dataclass(frozen=True, slots=True)
class BlocksFetched:
    """Consecutive blocks with their commits, which others decided. `done` gets the number that were applied."""

    blocks: tuple[tuple[Block, Commit], ...]
    done: asyncio.Future[int]


Queued: TypeAlias = Event | PeerSaid | BlocksFetched


class Inbox:
    """The runner's queue. Only what peers say is bounded, each by itself: all else is the node's own."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Queued] = asyncio.Queue()
        self._queued: Counter[str] = Counter()
        self._slots: dict[str, asyncio.Semaphore] = {}
        """What places are left for the messages of each peer's present link."""
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return self._queue.qsize()

    def put(self, event: Event) -> None:
        """Queue an event of the node's own."""
        self._queue.put_nowait(event)

    async def put_message(self, peer: str, message: Message) -> None:
        """Queue a peer's message; waits while too many of this peer's are queued.

        What waits while the peer gets a new link is dropped: it is lost with the old one. So is all that comes after
        the end.
        """
        if self._closed:
            return
        slots = self._slots.get(peer)
        if slots is None:
            slots = self._slots[peer] = asyncio.Semaphore(MAX_QUEUED_MESSAGES)
        await slots.acquire()
        if self._slots.get(peer) is not slots:
            slots.release()  # so that whoever else waits there learns it, too
            return
        self._queued[peer] += 1
        self._queue.put_nowait(PeerSaid(peer, message))

    async def apply_blocks(self, blocks: tuple[tuple[Block, Commit], ...]) -> int:
        """Queue fetched blocks and wait until they are applied; return how many were new.

        Raises:
            InvalidBlock: one is not the network's.
        """
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(BlocksFetched(blocks, done))
        return await done

    def link_up(self, peer: str) -> None:
        """Give a peer's new link the places that messages of the old one leave, and more as the runner takes those."""
        old = self._slots.pop(peer, None)
        if old is not None:
            self._slots[peer] = asyncio.Semaphore(MAX_QUEUED_MESSAGES - self._queued[peer])
            old.release()

    async def take(self) -> Queued:
        """Wait for the next item."""
        item = await self._queue.get()
        if isinstance(item, PeerSaid):
            self._queued[item.peer] -= 1
            self._slots[item.peer].release()
        return item

    def close(self) -> None:
        """End: nobody takes anything any more, and who waits for a place must not wait for that."""
        self._closed = True
        while self._slots:
            _, slots = self._slots.popitem()
            slots.release()
