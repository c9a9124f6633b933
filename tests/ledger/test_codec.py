"""The canonical profile: one value, one encoding, and nothing else decodes."""

from __future__ import annotations

from contextlib import suppress

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger import codec
from ledger.codec import MAX_LARGE_VALUES, SMALL_BYTES, Value, decode, decode_array, encode
from ledger.errors import DecodeError
from ledger.limits import MAX_NESTING_DEPTH

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(st.characters(codec="utf-8"))
    | st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner).map(tuple) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner)
    ),
    max_leaves=30,
)


@given(values)
def test_every_value_decodes_to_itself(value: Value) -> None:
    assert decode(encode(value)) == value


@given(values)
def test_the_order_in_which_a_map_was_built_does_not_matter(value: Value) -> None:
    def reversed_maps(part: Value) -> Value:
        if isinstance(part, dict):
            return {key: reversed_maps(part[key]) for key in reversed(list(part))}
        if isinstance(part, tuple):
            return tuple(reversed_maps(item) for item in part)
        return part

    assert encode(reversed_maps(value)) == encode(value)


def ordered(value: Value) -> Value:
    """Return a value with every map's keys in ascending order of code points, which is that of UTF-8's bytes."""
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value)}
    if isinstance(value, tuple):
        return tuple(ordered(item) for item in value)
    return value


@given(values)
@example({"\U00010000": 1, "\uffff": 2, "\u00e9": 3, "e": 4, "": 5})
@example({"a" * 40: 1, "a" * 39 + "b": 2, "a" * 39: 3, "a": 4, "a\0": 5, "B": 6})
def test_maps_are_written_in_the_order_of_their_keys(value: Value) -> None:
    assert encode(value) == msgpack.packb(ordered(value))


def disordered(count: int) -> dict[str, Value]:
    """Return a map whose largest key comes first: an order that quicksorts with a bad pivot dislike most."""
    keys = [f"{number:06d}" for number in range(count)]
    return dict.fromkeys((keys[-1], *keys[:-1]))


@pytest.mark.parametrize("count", [16, 17, 64, 65, 100, 70_000])
def test_maps_of_many_keys_are_written_in_order_however_they_were_built(count: int) -> None:
    value = disordered(count)
    expected = msgpack.packb(ordered(value))
    for built in (value, dict(reversed(value.items())), ordered(value)):
        assert encode((built,)) == b"\x91" + expected
    assert decode(expected) == value


@pytest.mark.parametrize("count", [65, 100, 100_000])
def test_the_keys_of_a_long_map_are_found_out_of_order_before_anybody_sorts_them(
    count: int,
) -> None:
    with pytest.raises(DecodeError, match="keys of a long map are out of order"):
        decode(msgpack.packb([disordered(count)]))


def test_a_long_map_in_any_order_is_checked_like_others() -> None:
    class Name(str):
        """A key that the packer would write, and the profile lacks."""

    nested: Value = None
    for _ in range(MAX_NESTING_DEPTH):
        nested = (nested,)
    with pytest.raises(ValueError, match="deeper"):
        encode(disordered(100) | {"a": nested})
    for odd in (1.5, b"key", Name("key")):
        with pytest.raises(TypeError):
            encode(disordered(100) | {odd: 1})  # type: ignore[dict-item]  # the point of the test


@given(st.binary(max_size=200))
def test_whatever_decodes_is_the_only_encoding_of_its_value(data: bytes) -> None:
    try:
        value = decode(data)
    except DecodeError:
        return
    assert encode(value) == data


