"""Who refused whom, and why: what is kept of it, and what is sent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.refusals import ENGINES_DIFFER, KEPT_S, MAX_NOTED, Refusals, reason_to_send
from tests.node.diagnosis_cases import OURS, THEIRS


def test_a_refusal_is_news_for_a_while_and_the_newest_counts() -> None:
    refusals = Refusals()
    refusals.note("hebei", OURS, 0.0)
    refusals.note("hebei", THEIRS, 10.0)
    refusals.note("tianjin", OURS, 20.0)
    assert refusals.recent(10.0 + KEPT_S) == {"hebei": THEIRS, "tianjin": OURS}
    assert refusals.recent(10.1 + KEPT_S) == {"tianjin": OURS}


@given(st.text(max_size=300))
def test_any_reason_fits_into_a_closing_frame(text: str) -> None:
    assert len(reason_to_send(text).encode()) <= 123
    assert reason_to_send(ENGINES_DIFFER) == ENGINES_DIFFER


def test_of_many_names_the_last_ones_are_kept() -> None:
    refusals = Refusals()
    for number in range(MAX_NOTED + 1):
        refusals.note(f"node-{number}", OURS, 0.0)
    refusals.note("node-1", OURS, 0.0)
    refusals.note("another", OURS, 0.0)
    kept = refusals.recent(0.0)
    assert len(kept) == MAX_NOTED
    assert {"node-0", "node-2"}.isdisjoint(kept)
    assert {"node-1", "another"} <= set(kept)
