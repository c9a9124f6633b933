"""The supervisor with small programs in the place of application and engine: who ends takes the other along."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.cometbft.supervisor import DAMAGED, MAX_RESTARTS, NOT_USABLE, SET_ASIDE
from tests.node.cometbft.engine import parts
from tests.node.processes import ROOT, eventually

SUPERVISE = """
import sys
from pathlib import Path
from node.cometbft import supervisor
from node.logs import configure_logging
configure_logging()
supervisor.FIRST_PAUSE_S, supervisor.LAST_PAUSE_S = 0.01, 0.02
directory = Path(sys.argv[1])
sys.exit(supervisor.Supervisor(supervisor.Commands(
    (sys.executable, "-c", sys.argv[2], "--supervised", str(directory)),
    (sys.executable, "-c", sys.argv[3], "start"),
    directory,
)).run())
"""
"""The real supervisor with two given programs and short pauses."""

LISTEN = "import sys, time, pathlib; pathlib.Path(sys.argv[-1], 'abci.sock').touch()\n"
GO_ON = "import time; time.sleep(60)"


@dataclass
class Supervised:
    process: subprocess.Popen[bytes]
    directory: Path

    @property
    def events(self) -> list[str]:
        lines = (self.directory / "log").read_text("utf-8").splitlines()
        return [json.loads(line)["event"] for line in lines]

    def both_run(self) -> bool:
        return len(parts(self.process.pid)) == 2

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


Start = Callable[[str, str], Supervised]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started = []

    def begin(application: str, engine: str) -> Supervised:
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", SUPERVISE, str(tmp_path), application, engine],
                cwd=ROOT,
                stdout=log,
            )
        started.append(process)
        return Supervised(process, tmp_path)

    yield begin
    for process in started:
        process.kill()
        process.wait(10)


def gone(process_id: int) -> bool:
    try:
        status = Path(f"/proc/{process_id}/stat").read_text("ascii")
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def test_a_signal_ends_both_in_order(start: Start) -> None:
    supervised = start(LISTEN + GO_ON, GO_ON)
    eventually(supervised.both_run)
    running = parts(supervised.process.pid)
    assert supervised.end() == 0
    assert all(map(gone, running.values()))
    assert supervised.events == ["ended by a signal"]


@pytest.mark.parametrize("part", ["application", "cometbft"])
def test_when_either_is_killed_both_start_again(start: Start, part: str) -> None:
    supervised = start(LISTEN + GO_ON, GO_ON)
    eventually(supervised.both_run)
    before = parts(supervised.process.pid)
    os.kill(before[part], signal.SIGKILL)
    eventually(lambda: all(map(gone, before.values())) and supervised.both_run())
    assert supervised.end() == 0
    assert supervised.events[0] == "a process has ended: both start again"


def test_when_the_supervisor_is_killed_the_kernel_ends_both(start: Start) -> None:
    supervised = start(LISTEN + GO_ON, GO_ON)
    eventually(supervised.both_run)
    before = parts(supervised.process.pid)
    supervised.process.kill()
    eventually(lambda: all(map(gone, before.values())))


def test_the_engine_starts_only_when_the_application_listens(start: Start) -> None:
    supervised = start(GO_ON, GO_ON)
    eventually(lambda: set(parts(supervised.process.pid)) == {"application"})
    (supervised.directory / "abci.sock").touch()
    eventually(supervised.both_run)
    assert supervised.end() == 0


def test_it_gives_up_when_they_end_again_and_again(start: Start) -> None:
    supervised = start(LISTEN + GO_ON, "raise SystemExit(1)")
    assert supervised.process.wait(100) == 1
    assert supervised.events.count("a process has ended: both start again") == MAX_RESTARTS
    assert supervised.events[-1] == "giving up: the processes end again and again"


def test_what_cannot_be_used_is_not_started_again(start: Start) -> None:
    supervised = start(f"raise SystemExit({NOT_USABLE})", GO_ON)
    assert supervised.process.wait(30) == NOT_USABLE
    assert supervised.events == []


def test_an_application_that_has_found_damage_is_told_to_set_its_store_aside(start: Start) -> None:
    """Even where CometBFT, cut off, ends before it."""
    application = (
        f"import sys\nif '{SET_ASIDE}' in sys.argv: raise SystemExit({NOT_USABLE})\n"
        f"{LISTEN}\ntime.sleep(0.3)\nraise SystemExit({DAMAGED})"
    )
    supervised = start(application, "raise SystemExit(1)")
    assert supervised.process.wait(30) == NOT_USABLE
    assert supervised.events == ["a process has ended: both start again"]
