"""docs/RELIABILITY.md says what is so: tests that it names exist and run where it says, and no row's test is left out.

Tests that bear a row's marker are collected by pytest in a process of its own; of others only the name is looked for.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.sim.byzantine.blocks import INVALID_BLOCKS
from tests.sim.clients import BAD
from tests.sim.plan import PARTITIONS, SCRIPTS

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = (ROOT / "docs" / "RELIABILITY.md").read_text("utf-8")
NAMED: Final = re.compile(r"`(tests/[\w/]+\.\w+)(?:::(\w+))?`")
LINE: Final = re.compile(
    r"\| `(?P<test>tests/\S+)` \| (?P<all>\S+) \| (?P<faults>\S+) \|(?P<needs>.*)\|"
)
SIMULATED: Final = re.compile(r"^In the simulator: ([^.]*)\.$", re.MULTILINE)

COLLECT: Final = """
import json, sys, pytest
class Marks:
    def pytest_collection_finish(self, session):
        for item in session.items:
            marks = {mark.name: mark.args for mark in item.iter_markers()}
            test = item.nodeid.partition("[")[0]
            print("case", json.dumps([test, marks["row"][0], "faults" in marks, "skipif" in marks]))
sys.exit(pytest.main(["--collect-only", "-q", "-m", "row", *sys.argv[1:]], plugins=[Marks()]))
"""


@dataclass(slots=True)
class Marked:
    """A test that is marked with a row: its cases, those that `make test` leaves out, and whether it may be skipped."""

    row: str
    cases: int = 0
    left_out: int = 0
    may_be_skipped: bool = False


# --- the tests -------------------------------------------------------------------------------------


@cache
def marked_tests() -> dict[str, Marked]:
    """Return the tests that are marked with a row."""
    files = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "mark.row(" in path.read_text("utf-8") and path != Path(__file__)
    ]
    command = [sys.executable, "-c", COLLECT, *files]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, Marked] = {}
    for line in done.stdout.splitlines():
        if line.startswith("case "):
            test, row, left_out, may_be_skipped = json.loads(line.removeprefix("case "))
            marked = found.setdefault(test, Marked(row))
            marked.cases += 1
            marked.left_out += left_out
            marked.may_be_skipped |= may_be_skipped
    return found


def exists(path: str, test: str) -> bool:
    """Tell whether there is such a file, and such a test in it, if one is named."""
    file = ROOT / path
    return file.is_file() and bool(
        not test or re.search(rf"^(async )?def {test}\(", file.read_text("utf-8"), re.MULTILINE)
    )


# --- the page --------------------------------------------------------------------------------------


def rows() -> dict[str, str]:
    """Return the text of each row of the fault matrix."""
    matrix = PAGE.split("\n## The fault matrix\n")[1].split("\n## ")[0]
    titles_and_texts = re.split(r"^### (.*)\n", matrix, flags=re.MULTILINE)[1:]
    return dict(zip(titles_and_texts[::2], titles_and_texts[1::2], strict=True))


def injections() -> list[str]:
    """Return what the page says that the simulator injects."""
    named = "".join(SIMULATED.findall(PAGE))
    return [" ".join(one.split()) for one in re.findall(r"`([^`]*)`", named)]


def test_whatever_the_page_names_exists() -> None:
    missing = [named for named in NAMED.findall(PAGE) if not exists(*named)]
    assert not missing


def test_every_row_says_what_must_hold_and_which_tests_show_it() -> None:
    assert len(rows()) == 17
    for row, text in rows().items():
        assert text.startswith("\n**Must:** "), row
        assert LINE.search(text), row


def test_every_test_that_is_marked_with_a_row_stands_there() -> None:
    marked = marked_tests()
    assert len(marked) > 70
    assert {one.row for one in marked.values()} <= set(rows())
    missing = [test for test, one in marked.items() if f"| `{test}` |" not in rows()[one.row]]
    assert not missing


def test_the_page_says_where_each_test_runs_and_that_it_needs_something() -> None:
    lines = [line for text in rows().values() for line in text.splitlines()]
    for line in (one for one in lines if one.startswith("| `tests/")):
        match = LINE.fullmatch(line)
        assert match, line
        marked = marked_tests().get(match["test"])
        if marked is None:
            assert (match["all"], match["faults"]) == ("yes", "–"), line
            continue
        some = "–" if marked.left_out == marked.cases else "some"
        assert match["all"] == (some if marked.left_out else "yes"), line
        assert match["faults"] == "yes", line
        assert match["needs"].strip() or not marked.may_be_skipped, line


def test_what_the_simulator_injects_is_named() -> None:
    kinds = {
        *(f"validator: {one}" for one in SCRIPTS),
        *(f"partition: {one}" for one in PARTITIONS if one != "none"),
        *(f"proposal: {one}" for one in INVALID_BLOCKS),
        *(f"bad transaction: {one}" for one in BAD),
    }
    assert kinds <= set(injections())


def test_what_is_named_is_what_the_simulator_counts() -> None:
    counted = {
        part.value
        for path in (ROOT / "tests" / "sim").rglob("*.py")
        for part in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }
    for name in injections():
        start, colon, kind = name.partition(": ")
        start = start.removesuffix(" …")
        assert {start, f"{start} ", f"{start}: "} & counted, name
        assert not colon or kind == "…" or kind in counted, name


def test_figures_stand_in_one_section() -> None:
    figures = PAGE.split("\n## Figures\n")[1].split("\n## ")[0]
    assert all(f"### {what}\n" in figures for what in ("make sim", "make mutants", "make faults"))
