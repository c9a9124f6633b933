"""Keys that no enrolment accepts, signatures that no verifier accepts, domains that cannot be confused."""

from __future__ import annotations

import hashlib

import nacl.bindings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidKey
from ledger.suite import SHA256_ED25519, PublicKey, signed_bytes

_ORDER = 2**252 + 27742317777372353535851937790883648493
_FIELD = 2**255 - 19

# The eight points of small order and their non-canonical twins (RFC 8032 section 5.1; y in little-endian).
_SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("data", _SMALL_ORDER)
def test_a_key_of_low_order_or_not_canonical_is_refused(data: str) -> None:
    with pytest.raises(InvalidKey):
        PublicKey.parse(f"ed25519:{data}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ed25519",
        "ed25519:",
        "ed25519:" + "ab" * 31,
        "ed25519:" + "ab" * 33,
        "ED25519:" + "ab" * 32,
        "ed25519:" + "AB" * 32,
        "rsa:" + "ab" * 32,
        "p256:" + "02" + "ff" * 32,
        "p256:" + "04" + "11" * 32,
        "p256:" + "02" + "11" * 31,
        " ed25519:" + "ab" * 32,
        "ed25519:" + "ab" * 32 + "\n",
        "ed25519:" + "٣" * 64,
    ],
)
def test_what_is_not_a_key_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        PublicKey.parse(text)
    assert str(caught.value)


def _signed(message: bytes) -> tuple[PublicKey, bytes]:
    public, private = nacl.bindings.crypto_sign_seed_keypair(b"\x07" * 32)
    return PublicKey("ed25519", public), nacl.bindings.crypto_sign(message, private)[:64]


@given(st.binary(max_size=100), st.integers(0, 511))
def test_a_signature_with_any_changed_bit_is_refused(message: bytes, bit: int) -> None:
    key, signature = _signed(message)
    assert SHA256_ED25519.verify(key, message, signature)
    changed = bytearray(signature)
    changed[bit // 8] ^= 1 << bit % 8
    assert not SHA256_ED25519.verify(key, message, bytes(changed))
    assert not SHA256_ED25519.verify(key, message + b"\0", signature)


def test_a_signature_with_s_beyond_the_order_is_refused() -> None:
    key, signature = _signed(b"message")
    s = int.from_bytes(signature[32:], "little") + _ORDER
    malleated = signature[:32] + s.to_bytes(32, "little")
    assert not SHA256_ED25519.verify(key, b"message", malleated)


@pytest.mark.parametrize("r", [_SMALL_ORDER[0], _SMALL_ORDER[9]], ids=["canonical", "p + 1"])
def test_a_signature_whose_r_is_of_low_order_or_not_canonical_is_refused(r: str) -> None:
    """R is the neutral point, S = h·a: the equation of RFC 8032 holds, and anybody could claim either encoding."""
    seed, message = b"\x07" * 32, b"message"
    public, _ = nacl.bindings.crypto_sign_seed_keypair(seed)
    digest = bytearray(hashlib.sha512(seed).digest()[:32])
    digest[0] &= 248
    digest[31] = digest[31] & 63 | 64
    point = bytes.fromhex(r)
    h = int.from_bytes(hashlib.sha512(point + public + message).digest(), "little")
    s = h * int.from_bytes(digest, "little") % _ORDER
    signature = point + s.to_bytes(32, "little")
    assert not SHA256_ED25519.verify(PublicKey("ed25519", public), message, signature)


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_a_signature_of_any_other_length_is_refused_quietly(message: bytes, junk: bytes) -> None:
    key, signature = _signed(message)
    assert SHA256_ED25519.verify(key, message, junk) == (junk == signature)
    assert not SHA256_ED25519.verify(PublicKey("ed25519", junk), message, signature)
    assert not SHA256_ED25519.verify(PublicKey("p256", junk), message, signature)
    assert not SHA256_ED25519.verify(PublicKey("unknown", key.data), message, signature)


@given(
    st.sampled_from(["vote", "proposal", "transaction", "request", "consent"]),
    st.sampled_from(["vote", "proposal", "transaction", "request", "consent"]),
    st.binary(max_size=60),
    st.binary(max_size=60),
)
def test_what_is_signed_for_one_kind_is_never_what_is_signed_for_another(
    kind: str, other_kind: str, encoding: bytes, other_encoding: bytes
) -> None:
    same = signed_bytes(kind, encoding) == signed_bytes(other_kind, other_encoding)
    assert same == ((kind, encoding) == (other_kind, other_encoding))
