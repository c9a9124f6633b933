"""CometBFT's program is found, or it is said how it is installed; the supervisor imports nothing of the node."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from consensus.cometbft.release import INSTALL_COMMAND, VERSION
from node.cometbft.program import SupervisedHome, find_engine, supervised_home
from node.config import ConsensusConfig, NodeConfig, format_config
from node.errors import InvalidConfiguration
from tests.node.processes import ROOT


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without CometBFT."""
    for name in ("PATH", "GOPATH", "GOBIN"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere" / "python"))
    monkeypatch.delenv("MULU_COMETBFT", raising=False)


def program(path: Path, version: str) -> Path:
    """A program that tells a version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\n", "ascii")
    path.chmod(0o755)
    return path


def test_where_there_is_none_the_error_says_how_to_install_it() -> None:
    with pytest.raises(InvalidConfiguration) as error:
        find_engine()
    assert str(error.value) == f"CometBFT is not installed. Install it: {INSTALL_COMMAND}"
    assert INSTALL_COMMAND.endswith(f"cmd/cometbft@{VERSION}")


@pytest.mark.parametrize(
    "version",
    ["0.37.25+abc", "0.38.24", "0.38.25-rc1", "0.38", "1.0.0", "1.38.25", "nonsense", "''"],
)
def test_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    found = program(tmp_path / "other" / "cometbft", version)
    monkeypatch.setenv("MULU_COMETBFT", str(found))
    with pytest.raises(
        InvalidConfiguration, match=r"v0\.38\.25 or a later one of its line is needed"
    ):
        find_engine()


@pytest.mark.parametrize("is_there", [False, True])
def test_a_variable_that_names_no_program_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    named = tmp_path / "cometbft"
    if is_there:
        named.write_text("no program\n", "ascii")
    monkeypatch.setenv("MULU_COMETBFT", str(named))
    with pytest.raises(InvalidConfiguration) as error:
        find_engine()
    assert str(error.value).startswith(f"MULU_COMETBFT names {named}, which is no file that can")


@pytest.mark.parametrize("version", ["0.38.25", "v0.38.25", "0.38.26+abc", "0.38.100"])
def test_a_later_version_of_the_same_line_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    found = program(tmp_path / "other" / "cometbft", version)
    monkeypatch.setenv("MULU_COMETBFT", str(found))
    assert find_engine() == found


@pytest.mark.parametrize("place", ["beside Python", "PATH", "GOBIN", "GOPATH"])
def test_it_is_found_wherever_it_is_usually_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    directory = tmp_path / "somewhere"
    match place:
        case "beside Python":
            monkeypatch.setattr(sys, "executable", str(directory / "python"))
        case "GOPATH":
            monkeypatch.delenv("GOBIN")
            monkeypatch.setenv("GOPATH", str(directory))
            directory = directory / "bin"
        case _:
            monkeypatch.setenv(place, str(directory))
    placed = program(directory / "cometbft", "0.38.25")
    assert find_engine() == placed


def write_config(home: Path, engine: str) -> None:
    consensus = ConsensusConfig(engine=engine)  # type: ignore[arg-type]
    config = NodeConfig(name="hebei", role="validator", consensus=consensus)
    (home / "config.toml").write_text(format_config(config), "utf-8")


def test_a_home_says_whether_its_node_is_supervised(tmp_path: Path) -> None:
    assert supervised_home(tmp_path) is None
    write_config(tmp_path, "tendermint")
    assert supervised_home(tmp_path) is None
    write_config(tmp_path, "cometbft")
    assert supervised_home(tmp_path) == SupervisedHome("hebei", "info", "json")
    (tmp_path / "config.toml").write_text("[consensus]\nengine = ", "utf-8")
    assert supervised_home(tmp_path) is None


def test_the_supervisor_imports_nothing_of_the_node() -> None:
    heavy = ["fastapi", "sqlalchemy", "pydantic", "nacl", "plyvel", "google.protobuf", "uvloop"]
    check = f"import node.__main__, sys; print([one for one in {heavy} if one in sys.modules])"
    python = str(Path(sys.prefix) / "bin" / "python")
    told = subprocess.run(
        [python, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]"
