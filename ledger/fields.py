"""Field types that operation bodies share: bytes are hex in JSON, and texts are bounded.

Validation is by ASCII classes and code points only: Unicode tables differ between Python versions,
and validators must agree. Control characters are refused in every text, so that no terminal or log
is fooled by one.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)

from ledger.errors import InvalidKey
from ledger.suite import PublicKey
from ledger.uscc import uscc_problem

MAX_TIME_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999: beyond it dates cannot be shown."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", re.ASCII)
"""Control characters but for line feed and tab."""


def from_hex(value: Any, info: ValidationInfo) -> Any:
    """Turn a hex string into bytes where the input is JSON; leave anything else to the type's check."""
    if info.mode == "json" and isinstance(value, str):
        try:
            return bytes.fromhex(value)
        except ValueError:
            raise ValueError("not hexadecimal") from None
    return value


def _check_text(value: str) -> str:
    if _CONTROL.search(value) is not None:
        raise ValueError("holds a control character")
    if not value.strip(" \n\t"):
        raise ValueError("is blank")
    return value


def _check_line(value: str) -> str:
    if "\n" in value or "\t" in value:
        raise ValueError("is more than one line")
    return _check_text(value)


def _check_uscc(value: str) -> str:
    problem = uscc_problem(value)
    if problem is not None:
        raise ValueError(problem)
    return value


def _check_key(value: str) -> str:
    try:
        PublicKey.parse(value)
    except InvalidKey as error:
        raise ValueError(str(error)) from None
    return value


def _hex_bytes(minimum: int, maximum: int) -> tuple[Any, ...]:
    return (
        Field(min_length=minimum, max_length=maximum),
        BeforeValidator(from_hex),
        PlainSerializer(lambda value: value.hex(), return_type=str, when_used="json"),
        WithJsonSchema({"type": "string", "pattern": f"^([0-9a-f]{{2}}){{{minimum},{maximum}}}$"}),
    )


Bytes32 = Annotated[bytes, *_hex_bytes(32, 32)]
Bytes64 = Annotated[bytes, *_hex_bytes(64, 64)]

Certificate = Annotated[bytes, *_hex_bytes(1, 8_192)]
"""A DER certificate."""

Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_check_line)]
"""A name or title on one line, at most 200 characters."""

Text = Annotated[str, Field(min_length=1, max_length=8_000), AfterValidator(_check_text)]
"""Running text, at most 8,000 characters."""

Slug = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$")]
"""An identifier of lower-case ASCII letters, digits, dot, hyphen, underscore."""

Uscc = Annotated[
    str,
    AfterValidator(_check_uscc),
    WithJsonSchema({"type": "string", "pattern": "^[0-9A-HJ-NPQRTUWXY]{18}$"}),
]
"""A unified social credit code (GB 32100) with good check characters."""

Division = Annotated[str, Field(pattern=r"^[0-9]{6}$")]
"""A division code (GB/T 2260), or 000000 for the national level."""

TimeMs = Annotated[int, Field(ge=0, le=MAX_TIME_MS)]
"""Milliseconds since the Unix epoch."""

KeyText = Annotated[
    str,
    AfterValidator(_check_key),
    WithJsonSchema({"type": "string", "pattern": "^(ed25519|p256):[0-9a-f]{64,66}$"}),
]
"""A public key, `<algorithm>:<hex>`, of full order and canonical."""

SealingKeyText = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""An X25519 public key in hex."""
