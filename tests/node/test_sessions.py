"""The relay of one-time-code sessions: what waits in it, and what its steps cost consensus, which shares the loop."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager

import pytest

from licenses.session import SESSION_LIFETIME_MS, SessionError
from node import sessions as sessions_module
from node.api.sessions import _problem
from node.config import SessionsConfig
from node.sessions import MAX_POLLS, MAX_SESSION_POLLS, Opened, Sessions

KEY = bytes(32)
LONG_S = 60.0


class CountingSessions(Sessions):
    """Sessions that count how often somebody looked whether a payload is there."""

    looks = 0

    def get(
        self, session_id: str, slot: str, *, secret: str | None, operator: str | None
    ) -> bytes | None:
        self.looks += 1
        return super().get(session_id, slot, secret=secret, operator=operator)


def opened(sessions: Sessions, count: int) -> list[Opened]:
    """Open sessions, each from an address of its own."""
    return [sessions.open(KEY, f"address-{len(sessions)}") for _ in range(count)]


def ask(sessions: Sessions, one: Opened) -> None:
    """Claim a session and lay down the window's request."""
    found = sessions.find(one.code, "operator", "window")
    sessions.put(found.id, "request", b"sealed", secret=None, operator="operator")


async def waiting(sessions: Sessions, polled: list[Opened]) -> list[asyncio.Task[bytes | None]]:
    """Let a wallet wait for the request of each session."""
    polls = [
        asyncio.create_task(
            sessions.poll(one.id, "request", LONG_S, secret=one.secret, operator=None)
        )
        for one in polled
    ]
    await asyncio.sleep(0)
    return polls


async def end(polls: list[asyncio.Task[bytes | None]]) -> None:
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)


def busy() -> AbstractContextManager[pytest.ExceptionInfo[SessionError]]:
    return pytest.raises(SessionError, check=lambda error: error.code == "session.busy")


def test_a_payload_wakes_only_those_who_wait_for_its_session() -> None:
    async def scenario() -> None:
        sessions = CountingSessions(SessionsConfig())
        polled = opened(sessions, 10)
        polls = await waiting(sessions, polled)
        looks = sessions.looks
        ask(sessions, polled[3])
        assert await polls[3] == b"sealed"
        assert sessions.looks == looks + 1
        assert [poll.done() for poll in polls].count(True) == 1
        await end(polls)

    asyncio.run(scenario())


def test_a_poll_that_nothing_comes_for_ends_in_time() -> None:
    async def scenario() -> None:
        sessions = Sessions(SessionsConfig())
        [one] = opened(sessions, 1)
        for wait_s in (0.0, 0.01):
            poll = sessions.poll(one.id, "request", wait_s, secret=one.secret, operator=None)
            assert await poll is None

    asyncio.run(scenario())


def test_polls_of_one_session_are_bounded_and_what_is_there_is_had_at_once() -> None:
    async def scenario() -> None:
        sessions = Sessions(SessionsConfig())
        one, other = opened(sessions, 2)
        polls = await waiting(sessions, [one] * MAX_SESSION_POLLS)
        with busy():
            await sessions.poll(one.id, "request", LONG_S, secret=one.secret, operator=None)
        assert (
            await sessions.poll(one.id, "request", 0.0, secret=one.secret, operator=None) is None
        ), "who does not wait takes no place"
        [poll] = await waiting(sessions, [other])
        assert not poll.done()
        await end([polls.pop(), poll])
        [again] = await waiting(sessions, [one])
        assert not again.done(), "a poll that has ended leaves its place"
        ask(sessions, one)
        assert await asyncio.gather(*polls, again) == [b"sealed"] * MAX_SESSION_POLLS

    asyncio.run(scenario())


def test_all_polls_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "MAX_POLLS", 5)
    assert MAX_POLLS > 5

    async def scenario() -> None:
        sessions = Sessions(SessionsConfig())
        *polled, one = opened(sessions, 6)
        polls = await waiting(sessions, polled)
        with busy():
            await sessions.poll(one.id, "request", LONG_S, secret=one.secret, operator=None)
        ask(sessions, one)
        poll = sessions.poll(one.id, "request", LONG_S, secret=one.secret, operator=None)
        assert await poll == b"sealed", "what is there needs no waiting"
        await end(polls)
        [poll] = polls = await waiting(sessions, polled[:1])
        assert not poll.done()
        await end(polls)

    asyncio.run(scenario())


def test_polls_of_sessions_that_one_address_has_opened_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions_module, "MAX_ADDRESS_POLLS", 2)

    async def scenario() -> None:
        sessions = Sessions(SessionsConfig())
        greedy = [sessions.open(KEY, "one address") for _ in range(3)]
        [other] = opened(sessions, 1)
        polls = await waiting(sessions, greedy[:2])
        with busy():
            await sessions.poll(
                greedy[2].id, "request", LONG_S, secret=greedy[2].secret, operator=None
            )
        [poll] = await waiting(sessions, [other])
        assert not poll.done()
        await end([*polls, poll])
        assert not sessions._polls, "nothing is remembered of who does not wait"

    asyncio.run(scenario())


def test_sessions_and_their_codes_are_forgotten_in_the_order_in_which_they_were_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_ms = 0
    monkeypatch.setattr(sessions_module, "_clock_ms", lambda: now_ms)
    sessions = Sessions(SessionsConfig())
    [claimed, old] = opened(sessions, 2)
    sessions.find(claimed.code, "operator", "window")
    now_ms = SESSION_LIFETIME_MS - 1
    [young] = opened(sessions, 1)
    assert len(sessions) == 3
    now_ms = SESSION_LIFETIME_MS
    with pytest.raises(SessionError, match="expired"):
        sessions.get(old.id, "request", secret=old.secret, operator=None)
    assert len(sessions) == 1
    assert set(sessions._by_code) == {young.code}
    with pytest.raises(SessionError, match="expired"):
        sessions.find(old.code, "operator", "window")
    sessions.find(young.code, "operator", "window")


def test_who_may_not_wait_now_is_told_to_come_again() -> None:
    assert _problem(SessionError("session.busy", "too many")).status == 503
