"""One chain in this process, over a real synced store: the ledger's own work, without a network around it.

Blocks go through what a validator does with them: check, choose, check the block, finalise, commit.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self, TypeVar

from cli.demo.keyring import Keyring
from cli.demo.world import StoryError, now_ms
from cli.network_setup import Network, create_network, load_network
from directory.codes import Collection
from directory.records import load_record
from ledger.application import Application
from ledger.checkpoint_collector import CheckpointCollector
from ledger.checkpoints import cosign, sign_checkpoint
from ledger.decisions import Decision
from ledger.finalization import FinalizedBlock
from ledger.policy import policy_for
from ledger.proven import ProvenView
from ledger.store import Store
from ledger.suite import Signer
from ledger.transactions import Operation
from node.home import OpenedHome, open_home
from node.operation_table import OPERATIONS

STEPS: Final = ("check", "choose", "check_block", "finalise", "commit")

_T = TypeVar("_T")


@dataclass(slots=True)
class LocalChain(Keyring):
    """A ledger of the sample network's genesis with everyone's keys. `cpu_s` is what each of `STEPS` has cost."""

    network: Network
    store: Store
    application: Application
    homes: dict[str, OpenedHome]
    cpu_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _signers: dict[str, Signer] = field(default_factory=dict)

    @classmethod
    def create(cls, directory: Path) -> Self:
        """Lay out keys and genesis in an empty directory, and open a chain there."""
        create_network(directory)
        return cls.open(directory)

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open the chain of a directory."""
        network = load_network(directory)
        homes = {place.name: open_home(network.node_home(place)) for place in network.validators}
        first = homes[network.validators[0].name]
        store = Store.open(first.home.ledger)
        application = Application(first.genesis, OPERATIONS, store)
        if application.info() is None:
            application.init_chain()
        return cls(network, store, application, homes)

    def close(self) -> None:
        self.store.close()

    # --- ground ----------------------------------------------------------------------------------

    def commit(self, profile: str, operations: Sequence[Operation]) -> FinalizedBlock:
        """Take one transaction through a block of its own.

        Raises:
            StoryError: it failed.
        """
        return self.run_block([self.sign(profile, operations).raw])

    def pending_version(self, profile: str, collection: Collection, identifier: str) -> str:
        """Return the version of an entry that waits for approval."""
        record = load_record(self.application.state, collection, identifier)
        if record is None or record.pending is None:
            raise StoryError(f"nothing of {identifier} waits for approval")
        return record.pending.version.hex()

    # --- blocks ----------------------------------------------------------------------------------

    def run_block(self, transactions: Sequence[bytes]) -> FinalizedBlock:
        """Take transactions through a block and count what each step costs.

        Raises:
            StoryError: one of them failed.
        """
        application, now = self.application, now_ms()
        time_ms = max(now, application.tip.time_ms + 1)
        self._timed(
            "check", lambda: [application.check_transaction(one, now) for one in transactions]
        )
        chosen = self._timed(
            "choose",
            lambda: application.choose_transactions(
                time_ms, transactions, application.genesis.parameters.max_block_bytes
            ),
        )
        if len(chosen) != len(transactions):
            raise StoryError(f"{len(chosen)} of {len(transactions)} transactions fit a block")
        self._timed("check_block", lambda: application.check_block_transactions(time_ms, chosen))
        decision = Decision(
            application.tip.height + 1, time_ms, os.urandom(32), next(iter(self.homes)), chosen
        )
        finalized = self._timed("finalise", lambda: application.finalize_decision(decision))
        failed = next((one for one in finalized.results if not one.succeeded), None)
        if failed is not None:
            raise StoryError(f"a transaction failed: {failed.code}")
        self._timed("commit", lambda: application.commit(finalized, decision))
        return finalized

    def _timed(self, step: str, work: Callable[[], _T]) -> _T:
        started = time.process_time()
        result = work()
        self.cpu_s[step] += time.process_time() - started
        return result

    def prove(self) -> ProvenView:
        """Have all validators vouch for the log as it is, and return the view that this proves."""
        checkpoint, genesis = self.application.checkpoint(), self.application.genesis
        validators = self.application.tip.last_validators or self.application.tip.validators
        policy = policy_for(genesis.suite, validators, genesis.chain_id)
        collector = CheckpointCollector(genesis.suite, policy, checkpoint)
        time_s = self.application.tip.time_ms // 1000
        for name, home in self.homes.items():
            assert home.signers is not None, "a validator's home"
            collector.add(sign_checkpoint(genesis.suite, home.signers.log, checkpoint))
            collector.add(cosign(genesis.suite, home.signers.witness, name, checkpoint, time_s))
        signed = collector.result()
        assert signed is not None, "all have signed"
        proven = self.application.record_checkpoint(signed)
        assert proven is not None, "of the tip"
        return proven


@contextmanager
def local_chain(directory: Path) -> Iterator[LocalChain]:
    """Open the chain of a directory, a new one where it is not there, and close it."""
    chain = LocalChain.open(directory) if directory.exists() else LocalChain.create(directory)
    try:
        yield chain
    finally:
        chain.close()
