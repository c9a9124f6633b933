"""Verification of a stopped node's store: is everything in it what the log makes it?

The chain is replayed from genesis into an empty store: each block's hash chain, commit and roots are verified as in
synchronisation, and everything is executed again. What comes out must be, row by row, what the store holds. So a
row that was lost, changed by hand or left over is named, and nothing that the store says of itself is believed:
the chain of commits leads from genesis to the newest block.

`open_store` is how a node opens its store: where LevelDB finds damage, it recovers what it can and verifies that.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger import keyspace
from ledger.application import Application
from ledger.database import Database, Reader
from ledger.errors import DamagedStoreError, InvalidBlock, InvalidProof, LedgerError, StorageError
from ledger.genesis import Genesis
from ledger.history import GENESIS, TIP, History
from ledger.operations import OperationTable
from ledger.policy import policy_for
from ledger.state_store import path_name
from ledger.store import Store
from ledger.tiles import root_from_tiles

MAX_PROBLEMS: Final = 100
"""After so many, more would tell no more."""

_DERIVED: Final = {
    keyspace.ENTRIES: "log entry",
    keyspace.TILES: "tile",
    keyspace.VALUES: "state value",
    keyspace.PAGES: "state page",
    keyspace.BLOCKS: "block",
    keyspace.COMMITS: "commit",
    keyspace.TRANSACTIONS: "transaction",
    keyspace.VALIDATORS: "validator set",
}
"""Rows that replaying the chain makes again, by prefix."""

_KINDS: Final = {
    **_DERIVED,
    keyspace.CHECKPOINTS: "checkpoint",
    keyspace.META: "record",
    keyspace.WAL: "write-ahead record",
}

_SCRATCH: Final = "fsck-"
"""Names of directories into which chains are replayed begin so."""

Progress = Callable[[int, int], None]
"""Called with the height that was replayed and the newest height."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong: `where` names a row or a height, `what` says it for people."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a check has found. `height` is the newest height that was verified, -1 for none, not even genesis."""

    height: int
    rows: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class OpenedStore:
    """An open store. `recovered` tells that damage was repaired; `set_aside`, where a lost store lies now.

    Where a store was set aside, `store` is empty, and the node must synchronise before it votes. `damaged_height` is
    the height that a damaged store had reached; None where the head marker does not say.
    """

    store: Store
    recovered: bool = False
    set_aside: Path | None = None
    damaged_height: int | None = None


def open_store(
    directory: Path, genesis: Genesis, operations: OperationTable, *, unreadable: bool = False
) -> OpenedStore:
    """Open the store in `directory`; recover it, or set it aside, where it is damaged.

    `unreadable` tells that it opens, but that rows of it cannot be read: nothing brings those back.

    Raises:
        StorageError: it cannot be opened for another reason, for instance another process has it open.
    """
    opened = _open_or_save(directory, genesis, operations, unreadable)
    _remove_scratch(directory)
    return opened


def _open_or_save(
    directory: Path, genesis: Genesis, operations: OperationTable, unreadable: bool
) -> OpenedStore:
    if not unreadable:
        try:
            return OpenedStore(Store.open(directory))
        except DamagedStoreError:
            pass
    height = Store.marked_height(directory)
    if not unreadable and _recover(directory, genesis, operations):
        try:
            return OpenedStore(Store.open(directory), recovered=True, damaged_height=height)
        except DamagedStoreError:
            pass
    aside = Store.set_aside(directory)
    return OpenedStore(Store.open(directory), set_aside=aside, damaged_height=height)


def _remove_scratch(directory: Path) -> None:
    """Remove what checks that were killed have left; while we have the store open, no other check is under way."""
    for left_over in directory.parent.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left_over, ignore_errors=True)


def _recover(directory: Path, genesis: Genesis, operations: OperationTable) -> bool:
    """Let LevelDB repair the store; tell whether what it then holds is whole."""
    try:
        store = Store.recover(directory)
    except DamagedStoreError:
        return False
    try:
        return check_in_scratch(store, directory, genesis, operations).ok
    finally:
        store.close()


def check_directory(
    directory: Path, genesis: Genesis, operations: OperationTable, progress: Progress | None = None
) -> Report:
    """Check the store in `directory`, which no process may have open. Nothing in it is changed.

    Raises:
        StorageError: it cannot be opened or read for another reason than damage.
    """
    if not directory.is_dir():
        raise StorageError(f"there is no store in {directory}")
    try:
        store = Store.open(directory)
    except DamagedStoreError as error:
        return Report(-1, 0, (Problem(str(directory), str(error)),))
    try:
        return check_in_scratch(store, directory, genesis, operations, progress)
    finally:
        store.close()


def check_in_scratch(
    store: Database,
    directory: Path,
    genesis: Genesis,
    operations: OperationTable,
    progress: Progress | None = None,
) -> Report:
    """Check `store`, replaying it into a temporary directory beside `directory`, which needs as much room again."""
    scratch_directory = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=directory.parent))
    try:
        scratch = Store.open(scratch_directory / "replayed")
        try:
            return check(store, scratch, genesis, operations, progress)
        finally:
            scratch.close()
    finally:
        shutil.rmtree(scratch_directory, ignore_errors=True)


def check(
    store: Database,
    scratch: Database,
    genesis: Genesis,
    operations: OperationTable,
    progress: Progress | None = None,
) -> Report:
    """Check everything in `store`, replaying the chain into `scratch`, which is empty.

    Raises:
        StorageError: one of them cannot be read or written for another reason than damage.
    """
    rows, problems = _read_all(store)
    head = store.head()
    if head is None:
        if any(True for _ in _readable(store, keyspace.ENTRIES)):
            problems.append(Problem("head", "there are log entries, but no height is committed"))
        return Report(-1, rows, tuple(problems))
    height = -1
    try:
        replayed = Application(genesis, operations, scratch)
        replayed.init_chain()
        height = 0
        _check_genesis(store, genesis)
        history = History(store, genesis.suite)
        for height in range(1, head.height + 1):
            _replay(replayed, history, height)
            if progress is not None:
                progress(height, head.height)
    except LedgerError as error:
        if isinstance(error, StorageError) and not isinstance(error, DamagedStoreError):
            raise
        problems.append(Problem(f"height {height}", str(error)))
        return Report(height - 1, rows, tuple(problems[:MAX_PROBLEMS]))
    problems += _compare(store, scratch)
    problems += _check_checkpoints(store, replayed)
    return Report(height, rows, tuple(problems[:MAX_PROBLEMS]))


def _read_all(store: Reader) -> tuple[int, list[Problem]]:
    """Read every row, so that every block of every table has its checksum verified."""
    rows = 0
    last = b""
    try:
        for key, _ in store.iterate(b""):
            rows += 1
            last = key
    except DamagedStoreError as error:
        return rows, [Problem(f"after {_name(last)}", str(error))]
    return rows, []


def _check_genesis(store: Reader, genesis: Genesis) -> None:
    if store.get(GENESIS) != genesis.hash:
        raise DamagedStoreError(f"the store holds another chain than {genesis.chain_id}")


def _replay(application: Application, history: History, height: int) -> None:
    """Verify and execute one block as in synchronisation."""
    try:
        decision = history.decision(height)
        if decision is not None:
            application.apply_decision(decision)
            return
        block, commit = history.block(height), history.commit(height)
        if block is None or commit is None:
            raise DamagedStoreError("the block or its commit is missing")
        application.apply_synced(block, commit)
    except InvalidBlock as error:
        raise DamagedStoreError(str(error)) from error


def _compare(store: Reader, replayed: Reader) -> list[Problem]:
    """Compare all derived rows, in the order of keys."""
    problems = []
    for prefix in _DERIVED:
        for key, found, expected in _merged(_readable(store, prefix), replayed.iterate(prefix)):
            if found != expected:
                problems.append(Problem(_name(key), _difference(found, expected)))
                if len(problems) == MAX_PROBLEMS:
                    return problems
    for key in (TIP, keyspace.HEAD):
        if store.get(key) != replayed.get(key):
            problems.append(Problem(_name(key), "is not what replaying the chain gives"))
    return problems


def _difference(found: bytes | None, expected: bytes | None) -> str:
    if found is None:
        return "is missing"
    return "should not be there" if expected is None else "is not what replaying the chain gives"


def _readable(store: Reader, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield rows up to the first that cannot be read, which `_read_all` has reported."""
    try:
        yield from store.iterate(prefix)
    except DamagedStoreError:
        return


