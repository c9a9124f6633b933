"""Reads that are made on threads of their own: bundles, changes of validators.

Consensus hands work to threads too, and must never wait behind what anybody asks for. So these have a pool of their
own, and each origin has one read in it at a time: who asks for many waits for itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from node.errors import TooManyReadsError

T = TypeVar("T")

THREADS: Final = 2

MAX_WAITING: Final = 512
"""Reads that wait or are made; those whose clients have left are among them."""

MAX_WAITING_OF_ONE: Final = MAX_WAITING // 8
"""Of these, one origin's."""


class ThreadReads:
    """Admits such reads and makes them. Belongs to the event loop."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="reads")
        self._waiting: Counter[str] = Counter()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def run(self, origin: str, read: Callable[[], T]) -> T:
        """Make a read of an origin (`node.origins`) when it is its turn.

        Raises:
            TooManyReadsError: the origin, or the node, has as many waiting as may be.
        """
        waiting = self._waiting
        if waiting[origin] >= MAX_WAITING_OF_ONE or waiting.total() >= MAX_WAITING:
            raise TooManyReadsError("too many bundles at once; try again later or another node")
        waiting[origin] += 1
        try:
            async with self._turns.setdefault(origin, asyncio.Lock()):
                return await asyncio.get_running_loop().run_in_executor(self._executor, read)
        finally:
            waiting[origin] -= 1
            if not waiting[origin]:
                del waiting[origin]

    def close(self) -> None:
        """Wait for what is being made; what waits in the pool is not made any more."""
        self._executor.shutdown(wait=True, cancel_futures=True)
