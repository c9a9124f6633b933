"""What the story is made of: one department's responsibilities, a matter, a license, people.

The department's responsibilities are put in our own words from its published statement. The regulation cited is
State Council Order 711 on open government information: its Article 29 says what an application must name. Everything
else – the permit, its holder, codes of invented organisations – is made up.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

from cli.sample import by_short_name
from ledger.suite import SHA256_ED25519

DEPARTMENT: Final = by_short_name("tongzhou-department")
CENTRE: Final = by_short_name("tianjin-centre")
OTHER_CENTRE: Final = by_short_name("hebei-centre")
ISSUER: Final = by_short_name("beijing-issuer")
MINISTRY: Final = by_short_name("residence-ministry")
NATIONAL: Final = by_short_name("national")

DAY_MS: Final = 86_400_000

INSTRUMENT_ID: Final = f"{NATIONAL.uscc}-order-711"
ARTICLE: Final = "29"
SYSTEM_ID: Final = f"{DEPARTMENT.uscc}-disclosure-desk"
RESOURCE_ID: Final = f"{DEPARTMENT.uscc}-disclosure-applications"
MATTER: Final = f"{DEPARTMENT.uscc}0000207110290"
UNCOVERED_MATTER: Final = f"{DEPARTMENT.uscc}0000999999999"
LICENSE_TYPE: Final = f"{MINISTRY.uscc}001"
SERIAL: Final = "2026110100000017"

HOLDER_FIELDS: Final = {
    "holder_name": "李明 Li Ming",
    "permit_number": "BJ-TZ-2026-000017",
    "birth_date": "1990-04-12",
    "address": "北京市通州区 Tongzhou, Beijing",
}
LISTED_FIELDS: Final = ("holder_name", "permit_number")
UNLISTED_FIELD: Final = "birth_date"

_IN_FORCE_FROM_MS: Final = 1_557_849_600_000  # 15 May 2019, Beijing time
_INSTRUMENT_TEXT: Final = (
    "政府信息公开条例 (State Council Order 711), sample text of the demonstration: whoever applies "
    "for government information gives name, proof of identity, contact and what is wanted."
)


def statement() -> str:
    """Return the department's statement."""
    return files("cli.demo").joinpath("statement.txt").read_text("utf-8")


def digest(text: str) -> str:
    """Return the digest of a document, in hex."""
    return SHA256_ED25519.digest(text.encode()).hex()


def instrument() -> dict[str, Any]:
    """Return the regulation that the matter rests on."""
    return {
        "id": INSTRUMENT_ID,
        "kind": "regulation",
        "name": "中华人民共和国政府信息公开条例 Regulation on Open Government Information",
        "number": "国务院令第711号",
        "issuer": "国务院 State Council",
        "in_force_from_ms": _IN_FORCE_FROM_MS,
        "articles": [str(number) for number in range(1, 57)],
        "digest": digest(_INSTRUMENT_TEXT),
    }


def system() -> dict[str, Any]:
    """Return the information system that carries out responsibility 4."""
    return {
        "id": SYSTEM_ID,
        "name": "依申请公开受理系统 Disclosure desk",
        "responsibilities": [f"{DEPARTMENT.uscc}-4"],
        "network": "extranet",
        "hosting": "district_cloud",
    }


def resource() -> dict[str, Any]:
    """Return the data that the system holds."""
    return {
        "id": RESOURCE_ID,
        "name": "依申请公开台账 Register of disclosure applications",
        "summary": "Applications for government information, with their state and answer.",
        "format": "database",
        "systems": [SYSTEM_ID],
        "items": [
            {"name": "applicant", "type": "text", "grade": "important", "sensitive": True},
            {"name": "received", "type": "date", "grade": "general", "sensitive": False},
            {"name": "answer", "type": "text", "grade": "general", "sensitive": False},
        ],
        "grade": "important",
        "confidential": False,
        "sharing": {
            "type": "conditional",
            "method": "service",
            "condition": "For supervision of disclosure, single records.",
        },
        "opening": {"open": False},
        "update_cycle": "daily",
    }


def matter() -> dict[str, Any]:
    """Return the matter: what it rests on, and the only fields it may ask for."""
    return {
        "code": MATTER,
        "name": "依申请公开政府信息 Disclosure of government information on application",
        "department": DEPARTMENT.uscc,
        "responsibilities": [f"{DEPARTMENT.uscc}-4"],
        "articles": [{"instrument": INSTRUMENT_ID, "article": ARTICLE}],
        "licenses": [
            {
                "type": LICENSE_TYPE,
                "fields": [
                    {
                        "name": "holder_name",
                        "reason": "Article 29: an application names who applies.",
                    },
                    {
                        "name": "permit_number",
                        "reason": "Article 29: proof of the applicant's identity.",
                    },
                ],
            }
        ],
        "modes": ["holder"],
    }


def entrustment(now_ms: int) -> dict[str, Any]:
    """Return the department's entrustment of the service centre in Tianjin, for a year."""
    return {
        "department": DEPARTMENT.uscc,
        "organisation": CENTRE.uscc,
        "matters": [MATTER],
        "valid_from_ms": now_ms - now_ms % 1000 - DAY_MS,
        "valid_to_ms": now_ms - now_ms % 1000 + 365 * DAY_MS,
        "document": "通州委托书〔2026〕1号 Letter of entrustment 2026-1",
        "digest": digest("Letter of entrustment 2026-1, sample text of the demonstration."),
    }


def license_type() -> dict[str, Any]:
    """Return the definition of the residence permit."""
    return {
        "type": LICENSE_TYPE,
        "name": "居住证 Residence permit",
        "holder_kind": "person",
        "fields": [
            {"name": "holder_name", "title": "姓名 Name"},
            {"name": "permit_number", "title": "证件号码 Number"},
            {"name": "birth_date", "title": "出生日期 Date of birth"},
            {"name": "address", "title": "居住地址 Address"},
        ],
    }


def accreditation(now_ms: int) -> dict[str, Any]:
    """Return the accreditation of the issuer in Beijing, for five years."""
    return {
        "type": LICENSE_TYPE,
        "issuer": ISSUER.uscc,
        "valid_from_ms": now_ms - DAY_MS,
        "valid_to_ms": now_ms + 5 * 365 * DAY_MS,
    }
