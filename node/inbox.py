"""What waits for the runner: one queue of consensus events, peers' messages and fetched blocks, with one consumer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, TypeAlias

from consensus.tendermint.events import Event
from consensus.tendermint.messages import Message
from ledger.blocks import Block
from ledger.commits import Commit

MAX_QUEUED_MESSAGES: Final = 16
"""Messages of one peer that may wait for the runner; when they do, its link is read no further. Bodies have up to
4 MiB each."""


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
        self._queue: asyncio.Queue[tuple[Queued, asyncio.Semaphore | None]] = asyncio.Queue()
        self._slots: dict[str, asyncio.Semaphore] = {}

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return self._queue.qsize()

    def put(self, event: Event) -> None:
        """Queue an event of the node's own."""
        self._queue.put_nowait((event, None))

    async def put_message(self, peer: str, message: Message) -> None:
        """Queue a peer's message; waits while too many of this peer's are queued."""
        slots = self._slots.get(peer)
        if slots is None:
            slots = self._slots[peer] = asyncio.Semaphore(MAX_QUEUED_MESSAGES)
        await slots.acquire()
        self._queue.put_nowait((PeerSaid(peer, message), slots))

    async def apply_blocks(self, blocks: tuple[tuple[Block, Commit], ...]) -> int:
        """Queue fetched blocks and wait until they are applied; return how many were new.

        Raises:
            InvalidBlock: one is not the network's.
        """
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((BlocksFetched(blocks, done), None))
        return await done

    def link_up(self, peer: str) -> None:
        """Give a peer with a new link its full number of messages."""
        self._slots.pop(peer, None)

    async def take(self) -> Queued:
        """Wait for the next item."""
        item, slots = await self._queue.get()
        if slots is not None:
            slots.release()
        return item
