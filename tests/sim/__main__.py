"""Run seeds: `python -m tests.sim --first 0 --seeds 100`, or `make sim FIRST=0 SEEDS=100`."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
import warnings
from collections import Counter

from tests.sim.judge import Violation
from tests.sim.plan import plan_of
from tests.sim.world import simulate


def main() -> int:
    """Run the seeds; 1 if any shows a violation."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--quiet", action="store_true", help="print failures and the sum only")
    options = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)  # a process that dies leaves coroutines behind
    injected: Counter[str] = Counter()
    heights = failures = 0
    began = time.process_time()
    for seed in range(options.first, options.first + options.seeds):
        plan = plan_of(seed)
        settings = f"seed={seed} {plan.describe()}"
        if not options.quiet:
            print(settings, flush=True)
        try:
            world = simulate(seed, plan)
        except Violation as violation:
            failures += 1
            print(f"VIOLATION {settings}\n  {violation}", flush=True)
            if violation.__cause__ is not None:
                traceback.print_exception(violation.__cause__)
            print(f"  again: make sim FIRST={seed} SEEDS=1", flush=True)
            continue
        injected.update(world.injected)
        heights += world.judge.height
    seconds = time.process_time() - began
    print(f"\n{'injected':>44}")
    for what, count in sorted(injected.items()):
        print(f"{what:>44}  {count}")
    print(f"{heights} heights in {seconds:.0f} s of one core, {heights / seconds:.0f} a second")
    print(f"{options.seeds} seeds, {failures} violations")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
