"""A new network: everything its nodes and people need, and nothing where something is wrong."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from cli import sample
from cli.main import run
from cli.network_setup import create_network, free_ports, load_network
from cli.output import CommandError
from cli.profiles import load_profiles
from directory.codes import division_problem
from ledger.genesis import Genesis
from ledger.keyfile import read_public_key
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519
from ledger.uscc import uscc_problem
from node.home import open_home


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("network") / "home"
    create_network(home)
    return home


def test_every_node_finds_what_it_needs_in_its_home(directory: Path) -> None:
    network = load_network(directory)
    assert [place.name for place in network.validators] == list(sample.VALIDATORS)
    assert [place.name for place in network.query_nodes] == list(sample.QUERY_NODES)
    for place in network.nodes:
        opened = open_home(network.node_home(place))
        assert opened.config.name == place.name
        assert (opened.signers is not None) == (place.role == "validator")
        assert f"http://127.0.0.1:{opened.config.api.listen_port}" == place.api
        assert len(opened.config.peers.addresses) == len(network.nodes) - 1


def test_genesis_registers_the_sample_and_the_policy_is_its_validators(directory: Path) -> None:
    genesis = Genesis.from_json((directory / "genesis.json").read_bytes())
    assert {one.uscc for one in genesis.organisations} == {o.uscc for o in sample.ORGANISATIONS}
    assert len(genesis.keys) == len(sample.KEYS)
    policy = Policy.parse(SHA256_ED25519, (directory / "policy.txt").read_bytes())
    assert {log.key.name for log in policy.logs} == {genesis.chain_id}
    assert policy.as_of is not None
    assert policy.as_of.validators_hash == genesis.validators.hash(genesis.suite)


def test_every_profile_names_an_enrolled_key_and_a_running_place(directory: Path) -> None:
    genesis = Genesis.from_json((directory / "genesis.json").read_bytes())
    enrolled = dict(genesis.keys)
    profiles = load_profiles(directory)
    apis = {place.api for place in load_network(directory).nodes}
    for name, profile in profiles.by_name.items():
        key = read_public_key(profiles.path(profile.key))
        assert enrolled[key].organisation == profile.organisation, name
        assert profile.node in apis
    assert profiles.select(None).key == "keys/national-auditor.key"


def test_private_keys_are_readable_by_their_owner_only(directory: Path) -> None:
    private = [*directory.rglob("*.key"), *directory.rglob("*.pem"), *directory.rglob("*.sealing")]
    assert len(private) > len(sample.KEYS)
    for path in private:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_codes_of_the_sample_are_well_formed() -> None:
    for one in sample.ORGANISATIONS:
        assert uscc_problem(one.uscc) is None
        assert division_problem(one.division) is None


def test_ports_lie_below_those_of_outgoing_connections() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    lowest = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0]
    assert max(ports) < int(lowest)


def test_ports_are_taken_from_the_range_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MULU_PORTS", "21000-21099")
    assert all(21_000 <= port <= 21_099 for port in free_ports(20))
    with pytest.raises(CommandError, match="fewer than 101"):
        free_ports(101)
    for text in ("21000", "0-9", "2-1", "1-65536", "a-b"):
        monkeypatch.setenv("MULU_PORTS", text)
        with pytest.raises(CommandError, match="no range of ports"):
            free_ports(1)


WRONG = {
    "an unknown authority": ({"validators": ("beijing", "tianjin", "hebei", "paris")}, "paris"),
    "a node twice": ({"query_nodes": ("beijing",)}, "twice"),
    "too few validators": ({"validators": ("beijing", "tianjin", "hebei")}, "3 validators"),
    "a chain name with blanks": ({"name": "my chain"}, "name"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_network_is_refused_and_leaves_nothing_behind(case: str, tmp_path: Path) -> None:
    arguments, text = WRONG[case]
    home = tmp_path / "home"
    with pytest.raises(CommandError, match=text):
        create_network(home, **arguments)  # type: ignore[arg-type]
    assert not home.exists()


def test_a_directory_in_use_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert run(["network", "init", "--home", str(tmp_path)]) == 2
    assert "not an empty directory" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_stopping_a_network_that_does_not_run_says_so(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["network", "stop", "--home", str(directory), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"stopped": []}


@pytest.mark.parametrize("command", ["start", "stop"])
def test_a_node_that_joined_by_itself_is_not_the_networks_to_start_or_stop(
    command: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["network", command, "--home", str(directory), "--only", "fengtai"]) == 2
    err = capsys.readouterr().err
    assert "no node 'fengtai' among those that `mulu network init` made" in err
    assert "hebei" in err
    assert "mulu node start HOME" in err
    assert "kill -TERM $(cat HOME/node.pid)" in err
