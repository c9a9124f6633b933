"""Reading transactions once: what the cache keeps, and who may act."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import field_validator

from ledger import admission
from ledger.admission import Call, Refusal, Signers, TransactionCache, prepare_transaction
from ledger.codec import Value
from ledger.errors import InvalidTransaction
from ledger.membership import (
    enrolled_key,
    organisation,
    save_enrolled_key,
    save_organisation,
)
from ledger.operations import OperationType, operation_table
from ledger.state import Overlay
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Operation, Transaction, sign_transaction
from tests.ledger.chain import EDITOR, TABLE, Note, make_genesis, signer, uscc, write_note


class Empty:
    def get(self, key: str) -> Value | None:
        return None


def transaction(*operations: Operation, nonce: int = 1) -> Transaction:
    return sign_transaction(
        SUITE, EDITOR, "test", operations, valid_until_ms=1, nonce=nonce.to_bytes(16, "big")
    )


def note(nonce: int = 1, text: str = "") -> Transaction:
    return transaction(Operation("test.note.write", {"name": "a", "text": text}), nonce=nonce)


def test_operations_are_made_ready_each_for_itself() -> None:
    raw = transaction(
        Operation("test.note.write", {"name": "a"}),
        Operation("test.note.write", {"name": 7}),
        Operation("no.such.kind", {}),
    ).raw
    good, bad_body, unknown = prepare_transaction(SUITE, TABLE, raw).operations
    assert isinstance(good, Call) and good.body == Note(name="a")
    assert isinstance(bad_body, Refusal) and bad_body.code == "invalid_body"
    assert bad_body.text.startswith("name: ")
    assert isinstance(unknown, Refusal) and unknown.code == "unknown_operation"


class Buggy(Note):
    @field_validator("name")
    @classmethod
    def _fail(cls, name: str) -> str:
        raise ZeroDivisionError


def test_a_bug_in_a_validator_fails_the_operation_and_not_the_node() -> None:
    kind = OperationType("test.buggy", "Fails.", Buggy, write_note, frozenset(), ())
    raw = transaction(Operation("test.buggy", {"name": "a"})).raw
    (operation,) = prepare_transaction(SUITE, operation_table((kind,)), raw).operations
    assert isinstance(operation, Refusal) and operation.code == "internal"
    assert isinstance(operation.error, ZeroDivisionError)


def test_a_signature_is_verified_unless_a_commit_vouches_for_it() -> None:
    good = note()
    forged = good._replace(raw=good.raw[:-1] + bytes([good.raw[-1] ^ 1]))
    with pytest.raises(InvalidTransaction, match="bad_signature"):
        prepare_transaction(SUITE, TABLE, forged.raw)
    assert prepare_transaction(SUITE, TABLE, forged.raw, verify=False).id == good.id


def test_a_transaction_is_read_once_until_it_is_taken() -> None:
    read: list[bytes] = []

    def prepare(raw: bytes) -> admission.PreparedTransaction:
        read.append(raw)
        return prepare_transaction(SUITE, TABLE, raw)

    cache = TransactionCache(prepare)
    raw = note().raw
    assert cache.get(raw) is cache.get(bytes(raw))
    cache.take(raw)
    assert (len(read), len(cache)) == (1, 0)
    cache.take(raw)
    assert (len(read), len(cache)) == (2, 0)


def test_the_cache_is_bounded_in_count_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = TransactionCache(lambda raw: prepare_transaction(SUITE, TABLE, raw))
    monkeypatch.setattr(admission, "MAX_CACHED_TRANSACTIONS", 3)
    for nonce in range(10):
        cache.get(note(nonce).raw)
    assert len(cache) == 3
    monkeypatch.setattr(admission, "MAX_CACHED_BYTES", 2_500)
    for nonce in range(10, 14):
        cache.get(note(nonce, "x" * 1_000).raw)
    assert len(cache) == 1 or len(cache) == 2
    cache.get(note(14, "x" * 5_000).raw)
    assert len(cache) == 0


def test_what_cannot_run_is_not_kept() -> None:
    cache = TransactionCache(lambda raw: prepare_transaction(SUITE, TABLE, raw))
    raw = transaction(Operation("test.note.write", {"name": ({},) * 50_000})).raw
    assert isinstance(cache.get(raw).operations[0], Refusal)
    assert len(cache) == 0
    assert isinstance(cache.take(raw).operations[0], Refusal)


def test_a_change_of_the_keys_or_the_organisations_record_is_seen_at_once() -> None:
    state = Overlay(Empty())
    make_genesis().initialise(state)
    signers, key = Signers(), str(EDITOR.public_key)
    authority = signers.look_up(state, key)
    assert (authority.organisation, authority.roles) == (uscc("110000"), {"editor"})
    assert signers.look_up(state, key) is authority
    record = enrolled_key(state, key)
    assert record is not None
    save_enrolled_key(state, key, replace(record, roles=("auditor",)))
    assert signers.look_up(state, key).roles == {"auditor"}
    subject = organisation(state, uscc("110000"))
    assert subject is not None
    save_organisation(state, replace(subject, status="dissolved"))
    with pytest.raises(InvalidTransaction, match="organisation_dissolved"):
        signers.look_up(state, key)
    save_organisation(state, subject)
    save_enrolled_key(state, key, replace(record, status="revoked", revoked_ms=1))
    with pytest.raises(InvalidTransaction, match="key_revoked"):
        signers.look_up(state, key)
    with pytest.raises(InvalidTransaction, match="unknown_signer"):
        signers.look_up(state, str(signer("stranger").public_key))
