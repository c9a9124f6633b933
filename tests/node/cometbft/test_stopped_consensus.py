"""CometBFT's consensus panics and its process goes on: it is noticed, and mended where a new start can mend it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.network_setup import create_network
from ledger.errors import LedgerError
from node.config import ConsensusConfig
from node.engine import CONTRADICTED
from tests.node.cometbft.engine import needs_cometbft, parts
from tests.node.processes import Processes, eventually

pytestmark = needs_cometbft

RECOVERY_S = 150.0
VICTIM = "hebei"
FAILURE = "CONSENSUS FAILURE!!!"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    network = create_network(
        tmp_path / "home", query_nodes=(), consensus=ConsensusConfig(engine="cometbft")
    )
    started = Processes(network, module="tests.node.cometbft.node_under_test")
    names = [place.name for place in network.validators]
    try:
        started.start(*names)
        started.await_ready(*names, timeout_s=RECOVERY_S)
        yield started
    finally:
        started.close()


def commit(processes: Processes, name: str = "beijing") -> None:
    [sent] = processes.transactions(1)
    with processes.client(name) as client:
        [result] = client.submit([sent.raw], timeout_s=30)
    assert result.status == "committed", result


def log_of(processes: Processes) -> str:
    return (processes.home(VICTIM) / "node.log").read_text("utf-8")


def commits_until_it_fails(processes: Processes) -> None:
    def failed() -> bool:
        commit(processes)
        return FAILURE in log_of(processes)

    eventually(failed, RECOVERY_S)


def findings(processes: Processes) -> set[str]:
    with processes.client(VICTIM) as victim:
        try:
            return {one["code"] for one in victim.network().findings}
        except LedgerError:
            return set()


def test_where_the_others_go_on_both_processes_start_again_and_the_node_is_current(
    processes: Processes,
) -> None:
    """A write-ahead log that cannot be written: CometBFT panics at its own next vote."""
    wal = processes.home(VICTIM) / "cometbft" / "data" / "cs.wal" / "wal"
    kept = wal.with_name("kept")
    before = parts(processes.running[VICTIM].pid)
    # Made when CometBFT turns from fetching blocks to consensus: a node may be ready before.
    eventually(wal.exists, RECOVERY_S)
    shutil.move(wal, kept)
    wal.mkdir()
    commits_until_it_fails(processes)
    assert parts(processes.running[VICTIM].pid) == before, "nobody but us can notice it"
    wal.rmdir()
    shutil.move(kept, wal)

    def both_are_new() -> bool:
        commit(processes)
        after = parts(processes.running[VICTIM].pid)
        return len(after) == 2 and not set(after.values()) & set(before.values())

    eventually(both_are_new, RECOVERY_S)
    assert "CometBFT runs, but decides nothing more: at height" in log_of(processes)
    assert "a process has ended: both start again" in log_of(processes)
    processes.await_ready(VICTIM, timeout_s=RECOVERY_S)
    commit(processes, VICTIM)


def test_a_node_that_disagrees_with_the_others_says_so_and_is_not_started_again_and_again(
    processes: Processes, tmp_path: Path
) -> None:
    order = tmp_path / "order"
    assert processes.stop(VICTIM) == 0
    processes.start(VICTIM, environment={"DISAGREES": str(order)})
    processes.await_ready(VICTIM, timeout_s=RECOVERY_S)
    before = parts(processes.running[VICTIM].pid)
    order.touch()
    commits_until_it_fails(processes)
    eventually(lambda: "diverged" in findings(processes), RECOVERY_S)
    with processes.client(VICTIM) as victim:
        ready, reason = victim.ready()
        status = victim.network()
    assert (ready, CONTRADICTED in reason) == (False, True)
    assert status.stalled == CONTRADICTED
    assert not status.raw["voting"]
    assert '"event": "this node has diverged' in log_of(processes)
    with processes.client("beijing") as beijing:
        eventually(lambda: not beijing.network().findings, RECOVERY_S)
        height = beijing.network().height
    for _ in range(20):
        commit(processes)
    with processes.client("beijing") as beijing:
        assert beijing.network().height >= height + 20
    assert parts(processes.running[VICTIM].pid) == before
    assert "diverged" in findings(processes)
