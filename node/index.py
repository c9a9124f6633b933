"""The searchable index: what the state cannot list, in SQL. Disposable, and rebuilt from state and log.

    records   key, owner, status, text                      one row a state record that people list
    links     source, target                                effective directory entries and what they rest on
    uses      license, number, use, transaction, height, …  one row a license that a use was granted of
    progress  version, height, app_hash                     how far the index is

The index names records; their values come from the proven view, so that a search never answers what nobody vouches
for. Commits are fed in order; when the index is not exactly where the ledger is, it is built anew.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog
from sqlalchemy import (
    Connection,
    Engine,
    Select,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DataError, SQLAlchemyError

from directory.links import links_of
from directory.records import effective_entry, record_from_value
from ledger import keyspace
from ledger.codec import Value, decode
from ledger.database import Reader
from ledger.entries import TransactionEntry, decode_entry
from ledger.finalization import FinalizedBlock
from ledger.history import Tip
from ledger.suite import Suite
from ledger.transactions import decode_transaction
from licenses.disclosure import uses_in
from licenses.recording import RECORD_KIND
from node.errors import IndexUnavailableError
from node.index_tables import (
    LINKS,
    METADATA,
    PROGRESS,
    RECORDS,
    USES,
    VERSION,
    UseRow,
    entry_key_of,
    record_row,
    rows_of_use,
    use_row,
    uses_of_block,
)
from node.signal import Signal
from node.workers import Worker

RETRY_S: Final = 10.0
"""How long after a failure the index is tried again."""

LISTED: Final = ("directory/", "ledger/organisation/", "licenses/")
"""State keys of records that people list or search."""

MAX_WAITING_BLOCKS: Final = 1_024
"""Commits that may wait for a slow database; beyond, the index is built anew when it has time."""

GATHER_S: Final = 0.1
"""Commits of this time are written together."""

REACH_S: Final = 2.0
"""How long a search waits for the index to have what is proven already."""

ROWS_AT_ONCE: Final = 2_000

_LAST: Final = "\U0010ffff"
"""Above every character of an identifier."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Base:
    """A consistent view to build the index from."""

    tip: Tip
    reader: Reader


@dataclass(frozen=True, slots=True)
class _Block:
    height: int
    app_hash: bytes
    changes: Mapping[str, Value | None]
    uses: tuple[UseRow, ...]


