"""Peers' clocks are judged by what their messages say, whatever the network does to those."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.peer_clocks import WINDOW_S, PeerClocks


@given(
    offset_ms=st.integers(-100_000, 100_000),
    delays_ms=st.lists(st.integers(0, 60_000), min_size=1, max_size=20),
    fastest_ms=st.integers(0, 1_000),
    back_ms=st.integers(0, 1_000),
)
def test_a_slow_message_accuses_nobody(
    offset_ms: int, delays_ms: list[int], fastest_ms: int, back_ms: int
) -> None:
    clocks = PeerClocks()
    for delay_ms in [*delays_ms, fastest_ms]:
        clocks.told("hebei", offset_ms - delay_ms, 1.0)
    round_trip_ms = fastest_ms + back_ms + 1
    [found] = clocks.offsets_ms({"hebei": round_trip_ms / 1000}, 2.0).values()
    assert abs(found) <= abs(offset_ms)
    assert abs(found - offset_ms) <= round_trip_ms


def test_a_peer_is_judged_by_no_single_word_nor_before_its_round_trip_is_known() -> None:
    clocks = PeerClocks()
    clocks.told("hebei", 40_000, 1.0)
    assert clocks.offsets_ms({"hebei": 0.001}, 1.0) == {}
    clocks.told("hebei", 39_000, 1.0)
    assert clocks.offsets_ms({}, 1.0) == {}
    assert clocks.offsets_ms({"hebei": None}, 1.0) == {}
    assert clocks.offsets_ms({"hebei": 0.0}, 1.0) == {"hebei": 40_000}
    clocks.forget("hebei")
    assert clocks.offsets_ms({"hebei": 0.001}, 1.0) == {}


def test_a_clock_that_was_put_right_is_right_after_two_windows_and_an_old_word_counts_no_more() -> (
    None
):
    clocks = PeerClocks()
    clocks.told("hebei", 40_000, 0.0)
    for second in range(1, int(2 * WINDOW_S) + 1):
        clocks.told("hebei", -1, float(second))
    assert clocks.offsets_ms({"hebei": 0.001}, 2 * WINDOW_S) == {"hebei": 0}
    assert clocks.offsets_ms({"hebei": 0.001}, 4.5 * WINDOW_S) == {}
