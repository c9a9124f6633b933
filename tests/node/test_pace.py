"""When heights start, whatever the wall clock says."""

from __future__ import annotations

import asyncio
import time

import pytest

from node.config import ConsensusConfig
from node.pace import Pace

HOUR_MS = 3_600_000


@pytest.mark.parametrize("age_ms", [HOUR_MS, -HOUR_MS], ids=["an hour fast", "an hour slow"])
def test_a_wrong_clock_hastens_at_most_one_heartbeat(age_ms: int) -> None:
    async def scenario() -> tuple[float, float]:
        started: asyncio.Queue[int] = asyncio.Queue()
        config = ConsensusConfig(heartbeat_interval_ms=1_000, block_pause_ms=0)
        pace = Pace(config, lambda: False, started.put_nowait)
        taken_s = []
        for height in (2, 3):
            began_s = time.monotonic()
            pace.next_height(height, age_ms=age_ms if height == 2 else 0)
            async with asyncio.timeout(30):
                assert await started.get() == height
            taken_s.append(time.monotonic() - began_s)
        return taken_s[0], taken_s[1]

    first_s, second_s = asyncio.run(scenario())
    assert first_s < 0.9 or age_ms < 0
    assert second_s > 0.9
