"""Turns files into entries: JSON, CSV and statements; and entries into operations in transactions'
size.

Nothing is imported by halves: a file either gives all its entries or raises `InvalidImport`, which
lists what is wrong with line (or place) and field. JSON is one object: collection → array of
entries as operations carry them, bytes in hex. CSV holds one collection: a header with the columns
of `COLUMNS`, several values in a cell separated by `;`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

from directory.catch_all import is_catch_all
from directory.codes import COLLECTIONS, Collection
from directory.models import ENTRY_MODELS, MAX_ARTICLES, Entry, Responsibility
from directory.records import entry_value
from directory.statement import InvalidStatement, Statement, decode_statement
from ledger.codec import encode
from ledger.errors import LedgerError
from ledger.limits import MAX_OPERATIONS, MAX_TRANSACTION_BYTES
from ledger.problems import problems_of
from ledger.transactions import Operation

MAX_IMPORT_BYTES: Final = 10 * 1024 * 1024
"""More is imported in several files."""

MAX_PROBLEMS: Final = 100
"""Nobody reads more at once."""

MAX_COUNTED_PROBLEMS: Final = 10_000
"""With so many, the file is of another kind; the rest is not looked at."""

TRANSACTION_FRAME_BYTES: Final = 512
"""What a transaction holds besides its operations: chain id, key, nonce, signature, and framing."""

_BEIJING_TIME: Final = timezone(timedelta(hours=8))

_Row = tuple[str, Collection, Any]
"""Place in the file, collection, and what stands there."""


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """What is wrong where: a line of a CSV file or an item's place in JSON, and the field."""

    place: str
    field: str
    text: str

    def __str__(self) -> str:
        return (
            f"{self.place}, {self.field}: {self.text}"
            if self.field
            else f"{self.place}: {self.text}"
        )


class InvalidImport(LedgerError):
    """A file cannot be imported; nothing of it was."""

    def __init__(self, problems: Sequence[ImportProblem]) -> None:
        shown = tuple(problems[:MAX_PROBLEMS])
        more = len(problems) - len(shown)
        lines = [str(problem) for problem in shown] + ([f"and {more} more"] if more else [])
        super().__init__("\n".join(lines))
        self.problems = shown


def entries_from_json(data: bytes) -> tuple[Entry, ...]:
    """Read entries from JSON: `{"responsibility": [{…}, …], "system": […], …}`, in the order of the
    file.

    Raises:
        InvalidImport: not JSON, an unknown collection, an invalid entry, or an identifier twice.
    """
    try:
        parsed = json.loads(
            _text(data), object_pairs_hook=_distinct_keys, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise InvalidImport([ImportProblem("file", "", f"not JSON: {error}")]) from None
    if not isinstance(parsed, dict) or not parsed:
        raise InvalidImport([ImportProblem("file", "", f"expected an object with {_NAMES}")])
    rows: list[_Row] = []
    problems: list[ImportProblem] = []
    for name, items in parsed.items():
        collection = _COLLECTION_NAMES.get(name)
        if collection is None:
            problems.append(ImportProblem(name[:80], "", f"no collection; expected {_NAMES}"))
        elif not isinstance(items, list):
            problems.append(ImportProblem(name, "", "expected an array of entries"))
        else:
            rows += [(f"{name}[{index}]", collection, item) for index, item in enumerate(items)]
    return _entries(rows, problems)


def entries_from_csv(data: bytes, collection: Collection) -> tuple[Entry, ...]:
    """Read the entries of one collection from CSV with a header; `COLUMNS` says what each cell
    holds.

    Raises:
        InvalidImport: not CSV, missing or unknown columns, an invalid cell or entry, or an
        identifier twice.
    """
    problems: list[ImportProblem] = []
    return _entries(_csv_rows(_text(data), collection, problems), problems)


def _csv_rows(text: str, collection: Collection, problems: list[ImportProblem]) -> Iterator[_Row]:
    """Yield the rows without a bad cell, one by one: a short cell may stand for a thousand articles."""
    columns = COLUMNS[collection]
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, columns)
        for cells in reader:
            place = f"line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                found = f"{len(cells)} cells, the header has {len(header)}"
                problems.append(ImportProblem(place, "", found))
                continue
            row: dict[str, Any] = {}
            known = len(problems)
            for name, cell in zip(header, cells, strict=True):
                try:
                    columns[name](row, name, cell.strip())
                except ValueError as error:
                    problems.append(ImportProblem(place, name, str(error)))
            if len(problems) > known:
                continue
            if collection == "responsibility" and "text" in row:  # what validators would ask for
                row.setdefault("catch_all", is_catch_all(row["text"]))
            yield place, collection, row
    except csv.Error as error:
        raise InvalidImport([ImportProblem(f"line {reader.line_num}", "", str(error))]) from None


