"""MessagePack as no correct client writes it: what a hand-made transaction may hold instead of a canonical value.

`pack` writes values like the codec does, and the markers below as what they stand for.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
from hypothesis import strategies as st


@dataclass(frozen=True)
class Raw:
    """Bytes that stand for themselves."""

    data: bytes
    what: str

    def __repr__(self) -> str:
        return self.what


@dataclass(frozen=True)
class Pairs:
    """A map with its pairs in this order, keys of any kind, and perhaps twice."""

    pairs: tuple[tuple[Any, Any], ...]


def nested(depth: int, head: bytes = b"\x91") -> Raw:
    return Raw(head * depth + b"\xc0", f"nested {depth} deep with {head!r}")


ODDITIES: tuple[Raw, ...] = (
    Raw(struct.pack(">Bd", 0xCB, float("nan")), "NaN"),
    Raw(struct.pack(">Bd", 0xCB, float("inf")), "infinity"),
    Raw(struct.pack(">Bf", 0xCA, 1.0), "a float"),
    Raw(b"\xd4\x01\x00", "an extension"),
    Raw(b"\xd6\xff\x00\x00\x00\x00", "a timestamp"),
    Raw(b"\xc7\x00\x05", "an empty extension"),
    Raw(b"\xcc\x05", "5 in two bytes"),
    Raw(b"\xd3" + bytes(7) + b"\x05", "5 in nine bytes"),
    Raw(b"\xd0\x05", "5 with a sign"),
    Raw(b"\xd9\x01a", "a string with a long head"),
    Raw(b"\xdb\x00\x00\x00\x01a", "a string with the longest head"),
    Raw(b"\xc6\x00\x00\x00\x01a", "bytes with the longest head"),
    Raw(b"\xdc\x00\x01\xc0", "an array with a long head"),
    Raw(b"\xde\x00\x01\xa1a\xc0", "a map with a long head"),
    Raw(b"\xdd\x7f\xff\xff\xff", "an array that claims 2^31 items"),
    Raw(b"\xdf\x7f\xff\xff\xff", "a map that claims 2^31 pairs"),
    Raw(b"\xdb\xff\xff\xff\xff", "a string that claims 4 GiB"),
    Raw(b"\xc6\xff\xff\xff\xffab", "bytes that claim 4 GiB"),
    Raw(b"\xa2\xc3\x28", "broken UTF-8"),
    Raw(b"\xa3\xed\xa0\x80", "a lone surrogate"),
    Raw(b"\xa2\xc0\x80", "an overlong zero"),
    Raw(b"\xc1", "the byte that is never used"),
    Raw(b"\x81\x01\xc0", "a map with a number for a key"),
    Raw(b"\x81\xc4\x01a\xc0", "a map with bytes for a key"),
    Raw(b"\x82\xa1a\xc0\xa1a\xc0", "a map with a key twice"),
    Raw(b"\x82\xa1b\xc0\xa1a\xc0", "a map with its keys out of order"),
    Raw(b"\x81\x90\xc0", "a map with an array for a key"),
    nested(17),
    nested(600),
    nested(30_000),
    nested(20_000, b"\x81\xa0"),
    Raw(b"", "nothing"),
)

oddities = st.sampled_from(ODDITIES)


def pack(value: Any) -> bytes:
    """Return the bytes of a value that may hold the markers above."""
    if isinstance(value, Raw):
        return value.data
    if isinstance(value, Pairs):
        return _map(value.pairs)
    if isinstance(value, Mapping):
        return _map(sorted(value.items()))
    if isinstance(value, (tuple, list)):
        return _head(value, 0x90, 0xDC) + b"".join(pack(item) for item in value)
    packed: bytes = msgpack.packb(value, unicode_errors="surrogatepass")
    return packed


def _map(pairs: Sequence[tuple[Any, Any]]) -> bytes:
    return _head(pairs, 0x80, 0xDE) + b"".join(pack(one) for pair in pairs for one in pair)


def _head(items: Sequence[Any], short: int, long: int) -> bytes:
    if len(items) < 16:
        return bytes([short | len(items)])
    if len(items) < 2**16:
        return struct.pack(">BH", long, len(items))
    return struct.pack(">BI", long + 1, len(items))
