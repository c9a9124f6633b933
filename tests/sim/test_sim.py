"""Whole nodes under faults: a short selection of seeds, and planted bugs that the judge must find.

`make sim SEEDS=1000` runs more seeds; a failing one is run again with `make sim FIRST=seed SEEDS=1`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import ledger.execution
from consensus.tendermint import driver
from consensus.tendermint.effects import SaveWal
from consensus.tendermint.last_sign import LastSignGuard
from consensus.tendermint.timeouts import Timeouts
from consensus.tendermint.vote_keeper import VoteKeeper
from ledger.errors import StorageError
from ledger.validators import ValidatorSet
from node.runner import Runner
from tests.consensus.planted import forgetful, unlocking
from tests.sim.judge import Violation
from tests.sim.plan import LOST_LOGS, SLOW, Plan, plan_of
from tests.sim.workers import Result, run_seed, run_seeds
from tests.sim.world import World, simulate

ROOT = Path(__file__).parents[2]

HIDDEN = Plan(seconds=25, scripts=("double votes",), hidden_votes=True)
CRASHES = Plan(seconds=8, crash=0.006, outage_ms=200, all_at_once=True)
POWER_FAILURES = replace(CRASHES, crash=0.0005)


def test_a_quiet_network_commits_what_is_submitted_at_once() -> None:
    world = simulate(1, Plan(seconds=3))
    assert world.judge.height > 30
    assert world.injected["transaction submitted"] == sum(world.injected.values())


@pytest.mark.parametrize("seed", range(4))
def test_no_seed_shows_a_violation(seed: int) -> None:
    simulate(seed, plan_of(seed))


@pytest.mark.parametrize(
    "plan",
    [
        replace(HIDDEN, seconds=13),
        Plan(n=7, seconds=3, scripts=("equivocating proposer", "double votes"), loss=0.05),
        Plan(seconds=4, scripts=("twins",), partitions=("halves", "ring", "flapping")),
        Plan(seconds=6, crash=0.003, outage_ms=300, lost_data=0.5, lost_guard=0.3),
        Plan(seconds=4, validator_changes=True, checkpoints=True, crash=0.0005),
        Plan(seconds=6, scripts=("invalid blocks",), bad_transactions=True),
        POWER_FAILURES,
        Plan(seconds=6, calm_s=1, write_error=0.01, outage_ms=300, checkpoints=True),
        Plan(seconds=6, pause_s=2, clock_error_ms=2_000, clock_jumps=True, bytes_per_s=20_000),
        replace(SLOW, seconds=5),
    ],
    ids=[
        "hidden votes",
        "two liars of seven",
        "twins",
        "lost data",
        "validator changes",
        "invalid blocks",
        "power failures",
        "write errors",
        "pauses, clock jumps and slow links",
        "a network slower than timeouts",
    ],
)
def test_the_rarer_faults_show_no_violation(plan: Plan) -> None:
    simulate(1, plan)


def test_double_voters_get_onto_the_ledger_and_leave_where_four_remain() -> None:
    world = simulate(1, Plan(n=7, seconds=4, scripts=("double votes", "equivocating proposer")))
    assert world.injected["double voting recorded"] == 2
    assert len(world.judge.reference.tip.validators) == 5


def test_a_seed_gives_the_same_run_in_another_process() -> None:
    """Also under another hash seed: nothing hangs on the order of a set."""
    script = (
        "from tests.sim.plan import plan_of; from tests.sim.world import simulate; "
        "w = simulate(3, plan_of(3)); "
        "print(w.judge.reference.tip.app_hash.hex(), sorted(w.injected.items()))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(outputs) == 1


# ---- Seeds on several cores.


def dying(seed: int) -> Result:
    if seed == 2:
        os._exit(3)
    return Result(seed, heights=seed)


def test_results_come_in_the_order_of_the_seeds_and_a_worker_that_dies_counts_against_its_seed() -> (
    None
):
    results = list(run_seeds(range(5), 2, dying))
    assert [(one.seed, one.heights) for one in results if one.seed != 2] == [
        (seed, seed) for seed in (0, 1, 3, 4)
    ]
    assert results[2].violation == "its process died, exit code 3"


def test_whatever_is_raised_counts_as_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(seed: int, plan: Plan) -> World:
        raise ZeroDivisionError("as told")

    monkeypatch.setattr("tests.sim.workers.simulate", broken)
    assert "ZeroDivisionError: as told" in (run_seed(0).violation or "")


# ---- The judge finds bugs that are planted on purpose.


def found(plan: Plan, seeds: range, arrange: Callable[[World], None] | None = None) -> str:
    """Return the first violation that the seeds show."""
    for seed in seeds:
        try:
            simulate(seed, plan, arrange)
        except Violation as violation:
            return str(violation)
    return "none found"


def test_it_finds_a_quorum_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ValidatorSet, "quorum_size", property(lambda self: len(self) // 2))
    monkeypatch.setattr(ValidatorSet, "quorum", lambda self, votes: votes >= len(self) // 2)
    plan = Plan(seconds=6, partitions=("halves",), crash=0.0005)
    assert "a commit of 2 good votes" in found(plan, range(6))


def test_it_finds_a_missing_lock_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "apply", forgetful)
    assert "agreement: two blocks" in found(HIDDEN, range(6))


def test_it_finds_a_lock_that_a_nil_polka_takes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "apply", unlocking)
    assert "agreement: two blocks" in found(HIDDEN, range(6))


def test_it_finds_a_guard_that_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LastSignGuard, "_stored_signature", lambda *_: None)
    assert "double signing" in found(LOST_LOGS, range(20))


def test_it_finds_a_log_that_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    perform = Runner._perform

    async def careless(self: Runner, of: object, effect: object) -> object:
        return None if isinstance(effect, SaveWal) else await perform(self, of, effect)  # type: ignore[arg-type]

    monkeypatch.setattr(Runner, "_perform", careless)
    assert "liveness" in found(CRASHES, range(20))


def test_it_finds_a_missing_round_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VoteKeeper, "round_to_skip_to", lambda self: None)
    plan = Plan(seconds=6, scripts=("withheld proposals",), loss=0.1, partitions=("one alone",))
    assert "others in" in found(plan, range(6))


def test_it_finds_timeouts_that_do_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timeouts, "_grown_ms", lambda self, first_ms, round: first_ms)
    assert "liveness" in found(replace(SLOW, seconds=5), range(2))


def test_it_finds_a_process_that_goes_on_after_a_failed_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    perform = Runner._perform

    async def careless(self: Runner, of: object, effect: object) -> object:
        try:
            return await perform(self, of, effect)  # type: ignore[arg-type]
        except StorageError:
            return None

    monkeypatch.setattr(Runner, "_perform", careless)
    plan = Plan(seconds=4, write_error=0.01)
    assert "after a write had failed" in found(plan, range(4))


def test_it_finds_a_disk_whose_sync_does_nothing() -> None:
    def lying(world: World) -> None:
        for host in world.hosts.values():
            host.disk.forgets_syncs = True

    assert "durability" in found(POWER_FAILURES, range(10), lying)


def test_it_finds_an_execution_that_differs_between_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    execute = ledger.execution.execute
    calls = [0]

    def unsteady(state, context, transactions, *rest):  # type: ignore[no-untyped-def]
        calls[0] += 1
        given = transactions[::-1] if calls[0] % 7 == 0 else transactions
        outcome = execute(state, context, given, *rest)
        return replace(outcome, results=outcome.results[::-1]) if given else outcome

    monkeypatch.setattr("ledger.finalization.execute", unsteady)
    assert "agreement: two outcomes" in found(Plan(seconds=4, pause_ms=5), range(4))
