"""Reading the whole store, slowly, so that damage is found before somebody needs what is damaged.

LevelDB verifies a block of a table when it reads it. A row that nobody asks for could rot unseen on one node after the
other, until more are damaged than can be fetched anew. Checksums do not show what was edited by hand: so each state
value is compared with the tree, and each log entry with the proven checkpoint. `mulu node fsck` compares all rows. The
first pass begins when the node starts.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Final

from ledger import keyspace
from ledger.application import Application
from ledger.proven import ProvenView
from ledger.store import Store

ROWS_AT_ONCE: Final = 100
PAUSE_S: Final = 0.2
"""Pause between two readings: together they take up to five percent of a core, and 10,000 rows take 20 seconds."""

INTERVAL_S: Final = 24 * 3600.0
"""Pause between two passes."""


async def scrub(store: Store, application: Application) -> None:
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
            proven = application.proven()
            if proven is not None:
                await asyncio.to_thread(_compare, keys, proven)
            start = keys[-1] + b"\0"
            await asyncio.sleep(PAUSE_S)
        await asyncio.sleep(INTERVAL_S)


def _compare(keys: list[bytes], proven: ProvenView) -> None:
    """Compare state values and log entries with what the network has vouched for.

    Raises:
        DamagedStoreError: one is not what it should be.
    """
    for key in keys:
        if key.startswith(keyspace.VALUES):
            proven.state.prove(keyspace.state_key_of(key))
        elif key.startswith(keyspace.ENTRIES) and keyspace.number_of(key) < proven.size:
            proven.proven_entry(keyspace.number_of(key))
