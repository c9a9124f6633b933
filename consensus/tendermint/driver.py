"""The height driver: round machine, vote keeper and proposals of one height behind one function.

`handle(event) -> list[Effect]`, pure: no clock, no disk, no network. The runner's part:

    driver = HeightDriver(suite, chain_id, height, validators, own_name, timeouts)
    run(driver.replay(records, guard.lock_for(height)))     # once, for the first height after a start of the process
    run(driver.handle(StartHeight(height)))                 # unless the replay started it (`driver.started`)
    for event in queue: run(driver.handle(event))

1. One queue, one consumer. `run` carries out all effects of one event, in order, before the next event is handled.
   The answers of the guard (own proposal, own vote) are handled next, before anything else in the queue.
2. Make the driver of height H + 1 when that of H is made (its validator set is known by then): it collects messages
   before it is started. Give messages to the driver of their height; answer older heights from the store; drop those
   of heights beyond, and let block sync find the way there.
3. `InvalidMessage` from `handle` means: nothing has changed, drop the peer that sent this.
4. Send `StatusMessage` (`status()`) to a peer when its link comes up, and to all every second while the height is not
   decided. To a peer's status of our height answer with what `missing(status)` returns. Answer `BodyRequest` from
   `body(block_id)`. While `wanted_bodies` is not empty, ask another peer each second.
5. On `Decide`: finalise, and commit in one synced batch that also deletes the log's records 0 … `wal_length` - 1;
   then `guard.note_decided(height, block_time_ms)`, and start the next driver. The same when block sync brings the
   height. Late votes may still come to the old driver; they do nothing.
6. Non-validators pass `own_name=None`: such a driver follows and decides, and never asks for a signature.
"""

from __future__ import annotations

from collections.abc import Iterable

from consensus.tendermint.effects import Effect
from consensus.tendermint.events import Event
from consensus.tendermint.messages import Message, StatusMessage
from consensus.tendermint.rounds import RoundValue, Step
from consensus.tendermint.timeouts import Timeouts
from ledger.suite import Suite
from ledger.validators import ValidatorSet


class HeightDriver:
    """Decides one height. Attributes are read-only to others."""

    def __init__(
        self,
        suite: Suite,
        chain_id: str,
        height: int,
        validators: ValidatorSet,
        own_name: str | None,
        timeouts: Timeouts | None = None,
    ) -> None: ...

    def handle(self, event: Event) -> list[Effect]:
        """Take in one event; return what is to be done, in order. Events of other heights do nothing.

        Raises:
            InvalidMessage: no correct peer sends this; nothing has changed.
        """
        raise NotImplementedError

    def replay(self, records: Iterable[bytes], lock: RoundValue | None = None) -> list[Effect]:
        """Take in the write-ahead log's records of this height, and the lock that the guard remembers of it.

        Call it first, and once. Returns the effects that are still to be carried out.

        Raises:
            InvalidWal: the records are damaged.
        """
        raise NotImplementedError

    def status(self) -> StatusMessage:
        """Return what we have of this height."""
        raise NotImplementedError

    def missing(self, status: StatusMessage) -> tuple[Message, ...]:
        """Return what a peer with this status lacks of what we have; bodies it asks for itself."""
        raise NotImplementedError

    def body(self, block_id: bytes) -> bytes | None:
        """Return a body of this height, or None."""
        raise NotImplementedError

    @property
    def wanted_bodies(self) -> tuple[bytes, ...]:
        """Block ids whose bodies were asked for with `FetchBody` and have not come."""
        raise NotImplementedError

    @property
    def wal_length(self) -> int:
        """How many records this height has in the write-ahead log."""
        raise NotImplementedError

    @property
    def height(self) -> int:
        raise NotImplementedError

    @property
    def round(self) -> int:
        """The current round; 0 before the start."""
        raise NotImplementedError

    @property
    def step(self) -> Step:
        raise NotImplementedError

    @property
    def started(self) -> bool:
        raise NotImplementedError

    @property
    def decided(self) -> bool:
        raise NotImplementedError

    def describe(self) -> str:
        """Return one line for people and transcripts."""
        raise NotImplementedError
