"""Numerals: what is written is read back, and what is no numeral is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory.numerals import (
    CARDINALS,
    ORDINALS,
    chinese_value,
    digits_value,
    english_value,
)

_CHINESE_DIGITS = "零一二三四五六七八九"


def in_chinese(number: int) -> str:
    """Write a number from 1 to 9,999 as laws do."""
    text = ""
    skipped = False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = number // unit % 10
        if digit == 0:
            skipped = bool(text)
            continue
        text += "零" if skipped else ""
        text += _CHINESE_DIGITS[digit] + name
        skipped = False
    return text.removeprefix("一") if 10 <= number < 20 else text


@given(st.integers(1, 9_999))
def test_a_chinese_numeral_is_read_back(number: int) -> None:
    assert chinese_value(in_chinese(number)) == number


@given(st.integers(0, 9_999), st.booleans())
def test_digits_are_read_back(number: int, full_width: bool) -> None:
    text = str(number)
    if full_width:
        text = "".join(chr(ord(digit) - ord("0") + ord("０")) for digit in text)
    assert digits_value(text) == number


@pytest.mark.parametrize(
    "text", ["", "百", "十十", "一十百", "一百百", "五五十", "十二三", "一百零十", "甲"]
)
def test_what_is_no_chinese_numeral_is_refused(text: str) -> None:
    assert chinese_value(text) is None


@pytest.mark.parametrize("text", ["", "12345", "1a", "一", "²", "٣", "-1", "+1", "1_0", " 1"])
def test_what_is_no_number_of_four_digits_is_refused(text: str) -> None:
    assert digits_value(text) is None


def test_words_from_one_to_ninety_nine_are_known() -> None:
    assert sorted(CARDINALS.values()) == sorted(ORDINALS.values()) == list(range(1, 100))
    for word, value in (
        ("Fifth", 5),
        ("TWELFTH", 12),
        ("twentieth", 20),
        ("Twenty first", 21),
        ("ninety-ninth", 99),
    ):
        assert english_value(word, ORDINALS) == value
    assert english_value("forty-two", CARDINALS) == 42
    assert english_value("umpteenth", ORDINALS) is None
