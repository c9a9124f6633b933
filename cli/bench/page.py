"""Figures of several runs as tables of docs/PERFORMANCE.md, from what `--json` printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from cli.bench.report import columns_of
from cli.output import CommandError

BEGIN: Final = "<!-- figures: `make bench-all` writes what stands below -->"
END: Final = "<!-- end of figures -->"


def figures_page(documents: Iterable[Mapping[str, Any]]) -> str:
    """Return a section for each document: the machine, then the figures, one column a run."""
    return "\n".join(_section(dict(document)) for document in documents)


def replace_figures(page: str, figures: str) -> str:
    """Return a page with these figures between its two marks.

    Raises:
        CommandError: the page lacks the marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise CommandError("the page has no place for figures", hint=f"It needs {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n\n{figures}\n{END}{after}"


def _section(document: dict[str, Any]) -> str:
    scenario, machine = document.pop("bench"), document.pop("machine")
    plain, columns = columns_of(document)
    lines = [f"### {scenario}", "", ", ".join(f"{k} {v}" for k, v in machine.items()) + ".", ""]
    for table in ({"": plain} if plain else {}), columns:
        if table:
            lines += [*_table(table), ""]
    return "\n".join(lines)


def _table(columns: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = [
        [f"`{name}`", *(_cell(column.get(name)) for column in columns.values())] for name in names
    ]
    head = ["", *columns]
    return [_row(head), _row(["---", *("---:" for _ in columns)]), *map(_row, rows)]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return f"{value:,}" if type(value) in (int, float) else str(value)
