"""Log entries: the four kinds of thing that the log holds. Everything committed is one of them.

    ["genesis", version, genesis_hash, state_root, validators_hash]                     index 0
    ["transaction", height, index, code, operation_index or nil, transaction bytes]     code "" = took effect
    ["evidence", height, index, kind, validator, evidence_height]
    ["block", version, height, time, block_id, proposer, validators_hash, next_validators_hash,
     state_root, transaction_count]

A block's entries stand in this order: transactions, evidence, the block entry last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from ledger.codec import Value, decode, encode
from ledger.decoding import fields, hash_field, integer, short_text
from ledger.errors import CODE, DecodeError
from ledger.limits import MAX_ENTRY_BYTES, MAX_OPERATIONS, MAX_TRANSACTION_BYTES

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class GenesisEntry:
    """The first entry of the log: what the chain started from."""

    genesis_hash: bytes
    state_root: bytes
    validators_hash: bytes
    version: int = VERSION

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode(
            ("genesis", self.version, self.genesis_hash, self.state_root, self.validators_hash)
        )


@dataclass(frozen=True, slots=True)
class TransactionEntry:
    """A transaction with its outcome. `code` "" means it took effect; otherwise nothing of it did.

    `operation_index` names the operation that failed; `index` counts a block's transactions from 0.
    """

    height: int
    index: int
    code: str
    operation_index: int | None
    transaction: bytes

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode(
            (
                "transaction",
                self.height,
                self.index,
                self.code,
                self.operation_index,
                self.transaction,
            )
        )


@dataclass(frozen=True, slots=True)
class EvidenceEntry:
    """A validator voted twice at `evidence_height`. `index` counts the block's evidence from 0."""

    height: int
    index: int
    kind: str
    validator: str
    evidence_height: int

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode(
            (
                "evidence",
                self.height,
                self.index,
                self.kind,
                self.validator,
                self.evidence_height,
            )
        )


@dataclass(frozen=True, slots=True)
class BlockEntry:
    """A block's last entry: it binds the state after the block and the validators to the log.

    `validators_hash` is of the set that decided this block and cosigns its checkpoint,
    `next_validators_hash` of the set that decides the next one.
    """

    height: int
    time_ms: int
    block_id: bytes
    proposer: str
    validators_hash: bytes
    next_validators_hash: bytes
    state_root: bytes
    transaction_count: int
    version: int = VERSION

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode(
            (
                "block",
                self.version,
                self.height,
                self.time_ms,
                self.block_id,
                self.proposer,
                self.validators_hash,
                self.next_validators_hash,
                self.state_root,
                self.transaction_count,
            )
        )


Entry: TypeAlias = "GenesisEntry | TransactionEntry | EvidenceEntry | BlockEntry"


def decode_entry(data: bytes) -> Entry:
    """Read a log entry.

    Raises:
        DecodeError: not an entry of any of the four kinds.
    """
    value = decode(data, max_bytes=MAX_ENTRY_BYTES)
    kind = value[0] if type(value) is tuple and value else None
    match kind:
        case "transaction":
            return _transaction_entry(value)
        case "block":
            return _block_entry(value)
        case "evidence":
            return _evidence_entry(value)
        case "genesis":
            return _genesis_entry(value)
        case _:
            raise DecodeError("not a log entry of a known kind")


def _genesis_entry(value: Value) -> GenesisEntry:
    _, version, genesis_hash, state_root, validators_hash = fields(value, "genesis entry", 5)
    return GenesisEntry(
        hash_field(genesis_hash, "genesis_hash"),
        hash_field(state_root, "state_root"),
        hash_field(validators_hash, "validators_hash"),
        integer(version, "version", VERSION, VERSION),
    )


def _transaction_entry(value: Value) -> TransactionEntry:
    _, height, index, code, operation_index, raw = fields(value, "transaction entry", 6)
    if type(code) is not str or (code and CODE.fullmatch(code) is None):
        raise DecodeError("transaction entry: not a code")
    if type(raw) is not bytes or len(raw) > MAX_TRANSACTION_BYTES:
        raise DecodeError("transaction entry: not a transaction")
    if operation_index is not None:
        operation_index = integer(operation_index, "operation_index", 0, MAX_OPERATIONS - 1)
    if (code == "") != (operation_index is None):
        raise DecodeError("transaction entry: a failure, and only one, names its operation")
    return TransactionEntry(
        integer(height, "height", 1), integer(index, "index"), code, operation_index, raw
    )


def _evidence_entry(value: Value) -> EvidenceEntry:
    _, height, index, kind, validator, evidence_height = fields(value, "evidence entry", 6)
    return EvidenceEntry(
        integer(height, "height", 1),
        integer(index, "index"),
        short_text(kind, "kind"),
        short_text(validator, "validator"),
        integer(evidence_height, "evidence_height", 1),
    )


def _block_entry(value: Value) -> BlockEntry:
    parts = fields(value, "block entry", 10)
    return BlockEntry(
        integer(parts[2], "height", 1),
        integer(parts[3], "time"),
        hash_field(parts[4], "block_id"),
        short_text(parts[5], "proposer"),
        hash_field(parts[6], "validators_hash"),
        hash_field(parts[7], "next_validators_hash"),
        hash_field(parts[8], "state_root"),
        integer(parts[9], "transaction_count"),
        integer(parts[1], "version", VERSION, VERSION),
    )
