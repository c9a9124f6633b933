"""Licenses and their uses, for members, and what a holder's wallet reads of its own license."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast

from fastapi import APIRouter, Header, Path, Query

from ledger.proven import ProvenView
from ledger.suite import HASH_BYTES
from licenses.handles import SALT_BYTES, holder_commitment
from licenses.models import License, find_license
from node.api.access import Member, Node, bearer_token
from node.api.jsonable import jsonable
from node.api.log import require_proven
from node.api.paging import DEFAULT_PAGE, Cursor, Limit, decode_cursor, page
from node.api.problems import problem
from node.auth import Token
from node.errors import ApiProblem
from node.index_tables import UseRow
from node.services import Services

router = APIRouter(prefix="/v1", tags=["licenses"])

Handle = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="A license's handle")]
UseId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="A use's id")]

_COLLECTION = "licenses/license"

_MAX_NUMBER_DIGITS = 18
"""What every database takes as a number."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A license's holder, who has opened the commitment to the holder's key."""

    handle: str


def holder_of(services: Services, authorization: str | None) -> Holder:
    """Return the holder that a token proves: signed by the key to which the license's record commits.

    Raises:
        ApiProblem: 401 or 403.
    """
    token = bearer_token(services, authorization)
    handle, salt = _claim(token, "handle", HASH_BYTES), _claim(token, "salt", SALT_BYTES)
    record = find_license(require_proven(services).state, handle)
    suite = services.genesis.suite
    if (
        record is None
        or record.holder is None
        or holder_commitment(suite, salt, token.key) != record.holder
    ):
        raise problem(403, "not_the_holder", "the key is not the one that the license is bound to")
    return Holder(handle.hex())


def _claim(token: Token, name: str, length: int) -> bytes:
    """Return a claim that a holder's token makes in hex.

    Raises:
        ApiProblem: 401, it is missing, not hex, or of another length.
    """
    try:
        value = bytes.fromhex(str(token.claims.get(name)))
    except ValueError:
        value = b""
    if len(value) != length:
        raise problem(401, "token_invalid", f"a holder's token names {name}: {length} bytes in hex")
    return value


@router.get("/licenses", summary="Licenses whose handle begins with a prefix")
async def licenses(
    services: Node,
    _: Member,
    prefix: Annotated[str, Query(pattern=r"^[0-9a-f]{0,64}$")] = "",
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> dict[str, Any]:
    proven = require_proven(services)
    await services.index.reach(proven.height)
    found = await services.index.identifiers(
        _COLLECTION, after=decode_cursor(cursor), limit=limit, prefix=prefix
    )
    items = [one for handle in found if (one := describe_license(proven, handle)) is not None]
    return page(items, found[-1] if len(found) == limit else None)


@router.get("/licenses/{handle}", summary="A license's record")
async def license_record(services: Node, _: Member, handle: Handle) -> dict[str, Any]:
    found = describe_license(require_proven(services), handle)
    if found is None:
        raise problem(404, "license_unknown", f"no license {handle}")
    return found


@router.get("/licenses/{handle}/uses", summary="A license's uses, by number")
async def license_uses(
    services: Node, _: Member, handle: Handle, cursor: Cursor = None, limit: Limit = DEFAULT_PAGE
) -> dict[str, Any]:
    return await _page_of_uses(services, handle, cursor, limit)


@router.get("/uses/{use_id}", summary="A recorded use")
async def one_use(services: Node, _: Member, use_id: UseId) -> dict[str, Any]:
    rows = await proven_use(services, require_proven(services), use_id)
    return describe_use(rows)


@router.get("/wallet/uses", summary="The uses of the holder's own license, by number")
async def wallet_uses(
    services: Node,
    authorization: Annotated[str | None, Header()] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> dict[str, Any]:
    holder = holder_of(services, authorization)
    now_ms = time.time_ns() // 1_000_000
    return await _page_of_uses(
        services, holder.handle, cursor, limit, shows=lambda row: is_told(row, now_ms)
    )


async def _page_of_uses(
    services: Services,
    handle: str,
    cursor: str | None,
    limit: int,
    shows: Callable[[UseRow], bool] = lambda _: True,
) -> dict[str, Any]:
    """Return a page of a license's uses by number; with `count`, the record's, it can be told whether all were shown.

    Raises:
        ApiProblem: 404, no such license; 422, not a cursor of ours.
    """
    proven = require_proven(services)
    record = find_license(proven.state, bytes.fromhex(handle))
    if record is None:
        raise problem(404, "license_unknown", f"no license {handle}")
    position = decode_cursor(cursor) or "0"
    if not (position.isascii() and position.isdigit() and len(position) <= _MAX_NUMBER_DIGITS):
        raise problem(422, "invalid_cursor", "pass the cursor of the page before")
    await services.index.reach(proven.height)
    rows = await services.index.uses_of_licenses(
        handle, handle, after=(handle, int(position)), limit=limit
    )
    shown = [describe_use_row(row) for row in rows if row.number <= record.uses and shows(row)]
    answer = page(shown, str(rows[-1].number) if len(rows) == limit else None)
    answer["count"] = record.uses
    return answer


def is_told(row: UseRow, now_ms: int) -> bool:
    """Whether the holder may know of a use: of a statutory one perhaps later, the record says from when."""
    return row.notice_after_ms is None or row.notice_after_ms <= now_ms


async def proven_use(services: Services, proven: ProvenView, use_id: str) -> list[UseRow]:
    """Return the rows of a use that the checkpoint covers.

    Raises:
        ApiProblem: 404, there is none.
    """
    await services.index.reach(proven.height)
    rows = await services.index.use(use_id)
    if not rows or rows[0].log_index >= proven.size:
        raise unknown_use(use_id)
    return rows


def unknown_use(use_id: str) -> ApiProblem:
    """Return the answer about a use that there is none of, for whoever asks."""
    return problem(404, "use_unknown", f"no use {use_id}")


def describe_use_row(row: UseRow) -> dict[str, Any]:
    """Return one license's use as JSON."""
    return {**_what(row), "license": row.license, "number": row.number}


def describe_use(rows: list[UseRow]) -> dict[str, Any]:
    """Return a use, of one or several licenses, as JSON."""
    return {**_what(rows[0]), "licenses": [row.license for row in rows]}


def _what(row: UseRow) -> dict[str, Any]:
    return {
        "id": row.use,
        "transaction": row.transaction,
        "index": row.log_index,
        "height": row.height,
        "organisation": row.organisation,
        "matter": row.matter,
        "division": row.division,
        "mode": row.mode,
        "notice_after_ms": row.notice_after_ms,
    }


def describe_license(proven: ProvenView, handle: str) -> dict[str, Any] | None:
    """Return a license's record as JSON, or None."""
    record = find_license(proven.state, bytes.fromhex(handle))
    if record is None:
        return None
    fields = cast("dict[str, Any]", jsonable(record.to_value()))
    fields.pop("pending", None)
    return {
        "handle": handle,
        **fields,
        "status": record.status,
        "bound": record.holder is not None,
        "history": _history(record),
    }


def _history(record: License) -> list[dict[str, Any]]:
    return [
        {
            "status": change.status,
            "time_ms": change.time_ms,
            "height": change.height,
            "organisation": change.organisation,
            "reason": change.reason,
        }
        for change in record.history
    ]
