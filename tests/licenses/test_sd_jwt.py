"""SD-JWT: the examples of RFC 9901, and what its section 7.1 says must be refused."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature as BadSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from ledger.base64url import base64url_encode
from ledger.errors import DecodeError
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.suite import PublicKey
from licenses.credentials import (
    from_jwk,
    randomness_bytes,
    read_credential,
    sign_credential,
    to_jwk,
)
from licenses.sd_jwt import (
    Disclosure,
    Jwt,
    SdJwt,
    conceal,
    sign_jwt,
)
from tests.ledger.sample_chain import CHAIN_ID, signer
from tests.licenses.story import ISSUER, TYPE, random_bytes

VECTORS = json.loads((Path(__file__).parent / "testdata" / "rfc9901.json").read_text("utf-8"))
PRESENTATIONS = {each["name"]: each for each in VECTORS["presentations"]}


def verifies(jwt: Jwt, key: PublicKey) -> bool:
    """Verify ES256 with either s: the RFC's signatures are not all low-s, ours must be."""
    r, s = (int.from_bytes(jwt.signature[at : at + 32], "big") for at in (0, 32))
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.data)
    try:
        point.verify(encode_dss_signature(r, s), jwt.signing_input, ec.ECDSA(hashes.SHA256()))
    except BadSignature:
        return False
    return True


@pytest.mark.parametrize("name", PRESENTATIONS)
def test_the_examples_of_the_rfc_read_as_published(name: str) -> None:
    text = PRESENTATIONS[name]["sd_jwt"]
    presented = SdJwt.decode(text)
    assert str(presented) == text
    assert verifies(presented.issuer_jwt, from_jwk(VECTORS["issuer_key"]))
    claims = presented.claims(SUITE.digest)
    if PRESENTATIONS[name]["claims"] is not None:
        assert claims == PRESENTATIONS[name]["claims"]


@pytest.mark.parametrize("name", ["section 5.2", "A.3", "A.4"])
def test_the_key_bindings_of_the_rfc_verify(name: str) -> None:
    presented = SdJwt.decode(PRESENTATIONS[name]["sd_jwt"])
    binding = presented.key_binding
    assert binding is not None
    holder = from_jwk(presented.issuer_jwt.payload["cnf"]["jwk"])
    assert verifies(binding, holder)
    assert binding.payload["nonce"] == VECTORS["nonce"]
    assert binding.payload["aud"] == VECTORS["audience"]
    assert binding.payload["sd_hash"] == presented.sd_hash(SUITE.digest)


def test_the_digest_example_of_section_4_2_3() -> None:
    text = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0"
    disclosure = Disclosure.decode(text)
    assert (disclosure.name, disclosure.value) == ("family_name", "Möbius")
    assert disclosure.digest(SUITE.digest) == "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"


def disclosure_text(value: Any) -> str:
    return base64url_encode(json.dumps(value).encode())


def digest_of(text: str) -> str:
    return base64url_encode(SUITE.digest(text.encode()))


def sd_jwt_of(payload: Any, *disclosures: str) -> SdJwt:
    jwt = sign_jwt(signer("issuer"), {"typ": "test"}, payload)
    return SdJwt.decode("~".join((jwt, *disclosures, "")))


NAME = disclosure_text(["salt", "name", "x"])
ELEMENT = disclosure_text(["salt", "x"])
NESTED = disclosure_text(["salt", "outer", {"_sd": [digest_of(NAME)]}])

