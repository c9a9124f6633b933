"""Files that are replaced atomically and durably."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

PROCESS_ID_FILE: Final = "node.pid"
"""In a node's home: under which process id it runs."""


def replace_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file atomically and durably: new file, fsync, rename, fsync of the directory.

    Raises:
        OSError: the file cannot be written; the old one is untouched.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable.

    Raises:
        OSError: it is not known whether they are.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
