"""What a use of a license is made of: the request, the holder's consent, the officer's approval.

Order of a use: request → consent → record → disclose. An operator signs a *request* with an
enrolled key. In holder mode the holder's *consent* signs the request's hash, the handles, the
fields and an expiry; in statutory mode a second officer's *approval* does. All are arrays with the
chain id inside, signed as kinds `request`, `consent`, `approval`. What would tell a person's
business (window, case number, purpose, place) is not in the request but in its *details*, to which
the request commits with a salt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from ledger.codec import Value, decode_array, encode
from ledger.decoding import (
    byte_string,
    fields,
    hash_field,
    integer,
    items,
    public_key,
    short_text,
    signature_field,
)
from ledger.errors import DecodeError
from ledger.suite import SUITES, PublicKey, Signer, Suite, signed_bytes
from licenses.handles import SALT_BYTES, details_commitment

REQUEST_KIND: Final = "request"
CONSENT_KIND: Final = "consent"
APPROVAL_KIND: Final = "approval"
USE_KIND: Final = "use"

HOLDER_MODE: Final = "holder"
STATUTORY_MODE: Final = "statutory"
MODES: Final = (HOLDER_MODE, STATUTORY_MODE)

NONCE_BYTES: Final = 16
SEALING_KEY_BYTES: Final = 32

MAX_REQUEST_LIFETIME_MS: Final = 15 * 60_000
"""Long enough for a person to read, ask and answer; short, since each license remembers requests
until they expire."""

DEFAULT_REQUEST_LIFETIME_MS: Final = 5 * 60_000

MAX_NOTICE_DEFERRAL_MS: Final = 90 * 24 * 3_600_000
"""How long a statutory use may stay unseen by the holder: one quarter, so that no deferral is for
good."""

MAX_ITEMS: Final = 8
"""Licenses that one request may ask for; a matter that needs more asks twice."""

MAX_FIELDS: Final = 64
"""Fields of one license; real license types have well below forty."""

MAX_ENVELOPE_BYTES: Final = 8_192
"""A request for eight licenses with a dozen fields each takes about 2 KiB; much longer is none."""

MAX_DETAIL_BYTES: Final = 1_000
"""One text of the details: a paragraph that fits a phone's screen."""

_FIELD: Final = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_TYPE: Final = re.compile(r"[0-9A-Z]{21}", re.ASCII)
_MATTER: Final = re.compile(r"[0-9A-Z]{31}", re.ASCII)
_USCC: Final = re.compile(r"[0-9A-Z]{18}", re.ASCII)
_DIVISION: Final = re.compile(r"[0-9]{6}", re.ASCII)


class Item(NamedTuple):
    """What a request asks of one license: its type (21 characters) and field names, ascending, at
    least one."""

    license_type: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Basis:
    """The article of an instrument of law that a statutory use cites."""

    instrument: str
    article: str


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


class _Decoded:
    """A structure that remembers what it was decoded from: decoding admits one encoding only, so that is its own."""

    __slots__ = ("_encoding",)

    def _keep_encoding(self, data: bytes) -> None:
        object.__setattr__(self, "_encoding", data)

    def _kept_encoding(self) -> bytes | None:
        return getattr(self, "_encoding", None)


