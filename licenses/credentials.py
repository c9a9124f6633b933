"""Credentials: the issuer-signed SD-JWT of a license, and its presentation by the holder (RFC 9901).

In clear: issuer (`iss`), type (`vct`), chain, handle, times in seconds (`iat`, `nbf`, `exp`) and the holder's key
(`cnf`, RFC 7800). Concealed, each under its own salt: the fields of the license, under `license`, and at the top
`identifier` and `handle_salt`, which together open the handle. The header's `kid` is the issuer key as enrolled.
A presentation holds the disclosures of the fields that are shown, and a key-binding JWT by the holder's key for one
audience and one nonce: the organisation, and the request that it answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from directory.codes import license_type_problem
from ledger.base64url import base64url_decode, base64url_encode
from ledger.errors import DecodeError, InvalidKey, InvalidSignature
from ledger.limits import CLOCK_BOUND_MS
from ledger.strict_json import Json
from ledger.suite import PublicKey, Signer, Suite
from ledger.uscc import uscc_problem
from licenses.handles import SALT_BYTES, credential_digest, license_handle
from licenses.models import License
from licenses.sd_jwt import (
    KEY_BINDING_TYPE,
    SD_ALGORITHM,
    Disclosure,
    Jwt,
    SdJwt,
    conceal,
    sign_jwt,
)
from licenses.sd_jwt import SALT_BYTES as DISCLOSURE_SALT_BYTES
from licenses.use_fields import FIELD_NAME

CREDENTIAL_TYPE: Final = "dc+sd-jwt"
"""The `typ` of SD-JWT credentials (draft-ietf-oauth-sd-jwt-vc)."""

VCT_PREFIX: Final = "urn:mulu:license-type:"

_HEX_32: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_CLEAR: Final = frozenset(("iss", "vct", "chain", "handle", "iat", "nbf", "license", "_sd"))
_OPTIONAL: Final = frozenset(("exp", "cnf", "_sd_alg"))
_CONCEALED: Final = frozenset(("identifier", "handle_salt"))
"""All that may be concealed at the top: end and holder's key must not depend on what the holder shows."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential or a presentation of it: well formed, but no signature is verified by being one.

    Times are seconds since the epoch; `holder` is None where no key is bound. `fields` are those disclosed here.
    """

    sd_jwt: SdJwt
    key: PublicKey
    chain_id: str
    issuer: str
    license_type: str
    handle: bytes
    issued_s: int
    valid_from_s: int
    valid_to_s: int | None
    holder: PublicKey | None
    fields: Mapping[str, Json]
    identifier: str | None
    handle_salt: bytes | None

    def digest(self, suite: Suite) -> bytes:
        """Return what the ledger holds of this credential (32 bytes)."""
        return credential_digest(suite, self.sd_jwt.issuer_jwt.text)

    def verify_issuer(self, suite: Suite) -> None:
        """Verify the issuer's signature, with the key that the credential names.

        Raises:
            InvalidSignature: it does not verify.
        """
        jwt = self.sd_jwt.issuer_jwt
        if not jwt.signed_with(self.key) or not suite.verify(
            self.key, jwt.signing_input, jwt.signature
        ):
            raise InvalidSignature("the issuer's signature does not verify")

    def verify_key_binding(
        self, suite: Suite, *, audience: str, nonce: str, now_ms: int | None = None
    ) -> None:
        """Verify that the holder made this presentation for `audience` and `nonce` (RFC 9901, section 7.3).

        With `now_ms` it must not come from the future; the nonce, used once, keeps it from being old.

        Raises:
            InvalidSignature: no holder's key, no key binding, or it does not verify or fit.
        """
        binding = self.sd_jwt.key_binding
        if self.holder is None or binding is None:
            raise InvalidSignature("the presentation is not bound to a holder's key")
        payload = binding.payload
        issued_s = payload.get("iat")
        if (
            binding.header.get("typ") != KEY_BINDING_TYPE
            or not binding.signed_with(self.holder)
            or not suite.verify(self.holder, binding.signing_input, binding.signature)
        ):
            raise InvalidSignature("the key binding is not signed by the holder's key")
        if payload.get("aud") != audience or payload.get("nonce") != nonce:
            raise InvalidSignature("the presentation was made for somebody or something else")
        if payload.get("sd_hash") != self.sd_jwt.sd_hash(suite.digest):
            raise InvalidSignature("the key binding covers other disclosures")
        if type(issued_s) is not int:
            raise InvalidSignature("the key binding has no time")
        if now_ms is not None and issued_s * 1000 > now_ms + CLOCK_BOUND_MS:
            raise InvalidSignature("the key binding was made in the future")

    def opens_handle(self, suite: Suite) -> bool | None:
        """Tell whether the disclosed identifier and salt are those of the handle; None if they are not disclosed."""
        if self.identifier is None or self.handle_salt is None:
            return None
        return license_handle(suite, self.handle_salt, self.identifier) == self.handle

    def mismatch(self, suite: Suite, record: License) -> str | None:
        """Say in which respect the ledger's record is not of this credential, or None."""
        pairs: tuple[tuple[str, object, object], ...] = (
            ("handle", self.handle, record.handle),
            ("digest", self.digest(suite), record.credential),
            ("type", self.license_type, record.type),
            ("issuer", self.issuer, record.issuer),
            ("issuer key", str(self.key), record.credential_key),
            ("valid from", self.valid_from_s * 1000, record.valid_from_ms),
            ("valid to", _ms(self.valid_to_s), record.valid_to_ms),
            ("holder binding", self.holder is not None, record.holder is not None),
        )
        return next((name for name, ours, theirs in pairs if ours != theirs), None)


