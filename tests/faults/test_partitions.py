"""Cut links: nobody is wrong, who has no quorum says so soon, the others go on, and all recover when it is healed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import permutations, product

import pytest

from node.pulse import ASK_INTERVAL_S, MAX_IN_VAIN, SILENT_S
from tests.faults.measured import Measured
from tests.faults.network import FaultyNetwork
from tests.faults.relay import Condition, Direction
from tests.node.processes import eventually

ROW = "partitions 3/1, 2/2, asymmetric, ring, flapping; loss, delay, bandwidth"
BEIJING, HEBEI, NATIONAL, TIANJIN = ALL = ("beijing", "hebei", "national", "tianjin")

TOLD_S = SILENT_S + 2 * ASK_INTERVAL_S + 8.0
"""Within this, a node without quorum says so; the last term is for a loaded machine."""

GIVEN_S = 60.0
"""What a submission may take."""


def _between(one: Collection[str], other: Collection[str]) -> list[Direction]:
    """Both ways between two groups."""
    return [*product(one, other), *product(other, one)]


@dataclass(frozen=True, slots=True)
class Shape:
    """A partition: what is cut, and who is without a quorum then. The others commit, each of them.

    It lasts `lasts_s` longer than it takes to see that.
    """

    cut: list[Direction]
    alone: Collection[str]
    lasts_s: float = 0.0


SHAPES = {
    "3/1": Shape(_between([HEBEI], [BEIJING, NATIONAL, TIANJIN]), [HEBEI]),
    "2/2": Shape(_between([BEIJING, HEBEI], [NATIONAL, TIANJIN]), ALL),
    "one hears and is not heard": Shape(
        list(product([HEBEI], [BEIJING, NATIONAL, TIANJIN])), [HEBEI]
    ),
    "one is heard and does not hear": Shape(
        list(product([BEIJING, NATIONAL, TIANJIN], [HEBEI])), [HEBEI]
    ),
    "one way between two": Shape([(BEIJING, HEBEI)], []),
    "ring": Shape(_between([BEIJING], [NATIONAL]) + _between([HEBEI], [TIANJIN]), []),
    "everybody alone": Shape(list(permutations(ALL, 2)), ALL),
    "everybody alone until links are dialled in vain": Shape(
        list(permutations(ALL, 2)), ALL, lasts_s=MAX_IN_VAIN * ASK_INTERVAL_S
    ),
}
SHORT = ("2/2",)
"""That of `make test`."""


@pytest.mark.row(ROW)
@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(shape, id=name, marks=[] if name in SHORT else [pytest.mark.faults])
        for name, shape in SHAPES.items()
    ],
)
def test_who_has_no_quorum_says_so_the_others_go_on_and_all_recover(
    relayed: FaultyNetwork, injected: Counter[str], measured: Measured, shape: Shape
) -> None:
    with relayed.load() as load:
        load.await_progress(5)
        relayed.relays.set(Condition(cut=True), *shape.cut)
        injected["direction cut"] += len(shape.cut)
        if shape.alone:
            with measured.during("not current told after"):
                for name in shape.alone:
                    _await_not_current(relayed, name)
        for name in set(ALL).difference(shape.alone):
            relayed.commit_one(name)
        for name in shape.alone:
            _check_not_current(relayed, name)
        time.sleep(shape.lasts_s)
        relayed.relays.heal()
        measured.recovery(relayed)
    relayed.check_running(load)


def _await_not_current(network: FaultyNetwork, name: str) -> None:
    with network.client(name) as client:
        eventually(lambda: not client.ready()[0], TOLD_S)


def _check_not_current(network: FaultyNetwork, name: str) -> None:
    """What a node without quorum answers; and that it keeps its promise to answer after 3 s (docs/API.md).

    Without that promise it would take all the time it was given; the bound lies between, for a loaded machine.
    """
    [sent] = network.transactions(1)
    with network.client(name) as client:
        ready, reason = client.ready()
        status = client.network()
        began_s = time.monotonic()
        [result] = client.submit([sent.raw], timeout_s=GIVEN_S)
    assert not ready
    assert reason
    assert not status.quorum
    assert status.stalled is not None
    assert (result.status, result.code) == ("not_committed", "not_committed")
    assert result.text
    assert time.monotonic() - began_s < GIVEN_S / 2
