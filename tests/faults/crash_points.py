"""Numbered points around every durable write of a node, at which the process under test dies.

The functions of the real modules are wrapped in the process under test; the product has no hooks. A test names a point
in a file, before the process starts or while it runs: its *order*. The process looks there each time it comes to a
point. When it has come to the ordered one as often as the order says, it renames the file, so that the test sees that
the point has fired, and ends itself by SIGKILL; or, `held`, it stays at the point until it is killed from outside,
together with others. Without an order nothing happens.

A point's name is what was begun and how far it came:

    before       nothing of it is written
    unsynced     written, not synced
    unrenamed    synced, not renamed
    directory    renamed or created, the directory not synced
    unmarked     in LevelDB, not in the head marker
    uncommitted  in an SQL transaction that is not committed
    after        written, and nothing done about it yet
    unsent       signed and released, not sent; `untold`: a block committed, and nobody told

What a node writes was listed once by `strace -f` (fsync, fdatasync, msync, sync_file_range, rename, link, ftruncate,
pwrite64) over a first start, blocks under load, an idle time and a stop: `keys/last-sign`, `keys/checkpoint-guard`,
`node.pid`, `data/ledger/head`, `data/ledger/db/` (LevelDB), `data/index.sqlite` (SQLite), besides the log on standard
output. All have points here. A sync or rename by Python outside of them ends the process with an `AssertionError`, and
`test_crash_system_calls` repeats the list; there `strace` also kills between the system calls of LevelDB's C++ code.
State snapshots would be written, too, but the product has none yet. Commands (`mulu network init`, the wallet) are
processes of their own and no part of a node.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy

import node.home
import node.main
import node.signing_guard
from consensus.tendermint import last_sign
from consensus.tendermint.driver import HeightDriver
from ledger import fsck, keyspace
from ledger import store as ledger_store
from ledger.application import Application
from ledger.database import Batch, Head
from ledger.head_marker import HeadMarker
from node.checkpointing import CheckpointSigner
from node.index import Index
from node.replica import Replica
from node.runner import Runner

_REPLACED_FILE: Final = ("before", "unsynced", "unrenamed", "directory", "after")

_STEPS: Final = {
    # a first start, in order
    "data": ("directory", "after"),
    "store": ("before", "directory", "after"),
    "database": ("directory", "after"),
    "marker": ("before", "unsynced", "directory", "after"),
    "genesis": ("before", "unmarked", "unsynced", "after"),
    # a height
    "wal": ("before", "after"),
    "last-sign": (*_REPLACED_FILE, "unsent"),
    "block": ("before", "unmarked", "unsynced", "after", "untold"),
    "checkpoint-guard": (*_REPLACED_FILE, "unsent"),
    "checkpoints": ("recorded", "before", "after"),
    "index": ("before", "uncommitted", "after"),
    # a start
    "process-id": _REPLACED_FILE,
    "behind": ("before", "unsynced", "after"),
    "replay": ("before", "after"),
    "index-tables": ("before", "uncommitted", "after"),
    "index-build": ("before", "uncommitted", "after"),
    # a start with a damaged store
    "recover": ("before", "copied", "after"),
    "verify": ("replaying", "after"),
    "aside": ("before", "unrenamed", "directory", "after"),
}
"""What is written, and the points of each.

`data` is the entry of that directory in the home; `store`, the ledger's directory and its entry above, so that
`store/directory` comes twice; `database`, what LevelDB has opened; `behind`, the head marker brought forward to the
database. `recover`, `verify` and `aside` are in `ledger.fsck.open_store`; `aside/unrenamed` comes twice as well, for
the marker and then for the database.
"""

POINTS: Final = tuple(f"{what}/{step}" for what, steps in _STEPS.items() for step in steps)
"""All points; a point's number is its place here, from 1."""


def number(point: str) -> int:
    """Return a point's number."""
    return POINTS.index(point) + 1


@dataclass(frozen=True, slots=True)
class Order:
    """Die at the `passing`-th time, from now on, that the process comes to a point; or, `held`, stay there."""

    point: str
    passing: int = 1
    held: bool = False

    def __post_init__(self) -> None:
        if self.point not in POINTS or self.passing < 1:
            raise ValueError(f"no such point: {self}")

    def save(self, path: Path) -> None:
        """Give this order to the process that looks at `path`."""
        carried_out(path).unlink(missing_ok=True)
        new = path.with_name(f"{path.name}.new")
        new.write_text(json.dumps(asdict(self)), "ascii")
        new.replace(path)

    @staticmethod
    def load(path: Path) -> Order | None:
        """Return the order at `path`, if any."""
        try:
            return Order(**json.loads(path.read_text("ascii")))
        except FileNotFoundError:
            return None


def carried_out(path: Path) -> Path:
    """Return where an order lies once it has been carried out."""
    return path.with_name(f"{path.name}.carried-out")


class _Points:
    """The points of this process, and what each of its threads is writing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._order: Order | None = None
        self._passings = 0
        self._lock = threading.Lock()
        self._threads = threading.local()
        self._rename = os.rename  # before it is wrapped

    def at(self, what: str, step: str) -> None:
        """Come to a point."""
        point = f"{what}/{step}"
        assert point in POINTS, f"{point} is not listed"
        with self._lock:
            order = Order.load(self._path)
            if order != self._order:
                self._order, self._passings = order, 0
            if order is None or order.point != point:
                return
            self._passings += 1
            if self._passings < order.passing:
                return
            self._rename(self._path, carried_out(self._path))
        if not order.held:
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()  # no further step is taken here

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Say what this thread writes meanwhile."""
        stack = self._stack
        stack.append(what)
        try:
            yield
        finally:
            stack.pop()

    @property
    def now_writing(self) -> str | None:
        """What this thread writes."""
        return self._stack[-1] if self._stack else None

    @property
    def is_verifying(self) -> bool:
        """Whether this thread works on a copy, to see whether a recovered store is whole."""
        return "verify" in self._stack

    @property
    def _stack(self) -> list[str]:
        stack: list[str] = self._threads.__dict__.setdefault("stack", [])
        return stack


