"""Identifiers of licenses (GB/T 36904), with their check characters.

A license identifier is `1.2.156.3005.2.<type>.<issuer>.<serial>.<version>.<check>`. The check character is ISO 7064
MOD 37,36 over type, issuer, serial and version *without the dots*: moving a character from one part to its neighbour
leaves it unchanged, so every part's length and alphabet is checked on its own. Identifiers never reach the ledger.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ledger.errors import DecodeError
from ledger.uscc import uscc_problem

PREFIX: Final = "1.2.156.3005.2"
"""The object identifier of e-license identifiers."""

TYPE_LENGTH: Final = 21
"""USCC of the defining authority and three digits."""

MIN_SERIAL: Final = 6
MAX_SERIAL: Final = 32

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TYPE: Final = re.compile(r"[0-9A-Z]{18}[0-9]{3}", re.ASCII)
_ISSUER: Final = re.compile(r"[0-9A-Z]{18}|[0-9]{6}", re.ASCII)
_SERIAL: Final = re.compile(r"[0-9A-Z]{6,32}", re.ASCII)
_VERSION: Final = re.compile(r"[0-9]{3}", re.ASCII)
_CHECK: Final = re.compile(r"[0-9A-Z]", re.ASCII)


@dataclass(frozen=True, slots=True)
class LicenseIdentifier:
    """A license identifier in its parts, all checked."""

    type: str
    issuer: str
    serial: str
    version: str

    @property
    def check(self) -> str:
        """The check character."""
        return check_character(self.type + self.issuer + self.serial + self.version)

    def __str__(self) -> str:
        parts = (PREFIX, self.type, self.issuer, self.serial, self.version, self.check)
        return ".".join(parts)

    @staticmethod
    def build(type_: str, issuer: str, serial: str, version: int = 1) -> LicenseIdentifier:
        """Return the identifier of these parts; its check character follows.

        Raises:
            DecodeError: a part is not well formed; `version` is beyond 1…999.
        """
        if not 1 <= version <= 999:
            raise DecodeError("version: expected 1 to 999")
        identifier = LicenseIdentifier(type_, issuer, serial, f"{version:03}")
        _check_parts(identifier)
        return identifier

    @staticmethod
    def parse(text: str) -> LicenseIdentifier:
        """Read an identifier and verify its check character.

        Raises:
            DecodeError: wrong prefix, number of parts, length or alphabet of a part, or check.
        """
        if not text.startswith(PREFIX + "."):
            raise DecodeError(f"a license identifier begins with {PREFIX}.")
        parts = text[len(PREFIX) + 1 :].split(".")
        if len(parts) != 5:
            raise DecodeError("expected type, issuer, serial, version and check after the prefix")
        identifier = LicenseIdentifier(*parts[:4])
        _check_parts(identifier)
        if _CHECK.fullmatch(parts[4]) is None or parts[4] != identifier.check:
            raise DecodeError(
                f"the check character is {parts[4][:3]!r}, should be {identifier.check!r}"
            )
        return identifier


def check_character(text: str) -> str:
    """Return the ISO 7064 MOD 37,36 check character of a text over 0-9 and A-Z (hybrid system, section 9).

    Raises:
        ValueError: another character.
    """
    product = 36
    for character in text:
        total = (product + _ALPHABET.index(character)) % 36 or 36
        product = total * 2 % 37
    return _ALPHABET[(37 - product) % 36]


def _check_parts(identifier: LicenseIdentifier) -> None:
    if _TYPE.fullmatch(identifier.type) is None:
        raise DecodeError(f"type: expected {TYPE_LENGTH} characters, the last three digits")
    _check_uscc("type", identifier.type[:18])
    if _ISSUER.fullmatch(identifier.issuer) is None:
        raise DecodeError("issuer: expected a USCC of 18 characters, or 6 digits in old data")
    if len(identifier.issuer) == 18:
        _check_uscc("issuer", identifier.issuer)
    if _SERIAL.fullmatch(identifier.serial) is None:
        raise DecodeError(f"serial: expected {MIN_SERIAL} to {MAX_SERIAL} of 0-9 and A-Z")
    if _VERSION.fullmatch(identifier.version) is None:
        raise DecodeError("version: expected 3 digits")


def _check_uscc(part: str, code: str) -> None:
    problem = uscc_problem(code)
    if problem is not None:
        raise DecodeError(f"{part}: {problem}")
