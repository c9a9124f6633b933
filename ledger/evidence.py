"""Evidence of double voting: two votes by one validator for one step of one round that name
different blocks.

Pure: whether evidence is good follows from the two votes and the validator set of their height, so
every node judges alike. `[kind, vote_a, vote_b]`; the votes stand in the order of their encodings,
so that one fault has one encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.codec import Value, decode_array, encode
from ledger.decoding import fields
from ledger.errors import DecodeError, InvalidSignature
from ledger.suite import Suite
from ledger.validators import ValidatorSet
from ledger.votes import SignedVote

KIND: Final = "evidence"
DUPLICATE_VOTE: Final = "duplicate_vote"
LIGHT_CLIENT_ATTACK: Final = "light_client_attack"
"""Two signed headers of one height, shown to light clients: CometBFT reports it, the embedded engine never does."""

MAX_EVIDENCE_BYTES: Final = 2 * 1024
"""Two signed votes."""


@dataclass(frozen=True, slots=True)
class DuplicateVoteEvidence:
    """Two conflicting votes in canonical order; make it with `of`."""

    vote_a: SignedVote
    vote_b: SignedVote

    def __post_init__(self) -> None:
        reason = _no_conflict(self.vote_a, self.vote_b)
        if reason is not None:
            raise ValueError(reason)
        if not self.vote_a.vote.encode() < self.vote_b.vote.encode():
            raise ValueError("votes are not in canonical order")

    @staticmethod
    def of(one: SignedVote, other: SignedVote) -> DuplicateVoteEvidence:
        """Return evidence of two conflicting votes, given in any order.

        Raises:
            ValueError: the votes do not conflict.
        """
        if one.vote.encode() > other.vote.encode():
            one, other = other, one
        return DuplicateVoteEvidence(one, other)

    @property
    def kind(self) -> str:
        """What kind of offence it proves."""
        return DUPLICATE_VOTE

    @property
    def validator(self) -> str:
        """The name of the validator that voted twice."""
        return self.vote_a.vote.validator

    @property
    def height(self) -> int:
        """The height at which it did."""
        return self.vote_a.vote.height

    def verify(self, suite: Suite, chain_id: str, validators: ValidatorSet) -> None:
        """Check both signatures under the validator set of the evidence's height.

        Raises:
            InvalidSignature: of another chain, not a validator at that height, or a bad signature.
        """
        if self.vote_a.vote.chain_id != chain_id:
            raise InvalidSignature("evidence of another chain")
        validator = validators.get(self.validator)
        if validator is None:
            raise InvalidSignature(f"evidence: {self.validator} was not a validator")
        for signed in (self.vote_a, self.vote_b):
            if not signed.verify(suite, validator.consensus_key):
                raise InvalidSignature(f"evidence: bad signature of {self.validator}")

    def to_value(self) -> Value:
        """Return the value that is encoded; a block embeds it."""
        return (DUPLICATE_VOTE, self.vote_a.to_value(), self.vote_b.to_value())

    @staticmethod
    def from_value(value: Value) -> DuplicateVoteEvidence:
        """Read what `to_value` returned.

        Raises:
            DecodeError: not evidence, votes that do not conflict, or not in canonical order.
        """
        kind, vote_a, vote_b = fields(value, "evidence", 3)
        if kind != DUPLICATE_VOTE:
            raise DecodeError("evidence of an unknown kind")
        try:
            return DuplicateVoteEvidence(
                SignedVote.from_value(vote_a), SignedVote.from_value(vote_b)
            )
        except ValueError as error:
            raise DecodeError(f"evidence: {error}") from None

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode(self.to_value())

    @staticmethod
    def decode(data: bytes) -> DuplicateVoteEvidence:
        """Read encoded evidence; signatures are not verified here.

        Raises:
            DecodeError: as `from_value`.
        """
        return DuplicateVoteEvidence.from_value(decode_array(data, 3, max_bytes=MAX_EVIDENCE_BYTES))


def _no_conflict(one: SignedVote, other: SignedVote) -> str | None:
    """Return why two votes do not conflict, or None if they do."""
    a, b = one.vote, other.vote
    if (a.chain_id, a.height, a.round, a.type, a.validator) != (
        b.chain_id,
        b.height,
        b.round,
        b.type,
        b.validator,
    ):
        return "votes of different validators or steps"
    if a.block_id == b.block_id:
        return "votes for the same block"
    return None


def evidence_hash(suite: Suite, evidence: tuple[DuplicateVoteEvidence, ...]) -> bytes:
    """Return the hash for a header's `evidence_hash`: of the array of a block's evidence."""
    return suite.hash(KIND, encode(tuple(one.to_value() for one in evidence)))
