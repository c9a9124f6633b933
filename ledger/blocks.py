"""Blocks: a header, transactions, evidence and the commit of the block before. The id is the hash
of the header.

`header = [version, chain_id, height, time, last_block_id, last_commit_hash, transactions_root,
validators_hash, next_validators_hash, app_hash, evidence_hash, proposer]`. The first block's
`last_block_id` is the genesis hash. `transactions_root` is the RFC 6962 root over the transactions'
bytes; `app_hash` is the root of the log after the block before. A header names everything else in
the block, so the id names the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ledger import merkle
from ledger.codec import Value, decode_array, encode
from ledger.commits import Commit, commit_hash
from ledger.decoding import fields, hash_field, integer, items, short_text
from ledger.errors import DecodeError
from ledger.evidence import DuplicateVoteEvidence, evidence_hash
from ledger.limits import MAX_BLOCK_BYTES, MAX_TRANSACTION_BYTES
from ledger.suite import Suite

KIND: Final = "block"
VERSION: Final = 1

MAX_BLOCK_TRANSACTIONS: Final = 20_000
"""A transaction of one operation has some 250 bytes: more would not fit a block, and indexes stay
small."""

MAX_BLOCK_EVIDENCE: Final = 16
"""More double voters than any set of 22 may hold; the rest waits for the next block."""


@dataclass(frozen=True, slots=True)
class Header:
    """A block's header. `time_ms` is proposed by the proposer and strictly after the last block's."""

    version: int
    chain_id: str
    height: int
    time_ms: int
    last_block_id: bytes
    last_commit_hash: bytes
    transactions_root: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    app_hash: bytes
    evidence_hash: bytes
    proposer: str

    def to_value(self) -> Value:
        """Return the value that is encoded and hashed."""
        return (
            self.version,
            self.chain_id,
            self.height,
            self.time_ms,
            self.last_block_id,
            self.last_commit_hash,
            self.transactions_root,
            self.validators_hash,
            self.next_validators_hash,
            self.app_hash,
            self.evidence_hash,
            self.proposer,
        )

    @staticmethod
    def from_value(value: Value) -> Header:
        """Read what `to_value` returned.

        Raises:
            DecodeError: not a header.
        """
        parts = fields(value, "header", 12)
        return Header(
            integer(parts[0], "version", VERSION, VERSION),
            short_text(parts[1], "chain_id"),
            integer(parts[2], "height", 1),
            integer(parts[3], "time"),
            hash_field(parts[4], "last_block_id"),
            hash_field(parts[5], "last_commit_hash"),
            hash_field(parts[6], "transactions_root"),
            hash_field(parts[7], "validators_hash"),
            hash_field(parts[8], "next_validators_hash"),
            hash_field(parts[9], "app_hash"),
            hash_field(parts[10], "evidence_hash"),
            short_text(parts[11], "proposer"),
        )

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode(self.to_value())

    @staticmethod
    def decode(data: bytes) -> Header:
        """Read an encoded header.

        Raises:
            DecodeError: not a header.
        """
        return Header.from_value(decode_array(data, 12, max_bytes=1024))

    def id(self, suite: Suite) -> bytes:
        """Return the block id."""
        return suite.hash(KIND, self.encode())


@dataclass(frozen=True, slots=True)
class Block:
    """A block's body with its header: `[header, transactions, evidence, last_commit or nil]`.

    `transactions` are encodings; a block of the wrong transactions is decodable, and refused by
    validation.
    """

    header: Header
    transactions: tuple[bytes, ...]
    evidence: tuple[DuplicateVoteEvidence, ...]
    last_commit: Commit | None

    def encode(self) -> bytes:
        """Return the canonical encoding: the body that validators pass around."""
        return encode(
            (
                self.header.to_value(),
                self.transactions,
                tuple(one.to_value() for one in self.evidence),
                None if self.last_commit is None else self.last_commit.to_value(),
            )
        )

    @staticmethod
    def decode(data: bytes) -> Block:
        """Read an encoded block. What the header claims is not checked here; see `check_body`.

        Raises:
            DecodeError: not a block, or beyond a limit.
        """
        header, transactions, evidence, last_commit = decode_array(
            data, 4, max_bytes=MAX_BLOCK_BYTES
        )
        raws = []
        for raw in items(transactions, "transactions", MAX_BLOCK_TRANSACTIONS):
            if type(raw) is not bytes or len(raw) > MAX_TRANSACTION_BYTES:
                raise DecodeError("a block's transaction is a byte string within its limit")
            raws.append(raw)
        return Block(
            Header.from_value(header),
            tuple(raws),
            tuple(
                DuplicateVoteEvidence.from_value(one)
                for one in items(evidence, "evidence", MAX_BLOCK_EVIDENCE)
            ),
            None if last_commit is None else Commit.from_value(last_commit),
        )

    def id(self, suite: Suite) -> bytes:
        """Return the block id: the hash of the header."""
        return self.header.id(suite)

    def check_body(self, suite: Suite) -> None:
        """Check that the body is the one that the header names: transactions, evidence and last
        commit.

        Raises:
            DecodeError: a root or hash differs.
        """
        header = self.header
        if header.transactions_root != transactions_root(suite, self.transactions):
            raise DecodeError("transactions_root is not the root of the block's transactions")
        if header.evidence_hash != evidence_hash(suite, self.evidence):
            raise DecodeError("evidence_hash is not the hash of the block's evidence")
        if header.last_commit_hash != commit_hash(suite, self.last_commit):
            raise DecodeError("last_commit_hash is not the hash of the block's last commit")


def transactions_root(suite: Suite, transactions: Sequence[bytes]) -> bytes:
    """Return the RFC 6962 root over transactions' bytes; of none, the hash of the empty string."""
    return merkle.root(suite, [merkle.leaf_hash(suite, raw) for raw in transactions])
