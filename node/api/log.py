"""The log in the C2SP formats: checkpoint, hash tiles and entry bundles; and blocks for people."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Response

from ledger.commits import Commit
from ledger.errors import DecodeError
from ledger.proven import ProvenView
from ledger.tiles import Tile, tile_width
from ledger.transactions import decode_transaction
from node.api.access import Member, Node, reader_of_entries
from node.api.paging import DEFAULT_PAGE, Cursor, Limit, decode_cursor, page
from node.api.problems import problem
from node.services import Services

router = APIRouter(tags=["log"])

_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}


def require_proven(services: Services) -> ProvenView:
    """Return the newest view that a quorum vouches for.

    Raises:
        ApiProblem: 503, there is none yet.
    """
    proven = services.application.proven()
    if proven is None:
        raise problem(503, "not_proven", "no checkpoint with a quorum of signatures yet")
    return proven


@router.get("/checkpoint", summary="The newest checkpoint that a quorum has cosigned")
async def checkpoint(services: Node) -> Response:
    text = require_proven(services).checkpoint.encode()
    headers = {"Cache-Control": "no-cache"}
    return Response(text, media_type="text/plain; charset=utf-8", headers=headers)


@router.get("/tile/{path:path}", summary="A hash tile, or a bundle of entries (auditor, reader)")
async def tile(
    services: Node,
    path: Annotated[str, Path(max_length=100)],
    authorization: Annotated[str | None, Header()] = None,
) -> Response:
    try:
        wanted = Tile.parse(f"tile/{path}")
    except DecodeError as error:
        raise problem(404, "no_such_tile", str(error)) from None
    if wanted.level is None:
        reader_of_entries(services, authorization)
    proven = require_proven(services)
    if tile_width(proven.size, wanted.level or 0, wanted.index) < wanted.width:
        raise problem(404, "no_such_tile", "the log under the checkpoint does not reach so far")
    if wanted.level is None:
        content = proven.history.entry_bundle(wanted.index, wanted.width)
    else:
        content = proven.history.tile(wanted.level, wanted.index, wanted.width)
    if content is None:
        raise problem(404, "no_such_tile", "the log under the checkpoint does not reach so far")
    headers = dict(_IMMUTABLE)
    if wanted.level is None:
        headers = {"Cache-Control": "private"}
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.get("/v1/blocks", summary="Blocks, newest first")
async def blocks(
    services: Node, _: Member, cursor: Cursor = None, limit: Limit = DEFAULT_PAGE
) -> dict[str, Any]:
    proven = require_proven(services)
    position = decode_cursor(cursor)
    if position and not (position.isascii() and position.isdigit()):
        raise problem(422, "invalid_cursor", "pass the cursor of the page before")
    newest = proven.height if not position else min(int(position) - 1, proven.height)
    oldest = max(1, newest - limit + 1)
    items = [describe_block(proven, height) for height in range(newest, oldest - 1, -1)]
    return page(items, str(oldest) if oldest > 1 and items else None)


@router.get("/v1/blocks/{height}", summary="A block")
async def block(
    services: Node, _: Member, height: Annotated[int, Path(ge=1, le=2**53)]
) -> dict[str, Any]:
    proven = require_proven(services)
    if height > proven.height:
        raise problem(404, "block_unknown", f"the proven height is {proven.height}")
    answer = describe_block(proven, height)
    record = proven.history.record(height)
    assert record is not None, "described above"
    stop = record.first_index + record.transaction_count
    answer["transactions"] = [
        decode_transaction(services.genesis.suite, entry.transaction).id.hex()
        for entry in proven.history.transactions(record.first_index, stop)
    ]
    commit = proven.history.commit(height)
    answer["commit"] = None if commit is None else describe_commit(commit)
    return answer


def describe_commit(commit: Commit) -> dict[str, Any]:
    """Return who decided a block, in which round."""
    return {"round": commit.round, "validators": [name for name, _ in commit.signatures]}


def describe_block(proven: ProvenView, height: int) -> dict[str, Any]:
    """Return a block's header and where its entries are.

    Raises:
        ApiProblem: 404, there is no such block.
    """
    record = proven.history.record(height)
    if record is None:
        raise problem(404, "block_unknown", f"no block {height}")
    header = record.header
    return {
        "height": height,
        "time_ms": header.time_ms,
        "proposer": header.proposer,
        "transaction_count": record.transaction_count,
        "evidence_count": len(record.evidence),
        "first_index": record.first_index,
        "entry_count": record.entry_count,
        "last_block_id": header.last_block_id.hex(),
        "app_hash_before": header.app_hash.hex(),
        "validators_hash": header.validators_hash.hex(),
        "next_validators_hash": header.next_validators_hash.hex(),
    }
