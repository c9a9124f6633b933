"""Settings for all tests, and the report of what was injected for which row of the fault matrix.

`HYPOTHESIS_PROFILE=thorough` tries many more examples than a run of all tests has time for.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("mulu", deadline=None)  # nothing here measures time
settings.register_profile(
    "thorough", deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "mulu"))


def pytest_configure() -> None:
    """Give each worker a range of ports of its own: none takes the port of a node that another has stopped."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker.startswith("gw"):
        count, number = int(os.environ["PYTEST_XDIST_WORKER_COUNT"]), int(worker[2:])
        lowest, highest = map(int, os.environ.get("MULU_PORTS", "20000-32767").split("-"))
        size = (highest + 1 - lowest) // count
        lowest += number * size
        os.environ["MULU_PORTS"] = f"{lowest}-{lowest + size - 1}"


INJECTED = pytest.StashKey[Counter[str]]()
"""What a test has injected so far; the fixture of that name puts it there."""

MEASURED = pytest.StashKey[dict[str, float]]()
"""Seconds that a test has measured, by what it measured; the fixture of that name puts them there."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each test's reports name its row; they alone come back from workers."""
    for item in items:
        for mark in item.iter_markers("row"):
            item.user_properties.append(("row", mark.args[0]))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Let the report of the test itself say what was injected, and what was measured."""
    if call.when != "call":
        return
    for what, count in item.stash.get(INJECTED, Counter()).items():
        item.user_properties.append(("told", f"{what} × {count}"))
    for what, seconds in item.stash.get(MEASURED, {}).items():
        item.user_properties.append(("told", f"{what}: {seconds:.1f} s"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print, row by row, each test with its outcome, what it injected and what it measured; if rows are asked for."""
    if terminalreporter.config.option.markexpr != "row":
        return
    rows: defaultdict[str, list[str]] = defaultdict(list)
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            properties = getattr(report, "user_properties", ())
            name = report.nodeid.rpartition("::")[2]
            told = ", ".join(value for key, value in properties if key == "told")
            for key, value in properties:
                if key == "row":
                    rows[value].append(f"  {outcome:8}{name}" + (f": {told}" * bool(told)))
    if rows:
        terminalreporter.section("faults injected, by row of docs/RELIABILITY.md")
    for row in sorted(rows):
        terminalreporter.write_line(row)
        for line in rows[row]:
            terminalreporter.write_line(line)