@dataclass(frozen=True, slots=True)
class Request(_Decoded):
    """Who asks, for which matter, for which fields of which license types, until when.

    `operator` is the enrolled key of the person at the window: its pseudonym. `sealing_key` is the
    organisation's X25519 key as registered (32 bytes); validators compare it, so that a committed
    use proves where to disclose to. `basis` is cited in statutory mode only. `details` commits to
    the details.
    """

    chain_id: str
    organisation: str
    operator: PublicKey
    sealing_key: bytes
    matter: str
    division: str
    mode: str
    items: tuple[Item, ...]
    basis: Basis | None
    details: bytes
    nonce: bytes
    expires_ms: int

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return self._kept_encoding() or self._encoded()

    def _encoded(self) -> bytes:
        basis = None if self.basis is None else (self.basis.instrument, self.basis.article)
        return encode(
            (
                self.chain_id,
                self.organisation,
                str(self.operator),
                self.sealing_key,
                self.matter,
                self.division,
                self.mode,
                tuple((item.license_type, item.fields) for item in self.items),
                basis,
                self.details,
                self.nonce,
                self.expires_ms,
            )
        )

    @staticmethod
    def decode(data: bytes) -> Request:
        """Read a request.

        Raises:
            DecodeError: not a request, an unknown mode, or a basis that does not go with the mode.
        """
        parts = decode_array(data, 12, max_bytes=MAX_ENVELOPE_BYTES)
        mode = short_text(parts[6], "mode")
        if mode not in MODES:
            raise DecodeError(f"mode: expected one of {', '.join(MODES)}")
        basis = None
        if parts[8] is not None:
            instrument, article = fields(parts[8], "basis", 2)
            basis = Basis(_identifier(instrument, "instrument"), _identifier(article, "article"))
        if (mode == STATUTORY_MODE) != (basis is not None):
            raise DecodeError("basis: cited in statutory mode, and only there")
        request = Request(
            short_text(parts[0], "chain_id"),
            _matching(_USCC, parts[1], "organisation"),
            _key(parts[2], "operator"),
            byte_string(parts[3], "sealing_key", SEALING_KEY_BYTES),
            _matching(_MATTER, parts[4], "matter"),
            _matching(_DIVISION, parts[5], "division"),
            mode,
            _items(parts[7]),
            basis,
            hash_field(parts[9], "details"),
            byte_string(parts[10], "nonce", NONCE_BYTES),
            integer(parts[11], "expires_ms"),
        )
        request._keep_encoding(data)
        return request

    def hash(self, suite: Suite) -> bytes:
        """Return the hash that names this request (32 bytes)."""
        return suite.hash(REQUEST_KIND, self.encode())

    def signed_bytes(self) -> bytes:
        """Return the bytes that the operator signs."""
        return signed_bytes(REQUEST_KIND, self.encode())


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request with its operator's signature: `[request bytes, signature]`."""

    request: Request
    signature: bytes

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode((self.request.encode(), self.signature))

    @staticmethod
    def decode(data: bytes) -> SignedRequest:
        """Read a signed request; the signature is not verified here.

        Raises:
            DecodeError: not a signed request.
        """
        return _signed_request(data)

    def verify(self, suite: Suite) -> bool:
        """Tell whether the signature is that of the operator key which the request names."""
        request = self.request
        return _verify(suite, request.operator, request.signed_bytes(), self.signature)


class Grant(NamedTuple):
    """What a holder grants of one license: fields (a part of those asked, ascending), and the
    opened commitment."""

    handle: bytes
    fields: tuple[str, ...]
    holder: PublicKey
    holder_salt: bytes


@dataclass(frozen=True, slots=True)
class Consent(_Decoded):
    """A holder's consent to one request: a grant for each of its items, in order, until
    `expires_ms`."""

    chain_id: str
    request_hash: bytes
    grants: tuple[Grant, ...]
    expires_ms: int

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return self._kept_encoding() or self._encoded()

    def _encoded(self) -> bytes:
        grants = tuple(
            (grant.handle, grant.fields, str(grant.holder), grant.holder_salt)
            for grant in self.grants
        )
        return encode((self.chain_id, self.request_hash, grants, self.expires_ms))

    @staticmethod
    def decode(data: bytes) -> Consent:
        """Read a consent.

        Raises:
            DecodeError: not a consent, or it grants the same license twice.
        """
        chain_id, request_hash, grants, expires_ms = decode_array(
            data, 4, max_bytes=MAX_ENVELOPE_BYTES
        )
        decoded = tuple([_grant(grant) for grant in items(grants, "grants", MAX_ITEMS)])
        _distinct([grant.handle for grant in decoded])
        consent = Consent(
            short_text(chain_id, "chain_id"),
            hash_field(request_hash, "request_hash"),
            decoded,
            integer(expires_ms, "expires_ms"),
        )
        consent._keep_encoding(data)
        return consent

    def use_id(self, suite: Suite) -> bytes:
        """Return what names the use that this consent allows (32 bytes)."""
        handles = tuple(grant.handle for grant in self.grants)
        return _use_id(suite, self.request_hash, handles)

    def signed_bytes(self) -> bytes:
        """Return the bytes that every holder key of the grants signs."""
        return signed_bytes(CONSENT_KIND, self.encode())


