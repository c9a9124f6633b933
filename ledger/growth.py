"""Whether one checkpoint extends another: by the log's own tiles, from a server that nobody needs to trust.

Both checkpoints are verified already; the tiles are not. Tiles that do not lead to the newer checkpoint's root are the
server's falsehood and show nothing of the log (`InvalidProof`). Those that do show what the newer log holds in the
place of the older one: if that is not the older root, whoever cosigned both has signed two histories.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ledger import merkle
from ledger.checkpoints import Checkpoint
from ledger.errors import InvalidProof
from ledger.notes import encode_base64
from ledger.suite import Suite
from ledger.tiles import TILE_WIDTH, Tile, TileTree, tile_width


@dataclass(frozen=True, slots=True)
class Growth:
    """What the log of `new` holds in the place of `old`, which is not larger.

    `root` is that of the new log's first `old.size` entries, and `proof` (RFC 6962, section 2.1.2) leads from it to the
    root of `new`.
    """

    old: Checkpoint
    new: Checkpoint
    root: bytes
    proof: tuple[bytes, ...]

    @property
    def extends(self) -> bool:
        """Whether nothing of the old log has been changed or left out."""
        return self.root == self.old.root

    def encode(self) -> bytes:
        """Return sizes, root and proof as JSON: beside the two signed checkpoints, all that shows a fork."""
        fields = {
            "old_size": self.old.size,
            "new_size": self.new.size,
            "root": encode_base64(self.root),
            "proof": [encode_base64(one) for one in self.proof],
        }
        return json.dumps(fields, indent=2).encode() + b"\n"


def verify_growth(suite: Suite, old: Checkpoint, new: Checkpoint, tree: TileTree) -> Growth:
    """Establish from tiles what the log of `new` holds in the place of `old`; of each level two tiles are read at most.

    Raises:
        ValueError: `old` is larger than `new`.
        InvalidProof: the tiles are not those of `new`, or the checkpoints are of two chains.
    """
    if old.origin != new.origin:
        raise InvalidProof("checkpoints of two chains")
    if old.size > new.size:
        raise ValueError(f"a log of {new.size} cannot extend one of {old.size}")
    if old.size == new.size:
        return Growth(old, new, new.root, ())
    root = tree.root(old.size)
    proof = tree.consistency_proof(old.size, new.size) if old.size else ()
    # From the root that the tiles have, not from the old checkpoint's: what fails here is a tile, not the log.
    merkle.verify_consistency(suite, old.size, new.size, proof, root, new.root)
    return Growth(old, new, root, proof)


def entry_tiles(old_size: int, new_size: int) -> Iterator[Tile]:
    """Yield the entry bundles of a log of `new_size` that hold what follows its first `old_size` entries.

    The first of them may hold older entries, too.
    """
    if old_size == new_size:
        return
    for index in range(old_size // TILE_WIDTH, -(-new_size // TILE_WIDTH)):
        yield Tile(None, index, tile_width(new_size, 0, index))


def verify_entries(suite: Suite, growth: Growth, tree: TileTree, entries: Iterable[bytes]) -> int:
    """Check that `entries` are all that the new log has after those of the old one; return how many.

    They are taken one by one, so that there may be more of them than memory holds.

    Raises:
        InvalidProof: one is missing, added, changed or out of order.
    """
    frontier = tree.frontier(growth.old.size)
    if frontier.root(suite) != growth.root:
        raise InvalidProof("the tiles are not those of the checkpoint")
    frontier = frontier.extend(suite, (merkle.leaf_hash(suite, entry) for entry in entries))
    if frontier.size != growth.new.size or frontier.root(suite) != growth.new.root:
        raise InvalidProof("the entries are not those of the checkpoint")
    return frontier.size - growth.old.size
