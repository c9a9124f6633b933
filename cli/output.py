"""What people and machines see: tables and notes, one JSON value, errors. The only module that writes to the terminal.

Every command ends in exactly one of `show_json` (with `--json`), a table, or a sentence. Errors go to standard error
as `error: what was wrong` and `what to do`; with `--json` also to standard output as `{"error": {...}}`, so that
a machine always finds one JSON value there.
"""

from __future__ import annotations

import datetime
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ledger.fields import MAX_TIME_MS

if TYPE_CHECKING:  # modules that take time to import
    from node.answers import Json, Page

_TEXT_LIMIT: Final = 10_000
"""A cell longer than this is cut for people; `--json` has all of it."""


_NOTHING: Final = "–"
"""How a cell shows that there is no value."""

_IDENTIFIER_WIDTH: Final = 34
"""The longest identifier that people copy (a matter's code) has 31 characters; digests are longer."""

_LEAST_WIDTH: Final = 10
"""What a column of prose keeps beside identifiers."""


class ExitCode(IntEnum):
    """Exit codes of every command."""

    OK = 0
    REFUSED = 1  # refused, not valid, failed on the ledger
    BAD_INPUT = 2  # wrong arguments, unreadable or malformed input
    NOT_ESTABLISHED = 3  # no node, no quorum, not committed in time, too stale, not to be told


class CommandError(Exception):
    """A command cannot go on. `text` says what was wrong, `hint` what to do about it, `code` is stable ASCII."""

    def __init__(
        self,
        text: str,
        *,
        hint: str = "",
        code: str = "bad_input",
        exit_code: ExitCode = ExitCode.BAD_INPUT,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint
        self.code = code
        self.exit_code = exit_code


class OutputError(Exception):
    """Standard output cannot be written: what the command has found out cannot be told."""


class Output(io.TextIOWrapper):
    """Standard output. That it is full must not pass for another error of the system, with another exit code."""

    def write(self, text: str, /) -> int:
        with _telling():
            return super().write(text)

    def flush(self) -> None:
        with _telling():
            super().flush()


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output cannot be written: {error.strerror}") from None


def prepare_streams() -> None:
    """Make standard output and standard error fit for any text, and for what cannot be written to.

    Raises:
        OutputError: standard output is closed. Whatever was opened next would stand in its place.
    """
    if sys.stderr is None:  # as above: take its place with what may be written to
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    if isinstance(sys.stderr, io.TextIOWrapper):
        # What a terminal cannot show must not end a command.
        sys.stderr.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdout, io.TextIOWrapper):
        old = sys.stdout
        sys.stdout = Output(
            old.detach(),
            encoding=old.encoding,
            errors="backslashreplace",
            line_buffering=old.line_buffering,
        )


def drop_output() -> None:
    """Write nothing more to standard output, also at shutdown."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def console() -> Console:
    """Return a console on standard output; where it is no terminal, wide enough for whole cells."""
    width = None if sys.stdout.isatty() else 400
    return Console(width=width, highlight=False, soft_wrap=not sys.stdout.isatty())


def error_console() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def show_json(value: Any) -> None:
    """Print one JSON value; Chinese text stays readable."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Print a sentence; markup characters in it have no meaning.

    A word longer than a line – an offer, a token – gets no line ends, which would be copied with it.
    """
    where = console()
    shown = printable(text)
    long_word = any(len(word) > where.width for word in shown.split())
    where.print(Text(shown), soft_wrap=long_word or where.soft_wrap)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; says so where it has no rows."""
    table = Table(
        title=escape(title), title_justify="left", title_style="bold", header_style="bold"
    )
    cells = [[cell(value) for value in row] for row in rows]
    if not cells:
        say(f"{title}: none.")
        return
    where = console()
    widths = _widths([list(column) for column in zip(columns, *cells, strict=True)], where.width)
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, overflow="fold", width=width)
    for texts in cells:
        table.add_row(*(Text(text) for text in texts))
    where.print(table)


