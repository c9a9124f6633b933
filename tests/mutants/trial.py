"""Trials: a copy of the tree, one bug planted into it, and the named tests run there, in a process of its own.

A bug is caught when a test fails in its call: by an assertion, or by an error that reaches it. It is not when
collection or a fixture fails, when the code cannot even be loaded, or when nothing is heard in time: a mutant like
that proves nothing about the tests. Runs are repeatable: hash seed and hypothesis' seed are fixed.
"""

from __future__ import annotations

import compileall
import json
import os
import py_compile
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutants.mutant import Mutant
from tests.mutants.probe import RECORD_VARIABLE

TIMEOUT_S: Final = 240
"""A run with one bug. The longest takes well under a minute; what goes on for ever is nothing that a test found."""

BASELINE_TIMEOUT_S: Final = 900
"""All named tests, on the tree as it is."""

UNLOADABLE: Final = frozenset(
    {"ImportError", "ModuleNotFoundError", "NameError", "SyntaxError", "UnboundLocalError"}
)
"""Errors of a mutant that is no program: the exchange of text went wrong, and no test found anything."""

_FAILED: Final = 1
"""pytest's exit code where tests were run and some failed; 2 to 5 are other reasons."""


@dataclass(frozen=True, slots=True)
class Run:
    """How a run of pytest ended. `exit_code` None: it was ended because the time was over."""

    exit_code: int | None
    test: str
    phase: str
    error: str
    foreign: tuple[str, ...]
    seconds: float
    output: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a mutant: the test that caught it, or why none did."""

    mutant: Mutant
    caught_by: str | None
    reason: str
    seconds: float


def copy_tree(root: Path, target: Path) -> None:
    """Copy what git tracks or would, as it is in the working tree, and compile it.

    Compiled files are checked by the source's hash: by time and size alone, a bug planted within the same second
    could be taken for the code before it.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
    ).stdout
    for name in sorted(set(listed.decode().split("\0")) - {""}):
        if (root / name).is_file():  # not one that is deleted in the working tree
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)
    compileall.compile_dir(
        target, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH
    )


def run_tests(
    tree: Path, tests: Iterable[str], options: Sequence[str] = (), timeout_s: float = TIMEOUT_S
) -> Run:
    """Run tests in `tree`, importing from there, until the first fails."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mulu-trial-") as scratch:
        record = Path(scratch) / "record.json"
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest", "-x", "-q", "--hypothesis-seed=0"),
                *("-p", "no:cacheprovider", "-p", "tests.mutants.probe"),
                *("-o", "timeout=0", f"--basetemp={scratch}/tmp"),
                *options,
                *tests,
            ],
            cwd=tree,
            env={
                **os.environ,
                "PYTHONPATH": str(tree),
                "PYTHONHASHSEED": "0",
                RECORD_VARIABLE: str(record),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that processes which a test has started end with it
        )
        exit_code: int | None = None
        try:
            output, _ = process.communicate(timeout=timeout_s)
            exit_code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        written = json.loads(record.read_text()) if record.exists() else {}
    failure = written.get("failure") or {}
    return Run(
        exit_code,
        failure.get("test", ""),
        failure.get("phase", ""),
        failure.get("error", ""),
        tuple(written.get("foreign", ())),
        time.monotonic() - began,
        output,
    )


def why_not_caught(run: Run) -> str | None:
    """Return why a run on a tree with a bug does not count as the bug's being caught; None if it does."""
    if run.exit_code is None:
        return "the tests did not end in time"
    if run.exit_code == 0:
        return "no test fails"
    if run.exit_code != _FAILED:
        return f"pytest ended with exit code {run.exit_code}: {_last_line(run.output)}"
    if run.foreign:
        return f"code from elsewhere was tested: {', '.join(run.foreign[:3])}"
    if run.phase != "call":
        return f"{run.test or 'something'} failed in its {run.phase or 'unknown phase'}"
    if run.error in UNLOADABLE:
        return f"the mutant is no program: {run.error} in {run.test}"
    return None


def try_mutant(pristine: Path, mutant: Mutant, timeout_s: float = TIMEOUT_S) -> Verdict:
    """Plant a bug into a copy of `pristine` and run the tests that must find it."""
    with tempfile.TemporaryDirectory(prefix="mulu-mutant-") as scratch:
        tree = Path(scratch) / "tree"
        shutil.copytree(pristine, tree)
        file = tree / mutant.path
        file.write_text(mutant.planted(file.read_text("utf-8")), "utf-8")
        run = run_tests(tree, mutant.tests, timeout_s=timeout_s)
    reason = why_not_caught(run)
    return Verdict(mutant, run.test if reason is None else None, reason or "", run.seconds)


def try_mutants(
    pristine: Path, mutants: Sequence[Mutant], jobs: int, tell: Callable[[Verdict], None]
) -> list[Verdict]:
    """Try mutants, `jobs` at a time; `tell` hears each verdict when it is there."""
    verdicts = []
    with ThreadPoolExecutor(jobs) as pool:
        for future in as_completed(
            [pool.submit(try_mutant, pristine, mutant) for mutant in mutants]
        ):
            verdicts.append(future.result())
            tell(verdicts[-1])
    return verdicts


def run_baseline(pristine: Path, mutants: Sequence[Mutant], jobs: int) -> Run:
    """Run every test that the mutants name on the tree as it is: all must pass."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    spread = ("-n", str(jobs), "--dist", "worksteal") if jobs > 1 and len(tests) > jobs else ()
    return run_tests(pristine, tests, spread, BASELINE_TIMEOUT_S)


def _last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1] if lines else "without a word"
