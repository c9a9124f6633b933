"""Files that are made or replaced whole and durably: after a crash there is the old one or the new one, never a part.

A directory is synced after each change of its names: until then a file system may forget them. Blocking I/O.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_file(
    path: Path, data: bytes, *, mode: int = 0o600, temporary: Path | None = None
) -> None:
    """Replace a file atomically and durably: new file, fsync, rename, fsync of the directory.

    `temporary` is the new file until it is renamed, beside `path`, where one process at a time replaces that: what a
    crash leaves of it is overwritten the next time. Default: a name that nobody else uses.

    Raises:
        OSError: the file cannot be written, and the old one is untouched; or, if it is the directory that cannot be
            synced, it is not known which of them a crash would leave.
    """
    if temporary is None:
        descriptor, temporary = _new_file_beside(path)
    else:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        _write_synced(descriptor, data, mode)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def create_file(path: Path, data: bytes) -> None:
    """Create a file of mode 0600 durably, and never in the place of another one.

    Raises:
        FileExistsError: there is one, untouched.
        OSError: the file cannot be written.
    """
    descriptor, temporary = _new_file_beside(path)
    try:
        _write_synced(descriptor, data, 0o600)
        os.link(temporary, path)  # unlike a rename, never replaces
    finally:
        temporary.unlink(missing_ok=True)
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


def _new_file_beside(path: Path) -> tuple[int, Path]:
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    except OSError as error:
        error.filename = str(path)  # not a name that nobody has asked for
        raise
    return descriptor, Path(name)


def _write_synced(descriptor: int, data: bytes, mode: int) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
