"""Data and records of what was signed: wiped, damaged, or put back from an old backup, while the keys are kept.

Each is done to a validator that stands still for a moment while the others go on. It never signs what lies behind it
again, catches up, and votes again by the rule of the last-sign guard: at once where the record is there, else after a
height that began after its start.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from consensus.tendermint.last_sign import LastSign
from ledger.limits import CLOCK_BOUND_MS
from tests.faults.damage import cut, flip
from tests.faults.network import FaultyNetwork, Load, faulty_network
from tests.node.processes import eventually

VICTIM = "hebei"

pytestmark = pytest.mark.row("data wiped or restored from an old backup, key kept")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyNetwork]:
    """Four validators, and a backup of the victim's whole home, some blocks old, beside it."""
    with faulty_network(tmp_path_factory.mktemp("records")) as started:
        for _ in range(3):
            started.commit_one(VICTIM)
        assert started.stop(VICTIM) == 0
        shutil.copytree(started.home(VICTIM), backup_of(started.home(VICTIM)))
        started.start(VICTIM)
        started.await_ready(VICTIM)
        yield started


def backup_of(home: Path) -> Path:
    return home.with_name(f"{home.name}-backup")


# --- what is done to the files --------------------------------------------------------------------


def wipe_data(home: Path) -> None:
    shutil.rmtree(home / "data")


def restore_data(home: Path) -> None:
    wipe_data(home)
    shutil.copytree(backup_of(home) / "data", home / "data")


def lose_last_sign(home: Path) -> None:
    (home / "keys" / "last-sign").unlink()


def empty_last_sign(home: Path) -> None:
    cut(home / "keys" / "last-sign", 0)


def damage_last_sign(home: Path) -> None:
    flip(home / "keys" / "last-sign", 50)


def restore_as_the_manual_says(home: Path) -> None:
    """Lay out the home from a backup without data and without records of what was signed."""
    wipe_data(home)
    for name in ("last-sign", "checkpoint-guard"):
        (home / "keys" / name).unlink()


def restore_data_and_lose_last_sign(home: Path) -> None:
    restore_data(home)
    lose_last_sign(home)


def lose_checkpoint_guard(home: Path) -> None:
    (home / "keys" / "checkpoint-guard").unlink()


def damage_checkpoint_guard(home: Path) -> None:
    cut(home / "keys" / "checkpoint-guard", 7)


def restore_checkpoint_guard(home: Path) -> None:
    shutil.copy(backup_of(home) / "keys" / "checkpoint-guard", home / "keys" / "checkpoint-guard")


def restore_data_and_checkpoint_guard(home: Path) -> None:
    restore_data(home)
    restore_checkpoint_guard(home)


Damage = Callable[[Path], None]


def long(damage: Damage) -> object:
    return pytest.param(damage, marks=pytest.mark.faults)


@pytest.mark.parametrize(
    "damage",
    [
        long(restore_data),
        long(wipe_data),
        long(restore_checkpoint_guard),
        long(restore_data_and_checkpoint_guard),
    ],
)
def test_with_its_record_a_validator_signs_nothing_old_and_votes_again_at_once(
    network: FaultyNetwork, injected: Counter[str], damage: Damage
) -> None:
    before = last_signed(network)
    with network.load("beijing", "tianjin") as load:
        damaged(network, damage, load)
        injected[damage.__name__] += 1
        network.await_ready(VICTIM)
        eventually(lambda: last_signed(network) > before, 60.0)
    assert "not voting" not in log_of(network).read_text("utf-8")
    assert_it_is_missed(network)


