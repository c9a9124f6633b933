"""Who runs what: worker threads, and the gate through which everything uses the application.

Python threads that compute take turns at one interpreter, and every socket operation of the event loop would wait for
such a turn. So short work runs on the loop itself, and only work that would hold it up for long, or that waits for a
disk, goes to a thread. The *storage* worker writes: the write-ahead log, commits, guards, one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar, TypeVarTuple

from ledger.errors import StorageError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

SWITCH_INTERVAL_S: Final = 0.001
"""How long a computing thread may keep the interpreter while the event loop waits for it."""


class DiskState:
    """What all who write to a process' disk know of it: once a write has failed, none of them writes any more.

    The process ends then, but not all its parts at the same moment; what they sign must not rest on what is unknown.
    """

    def __init__(self) -> None:
        self.has_failed = False


class Worker:
    """One thread with a queue. `disk` is shared by the workers that write."""

    def __init__(self, name: str, disk: DiskState | None = None) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._disk = disk or DiskState()

    def beside(self, name: str) -> Worker:
        """Return another worker of the same disk."""
        return Worker(name, self._disk)

    async def run(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Run a function on the thread and return its result; if we are cancelled, it still runs to its end.

        Raises:
            StorageError: a write has failed before, here or at a worker of the same disk.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._run, function, *arguments)

    def _run(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        if self._disk.has_failed:
            raise StorageError("a write has failed: this process writes and signs nothing more")
        try:
            return function(*arguments)
        except StorageError:
            self._disk.has_failed = True
            raise

    def close(self) -> None:
        """Wait until everything that was given has run, and end the thread."""
        self._executor.shutdown(wait=True)


class Gate:
    """One user of the application at a time; `lock` is held while it is used, on `worker` where that takes long."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.lock = asyncio.Lock()

    async def run(self, function: Callable[[*Ts], T], *arguments: *Ts, long: bool = False) -> T:
        """Run a function that uses the application: on a thread if it is `long`, else at once."""
        async with self.lock:
            return await self.use(function, *arguments, long=long)

    async def use(self, function: Callable[[*Ts], T], *arguments: *Ts, long: bool = False) -> T:
        """Run a function as `run` does; the caller holds the lock."""
        assert self.lock.locked()
        if long:
            return await self.worker.run(function, *arguments)
        return function(*arguments)
