"""The relay of one-time-code sessions: who may put and fetch which sealed payload, and waiting for one.

The rules of codes, tries and lifetimes are those of `licenses.session`. A session's id is told to both sides; the
wallet proves itself by the secret it got when it opened the session, the window by the operator's token.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Final

from licenses.session import MAX_SEALED_BYTES, SessionError, SessionTable
from node.config import SessionsConfig
from node.signal import Signal

ID_BYTES: Final = 16
SLOTS: Final = ("request", "consent", "disclosure")


@dataclass(slots=True)
class _Relayed:
    wallet_token: bytes
    expires_ms: int
    window_token: bytes | None = None
    operator: str = ""
    disclosure: bytes | None = None


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
        self._relayed: dict[str, _Relayed] = {}
        self._by_code: dict[str, str] = {}
        self._max_opened = config.max_opened_per_minute
        self._opened: dict[str, int] = {}
        self._minute = 0
        self.changed = Signal()

    def __len__(self) -> int:
        return len(self._relayed)

    def open(self, sealing_key: bytes, address: str) -> Opened:
        """Open a session for a wallet at a network address.

        Raises:
            SessionError: too many are open, or were opened from there, or not a sealing key.
        """
        self._expire()
        self._count(address)
        if len(self._relayed) >= self._max_open:
            raise SessionError("session.full", "too many open sessions; try again in a minute")
        opened = self._table.open(_clock_ms(), sealing_key)
        session_id = secrets.token_hex(ID_BYTES)
        self._relayed[session_id] = _Relayed(opened.token, opened.expires_ms)
        self._by_code[opened.code] = session_id
        return Opened(session_id, opened.code, opened.token.hex(), _wall_ms(opened.expires_ms))

    def find(self, code: str, operator: str, window: str) -> Found:
        """Claim a session by its code for a window's operator; once.

        Raises:
            SessionError: `session.refused`, or `session.limited` after too many wrong codes.
        """
        self._expire()
        claimed = self._table.claim(_clock_ms(), code, operator, window)
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
        relayed, now_ms = self._session(session_id), _clock_ms()
        if slot == "request":
            self._table.put_request(now_ms, _window(relayed, operator), sealed)
        elif slot == "consent":
            self._table.put_answer(now_ms, _wallet(relayed, secret), sealed)
        else:
            _wallet(relayed, secret)
            if relayed.disclosure is not None or self._answer(relayed) is None:
                raise SessionError("session.refused", "nothing to disclose, or disclosed already")
            if not 0 < len(sealed) <= MAX_SEALED_BYTES:
                raise SessionError("session.too_long", f"at most {MAX_SEALED_BYTES} sealed bytes")
            relayed.disclosure = sealed
        self.changed.notify()

    def get(
        self, session_id: str, slot: str, *, secret: str | None, operator: str | None
    ) -> bytes | None:
        """Return a payload to the side that it is for, None while there is none.

        Raises:
            SessionError: no such session, expired, or not this side's to read.
        """
        relayed, now_ms = self._session(session_id), _clock_ms()
        if slot == "request":
            return self._table.request(now_ms, _wallet(relayed, secret))
        window = _window(relayed, operator)
        return self._table.answer(now_ms, window) if slot == "consent" else relayed.disclosure

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

    def _answer(self, relayed: _Relayed) -> bytes | None:
        if relayed.window_token is None:
            return None
        return self._table.answer(_clock_ms(), relayed.window_token)

    def _session(self, session_id: str) -> _Relayed:
        self._expire()
        relayed = self._relayed.get(session_id)
        if relayed is None:
            raise SessionError("session.refused", "no such session, or it has expired")
        return relayed

    def _expire(self) -> None:
        now_ms = _clock_ms()
        while self._relayed:
            session_id, relayed = next(iter(self._relayed.items()))
            if relayed.expires_ms > now_ms:
                break
            del self._relayed[session_id]
        self._by_code = {c: one for c, one in self._by_code.items() if one in self._relayed}


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