@dataclass(frozen=True, slots=True)
class SignedConsent:
    """A consent with one signature a grant, in order: `[consent bytes, [signature, …]]`."""

    consent: Consent
    signatures: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode((self.consent.encode(), self.signatures))

    @staticmethod
    def decode(data: bytes) -> SignedConsent:
        """Read a signed consent; signatures are not verified here.

        Raises:
            DecodeError: not a signed consent, or not one signature a grant.
        """
        return _signed_consent(data)

    def verify(self, suite: Suite) -> bool:
        """Tell whether each grant's holder key signed the consent."""
        message = self.consent.signed_bytes()
        for grant, signature in zip(self.consent.grants, self.signatures, strict=True):
            if not _verify(suite, grant.holder, message, signature):
                return False
        return True


@dataclass(frozen=True, slots=True)
class Approval:
    """A second officer's approval of a statutory use: handles with fields, one a request item, in
    order.

    `notice_after_ms` is None when the holder is told at once, else the time until which notice is
    deferred.
    """

    chain_id: str
    request_hash: bytes
    officer: PublicKey
    grants: tuple[tuple[bytes, tuple[str, ...]], ...]
    notice_after_ms: int | None
    expires_ms: int

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode(
            (
                self.chain_id,
                self.request_hash,
                str(self.officer),
                self.grants,
                self.notice_after_ms,
                self.expires_ms,
            )
        )

    @staticmethod
    def decode(data: bytes) -> Approval:
        """Read an approval.

        Raises:
            DecodeError: not an approval, or it grants the same license twice.
        """
        parts = decode_array(data, 6, max_bytes=MAX_ENVELOPE_BYTES)
        grants = []
        for grant in items(parts[3], "grants", MAX_ITEMS):
            handle, names = fields(grant, "grant", 2)
            grants.append((hash_field(handle, "handle"), _field_names(names)))
        _distinct([handle for handle, _ in grants])
        return Approval(
            short_text(parts[0], "chain_id"),
            hash_field(parts[1], "request_hash"),
            _key(parts[2], "officer"),
            tuple(grants),
            None if parts[4] is None else integer(parts[4], "notice_after_ms"),
            integer(parts[5], "expires_ms"),
        )

    def use_id(self, suite: Suite) -> bytes:
        """Return what names the use that this approval allows (32 bytes)."""
        return _use_id(suite, self.request_hash, tuple(handle for handle, _ in self.grants))

    def signed_bytes(self) -> bytes:
        """Return the bytes that the officer signs."""
        return signed_bytes(APPROVAL_KIND, self.encode())


@dataclass(frozen=True, slots=True)
class SignedApproval:
    """An approval with its officer's signature: `[approval bytes, signature]`."""

    approval: Approval
    signature: bytes

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode((self.approval.encode(), self.signature))

    @staticmethod
    def decode(data: bytes) -> SignedApproval:
        """Read a signed approval; the signature is not verified here.

        Raises:
            DecodeError: not a signed approval.
        """
        body, signature = decode_array(data, 2, max_bytes=MAX_ENVELOPE_BYTES)
        return SignedApproval(Approval.decode(_bytes(body)), signature_field(signature))

    def verify(self, suite: Suite) -> bool:
        """Tell whether the officer key that the approval names signed it."""
        approval = self.approval
        return _verify(suite, approval.officer, approval.signed_bytes(), self.signature)


