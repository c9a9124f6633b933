"""What peers say waits for the runner, a bounded number of messages each, however often they link anew."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from consensus.tendermint.events import StartHeight
from consensus.tendermint.messages import BodyRequest, Message
from node.inbox import MAX_QUEUED_MESSAGES, Inbox, PeerSaid
from node.link import Link
from node.messages import ConsensusPayload, PeerMessage
from tests.node.links import Place, Recorder, running, until
from tests.node.raw_peer import client_context, frame, raw_peer
from tests.node.scene import HELLO

NUMBER = BodyRequest(1, bytes(32))


def message(number: int) -> Message:
    return BodyRequest(number, bytes(32))


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


async def putting(inbox: Inbox, peer: str, numbers: range) -> list[asyncio.Task[None]]:
    """Begin to queue a peer's messages, each by a task of its own, in their order."""
    tasks = [asyncio.create_task(inbox.put_message(peer, message(number))) for number in numbers]
    await asyncio.sleep(0)
    return tasks


async def heights(inbox: Inbox, count: int) -> list[int]:
    taken = [await inbox.take() for _ in range(count)]
    return [one.message.height for one in taken if isinstance(one, PeerSaid)]  # type: ignore[union-attr]


def test_messages_of_one_peer_are_bounded_and_come_in_their_order() -> None:
    async def scenario() -> None:
        inbox = Inbox()
        numbers = range(1, 2 * MAX_QUEUED_MESSAGES + 1)
        tasks = await putting(inbox, "hebei", numbers)
        assert inbox.waiting == MAX_QUEUED_MESSAGES
        await inbox.put_message("tianjin", message(100))
        inbox.put(StartHeight(7))
        assert inbox.waiting == MAX_QUEUED_MESSAGES + 2, "others and the node itself have room"
        assert await heights(inbox, MAX_QUEUED_MESSAGES) == list(numbers[:MAX_QUEUED_MESSAGES])
        await asyncio.gather(*tasks)
        rest = await heights(inbox, MAX_QUEUED_MESSAGES + 2)
        assert rest == [100, *numbers[MAX_QUEUED_MESSAGES:]]

    run(scenario())


def test_a_new_link_gets_the_places_that_the_old_one_leaves_and_what_waited_for_one_is_dropped() -> (
    None
):
    async def scenario() -> None:
        inbox = Inbox()
        await putting(inbox, "hebei", range(1, MAX_QUEUED_MESSAGES - 1))
        inbox.link_up("hebei")
        for first in (50, 100, 150):
            tasks = await putting(inbox, "hebei", range(first, first + 5))
            assert inbox.waiting == MAX_QUEUED_MESSAGES
            inbox.link_up("hebei")
            await asyncio.gather(*tasks)
            assert inbox.waiting == MAX_QUEUED_MESSAGES
        [task] = await putting(inbox, "hebei", range(200, 201))
        await heights(inbox, 1)
        await task
        expected = [*range(2, MAX_QUEUED_MESSAGES - 1), 50, 51, 200]
        assert await heights(inbox, MAX_QUEUED_MESSAGES) == expected
        await putting(inbox, "hebei", range(300, 400))
        assert inbox.waiting == MAX_QUEUED_MESSAGES, "all places have come back"

    run(scenario())


def test_at_the_end_nobody_waits_for_a_place_and_what_comes_is_dropped() -> None:
    """Else who hands messages on would never end, and with it the node."""

    async def scenario() -> None:
        inbox = Inbox()
        waiting = await putting(inbox, "hebei", range(1, 2 * MAX_QUEUED_MESSAGES))
        inbox.close()
        later = await putting(inbox, "tianjin", range(1, 2 * MAX_QUEUED_MESSAGES))
        async with asyncio.timeout(5):
            await asyncio.gather(*waiting, *later)
        assert inbox.waiting == MAX_QUEUED_MESSAGES

    run(scenario())


class BusyRunner(Recorder):
    """A handler that queues what is said as a replica does, for a runner that takes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.inbox = Inbox()
        self.handling = 0

    def link_up(self, link: Link) -> None:
        self.inbox.link_up(link.name)
        super().link_up(link)

    async def message_received(self, link: Link, message: PeerMessage) -> None:
        self.handling += 1
        self.changed.set()
        await self.inbox.put_message(link.name, NUMBER)
        self.handling -= 1
        self.changed.set()


def test_a_peer_that_links_anew_again_and_again_has_no_more_messages_waiting(
    tmp_path: Path,
) -> None:
    """Of the links before nothing is left: neither messages, nor who would hand them on."""

    async def scenario() -> None:
        place, busy = Place(tmp_path), BusyRunner()
        place.node("hebei")  # its certificate: the test plays it
        tianjin = place.node("tianjin", busy)
        context = client_context(tmp_path / "hebei.crt", tmp_path / "hebei.pem")
        flood = frame(ConsensusPayload(b"vote").encode()) * 3 * MAX_QUEUED_MESSAGES
        async with running(tianjin), AsyncExitStack() as links:
            links.callback(busy.inbox.close)
            for number in range(1, 6):
                peer = await links.enter_async_context(raw_peer(tianjin.port, context))
                await peer.say_hello(HELLO)
                await until(busy, lambda number=number: len(busy.up) == number)
                await peer.write(flood)
                await until(busy, lambda: busy.inbox.waiting == MAX_QUEUED_MESSAGES)
                await asyncio.sleep(0.2)
                assert busy.inbox.waiting == MAX_QUEUED_MESSAGES
                assert busy.handling == 1
            taken = 0
            while busy.inbox.waiting:
                await busy.inbox.take()
                taken += 1
                await asyncio.sleep(0.02)
            assert taken == 4 * MAX_QUEUED_MESSAGES, "the newest link is read on"

    run(scenario())
