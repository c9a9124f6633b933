"""The directory and the organisations: lists, entries, traces, structure check."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, cast, get_args

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import JSONResponse

from directory.check import check_entry
from directory.codes import Collection
from directory.links import EntryName
from directory.models import Resource
from directory.records import (
    EntryRecord,
    effective_entry,
    entry_key,
    load_record,
    record_from_value,
)
from directory.trace import Direction, trace_steps
from ledger.membership import organisation
from ledger.proven import ProvenView
from node.api.access import Caller, Member, Node, caller_of
from node.api.jsonable import jsonable
from node.api.log import require_proven
from node.api.paging import DEFAULT_PAGE, MAX_PAGE, Cursor, Limit, decode_cursor, page
from node.api.problems import problem
from node.index_tables import entry_name_of
from node.long_reads import NEVER, Moment
from node.services import Services

router = APIRouter(prefix="/v1", tags=["directory"])

CollectionName = Annotated[Collection, Path(description="Collection of the directory")]
Identifier = Annotated[str, Path(min_length=1, max_length=160)]
Uscc = Annotated[str, Path(pattern=r"^[0-9A-Z]{18}$")]
NO_NUL = r"^[^\x00]*$"
"""Of texts that are looked for: a character that not every database takes."""

Owner = Annotated[str | None, Query(pattern=r"^[0-9A-Z]{18}$")]

_DIRECTIONS: Mapping[str, Direction] = {
    "basis": "basis",
    "up": "basis",
    "dependents": "dependents",
    "down": "dependents",
}

Dependents = Mapping[EntryName, Sequence[EntryName]]

MAX_CHECKED = 20_000
"""Entries that one structure check looks at; name a department to see more."""


class _Directory:
    """The proven directory with its links read from the index: what traces and checks work over."""

    def __init__(self, proven: ProvenView, dependents: Dependents) -> None:
        self._proven = proven
        self._dependents = dependents

    def record(self, name: EntryName) -> EntryRecord | None:
        try:
            return load_record(self._proven.state, name.collection, name.identifier)
        except ValueError:
            return None

    def dependents(self, name: EntryName) -> Sequence[EntryName]:
        return self._dependents.get(name, ())


@asynccontextmanager
async def _dependents(services: Services, organisation: str) -> AsyncIterator[Dependents]:
    """Lend what rests on each entry: a table of the whole directory, of which few are kept at a time."""
    async with services.link_tables:
        links = await services.index.all_links()
        yield await services.long_reads.run(organisation, _by_target(links))


def _by_target(links: Sequence[tuple[str, str]]) -> Generator[None, None, Dependents]:
    dependents: dict[EntryName, list[EntryName]] = {}
    for source, target in links:
        dependents.setdefault(entry_name_of(target), []).append(entry_name_of(source))
        yield
    return dependents


# --- organisations ----------------------------------------------------------------------------------


@router.get("/organisations", summary="Organisations", tags=["organisations"])
async def organisations(
    services: Node,
    _: Member,
    q: Annotated[str | None, Query(max_length=100, pattern=NO_NUL)] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> dict[str, Any]:
    proven = require_proven(services)
    await services.index.reach(proven.height)
    found = await services.index.identifiers(
        "ledger/organisation", after=decode_cursor(cursor), limit=limit, text=q
    )
    items = [one for uscc in found if (one := describe_organisation(proven, uscc)) is not None]
    return page(items, found[-1] if len(found) == limit else None)


@router.get("/organisations/{uscc}", summary="An organisation", tags=["organisations"])
async def one_organisation(services: Node, _: Member, uscc: Uscc) -> dict[str, Any]:
    found = describe_organisation(require_proven(services), uscc)
    if found is None:
        raise problem(404, "organisation_unknown", f"{uscc} is not registered")
    return found


def describe_organisation(proven: ProvenView, uscc: str) -> dict[str, Any] | None:
    """Return an organisation's record as JSON, or None."""
    found = organisation(proven.state, uscc)
    if found is None:
        return None
    return {
        "uscc": found.uscc,
        "name": found.name,
        "level": found.level,
        "division": found.division,
        "parent": found.parent,
        "authority": found.authority,
        "sealing_key": found.sealing_key,
        "status": found.status,
        "successor": found.successor,
    }


# --- the directory ----------------------------------------------------------------------------------


@router.get("/directory/check", summary="Structure check", response_class=JSONResponse)
async def check(
    services: Node,
    caller: Member,
    department: Annotated[str | None, Query(pattern=r"^[0-9A-Z]{18}$")] = None,
) -> Response:
    question, moment = department or "", _moment(require_proven(services))
    answer = services.structure_checks.find(question, moment)
    if answer is None:
        with services.long_reads.admitted(caller.organisation):
            answer = await services.structure_checks.get(
                question, moment, lambda: _check(services, caller.organisation, department)
            )
    return Response(answer, media_type="application/json")


def _moment(proven: ProvenView) -> Moment:
    return proven.size, proven.time_s


