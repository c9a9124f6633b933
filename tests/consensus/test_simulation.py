"""Whole networks under faults: what must never happen does not, and after healing the height grows everywhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.tendermint import driver
from consensus.tendermint.last_sign import LastSignGuard
from ledger.errors import InvalidSignature
from ledger.validators import ValidatorSet
from ledger.votes import Vote, VoteType
from tests.consensus.planted import forgetful, unlocking
from tests.consensus.simulation import (
    CRASHING,
    EVERYTHING,
    LOSSY,
    PARTITIONED,
    QUIET,
    Faults,
    Simulation,
)


def run_and_heal(simulation: Simulation, faulty_ms: int) -> None:
    """Run a phase with faults, heal, and require recovery."""
    print(simulation.description)
    simulation.start()
    simulation.run(faulty_ms)
    simulation.check_recovery()


def test_a_quiet_network_decides_height_after_height_in_round_0() -> None:
    simulation = Simulation(1, 4, QUIET)
    simulation.start()
    simulation.run(2_000)
    assert min(simulation.heights()) >= 15
    for node in simulation.correct:
        assert {commit.round for _, _, commit in node.disk.blocks} == {0}
        assert not node.evidence and not node.refused


@pytest.mark.parametrize("faults", [LOSSY, CRASHING, PARTITIONED, EVERYTHING])
@pytest.mark.parametrize("seed", range(4))
def test_four_correct_nodes_stay_safe_and_recover(seed: int, faults: Faults) -> None:
    run_and_heal(Simulation(seed, 4, faults), 20_000)


@pytest.mark.parametrize("seed", range(4))
def test_four_nodes_survive_one_equivocator(seed: int) -> None:
    run_and_heal(Simulation(seed, 4, QUIET, byzantine=1), 4_000)
    run_and_heal(Simulation(seed, 4, LOSSY, byzantine=1), 15_000)
    run_and_heal(Simulation(seed, 4, EVERYTHING, byzantine=1), 15_000)


@pytest.mark.parametrize("seed", range(3))
def test_four_nodes_survive_two_instances_of_one_key(seed: int) -> None:
    run_and_heal(Simulation(seed, 4, PARTITIONED, byzantine=1, twins=True), 10_000)
    run_and_heal(Simulation(seed, 4, EVERYTHING, byzantine=1, twins=True), 10_000)


@pytest.mark.parametrize("seed", range(2))
def test_seven_nodes_survive_two_equivocators(seed: int) -> None:
    run_and_heal(Simulation(seed, 7, EVERYTHING, byzantine=2), 10_000)


def test_the_same_seed_gives_the_same_run() -> None:
    runs = []
    for _ in range(2):
        simulation = Simulation(7, 4, EVERYTHING, byzantine=1)
        simulation.start()
        simulation.run(8_000)
        runs.append([node.disk for node in simulation.correct])
    assert runs[0] == runs[1]


@pytest.mark.parametrize("seed", range(6))
def test_the_log_brings_back_the_state_that_wrote_it(seed: int) -> None:
    """At any moment, a new driver that replays all events logged so far stands where the old one stands."""
    simulation = Simulation(seed, 4, replace(EVERYTHING, wipe_log=0.0), byzantine=1)
    simulation.start()
    compared = 0
    for _ in range(60):
        simulation.run(150)
        for node in simulation.correct:
            driver = node.driver
            if node.up and driver.started and not driver.decided:
                again = node.new_driver(driver.height)
                again.replay(
                    [*(node.disk.wal[i] for i in sorted(node.disk.wal)), *driver._log.unsaved]
                )
                assert again.state == driver.state, simulation.description
                assert again.status() == driver.status(), simulation.description
                compared += 1
    assert compared > 50


def run_the_lock_scenario() -> None:
    """One node decides A and is cut off; only one other saw the polka; the faulty one then votes for anything.

    Height 1: beijing proposes A in round 0. Anhui's precommit for it is hidden from all others, and the prevotes for
    it of anhui and of faulty fujian from chongqing. So only beijing's lock stands between A, which anhui has
    decided, and what chongqing, who knows no polka, proposes later.
    """
    simulation = Simulation(3, 4, QUIET, byzantine_names=("fujian",))
    decided_alone = simulation.nodes["anhui"].disk

    def hides(to: str, vote: Vote) -> bool:
        if vote.height != 1 or vote.round != 0 or vote.block_id is None:
            return False
        if vote.type is VoteType.PRECOMMIT:
            return vote.validator == "anhui"
        return to == "chongqing" and vote.validator in ("anhui", "fujian")

    simulation.hides = hides
    simulation.start()
    simulation.cut = lambda a, b: decided_alone.height >= 1 and "anhui" in (a, b)
    simulation.run(60_000)
    assert simulation.heights() == [1, 0, 0]  # nobody else can decide anything but A, or know of it
    simulation.hides = lambda to, vote: False
    simulation.heal()
    simulation.run(60_000, until=lambda: min(simulation.heights()) >= 3)
    assert min(simulation.heights()) >= 3


def test_a_single_lock_protects_a_decision_that_nobody_else_knows_of() -> None:
    run_the_lock_scenario()


# ---- The suite can fail: bugs planted on purpose are found.


def find_violation(faults: Faults, byzantine: int, seeds: range) -> str:
    for seed in seeds:
        try:
            run_and_heal(Simulation(seed, 4, faults, byzantine), 15_000)
        except (AssertionError, InvalidSignature) as error:
            return str(error)
    return "none found"


def test_it_finds_a_missing_lock_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "apply", forgetful)
    with pytest.raises(AssertionError, match="two blocks"):
        run_the_lock_scenario()


def test_it_finds_unlocking_on_a_nil_polka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "apply", unlocking)
    with pytest.raises(AssertionError, match="two blocks"):
        run_the_lock_scenario()


def test_it_finds_a_quorum_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ValidatorSet, "quorum_size", property(lambda self: len(self) // 2))
    assert "no quorum" in find_violation(LOSSY, 0, range(5))


def test_it_finds_a_guard_that_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LastSignGuard, "_stored_signature", lambda *_: None)
    assert "signed twice" in find_violation(EVERYTHING, 0, range(40))
