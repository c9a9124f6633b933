"""How much whoever is behind asks for at once, and of whom."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ledger.keys import SoftwareSigner
from ledger.validators import Validator, ValidatorSet
from node.block_sync import ANSWER_TIMEOUT_S, NEXT_PEER_S, BlockSync, Demand
from node.messages import MAX_SYNC_BLOCKS, Blocks, GetBlocks, Priority, decode_message

NAMES = ("hebei", "national", "tianjin")


class Peer:
    """One end of a link that keeps what it was asked for."""

    role = "validator"
    sync_only = False

    def __init__(self, name: str, height: int) -> None:
        self.name = name
        self.height = height

    def send(self, frame: bytes, priority: Priority) -> bool:
        return True


class Links:
    """Links that carry requests nowhere: the test answers them."""

    def __init__(self) -> None:
        self.links = {name: Peer(name, 10) for name in NAMES}
        self.asked: asyncio.Queue[tuple[str, GetBlocks]] = asyncio.Queue()

    def set_height(self, height: int) -> None:
        pass

    def send(self, name: str, frame: bytes, priority: Priority) -> bool:
        message = decode_message(frame)
        assert isinstance(message, GetBlocks)
        self.asked.put_nowait((name, message))
        return True

    def broadcast(
        self, frame: bytes, priority: Priority, names: Iterable[str] | None = None
    ) -> None:
        pass

    def cut_off(self, name: str, reason: str) -> None:
        pass


async def _behind(*, helped: bool = True) -> tuple[BlockSync, Links, asyncio.Task[None]]:
    """Return the synchronisation of a follower at height 9, whose peers are at 10; whether answers get it on."""
    links, height = Links(), [9]

    async def apply_blocks(blocks: object) -> int:
        height[0] += helped
        return int(helped)

    validators = ValidatorSet.of(
        Validator(name, name, *(SoftwareSigner.generate().public_key for _ in range(3)))
        for name in ("beijing", *NAMES)
    )
    sync = BlockSync(links, lambda: height[0], apply_blocks, lambda: False, lambda: validators)
    running = asyncio.create_task(sync.run())
    sync.peer_height(links.links["hebei"], 10)
    return sync, links, running


def test_a_peer_that_does_not_answer_costs_a_moment_and_is_not_asked_next_time() -> None:
    async def scenario() -> None:
        sync, links, running = await _behind()
        began_s = asyncio.get_running_loop().time()
        (silent, _), (other, request) = await links.asked.get(), await links.asked.get()
        assert asyncio.get_running_loop().time() - began_s < 5 * NEXT_PEER_S
        assert silent != other
        sync.received(other, Blocks(request.from_height, ()))
        for name in NAMES:
            sync.peer_height(links.links[name], 11)
        again, request = await links.asked.get()
        assert request.from_height == 11
        assert again != silent
        running.cancel()

    asyncio.run(scenario())


def test_an_answer_that_comes_after_the_next_peer_was_asked_still_counts() -> None:
    async def scenario() -> None:
        sync, links, running = await _behind()
        (slow, request), _ = await links.asked.get(), await links.asked.get()
        sync.received(slow, Blocks(request.from_height, ()))
        sync.peer_height(links.links["hebei"], 11)
        while request.from_height == 10:
            _, request = await links.asked.get()
        assert request.from_height == 11
        running.cancel()

    asyncio.run(scenario())


def test_when_all_who_were_asked_are_gone_another_is_asked_at_once() -> None:
    async def scenario() -> None:
        sync, links, running = await _behind()
        gone, _ = await links.asked.get()
        del links.links[gone]
        sync.link_down(gone)
        other, _ = await links.asked.get()
        assert other != gone
        running.cancel()

    asyncio.run(scenario())


def test_a_late_answer_of_nothing_does_not_make_it_wait_for_anybody() -> None:
    async def scenario() -> None:
        sync, links, running = await _behind(helped=False)
        for name in NAMES:
            links.links[name].height = 9
        links.links["hebei"].height = 10**6  # on an idle chain only the liar claims more
        liar, request = await links.asked.get()
        assert liar == "hebei"
        await asyncio.sleep(1.5 * NEXT_PEER_S)
        sync.received(liar, Blocks(request.from_height, ()))
        await asyncio.sleep(0.1)
        assert sync._demand.next_peer_s == NEXT_PEER_S
        began_s = asyncio.get_running_loop().time()
        for name in NAMES:
            sync.peer_height(links.links[name], 10)
        honest, _ = await links.asked.get()
        assert honest != liar
        assert asyncio.get_running_loop().time() - began_s < 5 * NEXT_PEER_S
        running.cancel()

    asyncio.run(scenario())


def test_quick_answers_let_it_ask_for_the_most_within_a_few_requests() -> None:
    demand = Demand()
    for _ in range(6):
        demand.answered(0.05)
    assert demand.count == MAX_SYNC_BLOCKS
    assert demand.next_peer_s == NEXT_PEER_S


def test_slow_answers_let_it_ask_for_less_and_the_next_peer_later() -> None:
    demand = Demand()
    for _ in range(3):
        demand.answered(0.05)
    before = demand.count
    demand.answered(16.0)
    assert demand.count < before
    assert demand.next_peer_s > 16.0
    for _ in range(10):
        demand.answered(1_000.0)
    assert demand.count == 1
    assert demand.next_peer_s == ANSWER_TIMEOUT_S


def test_no_answer_at_all_lets_it_ask_for_one_block() -> None:
    demand = Demand()
    demand.answered(0.05)
    demand.not_answered()
    assert demand.count == 1