def entries_from_statement(statement: Statement, department: str) -> tuple[Responsibility, ...]:
    """Return a department's responsibilities from its statement.

    Raises:
        InvalidImport: no numbered paragraph, a number twice, an empty or too long paragraph, a bad
        USCC.
    """
    if not statement.responsibilities:
        text = "no numbered paragraph found; expected (1), （一）, 1., Article 1 or 第一条"
        raise InvalidImport([ImportProblem("statement", "", text)])
    rows: list[_Row] = [
        (
            f"paragraph {paragraph.number}",
            "responsibility",
            {
                "department": department,
                "number": paragraph.number,
                "name": paragraph.title,
                "text": paragraph.text,
                "catch_all": paragraph.catch_all,
            },
        )
        for paragraph in statement.responsibilities
    ]
    return tuple(entry for entry in _entries(rows, []) if isinstance(entry, Responsibility))


def publish_operation(entry: Entry) -> Operation:
    """Return the operation that submits an entry for the first time."""
    return Operation(f"directory.{entry.collection}.publish", entry_value(entry))


def amend_operation(entry: Entry) -> Operation:
    """Return the operation that submits a new version of an entry."""
    return Operation(f"directory.{entry.collection}.amend", entry_value(entry))


def batches(operations: Iterable[Operation]) -> Iterator[tuple[Operation, ...]]:
    """Yield the operations in order, in groups that each fit one transaction.

    Raises:
        InvalidImport: one operation alone is too large.
    """
    batch: list[Operation] = []
    size = 0
    room = MAX_TRANSACTION_BYTES - TRANSACTION_FRAME_BYTES
    for operation in operations:
        needed = len(encode((operation.kind, operation.body)))
        if needed > room:
            text = f"{needed} bytes; a transaction takes {room}"
            raise InvalidImport([ImportProblem(operation.kind, "", text)])
        if batch and (size + needed > room or len(batch) == MAX_OPERATIONS):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(operation)
        size += needed
    if batch:
        yield tuple(batch)


# --- rows to entries ---------------------------------------------------------------------------


_COLLECTION_NAMES: Final[Mapping[str, Collection]] = {name: name for name in COLLECTIONS}
_NAMES: Final = ", ".join(COLLECTIONS)


def _entries(rows: Iterable[_Row], problems: list[ImportProblem]) -> tuple[Entry, ...]:
    entries = []
    seen: dict[tuple[Collection, str], str] = {}
    for place, collection, row in rows:
        if len(problems) > MAX_COUNTED_PROBLEMS:
            break
        try:
            entry = ENTRY_MODELS[collection].model_validate_json(json.dumps(row))
        except RecursionError:
            problems.append(ImportProblem(place, "", "nested too deeply"))
            continue
        except ValidationError as error:
            problems += [ImportProblem(place, field, text) for field, text in problems_of(error)]
            continue
        first = seen.get((collection, entry.identifier))
        seen.setdefault((collection, entry.identifier), place)
        if first is not None:
            text = f"{entry.identifier} stands at {first} already"
            problems.append(ImportProblem(place, "", text))
        entries.append(entry)
    if problems:
        raise InvalidImport(problems)
    if not entries:
        raise InvalidImport([ImportProblem("file", "", "no entries")])
    return tuple(entries)


