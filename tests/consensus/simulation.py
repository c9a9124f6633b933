"""A whole network in one process, from one seed: real drivers, logs and guards under a virtual clock.

Time, links, disks and crashes are simulated; nothing else is. What stands outside and judges is at the end: agreement,
commits that verify, no double signing by a correct key, growth after healing.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from random import Random

from consensus.tendermint.messages import SignedProposal
from ledger.commits import Commit, verify_commit
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.validators import Validator, ValidatorSet
from ledger.votes import SignedVote, Vote
from tests.consensus.simulated_node import (
    CHAIN_ID,
    START_MS,
    Disk,
    Equivocator,
    Node,
    block_id_of,
    signer_of,
)

NAMES = ("anhui", "beijing", "chongqing", "fujian", "gansu", "hebei", "jilin", "liaoning")


def validator_set(n: int) -> ValidatorSet:
    """Return the first `n` names as validators."""
    return ValidatorSet.of(
        Validator(
            name,
            "-",
            signer_of(name).public_key,
            signer_of(name, "log").public_key,
            signer_of(name, "witness").public_key,
        )
        for name in NAMES[:n]
    )


@dataclass(frozen=True)
class Faults:
    """What may go wrong until the network heals. Probabilities are per message or per write point."""

    loss: float = 0.0
    duplication: float = 0.0
    delay_ms: tuple[int, int] = (5, 40)
    crash: float = 0.0
    wipe_log: float = 0.0
    """Of crashes: those that lose the write-ahead log (the guard's file stays)."""
    partitions: bool = False
    clock_skew_ms: int = 0


class Simulation:
    """Nodes, links and clock, all from one seed."""

    def __init__(
        self,
        seed: int,
        n: int,
        faults: Faults,
        byzantine: int = 0,
        byzantine_names: tuple[str, ...] = (),
        twins: bool = False,
    ) -> None:
        """Make a network of `n`. Faulty nodes are equivocators, or twins: two correct nodes with one key."""
        self.description = f"seed={seed} n={n} byzantine={byzantine} twins={twins} {faults}"
        self.random = Random(seed)
        self.validators = validator_set(n)
        self.names = NAMES[:n]
        self.faults = faults
        self.byzantine = set(self.random.sample(self.names, byzantine))
        if byzantine_names:
            self.byzantine = set(byzantine_names)
        self.hides: Callable[[str, Vote], bool] = lambda to, vote: False
        self.now_ms = START_MS
        self.numbers = count()
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self.cut: Callable[[str, str], bool] = lambda a, b: False
        self._decided: dict[int, bytes] = {}
        self._signed: dict[tuple[str, int, int, int], SignedVote | SignedProposal] = {}
        self.crashes = 0
        self.nodes: dict[str, Node] = {}
        for name in self.names:
            if name not in self.byzantine:
                self.nodes[name] = Node(self, name, Disk())
            elif twins:
                self.nodes[name] = Node(self, name, Disk())
                self.nodes[name + "'"] = Node(self, name + "'", Disk())
            else:
                self.nodes[name] = Equivocator(self, name, Disk())
        for node in self.nodes.values():
            skew_ms = faults.clock_skew_ms
            node.skew_ms = self.random.randint(-skew_ms, skew_ms)

    # ---- clock

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now_ms + delay_ms, next(self._order), action))

    def run(self, duration_ms: int, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass until `until` holds, at most `duration_ms`."""
        end_ms = self.now_ms + duration_ms
        while self._queue and self._queue[0][0] <= end_ms and not until():
            self.now_ms, _, action = heapq.heappop(self._queue)
            action()
        if not until():
            self.now_ms = end_ms

    # ---- links

    def send(self, sender: str, to: str, data: bytes) -> None:
        copies = 1 + (self.random.random() < self.faults.duplication)
        for _ in range(copies):
            if self.random.random() < self.faults.loss:
                continue
            self.at(
                self.random.randint(*self.faults.delay_ms), lambda: self._deliver(sender, to, data)
            )

    def _deliver(self, sender: str, to: str, data: bytes) -> None:
        node = self.nodes[to]
        if node.up and not self.cut(sender, to):
            node.guarded(lambda: node.receive(sender, data))

    def send_block(self, sender: str, to: str, block: tuple[bytes, bytes, Commit]) -> None:
        node = self.nodes[to]

        def deliver() -> None:
            if node.up and not self.cut(sender, to):
                node.guarded(lambda: node.receive_block(sender, *block))

        if not self.is_faulty(sender) and self.random.random() >= self.faults.loss:
            self.at(self.random.randint(*self.faults.delay_ms), deliver)

    def _repartition(self) -> None:
        """Cut links in one of several shapes, or none, and again after a while."""
        if not self.faults.partitions:
            self.cut = lambda a, b: False
            return
        order = list(self.nodes)
        self.random.shuffle(order)
        place = {name: i for i, name in enumerate(order)}
        n = len(order)
        shapes: list[Callable[[str, str], bool]] = [
            lambda a, b: False,
            lambda a, b: (place[a] < n // 2) != (place[b] < n // 2),  # halves
            lambda a, b: (place[a] == 0) != (place[b] == 0),  # one alone
            lambda a, b: place[a] == 0,  # one that is heard by nobody
            lambda a, b: (place[a] - place[b]) % n not in (1, n - 1),  # ring
        ]
        self.cut = self.random.choice(shapes)
        self.at(self.random.randint(500, 6_000), self._repartition)

    # ---- faults

    def start(self) -> None:
        for node in self.nodes.values():
            node.start()
        self._repartition()

    def crashed(self, node: Node) -> None:
        self.crashes += 1
        node.stop()
        if self.random.random() < self.faults.wipe_log:
            node.disk.wal.clear()
        self.at(self.random.randint(10, 5_000), lambda: None if node.up else node.start())

    def heal(self) -> None:
        """End all faults but those of faulty nodes."""
        self.faults = Faults(delay_ms=(5, 40), clock_skew_ms=self.faults.clock_skew_ms)
        self.cut = lambda a, b: False
        for node in self.nodes.values():
            if not node.up:
                node.start()

    # ---- judges

    def is_faulty(self, address: str) -> bool:
        return address.rstrip("'") in self.byzantine

    @property
    def correct(self) -> list[Node]:
        return [node for address, node in self.nodes.items() if not self.is_faulty(address)]

    def heights(self) -> list[int]:
        return [node.disk.height for node in self.correct]

    def known_ids(self, height: int) -> list[bytes]:
        """Return block ids that a faulty node may have heard of."""
        return [
            kept.block_id
            for node in self.nodes.values()
            if node.up and node.driver.height == height
            for r in node.driver._proposals.rounds
            if (kept := node.driver._proposals.get(r)) is not None
        ]

    def note_commit(self, node: Node, commit: Commit, block_id: bytes, body: bytes) -> None:
        """Agreement, and commits that verify."""
        if self.is_faulty(node.address):
            return
        verify_commit(SUITE, CHAIN_ID, self.validators, commit)
        assert commit.block_id == block_id == block_id_of(body), self.description
        decided = self._decided.setdefault(commit.height, block_id)
        assert decided == block_id, f"two blocks at height {commit.height}: {self.description}"

    def note_signature(
        self, name: str, height: int, round: int, step: int, signed: SignedVote | SignedProposal
    ) -> None:
        """No double signing by a correct key."""
        if self.is_faulty(name):
            return
        known = self._signed.setdefault((name, height, round, step), signed)
        assert known == signed, f"{name} signed twice: {self.description}"

    def check_evidence(self) -> None:
        """Evidence names faulty nodes only, and verifies."""
        for node in self.correct:
            for evidence in node.evidence:
                evidence.verify(SUITE, CHAIN_ID, self.validators)
                assert evidence.validator in self.byzantine, self.description

    def check_recovery(self, growth: int = 3) -> None:
        """Heal, and require `growth` more heights on every correct node within ten minutes."""
        self.heal()
        target = max(self.heights()) + growth
        self.run(600_000, until=lambda: min(self.heights()) >= target)
        self.check_evidence()
        assert min(self.heights()) >= target, f"{self.heights()} after healing: {self.description}"


QUIET = Faults()
LOSSY = Faults(loss=0.25, duplication=0.1, delay_ms=(1, 400))
CRASHING = Faults(crash=0.01, delay_ms=(5, 60))
PARTITIONED = Faults(partitions=True, loss=0.02, delay_ms=(20, 150))
EVERYTHING = Faults(
    loss=0.1,
    duplication=0.1,
    delay_ms=(1, 250),
    crash=0.004,
    wipe_log=0.2,
    partitions=True,
    clock_skew_ms=2_000,
)


def main() -> None:
    """Run many seeds: `python -m tests.consensus.simulation --seeds 0..100 [--nodes 4] [--seconds 20]`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seeds", default="0..20", help="first..last, or one seed")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=20, help="of the phase with faults")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("..")
    f = (options.nodes - 1) // 3
    for seed in range(int(first), int(last or first) + 1):
        for faults in (QUIET, LOSSY, CRASHING, PARTITIONED, EVERYTHING):
            for byzantine, twins in ((0, False), (f, False), (f, True)):
                simulation = Simulation(seed, options.nodes, faults, byzantine, twins=twins)
                print(simulation.description, end=" ", flush=True)
                simulation.start()
                simulation.run(options.seconds * 1000)
                simulation.check_recovery()
                print(f"heights {simulation.heights()} crashes {simulation.crashes}")


if __name__ == "__main__":
    main()
