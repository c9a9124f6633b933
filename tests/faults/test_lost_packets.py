"""Packets that the kernel loses between hosts: its retransmissions, and what is built upon them, recover."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from node.pulse import ASK_INTERVAL_S, MAX_IN_VAIN
from tests.faults.measured import Measured
from tests.faults.namespaces import Hosts, hosts, missing
from tests.faults.network import FaultyNetwork, faulty_network

pytestmark = [
    pytest.mark.row("partitions 3/1, 2/2, asymmetric, ring, flapping; loss, delay, bandwidth"),
    pytest.mark.faults,
]

ALL = ("beijing", "hebei", "national", "tianjin")


@pytest.fixture
def apart() -> Iterator[Hosts]:
    """A host for each validator."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with hosts(*ALL) as made:
        yield made


@pytest.fixture
def network(apart: Hosts, tmp_path: Path) -> Iterator[FaultyNetwork]:
    """Four validators, each on its host."""
    with faulty_network(tmp_path, started=False) as made:
        made.network = apart.place(made.network)
        for name in ALL:
            made.start(name, under=apart.under(name))
        made.await_ready(*ALL)
        yield made


def test_hosts_that_lose_packets_and_each_other_recover(
    apart: Hosts, network: FaultyNetwork, injected: Counter[str], measured: Measured
) -> None:
    with network.load() as load:
        for direction in permutations(ALL, 2):
            apart.lose(*direction, probability=0.05)
            injected["direction loses one packet in twenty"] += 1
        load.await_progress(20)
        apart.heal()
        for other in ALL:
            if other != "hebei":
                apart.lose("hebei", other)
                apart.lose(other, "hebei")
                injected["direction loses all"] += 2
        measured.loss_of_quorum(network, "hebei")
        time.sleep(MAX_IN_VAIN * ASK_INTERVAL_S)  # links are given up, and dialled in vain
        load.await_progress(10)
        apart.heal()
        measured.recovery(network)
    network.check(load)
