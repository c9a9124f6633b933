"""What the HTTP API works with: the parts of a running node."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ledger.application import Application
from ledger.genesis import Genesis
from ledger.validators import ValidatorSet
from node.config import NodeConfig
from node.engine import Consensus, Pending, Progress, Submissions
from node.index import Index
from node.long_reads import LongReads, SharedAnswers
from node.metrics import Metrics
from node.observation import Damage
from node.outcomes import Outcomes
from node.peers import PeerNetwork
from node.sessions import Sessions
from node.signal import Signal
from node.thread_reads import ThreadReads
from node.watch import Watch

LINK_TABLES: Final = 2
"""Tables of all links of the directory that are kept at a time: each has 300 bytes a link and more."""


class Failure:
    """Where a request that finds the store failing says so, and the node waits to end for it."""

    def __init__(self) -> None:
        self._error: Exception | None = None
        self._told = asyncio.Event()

    def tell(self, error: Exception) -> None:
        self._error = error
        self._told.set()

    async def wait(self) -> None:
        """Wait until there is a failure, and raise it."""
        await self._told.wait()
        assert self._error is not None, "told above"
        raise self._error


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running node. The API reads them and hands transactions to the intake; it changes nothing.

    `damage` tells that the store was found damaged when this process opened it, and what was done.
    `open_streams` counts event streams by organisation.
    """

    config: NodeConfig
    genesis: Genesis
    genesis_json: bytes
    application: Application
    runner: Consensus
    network: PeerNetwork
    mempool: Pending
    intake: Submissions
    outcomes: Outcomes
    sync: Progress
    index: Index
    sessions: Sessions
    proven_signal: Signal
    metrics: Metrics
    watch: Watch
    root: Path
    damage: Damage | None = None
    open_streams: Counter[str] = field(default_factory=Counter)
    long_reads: LongReads = field(default_factory=LongReads)
    thread_reads: ThreadReads = field(default_factory=ThreadReads)
    link_tables: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LINK_TABLES))
    structure_checks: SharedAnswers = field(default_factory=SharedAnswers)
    failure: Failure = field(default_factory=Failure)

    def online(self) -> frozenset[str]:
        """Return the names of the validators that answer, this node included."""
        heard = {self.config.name}
        if not self.runner.status.is_alone:
            heard |= self.network.heard
        return frozenset(v.name for v in self.validators() if v.name in heard)

    def validators(self) -> ValidatorSet:
        """Return the set that decides the next height."""
        return self.application.tip.validators

    def has_quorum(self) -> bool:
        """Tell whether enough validators answer for blocks to be decided."""
        return self.validators().quorum(len(self.online()))

    def stalled(self) -> str | None:
        """Return why no block can be made now, or None."""
        status = self.runner.status
        if status.diverged is not None:
            return status.diverged
        if status.problem is not None:
            return status.problem
        if not self.has_quorum():
            return (
                f"no quorum: {len(self.online())} of {len(self.validators())} validators online, "
                f"{self.validators().quorum_size} needed"
            )
        return None
