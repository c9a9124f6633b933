"""The proven view: the newest state and log that a quorum of validators has vouched for.

After each commit that grows the log a snapshot of the database waits here for its checkpoint. Once a quorum has
cosigned it, that snapshot is what every answer with proof is made from: state proof → block entry → inclusion →
checkpoint. So no answer runs ahead of its proof, on validators and query nodes alike, and nobody holds back
writes for it. See docs/adr/0002-proven-view-by-snapshot.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from ledger.bundle import EntryEvidence
from ledger.checkpoints import SignedCheckpoint
from ledger.codec import Value
from ledger.errors import DamagedStoreError, InvalidProof
from ledger.history import History
from ledger.policy import Policy, policy_for
from ledger.state_store import StateView
from ledger.suite import Suite
from ledger.validators import ValidatorSet

MAX_WAITING_VIEWS: Final = 64
"""Each keeps old versions in LevelDB and a cache of values. Signatures are gathered for fewer heights than these, the
newest: what makes room here could no longer be proved."""


@dataclass(frozen=True, slots=True)
class View:
    """State and log after `height`, under a snapshot. `binding_index` is the entry that binds `state.root`.

    `validators` are those whose checkpoint of it counts. `changes_validators` tells that another set decides the
    next height: light verifiers then need this very checkpoint, so it is kept for ever.
    """

    height: int
    size: int
    root: bytes
    binding_index: int
    state: StateView
    history: History
    validators: ValidatorSet
    changes_validators: bool


@dataclass(frozen=True)
class ProvenView:
    """A view with its quorum checkpoint, and the time in seconds that a quorum vouches for.

    Every proof of a state value goes through the one entry that binds the state root. It is read, proved and verified
    once for a view, and stays in memory: what a disk serves later does not bear on it.
    """

    view: View
    checkpoint: SignedCheckpoint
    time_s: int

    @property
    def height(self) -> int:
        """The height after which the log had this size."""
        return self.view.height

    @property
    def size(self) -> int:
        """The size of the log under the checkpoint."""
        return self.view.size

    @property
    def state(self) -> StateView:
        """The state that the block entry at `binding_index` binds."""
        return self.view.state

    @property
    def history(self) -> History:
        """The log and blocks as of the checkpoint."""
        return self.view.history

    @property
    def binding_index(self) -> int:
        """The log index of the entry that binds the state root: a block entry, or genesis."""
        return self.view.binding_index

    def get(self, key: str) -> Value | None:
        """Return the state's value at `key`."""
        return self.view.state.get(key)

    @cached_property
    def binding(self) -> EntryEvidence:
        """The entry that binds the state root, with its proof.

        Raises:
            DamagedStoreError: entries and tiles are not those of the checkpoint.
        """
        encoded, proof = self.proven_entry(self.binding_index)
        return EntryEvidence(encoded, self.binding_index, proof, self.checkpoint)

    @cached_property
    def binding_encoding(self) -> bytes:
        """The encoding of `binding`."""
        return self.binding.encode()

    def proven_entry(self, index: int) -> tuple[bytes, tuple[bytes, ...]]:
        """Return entry `index` and the proof that it is in the log under this checkpoint, verified.

        Raises:
            ValueError: the log under this checkpoint does not reach so far.
            DamagedStoreError: the store's rows are not those that the network has vouched for.
        """
        return self.view.history.proven_entry(index, self.checkpoint.checkpoint)


class ProvenViews:
    """Views that wait for their checkpoint, and the newest that has one. Changed by one thread, read by all."""

    def __init__(self, suite: Suite, chain_id: str) -> None:
        self._suite = suite
        self._chain_id = chain_id
        self._waiting: dict[int, View] = {}
        self._policies: dict[ValidatorSet, Policy] = {}
        self._proven: ProvenView | None = None

    @property
    def newest(self) -> ProvenView | None:
        """The newest proven view, or None since the start of the process."""
        return self._proven

    def add(self, view: View) -> None:
        """Let the view after a commit wait for its checkpoint."""
        if view.size not in self._waiting and len(self._waiting) >= MAX_WAITING_VIEWS:
            # The oldest, for which no quorum can come any more: after a time without quorums, however long, the
            # next one finds its view here. A snapshot is freed with its last reference.
            del self._waiting[min(self._waiting)]
        self._waiting[view.size] = view

    def record(self, signed: SignedCheckpoint) -> ProvenView | None:
        """Take a checkpoint; return the view that it proves, or None if no view waits for one of this size.

        The proven view only moves forward, or takes a newer time for the same size.

        Raises:
            InvalidProof: of another chain, or not satisfying the policy of its height's validators.
            DamagedStoreError: a quorum vouches for another root: this node's log is not the network's.
        """
        checkpoint = signed.checkpoint
        if checkpoint.origin != self._chain_id:
            raise InvalidProof(f"checkpoint of another log: {checkpoint.origin[:80]}")
        view = self._waiting.get(checkpoint.size)
        if view is None:
            if self._proven is None or self._proven.size != checkpoint.size:
                return None
            view = self._proven.view
        time_s = self.verify(signed, view.size, view.root, view.validators)
        proven = ProvenView(view, signed, time_s)
        self._advance(proven)
        return proven

    def verify(
        self, signed: SignedCheckpoint, size: int, root: bytes, validators: ValidatorSet
    ) -> int:
        """Check a quorum's checkpoint against this node's log; return the time in seconds that it vouches for.

        Raises:
            InvalidProof: not satisfying the validators' policy.
            DamagedStoreError: a quorum vouches for another root: this node's log is not the network's.
        """
        policy = self._policies.get(validators)
        if policy is None:
            policy = policy_for(self._suite, validators, self._chain_id)
            self._policies = {validators: policy}
        verdict = policy.check(self._suite, signed)
        if not verdict.satisfied or verdict.time_s is None:
            raise InvalidProof(f"checkpoint of size {size}: no quorum of its validators")
        if signed.checkpoint.root != root:
            raise DamagedStoreError(
                f"a quorum vouches for another log of size {size}: root "
                f"{signed.checkpoint.root.hex()}, here {root.hex()}"
            )
        return verdict.time_s

    def _advance(self, proven: ProvenView) -> None:
        self._waiting.pop(proven.size, None)
        newest = self._proven
        if newest is not None and (newest.size, newest.time_s) >= (proven.size, proven.time_s):
            return
        self._proven = proven
        self._waiting = {
            size: view
            for size, view in self._waiting.items()
            if size > proven.size or view.changes_validators
        }
