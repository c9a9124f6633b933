"""Tables of all links of a directory: traces and checks that need one wait while there are two."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from node.api import directory
from node.long_reads import LongReads
from node.services import LINK_TABLES


class Links:
    """In an index's place: the links of a small directory."""

    async def all_links(self) -> list[tuple[str, str]]:
        await asyncio.sleep(0)
        return [("directory/system/s", "directory/responsibility/r")]


def test_however_many_ask_few_tables_are_kept_at_a_time() -> None:
    async def ask() -> tuple[int, int]:
        services: Any = SimpleNamespace(
            index=Links(), long_reads=LongReads(), link_tables=asyncio.Semaphore(LINK_TABLES)
        )
        kept, most, served = 0, 0, 0

        async def trace(organisation: str) -> None:
            nonlocal kept, most, served
            async with directory._dependents(services, organisation) as dependents:
                assert len(dependents) == 1
                kept, served = kept + 1, served + 1
                most = max(most, kept)
                await asyncio.sleep(0.001)
                kept -= 1

        async with asyncio.TaskGroup() as tasks:
            for number in range(12):
                tasks.create_task(trace(f"organisation {number % 3}"))
        return most, served

    assert asyncio.run(ask()) == (LINK_TABLES, 12)
