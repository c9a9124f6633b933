"""When CometBFT counts as stopped: only where others go on, and only where it does not say that it catches up."""

from __future__ import annotations

import pytest

from node.cometbft.standstill import WELL_BEYOND, Standstill

LONG_S = Standstill.PATIENCE_S
FAR = 10 + WELL_BEYOND

Seen = tuple[float, int, int, bool | None]
"""When, our height, the others', whether it says that it catches up; None where it is silent."""

STORIES: dict[str, tuple[list[Seen], bool]] = {
    "the others go on and it does not": (
        [(0, 10, FAR, False), (LONG_S, 10, FAR + 90, False)],
        True,
    ),
    "not yet for long": ([(0, 10, FAR, False), (LONG_S - 1, 10, FAR, False)], False),
    "nobody goes on": ([(0, 10, 10, False), (10 * LONG_S, 10, 10, False)], False),
    "the others are hardly ahead": (
        [(0, 10, FAR - 1, False), (10 * LONG_S, 10, FAR - 1, False)],
        False,
    ),
    "it stood long before the others went on": (
        [(0, 10, 10, False), (10 * LONG_S, 10, 10, False), (10 * LONG_S + 1, 10, FAR, False)],
        False,
    ),
    "it catches up by blocksync": ([(0, 10, FAR, True), (10 * LONG_S, 10, FAR, True)], False),
    "it has caught up by blocksync just now": (
        [(0, 10, FAR, False), (LONG_S - 1, 10, FAR, True), (LONG_S, 10, FAR, False)],
        False,
    ),
    "it goes on slowly": (
        [(0, 10, FAR, False), (LONG_S - 1, 11, FAR + 1, False), (LONG_S + 1, 11, FAR + 9, False)],
        False,
    ),
    "it has not answered since its start": (
        [(0, 10, FAR, None), (10 * LONG_S, 10, FAR, None)],
        False,
    ),
    "it has answered late, and stood still since": (
        [(0, 10, FAR, None), (10 * LONG_S, 10, FAR, False), (11 * LONG_S, 10, FAR, False)],
        True,
    ),
    "it has answered, and is silent since": (
        [(0, 10, FAR, False), (1, 10, FAR, None), (LONG_S, 10, FAR, None)],
        True,
    ),
    "it caught up by blocksync, and is silent since": (
        [(0, 10, FAR, True), (1, 10, FAR, None), (1 + LONG_S, 10, FAR, None)],
        True,
    ),
    "single answers are lost": (
        [(0, 10, FAR, False), (LONG_S - 1, 10, FAR, None), (LONG_S, 10, FAR, False)],
        True,
    ),
    "it is silent and goes on": (
        [(0, 10, FAR, False), (LONG_S - 1, 11, FAR, None), (LONG_S + 1, 12, FAR + 9, None)],
        False,
    ),
    "it went on, and then no more": (
        [
            (0, 10, FAR, False),
            (1, 11, FAR + 9, False),
            (2, 11, FAR + 9, False),
            (2 + LONG_S, 11, FAR + 9, False),
        ],
        True,
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_it_has_stopped_where_for_long_others_went_on_and_it_did_not(story: str) -> None:
    seen, stopped = STORIES[story]
    standstill = Standstill()
    first = seen[0][1]
    assert not standstill.seen(first, first, catching_up=None, now_s=-1), "all are equally far"
    told = [
        standstill.seen(height, target, catching_up=catching_up, now_s=now_s)
        for now_s, height, target, catching_up in seen
    ]
    assert told == [False] * (len(seen) - 1) + [stopped]
