"""Whole networks under faults: what must never happen does not, and after healing the height grows everywhere."""

from __future__ import annotations

import pytest

from tests.consensus.simulation import Faults, Simulation

QUIET = Faults()
LOSSY = Faults(loss=0.25, duplication=0.1, delay_ms=(1, 400))
CRASHING = Faults(crash=0.01, delay_ms=(5, 60))
PARTITIONED = Faults(partitions=True, loss=0.02)
EVERYTHING = Faults(
    loss=0.1,
    duplication=0.1,
    delay_ms=(1, 250),
    crash=0.004,
    wipe_log=0.2,
    partitions=True,
    clock_skew_ms=2_000,
)


def run_and_heal(simulation: Simulation, faulty_ms: int, growth: int = 3) -> None:
    """Run a faulty phase, heal, and require `growth` more heights on every correct node within ten minutes."""
    print(simulation.description)
    simulation.start()
    simulation.run(faulty_ms)
    simulation.heal()
    target = max(simulation.heights()) + growth
    simulation.run(600_000, until=lambda: min(simulation.heights()) >= target)
    simulation.check_evidence()
    assert min(simulation.heights()) >= target, (simulation.heights(), simulation.description)


def test_a_quiet_network_decides_height_after_height_in_round_0() -> None:
    simulation = Simulation(1, 4, QUIET)
    simulation.start()
    simulation.run(5_000)
    assert min(simulation.heights()) >= 15
    for node in simulation.correct:
        assert {commit.round for _, _, commit in node.disk.blocks} == {0}
        assert not node.evidence and not node.refused


@pytest.mark.parametrize("faults", [LOSSY, CRASHING, PARTITIONED, EVERYTHING])
@pytest.mark.parametrize("seed", range(4))
def test_four_correct_nodes_stay_safe_and_recover(seed: int, faults: Faults) -> None:
    run_and_heal(Simulation(seed, 4, faults), 20_000)


@pytest.mark.parametrize("faults", [QUIET, LOSSY, EVERYTHING])
@pytest.mark.parametrize("seed", range(4))
def test_four_nodes_survive_one_equivocator(seed: int, faults: Faults) -> None:
    run_and_heal(Simulation(seed, 4, faults, byzantine=1), 15_000)


@pytest.mark.parametrize("seed", range(3))
def test_seven_nodes_survive_two_equivocators(seed: int) -> None:
    run_and_heal(Simulation(seed, 7, EVERYTHING, byzantine=2), 12_000)
