"""Node processes that a server forks which has imported the node before: its imports are most of what a start costs.

A process is as real as any other: it has its own memory, files and signals, and dies alone. What needs another
interpreter, such as one under strace or with a library preloaded, is started in the ordinary way.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.faults import node_under_test

_SERVER: Final = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["node.main", "tests.faults.crash_points", "tests.faults.witness"])


class ForkedNode:
    """The process of a node of ours, used as one that `subprocess` has started."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        """Start the node of a home with exactly this environment; its output is appended to its log."""
        self._process = _SERVER.Process(
            target=_run, args=(str(home), dict(environment)), daemon=True
        )
        self._process.start()
        assert self._process.pid is not None, "it has just been started"
        self._pid = self._process.pid

    @property
    def pid(self) -> int:
        return self._pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            assert timeout is not None, "waiting without end ends with the process"
            raise subprocess.TimeoutExpired(f"node {self.pid}", timeout)
        return status

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(home: str, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    with (Path(home) / "node.log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    sys.exit(node_under_test.main([home]))
