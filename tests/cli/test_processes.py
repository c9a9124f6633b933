"""Starting nodes: one that cannot start is told at once, with its reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli.network_setup import create_network
from cli.processes import running_process, spawn_node, start_failure, wait_until_ready
from node.home import Home
from tests.node.processes import eventually


def test_a_node_that_cannot_start_is_told_with_its_reason(tmp_path: Path) -> None:
    network = create_network(
        tmp_path / "network",
        name="test",
        validators=("beijing", "tianjin", "hebei", "national"),
        query_nodes=(),
        passphrase="",
    )
    place = network.node("hebei")
    home = network.node_home(place)
    (home / "genesis.json").unlink()
    process = spawn_node(home, detached=False)
    reasons = wait_until_ready(network, (place,), {"hebei": process}, timeout_s=60)
    assert reasons == {"hebei": "its process has ended with status 2"}
    with (home / "node.log").open("a") as log:
        log.write("Traceback of a request\n" * 30)
    failure = start_failure(network, reasons)
    assert "hebei (its process has ended" in failure.text
    assert "genesis.json: No such file" in failure.hint
    assert "Traceback" not in failure.hint


@pytest.mark.parametrize("written", ["home", "./home", "home/", "{there}/home", "link"])
def test_a_node_is_found_however_its_home_was_written(tmp_path: Path, written: str) -> None:
    home = tmp_path / "home"
    process_file = Home(home).process_id
    process_file.parent.mkdir(parents=True)
    (tmp_path / "link").symlink_to(home)
    word = written.format(there=tmp_path)
    waits = (sys.executable, "-c", "import sys; sys.stdin.read()", "node", "start", word)
    with subprocess.Popen(waits, cwd=tmp_path, stdin=subprocess.PIPE) as process:
        process_file.write_text(str(process.pid), "ascii")
        # A process that has just begun has no command line yet.
        eventually(lambda: running_process(home) == process.pid)
        assert running_process(tmp_path) is None
        process.communicate()
    assert running_process(home) is None
