"""Slow and paused processes: the others do not wait for them, and what they serve afterwards is not old."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from node.pulse import SILENT_S
from tests.faults.measured import Measured
from tests.faults.network import FaultyNetwork, shared_network

ROW = "slow or paused node"

MAX_GROWTH_BYTES = 64 * 1024 * 1024
"""What may wait for a paused node at each of the others, and their caches."""


@pytest.fixture(scope="module")
def network_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyNetwork]:
    """Four validators and a query node."""
    with shared_network(tmp_path_factory.mktemp("paused"), query_nodes=["xiongan"]) as shared:
        yield shared


@pytest.mark.row(ROW)
@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("hebei", 8.0),
        pytest.param("hebei", 30.0, marks=pytest.mark.faults),
        pytest.param("xiongan", 10.0, marks=pytest.mark.faults),
    ],
)
def test_a_paused_node_holds_up_nobody_and_is_not_ready_before_it_is_current_again(
    network: FaultyNetwork,
    injected: Counter[str],
    measured: Measured,
    name: str,
    seconds: float,
) -> None:
    others = [one for one in network.validators if one != name]
    before = {one: network.resident_bytes(one) for one in others}
    with network.load(*others) as load:
        load.await_progress(10)
        network.pause(name)
        injected[f"SIGSTOP for {seconds:.0f} s"] += 1
        seen = len(load.acknowledged)
        time.sleep(seconds)
        acknowledged = len(load.acknowledged) - seen
        height = network.height(others[0])
        network.resume(name)
        with measured.during("current again after"):
            _await_current(network, name, height)
    measured["an acknowledgement meanwhile"] = seconds / max(acknowledged, 1)
    assert acknowledged > seconds
    for one in others:
        assert network.resident_bytes(one) - before[one] < MAX_GROWTH_BYTES
    network.check_running(load)


def _await_current(network: FaultyNetwork, name: str, height: int) -> None:
    """Wait until a node that was paused is ready: it is not while it is behind.

    `height` was the others' when it resumed; two blocks fewer still count as current.
    """
    began_s = time.monotonic()
    with network.client(name) as client:
        while not client.ready()[0]:  # asked without a pause: the first moment counts
            assert time.monotonic() - began_s < 60, "not ready in time"
        assert client.network().height >= height - 2


@pytest.mark.row(ROW)
@pytest.mark.faults
def test_a_proposer_that_is_paused_costs_a_moment(
    network: FaultyNetwork, injected: Counter[str], measured: Measured
) -> None:
    names = sorted(network.validators)
    with network.load() as load:
        load.await_progress(5)
        for _ in range(12):
            proposer = names[(network.height("beijing") + 1) % 4]
            with measured.during("slowest four acknowledgements"):
                network.pause(proposer)
                injected["SIGSTOP of the next proposer"] += 1
                # Four: it may have sent what a validator that is a block behind had asked it for.
                load.await_progress(4, 15.0)
            network.resume(proposer)
    network.check_running(load)


@pytest.mark.row(ROW)
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.faults
def test_paused_together_they_go_on_together(
    network: FaultyNetwork, injected: Counter[str], measured: Measured, count: int
) -> None:
    paused, running = network.validators[:count], network.validators[count:]
    with network.load() as load:
        load.await_progress(5)
        network.pause(*paused)
        injected["SIGSTOP"] += count
        measured.loss_of_quorum(network, *running)
        time.sleep(2 * SILENT_S)
        network.resume(*paused)
        measured.recovery(network)
    network.check_running(load)


@pytest.mark.row(ROW)
@pytest.mark.faults
def test_a_node_that_gets_a_tenth_of_the_time_holds_up_nobody(
    network: FaultyNetwork, injected: Counter[str], measured: Measured
) -> None:
    with network.load("beijing", "national", "tianjin") as load:
        with _starved(network, "hebei", injected), measured.during("the starved one commits after"):
            with measured.during("thirty acknowledgements"):
                load.await_progress(30)
            network.commit_one("hebei")
        measured.recovery(network)
    network.check_running(load)


@contextmanager
def _starved(network: FaultyNetwork, name: str, injected: Counter[str]) -> Iterator[None]:
    """Let a node run for 50 ms of each 500 ms."""
    ended = threading.Event()

    def starve() -> None:
        while not ended.is_set():
            network.pause(name)
            injected["SIGSTOP for 450 ms"] += 1
            ended.wait(0.45)
            network.resume(name)
            ended.wait(0.05)

    thread = threading.Thread(target=starve)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(10)
