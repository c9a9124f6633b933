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
    plain, columns = columns_of(figures)
    if plain:
        show_record(f"Bench {scenario}", dict(plain))
    if columns:
        names = dict.fromkeys(name for column in columns.values() for name in column)
        rows = [(name, *(column.get(name) for column in columns.values())) for name in names]
        show_table(f"Bench {scenario}", ("", *columns), rows)
    show_record("Machine", machine)


def columns_of(
    figures: Mapping[str, Any],
) -> tuple[Mapping[str, Any], dict[str, Mapping[str, Any]]]:
    """Return what is told once, and the runs by name; where both have the same figures, the first is a run too."""
    runs = {name: part for name, part in figures.items() if _is_run(part)}
    plain = {name: value for name, value in figures.items() if name not in runs}
    if any(name in part for name in plain for part in runs.values()):
        return {}, {"": plain, **runs}
    return plain, runs


def _is_run(value: object) -> bool:
    return isinstance(value, Mapping) and any(type(one) is float for one in value.values())
