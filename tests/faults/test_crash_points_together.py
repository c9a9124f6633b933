"""All validators die at one numbered point at once, and go on by themselves: nothing is lost or signed twice."""

from __future__ import annotations

import pytest

from tests.faults.crashes import TOGETHER, Crashes


@pytest.mark.row("crash at every numbered write point; kill -9 loops on 1…4 nodes")
@pytest.mark.faults
@pytest.mark.timeout(900)
def test_all_validators_that_die_at_one_point_at_once_go_on_by_themselves(
    crashes: Crashes,
) -> None:
    network = crashes.network
    for point in TOGETHER:
        with crashes.crash_together(point) as load:
            crashes.start(*network.validators)
            network.await_ready(*network.validators)
            load.await_progress(5)
        network.check_signatures()
    network.check_running(*network.loads)
