"""One-time codes: sessions at the holder's jurisdiction, through which request and consent pass. Pure state.

The wallet opens a session with the public part of a fresh sealing key and gets a code of eight digits, whose first
names the jurisdiction. The holder tells the window the code; the window claims the session with it, once, and gets the
sealing key; then one sealed request goes one way and one sealed answer the other. A code authorises nothing: what
counts is the holder's signature. The relay holds sealed bytes only, for two minutes, and limits tries per operator,
window and jurisdiction. Wrong, used and expired codes are told apart by nobody.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ledger.errors import LedgerError
from ledger.keys import SEALING_KEY_BYTES

CODE_DIGITS: Final = 8
TOKEN_BYTES: Final = 16

SESSION_LIFETIME_MS: Final = 120_000
"""Two minutes: the time of one visit at a window."""

MAX_SESSIONS: Final = 10_000
"""At most one code in a thousand is open, so a guess is worth nothing within the limits on tries."""

MAX_SEALED_BYTES: Final = 64 * 1024
"""A request with its details, sealed, has at most half of this."""

TRY_WINDOW_MS: Final = 600_000
MAX_TRIES_OPERATOR: Final = 5
MAX_TRIES_WINDOW: Final = 10
MAX_TRIES_JURISDICTION: Final = 500
"""Failed claims within ten minutes, by one operator, at one window, and in all; the last bounds what is remembered."""

_CODE: Final = re.compile(r"[0-9]{8}", re.ASCII)

Random = Callable[[int], bytes]
"""Returns that many random bytes."""


class SessionError(LedgerError):
    """A session step is refused.

    `code`: session.refused, session.limited, session.full, session.busy, session.too_long.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """What the wallet gets: the code to tell, and the token with which to fetch and answer. Both are secrets."""

    code: str
    token: bytes
    expires_ms: int


@dataclass(frozen=True, slots=True)
class ClaimedSession:
    """What the window gets for the code: where to seal the request to, and its own token."""

    sealing_key: bytes
    token: bytes
    expires_ms: int


@dataclass(frozen=True, slots=True)
class _Session:
    code: str
    sealing_key: bytes
    wallet_token: bytes
    window_token: bytes | None
    request: bytes | None
    answer: bytes | None
    expires_ms: int