@given(values, st.data())
def test_a_changed_byte_decodes_to_another_value_or_not_at_all(
    value: Value, draw: st.DataObject
) -> None:
    encoded = bytearray(encode(value))
    position = draw.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= draw.draw(st.integers(1, 255))
    try:
        changed = decode(bytes(encoded))
    except DecodeError:
        return
    assert encode(changed) != encode(value)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xc1", id="the code that is never used"),
        pytest.param(b"\xcc\x01", id="an integer in two bytes that fits one"),
        pytest.param(b"\xd3" + bytes(7) + b"\x01", id="a signed 64-bit one"),
        pytest.param(b"\xd9\x01a", id="a short string in the long form"),
        pytest.param(b"\xc4\x00\x00", id="a trailing byte"),
        pytest.param(b"\xdc\x00\x01\x01", id="a short array in the long form"),
        pytest.param(b"\xcb" + bytes(8), id="a float"),
        pytest.param(b"\xca\x7f\xc0\x00\x00", id="not a number"),
        pytest.param(b"\xd4\x05\x00", id="an extension"),
        pytest.param(b"\xd6\xff" + bytes(4), id="a timestamp"),
        pytest.param(b"\x82\xa1a\x01\xa1a\x02", id="a key twice"),
        pytest.param(b"\x82\xa1b\x01\xa1a\x02", id="keys out of order"),
        pytest.param(b"\x81\x01\x02", id="an integer as key"),
        pytest.param(b"\x81\xc4\x01a\x02", id="bytes as key"),
        pytest.param(b"\xa1\xff", id="a string that is not UTF-8"),
        pytest.param(b"\xa3\xed\xa0\x80", id="a surrogate"),
        pytest.param(
            b"\xdd\xff\xff\xff\xff", id="an array that claims four thousand million items"
        ),
        pytest.param(b"\xc6\xff\xff\xff\xff", id="bytes that claim four gigabytes"),
        pytest.param(b"\x91" * (MAX_NESTING_DEPTH + 1) + b"\xc0", id="one level too deep"),
        pytest.param(b"\x91" * 100_000 + b"\xc0", id="a hundred thousand levels"),
        pytest.param(b"\x81\xa1a" * 2_000 + b"\xc0", id="two thousand maps"),
    ],
)
def test_what_is_outside_the_profile_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(data)


def test_the_deepest_allowed_nesting_goes_both_ways() -> None:
    value: Value = None
    for _ in range(MAX_NESTING_DEPTH):
        value = (value,)
    assert decode(encode(value)) == value
    with pytest.raises(ValueError, match="deeper"):
        encode((value,))


@pytest.mark.parametrize("value", [1.5, float("nan"), {1: 2}, {"a": {2.0}}, object(), (1.0,)])
def test_what_the_profile_lacks_cannot_be_encoded(value: object) -> None:
    with pytest.raises(TypeError):
        encode(value)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, (2**64,)])
def test_an_integer_out_of_range_cannot_be_encoded(value: Value) -> None:
    with pytest.raises(OverflowError):
        encode(value)


def test_a_message_over_its_bound_is_refused_unread() -> None:
    with pytest.raises(DecodeError, match="at most 10"):
        decode(encode(b"x" * 11), max_bytes=10)


def test_an_array_of_another_length_is_refused() -> None:
    assert decode_array(encode((1, 2)), 2) == (1, 2)
    for other in (encode((1,)), encode((1, 2, 3)), encode("ab"), encode({"a": 1, "b": 2})):
        with pytest.raises(DecodeError):
            decode_array(other, 2)


@given(values)
def test_other_msgpack_readers_read_the_same_value(value: Value) -> None:
    assert msgpack.unpackb(encode(value), use_list=False) == value


def number_of_values(value: Value) -> int:
    if isinstance(value, dict):
        return 1 + sum(1 + number_of_values(item) for item in value.values())
    if isinstance(value, tuple):
        return 1 + sum(number_of_values(item) for item in value)
    return 1


@given(values)
def test_values_are_counted_before_they_are_made(value: Value) -> None:
    count = number_of_values(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "SMALL_BYTES", 0)
        patch.setattr(codec, "MAX_LARGE_VALUES", count)
        assert decode(encode(value)) == value
        patch.setattr(codec, "MAX_LARGE_VALUES", count - 1)
        with pytest.raises(DecodeError, match="more than"):
            decode(encode(value))


@given(st.binary(min_size=1, max_size=200))
def test_counting_takes_any_bytes(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "SMALL_BYTES", 0)
        with suppress(DecodeError):
            assert encode(decode(data)) == data


@pytest.mark.parametrize(
    "item", [b"\x80", b"\x90", b"\xc0", b"\xa1a", b"\x81\xa1a\xc0", b"\x91\xc0"]
)
def test_many_small_values_in_a_large_message_are_refused_before_they_are_made(
    item: bytes,
) -> None:
    count = (8 * 1024 * 1024 - 5) // len(item)
    data = b"\xdd" + count.to_bytes(4, "big") + item * count
    with pytest.raises(DecodeError, match=f"more than {MAX_LARGE_VALUES} values"):
        decode(data)


def test_a_large_message_of_long_strings_is_read() -> None:
    value = (tuple(bytes([i % 251]) * 400 for i in range(20_000)), "x" * 70_000)
    assert len(encode(value)) > SMALL_BYTES
    assert decode(encode(value)) == value
