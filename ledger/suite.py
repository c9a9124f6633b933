"""Suites: the only place that names algorithms. Genesis names the suite; all hashing and signing goes through it.

`hash` and `signed_bytes` separate domains: a structure's kind is part of what is hashed or signed, so that no
encoding of one kind can be taken for another. Trees use `digest` with their own one-byte prefixes.
Ed25519 is PyNaCl's only: libsodium and OpenSSL disagree on malformed keys, and validators must not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Protocol

import nacl.bindings
import nacl.exceptions
from cryptography.exceptions import InvalidSignature as _InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from ledger.errors import InvalidKey

HASH_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

_KEY: Final = re.compile(r"(ed25519|p256):([0-9a-f]{64,66})", re.ASCII)
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_ED25519_FIELD: Final = 2**255 - 19


@dataclass(frozen=True, slots=True, order=True)
class PublicKey:
    """A public key: `ed25519` (32 bytes) or `p256` (33 bytes, compressed point). Written `<algorithm>:<hex>`."""

    algorithm: str
    data: bytes

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.data.hex()}"

    @staticmethod
    def parse(text: str) -> PublicKey:
        """Read `<algorithm>:<lower-case hex>` and refuse keys that no enrolment may accept.

        Raises:
            InvalidKey: unknown algorithm, wrong length, not a point of the curve, low order or non-canonical.
        """
        match = _KEY.fullmatch(text)
        if match is None:
            raise InvalidKey(
                f"not a public key: {text[:80]!r}; expected ed25519:<64 hex> or p256:<66 hex>"
            )
        key = PublicKey(match[1], bytes.fromhex(match[2]))
        key.check()
        return key

    def check(self) -> None:
        """Refuse malformed, low-order and non-canonical keys.

        Raises:
            InvalidKey: with the reason.
        """
        _check_key(self)


@lru_cache(maxsize=1024)
def _check_key(key: PublicKey) -> None:
    """Check a key; good ones are remembered, since validators' keys are read again and again from state and notes."""
    if key.algorithm == "ed25519":
        if len(key.data) != 32:
            raise InvalidKey("an ed25519 key has 32 bytes")
        y = int.from_bytes(key.data, "little") & (2**255 - 1)
        if y >= _ED25519_FIELD:
            raise InvalidKey("ed25519 key with a non-canonical coordinate")
        # libsodium: on the curve, in the main subgroup, not of small order.
        if not nacl.bindings.crypto_core_ed25519_is_valid_point(key.data):
            raise InvalidKey("ed25519 key is of low order or not on the curve")
    elif key.algorithm == "p256":
        if len(key.data) != 33:
            raise InvalidKey("a p256 key has 33 bytes (compressed point)")
        try:
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.data)
        except ValueError:
            raise InvalidKey("p256 key is not a point of the curve") from None
    else:
        raise InvalidKey(f"unknown key algorithm {key.algorithm!r}")


class Signer(Protocol):
    """A private key as other code sees it: it signs and tells its public key, nothing else."""

    @property
    def public_key(self) -> PublicKey: ...

    def sign(self, message: bytes) -> bytes:
        """Return a 64-byte signature of `message`."""
        ...


def signed_bytes(kind: str, encoding: bytes) -> bytes:
    """Return `"mulu/<kind>/v1\\0" ‖ encoding`: what is signed, and what is hashed, for a structure of `kind`."""
    return b"mulu/%s/v1\0%s" % (kind.encode("ascii"), encoding)


def _verify_ed25519(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        nacl.bindings.crypto_sign_open(signature + message, key)
    except (nacl.exceptions.BadSignatureError, nacl.exceptions.ValueError, ValueError):
        return False
    return True


def _verify_p256(key: bytes, message: bytes, signature: bytes) -> bool:
    r = int.from_bytes(signature[:32], "big")
    s = int.from_bytes(signature[32:], "big")
    if not (
        0 < r < _P256_ORDER and 0 < s <= _P256_ORDER // 2
    ):  # low s only: one signature, one encoding
        return False
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key)
        point.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except (_InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Suite:
    """A set of algorithms. `digest` is the bare hash function (32 bytes out); `verifiers` is by key algorithm."""

    name: str
    digest: Callable[[bytes], bytes]
    verifiers: Mapping[str, Callable[[bytes, bytes, bytes], bool]]

    def hash(self, kind: str, encoding: bytes) -> bytes:
        """Return the 32-byte hash of a structure of `kind` with this canonical encoding."""
        return self.digest(signed_bytes(kind, encoding))

    def verify(self, key: PublicKey, message: bytes, signature: bytes) -> bool:
        """Tell whether `signature` (64 bytes) of `message` by `key` is good. Never raises on bad input."""
        verifier = self.verifiers.get(key.algorithm)
        return (
            verifier is not None
            and len(signature) == SIGNATURE_BYTES
            and verifier(key.data, message, signature)
        )


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


SHA256_ED25519: Final = Suite(
    "sha256-ed25519",
    _sha256,
    MappingProxyType({"ed25519": _verify_ed25519, "p256": _verify_p256}),
)

SUITES: Final[Mapping[str, Suite]] = MappingProxyType({SHA256_ED25519.name: SHA256_ED25519})
