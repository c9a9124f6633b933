"""The demonstration's network and people: submit as somebody, ask another node for the proof, stop everything."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cli import sample
from cli.demo.keyring import Keyring
from cli.demo.wallet_process import WalletProcess
from cli.directory_approval import pending_version
from cli.network_setup import Network, create_network
from cli.processes import python_environment, spawn_node, start_failure, terminate, wait_until_ready
from cli.proofs import verify_transaction_proof
from cli.window import Case
from directory.codes import Collection
from ledger.operations import Body, body_value
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519, Signer
from ledger.transactions import Operation
from node.answers import NetworkStatus, SubmissionResult
from node.client import NodeClient
from node.config import ConsensusConfig, EngineName

_READY_S: Final = 120.0
_PROOF_S: Final = 20.0
_AUDITOR: Final = "national-auditor"


class StoryError(Exception):
    """A step did not go as the story says."""


@dataclass(slots=True)
class Facts:
    """What steps find out and later steps need."""

    matter_transaction: str = ""
    license_transaction: str = ""
    package: Path = Path()
    handle: str = ""
    case: Case | None = None
    use_transaction: str = ""
    use_time_ms: int = 0
    presentation: str = ""
    kept_transaction: str = ""


@dataclass(slots=True)
class World(Keyring):
    """A running network with everyone's keys."""

    directory: Path
    engine: EngineName
    network: Network
    policy: Policy
    processes: dict[str, subprocess.Popen[bytes]]
    facts: Facts = field(default_factory=Facts)
    wallet: WalletProcess | None = None
    transactions: int = 0
    _signers: dict[str, Signer] = field(default_factory=dict)
    _clients: dict[tuple[str, str], NodeClient] = field(default_factory=dict)

    @staticmethod
    def create(
        directory: Path,
        engine: EngineName,
        validators: Sequence[str] = sample.VALIDATORS,
        more: Sequence[sample.SampleOrganisation] = (),
    ) -> World:
        """Lay out the network, with `more` organisations than the sample's; nothing runs yet."""
        consensus = ConsensusConfig(engine=engine)
        network = create_network(
            directory, name="demo", validators=validators, consensus=consensus, more=more
        )
        policy = Policy.parse(SHA256_ED25519, (directory / "policy.txt").read_bytes())
        return World(directory, engine, network, policy, {})

    # --- processes -------------------------------------------------------------------------------

    def start_nodes(self, *names: str) -> None:
        """Start nodes and wait until they serve.

        Raises:
            CommandError: one did not come up.
        """
        places = tuple(self.network.node(name) for name in names)
        for place in places:
            home = self.network.node_home(place)
            self.processes[place.name] = spawn_node(home, detached=False)
        reasons = wait_until_ready(self.network, places, self.processes, timeout_s=_READY_S)
        if reasons:
            raise start_failure(self.network, reasons)

    def kill_node(self, name: str) -> None:
        """Kill a node as a power cut would: SIGKILL."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def await_online(self, node: str, validators: int) -> NetworkStatus:
        """Wait until a node sees that many validators online, a quorum among them.

        Raises:
            StoryError: it does not in time.
        """
        deadline = time.monotonic() + _READY_S
        while True:
            status = self.client(_AUDITOR, node).network()
            if status.online == validators and status.quorum:
                return status
            if time.monotonic() > deadline:
                raise StoryError(f"{node} sees {status.online} of {status.total} validators")
            time.sleep(0.05)

    def close(self) -> None:
        """Stop all processes."""
        if self.wallet is not None:
            self.wallet.stop()
        for client in self._clients.values():
            client.close()
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            terminate(process)

    # --- people ----------------------------------------------------------------------------------

    def client(self, profile: str, node: str | None = None) -> NodeClient:
        """Return a profile's client of a node; by default of the profile's own node."""
        if node is None:
            node = next(one.node for one in sample.KEYS if one.profile == profile)
        known = self._clients.get((profile, node))
        if known is None:
            url = self.network.node(node).api
            known = NodeClient(url, signer=self.signer(profile), chain_id=self.network.chain_id)
            self._clients[profile, node] = known
        return known

    # --- transactions ----------------------------------------------------------------------------

    def submit(
        self, profile: str, operations: Sequence[Operation], node: str | None = None
    ) -> SubmissionResult:
        """Submit a transaction as somebody, wait until it is proven, and return what became of it."""
        transaction = self.sign(profile, operations)
        client = self.client(profile, node)
        (result,) = client.submit([transaction.raw], wait="proven", timeout_s=_PROOF_S)
        self.transactions += result.status in ("committed", "failed")
        return result

    def commit(
        self, profile: str, operations: Sequence[Operation], node: str | None = None
    ) -> SubmissionResult:
        """Submit a transaction that must take effect.

        Raises:
            StoryError: it did not.
        """
        result = self.submit(profile, operations, node)
        if result.status != "committed":
            raise StoryError(f"{profile}: {result.status} {result.code} {result.text}")
        return result

    def pending_version(self, profile: str, collection: Collection, identifier: str) -> str:
        """Return the version of an entry that waits for approval, as the profile's node shows it."""
        entry = self.client(profile).directory_entry(collection, identifier)
        return pending_version(collection, entry)

    def shown_by(self, transaction: str, node: str, *, code: str = "") -> str:
        """Ask a node for a transaction, verify its proof under our policy, and say so.

        Raises:
            StoryError: another outcome than `code`.
            CommandError: the proof is missing or false.
        """
        view = self.client(_AUDITOR, node).transaction(transaction, wait_s=_PROOF_S)
        if view.code != code:
            raise StoryError(f"{node} says {view.code!r}, expected {code!r}")
        proof = verify_transaction_proof(view, self.policy)
        return f"transaction {transaction}\n    {node} shows it: {proof}"

    def refuse(self, profile: str, operations: Sequence[Operation], code: str, *, ask: str) -> str:
        """Submit what the validators must refuse with `code`; have `ask` prove that they did.

        Raises:
            StoryError: it took effect, was refused for another reason, or was never put to the validators.
        """
        result = self.submit(profile, operations)
        if result.status != "failed" or result.code != code:
            raise StoryError(
                f"expected the validators to refuse with {code}; got {result.status} {result.code}"
            )
        return f"refused by the validators: {code}\n    " + self.shown_by(result.id, ask, code=code)

    # --- commands --------------------------------------------------------------------------------

    def mulu(self, *words: str, expect: int = 0) -> dict[str, Any]:
        """Run a `mulu` command in a process of its own with `--json` and return its answer.

        Raises:
            StoryError: another exit code than expected.
        """
        done = subprocess.run(
            [sys.executable, "-m", "cli", *words, "--json"],
            env={**python_environment(), "MULU_HOME": str(self.directory)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode != expect:
            raise StoryError(
                f"mulu {' '.join(words)}: exit code {done.returncode}, expected {expect}\n"
                f"{done.stdout}{done.stderr}"
            )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def operation(kind: str, body: Body) -> Operation:
    """Return an operation with this body."""
    return Operation(kind, body_value(body))


def now_ms() -> int:
    """Return this machine's time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
