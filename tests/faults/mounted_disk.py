"""`losing_disk` below real processes: a FUSE mount, served by a process of its own (`disk_server`).

with mounted_disk(backing, mountpoint) as disk:     # what lies in `backing` is on the disk
    …                                               # processes use the mountpoint, and are killed
    disk.cut_power(seed=7)                          # what they had not synced is gone, or torn by a seed
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.node.processes import ROOT, eventually


def missing() -> str | None:
    """Return why no disk can be mounted here, or None."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if not Path("/dev/fuse").exists():
        return "there is no /dev/fuse"
    if shutil.which("fusermount") is None:
        return "fusermount is not installed (Debian: fuse3)"
    try:
        importlib.import_module("mfusepy")
    except OSError as error:  # the binding is there, the library is not
        return f"libfuse is not installed (Debian: libfuse2 or libfuse3-3): {error}"
    return None


@dataclass
class MountedDisk:
    """A mount, seen from the test. `ignore_syncs` plants the bug that tests of power loss must find."""

    backing: Path
    mountpoint: Path
    ignore_syncs: bool = False
    _server: subprocess.Popen[bytes] | None = None

    @property
    def _seed_file(self) -> Path:
        return self.backing.with_name(f"{self.backing.name}.seed")

    @property
    def _log(self) -> Path:
        return self.backing.with_name(f"{self.backing.name}.log")

    def mount(self) -> None:
        """Serve the backing directory at the mountpoint."""
        command = [sys.executable, "-m", "tests.faults.disk_server"]
        command += [str(self.backing), str(self.mountpoint), str(self._seed_file)]
        command += ["--ignore-syncs"] * self.ignore_syncs
        with self._log.open("ab") as log:
            self._server = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        eventually(self._is_mounted)

    def cut_power(self, seed: int | None = None) -> None:
        """Lose what was not synced, all of it or a part that follows from a seed; the disk is there again after it.

        Whoever used the disk has been killed before.
        """
        self.end(seed)
        self.mount()

    def end(self, seed: int | None = None) -> None:
        """Unmount, which loses what was not synced."""
        assert self._server is not None, "mounted"
        self._seed_file.write_text("" if seed is None else str(seed), "ascii")
        subprocess.run(["umount", str(self.mountpoint)], check=True)
        assert self._server.wait(30) == 0, self._log.read_text("utf-8")
        self._server = None

    def close(self) -> None:
        """Take the mount away, whatever uses it still."""
        if self._server is not None:
            subprocess.run(["umount", "--lazy", str(self.mountpoint)], check=False)
            self._server.kill()
            self._server.wait(10)

    def _is_mounted(self) -> bool:
        assert self._server is not None
        assert self._server.poll() is None, self._log.read_text("utf-8")
        return self.mountpoint.is_mount()


@contextlib.contextmanager
def mounted_disk(
    backing: Path, mountpoint: Path, *, ignore_syncs: bool = False
) -> Iterator[MountedDisk]:
    """Mount a disk over an empty directory, and take it away whatever happens."""
    disk = MountedDisk(backing, mountpoint, ignore_syncs)
    try:
        disk.mount()
        yield disk
    finally:
        disk.close()
