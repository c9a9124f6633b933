"""Pages of lists: bounded, with opaque cursors."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Query

from ledger.base64url import base64url_decode, base64url_encode
from ledger.errors import DecodeError
from node.api.problems import problem

MAX_PAGE: Final = 500
DEFAULT_PAGE: Final = 100

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Rows a page")]
Cursor = Annotated[str | None, Query(max_length=400, description="From the page before")]


def encode_cursor(position: str) -> str:
    """Return a cursor that continues after `position`."""
    return base64url_encode(position.encode())


def decode_cursor(cursor: str | None) -> str:
    """Return the position in a cursor, "" for the first page.

    Raises:
        ApiProblem: 422, not a cursor of ours.
    """
    if not cursor:
        return ""
    try:
        position = base64url_decode(cursor).decode("utf-8")
    except (DecodeError, UnicodeDecodeError):
        position = "\0"
    if "\0" in position:
        raise problem(422, "invalid_cursor", "pass the cursor of the page before")
    return position


def page(items: list[Any], position: str | None) -> dict[str, Any]:
    """Return a page; `position` continues after its last row, None at the end."""
    return {"items": items, "cursor": None if position is None else encode_cursor(position)}
