"""A network of real processes with the sample jurisdictions, and its officers' command line; one network a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.main import run
from cli.network_setup import Network, load_network
from cli.processes import running_process, stop_process
from tests.cli.officers import Shell


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    home = tmp_path_factory.mktemp("running") / "home"
    assert run(["network", "init", "--home", str(home)]) == 0
    network = load_network(home)
    try:
        assert run(["network", "start", "--home", str(home), "--timeout", "90"]) == 0
        yield network
    finally:
        for place in network.nodes:
            process_id = running_process(network.node_home(place))
            if process_id is not None:
                stop_process(process_id)


@pytest.fixture
def shell(
    network: Network, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    monkeypatch.setenv("MULU_HOME", str(network.directory))
    capsys.readouterr()
    return Shell(network, capsys)
