"""Canonical MessagePack: one value, one encoding.

Profile: nil, bool, integers in -2^63 … 2^64-1, UTF-8 strings, byte strings, arrays, maps with string keys in
ascending byte order; shortest forms; no floats, no extension types, no duplicate keys, no trailing bytes.
Common libraries accept non-minimal integers, duplicate keys and NaN, so decoding encodes again and compares.
Arrays decode to tuples. Decoded maps are plain dicts that nobody may change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeAlias

import msgpack
import msgspec

from ledger.errors import DecodeError
from ledger.limits import MAX_NESTING_DEPTH

Value: TypeAlias = "bool | int | str | bytes | Sequence[Value] | Mapping[str, Value] | None"

MAX_DECODE_BYTES: Final = 8 * 1024 * 1024
"""The largest message of any protocol of ours: a peer frame."""

SMALL_BYTES: Final = 1024 * 1024
"""Up to here the size alone bounds what decoding costs: an object takes at most some 100 times its encoding."""

MAX_LARGE_VALUES: Final = 256 * 1024
"""Values in anything larger: blocks and frames hold few, long strings. 8 MiB of empty maps would take a gigabyte."""

_SCALARS: Final = frozenset({type(None), bool, int, str, bytes})
_TUPLES: Final = frozenset({tuple})
_ROWS: Final = 8
"""From so many items on, looking at all of them at once is quicker."""

_FEW_KEYS: Final = 64
"""Maps of more keys come to the packer in order: on a bad one its quicksort takes a frame of the C stack for each key,
and time with the square of their number."""

_pack = msgspec.msgpack.Encoder(order="deterministic").encode
"""Writes shortest forms, and maps in ascending order of their keys' bytes, as the `msgpack` package cannot (ADR 10)."""

_unpackb = msgpack.unpackb


def encode(value: Value) -> bytes:
    """Return the canonical encoding of `value`.

    Raises:
        TypeError: a part of the value is none of the types above.
        OverflowError: an integer is outside -2^63 … 2^64-1.
        ValueError: nesting is deeper than `MAX_NESTING_DEPTH`, or a string is not well-formed Unicode.
    """
    if type(value) not in _SCALARS:
        try:
            _check(value, MAX_NESTING_DEPTH)
        except _LongMapError:
            value = _in_order(value, MAX_NESTING_DEPTH)
            _check(value, MAX_NESTING_DEPTH)
    return _pack(value)


class _LongMapError(ValueError):
    """A map of more than `_FEW_KEYS` keys is out of order."""


def _check(value: Any, depth: int) -> None:
    """Refuse what the packer would write and the profile lacks, and what it must not sort. `value` is no scalar.

    Everything that is read or written passes here: nothing is called for a scalar, nothing is copied.
    """
    if depth == 0:
        raise ValueError(f"nested deeper than {MAX_NESTING_DEPTH} levels")
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"map key of type {type(key).__name__}, expected str")
            if type(item) not in _SCALARS:
                _check(item, depth - 1)
        if len(value) > _FEW_KEYS and list(value) != sorted(value):
            raise _LongMapError("the keys of a long map are out of order")
    elif kind is tuple or kind is list:
        if len(value) >= _ROWS and depth > 1 and _are_rows(value):
            return
        for item in value:
            if type(item) not in _SCALARS:
                _check(item, depth - 1)
    else:
        raise TypeError(f"cannot encode {kind.__name__}")


def _in_order(value: Any, depth: int) -> Any:
    """Return a copy whose maps have their keys in ascending order; UTF-8 keeps that of code points."""
    if depth < 0:
        raise ValueError(f"nested deeper than {MAX_NESTING_DEPTH} levels")
    if type(value) is dict:
        return {key: _in_order(value[key], depth - 1) for key in sorted(value)}
    if type(value) is tuple or type(value) is list:
        return [_in_order(item, depth - 1) for item in value]
    return value


def _are_rows(value: Sequence[Any]) -> bool:
    """Tell whether a sequence holds nothing but tuples of scalars: lists of the state do, and some are long."""
    return _TUPLES.issuperset(map(type, value)) and _SCALARS.issuperset(
        map(type, chain.from_iterable(value))
    )


def _refuse_extension(code: int, data: bytes) -> None:
    raise DecodeError(f"extension type {code} is not part of the profile")


def decode(data: bytes, *, max_bytes: int = MAX_DECODE_BYTES) -> Value:
    """Decode one canonical value; arrays become tuples, maps dicts.

    Raises:
        DecodeError: `data` is longer than `max_bytes`, malformed, not canonical, too deep, or has trailing bytes.
    """
    if len(data) > max_bytes:
        raise DecodeError(f"{len(data)} bytes, at most {max_bytes} allowed")
    if len(data) > SMALL_BYTES:
        _check_number_of_values(data)
    try:
        value: Value = _unpackb(
            data, raw=False, use_list=False, strict_map_key=True, ext_hook=_refuse_extension
        )
        if type(value) not in _SCALARS:
            _check(value, MAX_NESTING_DEPTH)  # out of order it is not canonical: nothing is sorted
        canonical = _pack(value)
    except DecodeError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise DecodeError(f"not canonical MessagePack: {error}") from None
    if canonical != data:
        raise DecodeError("not the canonical encoding of its value")
    return value


_SKIPS: Final = {
    **dict.fromkeys((0xC0, 0xC2, 0xC3), 1),  # nil, false, true
    **dict.fromkeys((0xCC, 0xD0), 2),
    **dict.fromkeys((0xCD, 0xD1, 0xDC, 0xDE), 3),  # 16-bit integers; heads of arrays and maps
    **dict.fromkeys((0xCE, 0xD2, 0xDD, 0xDF), 5),
    **dict.fromkeys((0xCF, 0xD3), 9),
}
"""Bytes of a value, or of an array's or map's head, by its first byte."""

_LENGTHS: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Bytes of the length that follows the first byte of a byte string or string."""


def _check_number_of_values(data: bytes) -> None:
    """Refuse more than `MAX_LARGE_VALUES` values before any of them becomes an object.

    Raises:
        DecodeError: too many, or a type that is not part of the profile. What is cut short, decoding finds.
    """
    position, count, end = 0, 0, len(data)
    while position < end:
        count += 1
        if count > MAX_LARGE_VALUES:
            raise DecodeError(f"more than {MAX_LARGE_VALUES} values in {len(data)} bytes")
        first = data[position]
        if first < 0xA0 or first >= 0xE0:  # a small integer, the head of a short array or map
            position += 1
        elif first < 0xC0:
            position += 1 + (first & 0x1F)
        elif first in _SKIPS:
            position += _SKIPS[first]
        elif first in _LENGTHS:
            start = position + 1 + _LENGTHS[first]
            position = start + int.from_bytes(data[position + 1 : start], "big")
        else:
            raise DecodeError(f"type {first:#04x} is not part of the profile")


def decode_array(
    data: bytes, length: int, *, max_bytes: int = MAX_DECODE_BYTES
) -> tuple[Value, ...]:
    """Decode an array of exactly `length` items.

    Raises:
        DecodeError: as `decode`, or the value is not an array of that length.
    """
    value = decode(data, max_bytes=max_bytes)
    if not isinstance(value, tuple) or len(value) != length:
        raise DecodeError(f"expected an array of {length} items")
    return value
