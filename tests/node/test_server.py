"""The HTTP server's own parts: what is written in one turn of the loop leaves as one write."""

from __future__ import annotations

import asyncio
from typing import Any

from node.api.connection import GatheringTransport


class Recorder(asyncio.Transport):
    """Keeps what is done to a transport, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[Any] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.done.append(bytes(data))

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")

    def is_closing(self) -> bool:
        return bool({"close", "abort"}.intersection(self.done))


def test_head_and_body_of_an_answer_leave_as_one_write() -> None:
    async def answer() -> list[Any]:
        recorder = Recorder()
        transport = GatheringTransport(recorder, asyncio.get_running_loop())
        transport.write(b"head ")
        transport.write(b"body")
        before = list(recorder.done)
        await asyncio.sleep(0)
        transport.write(b"next")
        await asyncio.sleep(0)
        assert not transport.is_closing()
        return [before, *recorder.done]

    assert asyncio.run(answer()) == [[], b"head body", b"next"]


def test_what_was_written_before_a_close_leaves_and_before_an_abort_does_not() -> None:
    async def end(how: str) -> list[Any]:
        recorder = Recorder()
        transport = GatheringTransport(recorder, asyncio.get_running_loop())
        transport.write(b"last")
        getattr(transport, how)()
        await asyncio.sleep(0)
        assert transport.is_closing()
        return recorder.done

    assert asyncio.run(end("close")) == [b"last", "close"]
    assert asyncio.run(end("abort")) == ["abort"]
