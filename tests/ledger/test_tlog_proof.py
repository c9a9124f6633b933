"""Proofs of logging (c2sp.org/tlog-proof@v1): the text, and what it takes to verify."""

from __future__ import annotations

import contextlib
import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoints import SignedCheckpoint
from ledger.errors import DecodeError, InvalidProof
from ledger.notes import encode_base64
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.tlog_proof import TlogProof
from tests.ledger.sample_chain import SampleChain

_HASH = encode_base64(bytes(32))


@functools.cache
def _chain() -> SampleChain:
    chain = SampleChain()
    for number in range(5):
        chain.commit(transactions=[b"transaction %d" % number])
    return chain


@functools.cache
def _proof(index: int) -> TlogProof:
    return _chain().entry_evidence(index, _checkpoint()).tlog_proof()


@functools.cache
def _checkpoint() -> SignedCheckpoint:
    return _chain().checkpoint()


def test_a_proof_is_the_text_of_the_specification() -> None:
    proof = _proof(3)
    lines = [encode_base64(item) for item in proof.hashes]
    head = "\n".join(["c2sp.org/tlog-proof@v1", "extra AAE=", "index 3", *lines])
    expected = head.encode() + b"\n\n" + _checkpoint().encode()
    with_extra = TlogProof(3, proof.hashes, proof.checkpoint, b"\0\1")
    assert with_extra.encode() == expected
    assert TlogProof.parse(expected) == with_extra


def test_every_entry_of_a_log_is_proved_by_its_text() -> None:
    chain = _chain()
    for index, entry in enumerate(chain.entries):
        proof = TlogProof.parse(_proof(index).encode())
        assert proof == _proof(index)
        assert proof.verify(SUITE, chain.policy(), entry).satisfied


@given(st.data())
def test_no_changed_byte_of_a_proof_passes(data: st.DataObject) -> None:
    chain = _chain()
    index = data.draw(st.integers(0, len(chain.entries) - 1))
    text = bytearray(_proof(index).encode())
    text[data.draw(st.integers(0, len(text) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((DecodeError, InvalidProof)):
        TlogProof.parse(bytes(text)).verify(SUITE, chain.policy(), chain.entries[index])


def test_a_proof_of_one_entry_proves_no_other() -> None:
    chain = _chain()
    for index, entry in enumerate(chain.entries):
        for other in range(len(chain.entries)):
            if other != index:
                with pytest.raises(InvalidProof):
                    _proof(other).verify(SUITE, chain.policy(), entry)


def test_a_checkpoint_without_quorum_or_log_signature_proves_nothing() -> None:
    chain, proof = _chain(), _proof(0)
    for lines in (proof.checkpoint.signatures[1:], proof.checkpoint.signatures[:-1]):
        lacking = SignedCheckpoint(proof.checkpoint.checkpoint, lines)
        with pytest.raises(InvalidProof, match="lacks"):
            TlogProof(0, proof.hashes, lacking).verify(SUITE, chain.policy(), chain.entries[0])


def test_a_log_of_one_entry_has_an_empty_proof() -> None:
    chain = SampleChain()
    proof = chain.entry_evidence(0, chain.checkpoint()).tlog_proof()
    assert proof.hashes == ()
    assert TlogProof.parse(proof.encode()).verify(SUITE, chain.policy(), chain.entries[0])


@pytest.mark.parametrize(
    "head",
    [
        "",
        "c2sp.org/tlog-proof@v2\nindex 0",
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v1\nindex",
        "c2sp.org/tlog-proof@v1\nindex 00",
        "c2sp.org/tlog-proof@v1\nindex -1",
        f"c2sp.org/tlog-proof@v1\nindex {2**63}",
        "c2sp.org/tlog-proof@v1\nindex 0\nextra AAE=",
        "c2sp.org/tlog-proof@v1\nextra AAF=\nindex 0",
        "c2sp.org/tlog-proof@v1\nextra\nindex 0",
        "c2sp.org/tlog-proof@v1\nextra AAE=\nextra AAE=\nindex 0",
        f"c2sp.org/tlog-proof@v1\nextra {encode_base64(bytes(70_000))}\nindex 0",
        "c2sp.org/tlog-proof@v1\nindex 0\nAAE=",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{_HASH} ",
        f"c2sp.org/tlog-proof@v1\r\nindex 0\n{_HASH}",
        "c2sp.org/tlog-proof@v1\nindex 0\n\u00e9",
        "c2sp.org/tlog-proof@v1\nindex 0" + f"\n{_HASH}" * 65,
    ],
)
def test_malformed_proofs_are_refused(head: str) -> None:
    with pytest.raises(DecodeError):
        TlogProof.parse(head.encode() + b"\n\n" + _checkpoint().encode())


@given(st.binary(max_size=200))
def test_bytes_are_a_proof_in_its_one_encoding_or_a_decode_error(data: bytes) -> None:
    for candidate in (data, b"c2sp.org/tlog-proof@v1\nindex 0\n" + data):
        with contextlib.suppress(DecodeError):
            assert TlogProof.parse(candidate).encode() == candidate


def test_a_proof_of_megabytes_is_refused_at_once() -> None:
    with pytest.raises(DecodeError, match="at most"):
        TlogProof.parse(b"c2sp.org/tlog-proof@v1\n" + bytes(1 << 20))
