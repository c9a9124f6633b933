"""Workers that write: once one of them has failed, none writes any more."""

from __future__ import annotations

import asyncio

import pytest

from ledger.errors import StorageError
from node.workers import DiskState, Worker


def test_after_a_failed_write_no_worker_of_the_same_disk_runs_anything() -> None:
    async def scenario() -> None:
        disk = DiskState()
        storage, signing, another = Worker("a", disk), Worker("b", disk), Worker("c")
        ran: list[str] = []

        def fail() -> None:
            raise StorageError("no space left")

        assert await storage.run(lambda: 7) == 7
        with pytest.raises(ValueError, match="not a write"):
            await storage.run(_raise, ValueError("not a write"))
        await signing.run(ran.append, "before")
        with pytest.raises(StorageError, match="no space left"):
            await storage.run(fail)
        for worker in (storage, signing):
            with pytest.raises(StorageError, match="a write has failed"):
                await worker.run(ran.append, "after")
        await another.run(ran.append, "on another disk")
        assert ran == ["before", "on another disk"]
        for worker in (storage, signing, another):
            worker.close()

    asyncio.run(scenario())


def _raise(error: Exception) -> None:
    raise error
