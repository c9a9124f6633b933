"""A damaged store is told from one that a crash has cut off: broken and missing files, and the head marker."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger import keyspace
from ledger.database import Batch, Head
from ledger.errors import DamagedStoreError, StorageError
from ledger.store import Store
from tests.ledger.stores import HASH, batch, filled, flip, only, with_tables

OTHER_HASH = bytes(32)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


# --- the database ---------------------------------------------------------------------------------


def test_a_log_cut_short_is_behind_its_marker(directory: Path) -> None:
    log = only(filled(directory), "*.log")
    log.write_bytes(log.read_bytes()[:-1])
    with pytest.raises(DamagedStoreError, match=r"ends at height 2 .* height 3"):
        Store.open(directory)
    with pytest.raises(DamagedStoreError, match="ends at height 2"):
        Store.recover(directory)


def test_a_torn_batch_that_was_never_acknowledged_is_cut_back(directory: Path) -> None:
    log = only(filled(directory), "*.log")
    with log.open("ab") as file:
        file.write(bytes.fromhex("deadbeef 4000 01 00112233"))  # a record of 64 bytes, four written
    store = Store.open(directory)
    assert store.head() == Head(3, HASH)
    assert store.get(keyspace.entry(3)) is not None
    store.close()


def test_a_flipped_byte_in_the_log_is_damage(directory: Path) -> None:
    flip(only(filled(directory), "*.log"), 30)
    with pytest.raises(DamagedStoreError):
        Store.open(directory)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_flipped_byte_in_a_table_is_damage_when_it_is_read(directory: Path, part: float) -> None:
    table = only(with_tables(directory), "*.ldb")
    flip(table, int(table.stat().st_size * part))
    with pytest.raises(DamagedStoreError):
        store = Store.open(directory)
        try:
            store.verify_checksums()
        finally:
            store.close()


def test_a_flipped_byte_in_a_table_never_reaches_a_reader(directory: Path) -> None:
    table = only(with_tables(directory), "*.ldb")
    store = Store.open(directory)
    before = dict(store.iterate(keyspace.ENTRIES))
    store.close()
    flip(table, table.stat().st_size // 2)
    store = Store.open(directory)
    refused = 0
    for key, value in before.items():
        try:
            assert store.get(key) == value
        except DamagedStoreError:
            refused += 1
    assert 0 < refused < len(before)
    store.close()


def test_a_missing_table_is_damage(directory: Path) -> None:
    only(with_tables(directory), "*.ldb").unlink()
    with pytest.raises(DamagedStoreError):
        Store.open(directory)


def test_an_empty_table_is_damage_when_it_is_read(directory: Path) -> None:
    os.truncate(only(with_tables(directory), "*.ldb"), 0)
    with pytest.raises(DamagedStoreError):
        store = Store.open(directory)
        try:
            store.verify_checksums()
        finally:
            store.close()


@pytest.mark.parametrize("pattern", ["MANIFEST-*", "CURRENT"])
@pytest.mark.parametrize("way", ["missing", "empty", "cut", "garbage"])
def test_a_broken_manifest_is_damage_and_is_recovered_from_the_tables(
    directory: Path, pattern: str, way: str
) -> None:
    path = only(with_tables(directory), pattern)
    content = path.read_bytes()
    match way:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "garbage":
            path.write_bytes(os.urandom(len(content)))
    with pytest.raises(DamagedStoreError):
        Store.open(directory)
    recovered = Store.recover(directory)
    assert recovered.head() == Head(20, HASH)
    recovered.close()
    store = Store.open(directory)
    assert sum(1 for _ in store.iterate(keyspace.ENTRIES)) == 20 * 200
    store.close()
    assert (directory / "damaged-1" / "db").is_dir()


def test_an_emptied_database_is_not_taken_for_a_new_one(directory: Path) -> None:
    filled(directory)
    for path in (directory / "db").iterdir():
        path.unlink()
    with pytest.raises(DamagedStoreError, match="ends at nothing"):
        Store.open(directory)


def test_a_removed_database_is_not_taken_for_a_new_one(directory: Path) -> None:
    filled(directory)
    (directory / "db").rename(directory / "elsewhere")
    with pytest.raises(DamagedStoreError):
        Store.open(directory)


def test_a_crash_before_anything_was_written_leaves_a_new_store(directory: Path) -> None:
    (directory / "db").mkdir(parents=True)
    store = Store.open(directory)
    assert store.head() is None
    store.close()
    (directory / "head").write_bytes(b"")  # created, not yet filled
    Store.open(directory).close()


def test_a_store_set_aside_makes_room_for_a_new_one(directory: Path) -> None:
    filled(directory)
    assert Store.set_aside(directory) == directory / "damaged-1"
    Store.open(directory).close()
    assert Store.set_aside(directory) == directory / "damaged-2"
    assert sorted(path.name for path in (directory / "damaged-1").iterdir()) == ["db", "head"]


def test_a_store_damaged_again_and_again_does_not_fill_the_disk_with_copies(
    directory: Path,
) -> None:
    filled(directory)
    ours = ["damaged-by-hand", "damaged-20251129", "damaged-04", "damaged-٤"]
    for name in ours:
        (directory / name).mkdir()
    for incident in range(1, 7):
        Store.recover(directory).close()
        found, repaired = 2 * incident - 1, 2 * incident
        assert Store.set_aside(directory) == directory / f"damaged-{repaired}"
        kept = {path.name for path in directory.glob("damaged-*")} - set(ours)
        newest = {f"damaged-{found}", f"damaged-{repaired}"}
        assert kept == newest | {f"damaged-{number}" for number in range(1, min(4, repaired) + 1)}
        assert (directory / f"damaged-{found}" / "db").is_dir(), "what was found is kept"
        filled(directory)
    assert all((directory / name).is_dir() for name in ours)


def test_copies_that_cannot_be_removed_do_not_stop_recovery(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(directory)
    elsewhere = tmp_path / "another disk"
    elsewhere.mkdir()
    for number in range(1, 6):
        (directory / f"damaged-{number}").mkdir()
    (directory / "damaged-6").symlink_to(elsewhere)
    (directory / "damaged-7").write_bytes(b"a file")
    unlink = os.unlink

    def refuse(path: Any, *words: Any, **options: Any) -> None:
        if "damaged" in str(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        unlink(path, *words, **options)

    monkeypatch.setattr(os, "unlink", refuse)
    monkeypatch.setattr(os, "rmdir", refuse)
    Store.recover(directory).close()
    assert Store.set_aside(directory) == directory / "damaged-9"
    assert (directory / "damaged-8" / "db").is_dir()
    assert elsewhere.is_dir() and (directory / "damaged-7").is_file()


def test_a_directory_that_cannot_be_read_is_told_as_a_storage_error(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(directory)
    monkeypatch.setattr(
        Path, "iterdir", lambda path: (_ for _ in ()).throw(OSError(errno.EIO, "bad"))
    )
    for act in (Store.recover, Store.set_aside):
        with pytest.raises(StorageError, match="cannot"):
            act(directory)
    assert (directory / "db").is_dir()


# --- the head marker ------------------------------------------------------------------------------


def edit_marker(directory: Path, change: Callable[[bytearray], None]) -> None:
    content = bytearray((directory / "head").read_bytes())
    change(content)
    (directory / "head").write_bytes(content)


def test_the_marker_is_brought_forward_after_a_crash_before_it_was_written(directory: Path) -> None:
    filled(directory, heights=2)
    stale = (directory / "head").read_bytes()
    store = Store.open(directory)
    store.write(batch(a=b"1"), Head(3, HASH))
    store.close()
    (directory / "head").write_bytes(stale)
    store = Store.open(directory)
    assert store.head() == Head(3, HASH)
    store.close()
    assert (directory / "head").read_bytes() != stale


@pytest.mark.parametrize("slot", [0, 1])
def test_a_torn_marker_leaves_the_one_before(directory: Path, slot: int) -> None:
    filled(directory, heights=4)

    def tear(content: bytearray) -> None:
        content[slot * 4096 + 3] ^= 1

    edit_marker(directory, tear)
    store = Store.open(directory)
    assert store.head() == Head(4, HASH)
    store.write(Batch(), Head(5, HASH))
    store.close()
    Store.open(directory).close()


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.__setitem__(slice(0, len(content)), os.urandom(len(content))),
        lambda content: content.clear(),
        lambda content: content.__delitem__(slice(4096, None)),
    ],
)
def test_an_unreadable_marker_is_damage(
    directory: Path, change: Callable[[bytearray], None]
) -> None:
    filled(directory)
    edit_marker(directory, change)
    with pytest.raises(DamagedStoreError, match="marker"):
        Store.open(directory)


def test_a_missing_marker_is_damage(directory: Path) -> None:
    filled(directory)
    (directory / "head").unlink()
    with pytest.raises(DamagedStoreError, match="marker"):
        Store.open(directory)


def test_another_block_at_the_marked_height_is_damage(directory: Path, tmp_path: Path) -> None:
    filled(directory)
    other = tmp_path / "other"
    store = Store.open(other)
    store.write(Batch(), Head(3, OTHER_HASH))
    store.close()
    (directory / "head").write_bytes((other / "head").read_bytes())
    with pytest.raises(DamagedStoreError, match="ends at height 3"):
        Store.open(directory)
