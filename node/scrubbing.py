"""Reading the whole store, slowly, so that damage is found before somebody needs what is damaged.

LevelDB verifies a block of a table when it reads it. A row that nobody asks for could rot unseen on one node after the
other, until more are damaged than can be fetched anew. The first pass begins when the node starts.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Final

from ledger.store import Store

ROWS_AT_ONCE: Final = 500
PAUSE_S: Final = 0.05
"""Pause between two readings: together they take some percent of a core, and 10,000 rows take a second."""

INTERVAL_S: Final = 24 * 3600.0
"""Pause between two passes."""


async def scrub(store: Store) -> None:
    """Read every row again and again, until cancelled.

    Raises:
        DamagedStoreError: a row does not verify.
        StorageError: a row cannot be read.
    """
    while True:
        start = b""
        while True:
            keys = [key for key, _ in islice(store.iterate(b"", start=start), ROWS_AT_ONCE)]
            if not keys:
                break
            start = keys[-1] + b"\0"
            await asyncio.sleep(PAUSE_S)
        await asyncio.sleep(INTERVAL_S)
