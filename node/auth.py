"""Access tokens: short-lived JWTs that an enrolled key signs for itself.

Claims: `iss` the key (`<algorithm>:<hex>`), `aud` the chain id, `iat`, `exp` at most 300 s later; `nbf` counts where it
stands (RFC 7519). Algorithm `Ed25519` (RFC 9864) for Ed25519 keys, `ES256` for P-256 keys; the algorithm must be that
of the key in `iss`. Type `JWT`, or none: keys sign JWTs of other types, too.
The token says who asks; what they may do comes from the ledger at each request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from ledger.base64url import base64url_decode, base64url_encode
from ledger.errors import DecodeError, InvalidKey
from ledger.suite import PublicKey, Signer
from node.errors import InvalidToken

MAX_LIFETIME_S: Final = 300
"""A stolen token is worth little; a client signs a new one when it needs one."""

CLOCK_LEEWAY_S: Final = 30
"""How far the clocks of client and node may differ."""

MAX_TOKEN_CHARACTERS: Final = 2_048
"""A token of ours has some 350 characters; a longer one is not parsed."""

MAX_REMEMBERED: Final = 1_024
"""Tokens whose signature a node remembers, of strangers too, since anyone can sign one: text and key, which makes some
three megabytes at most. Claims are decoded anew: decoded, they may be fifteen times as large as their text."""

_TYPE: Final = "JWT"
"""A header without a type will do as well; one of another type (RFC 8725, 3.11) was signed for something else."""

_ALGORITHMS: Final = {"ed25519": "Ed25519", "p256": "ES256"}


@dataclass(frozen=True, slots=True)
class Token:
    """A verified token: the key that signed it, and the claims beside the standard ones."""

    key: PublicKey
    claims: Mapping[str, Any]


def make_token(
    signer: Signer,
    chain_id: str,
    now_s: int,
    *,
    lifetime_s: int = MAX_LIFETIME_S,
    claims: dict[str, Any] | None = None,
) -> str:
    """Return a compact JWT signed by `signer` for the nodes of `chain_id`, valid from `now_s` on."""
    header = {"alg": _ALGORITHMS[signer.public_key.algorithm], "typ": _TYPE}
    payload = {
        **(claims or {}),
        "iss": str(signer.public_key),
        "aud": chain_id,
        "iat": now_s,
        "exp": now_s + min(lifetime_s, MAX_LIFETIME_S),
    }
    signing_input = f"{_segment(header)}.{_segment(payload)}"
    signature = signer.sign(signing_input.encode("ascii"))
    return f"{signing_input}.{base64url_encode(signature)}"


def verify_token(token: str, chain_id: str, now_s: int) -> Token:
    """Verify form, signature, audience and times; whether the ledger knows the key is the caller's question.

    Raises:
        InvalidToken: with the reason.
    """
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise InvalidToken("the token is too long")
    if not token.isascii():
        raise InvalidToken("not a compact JWT: it has characters beyond ASCII")
    key = _signed_by(token)
    claims = _claims(token)
    _check_claims(claims, chain_id, now_s)
    return Token(key, MappingProxyType(claims))


@lru_cache(maxsize=MAX_REMEMBERED)
def _signed_by(token: str) -> PublicKey:
    """Verify form and signature, which hold for ever; a client asks many times with one token.

    Raises:
        InvalidToken: with the reason; what is no good is not remembered.
    """
    key = _issuer(token)
    try:
        header = jwt.decode(token, _jwk(key), algorithms=[_ALGORITHMS[key.algorithm]]).header
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidToken(
            f"the token's signature or form is wrong ({type(error).__name__})"
        ) from None
    if str(header.get("typ", _TYPE)).upper() != _TYPE:  # whatever its case: RFC 7515, 4.1.9
        raise InvalidToken("what was signed is not an access token but of another type")
    return key


def _check_claims(claims: Mapping[str, Any], chain_id: str, now_s: int) -> None:
    issued, expires = claims.get("iat"), claims.get("exp")
    not_before = claims.get("nbf", issued)
    if claims.get("aud") != chain_id:
        raise InvalidToken("the token is for another chain")
    if type(issued) is not int or type(expires) is not int:
        raise InvalidToken("the token lacks iat or exp")
    if type(not_before) is not int:
        raise InvalidToken("the token's nbf is not a time in whole seconds")
    if not issued <= expires <= issued + MAX_LIFETIME_S:
        raise InvalidToken(f"a token lives at most {MAX_LIFETIME_S} seconds")
    if issued > now_s + CLOCK_LEEWAY_S:
        raise InvalidToken("the token was issued in the future; check the clocks")
    if not_before > now_s + CLOCK_LEEWAY_S:
        raise InvalidToken("the token is not good yet; check the clocks")
    if expires < now_s - CLOCK_LEEWAY_S:
        raise InvalidToken("the token has expired")


def _issuer(token: str) -> PublicKey:
    """Return the key that the token claims to be signed by; nothing is verified yet."""
    try:
        return PublicKey.parse(_claims(token)["iss"])
    except (ValueError, KeyError, TypeError, InvalidKey):
        raise InvalidToken("the token's issuer is not a public key") from None


def _claims(token: str) -> dict[str, Any]:
    """Decode the claims; nothing is verified."""
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidToken("not a compact JWT")
    try:
        claims = json.loads(base64url_decode(parts[1]))
    except (DecodeError, ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise InvalidToken("the token's claims are not a JSON object")
    return claims


def _jwk(key: PublicKey) -> OKPKey | ECKey:
    if key.algorithm == "ed25519":
        return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": base64url_encode(key.data)})
    numbers = ec.EllipticCurvePublicKey.from_encoded_point(
        ec.SECP256R1(), key.data
    ).public_numbers()
    x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
    return ECKey.import_key(
        {"kty": "EC", "crv": "P-256", "x": base64url_encode(x), "y": base64url_encode(y)}
    )


def _segment(value: dict[str, Any]) -> str:
    return base64url_encode(json.dumps(value, separators=(",", ":")).encode())
