"""A disk that loses what was not synced: the model, without a mount. `mounted_disk` puts it below real processes.

What processes see lies in memory beside what is on the disk. The rules, stricter than those of ext4, XFS and Btrfs:

- `sync_file` makes a file's content and its own name durable (its creation, its renames), and nothing else.
- `sync_directory` makes all names of a directory durable, but no content, nor the names of its subdirectories' files.
- When power is lost, everything else is gone. With a seed, instead, some of it survives, as a disk that was busy
  writing leaves it: of the changes of names a prefix (file systems journal them in order), of each file a part of its
  written sectors and some length between the old and the new one, with zeros where a sector did not arrive.
- Modes are durable at once; there are no links.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias

SECTOR_BYTES: Final = 512
"""What a disk writes whole or not at all."""


@dataclass(eq=False, slots=True)
class File:
    """A file: its content as processes see it, and as the disk has it."""

    mode: int
    content: bytearray = field(default_factory=bytearray)
    synced: bytearray = field(default_factory=bytearray)
    unsynced_sectors: set[int] = field(default_factory=set)

    def write(self, data: bytes, offset: int) -> None:
        """Write, filling a gap before `offset` with zeros."""
        if offset > len(self.content):
            self.truncate(offset)
        end = offset + len(data)
        self.content[offset:end] = data
        self._note(offset, end)

    def truncate(self, length: int) -> None:
        """Cut the content, or extend it with zeros."""
        old = len(self.content)
        if length < old:
            del self.content[length:]
        else:
            self.content.extend(bytes(length - old))
        self._note(min(old, length), max(old, length))

    def sync(self) -> None:
        """Bring the disk up to what processes see."""
        self._bring_to_disk(self.unsynced_sectors, len(self.content))
        self.unsynced_sectors.clear()

    def lose(self, survival: random.Random | None) -> None:
        """Forget what is not on the disk."""
        if survival is not None:
            survivors = [one for one in sorted(self.unsynced_sectors) if survival.random() < 0.5]
            self._bring_to_disk(survivors, self._surviving_length(survival))
        self.content = bytearray(self.synced)
        self.unsynced_sectors.clear()

    def _note(self, start: int, end: int) -> None:
        self.unsynced_sectors.update(range(start // SECTOR_BYTES, -(-end // SECTOR_BYTES)))

    def _bring_to_disk(self, sectors: Iterable[int], length: int) -> None:
        """Give the disk's copy a length, and these sectors as processes see them."""
        del self.synced[length:]
        self.synced.extend(bytes(length - len(self.synced)))
        for sector in sectors:
            start = sector * SECTOR_BYTES
            end = min(start + SECTOR_BYTES, length)
            if start < end:
                self.synced[start:end] = self.content[start:end].ljust(end - start, b"\0")

    def _surviving_length(self, survival: random.Random) -> int:
        old, new = len(self.synced), len(self.content)
        least = min(old, new)
        between = survival.randint(least, max(old, new))
        whole_sectors = max(least, between - between % SECTOR_BYTES)
        return survival.choice((old, new, between, whole_sectors))


@dataclass(eq=False, slots=True)
class Directory:
    """A directory: its names as processes see them, and as the disk has them."""

    mode: int
    names: dict[str, Node] = field(default_factory=dict)
    synced: dict[str, Node] = field(default_factory=dict)


Node: TypeAlias = File | Directory


@dataclass(frozen=True, slots=True)
class _Change:
    """One name of a directory, and what it stands for from now on."""

    directory: Directory
    name: str
    node: Node | None

    @property
    def place(self) -> tuple[int, str]:
        return id(self.directory), self.name


_Step: TypeAlias = tuple[_Change, ...]
"""Changes that happen together: a rename takes one name away and sets another."""


