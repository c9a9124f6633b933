"""Checkpoints (c2sp.org/tlog-checkpoint): three lines, one spelling."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoints import Checkpoint, SignedCheckpoint, cosign, sign_checkpoint
from ledger.errors import DecodeError
from ledger.notes import KeyType, SignedNote, VerifierKey, encode_base64, verify_by_any
from ledger.suite import SHA256_ED25519 as SUITE
from tests.ledger.sample_chain import signer

_ZERO = encode_base64(bytes(32))
# The example of the tlog-cosignature specification.
_EXAMPLE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5"
    "/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dl"
    "rDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()


def test_the_example_of_the_specification_parses_to_its_parts() -> None:
    signed = SignedCheckpoint.parse(_EXAMPLE)
    assert signed.checkpoint.origin == "example.com/behind-the-sofa"
    assert signed.checkpoint.size == 20852163
    assert signed.checkpoint.root.hex().startswith("0ac5186a")
    assert [line.time_s for line in signed.signatures] == [None, 1679315147]
    assert signed.encode() == _EXAMPLE


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_checkpoints_round_trip(size: int, root: bytes) -> None:
    checkpoint = Checkpoint("sample-00", size, root)
    assert Checkpoint.parse(checkpoint.text) == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n",
        f"origin\n1\n{_ZERO}",
        f"\n1\n{_ZERO}\n",
        f"ori gin\n1\n{_ZERO}\n",
        f"origin\n01\n{_ZERO}\n",
        f"origin\n+1\n{_ZERO}\n",
        f"origin\n-1\n{_ZERO}\n",
        f"origin\n 1\n{_ZERO}\n",
        f"origin\n1_0\n{_ZERO}\n",
        f"origin\n\n{_ZERO}\n",
        f"origin\n\u0661\n{_ZERO}\n",
        f"origin\n{2**63}\n{_ZERO}\n",
        f"origin\n{'9' * 5000}\n{_ZERO}\n",
        f"origin\n1\n{encode_base64(bytes(31))}\n",
        f"origin\n1\n{encode_base64(bytes(33))}\n",
        f"origin\n1\n{_ZERO[:-2]}B=\n",
        f"origin\n1\n{_ZERO}\nextension\n",
        f"origin\n1\n{_ZERO}\n\n",
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        Checkpoint.parse(text)


@given(st.binary(max_size=150))
def test_bytes_are_a_signed_checkpoint_in_its_one_encoding_or_a_decode_error(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        assert SignedCheckpoint.parse(data).encode() == data


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [("", 1, bytes(32)), ("a b", 1, bytes(32)), ("a", -1, bytes(32)), ("a", 1, bytes(31))],
)
def test_a_checkpoint_is_valid_from_birth(origin: str, size: int, root: bytes) -> None:
    with pytest.raises(ValueError, match=r"origin|checkpoint"):
        Checkpoint(origin, size, root)


def test_log_signature_and_cosignature_open_with_their_keys() -> None:
    checkpoint = Checkpoint("sample-00", 5, bytes(32))
    signed = SignedCheckpoint(
        checkpoint,
        (
            sign_checkpoint(SUITE, signer("log"), checkpoint),
            cosign(SUITE, signer("w"), "beijing", checkpoint, 1_700_000_000),
        ),
    )
    keys = (
        VerifierKey.create(SUITE, "sample-00", KeyType.ED25519, signer("log").public_key),
        VerifierKey.create(SUITE, "beijing", KeyType.COSIGNATURE_V1, signer("w").public_key),
    )
    note = SignedNote.parse(signed.encode())
    assert Checkpoint.parse(note.text) == checkpoint
    text = note.text.encode()
    verified = [verify_by_any(SUITE, text, line, keys) for line in note.signatures]
    assert [one.time_s for one in verified] == [None, 1_700_000_000]
