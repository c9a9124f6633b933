"""Access tokens: what verifies, and everything that must not."""

from __future__ import annotations

import base64
import gc
import hmac
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.keys import SoftwareSigner
from node import auth
from node.auth import MAX_LIFETIME_S, MAX_TOKEN_CHARACTERS, make_token, verify_token
from node.errors import InvalidToken

NOW_S = 1_750_000_000
CHAIN = "jjj-0123456789abcdef0123456789abcdef"
SIGNER = SoftwareSigner.from_secret("ed25519", bytes(range(32)))
PHONE = SoftwareSigner.from_secret("p256", bytes(range(1, 33)))


def _segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _signed(header: dict[str, Any], claims: dict[str, Any]) -> str:
    text = f"{_segment(header)}.{_segment(claims)}"
    signature = base64.urlsafe_b64encode(SIGNER.sign(text.encode())).rstrip(b"=").decode()
    return f"{text}.{signature}"


def _claims(**changes: Any) -> dict[str, Any]:
    claims = {"iss": str(SIGNER.public_key), "aud": CHAIN, "iat": NOW_S, "exp": NOW_S + 60}
    return {key: value for key, value in {**claims, **changes}.items() if value is not None}


@pytest.mark.parametrize("signer", [SIGNER, PHONE], ids=["ed25519", "p256"])
def test_a_token_tells_the_key_that_signed_it(signer: SoftwareSigner) -> None:
    token = make_token(signer, CHAIN, NOW_S, claims={"handle": "ab"})
    verified = verify_token(token, CHAIN, NOW_S + 10)
    assert verified.key == signer.public_key
    assert verified.claims["handle"] == "ab"


def test_a_token_that_was_good_before_is_judged_anew_by_chain_and_time() -> None:
    token = make_token(SIGNER, CHAIN, NOW_S)
    assert verify_token(token, CHAIN, NOW_S) == verify_token(token, CHAIN, NOW_S + 1)
    with pytest.raises(InvalidToken, match="another chain"):
        verify_token(token, "another", NOW_S)
    with pytest.raises(InvalidToken, match="expired"):
        verify_token(token, CHAIN, NOW_S + 400)


@pytest.mark.parametrize(
    ("header", "claims", "said"),
    [
        ({"alg": "none"}, _claims(), "signature"),
        ({"alg": "HS256"}, _claims(), "signature"),
        ({"alg": "EdDSA"}, _claims(), "signature"),
        ({}, _claims(), "signature"),
        ({"alg": "Ed25519"}, _claims(aud="another-chain"), "another chain"),
        ({"alg": "Ed25519"}, _claims(aud=None), "another chain"),
        ({"alg": "Ed25519"}, _claims(aud=[CHAIN]), "another chain"),
        ({"alg": "Ed25519"}, _claims(exp=NOW_S - 31, iat=NOW_S - 90), "expired"),
        ({"alg": "Ed25519"}, _claims(iat=NOW_S + 31, exp=NOW_S + 60), "future"),
        ({"alg": "Ed25519"}, _claims(nbf=NOW_S + 31), "not good yet"),
        ({"alg": "Ed25519"}, _claims(nbf="now"), "nbf"),
        ({"alg": "Ed25519"}, _claims(nbf=True), "nbf"),
        ({"alg": "Ed25519", "typ": "kb+jwt"}, _claims(), "another type"),
        ({"alg": "Ed25519", "typ": "dc+sd-jwt"}, _claims(), "another type"),
        ({"alg": "Ed25519", "typ": ["JWT"]}, _claims(), "another type|form"),
        ({"alg": "Ed25519"}, _claims(exp=NOW_S + MAX_LIFETIME_S + 1), "at most"),
        ({"alg": "Ed25519"}, _claims(exp=NOW_S - 1), "at most"),
        ({"alg": "Ed25519"}, _claims(exp=None), "lacks"),
        ({"alg": "Ed25519"}, _claims(iat="now"), "lacks"),
        ({"alg": "Ed25519"}, _claims(iat=True), "lacks"),
        ({"alg": "Ed25519"}, _claims(iss=str(PHONE.public_key)), "signature"),
        ({"alg": "Ed25519"}, _claims(iss="ed25519:" + "00" * 32), "not a public key"),
        ({"alg": "Ed25519"}, _claims(iss=None), "not a public key"),
        ({"alg": "Ed25519"}, _claims(iss=7), "not a public key"),
    ],
)
def test_a_wrong_token_is_refused_with_its_reason(
    header: dict[str, Any], claims: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidToken, match=said):
        verify_token(_signed(header, claims), CHAIN, NOW_S)


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({"alg": "Ed25519"}, _claims()),
        ({"alg": "Ed25519", "typ": "JWT"}, _claims(nbf=NOW_S)),
        ({"alg": "Ed25519"}, _claims(nbf=NOW_S + 30)),
    ],
)
def test_a_token_may_say_its_type_and_from_when_it_is_good(
    header: dict[str, Any], claims: dict[str, Any]
) -> None:
    assert verify_token(_signed(header, claims), CHAIN, NOW_S).key == SIGNER.public_key


