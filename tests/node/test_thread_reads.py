"""Reads on threads: an origin has one at a time, waits for itself, and not for ever."""

from __future__ import annotations

import asyncio
import threading

import pytest

from node.errors import TooManyReadsError
from node.thread_reads import MAX_WAITING, MAX_WAITING_OF_ONE, ThreadReads


def test_who_asks_for_many_waits_for_itself() -> None:
    reads = ThreadReads()
    go_on = threading.Event()
    made: list[str] = []

    def held(name: str) -> str:
        assert go_on.wait(30)
        made.append(name)
        return name

    async def ask() -> None:
        async with asyncio.TaskGroup() as tasks:
            greedy = [
                tasks.create_task(reads.run("greedy", lambda: held("greedy")))
                for _ in range(MAX_WAITING_OF_ONE)
            ]
            await asyncio.sleep(0)
            with pytest.raises(TooManyReadsError):
                await reads.run("greedy", lambda: held("refused"))
            # The pool has a thread left: one of the greedy origin's reads is in it, not as many as there are threads.
            assert await asyncio.wait_for(reads.run("modest", lambda: "modest"), 30) == "modest"
            assert not any(one.done() for one in greedy)
            go_on.set()
        assert made == ["greedy"] * MAX_WAITING_OF_ONE
        assert await reads.run("greedy", lambda: "again") == "again"

    asyncio.run(ask())
    reads.close()


def test_all_origins_together_are_bounded_and_an_error_gives_its_place_back() -> None:
    reads = ThreadReads()
    go_on = threading.Event()

    def fail() -> None:
        assert go_on.wait(30)
        raise ValueError("this read")

    async def ask() -> None:
        waiting = [
            asyncio.ensure_future(reads.run(f"origin {number}", fail))
            for number in range(MAX_WAITING)
        ]
        await asyncio.sleep(0)
        with pytest.raises(TooManyReadsError):
            await reads.run("another", fail)
        go_on.set()
        for one in waiting:
            with pytest.raises(ValueError, match="this read"):
                await one
        assert await reads.run("another", lambda: 1) == 1

    asyncio.run(ask())
    reads.close()
