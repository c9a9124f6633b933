"""Whether the ledger's own work has become dearer: CPU a transaction, against what was recorded.

Everything runs in this process. Figures are in signature checks, measured beside each round: a slower machine, or one
that others use, makes both dearer. The median of several rounds is compared.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cli.bench.chain import STEPS, local_chain
from cli.bench.loads import AUTHORISATION, BATCH, DIRECTORY, Load
from cli.bench.machine import describe_machine, signature_check_us
from cli.bench.network import Progress, temporary_directory

RECORDED: Final = Path(__file__).with_name("smoke.json")
WARN_ABOVE: Final = 1.2
"""Of what was recorded."""

ROUNDS: Final = 7
PER_ROUND: Final[Mapping[str, int]] = {DIRECTORY.name: 800, AUTHORISATION.name: 400, BATCH.name: 12}
"""Transactions of each load; they make two blocks."""

_BLOCKS_PER_ROUND: Final = 2


def measure_costs(
    rounds: int, progress: Progress, per_round: Mapping[str, int] = PER_ROUND
) -> dict[str, dict[str, float]]:
    """Return, by load, the CPU of one transaction in signature checks: all of it, and step by step."""
    costs = {}
    for load in (DIRECTORY, AUTHORISATION, BATCH):
        with temporary_directory() as directory:
            costs[load.name] = _costs(load, rounds, per_round[load.name], directory, progress)
    return costs


def _costs(
    load: Load, rounds: int, count: int, directory: Path, progress: Progress
) -> dict[str, float]:
    per_block = count // _BLOCKS_PER_ROUND
    found: dict[str, list[float]] = {name: [] for name in ("total", *STEPS)}
    with local_chain(directory / "network") as chain:
        transactions = load.make(chain, (rounds + 1) * count, progress)
        for number in range(rounds + 1):
            before_us = signature_check_us()
            chain.cpu_s.clear()
            for start in range(number * count, (number + 1) * count, per_block):
                chain.run_block(transactions[start : start + per_block])
            check_us = (before_us + signature_check_us()) / 2
            if number:  # the first warms caches up
                for step in STEPS:
                    found[step].append(chain.cpu_s[step] / count * 1e6 / check_us)
                found["total"].append(sum(chain.cpu_s.values()) / count * 1e6 / check_us)
    return {name: round(statistics.median(values), 2) for name, values in found.items()}


def load_recorded() -> dict[str, Any]:
    """Return what was recorded; empty where nothing was."""
    try:
        recorded: dict[str, Any] = json.loads(RECORDED.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return recorded


def record(costs: dict[str, dict[str, float]]) -> None:
    """Keep these costs as what later ones are compared with."""
    document = {"unit": "signature checks", "machine": describe_machine(), "costs": costs}
    RECORDED.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def recorded_snappy(recorded: dict[str, Any]) -> str | None:
    """Return whose Snappy was there when the costs were recorded; None where the record does not tell."""
    found: str | None = recorded.get("machine", {}).get("snappy")
    return found


def snappy_lines(here: str, recorded: dict[str, Any]) -> list[str]:
    """Say whose Snappy the record is of, where it is not the one that is here: what is compared is not alike."""
    before = recorded_snappy(recorded)
    if not recorded or before == here:
        return []
    told = "does not tell whose Snappy it is of" if before is None else f"is of the Snappy {before}"
    return [
        f"The record {told}; here it is that {here}. `mulu bench smoke --record` makes another."
    ]


def compare(
    costs: dict[str, dict[str, float]], recorded: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Return, by load, the recorded `total` and the `ratio` to it; loads without a record are left out."""
    known = recorded.get("costs", {})
    return {
        name: {
            "recorded": known[name]["total"],
            "ratio": round(cost["total"] / known[name]["total"], 2),
        }
        for name, cost in costs.items()
        if name in known
    }


def comparison_lines(costs: dict[str, dict[str, float]], recorded: dict[str, Any]) -> list[str]:
    """Say of each load that was recorded what it costs, what it did, and whether that is as much."""
    lines = []
    for name, compared in compare(costs, recorded).items():
        now, before = costs[name]["total"], compared["recorded"]
        how = "within"
        if now > WARN_ABOVE * before:
            how = "dearer by more than"
        elif now < (2 - WARN_ABOVE) * before:
            how = "cheaper by more than"
        lines.append(
            f"{name} {now:g} signature checks, recorded {before:g}: {how} {WARN_ABOVE - 1:.0%}"
        )
    return lines


def warnings(costs: dict[str, dict[str, float]], recorded: dict[str, Any]) -> list[str]:
    """Say which loads have become dearer than is normal, and in which step."""
    found = []
    known = recorded.get("costs", {})
    for name, cost in costs.items():
        before = known.get(name)
        if before is None:
            found.append(f"{name}: nothing is recorded; `mulu bench smoke --record` does")
        elif cost["total"] > WARN_ABOVE * before["total"]:
            step = max(STEPS, key=lambda one: cost[one] - before[one])
            found.append(
                f"{name}: a transaction costs {cost['total']:g} signature checks, recorded are "
                f"{before['total']:g} ({cost['total'] / before['total'] - 1:+.0%}); most of it in {step}: "
                f"{before[step]:g} before, {cost[step]:g} now"
            )
    return found