What = Callable[..., str | None]
"""Tells from a call's arguments what it writes; None: nothing that has points."""


def arm(order: Path) -> None:
    """Wrap everything that writes; the process obeys the orders at this path from now on."""
    points = _Points(order)
    _wrap_system_calls(points)
    _wrap_store(points)
    _wrap_recovery(points)
    _wrap_guards(points)
    _wrap_node(points)


def _around(
    points: _Points,
    owner: Any,
    name: str,
    what: str | What,
    *,
    first: str | None = "before",
    last: str | None = "after",
) -> None:
    """Put a point before and one after a function, or one of both, and let it say meanwhile what it writes."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        written = what if isinstance(what, str) else what(*arguments, **options)
        if written is None:
            return function(*arguments, **options)
        if first is not None:
            points.at(written, first)
        with points.writing(written):
            result = function(*arguments, **options)
        if last is not None:
            points.at(written, last)
        return result

    is_bound = isinstance(vars(owner)[name], staticmethod | classmethod)
    setattr(owner, name, staticmethod(wrapped) if is_bound else wrapped)


def _wrap_system_calls(points: _Points) -> None:
    """Put a point before each sync and rename of Python code, named by what the thread writes."""

    def before(name: str, step: Callable[..., str]) -> None:
        call = getattr(os, name)

        @functools.wraps(call)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            written = points.now_writing
            assert written is not None, f"{name} of what has no points: {arguments}"
            if not points.is_verifying:
                points.at(written, step(*arguments))
            return call(*arguments, **options)

        setattr(os, name, wrapped)

    def of_sync(descriptor: int) -> str:
        return "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "unsynced"

    before("fsync", of_sync)
    before("fdatasync", of_sync)
    before("rename", lambda *_: "unrenamed")
    before("replace", lambda *_: "unrenamed")


def _wrap_store(points: _Points) -> None:
    marker = HeadMarker

    def batch_of(_: Any, batch: Batch, head: Head | None = None) -> str | None:
        if points.is_verifying:
            points.at("verify", "replaying")
            return None
        if head is not None:
            return "genesis" if head.height == 0 else "block"
        prefixes = {key[:2] for key in batch.changes}
        kinds = {keyspace.WAL: "wal", keyspace.CHECKPOINTS: "checkpoints"}
        [kind] = {kinds[prefix] for prefix in prefixes}
        return kind

    def marked_by(*_: Any) -> str | None:
        """Return None where a batch is being written: its points are the marker's as well."""
        if points.now_writing in ("genesis", "block"):
            points.at(points.now_writing, "unmarked")
            return None
        return None if points.is_verifying else "behind"

    def new_marker(path: Path, *, create: bool) -> str | None:
        return "marker" if create and not path.exists() and not points.is_verifying else None

    _around(points, ledger_store.Store, "write", batch_of)
    _around(points, marker, "write", marked_by)
    _around(points, marker, "open", new_marker)

    def unless_verifying(what: str) -> What:
        return lambda *_, **__: None if points.is_verifying else what

    _around(points, node.home, "sync_directory", "data", first=None)
    _around(points, ledger_store, "_create", unless_verifying("store"))
    _around(points, ledger_store, "_open_database", unless_verifying("database"), first=None)


def _wrap_recovery(points: _Points) -> None:
    _around(points, ledger_store.Store, "recover", "recover")
    _around(points, ledger_store.Store, "set_aside", "aside")
    _around(points, fsck, "check_in_scratch", "verify", first=None)
    _around(points, shutil, "copytree", lambda *_: points.now_writing, first=None, last="copied")


def _wrap_guards(points: _Points) -> None:
    _around(points, last_sign, "_replace", "last-sign")
    _around(points, node.signing_guard, "replace_file", "checkpoint-guard")
    _around(points, node.main, "replace_file", "process-id")


def _wrap_node(points: _Points) -> None:
    runner: Any = Runner
    sign = runner._sign

    async def sign_and_release(self: Any, effect: Any) -> Any:
        signed = await sign(self, effect)
        if signed is not None:
            points.at("last-sign", "unsent")
        return signed

    signer: Any = CheckpointSigner
    sign_checkpoint = signer.sign

    def sign_checkpoint_and_release(self: Any, committed: Any) -> Any:
        signed = sign_checkpoint(self, committed)
        if signed is not None:
            points.at("checkpoint-guard", "unsent")
        return signed

    def replayed(_: Any, records: tuple[bytes, ...], *__: Any) -> str | None:
        return "replay" if records else None

    def before_commit(_: Any) -> None:
        if points.now_writing is not None:  # elsewhere SQL is only read
            points.at(points.now_writing, "uncommitted")

    runner._sign, signer.sign = sign_and_release, sign_checkpoint_and_release
    _around(points, HeightDriver, "replay", replayed)
    _around(points, Replica, "_committed", "block", first="untold", last=None)
    _around(points, Application, "record_checkpoint", "checkpoints", first=None, last="recorded")
    _around(points, Index, "_open", "index-tables")
    _around(points, Index, "_build", "index-build")
    _around(points, Index, "_apply", "index")
    sqlalchemy.event.listen(sqlalchemy.Engine, "commit", before_commit)
