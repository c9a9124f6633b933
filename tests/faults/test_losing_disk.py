"""The disk that loses what was not synced: what survives, and what does not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.losing_disk import SECTOR_BYTES, Directory, File, LosingDisk


def disk_with(path: str, content: bytes) -> tuple[LosingDisk, File]:
    """Return a disk with one file, synced with its name."""
    disk, file = LosingDisk(), File(0o600)
    disk.create(path, file)
    file.write(content, 0)
    disk.sync_file(file)
    return disk, file


def survives(disk: LosingDisk, path: str) -> bytes | None:
    """Cut the power; return what the file at `path` then holds, None where there is none."""
    disk.lose_power()
    try:
        return bytes(disk.file(path).content)
    except FileNotFoundError:
        return None


def test_what_was_not_synced_is_lost_and_what_was_is_kept() -> None:
    disk, file = disk_with("/a", b"one")
    file.write(b"two", 3)
    assert bytes(file.content) == b"onetwo"
    disk.create("/b", File(0o600))
    assert survives(disk, "/a") == b"one"
    assert survives(disk, "/b") is None


def test_a_name_is_durable_once_its_directory_or_its_file_was_synced() -> None:
    disk = LosingDisk()
    disk.create("/kept", File(0o600))
    disk.sync_directory(disk.root)
    disk.create("/lost", File(0o600))
    assert survives(disk, "/kept") == b""
    assert survives(disk, "/lost") is None


def test_a_file_in_a_directory_whose_own_name_was_not_synced_is_lost() -> None:
    disk, file = LosingDisk(), File(0o600)
    disk.create("/d", Directory(0o700))
    disk.create("/d/a", file)
    file.write(b"content", 0)
    disk.sync_file(file)
    disk.sync_directory(disk.directory("/d"))
    assert survives(disk, "/d/a") is None


def test_a_file_replaced_by_renaming_is_the_old_one_until_the_directory_is_synced() -> None:
    disk, _ = disk_with("/a", b"old")
    new = File(0o600)
    disk.create("/a.new", new)
    new.write(b"new", 0)
    disk.sync_file(new)
    disk.rename("/a.new", "/a")
    assert survives(disk, "/a") == b"old"
    disk.rename("/a.new", "/a")
    disk.sync_directory(disk.root)
    assert survives(disk, "/a") == b"new"


def test_a_file_renamed_before_its_content_was_synced_is_empty() -> None:
    disk, _ = disk_with("/a", b"old")
    new = File(0o600)
    disk.create("/a.new", new)
    new.write(b"new", 0)
    disk.rename("/a.new", "/a")
    disk.sync_directory(disk.root)
    assert survives(disk, "/a") == b""


def test_a_removed_file_comes_back_unless_its_directory_was_synced() -> None:
    disk, _ = disk_with("/a", b"here")
    disk.remove("/a")
    assert survives(disk, "/a") == b"here"
    disk.remove("/a")
    disk.sync_directory(disk.root)
    assert survives(disk, "/a") is None


def test_a_torn_write_leaves_some_sectors_and_every_outcome_comes_up() -> None:
    old, new = b"o" * SECTOR_BYTES, b"n" * SECTOR_BYTES
    outcomes = set()
    for seed in range(64):
        disk, file = disk_with("/a", old * 3)
        file.write(new * 3, 0)
        disk.lose_power(seed)
        outcomes.add(bytes(file.content[::SECTOR_BYTES]))
    assert outcomes == {bytes(one) for one in _combinations(b"on", 3)}


def _combinations(values: bytes, length: int) -> list[tuple[int, ...]]:
    if length == 0:
        return [()]
    return [(one, *rest) for one in values for rest in _combinations(values, length - 1)]


def test_of_the_changes_of_names_a_prefix_survives() -> None:
    outcomes = set()
    for seed in range(64):
        disk = LosingDisk()
        for name in ("/1", "/2", "/3"):
            disk.create(name, File(0o600))
        disk.lose_power(seed)
        outcomes.add(tuple(disk.root.names))
    assert outcomes == {(), ("1",), ("1", "2"), ("1", "2", "3")}


@given(st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 1_200)), max_size=12), st.data())
def test_a_synced_file_is_what_was_written_whatever_was_cut_and_extended(
    writes: list[tuple[int, int]], data: st.DataObject
) -> None:
    disk, file = disk_with("/a", b"")
    expected = bytearray()
    source = random.Random(0)
    for offset, length in writes:
        if data.draw(st.booleans()):
            file.truncate(offset)
            del expected[offset:]
            expected.extend(bytes(offset - len(expected)))
        else:
            written = source.randbytes(length)
            file.write(written, offset)
            expected.extend(bytes(max(0, offset - len(expected))))
            expected[offset : offset + length] = written
        assert file.content == expected
        if data.draw(st.booleans()):
            disk.sync_file(file)
            assert file.synced == expected
    disk.sync_file(file)
    disk.lose_power(data.draw(st.integers(0, 9)))
    assert file.content == expected


def test_a_tree_is_saved_as_it_was_loaded(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "d").mkdir(parents=True)
    (source / "d" / "a").write_bytes(b"content")
    (source / "d" / "a").chmod(0o600)
    (source / "d").chmod(0o700)
    disk = LosingDisk.load(source)
    disk.lose_power()
    disk.save(target)
    assert (target / "d" / "a").read_bytes() == b"content"
    assert (target / "d" / "a").stat().st_mode & 0o777 == 0o600
    assert (target / "d").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("path", "error"),
    [("/none", FileNotFoundError), ("/a/b", NotADirectoryError), ("/d", IsADirectoryError)],
)
def test_a_path_that_leads_to_no_file_is_refused(path: str, error: type[OSError]) -> None:
    disk, _ = disk_with("/a", b"")
    disk.create("/d", Directory(0o700))
    with pytest.raises(error):
        disk.file(path)
