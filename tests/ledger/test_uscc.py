"""Codes of organisations: a published one is good, a changed one is found, and anything can be checked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.uscc import ALPHABET, uscc_problem


@pytest.mark.parametrize(
    "code", ["11110112MB1D52349B", "11100000000013338W", "11430000006122244L", "11330105002500287C"]
)
def test_published_codes_are_good_and_any_changed_character_is_found(code: str) -> None:
    assert uscc_problem(code) is None
    for position in range(18):
        for character in ALPHABET:
            changed = code[:position] + character + code[position + 1 :]
            assert (uscc_problem(changed) is None) == (changed == code)


@given(st.text(max_size=20))
def test_any_text_can_be_checked(text: str) -> None:
    assert uscc_problem(text) != ""
