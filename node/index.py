"""The searchable index (to be filled from state and log)."""

from __future__ import annotations

import asyncio

from ledger.application import Application
from node.signal import Signal


class Index:
    def __init__(self, url: str, application: Application) -> None:
        self._url = url
        self._application = application

    async def run(self, news: Signal) -> None:
        while True:
            await news.wait(60.0)
            await asyncio.sleep(0)

    def close(self) -> None:
        pass
