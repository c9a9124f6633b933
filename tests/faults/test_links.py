"""Links that are bad but not gone: flapping, stalls, delay, little bandwidth, resets, ends that nobody has told."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator
from itertools import permutations

import pytest

from tests.faults.measured import Measured
from tests.faults.network import FaultyNetwork
from tests.faults.relay import Bandwidth, Condition
from tests.node.processes import eventually

ROW = "partitions 3/1, 2/2, asymmetric, ring, flapping; loss, delay, bandwidth"
RANDOM = random.Random(20_110)


def _until(seconds: float) -> Iterator[None]:
    """Go round for so long."""
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        yield


@pytest.mark.row(ROW)
@pytest.mark.faults
def test_partitions_that_change_every_moment_stop_nothing_for_good(
    relayed: FaultyNetwork, injected: Counter[str], measured: Measured
) -> None:
    names = relayed.validators
    with relayed.load() as load:
        for _ in _until(20):
            shuffled = RANDOM.sample(names, 4)
            size = RANDOM.choice([1, 2])
            relayed.relays.partition(shuffled[:size], shuffled[size:])
            injected[f"partition {4 - size}/{size}"] += 1
            time.sleep(RANDOM.uniform(0.5, 2))
        relayed.relays.heal()
        measured.recovery(relayed)
    relayed.check_running(load)


@pytest.mark.row(ROW)
@pytest.mark.faults
def test_moments_in_which_a_direction_carries_nothing_cost_moments(
    relayed: FaultyNetwork, injected: Counter[str]
) -> None:
    directions = list(permutations(relayed.validators, 2))
    with relayed.load() as load:
        seen = len(load.acknowledged)
        for _ in _until(10):
            direction = RANDOM.choice(directions)
            relayed.relays.set(Condition(cut=True), direction)
            time.sleep(RANDOM.uniform(0.1, 0.5))
            relayed.relays.set(Condition(), direction)
            injected["stall"] += 1
        assert len(load.acknowledged) > seen + 5
    relayed.check_running(load)


@pytest.mark.row(ROW)
@pytest.mark.faults
def test_links_that_are_reset_again_and_again_are_dialled_again(
    relayed: FaultyNetwork, injected: Counter[str], measured: Measured
) -> None:
    pairs = itertools.cycle(permutations(relayed.validators, 2))
    with relayed.load() as load:
        seen = len(load.acknowledged)
        for _ in _until(8):
            relayed.relays.reset(next(pairs))
            injected["link reset"] += 1
            time.sleep(0.3)
        assert len(load.acknowledged) > seen
        measured.recovery(relayed)
    relayed.check_running(load)


@pytest.mark.row(ROW)
@pytest.mark.faults
def test_a_node_that_everybody_refuses_says_so_at_once_and_is_back_when_they_do_not(
    relayed: FaultyNetwork, injected: Counter[str], measured: Measured
) -> None:
    with relayed.load("beijing", "national", "tianjin") as load:
        relayed.relays.set(Condition(reset=True), *relayed.relays.around("hebei"))
        injected["directions refused"] += 6
        measured.loss_of_quorum(relayed, "hebei")
        load.await_progress(10)
        relayed.relays.heal()
        measured.recovery(relayed)
    relayed.check_running(load)


@pytest.mark.row(ROW)
@pytest.mark.faults
def test_connections_that_the_middle_has_forgotten_are_given_up_and_made_anew(
    relayed: FaultyNetwork, injected: Counter[str], measured: Measured
) -> None:
    with relayed.load() as load:
        load.await_progress(5)
        relayed.relays.freeze()
        injected["connections forgotten"] += 6
        measured.recovery(relayed)
    relayed.check_running(load)


@pytest.mark.row(ROW)
@pytest.mark.faults
def test_a_node_that_was_restarted_behind_a_cut_is_taken_back_though_its_old_links_look_alive(
    relayed: FaultyNetwork, injected: Counter[str], measured: Measured
) -> None:
    with relayed.load("beijing", "national", "tianjin") as load:
        relayed.relays.set(Condition(cut=True), *relayed.relays.around("hebei"))
        relayed.kill("hebei")  # nobody hears of it
        relayed.start("hebei")
        injected["killed behind a cut"] += 1
        with relayed.client("hebei") as hebei:
            eventually(hebei.healthy, 60.0)
        load.await_progress(5)
        relayed.relays.heal()
        measured.recovery(relayed)
    relayed.check_running(load)


@pytest.mark.row(ROW)
@pytest.mark.parametrize("far", [["tianjin"], ["beijing", "hebei", "national", "tianjin"]])
@pytest.mark.faults
def test_a_quarter_of_a_second_each_way_slows_blocks_and_stops_none(
    relayed: FaultyNetwork, injected: Counter[str], measured: Measured, far: list[str]
) -> None:
    directions = {one for name in far for one in relayed.relays.around(name)}
    relayed.relays.set(Condition(delay_s=0.25, jitter_s=0.1), *directions)
    injected["direction delayed"] += len(directions)
    with relayed.load() as load:
        began_s, height = time.monotonic(), relayed.height("beijing")
        load.await_progress(20)
        heights = relayed.height("beijing") - height
        measured["a block"] = (time.monotonic() - began_s) / heights
    relayed.check_running(load)


@pytest.mark.row(ROW)
@pytest.mark.faults
def test_large_blocks_pass_a_node_with_little_bandwidth_by_and_reach_it_in_the_end(
    relayed: FaultyNetwork, injected: Counter[str], measured: Measured
) -> None:
    _narrow(relayed, "hebei")
    injected["limit of 64 KiB/s"] += 2
    with measured.during("the slow one commits after"):
        with (
            measured.during("the others commit 0.7 MB after"),
            relayed.client("beijing") as beijing,
        ):
            sent = [one.raw for one in relayed.transactions(15, 240)]
            results = beijing.submit(sent, timeout_s=60)
        assert {one.status for one in results} == {"committed"}
        with relayed.load("beijing", "national", "tianjin") as load:
            load.await_progress(20)
        relayed.commit_one("hebei", 120.0)
    relayed.check_running(load)


@pytest.mark.row(ROW)
@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_node_that_was_away_catches_up_over_little_bandwidth(
    relayed: FaultyNetwork, injected: Counter[str], measured: Measured
) -> None:
    relayed.kill("hebei")
    with relayed.client("beijing") as beijing:
        for _ in range(2):
            results = beijing.submit([one.raw for one in relayed.transactions(10, 240)])
            assert {one.status for one in results} == {"committed"}
    _narrow(relayed, "hebei")
    injected["limit of 64 KiB/s"] += 2
    with (
        relayed.load("beijing", "national", "tianjin") as load,
        measured.during("the slow one has fetched 1 MB and commits after"),
    ):
        relayed.start("hebei")
        relayed.commit_one("hebei", 150.0)
    relayed.check_running(load)


def _narrow(network: FaultyNetwork, name: str) -> None:
    """Limit all that a node hears together, and all that it says."""
    around = network.relays.around(name)
    for end in (0, 1):
        ways = [direction for direction in around if direction[end] == name]
        network.relays.set(Condition(bandwidth=Bandwidth(64 * 1024)), *ways)