def _text(data: bytes) -> str:
    if len(data) > MAX_IMPORT_BYTES:
        text = f"{len(data)} bytes, at most {MAX_IMPORT_BYTES}"
        raise InvalidImport([ImportProblem("file", "", text)])
    try:
        text = decode_statement(data)
    except InvalidStatement as error:
        raise InvalidImport([ImportProblem("file", "", str(error))]) from None
    return text.removeprefix("\ufeff")


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise ValueError(f"the key {name[:80]!r} stands twice in one object")
        result[name] = value
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


# --- CSV cells ---------------------------------------------------------------------------------


Column = Callable[[dict[str, Any], str, str], None]
"""Puts a cell into the row of its entry: (row, column name, cell). Raises `ValueError` with what is
wrong."""


def _check_header(header: Sequence[str], columns: Mapping[str, Column]) -> None:
    if len(header) > 2 * len(columns):
        raise InvalidImport([ImportProblem("line 1", "", f"{len(header)} columns are too many")])
    unknown = [name for name in header if name not in columns]
    twice = sorted({name for name in header if header.count(name) > 1})
    problems = [ImportProblem("line 1", name[:80], "no such column") for name in unknown]
    problems += [ImportProblem("line 1", name[:80], "stands twice") for name in twice]
    if problems or not header:
        expected = ImportProblem("line 1", "", f"expected columns among {', '.join(columns)}")
        raise InvalidImport([*problems, expected])


def _string(row: dict[str, Any], name: str, cell: str) -> None:
    if cell:
        row[name] = cell


def _integer(row: dict[str, Any], name: str, cell: str) -> None:
    if cell:
        row[name] = _int(cell)


def _int(cell: str) -> int:
    if not 1 <= len(cell) <= 16 or any(character not in "0123456789" for character in cell):
        raise ValueError("expected a whole number")
    return int(cell)


def _boolean(row: dict[str, Any], name: str, cell: str) -> None:
    if cell:
        row[name] = _bool(cell)


def _bool(cell: str) -> bool:
    value = _BOOLEANS.get(cell.casefold())
    if value is None:
        raise ValueError("expected true, yes or 是; false, no or 否")
    return value


_BOOLEANS: Final = {"true": True, "yes": True, "是": True, "false": False, "no": False, "否": False}


def _time(row: dict[str, Any], name: str, cell: str) -> None:
    """A date (from its midnight in Beijing) or milliseconds since the epoch."""
    if not cell:
        return
    if "-" not in cell:
        row[name] = _int(cell)
        return
    try:
        day = date.fromisoformat(cell)
    except ValueError:
        raise ValueError("expected a date such as 2024-05-01, or milliseconds") from None
    midnight = datetime(day.year, day.month, day.day, tzinfo=_BEIJING_TIME)
    row[name] = int(midnight.timestamp()) * 1000


def _list(row: dict[str, Any], name: str, cell: str) -> None:
    row[name] = _split(cell)


def _split(cell: str) -> list[str]:
    return [part for part in (part.strip() for part in cell.replace("；", ";").split(";")) if part]


def _articles(row: dict[str, Any], name: str, cell: str) -> None:
    """Article numbers; `1..14` stands for all from 1 to 14."""
    articles: list[str] = []
    for part in _split(cell):
        first, dots, last = part.partition("..")
        if dots:
            low, high = _int(first), _int(last)
            if not low <= high < low + MAX_ARTICLES:
                raise ValueError(f"{part} is no range of at most {MAX_ARTICLES} articles")
            articles += [str(number) for number in range(low, high + 1)]
        else:
            articles.append(part)
        if len(articles) > MAX_ARTICLES:
            raise ValueError(f"more than {MAX_ARTICLES} articles")
    row[name] = articles


