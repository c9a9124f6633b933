"""What tests of faults share: the count of what they inject, and networks, each made once for a module.

To lay a network out, to start it and to check its stores takes as long as many a fault does: a test checks what it can
while all run, and the stores are checked after the module's last test.

A test that injects faults is marked `@pytest.mark.row("…")` with its row of docs/RELIABILITY.md, takes the fixture
`injected` and counts there what it has done: `injected["kill -9"] += 1`; times worth telling go into `measured`.
`make faults` lists all. Long ones are marked `faults` as well: `make test` leaves them out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.conftest import INJECTED, MEASURED
from tests.faults.crashes import Crashes
from tests.faults.measured import Measured
from tests.faults.network import FaultyNetwork, shared_network


@pytest.fixture
def injected(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Count what is injected; the sums stand in the report."""
    counter = request.node.stash[INJECTED] = Counter()
    yield counter
    assert counter, "a test of a fault that has injected none"


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Take seconds by what they are of; they stand in the report."""
    measured = request.node.stash[MEASURED] = Measured()
    return measured


@pytest.fixture(scope="module")
def network_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyNetwork]:
    """Four validators."""
    with shared_network(tmp_path_factory.mktemp("shared")) as shared:
        yield shared


@pytest.fixture
def network(network_of_module: FaultyNetwork) -> FaultyNetwork:
    """The shared network as a test finds it: everybody runs and is ready."""
    network_of_module.restore()
    return network_of_module


@pytest.fixture(scope="module")
def crashing_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyNetwork]:
    """Four validators that do not run yet."""
    with shared_network(tmp_path_factory.mktemp("crashing"), started=False) as shared:
        yield shared


@pytest.fixture
def crashes(crashing_network: FaultyNetwork, injected: Counter[str]) -> Crashes:
    """A shared network as a test finds it: everybody obeys orders, runs and is ready."""
    crashes = Crashes(crashing_network, injected)
    crashes.restore()
    return crashes


@pytest.fixture(scope="module")
def relayed_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyNetwork]:
    """Four validators behind relays."""
    with shared_network(tmp_path_factory.mktemp("relayed"), relayed=True) as shared:
        yield shared


@pytest.fixture
def relayed(relayed_network: FaultyNetwork) -> FaultyNetwork:
    """A shared network as a test finds it: every byte flows, everybody runs and is ready."""
    relayed_network.restore()
    return relayed_network
