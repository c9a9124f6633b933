"""History: read access to what is committed – blocks, commits, entries, tiles, proofs – and the tip itself.

Transactions' bytes are stored once, in their log entries; a block's record keeps everything else and where its
entries begin. A `History` reads from the live database or from a snapshot of it; from a snapshot, what it answers
never changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from ledger import keyspace, tiles
from ledger.blocks import Block, Header
from ledger.checkpoints import Checkpoint, SignedCheckpoint
from ledger.codec import decode_array, encode
from ledger.commits import Commit
from ledger.database import Reader
from ledger.decisions import Decision, StoredDecision, is_decision
from ledger.decoding import hash_field, integer, items
from ledger.entries import TransactionEntry, decode_entry
from ledger.errors import DamagedStoreError, DecodeError, InvalidProof
from ledger.evidence import DuplicateVoteEvidence
from ledger.merkle import Frontier, leaf_hash, verify_inclusion
from ledger.suite import HASH_BYTES, Suite
from ledger.validators import ValidatorSet

_T = TypeVar("_T")

TIP: Final = keyspace.meta("tip")
"""Key of the tip's record."""

GENESIS: Final = keyspace.meta("genesis")
"""Key of the genesis hash: which chain this database holds."""


@dataclass(frozen=True, slots=True)
class Tip:
    """What the next block builds on. At height 0, genesis: its time, and its hash as block id.

    `validators` decide height + 1, `next_validators` height + 2; `last_validators` decided `height` (None at 0).
    `binding_index` is the log index of the newest entry that binds a state root: a block entry, or genesis at 0;
    the two hashes are the validators hashes that this entry names.
    """

    height: int
    time_ms: int
    block_id: bytes
    app_hash: bytes
    state_root: bytes
    log: Frontier
    binding_index: int
    binding_height: int
    bound_validators_hash: bytes
    bound_next_validators_hash: bytes
    last_validators: ValidatorSet | None
    validators: ValidatorSet
    next_validators: ValidatorSet

    def encode(self) -> bytes:
        """Return the record's encoding; the validator sets have records of their own."""
        return encode(
            (
                self.height,
                self.time_ms,
                self.block_id,
                self.app_hash,
                self.state_root,
                self.log.encode(),
                self.binding_index,
                self.binding_height,
                self.bound_validators_hash,
                self.bound_next_validators_hash,
            )
        )


@dataclass(frozen=True, slots=True)
class BlockRecord:
    """A committed block without its transactions' bytes.

    Its entries are `first_index` … `first_index + entry_count - 1`: transactions first, the block entry last. An
    empty block has none.
    """

    header: Header
    evidence: tuple[DuplicateVoteEvidence, ...]
    last_commit: Commit | None
    first_index: int
    transaction_count: int
    entry_count: int

    @property
    def log_size(self) -> int:
        """The size of the log after this block."""
        return self.first_index + self.entry_count

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode(
            (
                self.header.to_value(),
                tuple(one.to_value() for one in self.evidence),
                None if self.last_commit is None else self.last_commit.to_value(),
                self.first_index,
                self.transaction_count,
                self.entry_count,
            )
        )

    @staticmethod
    def decode(data: bytes) -> BlockRecord:
        """Read a block's record.

        Raises:
            DecodeError: it is something else.
        """
        header, evidence, last_commit, first_index, transaction_count, entry_count = decode_array(
            data, 6
        )
        return BlockRecord(
            Header.from_value(header),
            tuple(DuplicateVoteEvidence.from_value(one) for one in items(evidence, "evidence", 64)),
            None if last_commit is None else Commit.from_value(last_commit),
            integer(first_index, "first_index"),
            integer(transaction_count, "transaction_count"),
            integer(entry_count, "entry_count"),
        )


