"""A node of this machine: where it answers, and which home belongs to an address."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.local_node import api_address, local_findings, local_home
from cli.network_setup import create_network
from cli.output import CommandError
from node.config import ApiConfig, NodeConfig, format_config


@pytest.mark.parametrize(
    ("api", "address"),
    [
        (ApiConfig(listen_port=8080), "http://127.0.0.1:8080"),
        (ApiConfig(listen_host="0.0.0.0", listen_port=8080), "http://127.0.0.1:8080"),
        (ApiConfig(listen_host="::", listen_port=8080), "http://[::1]:8080"),
        (ApiConfig(listen_host="fd00::7", listen_port=8080), "http://[fd00::7]:8080"),
        (
            ApiConfig(
                listen_host="node.example", listen_port=443, tls_certificate="a", tls_key="b"
            ),
            "https://node.example:443",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_node_answers_where_its_configuration_says(
    tmp_path: Path, api: ApiConfig, address: str
) -> None:
    config = NodeConfig(name="hebei", role="query", api=api)
    (tmp_path / "config.toml").write_text(format_config(config))
    assert api_address(tmp_path) == address


def test_a_directory_that_is_no_home_and_a_port_that_is_not_fixed_are_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(CommandError, match="no node's home"):
        api_address(tmp_path)
    config = NodeConfig(name="hebei", role="query")
    (tmp_path / "config.toml").write_text(format_config(config))
    with pytest.raises(CommandError, match="any free port"):
        api_address(tmp_path)


def test_the_home_of_an_address_is_found_in_the_network_of_this_machine_only(
    tmp_path: Path,
) -> None:
    network = create_network(tmp_path / "home")
    place = network.node("hebei")
    home = network.node_home(place)
    assert local_home(place.api, network.directory) == home
    assert local_home(place.api + "/", network.directory) == home
    assert local_home("http://127.0.0.1:1", network.directory) is None
    assert local_home(place.api, tmp_path / "elsewhere") is None
    assert api_address(home) == place.api
    assert {one["code"] for one in local_findings(home)} <= {"disk_low"}
