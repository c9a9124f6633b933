"""What tests of faults share: the count of what they inject, and a network of their own.

A test that injects faults is marked `@pytest.mark.row("…")` with its row of docs/RELIABILITY.md, takes the fixture
`injected` and counts there what it has done: `injected["kill -9"] += 1`; times worth telling go into `measured`.
`make faults` lists all. Long ones are marked `faults` as well: `make test` leaves them out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import INJECTED, MEASURED
from tests.faults.crashes import Crashes, crashing
from tests.faults.network import FaultyNetwork, faulty_network


@pytest.fixture
def injected(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Count what is injected; the sums stand in the report."""
    counter = request.node.stash[INJECTED] = Counter()
    yield counter
    assert counter, "a test of a fault that has injected none"


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> dict[str, float]:
    """Take seconds by what they are of; they stand in the report."""
    return request.node.stash.setdefault(MEASURED, {})


@pytest.fixture
def network(tmp_path: Path) -> Iterator[FaultyNetwork]:
    """Four validators of this test alone, running and ready."""
    with faulty_network(tmp_path) as started:
        yield started


@pytest.fixture
def crashes(tmp_path: Path, injected: Counter[str]) -> Iterator[Crashes]:
    """Four validators of this test alone that obey orders to die, running and ready."""
    with crashing(tmp_path, injected) as started:
        yield started


@pytest.fixture(scope="module")
def relayed_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyNetwork]:
    """Four validators that the tests of a module share; their stores are checked after the last."""
    with faulty_network(tmp_path_factory.mktemp("relayed"), relayed=True) as started:
        yield started
        started.restore()
        started.check(*started.loads)


@pytest.fixture
def relayed(relayed_network: FaultyNetwork) -> FaultyNetwork:
    """The shared network as a test finds it: every byte flows, everybody runs and is ready."""
    relayed_network.restore()
    return relayed_network