def read_credential(suite: Suite, text: str) -> Credential:
    """Read a credential or presentation; no signature is verified.

    Raises:
        InvalidDisclosure: a disclosed field is none whose digest the JWT holds.
        DecodeError: not an SD-JWT, or not one of a license.
    """
    sd_jwt = SdJwt.decode(text.strip())
    if sd_jwt.issuer_jwt.header.get("typ") != CREDENTIAL_TYPE:
        raise DecodeError(f"expected typ {CREDENTIAL_TYPE}")
    payload = sd_jwt.issuer_jwt.payload
    if not payload.keys() >= _CLEAR or not payload.keys() <= _CLEAR | _OPTIONAL:
        raise DecodeError("not the claims of a license credential")
    claims = cast("dict[str, Any]", sd_jwt.claims(suite.digest))
    disclosed = claims.keys() - payload.keys()
    fields = claims["license"]
    if (
        not disclosed <= _CONCEALED
        or not isinstance(fields, dict)
        or payload["license"].keys() != {"_sd"}
    ):
        raise DecodeError("not the claims of a license credential")
    if any(FIELD_NAME.fullmatch(name) is None for name in fields):
        raise DecodeError("a field has an unknown form of name")
    salt = claims.get("handle_salt")
    return Credential(
        sd_jwt,
        _key(sd_jwt.issuer_jwt.header.get("kid")),
        _text(claims, "chain"),
        _checked(_text(claims, "iss"), uscc_problem),
        _checked(_vct(_text(claims, "vct")), license_type_problem),
        _hex_32(claims["handle"], "handle"),
        _seconds(claims, "iat"),
        _seconds(claims, "nbf"),
        _seconds(claims, "exp") if "exp" in claims else None,
        _holder(claims["cnf"]) if "cnf" in claims else None,
        fields,
        _text(claims, "identifier") if "identifier" in claims else None,
        None if salt is None else _hex_32(salt, "handle_salt"),
    )


def sign_credential(
    suite: Suite,
    signer: Signer,
    *,
    chain_id: str,
    issuer: str,
    license_type: str,
    identifier: str,
    handle_salt: bytes,
    fields: Mapping[str, Json],
    holder: PublicKey | None,
    issued_ms: int,
    valid_from_ms: int,
    valid_to_ms: int | None,
    randomness: bytes,
) -> Credential:
    """Make a license's credential with all its disclosures. `issued_ms` is cut to seconds.

    `randomness` has 16 bytes for each field and 32 more (`randomness_bytes`).

    Raises:
        ValueError: a validity bound is no whole second, or there is too little or too much randomness.
        DecodeError: a part is not well formed.
    """
    if valid_from_ms % 1000 or (valid_to_ms or 0) % 1000:
        raise ValueError("a credential's validity begins and ends at whole seconds")
    if len(randomness) != randomness_bytes(len(fields)):
        raise ValueError(f"expected {randomness_bytes(len(fields))} random bytes")
    size = DISCLOSURE_SALT_BYTES
    salts = [randomness[start : start + size] for start in range(0, len(randomness), size)]
    opening: dict[str, Json] = {"identifier": identifier, "handle_salt": handle_salt.hex()}
    top, top_disclosures = conceal(opening, salts[:2], suite.digest)
    inner, inner_disclosures = conceal(fields, salts[2:], suite.digest)
    payload: dict[str, Json] = {
        "iss": issuer,
        "vct": VCT_PREFIX + license_type,
        "chain": chain_id,
        "handle": license_handle(suite, handle_salt, identifier).hex(),
        "iat": issued_ms // 1000,
        "nbf": valid_from_ms // 1000,
        "license": {"_sd": list(inner)},
        "_sd": list(top),
        "_sd_alg": SD_ALGORITHM,
    }
    if valid_to_ms is not None:
        payload["exp"] = valid_to_ms // 1000
    if holder is not None:
        payload["cnf"] = {"jwk": to_jwk(holder)}
    header: dict[str, Json] = {"typ": CREDENTIAL_TYPE, "kid": str(signer.public_key)}
    jwt = sign_jwt(signer, header, payload)
    texts = [each.text for each in (*top_disclosures, *inner_disclosures)]
    return read_credential(suite, "~".join((jwt, *texts, "")))


def randomness_bytes(fields: int) -> int:
    """Return how many random bytes `sign_credential` needs for that many fields."""
    return DISCLOSURE_SALT_BYTES * (2 + fields)