def _references(row: dict[str, Any], name: str, cell: str) -> None:
    """Articles of instruments: `<instrument>#<article>`."""
    row[name] = [_reference(part) for part in _split(cell)]


def _reference(text: str) -> dict[str, str]:
    instrument, mark, article = text.partition("#")
    if not mark:
        raise ValueError(f"expected <instrument>#<article>, not {text[:80]!r}")
    return {"instrument": instrument.strip(), "article": article.strip()}


def _demands(row: dict[str, Any], name: str, cell: str) -> None:
    """License fields: `<type>.<field>=<reason>`."""
    demands: dict[str, list[dict[str, str]]] = {}
    for part in _split(cell):
        place, mark, reason = part.partition("=")
        license_type, dot, field = place.partition(".")
        if not mark or not dot:
            raise ValueError(f"expected <type>.<field>=<reason>, not {part[:80]!r}")
        demands.setdefault(license_type.strip(), []).append(
            {"name": field.strip(), "reason": reason.strip()}
        )
    row[name] = [{"type": code, "fields": fields} for code, fields in demands.items()]


def _items(row: dict[str, Any], name: str, cell: str) -> None:
    """Information items: `<name>|<type>|<grade>|<sensitive: true or false>`."""
    items = []
    for part in _split(cell):
        parts = [piece.strip() for piece in part.split("|")]
        if len(parts) != 4:
            raise ValueError(f"expected <name>|<type>|<grade>|<sensitive>, not {part[:80]!r}")
        items.append(
            {
                "name": parts[0],
                "type": parts[1],
                "grade": parts[2],
                "sensitive": _bool(parts[3]),
            }
        )
    row[name] = items


def _sharing(row: dict[str, Any], name: str, cell: str) -> None:
    if cell:
        part = name.removeprefix("sharing_")
        row.setdefault("sharing", {})[part] = _reference(cell) if part == "ground" else cell


def _opening(row: dict[str, Any], name: str, cell: str) -> None:
    if not cell:
        return
    part = name.removeprefix("open_")
    row.setdefault("opening", {})[part] = _bool(cell) if part == "open" else cell


COLUMNS: Final[Mapping[Collection, Mapping[str, Column]]] = MappingProxyType(
    {
        "instrument": {
            "id": _string,
            "kind": _string,
            "name": _string,
            "number": _string,
            "issuer": _string,
            "in_force_from_ms": _time,
            "in_force_until_ms": _time,
            "articles": _articles,
            "digest": _string,
        },
        "responsibility": {
            "department": _string,
            "number": _integer,
            "name": _string,
            "text": _string,
            "catch_all": _boolean,
        },
        "system": {
            "id": _string,
            "name": _string,
            "summary": _string,
            "responsibilities": _list,
            "network": _string,
            "hosting": _string,
        },
        "resource": {
            "id": _string,
            "name": _string,
            "code": _string,
            "summary": _string,
            "format": _string,
            "systems": _list,
            "items": _items,
            "grade": _string,
            "confidential": _boolean,
            "sharing_type": _sharing,
            "sharing_method": _sharing,
            "sharing_condition": _sharing,
            "sharing_ground": _sharing,
            "open": _opening,
            "open_condition": _opening,
            "update_cycle": _string,
            "related": _list,
        },
        "matter": {
            "code": _string,
            "name": _string,
            "department": _string,
            "responsibilities": _list,
            "articles": _references,
            "licenses": _demands,
            "modes": _list,
        },
        "entrustment": {
            "department": _string,
            "organisation": _string,
            "matters": _list,
            "valid_from_ms": _time,
            "valid_to_ms": _time,
            "document": _string,
            "digest": _string,
        },
    }
)
"""The columns of each collection's CSV file. An empty cell leaves its field out."""
