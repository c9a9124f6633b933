"""The relay of one-time-code sessions: who may put and fetch which sealed payload, and waiting for one.

The rules of codes, tries and lifetimes are those of `licenses.session`. A session's id is told to both sides; the
wallet proves itself by the secret it got when it opened the session, the window by the operator's token.

Consensus shares the event loop, so no step costs more for the sessions that are open: they expire in the order in which
they were opened, and a payload wakes only those who wait for its session.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Final

from licenses.session import MAX_SEALED_BYTES, SessionError, SessionTable
from node.config import SessionsConfig
from node.signal import Signal

ID_BYTES: Final = 16
SLOTS: Final = ("request", "consent", "disclosure")

MAX_POLLS: Final = 1_000
"""Polls that wait at the same time: half of the connections that a node holds."""

MAX_ADDRESS_POLLS: Final = 250
"""Of sessions that were opened from one address: anybody may open some."""

MAX_SESSION_POLLS: Final = 4
"""Of one session: wallet and window wait once each; a poll whose connection has gone may wait on beside the next."""


@dataclass(slots=True)
class _Relayed:
    address: str
    code: str
    wallet_token: bytes
    expires_ms: int
    window_token: bytes | None = None
    operator: str = ""
    disclosure: bytes | None = None
    changed: Signal = field(default_factory=Signal)
    polls: int = 0


@dataclass(frozen=True, slots=True)
class Opened:
    """What the wallet gets."""

    id: str
    code: str
    secret: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Found:
    """What the window gets."""

    id: str
    sealing_key: bytes
    expires_ms: int


def _clock_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Sessions:
    """All sessions of this node's jurisdiction. Belongs to the event loop."""

    def __init__(self, config: SessionsConfig) -> None:
        self._table = SessionTable(str(config.digit), secrets.token_bytes)
        self._max_open = config.max_open
        self._relayed: OrderedDict[str, _Relayed] = OrderedDict()
        self._by_code: dict[str, str] = {}
        self._max_opened = config.max_opened_per_minute
        self._opened: dict[str, int] = {}
        self._minute = 0
        self._polls: Counter[str] = Counter()
        """Polls that wait, by the address from which their session was opened."""

    def __len__(self) -> int:
        return len(self._relayed)

    def open(self, sealing_key: bytes, address: str) -> Opened:
        """Open a session for a wallet at a network address.

        Raises:
            SessionError: too many are open, or were opened from there, or not a sealing key.
        """
        now_ms = _clock_ms()
        self._expire(now_ms)
        self._count(address)
        if len(self._relayed) >= self._max_open:
            raise SessionError("session.full", "too many open sessions; try again in a minute")
        opened = self._table.open(now_ms, sealing_key)
        session_id = secrets.token_hex(ID_BYTES)
        self._relayed[session_id] = _Relayed(address, opened.code, opened.token, opened.expires_ms)
        self._by_code[opened.code] = session_id
        return Opened(session_id, opened.code, opened.token.hex(), _wall_ms(opened.expires_ms))

    def find(self, code: str, operator: str, window: str) -> Found:
        """Claim a session by its code for a window's operator; once.

        Raises:
            SessionError: `session.refused`, or `session.limited` after too many wrong codes.
        """
        now_ms = _clock_ms()
        self._expire(now_ms)
        claimed = self._table.claim(now_ms, code, operator, window)
        session_id = self._by_code.pop(code)
        relayed = self._relayed[session_id]
        relayed.window_token = claimed.token
        relayed.operator = operator
        return Found(session_id, claimed.sealing_key, _wall_ms(claimed.expires_ms))

    def put(
        self, session_id: str, slot: str, sealed: bytes, *, secret: str | None, operator: str | None
    ) -> None:
        """Lay down a payload: the window's request; the wallet's consent, and then its disclosure.

        Raises:
            SessionError: not this side's to send, sent already, or too long.
        """
        now_ms = _clock_ms()
        relayed = self._session(session_id, now_ms)
        if slot == "request":
            self._table.put_request(now_ms, _window(relayed, operator), sealed)
        elif slot == "consent":
            self._table.put_answer(now_ms, _wallet(relayed, secret), sealed)
        else:
            _wallet(relayed, secret)
            if relayed.disclosure is not None or self._answer(relayed, now_ms) is None:
                raise SessionError("session.refused", "nothing to disclose, or disclosed already")
            if not 0 < len(sealed) <= MAX_SEALED_BYTES:
                raise SessionError("session.too_long", f"at most {MAX_SEALED_BYTES} sealed bytes")
            relayed.disclosure = sealed
        relayed.changed.notify()

    def get(
        self, session_id: str, slot: str, *, secret: str | None, operator: str | None
    ) -> bytes | None:
        """Return a payload to the side that it is for, None while there is none.

        Raises:
            SessionError: no such session, expired, or not this side's to read.
        """
        now_ms = _clock_ms()
        relayed = self._session(session_id, now_ms)
        if slot == "request":
            return self._table.request(now_ms, _wallet(relayed, secret))
        window = _window(relayed, operator)
        return self._table.answer(now_ms, window) if slot == "consent" else relayed.disclosure

    async def poll(
        self, session_id: str, slot: str, wait_s: float, *, secret: str | None, operator: str | None
    ) -> bytes | None:
        """Return a payload as `get` does, waiting for it; None where none has come when the time is over.

        Raises:
            SessionError: as `get` does; `session.busy` while too many wait.
        """
        deadline_s = time.monotonic() + wait_s
        while True:
            sealed = self.get(session_id, slot, secret=secret, operator=operator)
            left_s = deadline_s - time.monotonic()
            if sealed is not None or left_s <= 0:
                return sealed
            if not await self._wait(self._relayed[session_id], left_s):
                return None

    async def _wait(self, relayed: _Relayed, timeout_s: float) -> bool:
        """Wait for the next payload of a session; False when the time is over first."""
        if relayed.polls >= MAX_SESSION_POLLS:
            raise SessionError("session.busy", "too many wait for this session's payloads already")
        address, polls = relayed.address, self._polls
        if polls.total() >= MAX_POLLS or polls[address] >= MAX_ADDRESS_POLLS:
            raise SessionError("session.busy", "too many wait for payloads; ask again in a moment")
        relayed.polls += 1
        polls[address] += 1
        try:
            return await relayed.changed.wait(timeout_s)
        finally:
            relayed.polls -= 1
            polls[address] -= 1
            if not polls[address]:
                del polls[address]

    def _count(self, address: str) -> None:
        """Count a session opened from an address in this minute."""
        minute = _clock_ms() // 60_000
        if minute != self._minute:
            self._minute = minute
            self._opened.clear()
        count = self._opened.get(address, 0)
        if count >= self._max_opened:
            raise SessionError("session.limited", "too many sessions from here; wait a minute")
        self._opened[address] = count + 1

    def _answer(self, relayed: _Relayed, now_ms: int) -> bytes | None:
        if relayed.window_token is None:
            return None
        return self._table.answer(now_ms, relayed.window_token)

    def _session(self, session_id: str, now_ms: int) -> _Relayed:
        self._expire(now_ms)
        relayed = self._relayed.get(session_id)
        if relayed is None:
            raise SessionError("session.refused", "no such session, or it has expired")
        return relayed

    def _expire(self, now_ms: int) -> None:
        # Sessions are in the order in which they were opened, and all live equally long.
        while self._relayed:
            session_id, relayed = next(iter(self._relayed.items()))
            if relayed.expires_ms > now_ms:
                break
            del self._relayed[session_id]
            self._by_code.pop(relayed.code, None)  # none if it was claimed


def _window(relayed: _Relayed, operator: str | None) -> bytes:
    if relayed.window_token is None or operator is None or operator != relayed.operator:
        raise SessionError("session.refused", "not this window's session")
    return relayed.window_token


def _wallet(relayed: _Relayed, secret: str | None) -> bytes:
    given = (secret or "").encode("utf-8", "replace")
    if not secrets.compare_digest(given, relayed.wallet_token.hex().encode("ascii")):
        raise SessionError("session.refused", "not this wallet's session")
    return relayed.wallet_token


def _wall_ms(monotonic_ms: int) -> int:
    """Return a time of the clock that does not go back as milliseconds since the epoch, for people."""
    return time.time_ns() // 1_000_000 + (monotonic_ms - _clock_ms())
