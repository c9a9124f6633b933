"""Processes that are killed again and again: one is not missed, all resume by themselves, nothing is lost."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from tests.faults.network import FaultyNetwork


@pytest.mark.row("crash at every numbered write point; kill -9 loops on 1…4 nodes")
@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.faults), 3, 4])
def test_nodes_that_are_killed_again_and_again_lose_nothing(
    network: FaultyNetwork, injected: Counter[str], count: int
) -> None:
    order = itertools.cycle(network.validators)
    with network.load() as load:
        for _ in range(4):
            victims = [next(order) for _ in range(count)]
            network.kill(*victims)
            injected["kill -9"] += count
            if count == 1:  # the others do not stop
                load.await_progress(6)
            network.start(*victims)
            network.await_ready(*victims)
            load.await_progress(6)
    network.check_running(load)
