"""`mulu node start --detach`: what it tells of a node, and that it leaves none behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.local_node import NOT_RUNNING, answers, api_address, network_of
from cli.main import run
from cli.network_setup import Network
from cli.processes import running_process, stop_process
from node.client import NodeClient
from node.config import ApiConfig, NodeConfig, format_config
from node.errors import NodeUnreachable
from tests.cli.stand_in import serving


def stopped(network: Network, name: str) -> Path:
    """Stop a node; return its home."""
    home = network.node_home(network.node(name))
    process_id = running_process(home)
    assert process_id is not None
    assert stop_process(process_id, timeout_s=60)
    return home


def test_of_two_starts_in_the_background_one_says_that_it_has_not_started(
    network: Network,
) -> None:
    home = stopped(network, "xiongan")
    words = (sys.executable, "-m", "cli.main", "node", "start", str(home), "--detach")
    starts = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = {one.wait(90): one.stdout.read() for one in starts if one.stdout is not None}
    assert set(told) in ({0, 1}, {0, 3}), "found running, or ended for want of the store"
    assert f"process {running_process(home)};" in told[0]


def test_a_node_is_told_as_started_when_it_can_be_asked(
    network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    home = stopped(network, "xiongan")
    assert run(["node", "start", str(home), "--detach"]) == 0
    assert answers(home)
    assert f"process {running_process(home)};" in capsys.readouterr().out


def test_a_machine_is_told_which_process_has_been_started_and_whether_it_answers(
    network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    home = stopped(network, "xiongan")
    capsys.readouterr()
    assert run(["node", "start", str(home), "--json"]) == 2
    assert "--detach" in json.loads(capsys.readouterr().out)["error"]["hint"]
    assert run(["node", "start", str(home), "--detach", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "process": running_process(home),
        "answers": True,
        "log": str(home / "node.log"),
    }


ANSWERS = {
    "a page": (200, "text/html", b"<!DOCTYPE html><title>Welcome</title>"),
    "an object": (200, "application/json", b"{}"),
    "an array": (200, "application/json", b"[]"),
    "a refusal": (404, "application/json", b'{"detail":"Not Found"}'),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_another_program_at_a_node_s_port_is_not_taken_for_the_node(
    network: Network, answer: tuple[int, str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    home = stopped(network, "xiongan")
    port = int(network.node("xiongan").api.rpartition(":")[2])
    status, kind, body = answer
    with serving(lambda _: (status, body), port=port, kind=kind) as url:
        capsys.readouterr()
        assert run(["node", "start", str(home), "--detach"]) == 3
        assert "ended before it answered" in capsys.readouterr().err
        assert run(["node", "status", "--home", str(home), "--json"]) == 3
        assert json.loads(capsys.readouterr().out)["reason"] == NOT_RUNNING
        assert run(["network", "status", "--node", url]) == 3
        assert "is no Mulu node" in capsys.readouterr().err
    assert run(["node", "start", str(home), "--detach"]) == 0


def test_another_node_at_a_node_s_port_is_not_taken_for_it(
    network: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = int(network.node("beijing").api.rpartition(":")[2])
    config = NodeConfig(name="hebei", role="query", api=ApiConfig(listen_port=port))
    (tmp_path / "config.toml").write_text(format_config(config))
    capsys.readouterr()
    assert run(["node", "status", "--home", str(tmp_path), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["reason"] == NOT_RUNNING
    assert not answers(tmp_path)
    with (
        NodeClient(api_address(tmp_path)) as client,
        pytest.raises(NodeUnreachable, match="another node, beijing, answers at"),
    ):
        network_of(tmp_path, client)
    home = network.node_home(network.node("beijing"))
    with NodeClient(api_address(home)) as client:
        assert network_of(home, client).name == "beijing"
    assert answers(home)


def test_a_start_in_the_background_that_is_interrupted_leaves_no_process(
    network: Network, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = stopped(network, "xiongan")

    def interrupt(_: Path) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.node.answers", interrupt)  # asked of once the store is open
    assert run(["node", "start", str(home), "--detach"]) == 130
    assert running_process(home) is None
    monkeypatch.undo()
    assert run(["node", "start", str(home), "--detach"]) == 0
