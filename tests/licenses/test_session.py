"""One-time codes: one way through, and limits for everybody else."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from licenses.session import (
    MAX_SEALED_BYTES,
    MAX_TRIES_JURISDICTION,
    MAX_TRIES_OPERATOR,
    MAX_TRIES_WINDOW,
    SESSION_LIFETIME_MS,
    TRY_WINDOW_MS,
    SessionError,
    SessionTable,
)
from tests.licenses.story import random_bytes

KEY = bytes(32)


@pytest.fixture
def table() -> SessionTable:
    counter = itertools.count()
    return SessionTable("1", lambda count: random_bytes(f"session {next(counter)}", count))


def refused(code: str = "refused") -> Any:
    return pytest.raises(SessionError, check=lambda error: error.code == f"session.{code}")


def test_request_and_answer_pass_once_each(table: SessionTable) -> None:
    opened = table.open(0, KEY)
    assert len(opened.code) == 8 and opened.code[0] == "1"
    claimed = table.claim(1, opened.code, "operator", "window")
    assert claimed.sealing_key == KEY
    assert table.request(2, opened.token) is None
    table.put_request(3, claimed.token, b"sealed request")
    assert table.request(4, opened.token) == b"sealed request"
    assert table.answer(5, claimed.token) is None
    table.put_answer(6, opened.token, b"sealed answer")
    assert table.answer(7, claimed.token) == b"sealed answer"
    with refused():
        table.put_request(8, claimed.token, b"another")
    with refused():
        table.put_answer(8, opened.token, b"another")


def test_a_code_is_claimed_once(table: SessionTable) -> None:
    opened = table.open(0, KEY)
    table.claim(1, opened.code, "operator", "window")
    with refused():
        table.claim(1, opened.code, "operator", "window")


def test_a_session_lives_two_minutes(table: SessionTable) -> None:
    first = table.open(0, KEY)
    claimed = table.claim(0, first.code, "operator", "window")
    second = table.open(SESSION_LIFETIME_MS - 1, KEY)
    assert table.request(SESSION_LIFETIME_MS - 1, first.token) is None
    for step in (
        lambda: table.request(SESSION_LIFETIME_MS, first.token),
        lambda: table.put_request(SESSION_LIFETIME_MS, claimed.token, b"x"),
        lambda: table.claim(SESSION_LIFETIME_MS, first.code, "operator", "window"),
    ):
        with refused():
            step()
    assert len(table) == 1
    assert table.request(SESSION_LIFETIME_MS, second.token) is None


def test_each_side_has_its_own_token(table: SessionTable) -> None:
    opened = table.open(0, KEY)
    claimed = table.claim(0, opened.code, "operator", "window")
    for step in (
        lambda: table.request(1, claimed.token),
        lambda: table.put_answer(1, claimed.token, b"x"),
        lambda: table.put_request(1, opened.token, b"x"),
        lambda: table.answer(1, opened.token),
        lambda: table.request(1, b""),
        lambda: table.put_answer(1, opened.token, b"x"),
    ):
        with refused():
            step()


@pytest.mark.parametrize(
    "code", ["", "1", "1234567a", "１２３４５６７８", "123456789", "99999999", "12345678\n"]
)
def test_wrong_codes_are_refused_alike(table: SessionTable, code: str) -> None:
    table.open(0, KEY)
    with refused() as caught:
        table.claim(0, code, "operator", "window")
    assert str(caught.value) == "the code is wrong, used or expired"


def test_an_operator_has_five_wrong_tries_in_ten_minutes(table: SessionTable) -> None:
    for number in range(MAX_TRIES_OPERATOR):
        with refused():
            table.claim(number, "19999999", "guesser", f"window {number}")
    opened = table.open(10, KEY)
    with refused("limited"):
        table.claim(10, opened.code, "guesser", "another window")
    table.claim(10, opened.code, "somebody else", "a window")
    later = table.open(TRY_WINDOW_MS + 10, KEY)
    table.claim(TRY_WINDOW_MS + 10, later.code, "guesser", "another window")


def test_a_window_is_limited_whoever_operates_it(table: SessionTable) -> None:
    for number in range(MAX_TRIES_WINDOW):
        with refused():
            table.claim(0, "19999999", f"operator {number}", "window")
    with refused("limited"):
        table.claim(0, table.open(0, KEY).code, "fresh operator", "window")


def test_the_jurisdiction_is_limited_whoever_guesses(table: SessionTable) -> None:
    for number in range(MAX_TRIES_JURISDICTION):
        with refused():
            table.claim(0, "19999999", f"operator {number}", f"window {number}")
    with refused("limited"):
        table.claim(0, table.open(0, KEY).code, "fresh operator", "fresh window")


def test_what_is_laid_down_is_bounded(table: SessionTable) -> None:
    opened = table.open(0, KEY)
    claimed = table.claim(0, opened.code, "operator", "window")
    for sealed in (b"", b"x" * (MAX_SEALED_BYTES + 1)):
        with refused("too_long"):
            table.put_request(0, claimed.token, sealed)
    with refused():
        table.open(0, b"short")


def test_the_number_of_sessions_is_bounded(
    table: SessionTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("licenses.session.MAX_SESSIONS", 3)
    for _ in range(3):
        table.open(0, KEY)
    with refused("full"):
        table.open(0, KEY)
    table.open(SESSION_LIFETIME_MS, KEY)


def test_a_description_holds_no_secret(table: SessionTable) -> None:
    opened = table.open(0, KEY)
    assert opened.code not in table.describe() and opened.token.hex() not in table.describe()


def test_a_jurisdiction_is_one_digit() -> None:
    for digit in ("", "10", "x", "１"):
        with pytest.raises(ValueError):
            SessionTable(digit, lambda count: bytes(count))
