"""Plant one bug after the other and tell which test finds it: `python -m tests.mutants`, or `make mutants`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.mutants.catalogue import MUTANTS
from tests.mutants.trial import Verdict, copy_tree, run_baseline, try_mutants

ROOT = Path(__file__).parents[2]

MAX_SHOWN = 160
"""Characters of a test's name; those of parameters go on for long."""


def tell(verdict: Verdict) -> None:
    """Print a verdict as one line."""
    outcome = "caught" if verdict.caught_by is not None else "NOT CAUGHT"
    by = (verdict.caught_by or verdict.reason)[:MAX_SHOWN]
    print(f"{outcome:<10} {verdict.mutant.name:<40} {verdict.seconds:5.1f} s  {by}", flush=True)
    if verdict.caught_by is None:
        print(f"{'':<10} {verdict.mutant.says}", flush=True)


def main() -> int:
    """Try every planted bug; 1 if any is not caught."""
    parser = argparse.ArgumentParser(prog="tests.mutants", description=main.__doc__)
    parser.add_argument("--only", metavar="NAME", help="try one bug")
    parser.add_argument("--list", action="store_true", help="list the bugs and try none")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trials at a time")
    options = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if options.only in (None, mutant.name)]
    if not chosen:
        parser.error(f"no planted bug is called {options.only}; --list names them")
    if options.list:
        for mutant in chosen:
            print(f"{mutant.name:<40} {mutant.says}")
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mulu-pristine-") as scratch:
        pristine = Path(scratch)
        copy_tree(ROOT, pristine)
        baseline = run_baseline(pristine, chosen, options.jobs)
        if baseline.exit_code != 0 or baseline.foreign:
            print(baseline.output)
            print(f"without any bug the named tests do not pass: {baseline.test}")
            return 1
        print(f"without any bug all named tests pass: {baseline.seconds:.1f} s", flush=True)
        verdicts = try_mutants(pristine, chosen, options.jobs, tell)
    caught = sum(verdict.caught_by is not None for verdict in verdicts)
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    print(f"{caught} of {len(chosen)} planted bugs caught, in {minutes} min {seconds} s")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
