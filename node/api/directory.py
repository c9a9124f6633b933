"""The directory and the organisations: lists, entries, traces, structure check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast, get_args

from fastapi import APIRouter, Header, Path, Query

from directory.check import check_structure
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
from directory.trace import Direction, trace
from ledger.membership import organisation
from ledger.proven import ProvenView
from node.api.access import Member, Node, caller_of
from node.api.jsonable import jsonable
from node.api.log import require_proven
from node.api.paging import DEFAULT_PAGE, MAX_PAGE, Cursor, Limit, decode_cursor, page
from node.api.problems import problem
from node.index_tables import entry_name_of
from node.services import Services

router = APIRouter(prefix="/v1", tags=["directory"])

CollectionName = Annotated[Collection, Path(description="Collection of the directory")]
Identifier = Annotated[str, Path(min_length=1, max_length=160)]
Uscc = Annotated[str, Path(pattern=r"^[0-9A-Z]{18}$")]
Owner = Annotated[str | None, Query(pattern=r"^[0-9A-Z]{18}$")]

_DIRECTIONS: Mapping[str, Direction] = {
    "basis": "basis",
    "up": "basis",
    "dependents": "dependents",
    "down": "dependents",
}
MAX_CHECKED = 20_000
"""Entries that one structure check looks at; name a department to see more."""


class _Directory:
    """The proven directory with its links read from the index: what traces and checks work over."""

    def __init__(
        self, proven: ProvenView, dependents: Mapping[EntryName, Sequence[EntryName]]
    ) -> None:
        self._proven = proven
        self._dependents = dependents

    def record(self, name: EntryName) -> EntryRecord | None:
        try:
            return load_record(self._proven.state, name.collection, name.identifier)
        except ValueError:
            return None

    def dependents(self, name: EntryName) -> Sequence[EntryName]:
        return self._dependents.get(name, ())


async def _directory(services: Services) -> _Directory:
    await services.index.reach(require_proven(services).height)
    dependents: dict[EntryName, list[EntryName]] = {}
    for source, target in await services.index.all_links():
        dependents.setdefault(entry_name_of(target), []).append(entry_name_of(source))
    return _Directory(require_proven(services), dependents)


# --- organisations ----------------------------------------------------------------------------------


@router.get("/organisations", summary="Organisations", tags=["organisations"])
async def organisations(
    services: Node,
    _: Member,
    q: Annotated[str | None, Query(max_length=100)] = None,
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


@router.get("/directory/check", summary="Structure check")
async def check(
    services: Node,
    _: Member,
    department: Annotated[str | None, Query(pattern=r"^[0-9A-Z]{18}$")] = None,
) -> dict[str, Any]:
    await services.index.reach(require_proven(services).height)
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
    directory = await _directory(services)
    time_ms = require_proven(services).time_s * 1000
    findings = check_structure(directory, names, time_ms)
    return {
        "checked": len(names),
        "complete": len(names) < MAX_CHECKED,
        "time_ms": time_ms,
        "findings": [
            {**jsonable(one.to_value()), "entry": f"{one.name.collection}/{one.name.identifier}"}
            for one in findings
        ],
    }


@router.get("/directory/{collection}", summary="Entries of a collection")
async def entries(
    services: Node,
    _: Member,
    collection: CollectionName,
    q: Annotated[str | None, Query(max_length=100, description="Text in id, name or title")] = None,
    owner: Owner = None,
    status: Annotated[str | None, Query(max_length=20)] = None,
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
    "/directory/{collection}/{identifier}/trace", summary="What an entry rests on, or carries"
)
async def trace_entry(
    services: Node,
    _: Member,
    collection: CollectionName,
    identifier: Identifier,
    direction: Annotated[str, Query(pattern="^(basis|dependents|up|down)$")] = "basis",
) -> dict[str, Any]:
    way = _DIRECTIONS[direction]
    # What an entry rests on stands in the entry itself.
    directory = (
        _Directory(require_proven(services), {}) if way == "basis" else await _directory(services)
    )
    name = EntryName(collection, identifier)
    if directory.record(name) is None:
        raise problem(404, "entry_unknown", f"no {collection} {identifier}")
    found = trace(directory, name, way)
    return cast("dict[str, Any]", jsonable(found.to_value()))


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
