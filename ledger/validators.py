"""Validators and their sets. Every validator has power one; quorum is more than two thirds: `3 *
votes > 2 * n`.

A set's hash covers what a verifier checks signatures with, and nothing else: `[[name, consensus
key, log key, witness key], …]` sorted by name. The controller, the authority above a jurisdiction,
is known to the state only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from ledger.codec import Value, decode, encode
from ledger.decoding import fields, items, public_key, short_text
from ledger.errors import DecodeError
from ledger.limits import MAX_VALIDATORS, MIN_VALIDATORS
from ledger.suite import PublicKey, Suite

KIND: Final = "validators"


@dataclass(frozen=True, slots=True)
class Validator:
    """One validator: `name` is unique in its set, `controller` the USCC of the authority above it."""

    name: str
    controller: str
    consensus_key: PublicKey
    log_key: PublicKey
    witness_key: PublicKey

    def to_texts(self) -> tuple[str, str, str, str, str]:
        """Return `(name, controller, consensus key, log key, witness key)`, as state and genesis
        hold it.
        """
        return (
            self.name,
            self.controller,
            str(self.consensus_key),
            str(self.log_key),
            str(self.witness_key),
        )

    @staticmethod
    def from_texts(
        name: str, controller: str, consensus_key: str, log_key: str, witness_key: str
    ) -> Validator:
        """Read what `to_texts` returned.

        Raises:
            InvalidKey: a key is malformed or one that no enrolment may accept.
        """
        return Validator(
            name,
            controller,
            PublicKey.parse(consensus_key),
            PublicKey.parse(log_key),
            PublicKey.parse(witness_key),
        )

    @staticmethod
    def from_value(value: Value) -> Validator:
        """Read what `to_texts` returned, decoded from bytes that nobody has checked.

        Raises:
            DecodeError: not a validator.
        """
        name, controller, consensus_key, log_key, witness_key = fields(value, "validator", 5)
        return Validator(
            short_text(name, "validator name"),
            short_text(controller, "controller"),
            public_key(consensus_key, "consensus key"),
            public_key(log_key, "log key"),
            public_key(witness_key, "witness key"),
        )


def is_quorum(votes: int, n: int) -> bool:
    """Tell whether `votes` of `n` validators are more than two thirds."""
    return 3 * votes > 2 * n


def distribution_problem(validators: Sequence[Validator]) -> str | None:
    """Say why a set could not run a chain, or None: its size, or one controller with a third or
    more.
    """
    n = len(validators)
    if not MIN_VALIDATORS <= n <= MAX_VALIDATORS:
        return f"{n} validators; there must be {MIN_VALIDATORS} to {MAX_VALIDATORS}"
    for controller in sorted({validator.controller for validator in validators}):
        share = sum(validator.controller == controller for validator in validators)
        if 3 * share >= n:
            return f"{controller} would control {share} of {n} validators, a third or more"
    return None


@dataclass(frozen=True, slots=True)
class ValidatorSet:
    """Validators sorted by name. Names and keys are unique; make one with `of` from any order."""

    validators: tuple[Validator, ...]
    _by_name: dict[str, Validator] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [validator.name for validator in self.validators]
        if not 1 <= len(names) <= MAX_VALIDATORS:
            raise ValueError(f"{len(names)} validators, expected 1 to {MAX_VALIDATORS}")
        if any(a >= b for a, b in pairwise(names)):
            raise ValueError("validators are not sorted by name, or a name occurs twice")
        keys = [key for v in self.validators for key in (v.consensus_key, v.log_key, v.witness_key)]
        if len(set(keys)) != len(keys):
            raise ValueError("a key occurs twice in the validator set")
        object.__setattr__(self, "_by_name", {v.name: v for v in self.validators})

    @staticmethod
    def of(validators: Iterable[Validator]) -> ValidatorSet:
        """Return the set of these validators.

        Raises:
            ValueError: none or more than `MAX_VALIDATORS`, or a name or a key occurs twice.
        """
        return ValidatorSet(tuple(sorted(validators, key=lambda validator: validator.name)))

    def __len__(self) -> int:
        return len(self.validators)

    def __iter__(self) -> Iterator[Validator]:
        return iter(self.validators)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def get(self, name: str) -> Validator | None:
        """Return the validator of that name, or None."""
        return self._by_name.get(name)

    def quorum(self, votes: int) -> bool:
        """Tell whether `votes` validators are a quorum of this set (more than two thirds)."""
        return is_quorum(votes, len(self.validators))

    @property
    def quorum_size(self) -> int:
        """The smallest number of validators that is a quorum."""
        return 2 * len(self.validators) // 3 + 1

    @property
    def faults_tolerated(self) -> int:
        """f: the greatest number of faulty validators that this set survives (n ≥ 3f + 1)."""
        return (len(self.validators) - 1) // 3

    def proposer(self, height: int, round: int) -> Validator:
        """Return the proposer of a round: index `(height + round) mod n`."""
        return self.validators[(height + round) % len(self.validators)]

    def hash(self, suite: Suite) -> bytes:
        """Return the hash that headers, block entries and policies name this set by."""
        return suite.hash(
            KIND,
            encode(
                tuple(
                    (v.name, str(v.consensus_key), str(v.log_key), str(v.witness_key))
                    for v in self.validators
                )
            ),
        )

    def to_value(self) -> Value:
        """Return the value that is encoded: an array of validators, sorted by name."""
        return tuple(validator.to_texts() for validator in self.validators)

    @staticmethod
    def from_value(value: Value) -> ValidatorSet:
        """Read what `to_value` returned.

        Raises:
            DecodeError: not a validator set, or not sorted.
        """
        members = items(value, "validators", MAX_VALIDATORS)
        try:
            return ValidatorSet(tuple(Validator.from_value(member) for member in members))
        except ValueError as error:
            raise DecodeError(f"validators: {error}") from None

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode(self.to_value())

    @staticmethod
    def decode(data: bytes) -> ValidatorSet:
        """Read an encoded set.

        Raises:
            DecodeError: not the encoding of a validator set.
        """
        return ValidatorSet.from_value(decode(data, max_bytes=64 * 1024))
