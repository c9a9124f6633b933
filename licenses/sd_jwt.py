"""Selective disclosure for JWTs (RFC 9901): the format, for any payload and any signer.

An SD-JWT is `<issuer-signed JWT>~<disclosure>~…~` and may end in a key-binding JWT. A disclosure is the base64url of a
JSON array `[salt, name, value]` (object property) or `[salt, value]` (array element); the payload holds its digest.
Reading is strict: duplicate or unreferenced digests, duplicate JSON names, and anything malformed are refused.
Signatures are the caller's to check: `Jwt.signing_input` and `Jwt.signature` say of what.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ledger.base64url import base64url_decode, base64url_encode
from ledger.errors import DecodeError
from ledger.strict_json import MAX_JSON_DEPTH, Json, json_decode
from ledger.suite import PublicKey, Signer

Digest: TypeAlias = Callable[[bytes], bytes]

MAX_SD_JWT_BYTES: Final = 256 * 1024
"""A credential with a portrait fits; a longer text is refused before it is parsed."""

MAX_DISCLOSURES: Final = 256

SALT_BYTES: Final = 16
"""RFC 9901, section 9.3: 128 bits, so that nobody finds a value by trying."""

SD_ALGORITHM: Final = "sha-256"
"""The digest of disclosures: RFC 9901's own default, whatever the ledger's suite is."""

KEY_BINDING_TYPE: Final = "kb+jwt"

JWS_ALGORITHMS: Final[Mapping[str, tuple[str, ...]]] = {
    "ed25519": ("Ed25519", "EdDSA"),
    "p256": ("ES256",),
}
"""JWS algorithm names by kind of key; the first is what we write (RFC 9864 names Ed25519 fully)."""

_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Jwt:
    """A signed JWT in compact form, decoded; the signature is not verified."""

    text: str
    header: Mapping[str, Any]
    payload: Mapping[str, Any]
    signature: bytes

    @property
    def signing_input(self) -> bytes:
        """The bytes that `signature` signs (RFC 7515, section 5.2)."""
        return self.text.rpartition(".")[0].encode("ascii")

    @staticmethod
    def decode(text: str) -> Jwt:
        """Read a compact JWS whose payload is a JSON object.

        Raises:
            DecodeError: malformed, or with a `crit` header, which we do not understand.
        """
        if len(text) > MAX_SD_JWT_BYTES or _COMPACT.fullmatch(text) is None:
            raise DecodeError("not a compact JWT")
        header, payload, signature = text.split(".")
        head = json_decode(base64url_decode(header))
        body = json_decode(base64url_decode(payload))
        if not isinstance(head, dict) or not isinstance(body, dict):
            raise DecodeError("header and payload of a JWT are JSON objects")
        if not isinstance(head.get("alg"), str) or "crit" in head:
            raise DecodeError("a JWT names its algorithm, and no critical extension is known here")
        return Jwt(text, head, body, base64url_decode(signature))

    def signed_with(self, key: PublicKey) -> bool:
        """Tell whether the header names an algorithm of this kind of key."""
        return self.header["alg"] in JWS_ALGORITHMS.get(key.algorithm, ())


def sign_jwt(signer: Signer, header: Mapping[str, Json], payload: Mapping[str, Json]) -> str:
    """Return a compact JWT; `alg` is added to the header according to the signer's key."""
    algorithm = JWS_ALGORITHMS[signer.public_key.algorithm][0]
    head = base64url_encode(_json_encode({"alg": algorithm, **header}))
    signing_input = f"{head}.{base64url_encode(_json_encode(payload))}"
    return f"{signing_input}.{base64url_encode(signer.sign(signing_input.encode('ascii')))}"