def _merged(
    left: Iterator[tuple[bytes, bytes]], right: Iterator[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    """Yield (key, value on the left, value on the right) of two ascending iterators."""
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[0], one[1], None
            one = next(left, None)
        elif one is None or other[0] < one[0]:
            yield other[0], None, other[1]
            other = next(right, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(left, None), next(right, None)


def _check_checkpoints(store: Reader, replayed: Application) -> list[Problem]:
    """Check that stored checkpoints are of this log, by a quorum of the validators of their height."""
    genesis, history = replayed.genesis, replayed.history
    stored = History(store, genesis.suite)
    problems = []
    for key, _ in _readable(store, keyspace.CHECKPOINTS):
        height = keyspace.number_of(key)
        try:
            signed = stored.checkpoint(height)
            assert signed is not None, "it was there a moment ago"
            validators = history.validators(max(height, 1))
            policy = policy_for(genesis.suite, validators, genesis.chain_id)
            if not policy.check(genesis.suite, signed).satisfied:
                raise InvalidProof("no quorum has signed it")
            if signed.checkpoint.root != root_from_tiles(
                genesis.suite, history.read_tile, signed.checkpoint.size
            ):
                raise InvalidProof("it is of another log")
        except (LedgerError, ValueError) as error:
            problems.append(Problem(_name(key), str(error)))
    return problems


def _name(key: bytes) -> str:
    """Name a row for people."""
    prefix, rest = key[:2], key[2:]
    match prefix:
        case b"":
            return "the beginning"
        case keyspace.TILES:
            return "tile {}/{}".format(*keyspace.tile_of(key))
        case keyspace.VALUES | keyspace.META:
            return f"{_KINDS[prefix]} {rest.decode(errors='replace')}"
        case keyspace.PAGES:
            return f"{_KINDS[prefix]} {path_name(rest)}"
        case keyspace.TRANSACTIONS:
            return f"{_KINDS[prefix]} {rest.hex()}"
        case _:
            return f"{_KINDS.get(prefix, 'unknown row')} {keyspace.number_of(key)}"
