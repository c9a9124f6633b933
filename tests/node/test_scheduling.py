"""How a node asks for processor time: it leaves others theirs, where the system and its operator let it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.store import COMPACTION_NICENESS
from node.cometbft.supervisor import NOT_USABLE

START = """
import os, sys
from pathlib import Path
from node.main import run_node
status = run_node(Path(sys.argv[1]))
print(os.sched_getscheduler(0))
sys.exit(status)
"""
REFUSE = """
import os
def refuse(*_):
    raise PermissionError(1, "Operation not permitted")
os.sched_setscheduler = refuse
"""


def start(home: Path, policy: int, before: str = "") -> int:
    """Start a node that has no home, under a policy; return the policy that it then runs under."""
    set_policy = f"import os; os.sched_setscheduler(0, {policy}, os.sched_param(0))\n"
    ended = subprocess.run(
        [sys.executable, "-c", set_policy + before + START, str(home)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == NOT_USABLE, ended.stderr
    return int(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (os.SCHED_OTHER, os.SCHED_BATCH),
        (os.SCHED_IDLE, os.SCHED_IDLE),
        (os.SCHED_BATCH, os.SCHED_BATCH),
    ],
    ids=["other", "idle", "batch"],
)
def test_a_node_leaves_others_their_time_unless_another_policy_was_chosen(
    before: int, after: int, tmp_path: Path
) -> None:
    assert start(tmp_path / "none", before) == after


def test_a_system_that_forbids_it_keeps_no_node_from_starting(tmp_path: Path) -> None:
    assert start(tmp_path / "none", os.SCHED_OTHER, REFUSE) == os.SCHED_OTHER


COMPACT = """
import os, sys, tempfile
from pathlib import Path
from ledger.database import Batch, Head
from ledger.store import Store, lower_compaction_priority
if sys.argv[2] == "without a place for files":
    tempfile.tempdir = sys.argv[1] + "/none"
lower_compaction_priority()
store = Store.open(Path(sys.argv[1]) / "store")
batch = Batch()
batch.put(b"e/1", b"one")
store.write(batch, Head(1, bytes(32)))
own = os.getpriority(os.PRIO_PROCESS, 0)
print(sorted(os.getpriority(os.PRIO_PROCESS, int(one)) - own for one in os.listdir("/proc/self/task")))
store.close()
"""


@pytest.mark.parametrize(
    ("place", "niceness"),
    [("with a place for files", [0, COMPACTION_NICENESS]), ("without a place for files", [0])],
)
def test_only_compaction_gives_way_and_stores_work_where_it_cannot(
    place: str, niceness: list[int], tmp_path: Path
) -> None:
    if os.getpriority(os.PRIO_PROCESS, 0) + COMPACTION_NICENESS > 19:
        pytest.skip("the tests run with so little priority that none can have that much less")
    ended = subprocess.run(
        [sys.executable, "-c", COMPACT, str(tmp_path), place],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == niceness
    assert not ended.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["store"]
