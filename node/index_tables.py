"""The tables of the index, and the rows that records and uses have in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, String, Table, Text

from directory.codes import Collection
from directory.links import EntryName
from ledger.codec import Value
from ledger.finalization import FinalizedBlock
from licenses.disclosure import CommittedUse
from licenses.recording import RECORD_KIND

VERSION: Final = 2
"""Of the tables; an index of another version is built anew."""

MAX_TEXT_CHARACTERS: Final = 2_000

_SEARCHED: Final = ("name", "title", "text")
"""Fields whose words a search finds."""

METADATA = MetaData()
RECORDS = Table(
    "records",
    METADATA,
    Column("key", String(255), primary_key=True),
    Column("owner", String(32), nullable=False),
    Column("status", String(32), nullable=False),
    Column("text", Text, nullable=False),
    Index("records_by_owner", "owner", "key"),
    sqlite_with_rowid=False,
)
LINKS = Table(
    "links",
    METADATA,
    Column("source", String(255), primary_key=True),
    Column("target", String(255), primary_key=True),
    Index("links_by_target", "target"),
)
USES = Table(
    "uses",
    METADATA,
    Column("license", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("use", String(64), nullable=False),
    Column("transaction", String(64), nullable=False),
    Column("log_index", BigInteger, nullable=False),
    Column("height", BigInteger, nullable=False),
    Column("organisation", String(32), nullable=False),
    Column("matter", String(64), nullable=False),
    Column("division", String(16), nullable=False),
    Column("mode", String(16), nullable=False),
    Column("notice_after_ms", BigInteger, nullable=True),
    Index("uses_by_use", "use"),
    Index("uses_by_log_index", "log_index"),
)
PROGRESS = Table(
    "progress",
    METADATA,
    Column("version", BigInteger, primary_key=True),
    Column("height", BigInteger, nullable=False),
    Column("app_hash", LargeBinary(32), nullable=False),
)


@dataclass(frozen=True, slots=True)
class UseRow:
    """One license of a recorded use. Handles and ids in hex."""

    license: str
    number: int
    use: str
    transaction: str
    log_index: int
    height: int
    organisation: str
    matter: str
    division: str
    mode: str
    notice_after_ms: int | None


def entry_key_of(name: EntryName) -> str:
    """Return the state key of a directory entry, as the index names it."""
    return f"directory/{name.collection}/{name.identifier}"


def entry_name_of(key: str) -> EntryName:
    """Return what `entry_key_of` was given."""
    _, collection, identifier = key.split("/", 2)
    return EntryName(cast("Collection", collection), identifier)


def record_row(key: str, value: Value) -> dict[str, Any]:
    """Return the row of `RECORDS` for a record of the state."""
    identifier = key.split("/", 2)[2]
    fields = cast("Mapping[str, Any]", value)
    texts = [identifier]
    for body in (fields, fields.get("effective"), fields.get("pending")):
        body = body.get("body", body) if type(body) is dict else None
        if type(body) is dict:
            for name in _SEARCHED:
                text = body.get(name)
                if type(text) is str:
                    texts.append(text)
    history = fields.get("history")
    status = fields.get("status") or (history[-1][0] if history else "")
    owner = fields.get("owner") or fields.get("issuer") or identifier[:18]
    return {
        "key": key,
        "owner": str(owner),
        "status": str(status),
        "text": " ".join(texts)[:MAX_TEXT_CHARACTERS],
    }


def uses_of_block(finalized: FinalizedBlock) -> Iterator[UseRow]:
    """Yield the rows of the uses that a block has recorded, as its events tell."""
    for position, result in enumerate(finalized.results):
        for one in result.events:
            if one.kind != RECORD_KIND:
                continue
            what = one.attributes
            notice = what.get("notice_after_ms")
            yield UseRow(
                what["license"],
                int(what["number"]),
                what["use"],
                finalized.transactions[position].id.hex(),
                finalized.first_index + position,
                finalized.height,
                what["organisation"],
                what["matter"],
                what["division"],
                what["mode"],
                None if notice is None else int(notice),
            )


def rows_of_use(use: CommittedUse, counts: dict[str, int]) -> Iterator[UseRow]:
    """Yield the rows of a use found in the log; `counts`, by license, goes up."""
    request = use.request
    for used in use.licenses:
        handle = used.handle.hex()
        counts[handle] = counts.get(handle, 0) + 1
        yield UseRow(
            handle,
            counts[handle],
            use.id.hex(),
            use.transaction_id.hex(),
            use.index,
            use.height,
            request.organisation,
            request.matter,
            request.division,
            request.mode,
            use.notice_after_ms,
        )


def use_row(row: Any) -> UseRow:
    """Return a row that the database answered."""
    return UseRow(*(getattr(row, name) for name in UseRow.__slots__))
