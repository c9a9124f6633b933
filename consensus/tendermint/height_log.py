"""The write-ahead log of one height: which events go into it, and when they are to be on disk.

Events are logged as they are taken in and saved before the next signature, all that have come since the last one
together. Where the records lie, and their form: `wal`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from consensus.tendermint.effects import SaveWal
from consensus.tendermint.events import Event, ProposalReceived, VoteReceived
from consensus.tendermint.proposals import ProposalKeeper
from consensus.tendermint.vote_keeper import VoteKeeper
from consensus.tendermint.wal import decode_record, encode_record


class HeightLog:
    """Collects records. Attributes are read-only to others."""

    def __init__(self) -> None:
        self.length = 0
        """How many records are in the log, or in a `SaveWal`."""
        self.unsaved: list[bytes] = []
        """Records that no `SaveWal` has carried yet."""
        self.replaying = False

    def add(self, event: Event) -> None:
        """Keep an event for the next `SaveWal`."""
        if not self.replaying:
            self.unsaved.append(encode_record(event))

    def add_received(
        self, proposals: ProposalKeeper, votes: VoteKeeper, first: int, last: int
    ) -> None:
        """Keep what has been received of rounds `first` to `last`, which are being entered or passed."""
        for round in proposals.rounds:
            kept = proposals.get(round)
            if kept is not None and first <= round <= last:
                self.add(ProposalReceived(kept.signed, None, kept.timely))
        for round in votes.rounds:
            if first <= round <= last:
                for signed in votes.votes_of_round(round):
                    self.add(VoteReceived(signed))

    def save(self) -> tuple[SaveWal, ...]:
        """Have everything kept so far saved before what comes next; nothing where nothing is new."""
        if not self.unsaved:
            return ()
        effect = SaveWal(self.length, tuple(self.unsaved))
        self.length += len(self.unsaved)
        self.unsaved.clear()
        return (effect,)

    def replay(self, records: Iterable[bytes], height: int) -> Iterator[Event]:
        """Yield the events of the records that an earlier process has left; what is added meanwhile is there already.

        Raises:
            InvalidWal: the records are damaged, or of another height.
        """
        self.replaying = True
        for record in records:
            yield decode_record(record, height)
            self.length += 1
        self.replaying = False
