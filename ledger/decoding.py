"""Checks of decoded fields: what a decoder asks of each part of an array before it builds a
structure.

Every function returns its value with the type established, or raises `DecodeError` naming the
field.
"""

from __future__ import annotations

import re
from typing import Final

from ledger.codec import Value
from ledger.errors import DecodeError, InvalidKey
from ledger.suite import HASH_BYTES, SIGNATURE_BYTES, PublicKey

MAX_INTEGER: Final = 2**63 - 1
"""Heights, times and log indexes fit a signed 64-bit integer everywhere, also in SQL."""

MAX_ROUND: Final = 2**31 - 1
"""As CometBFT: a round is a positive 32-bit integer."""

_PRINTABLE: Final = re.compile(r"[!-~]+", re.ASCII)


def integer(value: Value, name: str, minimum: int = 0, maximum: int = MAX_INTEGER) -> int:
    """Return an integer within bounds (a bool is none)."""
    if type(value) is not int or not minimum <= value <= maximum:
        raise DecodeError(f"{name}: expected an integer from {minimum} to {maximum}")
    return value


def byte_string(value: Value, name: str, length: int) -> bytes:
    """Return a byte string of exactly `length` bytes."""
    if type(value) is not bytes or len(value) != length:
        raise DecodeError(f"{name}: expected {length} bytes")
    return value


def hash_field(value: Value, name: str) -> bytes:
    """Return a hash of the suite: 32 bytes."""
    return byte_string(value, name, HASH_BYTES)


def signature_field(value: Value, name: str = "signature") -> bytes:
    """Return a signature: 64 bytes."""
    return byte_string(value, name, SIGNATURE_BYTES)


def short_text(value: Value, name: str, max_bytes: int = 64) -> str:
    """Return a string of 1 to `max_bytes` printable ASCII characters without spaces: a name or an
    id.
    """
    if type(value) is not str or not 1 <= len(value) <= max_bytes:
        raise DecodeError(f"{name}: expected 1 to {max_bytes} characters")
    if _PRINTABLE.fullmatch(value) is None:
        raise DecodeError(f"{name}: expected printable ASCII without spaces")
    return value


def items(value: Value, name: str, maximum: int, length: int | None = None) -> tuple[Value, ...]:
    """Return an array of at most `maximum` items, or of exactly `length`."""
    if type(value) is not tuple or (length is not None and len(value) != length):
        raise DecodeError(f"{name}: expected an array" + (f" of {length}" if length else ""))
    if len(value) > maximum:
        raise DecodeError(f"{name}: {len(value)} items, at most {maximum}")
    return value


def fields(value: Value, name: str, length: int) -> tuple[Value, ...]:
    """Return an array of exactly `length` items: a structure."""
    return items(value, name, length, length)


def public_key(value: Value, name: str) -> PublicKey:
    """Return a well-formed public key; low-order and non-canonical ones are refused."""
    if type(value) is not str:
        raise DecodeError(f"{name}: expected a public key")
    try:
        return PublicKey.parse(value)
    except InvalidKey as error:
        raise DecodeError(f"{name}: {error}") from None
