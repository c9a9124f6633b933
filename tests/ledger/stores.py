"""Small stores on a real disk for tests, and ways to find and to damage their files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ledger import keyspace
from ledger.database import Batch, Head
from ledger.store import Store

HASH = bytes(range(32))


def batch(**rows: bytes | None) -> Batch:
    result = Batch()
    for key, value in rows.items():
        if value is None:
            result.delete(key.encode())
        else:
            result.put(key.encode(), value)
    return result


def filled(directory: Path, heights: int = 3, rows: int = 1) -> Path:
    """Return a closed store's directory after a batch for each height."""
    store = Store.open(directory)
    for height in range(1, heights + 1):
        changes = Batch()
        for row in range(rows):
            changes.put(keyspace.entry(height * rows + row), os.urandom(64))
        store.write(changes, Head(height, HASH))
    store.close()
    return directory


def with_tables(directory: Path) -> Path:
    """Return a closed store's directory, everything it held moved from its log to a table."""
    filled(directory, heights=20, rows=200)
    script = "import plyvel, sys; db = plyvel.DB(sys.argv[1]); db.compact_range(); db.close()"
    subprocess.run([sys.executable, "-c", script, str(directory / "db")], check=True)
    assert list((directory / "db").glob("*.ldb"))
    return directory


def only(directory: Path, pattern: str) -> Path:
    """Return the one file of the database that matches, or the largest."""
    return max((directory / "db").glob(pattern), key=lambda path: path.stat().st_size)


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x40
    path.write_bytes(content)
