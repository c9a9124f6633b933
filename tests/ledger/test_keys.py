"""Private keys: published vectors, deterministic signatures, sealing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import DecodeError, InvalidKey
from ledger.keys import SealingKey, SoftwareSigner, seal
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.suite import PublicKey

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize(
    ("seed", "public", "message", "signature"),
    [  # RFC 8032, section 7.1, tests 1 to 3
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            (
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
                "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
            ),
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            (
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            ),
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            (
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
                "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
            ),
        ),
    ],
)
def test_ed25519_signatures_are_those_of_rfc_8032(
    seed: str, public: str, message: str, signature: str
) -> None:
    signer = SoftwareSigner.from_secret("ed25519", bytes.fromhex(seed))
    assert signer.public_key == PublicKey("ed25519", bytes.fromhex(public))
    assert signer.sign(bytes.fromhex(message)).hex() == signature


def test_p256_signatures_are_those_of_rfc_6979_with_low_s() -> None:
    # RFC 6979, appendix A.2.5, SHA-256, message "sample"; the s given there is the high one.
    secret = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
    r = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
    s = 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8
    signer = SoftwareSigner.from_secret("p256", bytes.fromhex(secret))
    assert signer.public_key.data.hex() == (
        "0360fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
    )
    signature = signer.sign(b"sample")
    assert signature.hex() == r + (_P256_ORDER - s).to_bytes(32, "big").hex()
    assert SUITE.verify(signer.public_key, b"sample", signature)
    high = signature[:32] + s.to_bytes(32, "big")
    assert not SUITE.verify(signer.public_key, b"sample", high)


@pytest.mark.parametrize("algorithm", ["ed25519", "p256"])
def test_new_keys_sign_verify_and_come_back_from_their_secret(algorithm: str) -> None:
    signer = SoftwareSigner.generate(algorithm)
    signer.public_key.check()
    assert signer.public_key != SoftwareSigner.generate(algorithm).public_key
    assert SoftwareSigner.from_secret(algorithm, signer.secret) == signer
    for message in (b"", b"message", bytes(100_000)):
        signature = signer.sign(message)
        assert SUITE.verify(signer.public_key, message, signature)
        assert not SUITE.verify(signer.public_key, message + b"!", signature)


def test_a_secret_is_never_shown() -> None:
    signer, sealing = SoftwareSigner.generate(), SealingKey.generate()
    for key in (signer, sealing):
        assert key.secret.hex() not in repr(key)
        assert repr(key.secret) not in repr(key)


@pytest.mark.parametrize(
    ("algorithm", "secret"),
    [
        ("rsa", bytes(32)),
        ("ed25519", bytes(31)),
        ("ed25519", bytes(64)),
        ("p256", bytes(32)),
        ("p256", _P256_ORDER.to_bytes(32, "big")),
        ("p256", b"\xff" * 32),
    ],
)
def test_what_is_no_secret_key_is_refused(algorithm: str, secret: bytes) -> None:
    with pytest.raises(InvalidKey):
        SoftwareSigner.from_secret(algorithm, secret)


def test_a_key_of_an_unknown_algorithm_is_not_generated() -> None:
    with pytest.raises(InvalidKey):
        SoftwareSigner.generate("sm2")


@given(st.binary(max_size=500))
def test_what_is_sealed_opens_with_its_key_only(message: bytes) -> None:
    key, other = SealingKey.generate(), SealingKey.generate()
    sealed = seal(key.public_key, message)
    assert key.open(sealed) == message
    damaged = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for opener, box in ((other, sealed), (key, damaged), (key, sealed[:-1]), (key, b"")):
        with pytest.raises(DecodeError):
            opener.open(box)


@pytest.mark.parametrize("public_key", [b"", bytes(31), bytes(32), b"\1" + bytes(31)])
def test_nothing_is_sealed_to_a_key_that_is_none(public_key: bytes) -> None:
    with pytest.raises(InvalidKey):
        seal(public_key, b"message")


def test_a_sealing_key_is_that_of_rfc_7748() -> None:
    # RFC 7748, section 6.1: Bob's private and public key.
    secret = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
    public = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    key = SealingKey.from_secret(bytes.fromhex(secret))
    assert key.public_key.hex() == public
    with pytest.raises(InvalidKey):
        SealingKey.from_secret(key.secret[:-1])
