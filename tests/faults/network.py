"""A network of real processes for fault injection: nodes under a witness, clients that never stop, invariants.

with faulty_network(directory) as network:          # four validators, as `mulu network init` lays them out
    with network.load() as load:                    # acknowledged transactions are remembered
        network.kill("hebei"); …                    # inject
    network.check(load)                             # everything of RELIABILITY's list of invariants
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.network_setup import create_network
from cli.processes import process_family
from ledger.bundle import Bundle
from ledger.errors import LedgerError
from ledger.fsck import check_directory
from ledger.genesis import Genesis
from ledger.history import History
from ledger.light import TrustedView
from ledger.policy import Policy
from ledger.store import Store
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Transaction
from node.cometbft.program import supervised_home
from node.config import ConsensusConfig
from node.operation_table import OPERATIONS
from tests.faults.forked import FORKED, ForkedNode
from tests.faults.relay import Relays
from tests.node.processes import Process, Processes, eventually

MAX_RESIDENT_BYTES = 600 * 1024 * 1024
"""Of a node in these tests: some 150 MiB when idle, and its bounded queues and caches."""

MAX_DESCRIPTORS = 1_000

RECOVERY_S = 60.0
"""After the last fault is healed, everybody commits within this. Generous: the machine may be loaded."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A transaction that a node has called committed, with the times (monotonic clock) of sending and of the answer."""

    transaction: Transaction
    sent_s: float
    acknowledged_s: float


@dataclass
class Load:
    """What clients have seen. `unknown` counts submissions answered by an error or by "not committed"."""

    acknowledged: list[Receipt] = field(default_factory=list)
    unknown: int = 0

    def await_progress(self, count: int, timeout_s: float = RECOVERY_S) -> None:
        """Wait until `count` more transactions have been acknowledged."""
        wanted = len(self.acknowledged) + count
        eventually(lambda: len(self.acknowledged) >= wanted, timeout_s)


