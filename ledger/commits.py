"""Commits: the precommits of more than two thirds of a validator set for one block, in one round.

`[height, round, block_id, [[validator name, signature], …]]`, sorted by name. A commit holds
precommits for its block only; every one of its signatures must be good, not merely enough of them,
so that nothing alien rides along.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ledger.codec import Value, decode_array, encode
from ledger.decoding import (
    MAX_ROUND,
    fields,
    hash_field,
    integer,
    items,
    short_text,
    signature_field,
)
from ledger.errors import InvalidSignature
from ledger.limits import MAX_VALIDATORS
from ledger.suite import Suite
from ledger.validators import ValidatorSet
from ledger.votes import SignedVote, Vote, VoteType

KIND: Final = "commit"
MAX_COMMIT_BYTES: Final = 8 * 1024
"""22 names of at most 64 characters with their signatures."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A certificate that `block_id` was decided at `height` in `round`."""

    height: int
    round: int
    block_id: bytes
    signatures: tuple[tuple[str, bytes], ...]

    @staticmethod
    def of(votes: Iterable[SignedVote]) -> Commit:
        """Return the commit of these precommits, which must agree in height, round and block.

        Raises:
            ValueError: no votes, or votes of different kinds, or for nil.
        """
        signed = sorted(votes, key=lambda one: one.vote.validator)
        if not signed:
            raise ValueError("a commit needs votes")
        first = signed[0].vote
        what = (first.height, first.round, VoteType.PRECOMMIT, first.block_id)
        if first.block_id is None or any(
            (v.vote.height, v.vote.round, v.vote.type, v.vote.block_id) != what for v in signed
        ):
            raise ValueError("a commit holds precommits for one block in one round")
        return Commit(
            first.height,
            first.round,
            first.block_id,
            tuple((v.vote.validator, v.signature) for v in signed),
        )

    def votes(self, chain_id: str) -> tuple[SignedVote, ...]:
        """Return the precommits that this commit consists of."""
        return tuple(
            SignedVote(
                Vote(
                    chain_id, self.height, self.round, VoteType.PRECOMMIT, self.block_id, validator
                ),
                signature,
            )
            for validator, signature in self.signatures
        )

    def to_value(self) -> Value:
        """Return the value that is encoded; a block embeds it."""
        return (self.height, self.round, self.block_id, self.signatures)

    @staticmethod
    def from_value(value: Value) -> Commit:
        """Read what `to_value` returned.

        Raises:
            DecodeError: not a commit.
        """
        height, round_, block_id, signatures = fields(value, "commit", 4)
        decoded = []
        for item in items(signatures, "signatures", MAX_VALIDATORS):
            name, signature = fields(item, "commit signature", 2)
            decoded.append((short_text(name, "validator"), signature_field(signature)))
        return Commit(
            integer(height, "height", 1),
            integer(round_, "round", 0, MAX_ROUND),
            hash_field(block_id, "block_id"),
            tuple(decoded),
        )

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode(self.to_value())

    @staticmethod
    def decode(data: bytes) -> Commit:
        """Read an encoded commit; signatures are not verified here.

        Raises:
            DecodeError: not a commit.
        """
        return Commit.from_value(decode_array(data, 4, max_bytes=MAX_COMMIT_BYTES))


def commit_hash(suite: Suite, commit: Commit | None) -> bytes:
    """Return the hash for a header's `last_commit_hash`; None (before height 1) is the hash of nil."""
    return suite.hash(KIND, encode(None if commit is None else commit.to_value()))


def verify_commit(suite: Suite, chain_id: str, validators: ValidatorSet, commit: Commit) -> None:
    """Check that more than two thirds of `validators` decided `commit.block_id` at its height.

    Raises:
        InvalidSignature: names out of order or twice, a signer outside the set, a bad signature, or
        no quorum.
    """
    names = [name for name, _ in commit.signatures]
    if any(a >= b for a, b in pairwise(names)):
        raise InvalidSignature("commit: signatures are not sorted by name, or a name occurs twice")
    if not validators.quorum(len(names)):
        raise InvalidSignature(f"commit: {len(names)} of {len(validators)} signatures, no quorum")
    for signed in commit.votes(chain_id):
        validator = validators.get(signed.vote.validator)
        if validator is None:
            raise InvalidSignature(f"commit: {signed.vote.validator} is not a validator")
        if not signed.verify(suite, validator.consensus_key):
            raise InvalidSignature(f"commit: bad signature of {signed.vote.validator}")
