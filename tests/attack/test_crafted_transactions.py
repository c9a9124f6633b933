"""Every operation of every module, fuzzed from its model, through every door of a real application.

What is checked of each block is in `judge`; where the bodies come from, in `bodies` and `crafting`.
`HYPOTHESIS_PROFILE=thorough` tries many more.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from ledger.admission import INVALID_BODY
from ledger.codec import encode
from ledger.operations import body_value
from node.operation_table import OPERATIONS
from tests.attack.bodies import EXTREMES
from tests.attack.crafting import Attacks, craft, frames
from tests.attack.judge import Judge, app_hashes
from tests.attack.sloppy import ODDITIES
from tests.attack.world import World, open_world

ROOT = Path(__file__).parents[2]
KINDS = sorted(OPERATIONS)

FEW = settings(
    max_examples=settings().max_examples if os.environ.get("HYPOTHESIS_PROFILE") else 20,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def attacks(world: World) -> Attacks:
    return Attacks(world)


@pytest.mark.parametrize("kind", KINDS)
def test_the_attacked_ledger_lets_every_operation_take_effect_when_it_is_good(
    world: World, judge: Judge, kind: str
) -> None:
    (result,) = judge.judge(world.sign(world.good[kind]).raw)
    assert (result.code, result.text) == ("", "")


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(data=st.data())
def test_a_crafted_operation_fails_alone_and_by_a_code(
    world: World, judge: Judge, attacks: Attacks, kind: str, data: st.DataObject
) -> None:
    operations = data.draw(st.lists(attacks.operations(kind), min_size=1, max_size=2))
    raw = craft(world, tuple(operations), data.draw(attacks.signers_of(kind)))
    judge.judge(raw)


@pytest.mark.parametrize("kind", KINDS)
def test_the_crafted_operations_pass_and_fail_in_every_way(
    world: World, judge: Judge, attacks: Attacks, kind: str
) -> None:
    """Fuzzing is worth something only if it gets past the first check, and past the last one, too."""
    good, few = world.good[kind], settings(max_examples=1_000, phases=(Phase.generate,))

    def ends(operation: tuple[str, dict[str, Any]], wanted: Callable[[str], bool]) -> bool:
        results = judge.judge(craft(world, (operation,), good.by))
        return bool(results) and wanted(results[0].code)

    ways: tuple[Callable[[str], bool], ...] = (
        lambda code: code == "",
        lambda code: code == INVALID_BODY,
        lambda code: code in OPERATIONS[kind].codes,
    )
    for way in ways:
        find(attacks.operations(kind), lambda one, way=way: ends(one, way), settings=few)  # type: ignore[misc]


@FEW
@given(data=st.data())
def test_crafted_operations_of_several_kinds_share_blocks_and_transactions(
    world: World, judge: Judge, attacks: Attacks, data: st.DataObject
) -> None:
    raws = []
    for _ in range(data.draw(st.integers(1, 3))):
        kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
        operations = tuple(data.draw(attacks.operations(kind)) for kind in kinds)
        raws.append(craft(world, operations, data.draw(attacks.signers_of(kinds[0]))))
    judge.judge(*raws)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_operation_twice_is_done_once_or_is_harmless_twice(
    world: World, judge: Judge, kind: str
) -> None:
    good = world.good[kind]
    operation = (kind, body_value(good.body))
    once = craft(world, (operation,), good.by)
    again = craft(world, (operation,), good.by)
    first, second = judge.judge(once, again)
    assert first.succeeded
    (both,) = judge.judge(craft(world, (operation, operation), good.by))
    assert both.code == second.code, "in one transaction as in two"
    assert both.operation_index == (None if second.succeeded else 1)
    (result,) = judge.judge(once, once)
    assert result.succeeded, "the very same transaction stands in a block once"


@pytest.mark.parametrize("oddity", ODDITIES, ids=repr)
def test_bytes_that_are_not_canonical_are_no_transaction(
    world: World, judge: Judge, oddity: object
) -> None:
    good = world.good["directory.instrument.publish"]
    body = {**body_value(good.body), "name": oddity}
    assert judge.judge(craft(world, ((good.kind, body),), good.by)) == ()
    assert judge.judge(craft(world, oddity, good.by)) == ()


@FEW
@given(data=st.data())
def test_a_frame_that_is_wrong_keeps_a_transaction_out(
    world: World, judge: Judge, data: st.DataObject
) -> None:
    good = world.good[data.draw(st.sampled_from(KINDS))]
    operation = (good.kind, body_value(good.body))
    assert judge.judge(craft(world, (operation,), good.by, data.draw(frames(world)))) == ()


@FEW
@given(data=st.data())
def test_bytes_changed_after_signing_keep_a_transaction_out(
    world: World, judge: Judge, data: st.DataObject
) -> None:
    raw = world.sign(world.good[data.draw(st.sampled_from(KINDS))]).raw
    position = data.draw(st.integers(0, len(raw) - 1))
    change = data.draw(st.sampled_from(("flip", "cut", "insert", "drop", "append")))
    flipped = raw[position] ^ data.draw(st.integers(1, 255))
    damaged = {
        "flip": raw[:position] + bytes([flipped]) + raw[position + 1 :],
        "cut": raw[:position],
        "insert": raw[:position] + bytes([flipped]) + raw[position:],
        "drop": raw[:position] + raw[position + 1 :],
        "append": raw + bytes([flipped]),
    }[change]
    assert judge.judge(damaged) == ()


@FEW
@given(data=st.binary(max_size=300))
def test_random_bytes_are_no_transaction(judge: Judge, data: bytes) -> None:
    assert judge.judge(data) == ()


def test_what_is_too_large_is_no_transaction(world: World, judge: Judge) -> None:
    good = world.good["directory.instrument.publish"]
    operation = (good.kind, body_value(good.body))
    assert judge.judge(craft(world, (operation,) * 257, good.by)) == ()
    large = (good.kind, {**body_value(good.body), "name": "x" * 60_000})
    assert judge.judge(craft(world, (large,), good.by)) == ()
    assert judge.judge(b"\x00" * 60_001) == ()


def batch(world: World, judge: Judge) -> list[bytes]:
    """Return blocks that hold every operation as it is good, and with every field dropped or extreme."""
    judge.blocks.clear()
    for kind in KINDS:
        good = world.good[kind]
        body = body_value(good.body)
        bodies = [body]
        for name in sorted(body):
            bodies.append({key: value for key, value in body.items() if key != name})
            bodies += [{**body, name: extreme} for extreme in EXTREMES[::6]]
        judge.judge(*(craft(world, ((kind, one),), good.by) for one in bodies))
    return list(judge.blocks)


def test_another_process_with_another_hash_seed_reaches_the_same_roots(
    world: World, judge: Judge, tmp_path: Path
) -> None:
    blocks = batch(world, judge)
    assert len(blocks) == len(KINDS)
    (tmp_path / "blocks").write_bytes(encode(tuple(blocks)))
    expected = [world.application.tip.app_hash.hex(), *app_hashes(world.application, blocks)]
    assert len(set(expected)) == len(expected)
    for seed in ("1", "2"):
        replayed = subprocess.run(
            [sys.executable, "-m", "tests.attack.replay", str(tmp_path / "blocks"), seed],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert replayed.stdout.split() == expected


def test_the_world_is_the_same_whenever_it_is_built(world: World, tmp_path: Path) -> None:
    again = open_world(tmp_path / "again")
    assert again.application.tip.app_hash == world.application.tip.app_hash
    again.ledger.close()