@pytest.mark.parametrize(
    "damage",
    [
        long(lose_last_sign),
        long(empty_last_sign),
        long(damage_last_sign),
        long(restore_as_the_manual_says),
        long(restore_data_and_lose_last_sign),
    ],
)
def test_without_its_record_a_validator_is_silent_until_a_new_height_is_decided(
    network: FaultyNetwork, injected: Counter[str], damage: Damage
) -> None:
    known = len(signed_by(network, VICTIM))
    with network.load("beijing", "tianjin") as load:
        started_ms = damaged(network, damage, load)
        injected[damage.__name__] += 1
        network.await_ready(VICTIM)
        eventually(lambda: voted_heights(network, known) != [], 60.0)
    assert "not voting until a height" in log_of(network).read_text("utf-8")
    # The block before the last one decided was proposed after the start, so the last one began after it.
    first_height = voted_heights(network, known)[0]
    with network.client("beijing", "national-auditor") as auditor:
        assert auditor.block(first_height - 2)["time_ms"] > started_ms + 2 * CLOCK_BOUND_MS
    assert_it_is_missed(network)


@pytest.mark.faults
@pytest.mark.parametrize("damage", [lose_checkpoint_guard, damage_checkpoint_guard])
def test_without_its_record_a_validator_signs_no_checkpoint_of_before_its_start(
    network: FaultyNetwork, injected: Counter[str], damage: Damage
) -> None:
    known = len(signed_by(network, VICTIM))
    with network.load("beijing", "tianjin") as load:
        started_ms = damaged(network, damage, load)
        injected[damage.__name__] += 1
        eventually(lambda: checkpoint_sizes(network, known) != [], 60.0)
    assert voted_heights(network, known)
    assert "checkpoint not signed: no record" in log_of(network).read_text("utf-8")
    first_size = checkpoint_sizes(network, known)[0]
    with network.client("beijing", "national-auditor") as auditor:
        height = next(
            block["height"]
            for block in auditor.blocks(limit=500).items
            if block["first_index"] + block["entry_count"] == first_size
        )
        assert auditor.block(height)["time_ms"] > started_ms + 2 * CLOCK_BOUND_MS


def test_after_all_that_every_invariant_holds(
    network: FaultyNetwork, injected: Counter[str]
) -> None:
    with network.load() as load:
        damaged(network, wipe_data, load)
        injected["wipe_data"] += 1
        network.await_ready(VICTIM)
    network.check(*network.loads)


# --- helpers --------------------------------------------------------------------------------------


def damaged(network: FaultyNetwork, damage: Damage, load: Load) -> int:
    """Do something to the victim's files while the others go on, and start it; return when, or a little before."""
    if VICTIM in network.running:
        assert network.stop(VICTIM) == 0
    damage(network.home(VICTIM))
    seen = len(load.acknowledged)
    eventually(lambda: len(load.acknowledged) > seen + 5)
    log_of(network).write_bytes(b"")
    started_ms = time.time_ns() // 1_000_000
    network.start(VICTIM)
    return started_ms


def voted_heights(network: FaultyNetwork, known: int) -> list[int]:
    """Return the heights of votes that the victim has signed after the first `known` signatures."""
    places = signed_by(network, VICTIM)[known:]
    return [place[0] for place in places if place[0] != "checkpoint"]


def checkpoint_sizes(network: FaultyNetwork, known: int) -> list[int]:
    """Return the sizes of checkpoints that the victim has signed after the first `known` signatures."""
    return [place[1] for place in signed_by(network, VICTIM)[known:] if place[0] == "checkpoint"]


def signed_by(network: FaultyNetwork, name: str) -> list[list[Any]]:
    """Return the place of each signature that a node's witness has seen."""
    lines = network.signatures(name).read_text("ascii").splitlines()
    return [json.loads(line)["place"] for line in lines]


def last_signed(network: FaultyNetwork) -> int:
    """Return the height that the victim has signed last."""
    return LastSign.decode((network.home(VICTIM) / "keys" / "last-sign").read_bytes()).height


def assert_it_is_missed(network: FaultyNetwork) -> None:
    """Stop another one: three of four are a quorum only if the victim votes."""
    with network.client("beijing") as beijing:
        eventually(lambda: beijing.network().online == 4)
    assert network.stop("national") == 0
    try:
        network.commit_one("beijing")
    finally:
        network.start("national")
    network.await_ready("national")


def log_of(network: FaultyNetwork) -> Path:
    return network.home(VICTIM) / "node.log"