def present(
    suite: Suite,
    credential: Credential,
    fields: Sequence[str],
    *,
    with_identifier: bool = False,
    binding: tuple[Signer, str, str, int] | None = None,
) -> str:
    """Return a presentation that shows these fields; a field that the license does not have is left out.

    `binding` is (holder's signer, audience, nonce, time in ms) and adds the key-binding JWT. `with_identifier` shows
    the identifier and what opens the handle.
    """
    wanted = {each.text for each in _field_disclosures(suite, credential, fields)}
    if with_identifier:
        top = credential.sd_jwt.issuer_jwt.payload["_sd"]
        wanted |= {
            each.text for each in credential.sd_jwt.disclosures if each.digest(suite.digest) in top
        }
    shown = SdJwt(
        credential.sd_jwt.issuer_jwt,
        tuple(each for each in credential.sd_jwt.disclosures if each.text in wanted),
        None,
    )
    if binding is None:
        return str(shown)
    signer, audience, nonce, time_ms = binding
    payload: dict[str, Json] = {
        "iat": time_ms // 1000,
        "aud": audience,
        "nonce": nonce,
        "sd_hash": shown.sd_hash(suite.digest),
    }
    key_binding = Jwt.decode(sign_jwt(signer, {"typ": KEY_BINDING_TYPE}, payload))
    return str(SdJwt(shown.issuer_jwt, shown.disclosures, key_binding))


def _field_disclosures(
    suite: Suite, credential: Credential, fields: Sequence[str]
) -> list[Disclosure]:
    inner = credential.sd_jwt.issuer_jwt.payload["license"]["_sd"]
    return [
        each
        for each in credential.sd_jwt.disclosures
        if each.name in fields and each.digest(suite.digest) in inner
    ]


def to_jwk(key: PublicKey) -> dict[str, Json]:
    """Return a public key as JWK (RFC 8037 for Ed25519, RFC 7518 for P-256)."""
    if key.algorithm == "ed25519":
        return {"kty": "OKP", "crv": "Ed25519", "x": base64url_encode(key.data)}
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.data)
    numbers = point.public_numbers()
    return {
        "kty": "EC",
        "crv": "P-256",
        "x": base64url_encode(numbers.x.to_bytes(32, "big")),
        "y": base64url_encode(numbers.y.to_bytes(32, "big")),
    }


def from_jwk(jwk: Json) -> PublicKey:
    """Read a JWK of one of our kinds of key; other members are ignored (RFC 7517, section 4).

    Raises:
        DecodeError: another kind, malformed, or a key that no enrolment would accept.
    """
    if not isinstance(jwk, dict):
        raise DecodeError("a JWK is a JSON object")
    kind = (jwk.get("kty"), jwk.get("crv"))
    x, y = jwk.get("x"), jwk.get("y")
    if kind == ("OKP", "Ed25519") and isinstance(x, str):
        key = PublicKey("ed25519", base64url_decode(x))
    elif kind == ("EC", "P-256") and isinstance(x, str) and isinstance(y, str):
        uncompressed = b"\x04" + base64url_decode(x) + base64url_decode(y)
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), uncompressed)
        except ValueError:
            raise DecodeError("the JWK is no point of P-256") from None
        key = PublicKey("p256", point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint))
    else:
        raise DecodeError("expected a JWK of Ed25519 or P-256")
    return _key(str(key))


def _holder(confirmation: Json) -> PublicKey:
    if not isinstance(confirmation, dict) or confirmation.keys() != {"jwk"}:
        raise DecodeError("cnf: expected a jwk")
    return from_jwk(confirmation["jwk"])


def _key(text: Json) -> PublicKey:
    if not isinstance(text, str):
        raise DecodeError("expected a public key")
    try:
        return PublicKey.parse(text)
    except InvalidKey as error:
        raise DecodeError(str(error)) from None


def _vct(text: str) -> str:
    if not text.startswith(VCT_PREFIX):
        raise DecodeError(f"vct: expected {VCT_PREFIX}…")
    return text.removeprefix(VCT_PREFIX)


def _text(claims: Mapping[str, Json], name: str) -> str:
    value = claims[name]
    if not isinstance(value, str) or not 1 <= len(value) <= 200:
        raise DecodeError(f"{name}: expected a short text")
    return value


def _checked(text: str, problem_of: Any) -> str:
    problem = problem_of(text)
    if problem is not None:
        raise DecodeError(f"{text!r}: {problem}")
    return text


def _seconds(claims: Mapping[str, Json], name: str) -> int:
    value = claims[name]
    if type(value) is not int or not 0 <= value < 2**43:
        raise DecodeError(f"{name}: expected seconds since the epoch")
    return value


def _hex_32(value: Json, name: str) -> bytes:
    if not isinstance(value, str) or _HEX_32.fullmatch(value) is None:
        raise DecodeError(f"{name}: expected {2 * SALT_BYTES} hexadecimal digits")
    return bytes.fromhex(value)


def _ms(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * 1000