async def _check(
    services: Services, organisation: str, department: str | None
) -> tuple[Moment, bytes]:
    """Return the answer of the structure check, and the moment for which it holds."""
    proven = require_proven(services)
    await services.index.reach(proven.height)
    names: list[EntryName] = []
    for collection in get_args(Collection):
        after = ""
        while len(names) < MAX_CHECKED:
            found = await services.index.identifiers(
                f"directory/{collection}", after=after, limit=MAX_PAGE, owner=department
            )
            names += [EntryName(collection, identifier) for identifier in found]
            if len(found) < MAX_PAGE:
                break
            after = found[-1]
    async with _dependents(services, organisation) as dependents:
        steps = _check_steps(_Directory(proven, dependents), names, proven.time_s * 1000)
        answer = await services.long_reads.run(organisation, steps)
    # From an index that has not what is proven yet, nobody else is to have it.
    return _moment(proven) if services.index.height >= proven.height else NEVER, answer


def _check_steps(
    directory: _Directory, names: Sequence[EntryName], time_ms: int
) -> Generator[None, None, bytes]:
    """Check entry by entry; return the answer in JSON, which is written as it grows: it may have megabytes."""
    head = {"checked": len(names), "complete": len(names) < MAX_CHECKED, "time_ms": time_ms}
    findings: list[str] = []
    for name in names:
        for one in check_entry(directory, name, time_ms):
            entry = f"{name.collection}/{name.identifier}"
            findings.append(_json({**jsonable(one.to_value()), "entry": entry}))
        yield
    return f'{_json(head)[:-1]},"findings":[{",".join(findings)}]}}'.encode()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@router.get("/directory/{collection}", summary="Entries of a collection")
async def entries(
    services: Node,
    _: Member,
    collection: CollectionName,
    q: Annotated[
        str | None,
        Query(max_length=100, pattern=NO_NUL, description="Text in id, name or title"),
    ] = None,
    owner: Owner = None,
    status: Annotated[str | None, Query(max_length=20, pattern=NO_NUL)] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> dict[str, Any]:
    proven = require_proven(services)
    await services.index.reach(proven.height)
    found = await services.index.identifiers(
        f"directory/{collection}",
        after=decode_cursor(cursor),
        limit=limit,
        text=q,
        owner=owner,
        status=status,
    )
    items = [
        one
        for identifier in found
        if (one := describe_entry(proven, collection, identifier)) is not None
    ]
    return page(items, found[-1] if len(found) == limit else None)


@router.get(
    "/directory/{collection}/{identifier}", summary="An entry; open resources need no token"
)
async def entry(
    services: Node,
    collection: CollectionName,
    identifier: Identifier,
    authorization: Annotated[str | None, Header()] = None,
) -> dict[str, Any]:
    proven = require_proven(services)
    if authorization is not None or not _is_open(proven, collection, identifier):
        caller_of(services, authorization)
    found = describe_entry(proven, collection, identifier)
    if found is None:
        raise problem(404, "entry_unknown", f"no {collection} {identifier}")
    return found


@router.get(
    "/directory/{collection}/{identifier}/trace",
    summary="What an entry rests on, or carries",
    response_class=JSONResponse,
)
async def trace_entry(
    services: Node,
    caller: Member,
    collection: CollectionName,
    identifier: Identifier,
    direction: Annotated[str, Query(pattern="^(basis|dependents|up|down)$")] = "basis",
) -> Response:
    way, name = _DIRECTIONS[direction], EntryName(collection, identifier)
    proven = require_proven(services)
    if _Directory(proven, {}).record(name) is None:
        raise problem(404, "entry_unknown", f"no {collection} {identifier}")
    with services.long_reads.admitted(caller.organisation):
        if way == "basis":  # what an entry rests on stands in the entry itself
            return await _trace(services, caller, _Directory(proven, {}), name, way)
        await services.index.reach(proven.height)
        async with _dependents(services, caller.organisation) as dependents:
            return await _trace(services, caller, _Directory(proven, dependents), name, way)


async def _trace(
    services: Services, caller: Caller, directory: _Directory, name: EntryName, way: Direction
) -> Response:
    steps = trace_steps(directory, name, way)
    found = await services.long_reads.run(caller.organisation, steps)
    return Response(_json(jsonable(found.to_value())), media_type="application/json")


def _is_open(proven: ProvenView, collection: Collection, identifier: str) -> bool:
    """Tell whether an entry is open to the public by its own declaration."""
    if collection != "resource":
        return False
    try:
        found = effective_entry(load_record(proven.state, collection, identifier))
    except ValueError:
        return False
    return isinstance(found, Resource) and found.opening.open


def describe_entry(
    proven: ProvenView, collection: Collection, identifier: str
) -> dict[str, Any] | None:
    """Return an entry's record as JSON, or None."""
    try:
        value = proven.get(entry_key(collection, identifier))
    except ValueError:
        return None
    if value is None:
        return None
    record = record_from_value(value)
    effective = effective_entry(record)
    fields = cast("dict[str, Any]", jsonable(value))
    body = record.effective or (record.pending.body if record.pending is not None else None) or {}
    title = effective.title if effective is not None else body.get("name") or body.get("title")
    return {
        "collection": collection,
        "id": identifier,
        "title": title or "",
        "catch_all": bool(body.get("catch_all", False)),
        **fields,
        "history": [
            {
                "number": change.number,
                "action": change.action,
                "version": change.version.hex(),
                "submitter": change.submitter,
                "approver": change.approver,
                "time_ms": change.time_ms,
                "height": change.height,
            }
            for change in record.history
        ],
    }
