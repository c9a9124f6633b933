"""Work that follows from bytes alone, done once for all nodes of a simulation, since they share one process.

Signatures are verified once, transactions and consensus messages are read once, and the hash of a validator set is made
once. Each answer comes from the real function and cannot be changed; only the repetition is saved.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import ledger.application
import node.replica
from consensus.tendermint.messages import decode_message as decode_consensus_message
from ledger.admission import PreparedTransaction
from ledger.suite import SHA256_ED25519, Suite
from ledger.validators import ValidatorSet
from node.messages import decode_message

MAX_REMEMBERED = 100_000

read_frame = lru_cache(8_192)(decode_message)
read_consensus = lru_cache(8_192)(decode_consensus_message)


def remembering_suite() -> Suite:
    """Return the real suite with a memory of verified signatures, good or bad."""
    known: dict[tuple[bytes, bytes, bytes], bool] = {}
    real = SHA256_ED25519.verifiers["ed25519"]

    def verify(key: bytes, message: bytes, signature: bytes) -> bool:
        question = (key, message, signature)
        answer = known.get(question)
        if answer is None:
            if len(known) >= MAX_REMEMBERED:
                known.clear()
            answer = known[question] = real(key, message, signature)
        return answer

    verifiers = {**SHA256_ED25519.verifiers, "ed25519": verify}
    return Suite(SHA256_ED25519.name, SHA256_ED25519.digest, MappingProxyType(verifiers))


@contextlib.contextmanager
def shared_work() -> Iterator[None]:
    """Let all applications share what they read, until the end of the block."""
    application: Any = ledger.application
    replica: Any = node.replica
    real_read = replica.decode_consensus_message
    real_prepare, real_hash = application.prepare_transaction, ValidatorSet.hash
    prepared: dict[tuple[bytes, bool], PreparedTransaction] = {}
    hashes: dict[int, tuple[ValidatorSet, bytes]] = {}

    def prepare(suite: Suite, table: Any, raw: bytes, *, verify: bool = True) -> Any:
        found = prepared.get((raw, verify))
        if found is None:
            found = prepared[raw, verify] = real_prepare(suite, table, raw, verify=verify)
        return found

    def set_hash(self: ValidatorSet, suite: Suite) -> bytes:
        found = hashes.get(id(self))
        if found is None:
            found = hashes[id(self)] = (self, real_hash(self, suite))  # kept, so that its id is
        return found[1]

    application.prepare_transaction = prepare
    replica.decode_consensus_message = read_consensus
    ValidatorSet.hash = set_hash  # type: ignore[method-assign]
    try:
        yield
    finally:
        application.prepare_transaction = real_prepare
        replica.decode_consensus_message = real_read
        ValidatorSet.hash = real_hash  # type: ignore[method-assign]