class LosingDisk:
    """A tree of files. Errors are those of the system: `OSError` with its number."""

    def __init__(self) -> None:
        self.root = Directory(0o755)
        self._journal: list[_Step] = []

    # --- names -----------------------------------------------------------------------------------

    def find(self, path: str) -> Node:
        """Return what lies at an absolute path."""
        node: Node = self.root
        for name in PurePosixPath(path).parts[1:]:
            if not isinstance(node, Directory):
                raise _error(errno.ENOTDIR)
            try:
                node = node.names[name]
            except KeyError:
                raise _error(errno.ENOENT) from None
        return node

    def file(self, path: str) -> File:
        """Return the file at a path."""
        node = self.find(path)
        if not isinstance(node, File):
            raise _error(errno.EISDIR)
        return node

    def directory(self, path: str) -> Directory:
        """Return the directory at a path."""
        node = self.find(path)
        if not isinstance(node, Directory):
            raise _error(errno.ENOTDIR)
        return node

    def create(self, path: str, node: Node) -> None:
        """Give a new file or directory its name."""
        directory, name = self._place(path)
        if name in directory.names:
            raise _error(errno.EEXIST)
        self._carry_out((_Change(directory, name, node),))

    def remove(self, path: str) -> None:
        """Remove a file, or a directory that is empty."""
        directory, name = self._place(path)
        node = self.find(path)
        if isinstance(node, Directory) and node.names:
            raise _error(errno.ENOTEMPTY)
        self._carry_out((_Change(directory, name, None),))

    def rename(self, old: str, new: str) -> None:
        """Move a file or directory, replacing a file or an empty directory at the new path."""
        node = self.find(old)
        source, source_name = self._place(old)
        target, target_name = self._place(new)
        replaced = target.names.get(target_name)
        if replaced is node:
            return
        if isinstance(replaced, Directory) and replaced.names:
            raise _error(errno.ENOTEMPTY)
        self._carry_out((_Change(source, source_name, None), _Change(target, target_name, node)))

    def _place(self, path: str) -> tuple[Directory, str]:
        whole = PurePosixPath(path)
        return self.directory(str(whole.parent)), whole.name

    def _carry_out(self, step: _Step) -> None:
        _apply(step, synced=False)
        self._journal.append(step)

    # --- syncing ---------------------------------------------------------------------------------

    def sync_file(self, file: File) -> None:
        """Make a file's content and its own name durable."""
        file.sync()
        self._flush(lambda change: change.node is file)

    def sync_directory(self, directory: Directory) -> None:
        """Make the names in a directory durable."""
        self._flush(lambda change: change.directory is directory)

    def _flush(self, wanted: Callable[[_Change], bool]) -> None:
        """Make those steps durable that contain a wanted change, and what came before at the same places."""
        places: set[tuple[int, str]] = set()
        chosen: list[_Step] = []
        for step in reversed(self._journal):
            if any(wanted(change) or change.place in places for change in step):
                chosen.append(step)
                places.update(change.place for change in step)
        for step in reversed(chosen):
            _apply(step, synced=True)
        flushed = {id(step) for step in chosen}
        self._journal = [step for step in self._journal if id(step) not in flushed]

    def lose_power(self, seed: int | None = None) -> None:
        """Forget all that was not synced, or let a part of it survive that follows from a seed."""
        survival = None if seed is None else random.Random(seed)
        if survival is not None:
            for step in self._journal[: survival.randint(0, len(self._journal))]:
                _apply(step, synced=True)
        self._journal.clear()
        _lose(self.root, survival)

    # --- a tree of the real file system ----------------------------------------------------------

    @classmethod
    def load(cls, source: Path) -> LosingDisk:
        """Return a disk that holds a copy of a directory, all of it durable."""
        disk = cls()
        disk.root = _load(source)
        return disk

    def save(self, target: Path) -> None:
        """Write the tree, as processes see it, into a new directory."""
        _save(self.root, target)


def _apply(step: _Step, *, synced: bool) -> None:
    for change in step:
        names = change.directory.synced if synced else change.directory.names
        if change.node is None:
            names.pop(change.name, None)
        else:
            names[change.name] = change.node


def _lose(node: Node, survival: random.Random | None) -> None:
    if isinstance(node, File):
        node.lose(survival)
        return
    node.names = dict(node.synced)
    for name in sorted(node.names):
        _lose(node.names[name], survival)


def _load(source: Path) -> Directory:
    directory = Directory(source.stat().st_mode & 0o777)
    for path in sorted(source.iterdir()):
        if path.is_dir():
            directory.names[path.name] = _load(path)
        else:
            content = path.read_bytes()
            mode = path.stat().st_mode & 0o777
            directory.names[path.name] = File(mode, bytearray(content), bytearray(content))
    directory.synced = dict(directory.names)
    return directory


def _save(node: Node, target: Path) -> None:
    if isinstance(node, File):
        target.write_bytes(node.content)
    else:
        target.mkdir()
        for name, one in node.names.items():
            _save(one, target / name)
    target.chmod(node.mode)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
