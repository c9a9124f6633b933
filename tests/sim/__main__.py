"""Run seeds: `python -m tests.sim --first 0 --seeds 100`, or `make sim FIRST=0 SEEDS=100`."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter

from tests.sim.plan import plan_of
from tests.sim.workers import run_seeds


def main() -> int:
    """Run whole networks under faults, one a seed; 1 if any shows a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=main.__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=20, help="how many")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="at a time")
    parser.add_argument("--quiet", action="store_true", help="print failures and the sum only")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    injected: Counter[str] = Counter()
    heights = violations = 0
    cpu_s = 0.0
    results = run_seeds(seeds, max(1, options.jobs))
    for seed in seeds:
        settings = f"seed={seed} {plan_of(seed).describe()}"
        if not options.quiet:
            print(settings, flush=True)
        result = next(results)
        if result.violation is not None:
            violations += 1
            print(f"VIOLATION {settings}\n  {result.violation}", flush=True)
            print(f"  again: make sim FIRST={seed} SEEDS=1", flush=True)
        injected.update(result.injected)
        heights += result.heights
        cpu_s += result.cpu_s
    print(f"\n{'injected':>44}")
    for what, count in sorted(injected.items()):
        print(f"{what:>44}  {count}")
    pace = heights / cpu_s if cpu_s else 0.0
    print(f"{heights} heights in {cpu_s:.0f} s of processor time, {pace:.0f} a second on one core")
    print(f"{options.seeds} seeds, {violations} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
