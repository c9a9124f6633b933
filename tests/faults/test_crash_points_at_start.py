"""A node dies at every numbered point that only a start passes, and the next start brings it back.

The start is its first one, one after a crash, one without an index, or one with a damaged store.
"""

from __future__ import annotations

import os
import shutil

import pytest

from node.client import NodeClient
from tests.faults.crash_points import POINTS
from tests.faults.crashes import (
    CLIENTS,
    FIRST_START,
    INDEX_START,
    LATER_START,
    RECOVERY,
    SETTING_ASIDE,
    VICTIM,
    Crashes,
)
from tests.node.processes import eventually

pytestmark = [
    pytest.mark.row("crash at every numbered write point; kill -9 loops on 1…4 nodes"),
    pytest.mark.faults,
    pytest.mark.timeout(900),
]


SHORT_CHAIN_S = 1.0
"""Between the transactions of a client where a node fetches the whole chain with each start."""


def test_a_node_that_dies_at_each_point_of_its_first_start_begins_once_more(
    crashes: Crashes,
) -> None:
    network = crashes.network
    with network.load(*CLIENTS, pause_s=SHORT_CHAIN_S) as load:
        for point, passing in FIRST_START:
            network.kill(VICTIM)
            shutil.rmtree(network.home(VICTIM) / "data")  # what its keys have signed binds it
            crashes.crash(VICTIM, point, passing)
            crashes.start(VICTIM)
            network.await_ready(VICTIM)
            network.check_signatures()
        network.kill(VICTIM)
        crashes.come_back()
    network.check_running(load)


@pytest.mark.parametrize("before", LATER_START)
def test_a_validator_dies_again_at_each_point_of_the_start_that_follows(
    crashes: Crashes, before: str
) -> None:
    with crashes.load() as load:
        for point in LATER_START[before]:
            if before in POINTS:
                crashes.crash(VICTIM, before)
            else:
                crashes.network.kill(VICTIM)
            crashes.crash(VICTIM, point)
            crashes.come_back()
    crashes.network.check_running(load)


def test_a_node_that_dies_at_each_point_of_building_its_index_builds_it_again(
    crashes: Crashes,
) -> None:
    network = crashes.network
    with crashes.load() as load:
        for point in INDEX_START:
            network.kill(VICTIM)
            for path in (network.home(VICTIM) / "data").glob("index.sqlite*"):
                path.unlink()
            crashes.crash(VICTIM, point)
            crashes.start(VICTIM)
            network.await_ready(VICTIM)
        network.kill(VICTIM)
        crashes.come_back()
    with network.client(VICTIM, "national-auditor") as auditor:
        for receipt in load.acknowledged[:: len(load.acknowledged) // 10]:
            identifier = str(receipt.transaction.operations[0].body["id"])
            eventually(lambda identifier=identifier: finds(auditor, identifier))  # type: ignore[misc]
    network.check_running(load)


def finds(client: NodeClient, identifier: str) -> bool:
    """Tell whether a node's search finds an instrument."""
    page = client.directory("instrument", text=identifier)
    return [item["id"] for item in page.items] == [identifier]


@pytest.mark.parametrize(
    ("damaged", "points"),
    [("MANIFEST-*", RECOVERY), ("../head", SETTING_ASIDE)],
    ids=["database", "head marker"],
)
def test_a_node_that_dies_at_each_point_of_saving_a_damaged_store_saves_it_in_the_next_start(
    crashes: Crashes, damaged: str, points: tuple[tuple[str, int], ...]
) -> None:
    network = crashes.network
    database = network.home(VICTIM) / "data" / "ledger" / "db"
    with crashes.load() as load:
        for point, passing in points:
            network.kill(VICTIM)
            [path] = database.glob(damaged)
            os.truncate(path, 20)
            crashes.crash(VICTIM, point, passing)
            crashes.come_back()
            assert not list(database.parent.parent.glob("fsck-*")), "a copy was left behind"
    network.check_running(load)