@dataclass(frozen=True, slots=True)
class RequestEnvelope:
    """A signed request with its details: what travels, sealed, from the window to the holder's
    wallet."""

    signed: SignedRequest
    details: RequestDetails

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode((self.signed.encode(), self.details.encode()))

    @staticmethod
    def decode(data: bytes) -> RequestEnvelope:
        """Read an envelope; nothing is verified here.

        Raises:
            DecodeError: not an envelope.
        """
        signed, details = decode_array(data, 2, max_bytes=2 * MAX_ENVELOPE_BYTES)
        return RequestEnvelope(
            SignedRequest.decode(_bytes(signed)), RequestDetails.decode(_bytes(details))
        )

    def verify(self, suite: Suite) -> bool:
        """Tell whether the operator signed the request and the details are those that it commits
        to."""
        committed = self.details.commitment(suite) == self.signed.request.details
        return committed and self.signed.verify(suite)


def sign_request(
    suite: Suite,
    signer: Signer,
    *,
    chain_id: str,
    organisation: str,
    sealing_key: bytes,
    matter: str,
    division: str,
    items: Sequence[Item],
    details: RequestDetails,
    nonce: bytes,
    expires_ms: int,
    basis: Basis | None = None,
) -> RequestEnvelope:
    """Build and sign a request; with a `basis` in statutory mode, else in holder mode. `nonce`: 16
    random bytes.

    Raises:
        DecodeError: a part is not well formed.
    """
    request = Request(
        chain_id,
        organisation,
        signer.public_key,
        sealing_key,
        matter,
        division,
        HOLDER_MODE if basis is None else STATUTORY_MODE,
        tuple(Item(item.license_type, tuple(sorted(set(item.fields)))) for item in items),
        basis,
        details.commitment(suite),
        nonce,
        expires_ms,
    )
    RequestDetails.decode(details.encode())
    request = Request.decode(request.encode())
    return RequestEnvelope(SignedRequest(request, signer.sign(request.signed_bytes())), details)


def sign_consent(
    suite: Suite,
    request: Request,
    grants: Sequence[tuple[bytes, Sequence[str], bytes, Signer]],
    *,
    expires_ms: int,
) -> SignedConsent:
    """Build and sign a consent; `grants` are (handle, fields, holder salt, holder's signer), one an
    item, in order."""
    consent = Consent(
        request.chain_id,
        request.hash(suite),
        tuple(
            Grant(handle, tuple(sorted(set(names))), signer.public_key, salt)
            for handle, names, salt, signer in grants
        ),
        expires_ms,
    )
    consent = Consent.decode(consent.encode())
    message = consent.signed_bytes()
    return SignedConsent(consent, tuple(signer.sign(message) for *_, signer in grants))


def sign_approval(
    suite: Suite,
    signer: Signer,
    request: Request,
    grants: Sequence[tuple[bytes, Sequence[str]]],
    *,
    expires_ms: int,
    notice_after_ms: int | None = None,
) -> SignedApproval:
    """Build and sign an approval of a statutory request; `grants` are (handle, fields), one an
    item, in order."""
    approval = Approval(
        request.chain_id,
        request.hash(suite),
        signer.public_key,
        tuple((handle, tuple(sorted(set(names)))) for handle, names in grants),
        notice_after_ms,
        expires_ms,
    )
    approval = Approval.decode(approval.encode())
    return SignedApproval(approval, signer.sign(approval.signed_bytes()))


def _use_id(suite: Suite, request_hash: bytes, handles: tuple[bytes, ...]) -> bytes:
    # Two holders may be shown one request; each license takes it once, so with the handles the id is unique.
    return suite.hash(USE_KIND, encode((request_hash, handles)))


# The same operation runs when a block is proposed, validated and finalised. What follows is pure, so its results are
# remembered: decoding checks that a key is a point of the curve, which costs as much as a signature.

_REMEMBERED: Final = 4_096
"""About two blocks of uses."""

_KNOWN_LISTS: Final = 512
"""Lists of fields that matters ask for; the longest takes some 8 KiB."""


