"""Reads that take long: in slices on the event loop, few at once, and the same answer once for all who ask for it.

Consensus runs on the same loop, and a thread would take turns with it at every socket operation (see `node.workers`).
So such a read is a generator that yields after each small step. All of them together hold the loop for `SLICE_S` and
then leave it alone for as long as they held it: however many are asked for, half of the time is the node's own.
Organisations take turns, so that one that asks for much waits for itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from node.errors import TooManyReadsError

T = TypeVar("T")

SLICE_S: Final = 0.005
"""How long the loop is held at a time, and the step that was begun."""

MAX_READS: Final = 16
"""Long reads that a node has at once."""

MAX_READS_OF_ONE: Final = MAX_READS // 4
"""Of these, one organisation's."""


class LongReads:
    """Admits long reads and runs them. Belongs to the event loop."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._turn = asyncio.Lock()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._rest_until_s = 0.0

    @contextmanager
    def admitted(self, organisation: str) -> Iterator[None]:
        """Count a read of an organisation while it lasts.

        Raises:
            TooManyReadsError: the organisation, or the node, has as many as it may.
        """
        if self._open[organisation] >= MAX_READS_OF_ONE or self._open.total() >= MAX_READS:
            raise TooManyReadsError("too many long reads at once; try again later or another node")
        self._open[organisation] += 1
        try:
            yield
        finally:
            self._open[organisation] -= 1
            if not self._open[organisation]:
                del self._open[organisation]

    async def run(self, organisation: str, steps: Generator[None, None, T]) -> T:
        """Run `steps` to the end, slice by slice, and return its result."""
        own_turn = self._turns.setdefault(organisation, asyncio.Lock())
        while True:
            # One of each organisation waits for the turn: locks are first come, first served.
            async with own_turn, self._turn:
                await asyncio.sleep(max(0.0, self._rest_until_s - time.monotonic()))
                began_s = time.monotonic()
                try:
                    while time.monotonic() - began_s < SLICE_S:
                        next(steps)
                except StopIteration as end:
                    result: T = end.value
                    return result
                finally:
                    now_s = time.monotonic()
                    self._rest_until_s = now_s + (now_s - began_s)


Moment = tuple[int, int]
"""Of the proven view: the size of its log and the time in seconds that is vouched for. It only goes up."""

NEVER: Final[Moment] = (0, 0)
"""Of an answer that is nobody else's."""


class SharedAnswers:
    """Answers of one moment by question: who asks for what is being computed, or has been, is given the same."""

    def __init__(self) -> None:
        self._moment = NEVER
        self._answers: dict[str, bytes] = {}
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def find(self, question: str, moment: Moment) -> bytes | None:
        """Return the answer if there is one that is as new as `moment`."""
        return self._answers.get(question) if self._moment >= moment else None

    async def get(
        self, question: str, moment: Moment, compute: Callable[[], Awaitable[tuple[Moment, bytes]]]
    ) -> bytes:
        """Return an answer as new as `moment`: one that is there, or comes while we wait, or else our own."""
        asking = self._asking.setdefault(question, asyncio.Lock())
        async with asking:
            found = self.find(question, moment)
            if found is not None:
                return found
            computed_moment, answer = await compute()
            self._keep(question, computed_moment, answer)
            return answer

    def _keep(self, question: str, moment: Moment, answer: bytes) -> None:
        if moment == NEVER:
            return
        if moment > self._moment:
            self._moment, self._answers = moment, {}
        if moment == self._moment and len(self._answers) < MAX_READS:
            self._answers[question] = answer
