"""What commands write takes the place of regular files only."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cli.main import run
from cli.output import CommandError
from cli.output_files import check_output, write_output
from cli.profiles import Profiles, load_profiles, save_profiles

ZEROS = "0" * 64
NODE = ("--node", "http://127.0.0.1:1")


def test_a_new_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    write_output(tmp_path / "file", b"1")
    write_output(tmp_path / "file", b"2")
    assert (tmp_path / "file").read_bytes() == b"2"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_and_what_it_points_to_is_written(is_there: bool, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "target"
    if is_there:
        target.write_bytes(b"old")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "link to it").symlink_to("link")
    write_output(tmp_path / "link to it", b"new")
    assert (tmp_path / "link to it").is_symlink() and (tmp_path / "link").is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["pipe", "link to the pipe", "directory", "loop"])
def test_what_is_no_regular_file_stays(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link to the pipe").symlink_to("pipe")
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    before = (tmp_path / name).lstat()
    with pytest.raises(CommandError, match=f"{name} is no regular file"):
        write_output(tmp_path / name, b"x")
    assert (tmp_path / name).lstat() == before


def test_a_name_that_no_file_can_have_is_wrong_input() -> None:
    with pytest.raises(CommandError, match="cannot write"):
        check_output(Path("a\0b"))


REQUEST = (
    *("--matter", "m", "--ask", "type:field", "--case-number", "1", "--purpose", "p"),
    *("--division", "110112"),
)

COMMANDS: dict[str, tuple[str, ...]] = {
    "a bundle": ("audit", "bundle", "--use", ZEROS, "--out", "PIPE", *NODE),
    "a license": (
        *("license", "issue", "--type", "t", "--serial", "1", "--field", "a=b", *NODE),
        *("--out", "PIPE"),
    ),
    "a request": ("license", "request", *REQUEST, "--request-out", "PIPE", *NODE),
    "a case": ("license", "request", *REQUEST, "--code", "12345678", "--case", "PIPE", *NODE),
    "an approval": (
        *("license", "approve", "x", "--license", f"{ZEROS}=a", "--approval-out", "PIPE"),
        *NODE,
    ),
    "released fields": (
        *("license", "release", ZEROS, "--package", "x", "--sealed-out", "PIPE"),
        *NODE,
    ),
    "a consent": ("wallet", "consent", "x", "--out", "PIPE"),
    "disclosed fields": ("wallet", "disclose", ZEROS, "--out", "PIPE"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_a_command_refuses_a_pipe_before_it_does_anything(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MULU_HOME", str(tmp_path))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert run([str(pipe) if word == "PIPE" else word for word in COMMANDS[case]]) == 2
    assert f"{pipe} is no regular file" in capsys.readouterr().err
    assert pipe.is_fifo()


def test_profiles_that_lie_elsewhere_are_changed_there(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "profiles.toml").symlink_to("../kept.toml")
    save_profiles(Profiles(tmp_path / "home", "one"))
    assert (tmp_path / "home" / "profiles.toml").is_symlink()
    assert load_profiles(tmp_path / "home").default == "one"
