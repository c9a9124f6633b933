"""Application, engine or both of a node with CometBFT are killed at random under load: no other node halts."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from consensus.cometbft.layout import IDLE_INTERVAL_S
from node.config import ConsensusConfig
from tests.faults.measured import Measured
from tests.faults.network import RECOVERY_S, FaultyNetwork, shared_network
from tests.node.cometbft.engine import needs_cometbft, parts
from tests.node.processes import eventually

pytestmark = needs_cometbft

PARTS = (("application",), ("cometbft",), ("application", "cometbft"), ("supervisor",))


@pytest.fixture(scope="module")
def network_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyNetwork]:
    """Four validators with CometBFT."""
    with shared_network(
        tmp_path_factory.mktemp("cometbft"), consensus=ConsensusConfig(engine="cometbft")
    ) as shared:
        yield shared


def kill_parts(network: FaultyNetwork, name: str, killed: tuple[str, ...]) -> None:
    """Kill processes of a node; what its supervisor does not start again is started here."""
    supervisor = network.running[name].pid
    if "supervisor" in killed:
        left = parts(supervisor)
        network.kill(name)
        for process_id in left.values():  # the kernel ends them with it
            eventually(lambda process_id=process_id: not is_running(process_id))  # type: ignore[misc]
        network.start(name)
        return
    eventually(lambda: len(parts(supervisor)) == 2, RECOVERY_S)
    for part, process_id in parts(supervisor).items():
        if part in killed:
            os.kill(process_id, signal.SIGKILL)


def is_running(process_id: int) -> bool:
    try:
        status = Path(f"/proc/{process_id}/stat").read_text("ascii")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.row("crash at every numbered write point; kill -9 loops on 1…4 nodes")
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("count", [4, pytest.param(50, marks=pytest.mark.faults)])
def test_whatever_is_killed_of_a_node_with_cometbft_the_others_go_on_and_nothing_is_lost(
    network: FaultyNetwork, injected: Counter[str], measured: Measured, count: int
) -> None:
    chance = random.Random(20261128)
    choices = [*PARTS, *(chance.choice(PARTS) for _ in range(count - len(PARTS)))]
    with network.load() as load:
        load.await_progress(5)
        for number, killed in enumerate(choices):
            victim = network.validators[number % 4]
            kill_parts(network, victim, killed)
            injected[f"kill -9 of {' and '.join(killed)}"] += 1
            load.await_progress(5)  # the others do not stop
            network.await_ready(victim, timeout_s=RECOVERY_S)
            network.commit_one(victim)
    measured.recovery(network)
    network.check_running(load)


@pytest.mark.row("crash at every numbered write point; kill -9 loops on 1…4 nodes")
@pytest.mark.faults
@pytest.mark.timeout(500)
def test_validators_that_began_a_height_for_what_has_expired_meet_those_that_come_back(
    network: FaultyNetwork, injected: Counter[str], measured: Measured
) -> None:
    """CometBFT's validators wait for each other then; the empty block of the interval brings them together."""
    away = ("hebei", "national")
    network.kill(*away)
    injected["kill -9"] += 2
    [short] = network.transactions(1, lifetime_s=10)
    with network.client("beijing") as beijing:
        [result] = beijing.submit([short.raw], wait="none")
        assert result.status == "pending"
        height = beijing.network().height
        eventually(lambda: time.time_ns() // 1_000_000 > short.valid_until_ms)
        network.start(*away)
        with measured.during("until the next block"):
            eventually(lambda: beijing.network().height > height, IDLE_INTERVAL_S + RECOVERY_S)
    network.await_ready(*network.validators, timeout_s=RECOVERY_S)
    network.check_running()
