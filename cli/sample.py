"""The sample network: who takes part and who holds which key.

Organisations are examples; all but the Tongzhou department carry invented codes (well-formed, with good check
characters). A key is held by a person or a window in one role, so the names of the profiles say who acts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class SampleOrganisation:
    """An organisation of the sample network. `parent` is a short name, "" for the national authority."""

    short: str
    uscc: str
    name: str
    level: str
    division: str
    parent: str
    authority: bool = False


@dataclass(frozen=True, slots=True)
class SampleKey:
    """A key: the profile that uses it, its organisation (short name), its roles, and its nearest node."""

    profile: str
    organisation: str
    roles: tuple[str, ...]
    node: str
    holder: str


AUTHORITIES: Final = (
    SampleOrganisation(
        "national", "11100000MB1A0001XJ", "国家政务服务平台 National Government Service Platform",
        "national", "000000", "", authority=True,
    ),
    SampleOrganisation(
        "beijing", "11110000MB1A00028N", "北京市目录主管部门 Beijing Directory Authority",
        "municipal", "110000", "national", authority=True,
    ),
    SampleOrganisation(
        "tianjin", "11120000MB1A00036M", "天津市目录主管部门 Tianjin Directory Authority",
        "municipal", "120000", "national", authority=True,
    ),
    SampleOrganisation(
        "hebei", "11130000MB1A00044L", "河北省目录主管部门 Hebei Directory Authority",
        "municipal", "130000", "national", authority=True,
    ),
    SampleOrganisation(
        "tongzhou", "11110112MB1A00052Q", "通州区目录主管部门 Tongzhou Directory Authority",
        "district", "110112", "beijing", authority=True,
    ),
    SampleOrganisation(
        "xiongan", "11133100MB1A00060L", "雄安新区目录主管部门 Xiong'an Directory Authority",
        "district", "133100", "hebei", authority=True,
    ),
)  # fmt: skip

DEPARTMENTS: Final = (
    SampleOrganisation(
        "residence-ministry", "11100000MB1A00079T", "居住管理主管部委 National Residence Office",
        "national", "000000", "national",
    ),
    SampleOrganisation(
        "tongzhou-department", "11110112MB1D52349B",
        "通州区政务服务和数据管理局 Tongzhou District Administration of Government Services and Data Management",
        "district", "110112", "tongzhou",
    ),
    SampleOrganisation(
        "beijing-issuer", "11110000MB1A00108A", "北京市居住证签发机构 Beijing Residence Permit Office",
        "municipal", "110000", "beijing",
    ),
    SampleOrganisation(
        "tianjin-department", "11120000MB1A00087X", "天津市社会事务部门 Tianjin Department of Social Affairs",
        "municipal", "120000", "tianjin",
    ),
    SampleOrganisation(
        "tianjin-centre", "12120000MB1A00095M", "天津市政务服务中心 Tianjin Government Service Centre",
        "municipal", "120000", "tianjin",
    ),
    SampleOrganisation(
        "hebei-centre", "12130000MB1A00116A", "河北省政务服务中心 Hebei Government Service Centre",
        "municipal", "130000", "hebei",
    ),
)  # fmt: skip

ORGANISATIONS: Final = AUTHORITIES + DEPARTMENTS

NATIONAL_KEYS: Final = (
    SampleKey(
        "national-editor", "national", ("editor",), "national", "publishes instruments of law"
    ),
    SampleKey("national-approver", "national", ("approver",), "national", "approves entries"),
    SampleKey(
        "national-auditor", "national", ("auditor",), "xiongan", "reads everything, traces uses"
    ),
    SampleKey(
        "residence-ministry", "residence-ministry", ("issuer",), "national", "defines license types"
    ),
)


def _authority_keys(short: str, node: str) -> tuple[SampleKey, ...]:
    return (
        SampleKey(
            f"{short}-registrar", short, ("registrar",), node, "registers organisations and keys"
        ),
        SampleKey(f"{short}-governor", short, ("governor",), node, "decides on validators and CAs"),
    )


def _approver(short: str, node: str) -> SampleKey:
    return SampleKey(
        f"{short}-approver", short, ("approver",), node, "approves entries of the division"
    )


def _window_keys(short: str, organisation: str, node: str) -> tuple[SampleKey, ...]:
    return (
        SampleKey(
            f"{short}-operator", organisation, ("operator",), node, "asks for licenses at a window"
        ),
        SampleKey(f"{short}-recorder", organisation, ("recorder",), node, "records uses"),
    )


KEYS: Final[tuple[SampleKey, ...]] = (
    *NATIONAL_KEYS,
    *_authority_keys("national", "national"),
    *_authority_keys("beijing", "beijing"),
    _approver("beijing", "beijing"),
    *_authority_keys("tianjin", "tianjin"),
    _approver("tianjin", "tianjin"),
    *_authority_keys("hebei", "hebei"),
    _approver("hebei", "hebei"),
    *_authority_keys("tongzhou", "beijing"),
    _approver("tongzhou", "beijing"),
    *_authority_keys("xiongan", "xiongan"),
    _approver("xiongan", "xiongan"),
    SampleKey(
        "tongzhou-editor",
        "tongzhou-department",
        ("editor",),
        "beijing",
        "keeps the department's entries",
    ),
    SampleKey(
        "tongzhou-officer",
        "tongzhou-department",
        ("officer",),
        "beijing",
        "second officer of statutory uses",
    ),
    *_window_keys("tongzhou", "tongzhou-department", "beijing"),
    SampleKey("beijing-issuer", "beijing-issuer", ("issuer",), "beijing", "issues licenses"),
    SampleKey(
        "tianjin-editor",
        "tianjin-department",
        ("editor",),
        "tianjin",
        "keeps the department's entries",
    ),
    *_window_keys("tianjin", "tianjin-centre", "tianjin"),
    *_window_keys("hebei", "hebei-centre", "hebei"),
)

SEALED: Final = ("tongzhou-department", "tianjin-centre", "hebei-centre")
"""Organisations with a sealing key: fields are disclosed to them."""

VALIDATORS: Final = ("beijing", "tianjin", "hebei", "national")
QUERY_NODES: Final = ("xiongan",)

SESSION_DIGITS: Final = {"national": 0, "beijing": 1, "tianjin": 2, "hebei": 3, "xiongan": 4}
"""First digit of a jurisdiction's one-time codes."""


def by_short_name(short: str) -> SampleOrganisation:
    """Return an organisation of the sample by its short name."""
    return next(one for one in ORGANISATIONS if one.short == short)
