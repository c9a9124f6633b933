"""Where a load is prepared: a running network, or one chain in this process. Both offer the same few things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cli.network_setup import Network
from directory.codes import Collection
from ledger.keys import SealingKey
from ledger.suite import Signer
from ledger.transactions import Operation, Transaction


class Ground(Protocol):
    """Everyone's keys, and a ledger that takes transactions."""

    @property
    def network(self) -> Network: ...

    def signer(self, profile: str) -> Signer: ...

    def sealing_key(self, organisation: str) -> SealingKey: ...

    def sign(self, profile: str, operations: Sequence[Operation]) -> Transaction: ...

    def commit(self, profile: str, operations: Sequence[Operation]) -> object:
        """Have the ledger take these operations; return when they have taken effect."""
        ...

    def pending_version(self, profile: str, collection: Collection, identifier: str) -> str:
        """Return the version of an entry that waits for approval, as the profile's node shows it."""
        ...
