"""A validator whose store is damaged: it stops, saves what can be saved, and votes again only when it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.network_setup import create_network
from cli.node import app
from node.client import NodeClient
from tests.node.processes import Processes, eventually

VICTIM = "hebei"


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Four validators with some history, the victim's in a table of its database."""
    network = create_network(tmp_path_factory.mktemp("damage") / "home", query_nodes=())
    started = Processes(network)
    try:
        started.start(*(place.name for place in network.validators))
        started.await_ready(*(place.name for place in network.validators))
        with started.client("beijing") as beijing:
            for _ in range(3):
                sent = [one.raw for one in started.transactions(20)]
                results = beijing.submit(sent, timeout_s=30)
                assert {result.status for result in results} == {"committed"}
        yield started
    finally:
        started.close()


def table_of(processes: Processes) -> Path:
    """Stop the victim with its history in a table, and return that table's path."""
    for _ in range(2):  # LevelDB makes a table of its log when it opens
        if VICTIM in processes.running:
            assert processes.stop(VICTIM) == 0
        processes.start(VICTIM)
        processes.await_ready(VICTIM)
    assert processes.stop(VICTIM) == 0
    tables = (processes.home(VICTIM) / "data" / "ledger" / "db").glob("*.ldb")
    return max(tables, key=lambda path: path.stat().st_size)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x40
    path.write_bytes(content)


DAMAGES = ("rows", "index of a table", "table missing", "manifest cut")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_validator_saves_what_can_be_saved_and_says_so(
    processes: Processes, damage: str
) -> None:
    table = table_of(processes)
    size = table.stat().st_size
    match damage:
        case "rows":
            flip(table, size // 2)
        case "index of a table":
            flip(table, size - 60)
        case "table missing":
            table.unlink()
        case _:
            [manifest] = table.parent.glob("MANIFEST-*")
            manifest.write_bytes(manifest.read_bytes()[:20])
    log = processes.home(VICTIM) / "node.log"
    log.write_bytes(b"")
    with processes.client("beijing") as beijing, processes.client(VICTIM) as victim:
        [before] = beijing.submit([one.raw for one in processes.transactions(1)], timeout_s=30)
        assert before.status == "committed"
        processes.start(VICTIM)
        eventually(lambda: "the store was damaged" in log.read_text("utf-8"))
        eventually(lambda: says_so(victim))
        processes.await_ready(VICTIM)
        eventually(lambda: victim.network().app_hash == beijing.network().app_hash)
    status = CliRunner().invoke(app, ["status", "--node", victim.url, "--json"])
    assert "the store was damaged" in status.output


def test_what_was_fetched_anew_is_whole_and_the_validator_votes(processes: Processes) -> None:
    assert processes.stop(VICTIM) == 0
    processes.start(VICTIM)
    processes.await_ready(VICTIM)
    with processes.client("beijing") as beijing, processes.client(VICTIM) as victim:
        assert victim.network().damage is None
        eventually(lambda: beijing.network().online == 4)
        processes.kill("national")
        # Three of four are a quorum only if the victim is one of them.
        [result] = beijing.submit([one.raw for one in processes.transactions(1)], timeout_s=30)
    assert result.status == "committed"


def says_so(client: NodeClient) -> bool:
    return client.healthy() and client.network().damage is not None
