"""A node of this machine: where it answers, and which home belongs to an address."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.local_node import api_address, describe_silent, local_findings, local_home, log_text
from cli.main import run
from cli.network_setup import create_network
from cli.output import CommandError
from node.config import ApiConfig, ConsensusConfig, NodeConfig, format_config


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


# --- a node that does not answer ---------------------------------------------------------------------

SURVIVED = {"event": "a handler failed unexpectedly", "level": "error", "operation": "a.b"}
STOPPED = {"event": "ended by a signal", "level": "info", "signal": "SIGTERM"}
STARTED = {"event": "listening for peers", "level": "info", "port": 7}
FAILED = {"event": "a part failed", "level": "critical", "reason": "no room", "timestamp": "2026"}

LOGS: dict[str, tuple[list[dict[str, object]], str, object]] = {
    "stopped in order, after an error that it survived": ([SURVIVED, STOPPED], "stopped", None),
    "failed after it had been stopped and started": (
        [SURVIVED, STOPPED, STARTED, FAILED],
        "not running",
        FAILED,
    ),
    "killed after it had been stopped and started": (
        [SURVIVED, STOPPED, STARTED],
        "not running",
        STARTED,
    ),
    "failed": ([SURVIVED, FAILED], "not running", FAILED),
    "never started": ([], "not running", None),
}


def write_log(home: Path, lines: list[dict[str, object]]) -> None:
    (home / "node.log").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


@pytest.mark.parametrize("case", LOGS)
def test_a_node_that_does_not_run_is_shown_as_its_log_says_that_it_ended(
    tmp_path: Path, case: str
) -> None:
    lines, reason, shown = LOGS[case]
    write_log(tmp_path, lines)
    record = describe_silent("http://127.0.0.1:1", tmp_path, "no answer")
    assert (record["ready"], record["reason"], record.get("log")) == (False, reason, shown)


def test_people_read_a_line_of_the_log_not_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert log_text(dict(FAILED)) == "2026 critical: a part failed (reason=no room)"
    engine = {"level": "error", "ts": "2026", "_msg": "CONSENSUS FAILURE!!!", "err": "x"}
    assert log_text(engine) == "2026 error: CONSENSUS FAILURE!!! (err=x)"
    assert log_text("Traceback") == "Traceback"
    config = NodeConfig(name="hebei", role="query", api=ApiConfig(listen_port=1))
    (tmp_path / "config.toml").write_text(format_config(config))
    write_log(tmp_path, [FAILED])
    assert run(["node", "status", "--home", str(tmp_path)]) == 3
    shown = capsys.readouterr().out
    assert "critical: a part failed (reason=no room)" in shown
    assert "{" not in shown
    assert run(["node", "status", "--home", str(tmp_path), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["log"] == FAILED


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ("tendermint", "its process {} runs, but no answer"),
        ("cometbft", "its supervisor {} runs; both its processes are restarting"),
    ],
)
def test_a_supervisor_whose_node_does_not_answer_restarts_it(
    tmp_path: Path, engine: str, reason: str
) -> None:
    consensus = ConsensusConfig(engine=engine)  # type: ignore[arg-type]
    config = NodeConfig(name="hebei", role="validator", consensus=consensus)
    (tmp_path / "config.toml").write_text(format_config(config))
    write_log(tmp_path, [STOPPED])
    wait = "print(flush=True); input()"
    words = (sys.executable, "-c", wait, "node", os.fspath(tmp_path.resolve()))
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n", "it runs under its own command line now"
        (tmp_path / "node.pid").write_text(str(process.pid), "ascii")
        record = describe_silent("http://127.0.0.1:1", tmp_path, "no answer")
        process.communicate(b"\n", timeout=60)
    assert record["reason"] == reason.format(process.pid)


@pytest.mark.parametrize("words", [("status", "--home"), ("start",)])
def test_a_network_s_home_is_told_from_a_node_s(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    create_network(tmp_path / "network", consensus=ConsensusConfig())
    assert run(["node", *words, str(tmp_path / "network")]) == 2
    told = capsys.readouterr().err
    assert "is no node's home" in told
    assert "nodes/beijing" in told.replace("\n", "")
