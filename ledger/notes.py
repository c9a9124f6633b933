"""Signed notes (c2sp.org/signed-note): verifier keys, signature lines, parsing and verification.

Two key types are spoken: 0x01, an Ed25519 signature of the text, and 0x04, a timestamped
cosignature (c2sp.org/tlog-cosignature, Ed25519). Parsing is strict: what is accepted is, byte for
byte, what `SignedNote.encode` writes. Signatures by unknown keys are ignored, as the specification
demands, but they are counted; a bad signature by a known key rejects the whole note.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from ledger.errors import DecodeError, InvalidKey, InvalidProof
from ledger.suite import SIGNATURE_BYTES, PublicKey, Signer, Suite

MAX_SIGNATURES: Final = 16
"""signed-note: verifiers must accept at least 16 signatures; a proof of ours never needs more."""

MAX_NOTE_BYTES: Final = 64 * 1024
"""Far above a checkpoint with 16 signatures (about 3 KiB), far below what would hurt."""

MAX_KEY_NAME_BYTES: Final = 255
"""tlog-cosignature bounds cosigner names and origins alike."""

KEY_ID_BYTES: Final = 4
TIMESTAMP_BYTES: Final = 8
MAX_TIMESTAMP_S: Final = 2**63 - 1
"""tlog-cosignature: a timestamp must not exceed 2^63 - 1."""

_DASH: Final = "\u2014 "
# Unicode's White_Space property is written out: it is stable, but Python's tables are not ours to rely on.
_NO_NAME: Final = re.compile(
    "[\x00-\x20+\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
)
_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f]")


class KeyType(IntEnum):
    """Signature type identifiers of signed-note that we speak."""

    ED25519 = 0x01
    COSIGNATURE_V1 = 0x04


def check_key_name(name: str) -> None:
    """Refuse a key name that no note may carry.

    Raises:
        InvalidKey: empty, too long, or with a space, a control character, a plus sign or ill-formed
            Unicode.
    """
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidKey("a key name is well-formed Unicode") from None
    if not 1 <= length <= MAX_KEY_NAME_BYTES:
        raise InvalidKey(f"a key name has 1 to {MAX_KEY_NAME_BYTES} bytes")
    if _NO_NAME.search(name) is not None:
        raise InvalidKey(
            f"a key name has no spaces, control characters or plus signs: {name[:80]!r}"
        )


def encode_base64(data: bytes) -> str:
    """Return standard base64 with padding (RFC 4648, section 4)."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Read standard base64, refusing every encoding but the one that `encode_base64` writes.

    Raises:
        DecodeError: foreign characters, wrong padding, or bits set in the padding.
    """
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise DecodeError("not base64") from None
    if encode_base64(data) != text:
        raise DecodeError("not canonical base64")
    return data


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A named key that verifies note signatures (signed-note, "Verifier keys")."""

    name: str
    key_type: KeyType
    public_key: PublicKey
    key_id: bytes

    @staticmethod
    def create(suite: Suite, name: str, key_type: KeyType, public_key: PublicKey) -> VerifierKey:
        """Name a key; the key id is computed.

        Raises:
            InvalidKey: a name or key that no note may carry.
        """
        check_key_name(name)
        if public_key.algorithm != "ed25519":
            raise InvalidKey("notes are signed with ed25519 keys")
        public_key.check()
        return VerifierKey(name, key_type, public_key, _key_id(suite, name, key_type, public_key))

    @staticmethod
    def parse(suite: Suite, text: str) -> VerifierKey:
        """Read a vkey, `<name>+<key id, hex>+<base64 of type and key>`.

        Raises:
            InvalidKey: malformed, a type that we do not speak, or a key id that is not the key's.
        """
        parts = text.split("+", 2)  # base64 may hold plus signs, names and ids may not
        if len(parts) != 3:
            raise InvalidKey(f"not a verifier key: {text[:100]!r}")
        name, key_id, encoded = parts
        try:
            data = decode_base64(encoded)
            key_type = KeyType(data[0])
        except (DecodeError, IndexError, ValueError):
            raise InvalidKey(
                f"verifier key of {name[:80]!r} is malformed or of an unknown type"
            ) from None
        key = VerifierKey.create(suite, name, key_type, PublicKey("ed25519", data[1:]))
        if key.key_id.hex() != key_id:
            raise InvalidKey(f"verifier key of {name[:80]!r} has a wrong key id")
        return key

    def __str__(self) -> str:
        """The vkey."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([self.key_type]) + self.public_key.data)}"

    def is_named_by(self, signature: NoteSignature) -> bool:
        """Tell whether a signature line says that it is this key's: by name and key id."""
        return self.key_id == signature.key_id and self.name == signature.name

    def verify(self, suite: Suite, text: bytes, signature: bytes) -> bool:
        """Tell whether `signature` (without key id) is this key's over a note's text."""
        if self.key_type is KeyType.ED25519:
            return suite.verify(self.public_key, text, signature)
        if len(signature) != TIMESTAMP_BYTES + SIGNATURE_BYTES:
            return False
        time_s = int.from_bytes(signature[:TIMESTAMP_BYTES], "big")
        message = cosigned_message(text, time_s) if time_s <= MAX_TIMESTAMP_S else None
        return message is not None and suite.verify(
            self.public_key, message, signature[TIMESTAMP_BYTES:]
        )


