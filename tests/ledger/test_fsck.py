"""Checking and opening stores that are whole, edited by hand, cut, or broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ledger import keyspace
from ledger.database import Batch
from ledger.errors import StorageError
from ledger.fsck import Problem, Report, check_directory, open_store
from ledger.genesis import Genesis
from ledger.history import GENESIS, TIP
from ledger.store import Store
from tests.ledger.chain import TABLE, Chain, make_genesis, members


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A closed store with three heights, one of them empty, and a checkpoint."""
    chain = Chain.open(tmp_path / "ledger")
    chain.commit(chain.note("a"), chain.note("b", fail="refuse"))
    chain.commit()
    chain.commit(chain.note("a", text="again"), chain.note("c"))
    chain.application.record_checkpoint(chain.checkpoint())
    chain.application.save_checkpoints()
    chain.close()
    return tmp_path / "ledger"


@pytest.fixture
def genesis() -> Genesis:
    return make_genesis(members())


def edit(directory: Path, change: Callable[[Store, Batch], None]) -> None:
    store, batch = Store.open(directory), Batch()
    change(store, batch)
    store.write(batch)
    store.close()


def test_a_whole_store_has_no_problems_and_is_left_as_it_was(
    directory: Path, genesis: Genesis
) -> None:
    heights: list[tuple[int, int]] = []
    report = check_directory(
        directory, genesis, TABLE, lambda height, newest: heights.append((height, newest))
    )
    assert (report.height, report.problems, report.ok) == (3, (), True)
    assert report.rows > 30
    assert heights == [(1, 3), (2, 3), (3, 3)]
    assert [path.name for path in directory.parent.iterdir()] == ["ledger"]


def test_a_store_without_a_chain_has_no_problems(tmp_path: Path, genesis: Genesis) -> None:
    Store.open(tmp_path / "ledger").close()
    assert check_directory(tmp_path / "ledger", genesis, TABLE) == Report(-1, 0, ())


def test_what_is_not_there_is_not_created(tmp_path: Path, genesis: Genesis) -> None:
    with pytest.raises(StorageError, match="no store"):
        check_directory(tmp_path / "ledger", genesis, TABLE)
    assert not (tmp_path / "ledger").exists()


def first_key(store: Store, prefix: bytes) -> bytes:
    return next(store.iterate(prefix))[0]


@pytest.mark.parametrize(
    ("prefix", "where"),
    [
        (keyspace.VALUES, "state value ledger/"),
        (keyspace.PAGES, "state page root"),
        (keyspace.TILES, "tile 0/0"),
        (keyspace.TRANSACTIONS, "transaction "),
        (keyspace.VALIDATORS, "validator set 1"),
    ],
)
@pytest.mark.parametrize("way", ["changed", "deleted", "added"])
def test_a_derived_row_that_is_changed_deleted_or_added_is_named(
    directory: Path, genesis: Genesis, prefix: bytes, where: str, way: str
) -> None:
    def change(store: Store, batch: Batch) -> None:
        key = first_key(store, prefix)
        if way == "deleted":
            batch.delete(key)
        elif way == "changed":
            batch.put(key, (store.get(key) or b"") + b"\x00")
        else:
            batch.put(key + b"\xff", b"something")

    edit(directory, change)
    report = check_directory(directory, genesis, TABLE)
    assert report.height == 3
    (problem,) = report.problems
    what = {
        "changed": "is not what replaying the chain gives",
        "deleted": "is missing",
        "added": "should not be there",
    }[way]
    assert problem.what == what
    assert way == "added" or problem.where.startswith(where)


@pytest.mark.parametrize(
    ("key", "where"),
    [
        (keyspace.entry(2), "height 1"),
        (keyspace.block(2), "height 2"),
        (keyspace.commit(3), "height 3"),
        (keyspace.entry(5), "height 3"),
    ],
)
def test_a_damaged_part_of_the_chain_is_named_by_its_height(
    directory: Path, genesis: Genesis, key: bytes, where: str
) -> None:
    edit(directory, lambda store, batch: batch.delete(key))
    report = check_directory(directory, genesis, TABLE)
    assert [problem.where for problem in report.problems] == [where]
    assert f"height {report.height + 1}" == where


@pytest.mark.parametrize("index", range(7))
def test_a_log_entry_edited_by_hand_is_found(directory: Path, genesis: Genesis, index: int) -> None:
    def change(store: Store, batch: Batch) -> None:
        entry = bytearray(store.get(keyspace.entry(index)) or b"")
        entry[-1] ^= 1
        batch.put(keyspace.entry(index), bytes(entry))

    edit(directory, change)
    assert not check_directory(directory, genesis, TABLE).ok