class History:
    """Committed blocks and the log, over one reader. Reading something that is not there gives None."""

    __slots__ = ("_reader", "_suite", "_tree")

    def __init__(self, reader: Reader, suite: Suite) -> None:
        self._reader = reader
        self._suite = suite
        self._tree = tiles.TileTree(suite, self.read_tile)

    def tip(self) -> Tip | None:
        """Return the tip, or None where there is no chain yet.

        Raises:
            DamagedStoreError: the record, or a validator set, is missing or unreadable.
        """
        encoded = self._reader.get(TIP)
        if encoded is None:
            return None
        try:
            return self._decode_tip(encoded)
        except DecodeError as error:
            raise DamagedStoreError(f"the tip is not readable: {error}") from error

    def _decode_tip(self, encoded: bytes) -> Tip:
        parts = decode_array(encoded, 10)
        height = integer(parts[0], "height")
        log = parts[5]
        if type(log) is not bytes:
            raise DecodeError("the tip's frontier is a byte string")
        return Tip(
            height,
            integer(parts[1], "time"),
            hash_field(parts[2], "block_id"),
            hash_field(parts[3], "app_hash"),
            hash_field(parts[4], "state_root"),
            Frontier.decode(log),
            integer(parts[6], "binding_index"),
            integer(parts[7], "binding_height"),
            hash_field(parts[8], "validators_hash"),
            hash_field(parts[9], "next_validators_hash"),
            self.validators(height) if height else None,
            self.validators(height + 1),
            self.validators(height + 2),
        )

    def validators(self, height: int) -> ValidatorSet:
        """Return the set that decides `height`, from 1 to two above the tip.

        Raises:
            DamagedStoreError: there is none.
        """
        for _, encoded in self._reader.iterate(
            keyspace.VALIDATORS, stop=keyspace.validators(height + 1), reverse=True
        ):
            return _readable(ValidatorSet.decode, encoded)
        raise DamagedStoreError(f"no validator set for height {height}")

    def validator_changes(self, since: int = 1) -> Iterator[tuple[int, ValidatorSet]]:
        """Yield (height, set) for every set that votes first at a height greater than `since`.

        The block entry at that height less one names the set; the set before it cosigned that checkpoint.
        """
        for key, encoded in self._reader.iterate(
            keyspace.VALIDATORS, start=keyspace.validators(since + 1)
        ):
            yield keyspace.number_of(key), _readable(ValidatorSet.decode, encoded)

    def record(self, height: int) -> BlockRecord | None:
        """Return a block's record: its header and where its entries are."""
        encoded = self._reader.get(keyspace.block(height))
        return None if encoded is None else _readable(BlockRecord.decode, encoded)

    def header(self, height: int) -> Header | None:
        """Return a block's header."""
        record = self.record(height)
        return None if record is None else record.header

    def block(self, height: int) -> Block | None:
        """Return a block as it was decided, with its transactions' bytes."""
        record = self.record(height)
        if record is None:
            return None
        return Block(
            record.header,
            tuple(
                entry.transaction
                for entry in self.transactions(
                    record.first_index, record.first_index + record.transaction_count
                )
            ),
            record.evidence,
            record.last_commit,
        )

    def commit(self, height: int) -> Commit | None:
        """Return the commit by which this node decided a height; None where another engine has decided it."""
        encoded = self._reader.get(keyspace.commit(height))
        if encoded is None or is_decision(encoded):
            return None
        return _readable(Commit.decode, encoded)

    def decision(self, height: int) -> Decision | None:
        """Return a block as another engine has decided it; None where the embedded engine has."""
        encoded = self._reader.get(keyspace.commit(height))
        if encoded is None or not is_decision(encoded):
            return None
        block = self.block(height)
        if block is None:
            raise DamagedStoreError(f"block {height} is missing")
        stored = _readable(StoredDecision.decode, encoded)
        header = block.header
        return Decision(
            height,
            header.time_ms,
            stored.block_id,
            header.proposer,
            block.transactions,
            stored.offences,
        )

    def transactions(self, start: int, stop: int) -> Iterator[TransactionEntry]:
        """Yield the entries from log index `start` up to `stop`, all of which are transactions.

        Raises:
            DamagedStoreError: one is missing or something else.
        """
        expected = start
        for index, encoded in self.entries(start, stop):
            entry = _readable(decode_entry, encoded)
            if index != expected or not isinstance(entry, TransactionEntry):
                raise DamagedStoreError(f"entry {expected} is missing or no transaction")
            expected += 1
            yield entry
        if expected != stop:
            raise DamagedStoreError(f"entry {expected} is missing")

    def entry(self, index: int) -> bytes | None:
        """Return the encoding of the log entry at `index`."""
        return self._reader.get(keyspace.entry(index))

    def entries(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Yield (index, encoding) of the log entries from `start` up to `stop`."""
        for key, encoded in self._reader.iterate(
            keyspace.ENTRIES, start=keyspace.entry(start), stop=keyspace.entry(stop)
        ):
            yield keyspace.number_of(key), encoded

    def transaction_index(self, transaction_id: bytes) -> int | None:
        """Return the log index of a transaction's entry by its id."""
        encoded = self._reader.get(keyspace.transaction(transaction_id))
        return None if encoded is None else int.from_bytes(encoded, "big")

    def tile(self, level: int, index: int, width: int = tiles.TILE_WIDTH) -> bytes | None:
        """Return the first `width` hashes of a hash tile; None if the log does not reach so far yet."""
        encoded = self._reader.get(keyspace.tile(level, index))
        length = width * HASH_BYTES
        return None if encoded is None or len(encoded) < length else encoded[:length]

    def entry_bundle(self, index: int, width: int = tiles.TILE_WIDTH) -> bytes | None:
        """Return the bundle of `width` entries under level-0 tile `index`; None if there are fewer."""
        start = index * tiles.TILE_WIDTH
        found = [encoded for _, encoded in self.entries(start, start + width)]
        return tiles.encode_entries(found) if len(found) == width else None

    def read_tile(self, level: int, index: int) -> bytes:
        """Return a stored tile, as `ledger.tiles` asks for it.

        Raises:
            DamagedStoreError: it is missing.
        """
        encoded = self._reader.get(keyspace.tile(level, index))
        if encoded is None:
            raise DamagedStoreError(f"tile {level}/{index} is missing")
        return encoded

    def inclusion_proof(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return the proof that entry `index` is in the log of `size`.

        Raises:
            ValueError: there is no such entry.
        """
        return self._tree.inclusion_proof(index, size)

    def proven_entry(self, index: int, checkpoint: Checkpoint) -> tuple[bytes, tuple[bytes, ...]]:
        """Return an entry, and the proof that it is in the log under a checkpoint, verified.

        Raises:
            ValueError: the log under the checkpoint does not reach so far.
            DamagedStoreError: the entry is missing, or entries and tiles are not those of the checkpoint.
        """
        proof = self.inclusion_proof(index, checkpoint.size)
        entry = self.entry(index)
        if entry is None:
            raise DamagedStoreError(f"entry {index} is missing")
        leaf = leaf_hash(self._suite, entry)
        try:
            verify_inclusion(self._suite, leaf, index, checkpoint.size, proof, checkpoint.root)
        except InvalidProof as error:
            raise DamagedStoreError(f"entry {index} is not the network's: {error}") from None
        return entry, proof

    def checkpoint(self, height: int) -> SignedCheckpoint | None:
        """Return the quorum checkpoint of the log after `height` as this reader holds it.

        A snapshot holds what was written up to its block; see `Application.checkpoint_after`.
        """
        encoded = self._reader.get(keyspace.checkpoint(height))
        return None if encoded is None else _readable(SignedCheckpoint.parse, encoded)

    def newest_checkpoint(self) -> tuple[int, SignedCheckpoint] | None:
        """Return height and quorum checkpoint of the newest stored one."""
        for key, encoded in self._reader.iterate(keyspace.CHECKPOINTS, reverse=True):
            return keyspace.number_of(key), _readable(SignedCheckpoint.parse, encoded)
        return None


def _readable(decode: Callable[[bytes], _T], encoded: bytes) -> _T:
    """Decode what this node once wrote: if it cannot be read, the store is damaged."""
    try:
        return decode(encoded)
    except DecodeError as error:
        raise DamagedStoreError(f"a stored record is not readable: {error}") from error
