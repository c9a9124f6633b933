"""The details of a request: what would tell a person's business, and therefore is not in the request itself.

The request commits to them with a salt; they travel beside it, sealed, from the window to the holder's wallet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.codec import Value, decode_array, encode
from ledger.decoding import byte_string
from ledger.errors import DecodeError
from ledger.suite import Suite
from licenses.handles import SALT_BYTES, details_commitment
from licenses.use_fields import MAX_ENVELOPE_BYTES

MAX_DETAIL_BYTES: Final = 1_000
"""One text of the details: a paragraph that fits a phone's screen."""


@dataclass(frozen=True, slots=True)
class RequestDetails:
    """What only the recording organisation and the holder know of a request; texts of at most 1,000
    bytes."""

    salt: bytes
    window: str
    case_number: str
    purpose: str
    place: str

    def __post_init__(self) -> None:
        if len(self.salt) != SALT_BYTES:
            raise ValueError(f"a salt has {SALT_BYTES} bytes")

    def commitment(self, suite: Suite) -> bytes:
        """Return what the request holds of these details (32 bytes)."""
        texts = {
            "window": self.window,
            "case_number": self.case_number,
            "purpose": self.purpose,
            "place": self.place,
        }
        return details_commitment(suite, self.salt, texts)

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode((self.salt, self.window, self.case_number, self.purpose, self.place))

    @staticmethod
    def decode(data: bytes) -> RequestDetails:
        """Read details.

        Raises:
            DecodeError: not details, or a text is too long.
        """
        salt, *texts = decode_array(data, 5, max_bytes=MAX_ENVELOPE_BYTES)
        names = ("window", "case_number", "purpose", "place")
        window, case_number, purpose, place = (
            _text(text, name) for text, name in zip(texts, names, strict=True)
        )
        return RequestDetails(
            byte_string(salt, "salt", SALT_BYTES), window, case_number, purpose, place
        )


def _text(value: Value, name: str) -> str:
    if type(value) is not str or len(value.encode()) > MAX_DETAIL_BYTES:
        raise DecodeError(f"{name}: expected a text of at most {MAX_DETAIL_BYTES} bytes")
    return value