class SessionTable:
    """All open sessions of one jurisdiction. `now_ms` comes from a clock that does not go back."""

    def __init__(self, digit: str, random: Random) -> None:
        """`digit` is the first of this jurisdiction's codes."""
        if len(digit) != 1 or digit not in "0123456789":
            raise ValueError("a jurisdiction is named by one digit")
        self._digit = digit
        self._random = random
        self._by_code: OrderedDict[str, _Session] = OrderedDict()
        self._codes: dict[bytes, str] = {}
        self._failures: dict[str, deque[int]] = {}

    def __len__(self) -> int:
        return len(self._by_code)

    def open(self, now_ms: int, sealing_key: bytes) -> OpenedSession:
        """Open a session for a wallet.

        Raises:
            SessionError: `session.full`, or `session.refused` for something that is no sealing key.
        """
        self._expire(now_ms)
        if len(sealing_key) != SEALING_KEY_BYTES:
            raise SessionError("session.refused", f"a sealing key has {SEALING_KEY_BYTES} bytes")
        if len(self._by_code) >= MAX_SESSIONS:
            raise SessionError("session.full", "too many open sessions; try again in a minute")
        code = self._fresh_code()
        token = self._random(TOKEN_BYTES)
        expires_ms = now_ms + SESSION_LIFETIME_MS
        self._by_code[code] = _Session(code, sealing_key, token, None, None, None, expires_ms)
        self._codes[token] = code
        return OpenedSession(code, token, expires_ms)

    def claim(self, now_ms: int, code: str, operator: str, window: str) -> ClaimedSession:
        """Claim the session of a code, for the window; a session is claimed once.

        `operator` is the authenticated operator's key, `window` what the operator's organisation calls it.

        Raises:
            SessionError: `session.limited` after too many failures, `session.refused` for any other reason.
        """
        self._expire(now_ms)
        self._forget_failures(now_ms)
        limits = {
            f"operator {operator}": MAX_TRIES_OPERATOR,
            f"window {window}": MAX_TRIES_WINDOW,
            "jurisdiction": MAX_TRIES_JURISDICTION,
        }
        for name, limit in limits.items():
            if len(self._failures.get(name, ())) >= limit:
                raise SessionError("session.limited", "too many wrong codes; wait ten minutes")
        session = self._by_code.get(code) if _CODE.fullmatch(code) else None
        if session is None or session.window_token is not None:
            self._note_failure(now_ms, limits)
            raise SessionError("session.refused", "the code is wrong, used or expired")
        token = self._random(TOKEN_BYTES)
        self._by_code[code] = replace(session, window_token=token)
        self._codes[token] = code
        return ClaimedSession(session.sealing_key, token, session.expires_ms)

    def put_request(self, now_ms: int, window_token: bytes, sealed: bytes) -> None:
        """Lay down the window's sealed request, once."""
        session = self._session(now_ms, window_token)
        if session.window_token != window_token or session.request is not None:
            raise SessionError("session.refused", "not this window's to send, or sent already")
        self._by_code[session.code] = replace(session, request=_bounded(sealed))

    def request(self, now_ms: int, wallet_token: bytes) -> bytes | None:
        """Return the sealed request to the wallet, None while there is none."""
        session = self._session(now_ms, wallet_token)
        if session.wallet_token != wallet_token:
            raise SessionError("session.refused", "not this wallet's session")
        return session.request

    def put_answer(self, now_ms: int, wallet_token: bytes, sealed: bytes) -> None:
        """Lay down the wallet's sealed answer, once, after the request."""
        session = self._session(now_ms, wallet_token)
        if (
            session.wallet_token != wallet_token
            or session.request is None
            or session.answer is not None
        ):
            raise SessionError("session.refused", "nothing to answer, or answered already")
        self._by_code[session.code] = replace(session, answer=_bounded(sealed))

    def answer(self, now_ms: int, window_token: bytes) -> bytes | None:
        """Return the sealed answer to the window, None while there is none."""
        session = self._session(now_ms, window_token)
        if session.window_token != window_token:
            raise SessionError("session.refused", "not this window's session")
        return session.answer

    def describe(self) -> str:
        """Return a line for diagnosis; it holds no code, key or token."""
        claimed = sum(session.window_token is not None for session in self._by_code.values())
        return f"{len(self._by_code)} sessions, {claimed} claimed, digit {self._digit}"

    def _session(self, now_ms: int, token: bytes) -> _Session:
        self._expire(now_ms)
        code = self._codes.get(token)
        if code is None:
            raise SessionError("session.refused", "no such session, or it has expired")
        return self._by_code[code]

    def _fresh_code(self) -> str:
        while True:
            # 2^64 is so far above 10^7 that the remainder favours no code noticeably.
            number = int.from_bytes(self._random(8), "big") % 10 ** (CODE_DIGITS - 1)
            code = f"{self._digit}{number:0{CODE_DIGITS - 1}}"
            if code not in self._by_code:
                return code

    def _expire(self, now_ms: int) -> None:
        # Sessions are in the order in which they were opened, and all live equally long. Of a plain dictionary the
        # first of many that were deleted would have to be looked for.
        while self._by_code:
            session = next(iter(self._by_code.values()))
            if session.expires_ms > now_ms:
                break
            del self._by_code[session.code]
            del self._codes[session.wallet_token]
            if session.window_token is not None:
                del self._codes[session.window_token]

    def _forget_failures(self, now_ms: int) -> None:
        for name in [
            name for name, times in self._failures.items() if times[-1] <= now_ms - TRY_WINDOW_MS
        ]:
            del self._failures[name]
        for times in self._failures.values():
            while times[0] <= now_ms - TRY_WINDOW_MS:
                times.popleft()

    def _note_failure(self, now_ms: int, limits: Mapping[str, int]) -> None:
        for name in limits:
            self._failures.setdefault(name, deque()).append(now_ms)


def _bounded(sealed: bytes) -> bytes:
    if not 0 < len(sealed) <= MAX_SEALED_BYTES:
        raise SessionError("session.too_long", f"expected 1 to {MAX_SEALED_BYTES} sealed bytes")
    return sealed