REFUSED: dict[str, tuple[Any, tuple[str, ...]]] = {
    "a disclosure that nothing refers to": ({}, (NAME,)),
    "the same disclosure twice": ({"_sd": [digest_of(NAME)]}, (NAME, NAME)),
    "the same digest twice": ({"_sd": [digest_of(NAME)] * 2}, (NAME,)),
    "the same digest on two levels": (
        {"_sd": [digest_of(NAME)], "inner": {"_sd": [digest_of(NAME)]}},
        (NAME,),
    ),
    "a claim that stands there already": ({"name": 1, "_sd": [digest_of(NAME)]}, (NAME,)),
    "an element in place of a property": ({"_sd": [digest_of(ELEMENT)]}, (ELEMENT,)),
    "a property in place of an element": ({"list": [{"...": digest_of(NAME)}]}, (NAME,)),
    "an inner disclosure without the outer": ({"_sd": [digest_of(NESTED)]}, (NAME,)),
    "another digest algorithm": ({"_sd_alg": "sha-512"}, ()),
    "_sd that is no array": ({"_sd": digest_of(NAME)}, ()),
    "a digest that is no string": ({"_sd": [1]}, ()),
    "... as a name": ({"...": "x"}, ()),
    "more beside ...": ({"list": [{"...": digest_of(ELEMENT), "x": 1}]}, (ELEMENT,)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_processing_refuses(case: str) -> None:
    payload, disclosures = REFUSED[case]
    with pytest.raises(DecodeError):
        sd_jwt_of(payload, *disclosures).claims(SUITE.digest)


def test_nested_disclosures_come_out_in_their_place() -> None:
    presented = sd_jwt_of({"_sd": [digest_of(NESTED)]}, NAME, NESTED)
    assert presented.claims(SUITE.digest) == {"outer": {"name": "x"}}


@pytest.mark.parametrize(
    "value",
    [["salt", "_sd", 1], ["salt", "...", 1], [1, "name", 1], ["salt", 2, 1], ["salt"], {}, "x"],
    ids=repr,
)
def test_a_malformed_disclosure_is_refused(value: Any) -> None:
    with pytest.raises(DecodeError):
        Disclosure.decode(disclosure_text(value))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no tilde",
        "~",
        "a.b.c~",
        "e30.e30.e30~",
        "=~",
        base64url_encode(b'{"alg":"ES256","crit":["x"]}') + ".e30.AA~",
        base64url_encode(b'{"alg":"ES256","alg":"none"}') + ".e30.AA~",
        base64url_encode(b'{"alg":"ES256"}') + "." + base64url_encode(b"[]") + ".AA~",
        base64url_encode(b'{"alg":"ES256"}') + "." + base64url_encode(b'{"x":NaN}') + ".AA~",
        base64url_encode(b'{"alg":"ES256"}') + "." + base64url_encode(b"[" * 100_000) + ".AA~",
        "x" * 1_000_000 + "~",
        "~" * 10_000,
    ],
    ids=lambda text: text[:30],
)
def test_malformed_input_is_refused_with_our_error(text: str) -> None:
    with pytest.raises(DecodeError):
        SdJwt.decode(text)


@given(st.text(alphabet=st.characters(max_codepoint=0x2FFF), max_size=200))
def test_any_text_is_read_or_refused_with_our_error(text: str) -> None:
    with contextlib.suppress(DecodeError):
        SdJwt.decode(text)


@pytest.mark.parametrize("name", ["exp", "cnf", "aud"])
def test_what_limits_a_credential_is_not_for_its_holder_to_show_or_hide(name: str) -> None:
    good = sign_credential(
        SUITE,
        signer("issuer"),
        chain_id=CHAIN_ID,
        issuer=ISSUER,
        license_type=TYPE,
        identifier="1",
        handle_salt=bytes(32),
        fields={"name": "x"},
        holder=signer("holder").public_key,
        issued_ms=0,
        valid_from_ms=0,
        valid_to_ms=1000,
        randomness=random_bytes("x", randomness_bytes(1)),
    )
    jwt = good.sd_jwt.issuer_jwt
    payload = dict(jwt.payload)
    hidden = disclosure_text(["salt", name, payload.pop(name, "x")])
    payload["_sd"] = [*payload["_sd"], digest_of(hidden)]
    header = {name: value for name, value in jwt.header.items() if name != "alg"}
    with pytest.raises(DecodeError):
        read_credential(SUITE, f"{sign_jwt(signer('issuer'), header, payload)}~{hidden}~")


def test_concealed_claims_come_back_only_when_disclosed() -> None:
    claims = {"name": "李晓", "age": 30}
    salts = [bytes([n]) * 16 for n in range(2)]
    digests, disclosures = conceal(claims, salts, SUITE.digest, decoys=[bytes(32)])
    assert len(digests) == 3 and digests == sorted(digests)
    assert sd_jwt_of({"_sd": digests}).claims(SUITE.digest) == {}
    texts = [each.text for each in disclosures]
    assert sd_jwt_of({"_sd": digests}, *texts).claims(SUITE.digest) == claims


@pytest.mark.parametrize("algorithm", ["ed25519", "p256"])
def test_keys_survive_the_way_through_jwk(algorithm: str) -> None:
    from ledger.keys import SoftwareSigner

    key = SoftwareSigner.from_secret(algorithm, bytes(31) + b"\x07").public_key
    assert from_jwk(to_jwk(key)) == key


@pytest.mark.parametrize(
    "jwk",
    [
        None,
        {},
        {"kty": "RSA"},
        {"kty": "OKP", "crv": "Ed25519", "x": base64url_encode(bytes(32))},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        {"kty": "EC", "crv": "P-256", "x": base64url_encode(bytes(32)), "y": "AA"},
    ],
    ids=repr,
)
def test_a_bad_jwk_is_refused(jwk: Any) -> None:
    with pytest.raises(DecodeError):
        from_jwk(jwk)
