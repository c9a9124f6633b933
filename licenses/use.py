"""What a use of a license is made of: the request, the holder's consent, the officer's approval.

Order of a use: request → consent → record → disclose. An operator signs a *request* with an
enrolled key. In holder mode the holder's *consent* signs the request's hash, the handles, the
fields and an expiry; in statutory mode a second officer's *approval* does. All are arrays with the
chain id inside, signed as kinds `request`, `consent`, `approval`. What would tell a person's
business (window, case number, purpose, place) is not in the request but in its *details*, to which
the request commits with a salt.
"""

from __future__ import annotations

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
    short_text,
    signature_field,
)
from ledger.errors import DecodeError
from ledger.keys import SEALING_KEY_BYTES
from ledger.suite import PublicKey, Suite, signed_bytes
from licenses.details import RequestDetails
from licenses.handles import SALT_BYTES
from licenses.use_fields import (
    DIVISION_CODE,
    LICENSE_TYPE,
    MATTER_CODE,
    MAX_ENVELOPE_BYTES,
    REMEMBERED,
    USCC,
    encoded_bytes,
    field_names,
    identifier,
    key_field,
    matching,
    verify_remembered,
)

REQUEST_KIND: Final = "request"
CONSENT_KIND: Final = "consent"
APPROVAL_KIND: Final = "approval"
USE_KIND: Final = "use"

HOLDER_MODE: Final = "holder"
STATUTORY_MODE: Final = "statutory"
MODES: Final = (HOLDER_MODE, STATUTORY_MODE)

NONCE_BYTES: Final = 16

MAX_REQUEST_LIFETIME_MS: Final = 15 * 60_000
"""Long enough for a person to read, ask and answer; short, since each license remembers requests
until they expire."""

DEFAULT_REQUEST_LIFETIME_MS: Final = 5 * 60_000

MAX_NOTICE_DEFERRAL_MS: Final = 90 * 24 * 3_600_000
"""How long a statutory use may stay unseen by the holder: one quarter, so that no deferral is for
good."""

MAX_ITEMS: Final = 8
"""Licenses that one request may ask for; a matter that needs more asks twice."""


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
            basis = Basis(identifier(instrument, "instrument"), identifier(article, "article"))
        if (mode == STATUTORY_MODE) != (basis is not None):
            raise DecodeError("basis: cited in statutory mode, and only there")
        request = Request(
            short_text(parts[0], "chain_id"),
            matching(USCC, parts[1], "organisation"),
            key_field(parts[2], "operator"),
            byte_string(parts[3], "sealing_key", SEALING_KEY_BYTES),
            matching(MATTER_CODE, parts[4], "matter"),
            matching(DIVISION_CODE, parts[5], "division"),
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
        return verify_remembered(suite, request.operator, request.signed_bytes(), self.signature)


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
            if not verify_remembered(suite, grant.holder, message, signature):
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
            grants.append((hash_field(handle, "handle"), field_names(names)))
        _distinct([handle for handle, _ in grants])
        return Approval(
            short_text(parts[0], "chain_id"),
            hash_field(parts[1], "request_hash"),
            key_field(parts[2], "officer"),
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
        return SignedApproval(Approval.decode(encoded_bytes(body)), signature_field(signature))

    def verify(self, suite: Suite) -> bool:
        """Tell whether the officer key that the approval names signed it."""
        approval = self.approval
        return verify_remembered(suite, approval.officer, approval.signed_bytes(), self.signature)


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
            SignedRequest.decode(encoded_bytes(signed)),
            RequestDetails.decode(encoded_bytes(details)),
        )

    def verify(self, suite: Suite) -> bool:
        """Tell whether the operator signed the request and the details are those that it commits
        to."""
        committed = self.details.commitment(suite) == self.signed.request.details
        return committed and self.signed.verify(suite)


def _use_id(suite: Suite, request_hash: bytes, handles: tuple[bytes, ...]) -> bytes:
    # Two holders may be shown one request; each license takes it once, so with the handles the id is unique.
    return suite.hash(USE_KIND, encode((request_hash, handles)))


@lru_cache(maxsize=REMEMBERED)
def _signed_request(data: bytes) -> SignedRequest:
    body, signature = decode_array(data, 2, max_bytes=MAX_ENVELOPE_BYTES)
    return SignedRequest(Request.decode(encoded_bytes(body)), signature_field(signature))


@lru_cache(maxsize=REMEMBERED)
def _signed_consent(data: bytes) -> SignedConsent:
    body, signatures = decode_array(data, 2, max_bytes=MAX_ENVELOPE_BYTES)
    consent = Consent.decode(encoded_bytes(body))
    listed = items(signatures, "signatures", MAX_ITEMS, len(consent.grants))
    return SignedConsent(consent, tuple([signature_field(each) for each in listed]))


def _items(value: Value) -> tuple[Item, ...]:
    listed = items(value, "items", MAX_ITEMS)
    if not listed:
        raise DecodeError("items: expected at least one")
    return tuple([_item(entry) for entry in listed])


def _item(value: Value) -> Item:
    license_type, names = fields(value, "item", 2)
    return Item(matching(LICENSE_TYPE, license_type, "license_type"), field_names(names))


def _grant(value: Value) -> Grant:
    handle, names, holder, salt = fields(value, "grant", 4)
    return Grant(
        hash_field(handle, "handle"),
        field_names(names),
        key_field(holder, "holder"),
        byte_string(salt, "holder_salt", SALT_BYTES),
    )


def _distinct(handles: Sequence[bytes]) -> None:
    if not handles or len(set(handles)) != len(handles):
        raise DecodeError("grants: expected at least one, each license once")
