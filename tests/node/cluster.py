"""A whole network in one process: real nodes, real TLS, real stores, one event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from cli import sample
from cli.network_setup import Network, create_network
from ledger.codec import Value
from ledger.keyfile import load_key
from ledger.keys import SoftwareSigner
from ledger.operations import OperationTable
from ledger.store import Store
from ledger.suite import SHA256_ED25519
from ledger.transactions import Operation, Transaction, sign_transaction
from node.answers import SubmissionResult
from node.client import NodeClient
from node.config import ConsensusConfig
from node.home import open_home
from node.main import open_application
from node.node import Node
from node.operation_table import OPERATIONS

T = TypeVar("T")

TONGZHOU = "11110112MB1D52349B"


def eventually(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait until a condition holds; the deadline is generous, the test ends as soon as it can."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        time.sleep(0.02)


def new_instrument() -> tuple[str, dict[str, Value]]:
    """Return an operation of tongzhou-editor that nobody has submitted before."""
    return "directory.instrument.publish", {
        "id": f"{TONGZHOU}-{os.urandom(6).hex()}",
        "kind": "rule",
        "name": "Rules",
        "issuer": "Tongzhou",
        "in_force_from_ms": 1_600_000_000_000,
        "articles": ("1",),
        "digest": bytes(32),
    }


class Cluster:
    """All nodes of a sample network; use it as a context manager."""

    def __init__(
        self,
        directory: Path,
        consensus: ConsensusConfig | None = None,
        *,
        validators: Sequence[str] = sample.VALIDATORS,
        without: tuple[str, ...] = (),
        operations: OperationTable = OPERATIONS,
    ) -> None:
        self.network: Network = create_network(
            directory,
            validators=validators,
            query_nodes=[name for name in sample.QUERY_NODES if name not in validators],
            consensus=consensus,
        )
        self.names = [p.name for p in self.network.nodes if p.name not in without]
        self.operations = operations
        self.nodes: dict[str, Node] = {}
        self._stores: dict[str, Store] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Cluster:
        self._thread.start()
        for name in self.names:
            self.start(name)
        for name in self.names:
            with self.client(name) as client:
                eventually(lambda client=client: client.ready()[0])  # type: ignore[misc]
        return self

    def __exit__(self, *_: object) -> None:
        for name in tuple(self.nodes):
            self.stop(name)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def start(self, name: str, operations: OperationTable | None = None) -> None:
        """Start a node, with other operations than the rest if told so."""
        self.call(lambda: self._start(name, operations or self.operations))

    def _start(self, name: str, operations: OperationTable) -> None:
        opened = open_home(self.network.node_home(self.network.node(name)))
        store = Store.open(opened.home.ledger)
        node = Node(opened, store, open_application(opened, store, operations))
        self.nodes[name], self._stores[name] = node, store
        self._tasks[name] = self._loop.create_task(node.run(), name=name)

    def stop(self, name: str) -> None:
        """End a node as a signal would."""

        async def end() -> None:
            task = self._tasks.pop(name)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled(), task.exception()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(20)
        self.nodes.pop(name)
        self._stores.pop(name).close()

    def failure(self, name: str) -> BaseException:
        """Wait until a node ends by itself, and return what ended it."""
        task = self._tasks[name]
        eventually(task.done)
        error = task.exception()
        assert error is not None
        self._tasks.pop(name)
        self.nodes.pop(name)
        self._stores.pop(name).close()
        return error

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the event loop and return its result."""

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start work on the event loop."""
        return self.call(lambda: self._loop.create_task(work))

    def end(self, work: asyncio.Task[None]) -> None:
        """Cancel work and wait until it has ended: nothing that it holds open outlives it."""
        self.call(work.cancel)
        eventually(work.done)

    def client(self, name: str, profile: str | None = None) -> NodeClient:
        signer = None if profile is None else self.key(profile)
        return NodeClient(self.network.node(name).api, signer=signer)

    def key(self, profile: str) -> SoftwareSigner:
        return load_key(self.network.directory / "keys" / f"{profile}.key", "")

    def transaction(self, profile: str, *operations: tuple[str, dict[str, Value]]) -> Transaction:
        return sign_transaction(
            SHA256_ED25519,
            self.key(profile),
            self.network.chain_id,
            [Operation(kind, body) for kind, body in operations],
            valid_until_ms=time.time_ns() // 1_000_000 + 600_000,
            nonce=os.urandom(16),
        )

    def submit(
        self, node: str, profile: str, *operations: tuple[str, dict[str, Value]]
    ) -> SubmissionResult:
        """Submit a transaction and wait until its outcome is proved; the deadline is generous.

        A node whose work has held it up for seconds takes the others for silent, and answers soon that nothing is
        decided and may still be. It is asked again then, as clients do.
        """
        sent = self.transaction(profile, *operations)
        with self.client(node) as client:
            [result] = client.submit([sent.raw], wait="proven", timeout_s=60)
            if result.status != "not_committed":
                return result
            eventually(lambda: client.transaction(sent.id.hex(), wait_s=5).proof is not None, 60)
            view = client.transaction(sent.id.hex())
        return replace(
            result, status=view.status, code=view.code, height=view.height, index=view.index
        )

    def publish(self, node: str = "beijing") -> SubmissionResult:
        """Submit an entry that nobody has submitted before, and wait for what becomes of it."""
        return self.submit(node, "tongzhou-editor", new_instrument())
