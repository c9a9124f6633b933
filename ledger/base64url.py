"""Unpadded base64url (RFC 7515, section 2) in its one canonical form: that of credentials, tokens and cursors."""

from __future__ import annotations

import binascii
import re
from typing import Final

from ledger.errors import DecodeError

_ALPHABET: Final = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")
_LAST_CHARACTERS: Final = {2: "AQgw", 3: "AEIMQUYcgkosw048"}
"""What a text may end in whose length leaves this rest by 4: a character without bits left over (RFC 4648, 3.5)."""


def base64url_encode(data: bytes) -> str:
    """Return the unpadded base64url of `data`."""
    standard = binascii.b2a_base64(data, newline=False)
    return standard.translate(_TO_URL).rstrip(b"=").decode("ascii")


def base64url_decode(text: str) -> bytes:
    """Read what `base64url_encode` wrote.

    Raises:
        DecodeError: another alphabet, padding, or bits left over.
    """
    rest = len(text) % 4
    if _ALPHABET.fullmatch(text) is None or rest == 1:
        raise DecodeError("not base64url")
    if rest and text[-1] not in _LAST_CHARACTERS[rest]:
        raise DecodeError("not canonical base64url")
    return binascii.a2b_base64(text.encode("ascii").translate(_FROM_URL) + b"=" * (-rest % 4))
