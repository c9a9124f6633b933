"""The catalogue fits the code, and a trial tells a bug that a test finds from everything else that goes wrong."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.trial import run_tests, try_mutant, why_not_caught

ROOT = Path(__file__).parents[2]


# --- the catalogue ----------------------------------------------------------------------------------


def test_the_text_to_exchange_stands_in_the_code_exactly_once() -> None:
    problems = []
    for mutant in MUTANTS:
        try:
            mutant.planted((ROOT / mutant.path).read_text("utf-8"))
        except (OSError, ValueError) as problem:
            problems.append(str(problem))
    assert problems == []


def test_every_mutant_has_its_own_name_and_its_own_text() -> None:
    for counts in (
        Counter(mutant.name for mutant in MUTANTS),
        Counter((mutant.path, mutant.old, mutant.new) for mutant in MUTANTS),
    ):
        assert [one for one, count in counts.items() if count > 1] == []


def test_every_mutant_is_a_program_without_unknown_names(tmp_path: Path) -> None:
    """A misspelt name would fail every test, whatever they look at."""
    for mutant in MUTANTS:
        planted = mutant.planted((ROOT / mutant.path).read_text("utf-8"))
        ast.parse(planted)
        (tmp_path / f"{mutant.name.replace('-', '_')}.py").write_text(planted, "utf-8")
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F82", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_test_that_a_mutant_names_is_there() -> None:
    functions = {
        file: {
            node.name
            for node in ast.parse((ROOT / file).read_text("utf-8")).body
            if isinstance(node, ast.FunctionDef)
        }
        for file in {test.partition("::")[0] for mutant in MUTANTS for test in mutant.tests}
    }
    for mutant in MUTANTS:
        for test in mutant.tests:
            file, _, function = test.partition("[")[0].partition("::")
            assert function in functions[file], f"{mutant.name} names {test}"


def test_a_text_that_is_missing_or_stands_twice_is_told() -> None:
    mutant = Mutant("some-bug", "A bug.", "ledger/code.py", "a + b", "a - b", ("tests/t.py",))
    assert mutant.planted("c = a + b\n") == "c = a - b\n"
    for source in ("c = a * b\n", "c = a + b\nd = a + b\n"):
        with pytest.raises(ValueError, match="stands"):
            mutant.planted(source)


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "Some bug"), ("new", "a + b"), ("tests", ()), ("path", "tests/ledger/test_codec.py")],
)
def test_a_mutant_that_could_prove_nothing_is_refused(field: str, value: object) -> None:
    good = {
        "name": "some-bug",
        "says": "A bug.",
        "path": "ledger/code.py",
        "old": "a + b",
        "new": "a - b",
        "tests": ("tests/t.py",),
    }
    Mutant(**good)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        Mutant(**{**good, field: value})  # type: ignore[arg-type]


# --- trials, in a tree of two files -----------------------------------------------------------------

CODE = "def total(a: int, b: int) -> int:\n    return a + b\n"
TESTS = """
import os
import time

import pytest

from ledger.sums import total


@pytest.fixture
def three() -> int:
    assert total(1, 2) == 3
    return 3


def test_one_and_one() -> None:
    deadline = time.monotonic() + 60
    while total(1, 1) < 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert total(1, 1) == 2


def test_with_a_fixture(three: int) -> None:
    assert three == 3
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "ledger").mkdir(parents=True)
    (tree / "ledger" / "sums.py").write_text(CODE)
    (tree / "tests" / "mutants").mkdir(parents=True)
    (tree / "tests" / "test_sums.py").write_text(TESTS)
    for name in ("mutant.py", "probe.py", "trial.py"):
        shutil.copy(ROOT / "tests" / "mutants" / name, tree / "tests" / "mutants" / name)
    shutil.copy(ROOT / "pyproject.toml", tree)
    return tree


def mutant_with(new: str, test: str = "test_one_and_one") -> Mutant:
    test_id = f"tests/test_sums.py::{test}"
    return Mutant("some-bug", "A bug.", "ledger/sums.py", "a + b", new, (test_id,))


@pytest.mark.parametrize("new", ["a - b", "a / 0"], ids=["assertion", "error"])
def test_a_bug_is_caught_by_a_test_that_fails(tree: Path, new: str) -> None:
    verdict = try_mutant(tree, mutant_with(new))
    assert verdict.caught_by == "tests/test_sums.py::test_one_and_one", verdict.reason
    assert (tree / "ledger" / "sums.py").read_text() == CODE


@pytest.mark.parametrize(
    ("mutant", "timeout_s", "reason"),
    [
        (mutant_with("b + a"), 60, "no test fails"),
        (mutant_with("a - c"), 60, "no program: NameError"),
        (mutant_with("a +"), 60, "pytest ended with exit code"),
        (mutant_with("a - b", "test_that_is_not_there"), 60, "pytest ended with exit code"),
        (mutant_with("a - b", "test_with_a_fixture"), 60, "failed in its setup"),
        (mutant_with("-a - b"), 2, "did not end in time"),
    ],
    ids=[
        "no bug",
        "an unknown name",
        "a syntax error",
        "no such test",
        "a fixture that fails",
        "a test that waits",
    ],
)
def test_nothing_else_counts_as_caught(
    tree: Path, mutant: Mutant, timeout_s: int, reason: str
) -> None:
    verdict = try_mutant(tree, mutant, timeout_s)
    assert verdict.caught_by is None
    assert reason in verdict.reason


def test_a_run_that_tests_code_from_elsewhere_is_told(tree: Path) -> None:
    (tree / "ledger" / "sums.py").unlink()
    (tree / "tests" / "test_sums.py").write_text(
        "import ledger.codec\n\n\ndef test_it() -> None:\n    assert ledger.codec is None\n"
    )
    run = run_tests(tree, ["tests/test_sums.py"])
    assert run.foreign and all(name.startswith("ledger") for name in run.foreign)
    assert "code from elsewhere" in (why_not_caught(run) or "")
