"""Node processes that a server forks which has imported the node before: its imports are most of what a start costs.

Each has its own memory, files and signals, and dies alone. What differs from an interpreter of its own: imports and the
end of an interpreter do not run, all share one hash seed, and what an interpreter or a library reads of the environment
when it starts comes too late. So one node of each network is started in the ordinary way (`FaultyNetwork`), and so is
what needs another interpreter, under strace for instance, or another environment than `FORKED` names.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Final

from tests.faults import node_under_test
from tests.node.processes import ROOT

FORKED: Final = frozenset({"SIGNATURES", "CRASH_ORDER"})
"""Variables that only our own code reads, when the node runs: with these alone a node may be forked."""

_SERVER_DIED: Final = 255
"""What the library calls the status of a process whose server has ended; a node's are 0 to 3."""

PRELOADED: Final = (
    "node.main",
    "tests.faults.crash_points",
    "tests.faults.node_under_test",
    "tests.faults.witness",
)


@cache
def _server() -> ForkServerContext:
    """Start the server: it imports from the directory in which it is started, not from our path."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    with contextlib.chdir(ROOT):
        forkserver.ensure_running()
    return context


class ForkedNode:
    """The process of a node of ours, used as one that `subprocess` has started."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        """Start the node of a home with this environment; its output is appended to its log."""
        self._process = _server().Process(
            target=_run, args=(str(home), dict(environment)), daemon=True
        )
        self._process.start()
        assert self._process.pid is not None, "it has just been started"
        self._pid = self._process.pid

    @property
    def pid(self) -> int:
        return self._pid

    def poll(self) -> int | None:
        status = self._process.exitcode
        assert status != _SERVER_DIED, "the server that forks nodes has died"
        return status

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            assert timeout is not None, "waiting without end ends with the process"
            raise subprocess.TimeoutExpired(f"node {self.pid}", timeout)
        return status

    def send_signal(self, sig: int) -> None:
        if self._process.exitcode in (None, _SERVER_DIED):
            with contextlib.suppress(ProcessLookupError):  # ended, and not told yet
                os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(home: str, environment: dict[str, str]) -> None:
    # The server ends when nobody has this open any more: a node that outlives its test must not keep it.
    os.close(forkserver._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]  # the library's own
    forkserver._forkserver._forkserver_alive_fd = None  # type: ignore[attr-defined]  # the number is free
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    with (Path(home) / "node.log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    from node import main as imported

    assert Path(imported.__file__).is_relative_to(ROOT), f"another tree: {imported.__file__}"
    sys.exit(node_under_test.main([home]))
