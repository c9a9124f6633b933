"""A validator dies at every numbered point around its writes: it recovers and votes, nothing is lost or signed twice.

Each point is met twice: at a later passing, while the node runs under load, and then at the first passing of the start
that follows, so that it dies again while it recovers. A node that has come back votes: another one is paused, and three
of four are a quorum only with it. Points that only a start passes: `test_crash_points_at_start`; all at one point at
once: `test_crash_points_together`.
"""

from __future__ import annotations

import pytest

from tests.faults.crash_points import POINTS
from tests.faults.crashes import (
    CLIENTS,
    FIRST_START,
    IDLE,
    INDEX_START,
    LATER_START,
    RECOVERY,
    RUNNING,
    SETTING_ASIDE,
    VICTIM,
    Crashes,
)

pytestmark = pytest.mark.row("crash at every numbered write point; kill -9 loops on 1…4 nodes")

SELECTION = (
    "wal/after",
    "last-sign/directory",
    "block/unmarked",
    "block/unsynced",
    "checkpoint-guard/unrenamed",
)
"""Points that `make test` tries, too."""


def test_every_point_is_tried() -> None:
    tried = {point for points in RUNNING.values() for point in points}
    tried.update(IDLE, INDEX_START)
    tried.update(point for points in LATER_START.values() for point in points)
    tried.update(point for point, _ in (*FIRST_START, *RECOVERY, *SETTING_ASIDE))
    assert tried == set(POINTS)


def test_a_validator_that_dies_within_a_write_comes_back_and_votes(crashes: Crashes) -> None:
    with crashes.load() as load:
        for point in SELECTION:
            crashes.crash(VICTIM, point)
        crashes.come_back()
    crashes.network.check_running(load)


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("written", RUNNING)
def test_a_validator_dies_at_each_point_twice_and_votes_again(
    crashes: Crashes, written: str
) -> None:
    with crashes.load() as load:
        die_at_each(crashes, RUNNING[written])
    crashes.network.check_running(load)


IDLE_S = 1.5
"""Each second an idle node saves what no block carries along."""


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_validator_dies_at_each_point_of_saving_checkpoints_and_votes_again(
    crashes: Crashes,
) -> None:
    with crashes.network.load(*CLIENTS, pause_s=IDLE_S) as load:
        die_at_each(crashes, IDLE)
    crashes.network.check_running(load)


def die_at_each(crashes: Crashes, points: tuple[str, ...]) -> None:
    for point in points:
        crashes.crash(VICTIM, point, passing=3)
        crashes.crash(VICTIM, point)  # while it recovers
        crashes.come_back()