@pytest.mark.parametrize("key", [TIP, GENESIS, keyspace.HEAD])
def test_a_record_of_the_chain_edited_by_hand_is_found(
    directory: Path, genesis: Genesis, key: bytes
) -> None:
    edit(directory, lambda store, batch: batch.put(key, (store.get(key) or b"") + b"\x00"))
    assert not check_directory(directory, genesis, TABLE).ok


def test_a_checkpoint_that_no_quorum_signed_is_found(directory: Path, genesis: Genesis) -> None:
    chain = Chain.open(directory)
    minority = chain.checkpoint("beijing", "hebei")
    chain.close()
    edit(directory, lambda store, batch: batch.put(keyspace.checkpoint(3), minority.encode()))
    report = check_directory(directory, genesis, TABLE)
    assert report.problems == (Problem("checkpoint 3", "no quorum has signed it"),)


def test_a_store_of_another_chain_is_not_this_chains(directory: Path) -> None:
    other = make_genesis(members(), name="other")
    report = check_directory(directory, other, TABLE)
    assert [problem.where for problem in report.problems] == ["height 0"]


def test_opening_a_whole_store_recovers_nothing(directory: Path, genesis: Genesis) -> None:
    opened = open_store(directory, genesis, TABLE)
    assert (opened.recovered, opened.set_aside, opened.damaged_height) == (False, None, None)
    opened.store.close()


def test_a_store_without_its_manifest_is_recovered_and_verified(
    directory: Path, genesis: Genesis
) -> None:
    for path in (directory / "db").glob("MANIFEST-*"):
        path.unlink()
    opened = open_store(directory, genesis, TABLE)
    assert opened.recovered
    assert opened.damaged_height == 3
    opened.store.close()
    chain = Chain.open(directory, genesis=genesis)
    chain.commit(chain.note("d"))
    chain.close()
    assert check_directory(directory, genesis, TABLE).ok
    assert (directory / "damaged-1" / "db").is_dir()


def test_a_store_that_lost_its_tail_is_set_aside_for_a_new_one(
    directory: Path, genesis: Genesis
) -> None:
    (log,) = (directory / "db").glob("*.log")
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])
    opened = open_store(directory, genesis, TABLE)
    assert opened.store.head() is None
    assert opened.damaged_height == 3
    assert opened.set_aside is not None
    assert (opened.set_aside / "db").is_dir()
    opened.store.close()
    Chain.open(directory, genesis=genesis).close()  # a fresh chain begins in it


@pytest.mark.parametrize("marker", [None, b"", b"\xff" * 8192], ids=["missing", "cut", "garbage"])
def test_a_store_whose_marker_is_lost_is_set_aside_and_its_height_is_not_known(
    directory: Path, genesis: Genesis, marker: bytes | None
) -> None:
    (directory / "head").unlink()
    if marker is not None:
        (directory / "head").write_bytes(marker)
    assert Store.marked_height(directory) is None
    opened = open_store(directory, genesis, TABLE)
    assert opened.set_aside is not None
    assert opened.damaged_height is None
    opened.store.close()


def test_a_store_that_opens_but_lacks_rows_after_recovery_is_set_aside(
    directory: Path, genesis: Genesis
) -> None:
    edit(directory, lambda store, batch: batch.delete(keyspace.block(2)))
    for path in (directory / "db").glob("MANIFEST-*"):
        path.unlink()
    opened = open_store(directory, genesis, TABLE)
    assert opened.set_aside is not None
    assert opened.store.head() is None
    opened.store.close()


def test_opening_a_store_removes_what_a_killed_check_has_left(
    directory: Path, genesis: Genesis
) -> None:
    left_over = directory.parent / "fsck-killed"
    Chain.open(left_over / "replayed", genesis=genesis).close()
    open_store(directory, genesis, TABLE).store.close()
    assert not left_over.exists()
    assert check_directory(directory, genesis, TABLE).ok


def test_a_store_that_another_process_has_open_is_left_alone(
    directory: Path, genesis: Genesis
) -> None:
    store = Store.open(directory)
    try:
        with pytest.raises(StorageError, match="open already"):
            open_store(directory, genesis, TABLE)
    finally:
        store.close()
    assert not (directory / "damaged-1").exists()
