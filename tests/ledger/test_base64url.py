"""Base64url has one form: of two texts with the same bytes, one is refused."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.base64url import base64url_decode, base64url_encode
from ledger.errors import DecodeError


@given(st.binary(max_size=64))
def test_base64url_has_one_form(data: bytes) -> None:
    text = base64url_encode(data)
    assert base64url_decode(text) == data
    for other in (text + "=", text + "\n", " " + text):
        with pytest.raises(DecodeError):
            base64url_decode(other)


@pytest.mark.parametrize("length", range(1, 9))
def test_bits_left_over_in_the_last_character_are_refused(length: int) -> None:
    """RFC 4648, section 3.5: of all last characters those are read that encoding writes."""
    for last in string.ascii_letters + string.digits + "-_":
        text = "A" * (length - 1) + last
        padded = text + "=" * (-length % 4)
        canonical = length % 4 != 1 and base64url_encode(base64.urlsafe_b64decode(padded)) == text
        if canonical:
            assert base64url_encode(base64url_decode(text)) == text
        else:
            with pytest.raises(DecodeError):
                base64url_decode(text)