def test_characters_beyond_ascii_are_called_so() -> None:
    with pytest.raises(InvalidToken, match="beyond ASCII"):
        verify_token(make_token(SIGNER, CHAIN, NOW_S) + "ä", CHAIN, NOW_S)


@pytest.mark.parametrize(
    "header",
    [
        [],
        "Ed25519",
        None,
        {"alg": ["Ed25519"]},
        {"alg": {}},
        {"alg": None},
        {"alg": "Ed25519", "crit": ["exp"]},
        {"alg": "Ed25519", "crit": ["b64"], "b64": False},
        {"alg": "Ed25519", "kid": 7},
        {"alg": "Ed25519", "x5c": [1]},
        {"alg": {"deep": json.loads("[" * 300 + "]" * 300)}},
    ],
    ids=repr,
)
def test_a_header_of_any_form_is_refused_and_raises_nothing_else(header: Any) -> None:
    with pytest.raises(InvalidToken):
        verify_token(_signed(header, _claims()), CHAIN, NOW_S)


@pytest.mark.parametrize("tail", ["=", "==", "\n", "!", "A", "+"])
def test_claims_have_one_form(tail: str) -> None:
    """What decoders pass over where they are lenient would be a second text with the same claims."""
    text = f"{_segment({'alg': 'Ed25519'})}.{_segment(_claims())}{tail}"
    with pytest.raises(InvalidToken):
        verify_token(f"{text}.{_segment_of(SIGNER.sign(text.encode()))}", CHAIN, NOW_S)


@pytest.mark.parametrize("key", [str(SIGNER.public_key).encode(), SIGNER.public_key.data])
def test_a_public_key_is_no_shared_secret(key: bytes) -> None:
    text = f"{_segment({'alg': 'HS256'})}.{_segment(_claims())}"
    mac = base64.urlsafe_b64encode(hmac.digest(key, text.encode(), "sha256")).rstrip(b"=")
    with pytest.raises(InvalidToken):
        verify_token(f"{text}.{mac.decode()}", CHAIN, NOW_S)


def test_keys_named_in_the_header_are_not_used() -> None:
    other = SoftwareSigner.from_secret("ed25519", bytes(32))
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": _segment_of(other.public_key.data)}
    header = {"alg": "Ed25519", "kid": "../../etc/passwd", "jwk": jwk, "jku": "http://127.0.0.1:1"}
    text = f"{_segment(header)}.{_segment(_claims())}"
    with pytest.raises(InvalidToken, match="signature"):
        verify_token(f"{text}.{_segment_of(other.sign(text.encode()))}", CHAIN, NOW_S)
    assert verify_token(_signed(header, _claims()), CHAIN, NOW_S).key == SIGNER.public_key


def _segment_of(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_.-]{0,200}", fullmatch=True))
def test_any_text_is_refused_and_raises_nothing_else(text: str) -> None:
    with pytest.raises(InvalidToken):
        verify_token(text, CHAIN, NOW_S)


@given(st.data())
def test_a_token_with_any_byte_changed_is_refused(data: st.DataObject) -> None:
    token = make_token(SIGNER, CHAIN, NOW_S)
    at = data.draw(st.integers(0, len(token) - 2))
    other = data.draw(st.sampled_from("ABCDabcd0123-_.").filter(lambda c: c != token[at]))
    with pytest.raises(InvalidToken):
        verify_token(token[:at] + other + token[at + 1 :], CHAIN, NOW_S)


def test_a_huge_token_is_not_parsed() -> None:
    with pytest.raises(InvalidToken, match="too long"):
        verify_token("a." * 5_000, CHAIN, NOW_S)


def test_of_a_strangers_token_hardly_more_than_its_text_is_remembered() -> None:
    tokens = [
        make_token(SIGNER, CHAIN, NOW_S, claims={"n": number, "deep": [[[]] * 8] * 45})
        for number in range(100)
    ]
    assert 1_500 < len(tokens[0]) <= MAX_TOKEN_CHARACTERS
    verify_token(make_token(SIGNER, CHAIN, NOW_S), CHAIN, NOW_S)
    auth._signed_by.cache_clear()
    tracemalloc.start()
    try:
        for token in tokens:
            verify_token(token, CHAIN, NOW_S)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert auth._signed_by.cache_info().currsize == len(tokens)
    assert held / len(tokens) < MAX_TOKEN_CHARACTERS