def show_page(
    page: Page,
    title: str,
    columns: Sequence[str],
    row: Callable[[Json], Sequence[object]],
    *,
    as_json: bool,
) -> None:
    """Print one page of a list: as JSON, or as a table of what `row` makes of each item and how to go on."""
    if as_json:
        show_json({"items": page.items, "cursor": page.cursor})
        return
    show_table(title, columns, (row(item) for item in page.items))
    if page.cursor:
        say(f"More: --cursor {page.cursor}")


def _widths(columns: list[list[str]], width: int) -> list[int | None]:
    """Return the width of each column, heading first; all None where the table fits, or never will.

    Identifiers stay whole as long as there is room, so that they can be copied; prose and digests are folded.
    """
    spare = width - 3 * len(columns) - 1
    needs = [
        max(cell_len(line) for text in column for line in text.split("\n")) for column in columns
    ]
    widths = [min(need, _LEAST_WIDTH) for need in needs]
    if sum(needs) <= spare or sum(widths) > spare:
        return [None] * len(columns)
    for position in sorted(range(len(columns)), key=needs.__getitem__):
        need = needs[position]
        words = all(
            text == _NOTHING or (text.isascii() and " " not in text)
            for text in columns[position][1:]
        )
        if words and need <= _IDENTIFIER_WIDTH and sum(widths) - widths[position] + need <= spare:
            widths[position] = need
    while sum(widths) < spare:  # what is left, evenly
        lacking = [position for position, need in enumerate(needs) if widths[position] < need]
        for position in lacking[: spare - sum(widths)]:
            widths[position] += 1
    return list(widths)


def show_record(title: str, record: dict[str, Any]) -> None:
    """Print one record as name and value pairs; nested values as indented JSON."""
    table = Table(title=escape(title), title_justify="left", title_style="bold", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in record.items():
        table.add_row(Text(printable(name)), Text(cell(value)))
    console().print(table)


def cell(value: object) -> str:
    """Return a value as a table shows it."""
    if value is None or value == "" or value == [] or value == ():
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple) and all(isinstance(item, str | int) for item in value):
        return printable(", ".join(str(item) for item in value))
    if isinstance(value, dict | list | tuple):
        return printable(json.dumps(value, ensure_ascii=False, indent=1))
    return printable(str(value))


def printable(text: str) -> str:
    """Return `text` without control and format characters: a record must not steer the terminal."""
    if len(text) > _TEXT_LIMIT:
        text = text[:_TEXT_LIMIT] + " …"
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character == "\n" else f"\\x{ord(character):02x}"
        for character in text
    )


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with what it counts: `many`, by default with an s, where that is not one."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def time_text(time_ms: int | None) -> str:
    """Return a time in milliseconds since the epoch as ISO 8601 in UTC, to the second."""
    if time_ms is None:
        return _NOTHING
    moment = datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")


def with_times(value: Any) -> Any:
    """Return a record for people: what is called `…_ms` is a time, and is shown as one, at any depth."""
    if isinstance(value, Mapping):
        shown = {}
        for name, one in value.items():
            if _is_time(name, one):
                shown[name.removesuffix("_ms")] = time_text(one)
            else:
                shown[name] = with_times(one)
        return shown
    if isinstance(value, list | tuple):
        return [with_times(one) for one in value]
    return value


def _is_time(name: str, value: object) -> bool:
    return name.endswith("_ms") and type(value) is int and 0 <= value <= MAX_TIME_MS


def show_error(
    text: str, *, hint: str = "", code: str = "bad_input", as_json: bool = False
) -> None:
    """Report an error to people, and to machines where they asked for JSON."""
    if as_json:
        # On one line, since a command that emits an event a line may end so.
        document = {"error": {"code": code, "message": text, "hint": hint}}
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    errors = error_console()
    errors.print(Text.assemble(("error: ", "bold red"), printable(text)))
    if hint:
        errors.print(Text(printable(hint)))
