"""Evidence: what is needed to verify log entries and states offline, and the file that holds it all but the anchor.

A piece of evidence leads from what it shows to a checkpoint: an entry by its inclusion proof, a state value by its
proof under the state root of a block entry, which is itself such an entry. `ledger.light` verifies it. A bundle holds
several pieces under **one** checkpoint, and every change of validators from its anchor up to that checkpoint.

A bundle file is

    "mulu/bundle/v1\\0" ‖ encoding ‖ digest (32 bytes, over all before it)

    encoding = [version, subject, changes, checkpoint, entries, states, attachments]
    changes = [[entry, index, inclusion, checkpoint, [[name, consensus key, log key, witness key], …]], …]
    entries = [[entry, index, inclusion], …]             ascending by index
    states = [[position in entries, key, value or nil, proof], …]
    attachments = [[name, bytes], …]                     ascending by name

The digest proves nothing to anyone: it tells damage from forgery, whichever byte is hit. What a bundle shows rests on
proofs and signatures alone. Subject and attachments (a credential, a request, a consent) are claims that the layer
which wrote them checks against the entries and states.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ledger.checkpoints import SignedCheckpoint
from ledger.codec import Value, decode, decode_array, encode
from ledger.decoding import fields, hash_field, integer, items, short_text
from ledger.errors import BundleSizeError, DecodeError
from ledger.limits import MAX_ENTRY_BYTES, MAX_VALIDATORS
from ledger.merkle import MAX_PROOF_HASHES
from ledger.state_tree import StateProof
from ledger.suite import HASH_BYTES, Suite, signed_bytes
from ledger.tlog_proof import TlogProof
from ledger.validators import Validator, ValidatorSet

KIND: Final = "bundle"
VERSION: Final = 1

MAX_BUNDLE_BYTES: Final = 8 * 1024 * 1024
"""What the codec decodes at once; a use with all its records is about 30 KiB."""

MAX_CHANGES: Final = 1024
"""Changes of validators since an anchor; a network that changes weekly takes twenty years to reach it."""

MAX_PIECES: Final = 1024
"""Entries, states and attachments, each."""

MAX_KEY_BYTES: Final = 1024
"""Far above the longest state key."""


@dataclass(frozen=True, slots=True)
class EntryEvidence:
    """A log entry, its index and the hashes that lead to the checkpoint's root, leaf's sibling first."""

    entry: bytes
    index: int
    inclusion: tuple[bytes, ...]
    checkpoint: SignedCheckpoint

    def tlog_proof(self) -> TlogProof:
        """Return the same proof in the format that other tools read."""
        return TlogProof(self.index, self.inclusion, self.checkpoint)

    def encode(self) -> bytes:
        """Return the canonical encoding `[entry, index, inclusion, checkpoint]`."""
        return encode((*_entry_value(self), self.checkpoint.encode()))

    @staticmethod
    def decode(data: bytes) -> EntryEvidence:
        """Read what `encode` wrote; nothing is verified.

        Raises:
            DecodeError: not the evidence of an entry.
        """
        *entry, checkpoint = decode_array(data, 4)
        return _entry(tuple(entry), _checkpoint(checkpoint))


@dataclass(frozen=True, slots=True)
class StateEvidence:
    """A state value (its canonical encoding, None if there is none) under the state root of a block entry."""

    key: str
    value: bytes | None
    proof: StateProof
    block: EntryEvidence

    def encode(self, block: bytes | None = None) -> bytes:
        """Return the canonical encoding `[key, value or nil, proof, evidence of the block entry]`.

        `block` is the encoding of that evidence, where the caller has it: many states stand under one block.
        """
        block = self.block.encode() if block is None else block
        return encode((self.key, self.value, self.proof.encode(), block))

    @staticmethod
    def decode(data: bytes) -> StateEvidence:
        """Read what `encode` wrote; nothing is verified.

        Raises:
            DecodeError: not the evidence of a state.
        """
        key, value, proof, block = decode_array(data, 4)
        if type(block) is not bytes:
            raise DecodeError("state evidence: block is not a byte string")
        return _state(key, value, proof, EntryEvidence.decode(block))


@dataclass(frozen=True, slots=True)
class ValidatorChange:
    """A block entry that names another next validator set, under a checkpoint that the old set cosigned.

    The new set's controllers are known to the state only: they are empty here, and no part of the set's hash.
    """

    block: EntryEvidence
    validators: ValidatorSet

    @staticmethod
    def of(block: EntryEvidence, validators: Iterable[Validator]) -> ValidatorChange:
        """Return the change to these validators, leaving out what their hash does not cover."""
        return ValidatorChange(block, ValidatorSet.of(_without_controller(v) for v in validators))

    def encode(self) -> bytes:
        """Return the canonical encoding `[entry, index, inclusion, checkpoint, validators]`."""
        return encode(_change_value(self))

    @staticmethod
    def decode(data: bytes) -> ValidatorChange:
        """Read what `encode` wrote; nothing is verified.

        Raises:
            DecodeError: not a change of validators.
        """
        return _change(decode(data))


@dataclass(frozen=True, slots=True)
class Bundle:
    """Evidence under one checkpoint. Entries ascend by index; the block of each state is one of them.

    `subject` says what the bundle is about, `attachments` are documents by name: neither is proved by the ledger.
    """

    subject: str
    checkpoint: SignedCheckpoint
    changes: tuple[ValidatorChange, ...]
    entries: tuple[EntryEvidence, ...]
    states: tuple[StateEvidence, ...]
    attachments: tuple[tuple[str, bytes], ...] = ()

    def __post_init__(self) -> None:
        if any(a.index >= b.index for a, b in pairwise(self.entries)):
            raise ValueError("entries of a bundle ascend by index")
        if any(entry.checkpoint != self.checkpoint for entry in self.entries):
            raise ValueError("all evidence of a bundle rests on its one checkpoint")
        by_index = {entry.index: entry for entry in self.entries}
        if any(by_index.get(state.block.index) != state.block for state in self.states):
            raise ValueError("the block of each state of a bundle is one of its entries")
        if any(a[0] >= b[0] for a, b in pairwise(self.attachments)):
            raise ValueError("attachments ascend by name")

    @staticmethod
    def of(
        subject: str,
        *,
        changes: Sequence[ValidatorChange] = (),
        entries: Iterable[EntryEvidence] = (),
        states: Sequence[StateEvidence] = (),
        attachments: Iterable[tuple[str, bytes]] = (),
    ) -> Bundle:
        """Bundle evidence that rests on one checkpoint; entries are sorted, and those of the states' blocks added.

        Raises:
            ValueError: no evidence, different checkpoints, or two entries at one index.
        """
        every: dict[int, EntryEvidence] = {}
        for entry in (*entries, *(state.block for state in states)):
            if every.setdefault(entry.index, entry) != entry:
                raise ValueError(f"two entries at index {entry.index}")
        if not every:
            raise ValueError("a bundle holds at least one piece of evidence")
        ordered = tuple(every[index] for index in sorted(every))
        return Bundle(
            subject,
            ordered[0].checkpoint,
            tuple(changes),
            ordered,
            tuple(states),
            tuple(sorted(attachments)),
        )

    def encode(self, suite: Suite) -> bytes:
        """Return the bundle file.

        Raises:
            BundleSizeError: it would be larger than `MAX_BUNDLE_BYTES`, so that nobody could read it.
        """
        position = {entry.index: number for number, entry in enumerate(self.entries)}
        content = signed_bytes(
            KIND,
            encode(
                (
                    VERSION,
                    self.subject,
                    tuple(_change_value(change) for change in self.changes),
                    self.checkpoint.encode(),
                    tuple(_entry_value(entry) for entry in self.entries),
                    tuple(
                        (position[s.block.index], s.key, s.value, s.proof.encode())
                        for s in self.states
                    ),
                    self.attachments,
                )
            ),
        )
        if len(content) + HASH_BYTES > MAX_BUNDLE_BYTES:
            raise BundleSizeError(
                f"bundle of {len(content) + HASH_BYTES} bytes, at most {MAX_BUNDLE_BYTES}"
            )
        return content + suite.digest(content)

    @staticmethod
    def decode(suite: Suite, data: bytes) -> Bundle:
        """Read a bundle file; only its integrity is checked, nothing is verified.

        Raises:
            DecodeError: not a bundle, or damaged.
        """
        if len(data) > MAX_BUNDLE_BYTES:
            raise DecodeError(f"bundle of {len(data)} bytes, at most {MAX_BUNDLE_BYTES}")
        prefix = signed_bytes(KIND, b"")
        content, digest = data[:-HASH_BYTES], data[-HASH_BYTES:]
        if not content.startswith(prefix):
            raise DecodeError("not an evidence bundle")
        if suite.digest(content) != digest:
            raise DecodeError("the bundle is damaged: its digest does not match")
        version, subject, changes, checkpoint, entries, states, attachments = decode_array(
            content[len(prefix) :], 7, max_bytes=MAX_BUNDLE_BYTES
        )
        integer(version, "version", VERSION, VERSION)
        signed = _checkpoint(checkpoint)
        decoded_entries = tuple(
            _entry(value, signed) for value in items(entries, "entries", MAX_PIECES)
        )
        try:
            return Bundle(
                short_text(subject, "subject", MAX_KEY_BYTES),
                signed,
                tuple(_change(value) for value in items(changes, "changes", MAX_CHANGES)),
                decoded_entries,
                tuple(
                    _state_at(value, decoded_entries)
                    for value in items(states, "states", MAX_PIECES)
                ),
                tuple(
                    _attachment(value) for value in items(attachments, "attachments", MAX_PIECES)
                ),
            )
        except ValueError as error:
            raise DecodeError(f"bundle: {error}") from None


def _without_controller(validator: Validator) -> Validator:
    return Validator(
        validator.name, "", validator.consensus_key, validator.log_key, validator.witness_key
    )


def _entry_value(evidence: EntryEvidence) -> tuple[Value, ...]:
    return (evidence.entry, evidence.index, evidence.inclusion)


def _entry(value: Value, checkpoint: SignedCheckpoint) -> EntryEvidence:
    entry, index, inclusion = fields(value, "entry evidence", 3)
    if type(entry) is not bytes or len(entry) > MAX_ENTRY_BYTES:
        raise DecodeError("entry evidence: not an entry")
    hashes = items(inclusion, "inclusion proof", MAX_PROOF_HASHES)
    return EntryEvidence(
        entry,
        integer(index, "index"),
        tuple(hash_field(item, "inclusion proof") for item in hashes),
        checkpoint,
    )


def _checkpoint(value: Value) -> SignedCheckpoint:
    if type(value) is not bytes:
        raise DecodeError("checkpoint: expected a byte string")
    return SignedCheckpoint.parse(value)


def _state(key: Value, value: Value, proof: Value, block: EntryEvidence) -> StateEvidence:
    if type(key) is not str or not 1 <= len(key.encode()) <= MAX_KEY_BYTES:
        raise DecodeError("state evidence: not a key")
    if value is not None and type(value) is not bytes:
        raise DecodeError("state evidence: a value is a byte string or nil")
    if type(proof) is not bytes:
        raise DecodeError("state evidence: proof is not a byte string")
    return StateEvidence(key, value, StateProof.decode(proof), block)


def _state_at(value: Value, entries: tuple[EntryEvidence, ...]) -> StateEvidence:
    position, key, encoding, proof = fields(value, "state evidence", 4)
    return _state(key, encoding, proof, entries[integer(position, "block", 0, len(entries) - 1)])


def _change_value(change: ValidatorChange) -> Value:
    validators = tuple(
        (v.name, str(v.consensus_key), str(v.log_key), str(v.witness_key))
        for v in change.validators.validators
    )
    return (*_entry_value(change.block), change.block.checkpoint.encode(), validators)


def _change(value: Value) -> ValidatorChange:
    *entry, checkpoint, validators = fields(value, "validator change", 5)
    block = _entry(tuple(entry), _checkpoint(checkpoint))
    members = items(validators, "validators", MAX_VALIDATORS)
    try:
        return ValidatorChange(block, ValidatorSet(tuple(_validator(member) for member in members)))
    except ValueError as error:
        raise DecodeError(f"validator change: {error}") from None


def _validator(value: Value) -> Validator:
    name, consensus_key, log_key, witness_key = fields(value, "validator", 4)
    named = (name, "-", consensus_key, log_key, witness_key)
    return _without_controller(Validator.from_value(named))


def _attachment(value: Value) -> tuple[str, bytes]:
    name, content = fields(value, "attachment", 2)
    if type(content) is not bytes:
        raise DecodeError("attachment: content is not a byte string")
    return short_text(name, "attachment"), content
