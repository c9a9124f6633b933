"""Unified social credit codes (GB 32100-2015): the 18 characters that name an organisation.

Registration authority (1), category (1), division (6), organisation code (9, GB 11714-1997, its last
character a check of the eight before it), check (1). The alphabet leaves out I, O, S, V and Z.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
LENGTH: Final = 18
_WEIGHTS: Final = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_CODE_WEIGHTS: Final = (3, 7, 9, 10, 5, 8, 4, 2)
_CODE_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def check_character(first_17: str) -> str:
    """Return the check character for the first 17 characters (GB 32100, section 5)."""
    total = sum(
        ALPHABET.index(character) * weight
        for character, weight in zip(first_17, _WEIGHTS, strict=True)
    )
    return ALPHABET[(31 - total % 31) % 31]


def organisation_check_character(first_8: str) -> str:
    """Return the check character of an organisation code's first eight characters (GB 11714)."""
    total = sum(
        _CODE_ALPHABET.index(character) * weight
        for character, weight in zip(first_8, _CODE_WEIGHTS, strict=True)
    )
    check = 11 - total % 11
    return "X" if check == 10 else "0" if check == 11 else str(check)


@lru_cache(maxsize=4096)
def uscc_problem(text: str) -> str | None:
    """Say what is wrong with a code, or None where it is good."""
    if len(text) != LENGTH:
        return f"has {len(text)} characters, a USCC has {LENGTH}"
    for position, character in enumerate(text, start=1):
        if character not in ALPHABET:
            return f"character {position} is {character!r}, not one of {ALPHABET}"
    if any(character not in "0123456789" for character in text[2:8]):
        return "characters 3 to 8 are a division code, digits only"
    expected = organisation_check_character(text[8:16])
    if text[16] != expected:
        return f"character 17 is {text[16]!r}; the organisation code before it needs {expected!r}"
    expected = check_character(text[:17])
    if text[17] != expected:
        return f"the check character is {text[17]!r}, should be {expected!r}"
    return None
