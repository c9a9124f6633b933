"""Proofs of logging as one text (c2sp.org/tlog-proof@v1): index, inclusion proof and the signed
checkpoint.

    c2sp.org/tlog-proof@v1
    [extra <base64>]
    index <decimal>
    <base64 hash>          zero or more, leaf's sibling first
    <empty line>
    <signed checkpoint, verbatim>

Such a file stands on its own: with the entry and a policy it can be verified offline, by anyone's
tools.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger import merkle
from ledger.checkpoints import SignedCheckpoint, parse_decimal, parse_hash
from ledger.errors import DecodeError, InvalidProof
from ledger.notes import MAX_NOTE_BYTES, decode_base64, encode_base64
from ledger.policy import Policy, PolicyVerdict
from ledger.suite import Suite

HEADER: Final = "c2sp.org/tlog-proof@v1"

MAX_EXTRA_BYTES: Final = 64 * 1024
"""Extra data are not authenticated; nobody needs much of them."""

MAX_PROOF_BYTES: Final = MAX_NOTE_BYTES + 2 * MAX_EXTRA_BYTES
"""Note, base64 of the extra data, and at most 64 hash lines."""


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A proof that the entry at `index` is in the log that `checkpoint` describes. `extra` is not
    authenticated.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: SignedCheckpoint
    extra: bytes | None = None

    def encode(self) -> bytes:
        """Return the proof's text."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {encode_base64(self.extra)}")
        lines.append(f"index {self.index}")
        lines += [encode_base64(item) for item in self.hashes]
        return "\n".join([*lines, "", ""]).encode() + self.checkpoint.encode()

    @staticmethod
    def parse(data: bytes) -> TlogProof:
        """Read a proof; nothing is verified.

        Raises:
            DecodeError: not a proof of this format.
        """
        if len(data) > MAX_PROOF_BYTES:
            raise DecodeError(f"proof of {len(data)} bytes, at most {MAX_PROOF_BYTES}")
        head, separator, note = data.partition(b"\n\n")
        try:
            header, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise DecodeError("a proof's lines are ASCII") from None
        if header != HEADER or not separator:
            raise DecodeError(f"not a {HEADER}")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = decode_base64(lines.pop(0).removeprefix("extra "))
            if len(extra) > MAX_EXTRA_BYTES:
                raise DecodeError(f"extra data of {len(extra)} bytes, at most {MAX_EXTRA_BYTES}")
        if not lines or not lines[0].startswith("index "):
            raise DecodeError("a proof names its index")
        index = parse_decimal(lines.pop(0).removeprefix("index "))
        if len(lines) > merkle.MAX_PROOF_HASHES:
            raise DecodeError(f"{len(lines)} hashes, at most {merkle.MAX_PROOF_HASHES}")
        hashes = tuple(parse_hash(line) for line in lines)
        return TlogProof(index, hashes, SignedCheckpoint.parse(note), extra)

    def verify(self, suite: Suite, policy: Policy, entry: bytes) -> PolicyVerdict:
        """Verify that `entry` is in a log that satisfies the policy (tlog-proof, "Verifying a tlog
        proof").

        Raises:
            InvalidProof: the policy is not satisfied, or the entry is not where the proof says.
        """
        verdict = policy.check(suite, self.checkpoint)
        if not verdict.satisfied:
            raise InvalidProof(
                "the proof's checkpoint lacks a log signature or a quorum of cosignatures"
            )
        verify_entry(suite, entry, self.index, self.hashes, self.checkpoint)
        return verdict


def verify_entry(
    suite: Suite, entry: bytes, index: int, hashes: tuple[bytes, ...], checkpoint: SignedCheckpoint
) -> None:
    """Verify that `entry` stands at `index` under a checkpoint; its signatures are another matter.

    Raises:
        InvalidProof: it does not.
    """
    leaf = merkle.leaf_hash(suite, entry)
    tree = checkpoint.checkpoint
    merkle.verify_inclusion(suite, leaf, index, tree.size, hashes, tree.root)
