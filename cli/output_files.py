"""Files that commands write where people say: regular files only, and through symbolic links.

A file is replaced whole, by another one that is renamed. That would put a file in the place of a device or a pipe, and
of a link, whose owner wants what it points to changed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cli.output import CommandError
from ledger.files import replace_file


def check_output(path: Path) -> Path:
    """Return the file that output at `path` goes to: the end of its symbolic links.

    Commands ask before they do what cannot be undone.

    Raises:
        CommandError: there is something that is no regular file.
    """
    try:
        target = Path(os.path.realpath(path))
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return target
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise CommandError(f"cannot write {path}: {error}") from None
    if not stat.S_ISREG(mode):
        raise CommandError(f"{path} is no regular file", hint="Choose another file to write.")
    return target


def write_output(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file or replace it; readable by its owner only, unless `mode` says otherwise.

    Raises:
        CommandError: there is something that is no regular file.
        OSError: it cannot be written.
    """
    replace_file(check_output(path), data, mode=mode)
