"""Votes: what validators sign in a round (arXiv 1807.04938, Algorithm 1: PREVOTE and PRECOMMIT
messages).

`[chain_id, height, round, type, block_id or nil, validator]`, signed as kind `vote`. A vote carries
no time, so that the same vote is the same bytes however often it is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from ledger.codec import Value, decode_array, encode
from ledger.decoding import MAX_ROUND, fields, hash_field, integer, short_text, signature_field
from ledger.suite import PublicKey, Signer, Suite, signed_bytes

KIND: Final = "vote"
MAX_SIGNED_VOTE_BYTES: Final = 512
"""Six short fields and a signature; a longer message is no vote."""


class VoteType(IntEnum):
    """The two steps of a round that votes are for."""

    PREVOTE = 1
    PRECOMMIT = 2


@dataclass(frozen=True, slots=True)
class Vote:
    """A vote for `block_id`, or for nil (None), by the validator of that name."""

    chain_id: str
    height: int
    round: int
    type: VoteType
    block_id: bytes | None
    validator: str

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode(
            (
                self.chain_id,
                self.height,
                self.round,
                int(self.type),
                self.block_id,
                self.validator,
            )
        )

    @staticmethod
    def decode(data: bytes) -> Vote:
        """Read a vote.

        Raises:
            DecodeError: not a vote.
        """
        return _vote_of(decode_array(data, 6, max_bytes=MAX_SIGNED_VOTE_BYTES))

    def signed_bytes(self) -> bytes:
        """Return the bytes that the validator signs."""
        return signed_bytes(KIND, self.encode())


def _vote_of(parts: tuple[Value, ...]) -> Vote:
    chain_id, height, round_, type_, block_id, validator = parts
    return Vote(
        short_text(chain_id, "chain_id"),
        integer(height, "height", 1),
        integer(round_, "round", 0, MAX_ROUND),
        VoteType(integer(type_, "type", 1, 2)),
        None if block_id is None else hash_field(block_id, "block_id"),
        short_text(validator, "validator"),
    )


@dataclass(frozen=True, slots=True)
class SignedVote:
    """A vote with its validator's 64-byte signature: `[vote, signature]`."""

    vote: Vote
    signature: bytes

    def verify(self, suite: Suite, key: PublicKey) -> bool:
        """Tell whether the signature is good under the validator's consensus key."""
        return suite.verify(key, self.vote.signed_bytes(), self.signature)

    def to_value(self) -> Value:
        """Return the value that is encoded; other structures embed it."""
        vote = self.vote
        return (
            (vote.chain_id, vote.height, vote.round, int(vote.type), vote.block_id, vote.validator),
            self.signature,
        )

    @staticmethod
    def from_value(value: Value) -> SignedVote:
        """Read what `to_value` returned.

        Raises:
            DecodeError: not a signed vote.
        """
        vote, signature = fields(value, "signed vote", 2)
        return SignedVote(_vote_of(fields(vote, "vote", 6)), signature_field(signature))

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode(self.to_value())

    @staticmethod
    def decode(data: bytes) -> SignedVote:
        """Read a signed vote; the signature is not verified here.

        Raises:
            DecodeError: not a signed vote.
        """
        return SignedVote.from_value(decode_array(data, 2, max_bytes=MAX_SIGNED_VOTE_BYTES))


def sign_vote(signer: Signer, vote: Vote) -> SignedVote:
    """Sign a vote. Whoever calls this has asked the last-sign guard first."""
    return SignedVote(vote, signer.sign(vote.signed_bytes()))
