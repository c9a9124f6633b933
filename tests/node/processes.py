"""A sample network's nodes as real processes over loopback: start, kill, pause, stop, ask, sign something."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cli.network_setup import Network
from cli.processes import log_tail
from ledger.codec import Value
from ledger.keyfile import load_key
from ledger.suite import SHA256_ED25519
from ledger.transactions import Operation, Transaction, sign_transaction
from node.client import NodeClient

ROOT = Path(__file__).resolve().parents[2]
STOP_S = 60.0
"""A node ends within some seconds; the machine may be loaded."""

TONGZHOU = "11110112MB1D52349B"


class Process(Protocol):
    """What we do with a process, in the terms of `subprocess`."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...

    def kill(self) -> None: ...


@dataclass
class Processes:
    """A network's nodes as processes of ours. `module` is what Python runs with the home of a node."""

    network: Network
    module: str = "node"
    running: dict[str, Process] = field(default_factory=dict)

    def home(self, name: str) -> Path:
        return self.network.node_home(self.network.node(name))

    def start(
        self,
        *names: str,
        under: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start nodes; `under` is a command that runs another one, such as strace with its options."""
        for name in names:
            self.start_home(name, self.home(name), under, environment)

    def start_home(
        self,
        name: str,
        home: Path,
        under: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start the node of any home, known here by this name."""
        self.running[name] = self._spawn(home, under, {**os.environ, **(environment or {})})

    def _spawn(self, home: Path, under: Sequence[str], environment: Mapping[str, str]) -> Process:
        with (home / "node.log").open("ab") as log:
            return subprocess.Popen(
                [*under, sys.executable, "-m", self.module, str(home)],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def kill(self, *names: str) -> None:
        """End processes at once, all before the first is waited for."""
        for name in names:
            self.running[name].send_signal(signal.SIGKILL)
        for name in names:
            self.running.pop(name).wait(10)

    def stop(self, name: str) -> int:
        """End a process in order; return its exit status."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(STOP_S)

    def pause(self, *names: str) -> None:
        for name in names:
            self.running[name].send_signal(signal.SIGSTOP)

    def resume(self, *names: str) -> None:
        for name in names:
            self.running[name].send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End whatever still runs."""
        for process in self.running.values():
            process.kill()
        for process in self.running.values():
            process.wait(10)
        self.running.clear()

    def await_ready(self, *names: str, timeout_s: float = 120.0) -> None:
        """Wait until nodes serve current answers; where one does not, say its reason and the end of its log."""
        for name in names:
            deadline = time.monotonic() + timeout_s
            with self.client(name) as client:
                while not (ready := client.ready())[0]:
                    if time.monotonic() > deadline:
                        raise AssertionError(f"{name}: {ready[1]}\n{log_tail(self.home(name))}")
                    time.sleep(0.05)

    def client(self, name: str, profile: str | None = None) -> NodeClient:
        signer = None
        if profile is not None:
            signer = load_key(self.network.directory / "keys" / f"{profile}.key", "")
        return NodeClient(self.network.node(name).api, signer=signer)

    def transactions(
        self, count: int, operations: int = 1, lifetime_s: float = 600
    ) -> list[Transaction]:
        """Sign transactions that publish so many instruments each: some 200 bytes for each of them."""
        signer = load_key(self.network.directory / "keys" / "tongzhou-editor.key", "")
        return [
            sign_transaction(
                SHA256_ED25519,
                signer,
                self.network.chain_id,
                [
                    Operation("directory.instrument.publish", _instrument())
                    for _ in range(operations)
                ],
                valid_until_ms=time.time_ns() // 1_000_000 + round(lifetime_s * 1000),
                nonce=os.urandom(16),
            )
            for _ in range(count)
        ]


def _instrument() -> dict[str, Value]:
    return {
        "id": f"{TONGZHOU}-{os.urandom(8).hex()}",
        "kind": "rule",
        "name": "Rules for windows",
        "issuer": "Tongzhou",
        "in_force_from_ms": 1_600_000_000_000,
        "articles": ("1", "2"),
        "digest": bytes(32),
    }


def eventually(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait until a condition holds; the deadline is generous, the test ends as soon as it can."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        time.sleep(0.05)
