"""Work that follows from bytes alone, done once for all nodes of a simulation, since they share one process.

Signatures are made and verified once, transactions and consensus messages are read once, votes and sets of validators
are encoded once. Each answer comes from the real function, and nobody can change it; only the repetition is saved. The
judge shares no signature with the nodes: it verifies each for itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

import ledger.application
import node.replica
from consensus.tendermint import height_log
from consensus.tendermint.events import Event, VoteReceived
from consensus.tendermint.messages import decode_message as decode_consensus_message
from ledger.admission import PreparedTransaction
from ledger.keys import SoftwareSigner
from ledger.suite import SHA256_ED25519, Suite
from ledger.validators import ValidatorSet
from ledger.votes import Vote
from node.messages import decode_message

MAX_REMEMBERED = 100_000

read_frame = lru_cache(8_192)(decode_message)
read_consensus = lru_cache(8_192)(decode_consensus_message)

_Question: TypeAlias = tuple[bytes, bytes, bytes]


class KnownSignatures:
    """A memory of signatures, good or bad. One that was made here is good."""

    def __init__(self) -> None:
        self._known: dict[_Question, bool] = {}
        self._verify = SHA256_ED25519.verifiers["ed25519"]

    def suite(self) -> Suite:
        """Return the real suite with this memory."""
        verifiers = {**SHA256_ED25519.verifiers, "ed25519": self._remembered}
        return Suite(SHA256_ED25519.name, SHA256_ED25519.digest, MappingProxyType(verifiers))

    def note(self, key: bytes, message: bytes, signature: bytes, good: bool) -> bool:
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[key, message, signature] = good
        return good

    def _remembered(self, key: bytes, message: bytes, signature: bytes) -> bool:
        good = self._known.get((key, message, signature))
        if good is None:
            good = self.note(key, message, signature, self._verify(key, message, signature))
        return good


def by_identity(function: Callable[..., Any]) -> Callable[..., Any]:
    """Remember what a function made of the very same immutable objects."""
    known: dict[tuple[int, ...], tuple[tuple[Any, ...], Any]] = {}

    def remembering(*arguments: Any) -> Any:
        key = tuple(map(id, arguments))
        found = known.get(key)
        if found is None:
            if len(known) >= MAX_REMEMBERED:
                known.clear()
            found = known[key] = (arguments, function(*arguments))  # kept, so that their ids are
        return found[1]

    return remembering


@contextlib.contextmanager
def shared_work() -> Iterator[Suite]:
    """Let all nodes share such work until the end of the block. Gives the suite that they are to use."""
    signatures = KnownSignatures()
    real_sign, real_prepare = SoftwareSigner.sign, ledger.application.prepare_transaction
    prepared: dict[bytes, PreparedTransaction] = {}

    def sign(self: SoftwareSigner, message: bytes) -> bytes:
        signature = real_sign(self, message)
        signatures.note(self.public_key.data, message, signature, True)
        return signature

    def prepare(suite: Suite, table: Any, raw: bytes, *, verify: bool = True) -> Any:
        found = prepared.get(raw)
        if found is None:
            found = real_prepare(suite, table, raw, verify=verify)
            if verify:
                prepared[raw] = found
        return found

    real_record = height_log.encode_record
    vote_record = by_identity(lambda vote: real_record(VoteReceived(vote)))

    def record(event: Event) -> bytes:
        return vote_record(event.vote) if isinstance(event, VoteReceived) else real_record(event)

    replaced: tuple[tuple[Any, str, Any], ...] = (
        (SoftwareSigner, "sign", sign),
        (ledger.application, "prepare_transaction", prepare),
        (node.replica, "decode_consensus_message", read_consensus),
        (height_log, "encode_record", record),
        (ValidatorSet, "hash", by_identity(ValidatorSet.hash)),
        (Vote, "signed_bytes", by_identity(Vote.signed_bytes)),
    )
    real = [getattr(place, name) for place, name, _ in replaced]
    for place, name, function in replaced:
        setattr(place, name, function)
    try:
        yield signatures.suite()
    finally:
        for (place, name, _), function in zip(replaced, real, strict=True):
            setattr(place, name, function)
