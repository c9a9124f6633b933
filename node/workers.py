"""Worker threads: each runs what it is given one after the other, in the order given.

A node has two. The *application* worker checks, builds, validates and executes; the *storage* worker writes: the
write-ahead log, commits, guards. What must not overlap runs on the same worker, so nothing here needs a lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Worker:
    """One thread with a queue."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Run a function on the thread and return its result; if we are cancelled, it still runs to its end."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, function, *arguments)

    def close(self) -> None:
        """Wait until everything that was given has run, and end the thread."""
        self._executor.shutdown(wait=True)
