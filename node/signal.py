"""A signal that wakes everybody who waits for it, as often as it is given."""

from __future__ import annotations

import asyncio


class Signal:
    """Waiters see every notification that comes after they began to wait."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Wake all waiters."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the next notification; False when the time is over first."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        return True