class Index:
    """One node's index. `feed` from the event loop; everything else that touches SQL runs on its own thread."""

    def __init__(self, url: str, suite: Suite, base: Callable[[], Awaitable[Base]]) -> None:
        """`base` takes a snapshot of the ledger between two commits."""
        self._suite = suite
        self._base = base
        self._engine = _engine(url)
        self._worker = Worker("index")
        self._waiting: deque[_Block] = deque()
        self._overflown = False
        self._news = asyncio.Event()
        self._advanced = Signal()
        self._failed_query: Select[Any] | None = None
        self.height = -1
        self.is_failing = False
        """Whether the database has failed, and has not been seen to work since."""

    # --- keeping up ------------------------------------------------------------------------------

    def feed(self, finalized: FinalizedBlock) -> None:
        """Queue what a commit changed."""
        if len(self._waiting) >= MAX_WAITING_BLOCKS:
            self._overflown = True
            self._waiting.clear()
        changes = {
            key: value for key, value in finalized.overlay.changes.items() if key.startswith(LISTED)
        }
        uses = tuple(uses_of_block(finalized))
        self._waiting.append(_Block(finalized.height, finalized.app_hash, changes, uses))
        self._news.set()

    async def run(self) -> None:
        """Follow the ledger until cancelled; a database that fails costs searches, not the node."""
        is_trusted = True
        while True:
            try:
                await self._take_up(is_trusted)
                while not self._overflown:
                    await self._follow()
                self._overflown = False
            except SQLAlchemyError as error:
                _log.error("the index has failed", reason=str(error)[:200])
                self.height, self.is_failing, self._failed_query = -1, True, None
                await asyncio.sleep(RETRY_S)
            is_trusted = False

    async def _take_up(self, is_trusted: bool) -> None:
        """Begin where the index is if that is where the ledger is; else build it anew."""
        base = await self._base()
        here = (base.tip.height, base.tip.app_hash)
        if not is_trusted or await self._worker.run(self._open) != here:
            _log.info("building the index", height=base.tip.height)
            await self._worker.run(self._build, base)
        self._reached(base.tip.height)

    async def _follow(self) -> None:
        """Write the commits that wait, together."""
        await self._news.wait()
        self._news.clear()
        if self._failed_query is not None:
            # A lost connection is worth no more than this; what fails again is built anew.
            statement, self._failed_query = self._failed_query, None
            await self._worker.run(self._rows, statement)
            self.is_failing = False
        blocks = [block for block in self._waiting if block.height > self.height]
        self._waiting.clear()
        if blocks and not self._overflown:
            await self._worker.run(self._apply, blocks)
            self._reached(blocks[-1].height)
            await asyncio.sleep(GATHER_S)

    def close(self) -> None:
        """Finish what was begun and close the database."""
        self._worker.close()
        self._engine.dispose()

    def _reached(self, height: int) -> None:
        self.height, self.is_failing = height, False
        self._advanced.notify()

    async def reach(self, height: int) -> None:
        """Wait, not for long, until what was committed at `height` is found.

        Raises:
            IndexUnavailableError: it is being built, or its database has failed.
        """
        deadline = time.monotonic() + REACH_S
        while self.height < height:
            if not await self._advanced.wait(max(0.0, deadline - time.monotonic())):
                break
        if self.height < 0:
            raise IndexUnavailableError("the node's index is not usable now; try again later")

    def _open(self) -> tuple[int, bytes] | None:
        """Make the tables where they are missing; return how far the index is."""
        try:
            METADATA.create_all(self._engine)
            with self._engine.connect() as connection:
                row = connection.execute(select(PROGRESS)).first()
        except SQLAlchemyError as error:
            _log.warning("the index is unreadable and is built anew", reason=str(error)[:200])
            return None
        if row is None or row.version != VERSION:
            return None
        return row.height, row.app_hash

    def _build(self, base: Base) -> None:
        with self._engine.begin() as connection:
            METADATA.drop_all(connection)
            METADATA.create_all(connection)
            for chunk in _chunks(_state_of(base.reader), ROWS_AT_ONCE):
                self._write_records(connection, dict(chunk))
            for rows in _chunks(self._all_uses(base), ROWS_AT_ONCE):
                self._write_uses(connection, rows)
            _write_progress(connection, base.tip.height, base.tip.app_hash)

    def _all_uses(self, base: Base) -> Iterator[UseRow]:
        """Yield every recorded use in the log, numbered as the licenses number them."""
        counts: dict[str, int] = {}
        for key, encoded in base.reader.iterate(
            keyspace.ENTRIES, stop=keyspace.entry(base.tip.log.size)
        ):
            if RECORD_KIND.encode() not in encoded:
                continue
            entry = decode_entry(encoded)
            if not isinstance(entry, TransactionEntry) or entry.code:
                continue
            transaction = decode_transaction(self._suite, entry.transaction)
            index = keyspace.number_of(key)
            for use in uses_in(self._suite, transaction, entry.height, index):
                yield from rows_of_use(use, counts)

    def _apply(self, blocks: Sequence[_Block]) -> None:
        changes: dict[str, Value | None] = {}
        for block in blocks:
            changes.update(block.changes)
        with self._engine.begin() as connection:
            self._write_records(connection, changes)
            self._write_uses(connection, [row for block in blocks for row in block.uses])
            _write_progress(connection, blocks[-1].height, blocks[-1].app_hash)

    def _write_records(self, connection: Connection, changes: Mapping[str, Value | None]) -> None:
        removed = [key for key, value in changes.items() if value is None]
        rows = [record_row(key, value) for key, value in changes.items() if value is not None]
        if removed:
            connection.execute(delete(RECORDS).where(RECORDS.c.key.in_(removed)))
            connection.execute(delete(LINKS).where(LINKS.c.source.in_(removed)))
        if rows:
            self._upsert(connection, RECORDS, ("key",), rows)
        for key, value in changes.items():
            if value is not None and key.startswith("directory/"):
                self._write_links(connection, key, value)

    def _write_links(self, connection: Connection, key: str, value: Value) -> None:
        fields = cast("Mapping[str, Any]", value)
        if "effective" not in fields and fields.get("versions") == 0:
            return  # never counted: no links to take back
        connection.execute(delete(LINKS).where(LINKS.c.source == key))
        entry = effective_entry(record_from_value(value))
        targets = () if entry is None else dict.fromkeys(link.target for link in links_of(entry))
        rows = [{"source": key, "target": entry_key_of(target)} for target in targets]
        if rows:
            connection.execute(insert(LINKS), rows)

    def _write_uses(self, connection: Connection, rows: Sequence[UseRow]) -> None:
        if rows:
            values = [{name: getattr(row, name) for name in UseRow.__slots__} for row in rows]
            self._upsert(connection, USES, ("license", "number"), values)

    def _upsert(
        self,
        connection: Connection,
        table: Table,
        keys: tuple[str, ...],
        rows: list[dict[str, Any]],
    ) -> None:
        """Write rows, replacing those of the same keys.

        The statement goes to the driver as it is: SQLAlchemy's own handling of each row costs more than the row.
        """
        statement = self._insert(table)
        others = {
            column.name: statement.excluded[column.name]
            for column in table.columns
            if column.name not in keys
        }
        compiled = statement.on_conflict_do_update(index_elements=list(keys), set_=others).compile(
            dialect=self._engine.dialect
        )
        names = compiled.positiontup if compiled.positional else None
        values: list[Any] = (
            rows if names is None else [tuple(row[name] for name in names) for row in rows]
        )
        connection.exec_driver_sql(str(compiled), values)

    def _insert(self, table: Table) -> Any:
        """Return an INSERT with the dialect's own ON CONFLICT."""
        if self._engine.dialect.name != "postgresql":
            return sqlite.insert(table)
        from sqlalchemy.dialects import (
            postgresql,  # a twentieth of a node's start, for the few that use it
        )

        return postgresql.insert(table)

    # --- asking ----------------------------------------------------------------------------------

    async def identifiers(
        self,
        collection: str,
        *,
        after: str = "",
        limit: int,
        prefix: str = "",
        text: str | None = None,
        owner: str | None = None,
        status: str | None = None,
    ) -> list[str]:
        """Return identifiers of a collection in ascending order, the first after `after`."""
        first = f"{collection}/"
        wanted = select(RECORDS.c.key).where(
            RECORDS.c.key > first + after,
            RECORDS.c.key >= first + prefix,
            RECORDS.c.key < first + prefix + _LAST,
        )
        if owner is not None:
            wanted = wanted.where(RECORDS.c.owner == owner)
        if status is not None:
            wanted = wanted.where(RECORDS.c.status == status)
        if text:
            wanted = wanted.where(RECORDS.c.text.icontains(text, autoescape=True))
        ordered = wanted.order_by(RECORDS.c.key).limit(limit)
        return [row[0][len(first) :] for row in await self._query(ordered)]

    async def sources(self, target: str) -> list[str]:
        """Return the keys of effective entries that rest on `target` (a key), ascending."""
        wanted = select(LINKS.c.source).where(LINKS.c.target == target)
        return [row[0] for row in await self._query(wanted.order_by(LINKS.c.source))]

    async def all_links(self) -> Sequence[tuple[str, str]]:
        """Return (source, target) of all links, ascending: rows as the database gives them, for they may be many."""
        wanted = select(LINKS.c.source, LINKS.c.target)
        return await self._query(wanted.order_by(LINKS.c.source, LINKS.c.target))

    async def uses_of_licenses(
        self, first: str, last: str, *, after: tuple[str, int] = ("", 0), limit: int
    ) -> list[UseRow]:
        """Return uses of the licenses whose handles lie in `first` … `last`, by license and number."""
        license_, number = after
        wanted = (
            select(USES)
            .where(
                USES.c.license >= first,
                USES.c.license <= last,
                (USES.c.license > license_)
                | ((USES.c.license == license_) & (USES.c.number > number)),
            )
            .order_by(USES.c.license, USES.c.number)
            .limit(limit)
        )
        return [use_row(row) for row in await self._query(wanted)]

    async def use(self, use_id: str) -> list[UseRow]:
        """Return the rows of one use, empty if there is none."""
        wanted = select(USES).where(USES.c.use == use_id).order_by(USES.c.license)
        return [use_row(row) for row in await self._query(wanted)]

    async def _query(self, statement: Select[Any]) -> Sequence[Any]:
        try:
            return await self._worker.run(self._rows, statement)
        except DataError:  # the question's own fault, whoever asks it
            raise
        except SQLAlchemyError:
            self._failed_query, self.is_failing = statement, True
            self._news.set()
            raise

    def _rows(self, statement: Select[Any]) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.execute(statement).all()


def _engine(url: str) -> Engine:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _(connection: Any, _: Any) -> None:
            # The index is disposable: it need not survive a power cut, it is built anew.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=OFF")

    return engine


def _write_progress(connection: Connection, height: int, app_hash: bytes) -> None:
    connection.execute(delete(PROGRESS))
    connection.execute(insert(PROGRESS).values(version=VERSION, height=height, app_hash=app_hash))


def _state_of(reader: Reader) -> Iterator[tuple[str, Value]]:
    for prefix in LISTED:
        for key, encoded in reader.iterate(keyspace.value(prefix)):
            yield keyspace.state_key_of(key), decode(encoded)


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    chunk: list[Any] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
