"""What a node wants of whatever orders its transactions: `node.replica` (the embedded engine) or `node.cometbft`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from consensus.tendermint.messages import StatusMessage
from ledger.admission import Admitted
from node.intake import Refused
from node.messages import PeerMessage
from node.network import PeerLink
from node.observation import UnsignedCheckpoint
from node.workers import Worker

DISAGREES: Final = "this node disagrees with the others about a block and has stopped voting"
CONTRADICTED: Final = (
    "this node disagrees with the others' signed checkpoints: it signs no more of its own, and votes for none of their"
    " blocks"
)
"""Why a node counts as diverged: its consensus core has found it, or others' checkpoints show it."""


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """What health checks and metrics tell about consensus. `problem` says why the engine does not work, or is None.

    `diverged` says what shows that this node's data are not the others', or is None; such a node does not vote.
    `peers` and `address` are those of an engine that has links of its own. Where there is a problem, nothing more is
    known of the engine than the height at which it must be.
    """

    height: int
    round: int
    step: str
    voting: bool
    diverged: str | None
    queued: int
    problem: str | None = None
    peers: int | None = None
    address: str | None = None

    @property
    def is_alone(self) -> bool:
        """Whether the engine has links of its own, and none is up: nobody's vote gets here."""
        return self.peers == 0


@dataclass(frozen=True, slots=True)
class HeightProgress:
    """What an engine knows of the height that is being decided, for the diagnosis.

    `is_started` tells whether it has started here, `is_waiting` whether it should be decided soon. `votes` says whose
    votes have been seen, `untimely` who proposed a block whose time did not fit, where the engine tells.
    """

    is_started: bool
    is_waiting: bool
    is_guard_silent: bool = False
    votes: StatusMessage | None = None
    untimely: str | None = None


class Consensus(Protocol):
    """How far consensus is."""

    @property
    def status(self) -> RunnerStatus: ...


class Pending(Protocol):
    """Transactions that wait for a block."""

    @property
    def size_bytes(self) -> int: ...

    @property
    def fill(self) -> float:
        """How full it is, from 0 to 1."""
        ...

    @property
    def evicted(self) -> int: ...

    def __len__(self) -> int: ...

    def __contains__(self, transaction_id: bytes) -> bool: ...


class Submissions(Protocol):
    """Where clients' transactions come in."""

    async def submit(self, raws: Sequence[bytes]) -> list[Admitted | Refused]:
        """Take in a client's transactions; return what became of each, in order."""
        ...


class Progress(Protocol):
    """How far others are."""

    @property
    def target(self) -> int:
        """The height that others have reached, as far as they say."""
        ...

    @property
    def catching_up(self) -> bool: ...


class Engine(Protocol):
    """Orders transactions and has the application execute them. Everything runs on the event loop."""

    @property
    def runner(self) -> Consensus: ...

    @property
    def mempool(self) -> Pending: ...

    @property
    def intake(self) -> Submissions: ...

    @property
    def sync(self) -> Progress: ...

    @property
    def storage_worker(self) -> Worker: ...

    @property
    def unsigned_checkpoint(self) -> UnsignedCheckpoint | None:
        """The newest checkpoint, where we must not sign it."""
        ...

    def progress(self) -> HeightProgress:
        """Return what is known of the height that is being decided."""
        ...

    async def resume(self) -> None:
        """Take up where the last process stopped, before there are links."""
        ...

    async def run(self) -> None:
        """Run until cancelled; raises what must stop the process."""
        ...

    async def close(self) -> None:
        """End what has begun, and write what was held back."""
        ...

    def link_up(self, link: PeerLink) -> None: ...

    def link_down(self, link: PeerLink) -> None: ...

    async def message_received(self, link: PeerLink, message: PeerMessage) -> None:
        """Take a message; raises `InvalidPeerMessage` where the peer is to be cut off."""
        ...
