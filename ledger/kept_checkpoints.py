"""Which quorum checkpoints a node keeps: the newest, and those after which another set of validators took over.

By the latter a verifier follows the chain from an old anchor. What is recorded waits here until the next block carries
it to the disk.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger import keyspace
from ledger.checkpoints import SignedCheckpoint
from ledger.database import Batch
from ledger.history import History


class KeptCheckpoints:
    """The checkpoints of one store, by the height whose log they vouch for."""

    __slots__ = ("_stored", "_unsaved")

    def __init__(self, stored: History) -> None:
        """`stored` reads the store as it is, not as it was at some height."""
        self._stored = stored
        self._unsaved: dict[int, SignedCheckpoint] = {}

    def keep(self, height: int, signed: SignedCheckpoint) -> None:
        """Take a checkpoint that has been verified."""
        self._unsaved[height] = signed

    def after(self, height: int) -> SignedCheckpoint | None:
        """Return the checkpoint of the log after `height`, written or not."""
        return self._unsaved.get(height) or self._stored.checkpoint(height)

    def missing(self, history: History, size: int) -> Iterator[int]:
        """Yield heights with a log of this size after which validators changed and no checkpoint is kept."""
        for first_height, _ in history.validator_changes():
            height = first_height - 1
            record = history.record(height)
            if record is not None and record.log_size == size and self.after(height) is None:
                yield height

    def changes(self, history: History) -> Batch:
        """Return the writes that bring the store up to date; after them call `written`."""
        batch, unsaved = Batch(), self._unsaved
        if not unsaved:
            return batch
        stored = self._stored.newest_checkpoint()
        heights = sorted({*unsaved, *(() if stored is None else (stored[0],))})
        for height in heights:
            if height == heights[-1] or _changes_validators(history, height):
                if height in unsaved:
                    batch.put(keyspace.checkpoint(height), unsaved[height].encode())
            elif height not in unsaved:
                batch.delete(keyspace.checkpoint(height))
        return batch

    def written(self) -> None:
        """Forget what waited: it is on the disk, or was left out because something newer is."""
        self._unsaved.clear()


def _changes_validators(history: History, height: int) -> bool:
    header = history.header(height)
    return header is not None and header.validators_hash != header.next_validators_hash
