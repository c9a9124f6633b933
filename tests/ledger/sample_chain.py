"""A small chain for tests: real entries, tiles, state trees and signatures, without consensus or store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ledger import merkle, state_tree, tiles
from ledger.bundle import EntryEvidence, StateEvidence, ValidatorChange
from ledger.checkpoint_collector import CheckpointCollector
from ledger.checkpoints import Checkpoint, SignedCheckpoint, cosign, sign_checkpoint
from ledger.codec import Value, encode
from ledger.entries import BlockEntry, GenesisEntry, TransactionEntry
from ledger.keys import SoftwareSigner
from ledger.policy import AsOf, Policy, policy_for
from ledger.state_tree import EMPTY_ROOT, Page
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.validators import Validator, ValidatorSet

CHAIN_ID = "sample-000102030405060708090a0b0c0d0e0f"
START_MS = 1_760_000_000_000


def signer(label: str) -> SoftwareSigner:
    """Return the same key for the same label, always."""
    return SoftwareSigner.from_secret("ed25519", hashlib.sha256(label.encode()).digest())


@dataclass(frozen=True)
class Member:
    """A validator with its private keys."""

    name: str
    generation: int = 0

    @property
    def log_signer(self) -> SoftwareSigner:
        return signer(f"log {self.name} {self.generation}")

    @property
    def witness_signer(self) -> SoftwareSigner:
        return signer(f"witness {self.name} {self.generation}")

    @property
    def validator(self) -> Validator:
        return Validator(
            self.name,
            f"controller of {self.name}",
            signer(f"consensus {self.name} {self.generation}").public_key,
            self.log_signer.public_key,
            self.witness_signer.public_key,
        )


FOUNDERS = tuple(Member(name) for name in ("beijing", "hebei", "national", "tianjin"))


def tiles_of(size: int) -> Iterator[tiles.Tile]:
    """Yield every hash tile of a log of `size`, level by level."""
    level = 0
    while hashes := size >> (tiles.TILE_HEIGHT * level):
        for index in range(-(-hashes // tiles.TILE_WIDTH)):
            yield tiles.Tile(level, index, tiles.tile_width(size, level, index))
        level += 1


def validator_set(members: Sequence[Member]) -> ValidatorSet:
    return ValidatorSet.of(member.validator for member in members)


@dataclass(frozen=True)
class Snapshot:
    """The state after one block, and where its block entry stands."""

    pages: Mapping[bytes, Page]
    root: bytes
    values: Mapping[str, bytes]
    index: int


class SampleChain:
    """Grows block by block; `members` cosign what the present block decided."""

    def __init__(self, members: Sequence[Member] = FOUNDERS) -> None:
        self.members = tuple(members)
        self.next_members = self.members
        self.height = 0
        self.time_ms = START_MS
        self.entries: list[bytes] = []
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.frontier = merkle.Frontier()
        self._pages: dict[bytes, Page] = {}
        self._values: dict[str, bytes] = {}
        self._root = EMPTY_ROOT
        self.snapshots: dict[int, Snapshot] = {}
        genesis = GenesisEntry(bytes(32), EMPTY_ROOT, validator_set(members).hash(SUITE))
        self._append([genesis.encode()])

    def _append(self, entries: Sequence[bytes]) -> None:
        hashes = [merkle.leaf_hash(SUITE, entry) for entry in entries]
        self.tiles.update(tiles.append_tiles(SUITE, self.frontier.size, hashes, self.read_tile))
        self.frontier = self.frontier.extend(SUITE, hashes)
        self.entries.extend(entries)

    def read_tile(self, level: int, index: int) -> bytes:
        return self.tiles[level, index]

    def commit(
        self,
        changes: Mapping[str, Value] | None = None,
        *,
        transactions: Sequence[bytes] = (),
        failed: str = "",
        next_members: Sequence[Member] | None = None,
    ) -> int:
        """Commit a block and return its height; `next_members` decide the next one.

        `failed` is the code with which the first operation of each transaction has failed.
        """
        self.members = self.next_members
        self.next_members = tuple(next_members or self.members)
        self.height += 1
        self.time_ms += 1000
        by_hash: dict[bytes, bytes | None] = {}
        for key, value in (changes or {}).items():
            if value is None:
                self._values.pop(key, None)
                by_hash[SUITE.digest(key.encode())] = None
            else:
                self._values[key] = encode(value)
                by_hash[SUITE.digest(key.encode())] = SUITE.digest(self._values[key])
        updated = state_tree.update(SUITE, self._read_page, self._root, sorted(by_hash.items()))
        self._root = updated.root
        for path, page in updated.pages.items():
            if page is None:
                self._pages.pop(path)
            else:
                self._pages[path] = page
        entries = [
            TransactionEntry(self.height, number, failed, 0 if failed else None, raw).encode()
            for number, raw in enumerate(transactions)
        ]
        block = BlockEntry(
            self.height,
            self.time_ms,
            SUITE.digest(b"block %d" % self.height),
            self.members[0].name,
            validator_set(self.members).hash(SUITE),
            validator_set(self.next_members).hash(SUITE),
            self._root,
            len(transactions),
        )
        self._append([*entries, block.encode()])
        self.snapshots[self.height] = Snapshot(
            dict(self._pages), self._root, dict(self._values), len(self.entries) - 1
        )
        return self.height

    def _read_page(self, path: bytes, root: bytes) -> Page:
        page = self._pages[path]
        assert page.root == root
        return page

    @property
    def tree(self) -> Checkpoint:
        return Checkpoint(CHAIN_ID, self.frontier.size, self.frontier.root(SUITE))

    def policy(self) -> Policy:
        """Return the policy of the present validators, as of now."""
        validators = validator_set(self.members)
        as_of = AsOf(self.time_ms // 1000, self.frontier.size, validators.hash(SUITE))
        return policy_for(SUITE, validators, CHAIN_ID, as_of)

    def checkpoint(self, time_s: int | None = None) -> SignedCheckpoint:
        """Return the newest checkpoint with one log signature and a quorum of cosignatures."""
        collector = CheckpointCollector(SUITE, self.policy(), self.tree)
        for member in self.members:
            collector.add(sign_checkpoint(SUITE, member.log_signer, self.tree))
            time = self.time_ms // 1000 if time_s is None else time_s
            collector.add(cosign(SUITE, member.witness_signer, member.name, self.tree, time))
        signed = collector.result()
        assert signed is not None
        return signed

    def entry_evidence(self, index: int, signed: SignedCheckpoint) -> EntryEvidence:
        size = signed.checkpoint.size
        proof = tiles.TileTree(SUITE, self.read_tile).inclusion_proof(index, size)
        return EntryEvidence(self.entries[index], index, proof, signed)

    def state_evidence(
        self, key: str, signed: SignedCheckpoint, height: int | None = None
    ) -> StateEvidence:
        snapshot = self.snapshots[height or self.height]
        proof = state_tree.prove(
            SUITE, lambda path, _: snapshot.pages[path], snapshot.root, SUITE.digest(key.encode())
        )
        block = self.entry_evidence(snapshot.index, signed)
        return StateEvidence(key, snapshot.values.get(key), proof, block)

    def change_evidence(self) -> ValidatorChange:
        """Return the proof that the newest block changed the validators."""
        block = self.entry_evidence(len(self.entries) - 1, self.checkpoint())
        return ValidatorChange.of(block, validator_set(self.next_members))
