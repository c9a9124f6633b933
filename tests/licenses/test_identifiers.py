"""Identifiers: published ones, one that is wrong, and what a check character cannot see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.iso7064 import mod_37_36

from ledger.errors import DecodeError
from licenses.identifiers import LicenseIdentifier, check_character

GOOD = (
    "1.2.156.3005.2.11100000000013338W011.11430000006122244L.20230000403.001.U",
    "1.2.156.3005.2.11100000000013338W009.11330105002500287C.2025052201.002.0",
    "1.2.156.3005.2.11100000MB03271699022.340100.000000016.001.9",
)
BAD = (
    "1.2.156.3005.2.11100000000013661B006.113700000045046442.209FA4E88F9E4C878F3E9BED2CE7EA49.001.M"
)


@pytest.mark.parametrize("text", GOOD)
def test_published_identifiers_are_good(text: str) -> None:
    assert str(LicenseIdentifier.parse(text)) == text


def test_the_published_identifier_with_a_wrong_check_is_refused() -> None:
    with pytest.raises(DecodeError, match="should be 'D'"):
        LicenseIdentifier.parse(BAD)
    assert str(LicenseIdentifier.parse(BAD[:-1] + "D")) == BAD[:-1] + "D"


def test_a_character_moved_to_the_neighbouring_part_is_refused_although_the_check_holds() -> None:
    prefix, type_, issuer, serial, version, check = GOOD[0].rsplit(".", 5)
    moved = (
        (type_ + issuer[0], issuer[1:], serial, version),
        (type_[:-1], type_[-1] + issuer, serial, version),
        (type_, issuer + serial[0], serial[1:], version),
        (type_, issuer, serial[:-1], serial[-1] + version),
        (type_, issuer, serial + version[0], version[1:]),
    )
    for parts in moved:
        assert check_character("".join(parts)) == check
        with pytest.raises(DecodeError):
            LicenseIdentifier.parse(".".join((prefix, *parts, check)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.2.156.3005.2.",
        GOOD[0].removesuffix(".U"),
        GOOD[0] + ".U",
        GOOD[0].lower(),
        GOOD[0].replace("1.2.156", "1.2.157"),
        GOOD[0].replace("20230000403", "２０２３００００４０３"),
        GOOD[0].replace("20230000403", "40305"),
        GOOD[0].replace("20230000403", "4" * 33),
        GOOD[0] + "\n",
        GOOD[2].replace("340100", "34010"),
    ],
    ids=repr,
)
def test_malformed_identifiers_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        LicenseIdentifier.parse(text)


@given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=60))
def test_the_check_character_agrees_with_another_implementation(text: str) -> None:
    assert check_character(text) == mod_37_36.calc_check_digit(text)


@given(
    st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=6, max_size=32),
    st.integers(1, 999),
)
def test_what_is_built_is_read(serial: str, version: int) -> None:
    built = LicenseIdentifier.build("11100000000013338W011", "11430000006122244L", serial, version)
    assert LicenseIdentifier.parse(str(built)) == built


@pytest.mark.parametrize("version", [0, 1000, -1])
def test_a_version_has_three_digits(version: int) -> None:
    with pytest.raises(DecodeError):
        LicenseIdentifier.build("11100000000013338W011", "340100", "123456", version)
