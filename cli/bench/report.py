"""How figures are shown: one JSON value, or a table with the machine below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.bench.machine import describe_machine
from cli.output import show_json, show_record, show_table


def show_figures(scenario: str, figures: Mapping[str, Any], as_json: bool) -> None:
    """Show the figures of one scenario. A figure that is a mapping of figures is a run of its own: a column."""
    machine = describe_machine()
    if as_json:
        show_json({"bench": scenario, "machine": machine, **figures})
        return
    runs = {name: part for name, part in figures.items() if _is_run(part)}
    plain = {name: value for name, value in figures.items() if name not in runs}
    shared = any(name in part for name in plain for part in runs.values())
    if plain and not shared:
        show_record(f"Bench {scenario}", plain)
    if runs:
        columns = {"": plain, **runs} if shared else runs
        names = dict.fromkeys(name for column in columns.values() for name in column)
        rows = [(name, *(column.get(name) for column in columns.values())) for name in names]
        show_table(f"Bench {scenario}", ("", *columns), rows)
    show_record("Machine", machine)


def _is_run(value: object) -> bool:
    return isinstance(value, Mapping) and any(type(one) in (int, float) for one in value.values())
