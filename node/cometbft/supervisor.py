"""The supervisor of a node with CometBFT: two processes that live and die together.

The application is started first, CometBFT when its socket is there. When either ends, the other is ended too and both
are started again: what was executed and not written is replayed. After too many ends in a short time it gives up, since
a cause that comes again at once needs a person. SIGTERM and SIGINT end both in order; whatever else ends the supervisor
ends both at once, by the kernel, so that nothing is left that nobody watches.

It imports little: each node has one, beside the processes that do the work.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from consensus.cometbft.release import ABCI_SOCKET, RPC_SOCKET
from ledger.errors import LedgerError
from node.cometbft.program import SupervisedHome, find_engine
from node.files import PROCESS_ID_FILE
from node.logs import configure_logging

MAX_RESTARTS: Final = 10
RESTARTS_WITHIN_S: Final = 120.0
"""So many restarts in this time, and the supervisor gives up."""

FIRST_PAUSE_S: Final = 0.25
LAST_PAUSE_S: Final = 5.0
STOP_TIMEOUT_S: Final = 15.0
POLL_S: Final = 0.05
LAST_WORD_S: Final = 1.0
"""When CometBFT has ended first: the application may be about to end as well, and its exit status says why."""

GIVEN_UP: Final = 1
NOT_USABLE: Final = 2
"""The application's exit status when configuration or keys are not usable: starting it again changes nothing."""

DAMAGED: Final = 3
"""The application's exit status when its store turned out to be damaged: the next one sets it aside."""

SUPERVISED: Final = "--supervised"
SET_ASIDE: Final = "--set-aside"
"""Arguments of a supervised application; the second tells it that rows of its store cannot be read."""

_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Commands:
    """How to start the two processes, and CometBFT's home, in which it runs."""

    application: tuple[str, ...]
    engine: tuple[str, ...]
    directory: Path


def supervise(home: Path, wanted: SupervisedHome, module: str = "node") -> int:
    """Run the node of a home until a signal; return the exit status. `module` is what Python runs as the application.

    0: ended by a signal. 1: given up. 2: CometBFT, the configuration, keys or genesis are not usable.
    """
    configure_logging(wanted.log_level, wanted.log_format)
    structlog.contextvars.bind_contextvars(node=wanted.name)
    try:
        engine = find_engine()
    except LedgerError as error:
        _log.error("cannot start", reason=str(error))
        return NOT_USABLE
    directory = (home / "cometbft").resolve()
    problem = _not_usable(directory)
    if problem is not None:
        _log.error("cannot start", reason=problem)
        return NOT_USABLE
    try:
        return Supervisor(
            Commands(
                (sys.executable, "-m", module, SUPERVISED, str(home)),
                (str(engine), "start", "--home", str(directory)),
                directory,
            )
        ).run()
    finally:
        _forget_process_id(home / PROCESS_ID_FILE)


def _not_usable(directory: Path) -> str | None:
    """Return why CometBFT cannot run in its home, or None. It would find that itself, again and again."""
    if not (directory / "config" / "config.toml").is_file():
        return f"{directory} is no home of CometBFT: it is laid out with the node's"
    state = directory / "data" / "priv_validator_state.json"
    if not state.is_file():
        return (
            f"{state} is missing: without it CometBFT might sign twice at a height. Never restore it from a "
            "backup nor make it anew; docs/OPERATING.md says how the validator gets a new key"
        )
    return None


def _forget_process_id(path: Path) -> None:
    """Remove the file that names us, which an application wrote when it had opened the store; no other's."""
    try:
        if int(path.read_text("ascii")) == os.getpid():
            path.unlink()
    except (OSError, ValueError):
        pass


def supervisor_id() -> int:
    """Return the process id under which a supervised application's node is known: its supervisor's."""
    return os.getppid()


class _Stopped(Exception):
    """A signal asks for the end."""


class Supervisor:
    """Runs the two processes of one node."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._application: subprocess.Popen[bytes] | None = None
        self._engine: subprocess.Popen[bytes] | None = None
        self._ends: deque[float] = deque()
        self._signalled = False
        self._damaged = False

    def run(self) -> int:
        """Run until a signal; return the exit status."""
        for wanted in (signal.SIGTERM, signal.SIGINT):
            signal.signal(wanted, self._on_signal)
        pause_s = FIRST_PAUSE_S
        try:
            while True:
                began_s = time.monotonic()
                who, status = self._run_once()
                self._stop_both()
                if who == "application" and status == NOT_USABLE:
                    return NOT_USABLE
                self._damaged = who == "application" and status == DAMAGED
                if not self._may_restart():
                    _log.critical("giving up: the processes end again and again", last=who)
                    return GIVEN_UP
                lasted = time.monotonic() - began_s > LAST_PAUSE_S
                pause_s = FIRST_PAUSE_S if lasted else min(2 * pause_s, LAST_PAUSE_S)
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
        command = self._commands.application
        if self._damaged:
            command = (*command[:-1], SET_ASIDE, command[-1])
        self._application = _start(command)
        # Without a deadline: a store that must be checked first may be large.
        while not (self._commands.directory / ABCI_SOCKET).exists():
            if (status := self._application.poll()) is not None:
                return "application", status
            self._wait(POLL_S)
        self._engine = _start(self._commands.engine, self._commands.directory)
        while True:
            if (status := self._application.poll()) is not None:
                return "application", status
            if (status := self._engine.poll()) is not None:
                last_word = self._await_application(LAST_WORD_S)
                return ("cometbft", status) if last_word is None else ("application", last_word)
            self._wait(POLL_S)

    def _await_application(self, seconds: float) -> int | None:
        assert self._application is not None, "it was started first"
        deadline = time.monotonic() + seconds
        while (status := self._application.poll()) is None and time.monotonic() < deadline:
            self._wait(POLL_S)
        return status

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


def _start(command: tuple[str, ...], directory: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a process that ends when we do, however we end."""
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, cwd=directory, preexec_fn=_end_with_parent
    )


def _end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends: prctl(2). Runs between fork and exec."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
