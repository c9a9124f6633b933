"""Starting nodes: one that cannot start is told at once, with its reason."""

from __future__ import annotations

from pathlib import Path

from cli.network_setup import create_network
from cli.processes import spawn_node, start_failure, wait_until_ready


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
