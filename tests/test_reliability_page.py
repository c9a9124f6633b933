"""docs/RELIABILITY.md says what is so: tests that it names exist and run where it says, and no row's test is left out.

Tests are read, not imported: a marker that a test bears stands in its file.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.sim.byzantine import INVALID_BLOCKS
from tests.sim.clients import BAD
from tests.sim.plan import PARTITIONS, SCRIPTS

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = (ROOT / "docs" / "RELIABILITY.md").read_text("utf-8")
NAMED: Final = re.compile(r"`(tests/[\w/]+\.\w+)(?:::(\w+))?`")
LINE: Final = re.compile(
    r"\| `(?P<test>tests/\S+)` \| (?P<all>\S+) \| (?P<faults>\S+) \|(?P<needs>.*)\|"
)
SIMULATED: Final = re.compile(r"^In the simulator: ([^.]*)\.$", re.MULTILINE)

Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Marks:
    """What a test's markers say: its row, how many of its cases `make test` runs, and whether it may be skipped."""

    row: str | None
    in_make_test: str
    may_be_skipped: bool


# --- the tests -------------------------------------------------------------------------------------


@cache
def read_tests(path: str) -> dict[str, Marks]:
    """Read the tests of a file."""
    module = ast.parse((ROOT / path).read_text("utf-8"))
    named = dict(_definitions(module))
    common = named.get("pytestmark")
    shared = common.elts if isinstance(common, ast.List) else [common] if common else []
    return {
        name: _marks([*shared, *node.decorator_list], named)
        for name, node in named.items()
        if isinstance(node, Definition) and name.startswith("test_")
    }


def _definitions(module: ast.Module) -> Iterator[tuple[str, ast.expr | Definition]]:
    """Yield what a module defines by name: functions, and the values of its constants."""
    for node in module.body:
        if isinstance(node, Definition):
            yield node.name, node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value


def _marks(decorators: list[ast.expr], named: dict[str, ast.expr | Definition]) -> Marks:
    row, in_make_test, may_be_skipped = None, "yes", False
    for decorator in decorators:
        mark = named.get(decorator.id, decorator) if isinstance(decorator, ast.Name) else decorator
        text = ast.unparse(mark)
        if text.startswith("pytest.mark.row("):
            assert isinstance(mark, ast.Call)
            name = mark.args[0]
            value = named[name.id] if isinstance(name, ast.Name) else name
            assert isinstance(value, ast.Constant)
            row = value.value
        elif text == "pytest.mark.faults":
            in_make_test = "–"
        elif "pytest.mark.faults" in text + "".join(_used(mark, named)):
            in_make_test = "some" if in_make_test == "yes" else in_make_test
        may_be_skipped |= "skipif" in text
    return Marks(row, in_make_test, may_be_skipped)


def _used(node: ast.AST, named: dict[str, ast.expr | Definition]) -> Iterator[str]:
    """Yield the source of everything in the module that an expression names: cases may be marked there."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in named:
            yield ast.unparse(named[part.id])


def marked_tests() -> Iterator[tuple[str, str]]:
    """Yield row and test for each test that is marked with a row."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name, marks in read_tests(str(path.relative_to(ROOT))).items():
            if marks.row is not None:
                yield marks.row, f"{path.relative_to(ROOT)}::{name}"


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
    missing = [
        f"{path}::{test}"
        for path, test in NAMED.findall(PAGE)
        if not (ROOT / path).is_file() or (test and test not in read_tests(path))
    ]
    assert not missing


def test_every_row_says_what_must_hold_and_which_tests_show_it() -> None:
    assert len(rows()) == 17
    for row, text in rows().items():
        assert text.startswith("\n**Must:** "), row
        assert LINE.search(text), row


def test_every_test_that_is_marked_with_a_row_stands_there() -> None:
    marked = list(marked_tests())
    assert len(marked) > 40
    assert {row for row, _ in marked} <= set(rows())
    missing = [f"{row}: {test}" for row, test in marked if f"| `{test}` |" not in rows()[row]]
    assert not missing


def test_the_page_says_where_each_test_runs_and_that_it_needs_something() -> None:
    lines = [line for text in rows().values() for line in text.splitlines()]
    for line in (one for one in lines if one.startswith("| `tests/")):
        match = LINE.fullmatch(line)
        assert match, line
        path, _, test = match["test"].partition("::")
        marks = read_tests(path)[test] if test else Marks(None, "yes", False)
        assert match["all"] == marks.in_make_test, line
        assert match["faults"] == ("–" if marks.row is None else "yes"), line
        assert match["needs"].strip() or not marks.may_be_skipped, line


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
        for path in (ROOT / "tests" / "sim").glob("*.py")
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
