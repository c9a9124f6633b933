"""`--engine cometbft`: what is laid out, and what is said where the program is missing."""

from __future__ import annotations

import json
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import network as network_commands
from cli import node as node_commands
from cli.engine_setup import engine_peer, require_engine
from cli.main import run
from cli.network_setup import load_network
from cli.output import CommandError
from consensus.cometbft.release import INSTALL_COMMAND
from node.config import load_config


@pytest.fixture
def without_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without CometBFT."""
    for name in ("PATH", "GOPATH", "GOBIN"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere" / "python"))
    monkeypatch.delenv("MULU_COMETBFT", raising=False)


def lay_out(home: Path, *words: str) -> str:
    done = CliRunner().invoke(network_commands.app, ["init", "--home", str(home), *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_network_with_cometbft_is_a_full_mesh_of_one_genesis(tmp_path: Path) -> None:
    lay_out(tmp_path / "home", "--engine", "cometbft")
    network = load_network(tmp_path / "home")
    geneses, mesh = set(), []
    for place in network.nodes:
        home = network.node_home(place)
        assert load_config(home / "config.toml").consensus.engine == "cometbft"
        config = home / "cometbft" / "config"
        geneses.add((config / "genesis.json").read_text("utf-8"))
        settings = tomllib.loads((config / "config.toml").read_text("utf-8"))
        assert settings["moniker"] == place.name
        mesh.append((settings["p2p"]["laddr"], settings["p2p"]["persistent_peers"].split(",")))
    [genesis] = geneses
    assert json.loads(genesis)["chain_id"] == network.chain_id
    assert {v["name"] for v in json.loads(genesis)["validators"]} == {
        place.name for place in network.validators
    }
    addresses = {own.removeprefix("tcp://") for own, _ in mesh}
    for own, peers in mesh:
        dialled = {peer.partition("@")[2] for peer in peers}
        assert dialled == addresses - {own.removeprefix("tcp://")}


def test_the_embedded_engine_lays_out_nothing_of_cometbft(tmp_path: Path) -> None:
    lay_out(tmp_path / "home")
    network = load_network(tmp_path / "home")
    homes = [network.node_home(place) for place in network.nodes]
    assert not any((home / "cometbft").exists() for home in homes)
    require_engine(homes)  # needs no program


@pytest.mark.usefixtures("without_program")
def test_without_the_program_init_warns_and_start_refuses_with_the_command_that_installs_it(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    assert f"Install it: {INSTALL_COMMAND}" in lay_out(home, "--engine", "cometbft")
    network = load_network(home)
    for command, words in (
        (network_commands.app, ["start", "--home", str(home)]),
        (node_commands.app, ["start", str(network.node_home(network.nodes[0]))]),
    ):
        done = CliRunner().invoke(command, words)
        assert isinstance(done.exception, CommandError)
        assert done.exception.text == "CometBFT is not installed"
        assert done.exception.hint == f"Install it: {INSTALL_COMMAND}"
        assert (done.exception.code, done.exception.exit_code) == ("engine_missing", 3)
    assert not (network.node_home(network.nodes[0]) / "node.log").exists()


@pytest.mark.usefixtures("without_program")
@pytest.mark.parametrize("command", [("demo", "--exit"), ("bench", "idle")])
def test_without_the_program_demo_and_bench_refuse_before_they_make_a_home(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run([*command, "--engine", "cometbft"]) == 3
    assert "CometBFT is not installed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without_program")
def test_the_embedded_engine_needs_no_program_and_no_warning(tmp_path: Path) -> None:
    assert "CometBFT" not in lay_out(tmp_path / "home")


@pytest.mark.parametrize("text", ["", "beijing=10.0.0.1:1", "00@h:1", "0" * 40 + "@h:port"])
def test_an_address_that_is_none_of_cometbft_s_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="not a peer of CometBFT"):
        engine_peer(text)
