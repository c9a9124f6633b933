"""Transactions: what a signature covers, what the id names, and what does not decode."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.codec import decode, encode
from ledger.errors import DecodeError
from ledger.keys import SoftwareSigner
from ledger.limits import MAX_OPERATIONS, MAX_TRANSACTION_BYTES
from ledger.suite import SHA256_ED25519
from ledger.transactions import Operation, Transaction, decode_transaction, sign_transaction

SIGNER = SoftwareSigner.from_secret("ed25519", b"\x01" * 32)


def transaction(*operations: Operation, nonce: bytes = bytes(16)) -> Transaction:
    return sign_transaction(
        SHA256_ED25519,
        SIGNER,
        "chain-1",
        operations or (Operation("a.b.c", {"x": 1}),),
        valid_until_ms=5,
        nonce=nonce,
    )


def test_a_transaction_survives_its_encoding_and_verifies() -> None:
    made = transaction(Operation("a.b.c", {"x": 1}), Operation("d.e.f", {"y": b"z"}))
    again = decode_transaction(SHA256_ED25519, made.raw)
    assert again == made
    assert again.verify(SHA256_ED25519)
    assert again.operations == made.operations


def test_the_id_does_not_depend_on_the_signature() -> None:
    made = transaction()
    forged = decode_transaction(SHA256_ED25519, encode((made.body, bytes(64))))
    assert forged.id == made.id
    assert not forged.verify(SHA256_ED25519)


def test_the_nonce_makes_two_equal_requests_two_transactions() -> None:
    assert transaction(nonce=b"a" * 16).id != transaction(nonce=b"b" * 16).id


@given(st.data())
def test_any_changed_byte_is_refused_or_breaks_the_signature(draw: st.DataObject) -> None:
    raw = bytearray(transaction().raw)
    raw[draw.draw(st.integers(0, len(raw) - 1))] ^= draw.draw(st.integers(1, 255))
    try:
        changed = decode_transaction(SHA256_ED25519, bytes(raw))
    except DecodeError:
        return
    assert not changed.verify(SHA256_ED25519)


def _with_body(**change: Any) -> bytes:
    fields = {
        "chain_id": "chain-1",
        "signer": str(SIGNER.public_key),
        "valid_until": 5,
        "nonce": bytes(16),
        "operations": (("a.b.c", {}),),
    } | change
    return encode((encode(tuple(fields.values())), bytes(64)))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        encode(None),
        encode((b"", bytes(64))),
        encode((b"", bytes(63))),
        encode(("text", bytes(64))),
        encode((b"", bytes(64), b"")),
        _with_body(chain_id=1),
        _with_body(signer=None),
        _with_body(signer="ed25519:zz"),
        _with_body(signer="ed25519:" + "AB" * 32),
        _with_body(signer="ed25519:" + " ab" * 21 + "a"),
        _with_body(valid_until=-1),
        _with_body(valid_until=True),
        _with_body(valid_until="5"),
        _with_body(nonce=bytes(15)),
        _with_body(nonce="sixteen letters!"),
        _with_body(operations=()),
        _with_body(operations=(("a.b.c", {}),) * (MAX_OPERATIONS + 1)),
        _with_body(operations=(("a.b.c",),)),
        _with_body(operations=((1, {}),)),
        _with_body(operations=(("", {}),)),
        _with_body(operations=(("a.b.ć", {}),)),
        _with_body(operations=(("a" * 65, {}),)),
        _with_body(operations=(("a.b.c", ()),)),
        _with_body(operations=(("a.b.c", None),)),
        _with_body(operations={"a": 1}),
    ],
)
def test_what_is_not_a_transaction_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_transaction(SHA256_ED25519, raw)


def test_a_transaction_over_its_bound_is_refused() -> None:
    with pytest.raises(DecodeError, match="at most"):
        transaction(Operation("a.b.c", {"x": bytes(MAX_TRANSACTION_BYTES)}))


def test_the_chain_id_is_inside_what_is_signed() -> None:
    fields = decode(transaction().body)
    assert isinstance(fields, tuple)
    assert fields[0] == "chain-1"


@pytest.mark.parametrize(
    "signer", ["a/b:", ":", "Ed25519:", "ed25519 :", "a" * 17 + ":", "\u0661:"]
)
def test_a_signer_is_written_as_a_key_even_where_no_signature_is_verified(signer: str) -> None:
    body = encode(("c", signer + "00" * 32, 0, bytes(16), (("a.b.c", {}),)))
    with pytest.raises(DecodeError, match="signer"):
        decode_transaction(SHA256_ED25519, encode((body, bytes(64))))
