"""Numerals as statements and laws write them: digits, full-width digits, Chinese numerals, English
words.

Every function takes a whole numeral and returns its value, or None where it is none. No Unicode
tables: full-width digits and Chinese characters are listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

MAX_DIGITS: Final = 4

FULL_WIDTH_DIGITS: Final = "０１２３４５６７８９"
CHINESE_NUMERALS: Final = "〇零一二两三四五六七八九十百千"

_DIGITS: Final[Mapping[str, int]] = MappingProxyType(
    {character: value for value, character in enumerate("0123456789")}
    | {character: value for value, character in enumerate(FULL_WIDTH_DIGITS)}
)
_CHINESE_DIGITS: Final[Mapping[str, int]] = MappingProxyType(
    {character: value for value, character in enumerate("零一二三四五六七八九")}
    | {"〇": 0, "两": 2}
)
_CHINESE_UNITS: Final[Mapping[str, int]] = MappingProxyType({"十": 10, "百": 100, "千": 1000})

_CARDINALS_BELOW_20: Final = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"),
    *("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_ORDINALS_BELOW_20: Final = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"),
    *("tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth"),
    *("seventeenth", "eighteenth", "nineteenth"),
)
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def _english_words(units: tuple[str, ...], tens: tuple[str, ...]) -> Mapping[str, int]:
    """Return the words for 1 to 99: `units` for 1 to 19, `tens` for 20, 30 … 90, and "twenty-" with
    a unit."""
    words = {word: value for value, word in enumerate(units, start=1)}
    for value, (ten, compound) in enumerate(zip(tens, _TENS, strict=True), start=2):
        words[ten] = 10 * value
        for unit, word in enumerate(units[:9], start=1):
            words[f"{compound}-{word}"] = 10 * value + unit
    return MappingProxyType(words)


CARDINALS: Final = _english_words(_CARDINALS_BELOW_20, _TENS)
"""One to ninety-nine."""

ORDINALS: Final = _english_words(_ORDINALS_BELOW_20, tuple(f"{word[:-1]}ieth" for word in _TENS))
"""First to ninety-ninth."""


def digits_value(text: str) -> int | None:
    """Return the value of one to four digits, ASCII or full-width."""
    if not 1 <= len(text) <= MAX_DIGITS:
        return None
    value = 0
    for character in text:
        digit = _DIGITS.get(character)
        if digit is None:
            return None
        value = 10 * value + digit
    return value


def chinese_value(text: str) -> int | None:
    """Return the value of a Chinese numeral below 10,000: 五, 十一, 二十, 一百零五, or digit by digit:
    一二."""
    if not 1 <= len(text) <= 9:
        return None
    if all(character in _CHINESE_DIGITS for character in text):
        return digits_value("".join(str(_CHINESE_DIGITS[character]) for character in text))
    total = 0
    digit: int | None = None
    lowest_unit = 10_000
    for character in text:
        unit = _CHINESE_UNITS.get(character)
        if unit is None:
            value = _CHINESE_DIGITS.get(character)
            if value is None or (digit is not None and digit != 0):
                return None
            digit = value
            continue
        leading_ten = unit == 10 and total == 0
        if unit >= lowest_unit or digit == 0 or (digit is None and not leading_ten):
            return None
        total += (1 if digit is None else digit) * unit
        digit = None
        lowest_unit = unit
    return total + (digit or 0)


def english_value(text: str, words: Mapping[str, int]) -> int | None:
    """Return the value of an English number word in any case; "twenty first" counts as
    "twenty-first"."""
    return words.get(text.translate(_LOWER).replace(" ", "-"))


_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
