"""Codes and enumerations of the directory: divisions, matters, license types, entry identifiers,
code lists.

Sources: GB 32100 (organisations, in `ledger.uscc`), GB/T 2260 (divisions), the national matter
codes (31 characters) and license type codes (GB/T 36903, 21 characters), and the compilation guide
for government data resources (code lists). Every `…_problem` function says what is wrong with a
code, for people, or returns None where it is good.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

from ledger.membership import NATIONAL_DIVISION, lies_within
from ledger.uscc import LENGTH as USCC_LENGTH
from ledger.uscc import uscc_problem

REMEMBERED_PLACES: Final = 4_096
"""Asked with every use, several times; there are some 3,000 divisions."""

MATTER_CODE_LENGTH: Final = 31
LICENSE_TYPE_LENGTH: Final = 21

Collection: TypeAlias = Literal[
    "instrument", "responsibility", "system", "resource", "matter", "entrustment"
]
"""The collections of the directory, each a part of the state: `directory/<collection>/<id>`."""

InstrumentKind: TypeAlias = Literal["law", "regulation", "rule", "document"]
"""Law (of the people's congress), regulation, rule (of a ministry or government), other written
document."""

Mode: TypeAlias = Literal["holder", "representative", "statutory"]
"""How a license may be used: by its holder, by somebody acting for the holder, by statutory
function."""

Network: TypeAlias = Literal["extranet", "intranet", "portal"]
"""Extranet: not confidential; intranet: confidential; portal: public."""

Hosting: TypeAlias = Literal["national_cloud", "municipal_cloud", "district_cloud", "own_premises"]
"""Where a system stands. New systems stand on a government cloud; what does not is a finding."""

ResourceFormat: TypeAlias = Literal[
    "file", "spreadsheet", "database", "image", "stream", "self_described", "service_interface"
]
SharingType: TypeAlias = Literal["unconditional", "conditional", "none"]
SharingMethod: TypeAlias = Literal["database", "file", "service"]
UpdateCycle: TypeAlias = Literal[
    "irregular",
    "real_time",
    "daily",
    "weekly",
    "monthly",
    "quarterly",
    "half_yearly",
    "yearly",
]
ItemType: TypeAlias = Literal["text", "number", "date", "time", "boolean", "image", "binary"]
Grade: TypeAlias = Literal["general", "important", "core"]
"""GB/T 43697-2024; a resource has at least the highest grade of its items."""

COLLECTIONS: Final[tuple[Collection, ...]] = get_args(Collection)
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
GRADES: Final[tuple[Grade, ...]] = get_args(Grade)
"""In ascending order."""

PROVINCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "11": "Beijing",
        "12": "Tianjin",
        "13": "Hebei",
        "14": "Shanxi",
        "15": "Inner Mongolia",
        "21": "Liaoning",
        "22": "Jilin",
        "23": "Heilongjiang",
        "31": "Shanghai",
        "32": "Jiangsu",
        "33": "Zhejiang",
        "34": "Anhui",
        "35": "Fujian",
        "36": "Jiangxi",
        "37": "Shandong",
        "41": "Henan",
        "42": "Hubei",
        "43": "Hunan",
        "44": "Guangdong",
        "45": "Guangxi",
        "46": "Hainan",
        "50": "Chongqing",
        "51": "Sichuan",
        "52": "Guizhou",
        "53": "Yunnan",
        "54": "Tibet",
        "61": "Shaanxi",
        "62": "Gansu",
        "63": "Qinghai",
        "64": "Ningxia",
        "65": "Xinjiang",
        "71": "Taiwan",
        "81": "Hong Kong",
        "82": "Macao",
    }
)
"""First two digits of a division code (GB/T 2260). Lower levels change every year and are not
checked against a list."""

_DIGITS_6: Final = re.compile(r"[0-9]{6}")
_MATTER_TAIL: Final = re.compile(r"[0-9A-Z]{13}")
_ARTICLE: Final = re.compile(r"[1-9][0-9]{0,3}(?:-[1-9][0-9]{0,2})?")


def division_problem(code: str) -> str | None:
    """Say what is wrong with a division code (GB/T 2260, or 000000), or None."""
    if _DIGITS_6.fullmatch(code) is None:
        return "a division code has 6 digits"
    if code == NATIONAL_DIVISION:
        return None
    if code[:2] not in PROVINCES:
        return f"no province has the number {code[:2]}"
    if code[2:4] == "00" and code[4:] != "00":
        return "a county-level number needs a city-level number before it"
    return None


@lru_cache(maxsize=REMEMBERED_PLACES)
def place_problem(division: str, territory: str) -> str | None:
    """Say why an organisation of the division `territory` does not act in `division`, or None.

    It acts in its own division and those below; one of the national level, in every division.
    """
    problem = division_problem(division)
    if problem is None and not lies_within(division, territory):
        return f"{division} does not lie within {territory}"
    return problem


def matter_code_problem(code: str) -> str | None:
    """Say what is wrong with a matter code (the department's USCC and 13 characters 0-9 A-Z), or
    None."""
    if len(code) != MATTER_CODE_LENGTH:
        return f"has {len(code)} characters, a matter code has {MATTER_CODE_LENGTH}"
    problem = uscc_problem(code[:USCC_LENGTH])
    if problem is not None:
        return f"its first 18 characters are no USCC: {problem}"
    if _MATTER_TAIL.fullmatch(code[USCC_LENGTH:]) is None:
        return "its last 13 characters must be digits or capital letters A-Z"
    return None


def license_type_problem(code: str) -> str | None:
    """Say what is wrong with a license type code (the defining authority's USCC and 3 digits), or
    None."""
    if len(code) != LICENSE_TYPE_LENGTH:
        return f"has {len(code)} characters, a license type code has {LICENSE_TYPE_LENGTH}"
    problem = uscc_problem(code[:USCC_LENGTH])
    if problem is not None:
        return f"its first 18 characters are no USCC: {problem}"
    if any(character not in "0123456789" for character in code[USCC_LENGTH:]):
        return "its last 3 characters must be digits"
    return None


def is_article(text: str) -> bool:
    """Tell whether `text` names an article: `5`, or `5-2` for an inserted one (第五条之二)."""
    return _ARTICLE.fullmatch(text) is not None


def owner_of(identifier: str) -> str:
    """Return the USCC of an entry's owner: every identifier of the directory begins with it."""
    return identifier[:USCC_LENGTH]


def responsibility_id(department: str, number: int) -> str:
    """Return the identifier of a department's responsibility."""
    return f"{department}-{number}"


def entrustment_id(department: str, organisation: str) -> str:
    """Return the identifier of the one entrustment record from a department to an organisation."""
    return f"{department}-{organisation}"
