"""`python -m tests.faults.disk_server <backing> <mountpoint> <seed file>`: a losing disk as a FUSE mount.

All that lies in the backing directory is on the disk. When it is unmounted, power is lost: what is left replaces the
backing directory. A number in the seed file lets a part of what was not synced survive; see `losing_disk`.
`--ignore-syncs` plants the bug that tests of power loss must find. It needs root, /dev/fuse and libfuse 2 or 3.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import signal
import stat
import sys
from pathlib import Path
from typing import Any, Final

import mfusepy

from tests.faults.losing_disk import Directory, File, LosingDisk, Node

_OPTIONS: Final = {
    "foreground": True,
    "nothreads": True,
    "big_writes": True,  # libfuse 2 cuts writes into pages without it
    "attr_timeout": 3600,  # nothing changes but through the kernel
    "entry_timeout": 3600,
    "auto_unmount": True,  # whatever ends this process
    "fsname": "losing-disk",
}
_PARENT_DEATH_SIGNAL: Final = 1


class _Operations(mfusepy.Operations):  # type: ignore[misc]
    """The model as FUSE calls it. An open file is known by its handle, whatever becomes of its name."""

    use_ns = True

    def __init__(self, disk: LosingDisk, *, ignore_syncs: bool) -> None:
        self._disk = disk
        self._ignore_syncs = ignore_syncs
        self._open: dict[int, File] = {}
        self._next_handle = 1

    # --- names -------------------------------------------------------------------------------

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        return _attributes(self._disk.find(path) if fh is None else self._open[fh])

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *self._disk.directory(path).names]

    def create(self, path: str, mode: int, fi: object = None) -> int:
        file = File(mode & 0o777)
        self._disk.create(path, file)
        return self._opened(file)

    def mkdir(self, path: str, mode: int) -> int:
        self._disk.create(path, Directory(mode & 0o777))
        return 0

    def unlink(self, path: str) -> int:
        self._disk.remove(path)
        return 0

    def rmdir(self, path: str) -> int:
        self._disk.remove(path)
        return 0

    def rename(self, old: str, new: str) -> int:
        self._disk.rename(old, new)
        return 0

    def chmod(self, path: str, mode: int) -> int:
        self._disk.find(path).mode = mode & 0o777
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        return 0

    def utimens(self, path: str, times: object = None) -> int:
        return 0

    # --- content -----------------------------------------------------------------------------

    def open(self, path: str, flags: int) -> int:
        return self._opened(self._disk.file(path))

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return bytes(self._open[fh].content[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._open[fh].write(data, offset)
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        file = self._disk.file(path) if fh is None else self._open[fh]
        file.truncate(length)
        return 0

    def release(self, path: str, fh: int) -> int:
        del self._open[fh]
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        if not self._ignore_syncs:
            self._disk.sync_file(self._open[fh])
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        if not self._ignore_syncs:
            self._disk.sync_directory(self._disk.directory(path))
        return 0

    def _opened(self, file: File) -> int:
        handle = self._next_handle
        self._next_handle += 1
        self._open[handle] = file
        return handle


def _attributes(node: Node) -> dict[str, Any]:
    if isinstance(node, File):
        return {"st_mode": stat.S_IFREG | node.mode, "st_nlink": 1, "st_size": len(node.content)}
    return {"st_mode": stat.S_IFDIR | node.mode, "st_nlink": 2}


def main(arguments: list[str]) -> int:
    """Serve a mount until it is unmounted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("backing", type=Path)
    parser.add_argument("mountpoint", type=Path)
    parser.add_argument("seed_file", type=Path)
    parser.add_argument("--ignore-syncs", action="store_true")
    options = parser.parse_args(arguments)
    # Whoever started us may be killed: then nobody is left to unmount.
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    disk = LosingDisk.load(options.backing)
    operations = _Operations(disk, ignore_syncs=options.ignore_syncs)
    mfusepy.FUSE(operations, str(options.mountpoint), **_OPTIONS)
    seed = options.seed_file.read_text("ascii")
    disk.lose_power(int(seed) if seed else None)
    shutil.rmtree(options.backing)
    disk.save(options.backing)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
