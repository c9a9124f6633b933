"""Private keys in memory: signing keys (Ed25519, P-256) and sealing keys (X25519).

Other code sees a private key only as a `Signer`. A key is its 32-byte secret: an Ed25519 seed (RFC
8032, section 5.1.5), a P-256 scalar, an X25519 scalar. Secrets never appear in `repr`. Ed25519 is
PyNaCl's; P-256 signatures are deterministic (RFC 6979), raw r ‖ s with low s. A sealing key is
generated on its own, never derived from a signing key: the two are replaced at different times and
for different reasons.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import nacl.bindings
import nacl.exceptions
import nacl.public
import nacl.utils
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ledger.errors import DecodeError, InvalidKey
from ledger.suite import PublicKey

SECRET_BYTES: Final = 32
SEALING_KEY_BYTES: Final = 32

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True)
class SoftwareSigner:
    """A `Signer` whose private key lies in this process's memory. `secret` is for key files
    only.
    """

    public_key: PublicKey
    secret: bytes = field(repr=False)

    @staticmethod
    def generate(algorithm: str = "ed25519") -> SoftwareSigner:
        """Make a new key of `ed25519` or `p256` from the system's random source.

        Raises:
            InvalidKey: unknown algorithm.
        """
        if algorithm == "p256":
            return _p256_signer(ec.generate_private_key(ec.SECP256R1()))
        return SoftwareSigner.from_secret(algorithm, nacl.utils.random(SECRET_BYTES))

    @staticmethod
    def from_secret(algorithm: str, secret: bytes) -> SoftwareSigner:
        """Return the key with this 32-byte secret: an Ed25519 seed or a P-256 scalar, big-endian.

        Raises:
            InvalidKey: unknown algorithm, wrong length, or no scalar of the curve.
        """
        if len(secret) != SECRET_BYTES:
            raise InvalidKey(f"a secret key has {SECRET_BYTES} bytes")
        if algorithm == "ed25519":
            public, _ = nacl.bindings.crypto_sign_seed_keypair(secret)
            return SoftwareSigner(PublicKey("ed25519", public), secret)
        if algorithm == "p256":
            scalar = int.from_bytes(secret, "big")
            if not 0 < scalar < _P256_ORDER:
                raise InvalidKey("not a scalar of P-256")
            return _p256_signer(ec.derive_private_key(scalar, ec.SECP256R1()))
        raise InvalidKey(f"unknown key algorithm {algorithm[:40]!r}")

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`."""
        if self.public_key.algorithm == "ed25519":
            signed = nacl.bindings.crypto_sign(message, self.secret + self.public_key.data)
            return signed[: nacl.bindings.crypto_sign_BYTES]
        scalar = int.from_bytes(self.secret, "big")
        key = ec.derive_private_key(scalar, ec.SECP256R1())
        der = key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        r, s = decode_dss_signature(der)
        s = min(s, _P256_ORDER - s)  # low s only: one signature, one encoding
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _p256_signer(key: ec.EllipticCurvePrivateKey) -> SoftwareSigner:
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    secret = key.private_numbers().private_value.to_bytes(SECRET_BYTES, "big")
    return SoftwareSigner(PublicKey("p256", point), secret)


@dataclass(frozen=True, slots=True)
class SealingKey:
    """An organisation's or wallet's X25519 key, to which disclosures are sealed (libsodium's sealed
    boxes).
    """

    public_key: bytes
    secret: bytes = field(repr=False)

    @staticmethod
    def generate() -> SealingKey:
        """Make a new key from the system's random source."""
        return SealingKey.from_secret(nacl.utils.random(SECRET_BYTES))

    @staticmethod
    def from_secret(secret: bytes) -> SealingKey:
        """Return the key with this 32-byte secret.

        Raises:
            InvalidKey: wrong length.
        """
        if len(secret) != SECRET_BYTES:
            raise InvalidKey(f"a secret key has {SECRET_BYTES} bytes")
        return SealingKey(nacl.bindings.crypto_scalarmult_base(secret), secret)

    def open(self, sealed: bytes) -> bytes:
        """Return what was sealed to this key.

        Raises:
            DecodeError: not sealed to this key, or damaged.
        """
        try:
            return nacl.public.SealedBox(nacl.public.PrivateKey(self.secret)).decrypt(sealed)
        except (nacl.exceptions.CryptoError, ValueError, TypeError):
            raise DecodeError("not sealed to this key, or damaged") from None


def seal(public_key: bytes, message: bytes) -> bytes:
    """Encrypt `message` so that only the holder of the X25519 key can read it; the sender stays
    anonymous.

    Raises:
        InvalidKey: not a usable X25519 key.
    """
    if len(public_key) != SEALING_KEY_BYTES:
        raise InvalidKey(f"a sealing key has {SEALING_KEY_BYTES} bytes")
    try:
        return nacl.public.SealedBox(nacl.public.PublicKey(public_key)).encrypt(message)
    except (nacl.exceptions.CryptoError, ValueError):
        raise InvalidKey("sealing key is of low order") from None
