"""Checkpoints (c2sp.org/tlog-checkpoint): a log's origin, size and root as the text of a signed
note.

The origin is the chain id. Nothing goes into extension lines: a checkpoint of ours has exactly
three lines, and others are refused. A *log signature* (type 0x01, key name = origin) is one
validator's word; *cosignatures* (type 0x04, key name = the validator's, time = block time) by a
quorum are the network's: see `ledger.policy`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ledger.errors import DecodeError, InvalidKey
from ledger.merkle import MAX_TREE_SIZE
from ledger.notes import (
    MAX_SIGNATURES,
    NoteSignature,
    SignedNote,
    check_key_name,
    cosign_note,
    decode_base64,
    encode_base64,
    sign_note,
)
from ledger.suite import HASH_BYTES, Signer, Suite

_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


def parse_decimal(text: str, maximum: int = MAX_TREE_SIZE) -> int:
    """Read an ASCII decimal without leading zeros.

    Raises:
        DecodeError: malformed or above `maximum`.
    """
    if _DECIMAL.fullmatch(text) is None or int(text) > maximum:
        raise DecodeError(f"not a decimal number up to {maximum}: {text[:40]!r}")
    return int(text)


def parse_hash(text: str) -> bytes:
    """Read the base64 of a 32-byte hash.

    Raises:
        DecodeError: not canonical base64 of 32 bytes.
    """
    data = decode_base64(text)
    if len(data) != HASH_BYTES:
        raise DecodeError(f"a hash has {HASH_BYTES} bytes")
    return data


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's state: its origin (the chain id), its number of entries and its RFC 6962 root."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        try:
            check_key_name(self.origin)
        except InvalidKey as error:
            raise ValueError(f"origin: {error}") from None
        if not 0 <= self.size <= MAX_TREE_SIZE or len(self.root) != HASH_BYTES:
            raise ValueError("a checkpoint has a size below 2^63 and a 32-byte root")

    @property
    def text(self) -> str:
        """The note's text: three lines."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"

    @staticmethod
    def parse(text: str) -> Checkpoint:
        """Read a note's text as a checkpoint.

        Raises:
            DecodeError: not exactly origin, size and root.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise DecodeError("a checkpoint has three lines: origin, size and root")
        try:
            return Checkpoint(lines[0], parse_decimal(lines[1]), parse_hash(lines[2]))
        except ValueError as error:
            raise DecodeError(str(error)) from None


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint with signature lines, none of them verified: see
    `ledger.policy.Policy.check`.
    """

    checkpoint: Checkpoint
    signatures: tuple[NoteSignature, ...]

    @property
    def note(self) -> SignedNote:
        """The checkpoint as a signed note."""
        return SignedNote(self.checkpoint.text, self.signatures)

    def encode(self) -> bytes:
        """Return the note as it is served at `/checkpoint`."""
        return self.note.encode()

    @staticmethod
    def parse(data: bytes, *, max_signatures: int = MAX_SIGNATURES) -> SignedCheckpoint:
        """Read a signed checkpoint.

        Raises:
            DecodeError: not a signed note, or its text is not a checkpoint.
        """
        note = SignedNote.parse(data, max_signatures=max_signatures)
        return SignedCheckpoint(Checkpoint.parse(note.text), note.signatures)


def sign_checkpoint(suite: Suite, signer: Signer, checkpoint: Checkpoint) -> NoteSignature:
    """Return the log signature of a validator's log key; the key's name is the origin."""
    return sign_note(suite, signer, checkpoint.origin, checkpoint.text)


def cosign(
    suite: Suite, signer: Signer, name: str, checkpoint: Checkpoint, time_s: int
) -> NoteSignature:
    """Return the cosignature of the witness key called `name` at `time_s` (the block's time, in
    whole seconds).
    """
    return cosign_note(suite, signer, name, checkpoint.text, time_s)
