"""Types of the fields that entries and other modules' records share: identifiers, codes, numbers of articles.

Each says what a value must look like; whether what it names exists is decided against the state.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field, WithJsonSchema

from directory.codes import is_article, license_type_problem, matter_code_problem, owner_of
from ledger.uscc import uscc_problem

_UPPER: Final = "[0-9A-HJ-NPQRTUWXY]"


def _check_owner(value: str) -> str:
    problem = uscc_problem(owner_of(value))
    if problem is not None:
        raise ValueError(f"must begin with its owner's USCC: {problem}")
    return value


def _check_matter_code(value: str) -> str:
    problem = matter_code_problem(value)
    if problem is not None:
        raise ValueError(problem)
    return value


def _check_license_type(value: str) -> str:
    problem = license_type_problem(value)
    if problem is not None:
        raise ValueError(problem)
    return value


def _check_article(value: str) -> str:
    if not is_article(value):
        raise ValueError("an article is written 5, or 5-2 for an inserted one")
    return value


LocalId = Annotated[
    str,
    Field(pattern=rf"^{_UPPER}{{18}}-[a-z0-9][a-z0-9._-]{{0,63}}$"),
    AfterValidator(_check_owner),
]
"""Identifier of an instrument, system or resource: `<owner's USCC>-<name in lower-case ASCII>`."""

ResponsibilityId = Annotated[
    str, Field(pattern=rf"^{_UPPER}{{18}}-[1-9][0-9]{{0,3}}$"), AfterValidator(_check_owner)
]
"""Identifier of a responsibility: `<department's USCC>-<number>`."""

EntryId = Annotated[
    str,
    Field(pattern=rf"^{_UPPER}{{18}}[0-9A-Za-z._-]{{2,65}}$"),
    AfterValidator(_check_owner),
]
"""Identifier of any entry."""

MatterCode = Annotated[
    str,
    AfterValidator(_check_matter_code),
    WithJsonSchema({"type": "string", "pattern": f"^{_UPPER}{{18}}[0-9A-Z]{{13}}$"}),
]
"""The department's USCC and 13 characters."""

LicenseTypeCode = Annotated[
    str,
    AfterValidator(_check_license_type),
    WithJsonSchema({"type": "string", "pattern": f"^{_UPPER}{{18}}[0-9]{{3}}$"}),
]
"""The defining authority's USCC and 3 digits."""

ArticleNumber = Annotated[
    str,
    AfterValidator(_check_article),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,3}(-[1-9][0-9]{0,2})?$"}),
]
"""`5`; `5-2` for an article inserted after it."""

FieldName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""A field of a license, as its type defines it."""
