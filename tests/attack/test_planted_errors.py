"""Whatever a handler raises: its transaction fails alone, or the node stops; never anything in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.operations import operation_table
from ledger.state import state_key
from ledger.transactions import Operation, Transaction
from tests.attack.planted import FAILS_ALONE, KIND, PLANTED, STOPS
from tests.ledger.chain import MEMBERSHIP_OPERATIONS, NOTE, Chain

TABLE = operation_table(MEMBERSHIP_OPERATIONS, (NOTE, PLANTED))
WHERE = ("handler", "events", "validation")
SAYS_SO = frozenset(
    {
        "ValueError",
        "AssertionError",
        "UnicodeDecodeError",
        "UnicodeEncodeError",
        "pydantic ValidationError",
    }
)
"""With these, a validator says that a body is wrong."""


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    chain = Chain.open(tmp_path / "data", table=TABLE)
    yield chain
    chain.close()


def fail(chain: Chain, how: str, where: str = "handler") -> Transaction:
    """Return a transaction whose first operation succeeds and whose second fails."""
    names = ({"name": "first"}, {"name": "second", "how": how, "where": where})
    return chain.transaction(*(Operation(KIND, dict(body)) for body in names))


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("how", FAILS_ALONE)
def test_an_exception_fails_its_transaction_alone(chain: Chain, how: str, where: str) -> None:
    before, between, after = chain.note("a"), fail(chain, how, where), chain.note("b")
    finalized = chain.commit(before, between, after)
    assert [result.succeeded for result in finalized.results] == [True, False, True]
    failed = finalized.results[1]
    declared = where == "validation" and how in SAYS_SO
    assert failed.code == ("invalid_body" if declared else "internal")
    assert (failed.operation_index, failed.events) == (1, ())
    assert bool(chain.reported) != declared, "whoever runs the node must hear of it"
    state = chain.application.state
    for name in ("first", "second"):
        assert state.get(state_key("test", "planted", name)) is None
    assert state.get(state_key("test", "note", "b")) is not None
    assert chain.commit(chain.note("c")).results[0].succeeded


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("how", STOPS)
def test_what_says_nothing_of_the_transaction_stops_the_node(
    chain: Chain, how: str, where: str
) -> None:
    _, error = STOPS[how]
    chain.commit(chain.note("a"))
    doomed = fail(chain, how, where)
    with pytest.raises(error):
        chain.application.finalize_block(chain.propose(chain.note("b"), doomed))
    assert chain.reported == []
    again = chain.reopen()
    assert again.application.tip.height == 1
    assert again.application.state.get(state_key("test", "note", "b")) is None
    assert again.commit(again.note("c")).results[0].succeeded
    again.close()
