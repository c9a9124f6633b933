"""The mempool: bounds, fairness, and a model that it must agree with."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidTransaction
from ledger.suite import PublicKey
from ledger.transactions import Transaction
from node.mempool import RESEND_AFTER_MS, Mempool

KEY = PublicKey("ed25519", bytes(32))


def transaction(number: int, size: int = 100, valid_until_ms: int = 10_000) -> Transaction:
    raw = number.to_bytes(4, "big") * (size // 4)
    return Transaction(
        "chain", KEY, valid_until_ms, bytes(16), (), b"", b"", raw, hashlib.sha256(raw).digest()
    )


def test_transactions_of_one_organisation_leave_in_the_order_of_arrival() -> None:
    pool = Mempool(1_000_000, 1_000)
    given_ = [transaction(number) for number in range(10)]
    for one in given_:
        assert pool.add(one, "a", 0)
    assert pool.candidates(1_000_000, 1_000) == [one.raw for one in given_]


def test_organisations_take_turns_however_many_one_has_submitted() -> None:
    pool = Mempool(1_000_000, 1_000)
    flood = [transaction(number) for number in range(50)]
    for one in flood:
        pool.add(one, "flooder", 0)
    alone = transaction(99)
    pool.add(alone, "quiet", 0)
    assert alone.raw in pool.candidates(1_000_000, 2)


def test_the_same_transaction_is_held_once() -> None:
    pool = Mempool(1_000_000, 1_000)
    assert pool.add(transaction(1), "a", 0)
    assert not pool.add(transaction(1), "a", 0)
    assert len(pool) == 1
    assert pool.known(transaction(1).raw) == transaction(1).id


def test_a_full_pool_refuses_whoever_holds_most_of_it() -> None:
    pool = Mempool(1_000_000, 10)
    for number in range(10):
        pool.add(transaction(number), "flooder", 0)
    with pytest.raises(InvalidTransaction) as refused:
        pool.add(transaction(11), "flooder", 0)
    assert refused.value.code == "mempool_full"


def test_a_pool_is_full_in_bytes_however_few_transactions_it_holds() -> None:
    pool = Mempool(1_000, 100)
    for number in range(2):
        pool.add(transaction(number, 400), "flooder", 0)
    with pytest.raises(InvalidTransaction, match="too many transactions wait"):
        pool.add(transaction(3, 400), "flooder", 0)
    assert pool.add(transaction(4, 200), "quiet", 0)
    assert pool.size_bytes == 1_000


def test_a_full_pool_makes_room_for_others_at_the_cost_of_the_largest() -> None:
    pool = Mempool(1_000_000, 10)
    for number in range(10):
        pool.add(transaction(number), "flooder", 0)
    assert pool.add(transaction(11), "quiet", 0)
    assert len(pool) == 10
    assert pool.evicted == 1
    assert transaction(9).id not in pool
    assert transaction(0).id in pool


def test_how_full_a_pool_is_counts_bytes_or_transactions_whichever_is_nearer_its_bound() -> None:
    many, large = Mempool(1_000_000, 4), Mempool(2 * len(transaction(1).raw), 1_000)
    assert many.fill == large.fill == 0.0
    many.add(transaction(1), "a", 0)
    large.add(transaction(1), "a", 0)
    assert (many.fill, large.fill) == (0.25, 0.5)


def test_an_evicted_transaction_may_come_again() -> None:
    pool = Mempool(1_000_000, 2)
    pool.add(transaction(1), "a", 0)
    pool.add(transaction(2), "a", 0)
    pool.add(transaction(3), "b", 0)
    pool.remove([transaction(3).id])
    assert pool.add(transaction(2), "a", 0)


def test_expired_transactions_are_dropped_and_named() -> None:
    pool = Mempool(1_000_000, 10)
    pool.add(transaction(1, valid_until_ms=5), "a", 0)
    pool.add(transaction(2, valid_until_ms=50), "a", 0)
    assert pool.expire(6) == [transaction(1).id]
    assert len(pool) == 1


def test_what_was_handed_in_here_is_sent_again_after_ever_longer_pauses() -> None:
    pool = Mempool(1_000_000, 10)
    pool.add(transaction(1), "a", 0, local=True)
    pool.add(transaction(2), "a", 0)
    assert pool.overdue(RESEND_AFTER_MS - 1) == []
    assert pool.overdue(RESEND_AFTER_MS) == [transaction(1).raw]
    assert pool.overdue(2 * RESEND_AFTER_MS) == []
    assert pool.overdue(3 * RESEND_AFTER_MS) == [transaction(1).raw]
    pool.remove([transaction(1).id])
    assert pool.overdue(10**9) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "remove"]),
            st.integers(0, 30),
            st.sampled_from("abc"),
            st.sampled_from([40, 400]),
        ),
        max_size=80,
    )
)
def test_bounds_hold_and_counts_agree_after_any_sequence(
    steps: list[tuple[str, int, str, int]],
) -> None:
    pool = Mempool(1_000, 5)  # small enough that most sequences reach a bound
    held: dict[bytes, Transaction] = {}
    for action, number, organisation, size in steps:
        one = transaction(number, size)
        if action == "add":
            try:
                pool.add(one, organisation, 0)
            except InvalidTransaction:
                continue
            held[one.id] = one
        else:
            pool.remove([one.id])
            held.pop(one.id, None)
        held = {key: value for key, value in held.items() if key in pool}
        assert len(pool) == len(held) <= 5
        assert pool.size_bytes == sum(len(value.raw) for value in held.values()) <= 1_000
        assert sorted(pool.candidates(10**9, 10**9)) == sorted(v.raw for v in held.values())
