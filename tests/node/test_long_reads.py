"""Long reads: they leave the event loop to others, organisations take turns, and one answer serves many."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from itertools import pairwise

import httpx
import pytest
from fastapi import FastAPI

from node.api.problems import install
from node.errors import TooManyReadsError
from node.long_reads import MAX_READS, MAX_READS_OF_ONE, NEVER, LongReads, Moment, SharedAnswers

STEP_S = 0.002
STEPS = 30


def steps(done: list[str], who: str) -> Generator[None, None, str]:
    """A read of some 60 ms that computes."""
    for _ in range(STEPS):
        time.sleep(STEP_S)
        done.append(who)
        yield
    return who


def test_however_many_reads_run_the_loop_is_held_for_a_slice_only() -> None:
    async def scenario() -> None:
        reads, done, seen = LongReads(), list[str](), [0]

        async def beat() -> None:
            while True:
                await asyncio.sleep(0)
                seen.append(len(done))

        beating = asyncio.create_task(beat())
        whose = ["a", "a", "a", "b", "c", "d"]
        assert await asyncio.gather(*(reads.run(who, steps(done, who)) for who in whose)) == whose
        beating.cancel()
        held = max(after - before for before, after in pairwise(seen))
        assert len(done) == STEPS * len(whose)
        assert 1 <= held <= 3  # a slice of 5 ms, and the step of 2 ms that was begun

    asyncio.run(scenario())


def test_after_each_slice_the_loop_is_left_alone_for_as_long() -> None:
    async def scenario() -> None:
        reads, done, began_s = LongReads(), list[str](), time.monotonic()
        await asyncio.gather(*(reads.run(who, steps(done, who)) for who in "ab"))
        computed_s = 2 * STEPS * STEP_S
        assert time.monotonic() - began_s > 1.7 * computed_s

    asyncio.run(scenario())


def test_organisations_take_turns_whatever_one_asks_for() -> None:
    async def scenario() -> None:
        reads, done = LongReads(), list[str]()
        greedy = [asyncio.create_task(reads.run("a", steps(done, "a"))) for _ in range(6)]
        await asyncio.sleep(0)
        assert await reads.run("b", steps(done, "b")) == "b"
        assert done.count("a") <= 2 * STEPS < 6 * STEPS
        await asyncio.gather(*greedy)

    asyncio.run(scenario())


def test_an_error_of_a_read_is_its_callers_and_the_next_runs() -> None:
    async def scenario() -> None:
        def failing() -> Generator[None, None, None]:
            yield
            raise ValueError("wrong")

        reads, done = LongReads(), list[str]()
        with pytest.raises(ValueError, match="wrong"):
            await reads.run("a", failing())
        assert await reads.run("a", steps(done, "a")) == "a"

    asyncio.run(scenario())


def test_an_organisation_has_few_reads_at_once_and_the_node_as_well() -> None:
    reads = LongReads()

    def admit(organisation: str) -> None:
        admitted = reads.admitted(organisation)
        admitted.__enter__()
        open_reads.append(admitted)

    open_reads: list[object] = []
    for _ in range(MAX_READS_OF_ONE):
        admit("a")
    with pytest.raises(TooManyReadsError):
        admit("a")
    for number in range(MAX_READS - MAX_READS_OF_ONE):
        admit(f"other {number}")
    with pytest.raises(TooManyReadsError):
        admit("b")
    open_reads.pop().__exit__(None, None, None)  # type: ignore[attr-defined]
    with reads.admitted("b"):
        pass


def test_who_asks_for_too_many_is_told_so_with_a_code_of_its_own() -> None:
    app = FastAPI()
    install(app)

    @app.get("/")
    async def long_read() -> None:
        raise TooManyReadsError("too many long reads at once")

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            return await client.get("/")

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()["code"]) == (503, "too_many_reads")


def test_one_answer_serves_all_who_ask_at_its_moment() -> None:
    async def scenario() -> None:
        answers, computed = SharedAnswers(), list[Moment]()

        async def ask(moment: Moment, now: Moment) -> bytes:
            async def compute() -> tuple[Moment, bytes]:
                await asyncio.sleep(0)
                computed.append(now)
                return now, str(now).encode()

            return await answers.get("check", moment, compute)

        assert set(await asyncio.gather(*(ask((7, 1), (7, 1)) for _ in range(5)))) == {b"(7, 1)"}
        assert answers.find("check", (7, 1)) == b"(7, 1)"
        assert answers.find("check", (7, 2)) is None and answers.find("other", (7, 1)) is None
        assert await ask((7, 2), (8, 3)) == b"(8, 3)"
        assert computed == [(7, 1), (8, 3)]
        assert answers.find("check", (7, 2)) == b"(8, 3)"

    asyncio.run(scenario())


def test_an_answer_of_no_moment_serves_only_who_asked() -> None:
    async def scenario() -> None:
        answers = SharedAnswers()

        async def compute() -> tuple[Moment, bytes]:
            return NEVER, b"not all of it"

        assert await answers.get("check", (7, 1), compute) == b"not all of it"
        assert answers.find("check", (7, 1)) is None and answers.find("check", NEVER) is None

    asyncio.run(scenario())