@dataclass
class FaultyNetwork(Processes):
    """Processes whose signatures are witnessed, and the check of all invariants.

    `relays` rule over what nodes say to each other; nothing passes them where the network is not `relayed`.
    """

    module: str = "tests.faults.node_under_test"
    relays: Relays = field(default_factory=Relays)
    loads: list[Load] = field(default_factory=list)
    own_interpreter: Path | None = None
    """Home of the node that always has an interpreter of its own: the first that was started."""

    @property
    def validators(self) -> list[str]:
        return [place.name for place in self.network.validators]

    def signatures(self, name: str) -> Path:
        """Return the file of a node's witness."""
        return self.network.directory / f"{name}.signatures"

    def start(
        self,
        *names: str,
        under: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        for name in names:
            witnessed = {"SIGNATURES": str(self.signatures(name)), **(environment or {})}
            super().start(name, under=under, environment=witnessed)

    def _spawn(self, home: Path, under: Sequence[str], environment: Mapping[str, str]) -> Process:
        differing = {name for name, _ in environment.items() ^ os.environ.items()}
        if self.own_interpreter is None:
            self.own_interpreter = home
        needs_own = under or home == self.own_interpreter or supervised_home(home) is not None
        if needs_own or not differing <= FORKED:
            return super()._spawn(home, under, environment)
        return ForkedNode(home, environment)

    def restore(self) -> None:
        """Heal links, let everybody run, and wait until all are ready."""
        self.relays.heal()
        self.resume(*self.running)
        self.start(*(one.name for one in self.network.nodes if one.name not in self.running))
        self.await_ready(*self.running)

    # --- clients ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def load(self, *names: str, pause_s: float = 0.0) -> Iterator[Load]:
        """Submit one transaction after the other through each of the named nodes (default: all) until the end.

        With a pause between them the chain falls idle again and again.
        """
        load, ended = Load(), threading.Event()
        self.loads.append(load)
        threads = [
            threading.Thread(target=self._submit_until, args=(name, load, ended, pause_s))
            for name in names or self.validators
        ]
        for thread in threads:
            thread.start()
        try:
            yield load
        finally:
            ended.set()
            for thread in threads:
                thread.join(60)

    def _submit_until(self, name: str, load: Load, ended: threading.Event, pause_s: float) -> None:
        with self.client(name) as client:
            while not ended.is_set():
                [sent] = self.transactions(1)
                began_s = time.monotonic()
                try:
                    [result] = client.submit([sent.raw], timeout_s=10)
                except LedgerError:
                    load.unknown += 1
                    ended.wait(0.05)  # a node that is down refuses at once: ask again, not at once
                    continue
                if result.status == "committed":
                    load.acknowledged.append(Receipt(sent, began_s, time.monotonic()))
                    ended.wait(pause_s)
                else:
                    load.unknown += 1

    def commit_one(self, name: str, timeout_s: float = RECOVERY_S) -> Transaction:
        """Submit a transaction through a node until it is committed."""
        [sent] = self.transactions(1)
        with self.client(name) as client:

            def committed() -> bool:
                try:
                    [result] = client.submit([sent.raw], timeout_s=10)
                except LedgerError:
                    return False
                return result.status == "committed"

            eventually(committed, timeout_s)
        return sent

    def height(self, name: str) -> int:
        with self.client(name) as client:
            return client.network().height

    def resident_bytes(self, name: str) -> int:
        """Return the memory that a node's process holds; the largest of its processes where it has several."""
        family = process_family(self.running[name].pid)
        statms = [Path(f"/proc/{one}/statm").read_text("ascii").split() for one in family]
        return max(int(pages) for _, pages, *_ in statms) * os.sysconf("SC_PAGE_SIZE")

    # --- invariants ------------------------------------------------------------------------------

    def check(self, *loads: Load, correct: Sequence[str] | None = None) -> None:
        """Check every invariant on nodes that all run; they are stopped at the end.

        `correct` names those that must hold them; default: all that run.
        """
        names = self.check_running(*loads, correct=correct)
        for name in tuple(self.running):
            self.stop(name)
        self.check_signatures()
        self.check_stores(names, *loads)

    def check_running(self, *loads: Load, correct: Sequence[str] | None = None) -> Sequence[str]:
        """Check what can be checked without stopping anybody; return the names of those that must hold it."""
        names = sorted(self.running if correct is None else correct)
        for name in names:  # liveness: each of them brings a transaction to commit
            self.commit_one(name)
        self._await_one_height(names)
        self._check_proofs(names, loads)
        self._check_bounds(names)
        self.check_signatures()
        return names

    def _await_one_height(self, names: Sequence[str]) -> None:
        def agree() -> bool:
            states = set()
            for name in names:
                with self.client(name) as client:
                    status = client.network()
                states.add((status.height, status.app_hash, status.checkpoint_size))
            return len(states) == 1

        eventually(agree, RECOVERY_S)

    def _check_proofs(self, names: Sequence[str], loads: Sequence[Load]) -> None:
        """Receipts of the newest acknowledged transactions verify with nothing but the policy file."""
        policy = Policy.parse(SUITE, (self.network.directory / "policy.txt").read_bytes())
        for name in names:
            with self.client(name, "national-auditor") as auditor:
                for receipt in (one for load in loads for one in load.acknowledged[-2:]):
                    view = auditor.transaction(receipt.transaction.id.hex(), wait_s=10)
                    assert view.status == "committed", f"{name} lacks an acknowledged transaction"
                    evidence = auditor.transaction_evidence(receipt.transaction.id.hex())
                    bundle = Bundle.decode(SUITE, evidence)
                    TrustedView(SUITE, policy).verify_bundle(bundle)

    def _check_bounds(self, names: Sequence[str]) -> None:
        for name in names:
            resident = self.resident_bytes(name)
            assert resident < MAX_RESIDENT_BYTES, f"{name} holds {resident} bytes"
            for process_id in process_family(self.running[name].pid):
                descriptors = len(os.listdir(f"/proc/{process_id}/fd"))
                assert descriptors < MAX_DESCRIPTORS, f"{name} holds {descriptors} descriptors"

    def check_signatures(self) -> None:
        """No key has ever signed two different things for one place."""
        signed: dict[tuple[str, str], str] = {}
        for name in self.validators:
            path = self.signatures(name)
            for line in path.read_text("ascii").splitlines() if path.exists() else ():
                note = json.loads(line)
                place = (note["key"], json.dumps(note["place"]))
                known = signed.setdefault(place, note["signed"])
                assert known == note["signed"], f"{name} signed twice at {note['place']}"

    def check_stores(self, names: Sequence[str], *loads: Load) -> None:
        """Of stopped nodes: agreement, validity, durability and order; and that nobody was convicted."""
        genesis = Genesis.from_json((self.network.directory / "genesis.json").read_bytes())
        block_ids: dict[int, bytes] = {}
        receipts = [one for load in loads for one in load.acknowledged]
        for name in names:
            directory = self.home(name) / "data" / "ledger"
            report = check_directory(directory, genesis, OPERATIONS)
            assert report.ok, f"{name}: {report.problems}"
            store = Store.open(directory)
            try:
                history = History(store, SUITE)
                for height in range(1, report.height + 1):
                    block_id, offences = decided(history, height)
                    assert not offences, f"{name}: evidence at height {height}"
                    known = block_ids.setdefault(height, block_id)
                    assert known == block_id, f"{name} has another block {height}"
                check_receipts(name, history, receipts)
            finally:
                store.close()


def decided(history: History, height: int) -> tuple[bytes, Sequence[object]]:
    """Return the id of a height's block and who is convicted in it, with either engine."""
    decision = history.decision(height)
    if decision is not None:
        return decision.block_id, decision.offences
    block = history.block(height)
    assert block is not None
    return block.id(SUITE), block.evidence


def check_receipts(name: str, history: History, receipts: Sequence[Receipt]) -> None:
    """What was acknowledged is there; and if A was acknowledged before B was sent, A stands before B."""
    places = []
    for receipt in receipts:
        place = history.transaction_index(receipt.transaction.id)
        assert place is not None, f"{name} lacks an acknowledged transaction"
        places.append(place)
    by_acknowledgement = iter(sorted(zip(receipts, places, strict=True), key=_acknowledged_s))
    acknowledged = next(by_acknowledgement, None)
    last_place = -1
    for sent, place in sorted(zip(receipts, places, strict=True), key=_sent_s):
        while acknowledged is not None and _acknowledged_s(acknowledged) < sent.sent_s:
            last_place = max(last_place, acknowledged[1])
            acknowledged = next(by_acknowledgement, None)
        assert last_place < place, (
            f"{name}: a transaction before one acknowledged before it was sent"
        )


def _acknowledged_s(placed: tuple[Receipt, int]) -> float:
    return placed[0].acknowledged_s


def _sent_s(placed: tuple[Receipt, int]) -> float:
    return placed[0].sent_s


@contextlib.contextmanager
def faulty_network(
    directory: Path,
    *,
    query_nodes: Sequence[str] = (),
    consensus: ConsensusConfig | None = None,
    started: bool = True,
    relayed: bool = False,
) -> Iterator[FaultyNetwork]:
    """Lay out a network with four validators, and start it; end it whatever happens."""
    network = create_network(directory / "home", query_nodes=query_nodes, consensus=consensus)
    processes = FaultyNetwork(network)
    try:
        if relayed:
            processes.relays.put_between(network)
        if started:
            names = [place.name for place in network.nodes]
            processes.start(*names)
            processes.await_ready(*names)
        yield processes
    finally:
        processes.close()
        processes.relays.close()


@contextlib.contextmanager
def shared_network(
    directory: Path,
    *,
    query_nodes: Sequence[str] = (),
    consensus: ConsensusConfig | None = None,
    started: bool = True,
    relayed: bool = False,
) -> Iterator[FaultyNetwork]:
    """Make a network for the tests of a module, which check it while it runs; check its stores after the last."""
    with faulty_network(
        directory, query_nodes=query_nodes, consensus=consensus, started=started, relayed=relayed
    ) as network:
        yield network
        network.restore()
        network.check(*network.loads)