def _json_encode(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8")


@dataclass(frozen=True, slots=True)
class Disclosure:
    """A disclosure. `name` is None for an array element. `text` is what is hashed and transported."""

    text: str
    salt: str
    name: str | None
    value: Json

    @staticmethod
    def build(salt: bytes, name: str, value: Json) -> Disclosure:
        """Return the disclosure of an object property; `salt` is fresh and random."""
        encoded = base64url_encode(salt)
        return Disclosure(
            base64url_encode(_json_encode([encoded, name, value])), encoded, name, value
        )

    @staticmethod
    def decode(text: str) -> Disclosure:
        """Read a disclosure (RFC 9901, sections 4.2.1 and 4.2.2).

        Raises:
            DecodeError: not one, or it names `_sd` or `...`.
        """
        value = json_decode(base64url_decode(text))
        if not isinstance(value, list) or len(value) not in (2, 3) or not isinstance(value[0], str):
            raise DecodeError("a disclosure is [salt, name, value] or [salt, value]")
        if len(value) == 2:
            return Disclosure(text, value[0], None, value[1])
        name = value[1]
        if not isinstance(name, str) or name in ("_sd", "..."):
            raise DecodeError("a disclosure names a claim other than _sd and ...")
        return Disclosure(text, value[0], name, value[2])

    def digest(self, digest: Digest) -> str:
        """Return the digest that stands in the payload for this disclosure."""
        return base64url_encode(digest(self.text.encode("ascii")))


class InvalidDisclosure(DecodeError):
    """A disclosure is none of those whose digests the issuer signed: well formed, and altered or another's."""


@dataclass(frozen=True, slots=True)
class SdJwt:
    """An SD-JWT in its parts. `key_binding` is None where there is no key-binding JWT."""

    issuer_jwt: Jwt
    disclosures: tuple[Disclosure, ...]
    key_binding: Jwt | None

    @staticmethod
    def decode(text: str) -> SdJwt:
        """Read `<JWT>~<disclosure>~…~[<key-binding JWT>]`; no signature is verified.

        Raises:
            DecodeError: malformed, too long, or too many disclosures.
        """
        if len(text) > MAX_SD_JWT_BYTES:
            raise DecodeError(f"longer than {MAX_SD_JWT_BYTES} bytes")
        issuer, *disclosures = text.split("~")
        if not disclosures:
            raise DecodeError("an SD-JWT holds at least one tilde")
        key_binding = disclosures.pop()
        if len(disclosures) > MAX_DISCLOSURES:
            raise DecodeError(f"more than {MAX_DISCLOSURES} disclosures")
        return SdJwt(
            Jwt.decode(issuer),
            tuple(Disclosure.decode(each) for each in disclosures),
            Jwt.decode(key_binding) if key_binding else None,
        )

    def without_key_binding(self) -> str:
        """Return the text up to and with the last tilde: what `sd_hash` covers."""
        parts = (self.issuer_jwt.text, *(each.text for each in self.disclosures), "")
        return "~".join(parts)

    def __str__(self) -> str:
        key_binding = "" if self.key_binding is None else self.key_binding.text
        return self.without_key_binding() + key_binding

    def sd_hash(self, digest: Digest) -> str:
        """Return what a key-binding JWT says of this presentation (RFC 9901, section 4.3.1)."""
        return base64url_encode(digest(self.without_key_binding().encode("ascii")))

    def claims(self, digest: Digest) -> dict[str, Json]:
        """Return the payload with every disclosure in its place (RFC 9901, section 7.1, step 3).

        Raises:
            InvalidDisclosure: a disclosure that nothing refers to.
            DecodeError: another digest algorithm, a digest twice, or a disclosure whose name the object holds already.
        """
        algorithm = self.issuer_jwt.payload.get("_sd_alg", SD_ALGORITHM)
        if algorithm != SD_ALGORITHM:
            raise DecodeError("disclosures are hashed with an algorithm that is not known here")
        by_digest = {each.digest(digest): each for each in self.disclosures}
        if len(by_digest) != len(self.disclosures):
            raise DecodeError("a disclosure stands twice")
        opening = _Opening(by_digest)
        payload = {
            name: value for name, value in self.issuer_jwt.payload.items() if name != "_sd_alg"
        }
        claims = opening.opened(payload, MAX_JSON_DEPTH)
        if opening.unused:
            raise InvalidDisclosure("a disclosed field is none that the issuer signed")
        assert isinstance(claims, dict)
        return claims


class _Opening:
    """One pass over a payload that puts disclosures in place of their digests."""

    def __init__(self, disclosures: Mapping[str, Disclosure]) -> None:
        self._disclosures = disclosures
        self._seen: set[str] = set()
        self.unused = set(disclosures)

    def opened(self, value: Json, depth: int) -> Json:
        if depth == 0:
            raise DecodeError(f"claims nested deeper than {MAX_JSON_DEPTH} levels")
        if isinstance(value, dict):
            return self._object(value, depth)
        if isinstance(value, list):
            return self._array(value, depth)
        return value

    def _object(self, value: dict[str, Json], depth: int) -> Json:
        if "..." in value:
            raise DecodeError("the name ... stands only in array elements")
        result = {
            name: self.opened(part, depth - 1) for name, part in value.items() if name != "_sd"
        }
        digests = value.get("_sd", [])
        if not isinstance(digests, list):
            raise DecodeError("_sd is an array of digests")
        for each in digests:
            disclosure = self._take(each)
            if disclosure is None:
                continue
            if disclosure.name is None or disclosure.name in result:
                raise DecodeError("a disclosure is of another kind, or names an existing claim")
            result[disclosure.name] = self.opened(disclosure.value, depth - 1)
        return result

    def _array(self, value: list[Json], depth: int) -> Json:
        result = []
        for element in value:
            if not (isinstance(element, dict) and "..." in element):
                result.append(self.opened(element, depth - 1))
                continue
            if len(element) != 1:
                raise DecodeError("an undisclosed array element holds its digest only")
            disclosure = self._take(element["..."])
            if disclosure is None:
                continue
            if disclosure.name is not None:
                raise DecodeError("a disclosure is of another kind than its place")
            result.append(self.opened(disclosure.value, depth - 1))
        return result

    def _take(self, digest: Json) -> Disclosure | None:
        if not isinstance(digest, str):
            raise DecodeError("a digest is a string")
        if digest in self._seen:
            raise DecodeError("a digest stands twice")
        self._seen.add(digest)
        self.unused.discard(digest)
        return self._disclosures.get(digest)


def conceal(
    claims: Mapping[str, Json], salts: Sequence[bytes], digest: Digest, decoys: Sequence[bytes] = ()
) -> tuple[list[str], tuple[Disclosure, ...]]:
    """Return the sorted `_sd` digests of `claims` and their disclosures, in the order of `claims`.

    `salts` are 16 random bytes, one a claim; each of `decoys`, 32 random bytes, adds a digest of nothing, which hides
    how many claims there are. Sorting hides their order.
    """
    disclosures = tuple(
        Disclosure.build(salt, name, value)
        for (name, value), salt in zip(claims.items(), salts, strict=True)
    )
    digests = [each.digest(digest) for each in disclosures]
    digests += [base64url_encode(digest(decoy)) for decoy in decoys]
    return sorted(digests), disclosures