@lru_cache(maxsize=_REMEMBERED)
def _signed_request(data: bytes) -> SignedRequest:
    body, signature = decode_array(data, 2, max_bytes=MAX_ENVELOPE_BYTES)
    return SignedRequest(Request.decode(_bytes(body)), signature_field(signature))


@lru_cache(maxsize=_REMEMBERED)
def _signed_consent(data: bytes) -> SignedConsent:
    body, signatures = decode_array(data, 2, max_bytes=MAX_ENVELOPE_BYTES)
    consent = Consent.decode(_bytes(body))
    listed = items(signatures, "signatures", MAX_ITEMS, len(consent.grants))
    return SignedConsent(consent, tuple([signature_field(each) for each in listed]))


def _verify(suite: Suite, key: PublicKey, message: bytes, signature: bytes) -> bool:
    return _verify_once(suite.name, key.algorithm, key.data, message, signature)


@lru_cache(maxsize=2 * _REMEMBERED)
def _verify_once(
    suite_name: str, algorithm: str, key: bytes, message: bytes, signature: bytes
) -> bool:
    """Remember a verdict, good or bad, by the very bytes that it follows from."""
    return SUITES[suite_name].verify(PublicKey(algorithm, key), message, signature)


@lru_cache(maxsize=2 * _REMEMBERED)
def _checked_key(text: str) -> PublicKey:
    return public_key(text, "key")


def _key(value: Value, name: str) -> PublicKey:
    return _checked_key(value) if type(value) is str else public_key(value, name)


def _items(value: Value) -> tuple[Item, ...]:
    listed = items(value, "items", MAX_ITEMS)
    if not listed:
        raise DecodeError("items: expected at least one")
    return tuple([_item(entry) for entry in listed])


def _item(value: Value) -> Item:
    license_type, names = fields(value, "item", 2)
    return Item(_matching(_TYPE, license_type, "license_type"), _field_names(names))


def _grant(value: Value) -> Grant:
    handle, names, holder, salt = fields(value, "grant", 4)
    return Grant(
        hash_field(handle, "handle"),
        _field_names(names),
        _key(holder, "holder"),
        byte_string(salt, "holder_salt", SALT_BYTES),
    )


def _field_names(value: Value) -> tuple[str, ...]:
    try:
        return _checked_field_names(value)
    except TypeError:  # a map among them cannot be looked up
        raise DecodeError("fields: expected names") from None


@lru_cache(maxsize=_KNOWN_LISTS)
def _checked_field_names(value: Value) -> tuple[str, ...]:
    """Matters ask for the same few lists of fields again and again."""
    listed = items(value, "fields", MAX_FIELDS)
    names = [_matching(_FIELD, name, "field") for name in listed]
    if not names or names != sorted(set(names)):
        raise DecodeError("fields: expected names in ascending order, each once, at least one")
    return tuple(names)


def _distinct(handles: Sequence[bytes]) -> None:
    if not handles or len(set(handles)) != len(handles):
        raise DecodeError("grants: expected at least one, each license once")


def _matching(pattern: re.Pattern[str], value: Value, name: str) -> str:
    if type(value) is not str or pattern.fullmatch(value) is None:
        raise DecodeError(f"{name}: expected {pattern.pattern}")
    return value


def _identifier(value: Value, name: str) -> str:
    """Return an id as the directory uses it: short text, in any script, that could stand in a state
    key."""
    if type(value) is not str or not 1 <= len(value.encode()) <= 160:
        raise DecodeError(f"{name}: expected a text of 1 to 160 bytes")
    if any(character <= " " or character in "/\x7f" for character in value):
        raise DecodeError(f"{name}: spaces, slashes and control characters are not allowed")
    return value


def _text(value: Value, name: str) -> str:
    if type(value) is not str or len(value.encode()) > MAX_DETAIL_BYTES:
        raise DecodeError(f"{name}: expected a text of at most {MAX_DETAIL_BYTES} bytes")
    return value


def _bytes(value: Value) -> bytes:
    if type(value) is not bytes:
        raise DecodeError("expected encoded bytes")
    return value
