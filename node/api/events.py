"""New records of the log as server-sent events: resumable, in order, none left out.

An event's id is its log index. Streams read the proven log itself, so a slow reader costs no queue, and whoever
comes back with `Last-Event-ID` goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Generator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ledger.entries import BlockEntry, EvidenceEntry, TransactionEntry, decode_entry
from ledger.errors import DamagedStoreError
from ledger.history import History
from ledger.suite import Suite
from ledger.transactions import decode_transaction
from node.api.access import Caller, Member, Node, is_active
from node.api.jsonable import jsonable
from node.api.problems import problem
from node.services import Services

router = APIRouter(prefix="/v1", tags=["events"])

KEEP_ALIVE_S: Final = 15.0
ENTRIES_AT_ONCE: Final = 256
TEXT_AT_ONCE: Final = 256 * 1024
"""Characters of events from which on they are sent before more are read."""


@router.get("/events", summary="New records, as server-sent events")
async def events(
    services: Node,
    caller: Member,
    kinds: Annotated[str | None, Query(max_length=1_000, description="Kinds, by comma")] = None,
    after: Annotated[int | None, Query(ge=-1, description="Begin after this log index")] = None,
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> StreamingResponse:
    if last_event_id is not None:
        if not (last_event_id == "-1" or (last_event_id.isascii() and last_event_id.isdigit())):
            raise problem(422, "invalid_input", "Last-Event-ID is a log index")
        after = int(last_event_id)
    proven = services.application.proven()
    size = 0 if proven is None else proven.size
    start = size if after is None else after + 1
    if start > size:
        raise problem(422, "invalid_input", f"the log has {size} entries under the checkpoint")
    open_streams, most = services.open_streams, services.config.api.max_event_streams
    share = max(1, most // 4)
    if open_streams.total() >= most or open_streams[caller.organisation] >= share:
        raise problem(503, "too_many_streams", "too many event streams; try another node")
    wanted = frozenset(kinds.split(",")) if kinds else None
    return _EventStream(services, caller, start, wanted)


class _EventStream(StreamingResponse):
    """A stream that counts among the open ones from when it is admitted until it ends."""

    def __init__(
        self, services: Services, caller: Caller, position: int, wanted: frozenset[str] | None
    ) -> None:
        super().__init__(
            _stream(services, caller, position, wanted),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )
        self._open, self._organisation = services.open_streams, caller.organisation
        self._open[self._organisation] += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._open[self._organisation] -= 1
            if not self._open[self._organisation]:
                del self._open[self._organisation]


async def _stream(
    services: Services, caller: Caller, position: int, wanted: frozenset[str] | None
) -> AsyncIterator[bytes]:
    try:
        yield b": new records follow\n\n"
        while is_active(services, caller):
            proven = services.application.proven()
            size = 0 if proven is None else proven.size
            if proven is None or position >= size:
                if not await services.proven_signal.wait(KEEP_ALIVE_S):
                    yield b": still here\n\n"
                continue
            stop = min(size, position + ENTRIES_AT_ONCE)
            steps = _format(services.genesis.suite, proven.history, position, stop, wanted)
            # A long log, even one that interests nobody, must not hold up the node.
            position, text = await services.long_reads.run(caller.organisation, steps)
            if text:
                yield text.encode()
    except DamagedStoreError as error:
        services.failure.tell(error)
        raise


def _format(
    suite: Suite, history: History, start: int, stop: int, wanted: frozenset[str] | None
) -> Generator[None, None, tuple[int, str]]:
    """Read entries up to `stop`, or until there is enough to send; return where it goes on, and the events."""
    parts: list[str] = []
    length, position = 0, start
    for index, encoded in history.entries(start, stop):
        parts.append(format_event(suite, index, encoded, wanted))
        length, position = length + len(parts[-1]), index + 1
        if length >= TEXT_AT_ONCE:
            break
        yield
    else:
        position = stop
    return position, "".join(parts)


def format_event(suite: Suite, index: int, encoded: bytes, wanted: frozenset[str] | None) -> str:
    """Return a log entry as an event, "" if nobody wants its kind."""
    entry = decode_entry(encoded)
    data: dict[str, Any] = {"index": index}
    match entry:
        case TransactionEntry():
            transaction = decode_transaction(suite, entry.transaction)
            kind = "transaction"
            operations = [one.kind for one in transaction.operations]
            if wanted is not None and wanted.isdisjoint((kind, *operations)):
                return ""
            data |= {
                "id": transaction.id.hex(),
                "height": entry.height,
                "code": entry.code,
                "signer": str(transaction.signer),
                "operations": [
                    {"kind": one.kind, "body": jsonable(one.body)} for one in transaction.operations
                ],
            }
        case BlockEntry():
            kind = "block"
            data |= {
                "height": entry.height,
                "time_ms": entry.time_ms,
                "proposer": entry.proposer,
                "transactions": entry.transaction_count,
            }
        case EvidenceEntry():
            kind = "evidence"
            data |= {"height": entry.height, "validator": entry.validator}
        case _:
            kind = "genesis"
    if wanted is not None and kind not in wanted and kind != "transaction":
        return ""
    return f"id: {index}\nevent: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
