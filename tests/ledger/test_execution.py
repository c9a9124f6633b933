"""Execution against a dumb model: whatever the blocks, state and roots are what a plain dictionary says."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import merkle
from ledger.codec import Value
from ledger.database import Batch
from ledger.membership import organisation
from ledger.state import Overlay
from ledger.state_store import StateView
from ledger.state_tree import EMPTY_ROOT
from ledger.store import Store
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Operation
from tests.ledger.chain import Chain, uscc

NAMES = [f"n{number}" for number in range(6)]

operations = st.tuples(
    st.sampled_from(NAMES),
    st.text("xyz", max_size=3),
    st.sampled_from(["", "", "", "delete", "refuse", "bug"]),
)
transactions = st.lists(operations, min_size=1, max_size=3)
blocks = st.lists(st.lists(transactions, max_size=4), max_size=5)

CODES = {"refuse": "test.note.refused", "bug": "internal"}


@settings(max_examples=40, deadline=None)
@given(blocks)
def test_state_and_log_are_what_a_plain_model_says(
    script: list[list[list[tuple[str, str, str]]]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        chain = Chain.open(Path(directory) / "data")
        model: dict[str, Value] = {}
        for block in script:
            time_ms = chain.time_ms
            expected = []
            for transaction in block:
                trial = dict(model)
                outcome: tuple[str, int | None] = ("", None)
                for index, (name, text, fail) in enumerate(transaction):
                    if fail in CODES:
                        outcome = (CODES[fail], index)
                        break
                    trial[name] = {"text": text, "by": uscc("110000"), "time_ms": time_ms}
                    if fail == "delete":
                        del trial[name]
                else:
                    model = trial
                expected.append(outcome)
            finalized = chain.commit(
                *(
                    chain.transaction(
                        *(
                            Operation("test.note.write", {"name": name, "text": text, "fail": fail})
                            for name, text, fail in transaction
                        )
                    )
                    for transaction in block
                )
            )
            assert [(r.code, r.operation_index) for r in finalized.results] == expected
        check_against(chain, model, Path(directory))
        chain.close()


def check_against(chain: Chain, model: dict[str, Value], directory: Path) -> None:
    """Compare every note, the state root with one built at once, and the app hash with all entries' root."""
    tip, state = chain.application.tip, chain.application.state
    for name in NAMES:
        assert state.get(f"test/note/{name}") == model.get(name)
    store = Store.open(directory / "oracle")
    oracle = StateView(store, SUITE, EMPTY_ROOT)
    overlay = Overlay(oracle)
    chain.application.genesis.initialise(overlay)
    for name, value in model.items():
        overlay.set(f"test/note/{name}", value)
    assert oracle.stage(overlay, Batch()) == tip.state_root
    store.close()
    entries = [entry for _, entry in chain.application.history.entries(0, tip.log.size)]
    leaves = [merkle.leaf_hash(SUITE, entry) for entry in entries]
    assert merkle.root(SUITE, leaves) == tip.app_hash
    assert organisation(state, uscc("110000")) is not None
