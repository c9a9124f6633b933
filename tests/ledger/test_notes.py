"""Signed notes and verifier keys (c2sp.org/signed-note, c2sp.org/tlog-cosignature): examples, round trips, refusals."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import DecodeError, InvalidKey, InvalidProof
from ledger.notes import (
    MAX_NOTE_BYTES,
    MAX_TIMESTAMP_S,
    KeyType,
    NoteSignature,
    SignedNote,
    VerifiedSignature,
    VerifierKey,
    cosign_note,
    cosigned_message,
    decode_base64,
    encode_base64,
    sign_note,
    verify_by_any,
)
from ledger.suite import SHA256_ED25519 as SUITE
from tests.ledger.sample_chain import signer

# The example at the end of the signed-note specification.
_EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
_EXAMPLE_NOTE = (
    "This is an example message.\n\n"
    "\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYj"
    "OBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()

_TEXT = "sample\n12\n" + encode_base64(bytes(32)) + "\n"
_LOG = VerifierKey.create(SUITE, "sample", KeyType.ED25519, signer("log").public_key)
_WITNESS = VerifierKey.create(SUITE, "w1", KeyType.COSIGNATURE_V1, signer("w1").public_key)
_LINES = (
    sign_note(SUITE, signer("log"), "sample", _TEXT),
    cosign_note(SUITE, signer("w1"), "w1", _TEXT, 1_679_315_147),
)
_NOTE = SignedNote(_TEXT, _LINES).encode()


class Opened(NamedTuple):
    text: str
    verified: list[VerifiedSignature]
    unknown: int


def open_note(data: bytes, keys: Sequence[VerifierKey]) -> Opened:
    """Read a note and verify each line by those of `keys` that it names, as whoever reads notes does."""
    note = SignedNote.parse(data)
    opened = Opened(note.text, [], 0)
    for line in note.signatures:
        named = [key for key in keys if key.is_named_by(line)]
        if named:
            opened.verified.append(verify_by_any(SUITE, note.text.encode(), line, named))
    return opened._replace(unknown=len(note.signatures) - len(opened.verified))


names = st.text(min_size=1, max_size=20).filter(
    lambda name: "+" not in name and not any(c.isspace() or c < " " for c in name)
)


def test_the_example_of_the_specification_opens() -> None:
    key = VerifierKey.parse(SUITE, _EXAMPLE_KEY)
    assert str(key) == _EXAMPLE_KEY
    opened = open_note(_EXAMPLE_NOTE, [key])
    assert opened.text == "This is an example message.\n"
    assert [verified.key for verified in opened.verified] == [key]
    assert opened.unknown == 0


def test_the_key_id_of_a_cosigner_is_that_of_the_specification() -> None:
    key = signer("w1").public_key
    expected = SUITE.digest(b"w1\n\x04" + key.data)[:4]
    assert _WITNESS.key_id == expected
    assert str(_WITNESS) == f"w1+{expected.hex()}+{encode_base64(bytes([4]) + key.data)}"


def test_a_cosigned_message_is_that_of_the_specification() -> None:
    text = b"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    assert cosigned_message(text, 1679315147) == b"cosignature/v1\ntime 1679315147\n" + text


def test_both_types_of_signature_verify_and_the_cosignature_carries_its_time() -> None:
    opened = open_note(_NOTE, [_LOG, _WITNESS])
    assert [(v.key, v.time_s) for v in opened.verified] == [(_LOG, None), (_WITNESS, 1_679_315_147)]


def test_signatures_by_unknown_keys_are_ignored_and_counted() -> None:
    assert open_note(_NOTE, [_LOG]).unknown == 1
    assert open_note(_NOTE, []).unknown == 2


def test_a_key_of_the_same_name_or_the_same_id_is_another_key() -> None:
    same_name = VerifierKey.create(SUITE, "sample", KeyType.ED25519, signer("other").public_key)
    same_id = VerifierKey("elsewhere", KeyType.ED25519, _LOG.public_key, _LOG.key_id)
    for key in (same_name, same_id):
        assert open_note(_NOTE, [key]).unknown == 2


def test_one_bad_signature_by_a_known_key_rejects_the_note() -> None:
    good, cosignature = _LINES
    for bad in (
        NoteSignature(good.name, good.key_id, bytes(64)),
        NoteSignature(good.name, good.key_id, good.signature[:-1]),
        NoteSignature(good.name, good.key_id, good.signature + b"\0"),
    ):
        note = SignedNote(_TEXT, (bad, cosignature)).encode()
        with pytest.raises(InvalidProof, match="bad signature"):
            open_note(note, [_LOG, _WITNESS])
        assert open_note(note, [_WITNESS]).unknown == 1


@pytest.mark.parametrize("time_s", [0, 1_679_315_148, MAX_TIMESTAMP_S, MAX_TIMESTAMP_S + 1])
def test_the_time_of_a_cosignature_is_signed(time_s: int) -> None:
    line = _LINES[1]
    forged = NoteSignature(line.name, line.key_id, time_s.to_bytes(8, "big") + line.signature[8:])
    with pytest.raises(InvalidProof, match="bad signature"):
        open_note(SignedNote(_TEXT, (forged,)).encode(), [_WITNESS])


def test_a_cosignature_with_a_time_beyond_the_bound_is_refused_even_if_well_signed() -> None:
    time_s = MAX_TIMESTAMP_S + 1
    signature = signer("w1").sign(cosigned_message(_TEXT.encode(), time_s))
    line = NoteSignature("w1", _WITNESS.key_id, time_s.to_bytes(8, "big") + signature)
    with pytest.raises(InvalidProof, match="bad signature"):
        open_note(SignedNote(_TEXT, (line,)).encode(), [_WITNESS])
    with pytest.raises(ValueError, match="time"):
        cosign_note(SUITE, signer("w1"), "w1", _TEXT, time_s)


def test_a_log_signature_is_no_cosignature_and_the_reverse() -> None:
    as_witness = VerifierKey.create(SUITE, "k", KeyType.COSIGNATURE_V1, signer("k").public_key)
    as_log = VerifierKey.create(SUITE, "k", KeyType.ED25519, signer("k").public_key)
    assert as_witness.key_id != as_log.key_id
    cosignature = cosign_note(SUITE, signer("k"), "k", _TEXT, 7)
    relabelled = NoteSignature("k", as_log.key_id, cosignature.signature)
    with pytest.raises(InvalidProof, match="bad signature"):
        open_note(SignedNote(_TEXT, (relabelled,)).encode(), [as_log])


@given(st.integers(0, len(_NOTE) - 1), st.integers(1, 255))
def test_no_changed_byte_passes(position: int, difference: int) -> None:
    changed = bytearray(_NOTE)
    changed[position] ^= difference
    try:
        opened = open_note(bytes(changed), [_LOG, _WITNESS])
    except (DecodeError, InvalidProof):
        return
    # A line whose name or key id was changed is a line by an unknown key; the text never changes.
    assert opened.text == _TEXT
    assert opened.unknown == 1


@given(names, st.binary(min_size=1, max_size=80))
def test_signature_lines_round_trip(name: str, signature: bytes) -> None:
    line = NoteSignature(name, b"\0\1\2\3", signature)
    assert NoteSignature.parse(line.line()) == line


@given(st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=16))
def test_notes_round_trip(signatures: list[bytes]) -> None:
    note = SignedNote("a\n\nb\n", tuple(NoteSignature("k", b"0123", item) for item in signatures))
    assert SignedNote.parse(note.encode()) == note


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode()))
def test_bytes_are_a_note_in_its_one_encoding_or_a_decode_error(data: bytes) -> None:
    for candidate in (data, b"text\n\n" + data, "text\n\n\u2014 ".encode() + data + b"\n"):
        with contextlib.suppress(DecodeError):
            assert SignedNote.parse(candidate).encode() == candidate


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"\n\n",
        "text\n\n\u2014 k AAAAAAA=".encode(),  # no final newline
        "text\n\u2014 k AAAAAAA=\n".encode(),  # no empty line
        "\n\n\u2014 k AAAAAAA=\n".encode(),  # no text
        b"text\n\n- k AAAAAAA=\n",
        "text\n\n\u2014 k  AAAAAAA=\n".encode(),
        "text\n\n\u2014 k AAAAAAA= \n".encode(),
        "text\n\n\u2014 k+ AAAAAAA=\n".encode(),
        "text\n\n\u2014 \u00a0 AAAAAAA=\n".encode(),
        "text\n\n\u2014  AAAAAAA=\n".encode(),
        "text\n\n\u2014 k AAAA\n".encode(),  # shorter than a key id
        "text\n\n\u2014 k AAAAAA==\n".encode(),  # a key id and nothing else
        "text\n\n\u2014 k AAAAAAB=\n".encode(),  # bits set in the padding
        "text\n\n\u2014 k AAAAAAA\n".encode(),  # no padding
        "text\n\n\u2014 k AAA_AAA=\n".encode(),  # the other alphabet
        "te\rxt\n\n\u2014 k AAAAAAA=\n".encode(),
        "te\0xt\n\n\u2014 k AAAAAAA=\n".encode(),
        b"te\xffxt\n\n\xe2\x80\x94 k AAAAAAA=\n",
        b"te\xed\xa0\x80xt\n\n\xe2\x80\x94 k AAAAAAA=\n",  # a surrogate
        "text\n\n\u2014 k AAAAAAA=\n\n".encode(),
        ("text\n\n" + "\u2014 k AAAAAAA=\n" * 17).encode(),
        ("x" * MAX_NOTE_BYTES + "\n\n\u2014 k AAAAAAA=\n").encode(),
    ],
)
def test_malformed_notes_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        SignedNote.parse(data)


def test_sixteen_signatures_are_accepted() -> None:
    assert (
        len(SignedNote.parse(("text\n\n" + "\u2014 k AAAAAAA=\n" * 16).encode()).signatures) == 16
    )


@given(names, st.sampled_from(KeyType), st.binary(max_size=8))
def test_verifier_keys_round_trip(name: str, key_type: KeyType, seed: bytes) -> None:
    key = VerifierKey.create(SUITE, name, key_type, signer(seed.hex()).public_key)
    assert VerifierKey.parse(SUITE, str(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        _EXAMPLE_KEY.replace("530d903a", "530d903b"),
        _EXAMPLE_KEY.replace("530d903a", "530D903A"),
        _EXAMPLE_KEY.replace("foo", "bar"),
        _EXAMPLE_KEY.replace("foo", "f o"),
        _EXAMPLE_KEY.replace("foo", "f+o"),
        _EXAMPLE_KEY + "=",
        _EXAMPLE_KEY[:-4],
        " " + _EXAMPLE_KEY,
        _EXAMPLE_KEY + "\n",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "k+00000000+",
        "k+00000000+" + encode_base64(bytes([2]) + bytes(32)),  # ECDSA: not spoken
        "k+00000000+" + encode_base64(bytes([1]) + bytes(32)),  # a key of low order
    ],
)
def test_malformed_verifier_keys_are_refused(text: str) -> None:
    with pytest.raises(InvalidKey):
        VerifierKey.parse(SUITE, text)


@pytest.mark.parametrize("space", ["\u2003", "\u00a0", "\u3000", "\u0085", "\u2028", "\t", "\x00"])
def test_key_names_have_no_spaces_of_any_script(space: str) -> None:
    with pytest.raises(InvalidKey):
        VerifierKey.create(SUITE, f"a{space}b", KeyType.ED25519, signer("a").public_key)


def test_only_ed25519_keys_sign_notes() -> None:
    from ledger.keys import SoftwareSigner

    with pytest.raises(InvalidKey):
        sign_note(SUITE, SoftwareSigner.generate("p256"), "k", _TEXT)


@given(st.binary(max_size=100))
def test_base64_has_one_spelling(data: bytes) -> None:
    assert decode_base64(encode_base64(data)) == data


@given(st.text(alphabet="AQgw=+/-_ \n\u0410", max_size=12))
def test_text_is_the_base64_that_we_write_or_a_decode_error(text: str) -> None:
    with contextlib.suppress(DecodeError):
        assert encode_base64(decode_base64(text)) == text
