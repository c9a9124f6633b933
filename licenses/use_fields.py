"""Fields that requests, consents and approvals are made of: what a decoder asks of each, and what it remembers.

The same operation runs when a block is proposed, validated and finalised. What is here is pure, so its results are
remembered: decoding checks that a key is a point of the curve, which costs as much as a signature.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from ledger.codec import Value
from ledger.decoding import items, public_key
from ledger.errors import DecodeError
from ledger.suite import SUITES, PublicKey, Suite

REMEMBERED: Final = 4_096
"""About two blocks of uses."""

_KNOWN_LISTS: Final = 512
"""Lists of fields that matters ask for; the longest takes some 8 KiB."""

MAX_ENVELOPE_BYTES: Final = 8_192
"""A request for eight licenses with a dozen fields each takes about 2 KiB; much longer is none."""

MAX_FIELDS: Final = 64
"""Fields of one license; real license types have well below forty."""

FIELD_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
LICENSE_TYPE: Final = re.compile(r"[0-9A-Z]{21}", re.ASCII)
MATTER_CODE: Final = re.compile(r"[0-9A-Z]{31}", re.ASCII)
USCC: Final = re.compile(r"[0-9A-Z]{18}", re.ASCII)
DIVISION_CODE: Final = re.compile(r"[0-9]{6}", re.ASCII)
"""Codes by their form; which of them are registered, and whether an organisation acts in a division, the operation's
handler looks up."""


def verify_remembered(suite: Suite, key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Tell whether a signature is good; the last verdicts are remembered."""
    return _verify_once(suite.name, key.algorithm, key.data, message, signature)


@lru_cache(maxsize=2 * REMEMBERED)
def _verify_once(
    suite_name: str, algorithm: str, key: bytes, message: bytes, signature: bytes
) -> bool:
    """Remember a verdict, good or bad, by the very bytes that it follows from."""
    return SUITES[suite_name].verify(PublicKey(algorithm, key), message, signature)


@lru_cache(maxsize=2 * REMEMBERED)
def _checked_key(text: str) -> PublicKey:
    return public_key(text, "key")


def key_field(value: Value, name: str) -> PublicKey:
    """Return a public key, checked to be a point of its curve."""
    return _checked_key(value) if type(value) is str else public_key(value, name)


def field_names(value: Value) -> tuple[str, ...]:
    """Return names of fields in ascending order, at least one."""
    try:
        return _checked_field_names(value)
    except TypeError:  # a map among them cannot be looked up
        raise DecodeError("fields: expected names") from None


@lru_cache(maxsize=_KNOWN_LISTS)
def _checked_field_names(value: Value) -> tuple[str, ...]:
    """Matters ask for the same few lists of fields again and again."""
    listed = items(value, "fields", MAX_FIELDS)
    names = [matching(FIELD_NAME, name, "field") for name in listed]
    if not names or names != sorted(set(names)):
        raise DecodeError("fields: expected names in ascending order, each once, at least one")
    return tuple(names)


def matching(pattern: re.Pattern[str], value: Value, name: str) -> str:
    """Return a string that matches `pattern` whole."""
    if type(value) is not str or pattern.fullmatch(value) is None:
        raise DecodeError(f"{name}: expected {pattern.pattern}")
    return value


def identifier(value: Value, name: str) -> str:
    """Return an id as the directory uses it: short text, in any script, that could stand in a state
    key."""
    if type(value) is not str or not 1 <= len(value.encode()) <= 160:
        raise DecodeError(f"{name}: expected a text of 1 to 160 bytes")
    if any(character <= " " or character in "/\x7f" for character in value):
        raise DecodeError(f"{name}: spaces, slashes and control characters are not allowed")
    return value


def encoded_bytes(value: Value) -> bytes:
    """Return a byte string that holds a further encoding."""
    if type(value) is not bytes:
        raise DecodeError("expected encoded bytes")
    return value
