"""The supervisor of a node with CometBFT: two processes that live and die together.

The application is started first, CometBFT when its socket is there. When either ends, the other is ended too and both
are started again: what was executed and not written is replayed. After too many ends in a short time it gives up, since
a cause that comes again at once needs a person. SIGTERM and SIGINT end both in order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from consensus.cometbft.layout import ABCI_SOCKET, RPC_SOCKET

MAX_RESTARTS: Final = 10
RESTARTS_WITHIN_S: Final = 120.0
"""So many restarts in this time, and the supervisor gives up."""

FIRST_PAUSE_S: Final = 0.25
LAST_PAUSE_S: Final = 5.0
SOCKET_TIMEOUT_S: Final = 120.0
"""How long the application may take to open its store: a damaged one is checked first."""

STOP_TIMEOUT_S: Final = 15.0
POLL_S: Final = 0.05
NOT_USABLE: Final = 2
"""The application's exit status when configuration or keys are not usable: starting it again changes nothing."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Commands:
    """How to start the two processes, and CometBFT's home, where both find their sockets."""

    application: tuple[str, ...]
    engine: tuple[str, ...]
    directory: Path


def commands_for(home: Path, engine: Path, directory: Path) -> Commands:
    """Return the commands for a node's home."""
    return Commands(
        (sys.executable, "-m", "node", "--application", str(home)),
        (str(engine), "start", "--home", str(directory.resolve())),
        directory,
    )


class _Stopped(Exception):
    """A signal asks for the end."""


class Supervisor:
    """Runs the two processes of one node."""

    def __init__(self, commands: Commands, started: Callable[[], None] = lambda: None) -> None:
        """`started` is called when both run, each time."""
        self._commands = commands
        self._started = started
        self._application: subprocess.Popen[bytes] | None = None
        self._engine: subprocess.Popen[bytes] | None = None
        self._ends: deque[float] = deque()
        self._signalled = False

    def run(self) -> int:
        """Run until a signal; return the exit status: 0 after a signal, 1 given up, 2 not usable."""
        for wanted in (signal.SIGTERM, signal.SIGINT):
            signal.signal(wanted, self._on_signal)
        pause_s = FIRST_PAUSE_S
        try:
            while True:
                began = time.monotonic()
                who, status = self._run_once()
                self._stop_both()
                if who == "application" and status == NOT_USABLE:
                    return NOT_USABLE
                if not self._may_restart():
                    _log.critical("giving up: the processes end again and again", last=who)
                    return 1
                pause_s = (
                    FIRST_PAUSE_S
                    if time.monotonic() - began > LAST_PAUSE_S
                    else min(2 * pause_s, LAST_PAUSE_S)
                )
                _log.error("a process has ended: both start again", process=who, status=status)
                self._wait(pause_s)
        except _Stopped:
            self._stop_both()
            _log.info("ended by a signal")
            return 0
        finally:
            self._kill_both()

    def _on_signal(self, *_: object) -> None:
        self._signalled = True

    def _run_once(self) -> tuple[str, int]:
        """Start both; return which of them has ended, with its exit status."""
        for name in (ABCI_SOCKET, RPC_SOCKET):
            (self._commands.directory / name).unlink(missing_ok=True)
        self._application = subprocess.Popen(self._commands.application, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + SOCKET_TIMEOUT_S
        while not (self._commands.directory / ABCI_SOCKET).exists():
            status = self._application.poll()
            if status is not None:
                return "application", status
            if time.monotonic() > deadline:
                return "application", 1
            self._wait(POLL_S)
        # It runs in its own home, so that its sockets have short names.
        self._engine = subprocess.Popen(
            self._commands.engine, stdin=subprocess.DEVNULL, cwd=self._commands.directory
        )
        self._started()
        while True:
            for name, process in (("application", self._application), ("cometbft", self._engine)):
                status = process.poll()
                if status is not None:
                    return name, status
            self._wait(POLL_S)

    def _may_restart(self) -> bool:
        now = time.monotonic()
        self._ends.append(now)
        while self._ends and now - self._ends[0] > RESTARTS_WITHIN_S:
            self._ends.popleft()
        return len(self._ends) <= MAX_RESTARTS

    def _wait(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            _Stopped: a signal has come.
        """
        deadline = time.monotonic() + seconds
        while not self._signalled and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, POLL_S))
        if self._signalled:
            raise _Stopped

    def _stop_both(self) -> None:
        """End what still runs: CometBFT first, so that the application is asked nothing more."""
        for process in (self._engine, self._application):
            if process is None or process.poll() is not None:
                continue
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._application = self._engine = None

    def _kill_both(self) -> None:
        for process in (self._engine, self._application):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


def supervisor_id() -> int:
    """Return the process id under which a supervised application's node is known: its supervisor's."""
    return os.getppid()
