"""Files are replaced whole or not at all, created once, and on disk before the call returns."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ledger.files import create_file, replace_file

OWN = "file.new"


@pytest.fixture(params=[None, OWN], ids=["any temporary file", "its own temporary file"])
def temporary(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return None if request.param is None else tmp_path / request.param


def test_a_replaced_file_has_the_new_content_and_mode_and_nothing_lies_beside_it(
    tmp_path: Path, temporary: Path | None
) -> None:
    path = tmp_path / "file"
    for content, mode in ((b"one", 0o600), (b"two", 0o644)):
        replace_file(path, content, mode=mode, temporary=temporary)
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o777 == mode
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_crash_left_of_a_files_own_temporary_file_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / OWN).write_bytes(b"more than the new content")
    replace_file(tmp_path / "file", b"new", temporary=tmp_path / OWN)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_where_a_file_cannot_be_written_the_old_one_is_untouched(
    tmp_path: Path, temporary: Path | None, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*arguments: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        replace_file(path, b"new", temporary=temporary)
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"old"]


def test_a_file_and_then_its_directory_are_synced(
    tmp_path: Path, temporary: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "file", list[tuple[bool, bool]]()
    sync = os.fsync

    def note(descriptor: int) -> None:
        is_directory = os.path.samestat(os.fstat(descriptor), tmp_path.stat())
        synced.append((is_directory, path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    replace_file(path, b"new", temporary=temporary)
    path.unlink()
    create_file(path, b"new")
    assert synced == [(False, False), (True, True)] * 2


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "file"
    for make in (replace_file, create_file):
        with pytest.raises(FileNotFoundError) as refused:
            make(path, b"new")
        assert refused.value.filename == str(path)


def test_a_created_file_takes_the_place_of_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    create_file(path, b"first")
    with pytest.raises(FileExistsError):
        create_file(path, b"second")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"first"]
