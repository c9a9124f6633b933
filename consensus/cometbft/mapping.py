"""How what CometBFT calls things maps to how the ledger calls them: times, addresses, validators, offences.

| CometBFT | here |
|---|---|
| hash of the block's header | `block_id` |
| time, in nanoseconds | milliseconds, rounded down |
| address: the first 20 bytes of SHA-256 of the Ed25519 key | the validator's name |
| validator updates, power 0 or 1 | the difference of two validator sets |
| `Misbehavior` | an offence at a height, by a validator's name |
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from consensus.cometbft import abci_pb2
from consensus.cometbft.abci_pb2 import Misbehavior, ValidatorUpdate
from consensus.cometbft.errors import InvalidHandover
from ledger.decisions import ReportedOffence
from ledger.evidence import DUPLICATE_VOTE, LIGHT_CLIENT_ATTACK
from ledger.suite import PublicKey
from ledger.validators import Validator, ValidatorSet

ADDRESS_BYTES: Final = 20
POWER: Final = 1
"""Of every validator, as with the embedded engine."""

_OFFENCES: Final = {
    abci_pb2.DUPLICATE_VOTE: DUPLICATE_VOTE,
    abci_pb2.LIGHT_CLIENT_ATTACK: LIGHT_CLIENT_ATTACK,
}


def time_ms(timestamp: Timestamp) -> int:
    """Return a time in milliseconds since 1970, rounded down."""
    return timestamp.seconds * 1000 + timestamp.nanos // 1_000_000


def address_of(key: PublicKey) -> bytes:
    """Return CometBFT's address of a consensus key.

    Raises:
        InvalidHandover: it is not an Ed25519 key: CometBFT validators have no others here.
    """
    return hashlib.sha256(_ed25519(key)).digest()[:ADDRESS_BYTES]


def _ed25519(key: PublicKey) -> bytes:
    if key.algorithm != "ed25519":
        raise InvalidHandover(f"CometBFT cannot use a consensus key of kind {key.algorithm}")
    return key.data


def name_of(address: bytes, validators: ValidatorSet) -> str:
    """Return the validator's name behind an address.

    Raises:
        InvalidHandover: nobody in this set has it.
    """
    for validator in validators:
        if address_of(validator.consensus_key) == address:
            return validator.name
    raise InvalidHandover(f"no validator has the address {address.hex()}")


def validator_update(validator: Validator, power: int = POWER) -> ValidatorUpdate:
    """Return the update that gives a validator's key this power; 0 takes it away."""
    key = abci_pb2.PublicKey(ed25519=_ed25519(validator.consensus_key))
    return ValidatorUpdate(pub_key=key, power=power)


def validator_updates(before: ValidatorSet, after: ValidatorSet) -> list[ValidatorUpdate]:
    """Return the updates that lead from one set to another: who leaves, then who comes, each by name.

    A validator that replaces its key leaves with the old one and comes with the new one.
    """
    old = {str(one.consensus_key) for one in before}
    new = {str(one.consensus_key) for one in after}
    leaving = [validator_update(one, 0) for one in before if str(one.consensus_key) not in new]
    coming = [validator_update(one) for one in after if str(one.consensus_key) not in old]
    return leaving + coming


def offences(
    reported: Iterable[Misbehavior], validators_at: Callable[[int], ValidatorSet], newest: int
) -> tuple[ReportedOffence, ...]:
    """Return what CometBFT reports against validators of heights up to `newest`.

    CometBFT has verified it, and reports each piece once. What names nobody is left out: every node leaves it out.
    """
    found = []
    for one in reported:
        kind = _OFFENCES.get(one.type)
        if kind is None or not 1 <= one.height <= newest:
            continue
        try:
            name = name_of(one.validator.address, validators_at(one.height))
        except InvalidHandover:
            continue
        found.append(ReportedOffence(kind, name, one.height))
    return tuple(found)
