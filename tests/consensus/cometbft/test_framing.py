"""Frames of the ABCI socket: whatever was sent comes out whole and in order, wherever the stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.cometbft.errors import InvalidAbciMessage
from consensus.cometbft.framing import MAX_FRAME_BYTES, FrameReader, encode_frame

MESSAGES = st.lists(
    st.one_of(st.binary(max_size=300), st.integers(126, 16_500).map(bytes)), max_size=8
)


@given(MESSAGES, st.data())
def test_messages_come_out_whole_and_in_order_wherever_the_stream_is_cut(
    messages: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(map(encode_frame, messages))
    reader, found = FrameReader(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[:size])
        stream = stream[size:]
    assert found == messages
    assert reader.feed(encode_frame(b"next")) == [b"next"], "nothing is left over"


def test_messages_come_out_whole_when_each_byte_comes_alone() -> None:
    messages = [b"", b"x", bytes(127), bytes(128), bytes(16_384)]
    stream = b"".join(map(encode_frame, messages))
    reader = FrameReader()
    assert [one for byte in stream for one in reader.feed(bytes([byte]))] == messages


@pytest.mark.parametrize(
    ("size", "head"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (16_384, "808001")],
)
def test_a_length_is_an_unsigned_leb128_number(size: int, head: str) -> None:
    assert encode_frame(bytes(size)) == bytes.fromhex(head) + bytes(size)


def test_a_message_of_which_a_byte_is_missing_waits() -> None:
    reader = FrameReader()
    assert reader.feed(encode_frame(b"abc")[:-1]) == []
    assert reader.feed(b"c") == [b"abc"]


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param("81808008", id="one byte too many"),
        pytest.param("ffffffff", id="a length of more than 28 bits"),
        pytest.param("8000", id="a zero that is padded"),
        pytest.param("ff8000", id="127 that is padded"),
    ],
)
def test_a_length_beyond_the_bound_or_not_in_its_shortest_form_is_refused_before_the_message_comes(
    stream: str,
) -> None:
    with pytest.raises(InvalidAbciMessage):
        FrameReader().feed(bytes.fromhex(stream))


def test_the_largest_message_passes() -> None:
    message = bytes(MAX_FRAME_BYTES)
    assert FrameReader().feed(encode_frame(message)) == [message]


@given(st.binary(max_size=200))
def test_random_bytes_give_messages_or_our_error(stream: bytes) -> None:
    reader = FrameReader()
    try:
        found = reader.feed(stream)
    except InvalidAbciMessage:
        return
    assert sum(map(len, found)) <= len(stream)