def _key_id(suite: Suite, name: str, key_type: KeyType, public_key: PublicKey) -> bytes:
    """signed-note, "Signatures": the first four bytes of H(name ‖ newline ‖ type ‖ key)."""
    return suite.digest(name.encode() + b"\n" + bytes([key_type]) + public_key.data)[:KEY_ID_BYTES]


def cosigned_message(text: bytes, time_s: int) -> bytes:
    """Return what a cosigner signs at `time_s` for a note's text (tlog-cosignature, "Ed25519 signed
    message").
    """
    return b"cosignature/v1\ntime %d\n%s" % (time_s, text)


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line. `signature` is what follows the key id: 64 bytes, or a timestamp and 64
    bytes.
    """

    name: str
    key_id: bytes
    signature: bytes

    @property
    def time_s(self) -> int | None:
        """The time of a cosignature, in seconds since the epoch; None for a line of another shape.
        Not verified.
        """
        if len(self.signature) != TIMESTAMP_BYTES + SIGNATURE_BYTES:
            return None
        return int.from_bytes(self.signature[:TIMESTAMP_BYTES], "big")

    def line(self) -> str:
        """Return the line, without newline."""
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.signature)}"

    @staticmethod
    def parse(line: str) -> NoteSignature:
        """Read a signature line, without newline.

        Raises:
            DecodeError: not a signature line.
        """
        name, space, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not space:
            raise DecodeError("a signature line is a dash, a key name and a signature")
        try:
            check_key_name(name)
        except InvalidKey as error:
            raise DecodeError(str(error)) from None
        data = decode_base64(encoded)
        if len(data) <= KEY_ID_BYTES:
            raise DecodeError("a note signature is longer than its key id")
        return NoteSignature(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A parsed note; nothing is verified. `text` ends in a newline."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """Return the note as it is served and stored."""
        lines = "".join(signature.line() + "\n" for signature in self.signatures)
        return f"{self.text}\n{lines}".encode()

    @staticmethod
    def parse(data: bytes, *, max_signatures: int = MAX_SIGNATURES) -> SignedNote:
        """Read a note.

        Raises:
            DecodeError: not a signed note, or beyond the limits on size and number of signatures.
        """
        if len(data) > MAX_NOTE_BYTES:
            raise DecodeError(f"note of {len(data)} bytes, at most {MAX_NOTE_BYTES}")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError:
            raise DecodeError("a note is UTF-8") from None
        if _CONTROL.search(whole) is not None:
            raise DecodeError("a note has no control characters but newlines")
        text, separator, rest = whole.rpartition("\n\n")
        if not separator or not text or not rest.endswith("\n"):
            raise DecodeError("a note is a text, an empty line and signature lines")
        lines = rest[:-1].split("\n")
        if len(lines) > max_signatures:
            raise DecodeError(f"note with {len(lines)} signatures, at most {max_signatures}")
        return SignedNote(text + "\n", tuple(NoteSignature.parse(line) for line in lines))


@dataclass(frozen=True, slots=True)
class VerifiedSignature:
    """A signature that verified, with the key that made it. `time_s` is set for cosignatures."""

    key: VerifierKey
    signature: NoteSignature
    time_s: int | None


def verify_by_any(
    suite: Suite, text: bytes, signature: NoteSignature, keys: Iterable[VerifierKey]
) -> VerifiedSignature:
    """Verify a signature over a note's text by one of `keys`, all of which its line names.

    A key id is four bytes, so anyone can make a key whose id is that of another key; both are tried.

    Raises:
        InvalidProof: it is the signature of none of them.
    """
    for key in keys:
        if key.verify(suite, text, signature.signature):
            time_s = signature.time_s if key.key_type is KeyType.COSIGNATURE_V1 else None
            return VerifiedSignature(key, signature, time_s)
    raise InvalidProof(f"bad signature by {signature.name[:80]!r}")


def sign_note(suite: Suite, signer: Signer, name: str, text: str) -> NoteSignature:
    """Sign a note's text with a key of type 0x01.

    Raises:
        ValueError: the text does not end in a newline.
        InvalidKey: a name that no note may carry.
    """
    if not text.endswith("\n"):
        raise ValueError("a note's text ends in a newline")
    key = VerifierKey.create(suite, name, KeyType.ED25519, signer.public_key)
    return NoteSignature(name, key.key_id, signer.sign(text.encode()))


def cosign_note(suite: Suite, signer: Signer, name: str, text: str, time_s: int) -> NoteSignature:
    """Cosign a checkpoint's text with a key of type 0x04 at `time_s` (tlog-cosignature, "Ed25519
    signed message").

    Raises:
        ValueError: the text does not end in a newline, or the time is out of range.
        InvalidKey: a name that no note may carry.
    """
    if not text.endswith("\n") or not 0 <= time_s <= MAX_TIMESTAMP_S:
        raise ValueError("a checkpoint's text ends in a newline, and its time is at most 2^63 - 1")
    key = VerifierKey.create(suite, name, KeyType.COSIGNATURE_V1, signer.public_key)
    signature = signer.sign(cosigned_message(text.encode(), time_s))
    return NoteSignature(name, key.key_id, time_s.to_bytes(TIMESTAMP_BYTES, "big") + signature)
