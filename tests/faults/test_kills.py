"""Processes that are killed again and again: one is not missed, all resume by themselves, nothing is lost."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from tests.faults.network import FaultyNetwork
from tests.node.processes import eventually


@pytest.mark.row("crash at every numbered write point; kill -9 loops on 1…4 nodes")
@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.faults), 3, 4])
def test_nodes_that_are_killed_again_and_again_lose_nothing(
    network: FaultyNetwork, injected: Counter[str], count: int
) -> None:
    order = itertools.cycle(network.validators)
    with network.load() as load:
        for _ in range(4):
            victims = [next(order) for _ in range(count)]
            seen = len(load.acknowledged)
            network.kill(*victims)
            injected["kill -9"] += count
            if count == 1:  # the others do not stop
                eventually(lambda seen=seen: len(load.acknowledged) > seen + 5)  # type: ignore[misc]
            network.start(*victims)
            network.await_ready(*victims)
            seen = len(load.acknowledged)
            eventually(lambda seen=seen: len(load.acknowledged) > seen + 5, 60.0)  # type: ignore[misc]
    network.check(load)
