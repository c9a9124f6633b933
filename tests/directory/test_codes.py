"""Codes: good ones pass, a changed character does not; and where an organisation acts."""

from __future__ import annotations

import pytest

from directory.codes import (
    COLLECTIONS,
    division_problem,
    is_article,
    license_type_problem,
    matter_code_problem,
    owner_of,
    place_problem,
)
from directory.models import ENTRY_MODELS
from tests.directory.town import DEPARTMENT

PUBLISHED = "11110112MB1D52349B"


@pytest.mark.parametrize(
    ("code", "above"),
    [
        ("000000", "000000"),
        ("110000", "000000"),
        ("110112", "110000"),
        ("310115", "310000"),
        ("130000", "000000"),
        ("130600", "130000"),
        ("130629", "133100"),
        ("130632", "133100"),
        ("130638", "133100"),
        ("130602", "130600"),
        ("133100", "130000"),
    ],
)
def test_an_organisation_acts_in_its_division_and_in_those_below(code: str, above: str) -> None:
    assert division_problem(code) is None
    assert place_problem(code, code) is None
    assert place_problem(code, above) is None
    assert code == above or place_problem(above, code) is not None


@pytest.mark.parametrize(
    ("place", "territory", "problem"),
    [
        ("120000", "110000", "does not lie within 110000"),
        ("110112", "110101", "does not lie within 110101"),
        ("130629", "130600", "does not lie within 130600"),
        ("990000", "000000", "no province"),
        ("110012", "000000", "city-level number"),
        ("990000", "990000", "no province"),
    ],
)
def test_it_acts_nowhere_else(place: str, territory: str, problem: str) -> None:
    assert problem in str(place_problem(place, territory))


@pytest.mark.parametrize(
    "code", ["", "11011", "1101122", "11011a", "990000", "110012", "１１０１１２", "100000"]
)
def test_what_is_no_division_is_refused(code: str) -> None:
    assert division_problem(code) is not None


def test_a_matter_code_is_a_uscc_and_thirteen_characters() -> None:
    assert matter_code_problem(PUBLISHED + "000112200X00A") is None
    for bad in (
        PUBLISHED,
        PUBLISHED + "000112200x00A",
        PUBLISHED + "000112200X00",
        PUBLISHED + "000112200X00AB",
        "11110112MB1D52349C" + "000112200X00A",
        PUBLISHED + "０００112200X00A",
    ):
        assert matter_code_problem(bad) is not None, bad


def test_a_license_type_is_a_uscc_and_three_digits() -> None:
    assert license_type_problem("11100000000013338W011") is None
    for bad in ("11100000000013338W01", "11100000000013338W01A", "11100000000013338X011", ""):
        assert license_type_problem(bad) is not None, bad


def test_an_article_is_a_number_perhaps_inserted() -> None:
    assert all(map(is_article, ("1", "29", "1260", "5-2")))
    assert not any(
        map(is_article, ("", "0", "01", "5-", "5-0", "-2", "5-2-1", "五", "12345", "5\n"))
    )


def test_every_entry_begins_with_its_owner() -> None:
    assert owner_of(f"{DEPARTMENT}-7") == DEPARTMENT
    assert tuple(ENTRY_MODELS) == COLLECTIONS
