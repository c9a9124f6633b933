"""Refusals as RFC 9457 problems: `type`, `title`, `status`, `detail`, and a stable `code`."""

from __future__ import annotations

import re
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from ledger.errors import DamagedStoreError, StorageError
from ledger.problems import plain_message
from node.errors import ApiProblem, IndexUnavailableError, TooManyReadsError

MEDIA_TYPE = "application/problem+json"

_TITLES = {
    400: "Bad request",
    401: "Who are you?",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    413: "Too large",
    415: "Unsupported media type",
    422: "Invalid input",
    429: "Too many requests",
    500: "Internal error",
    503: "Not available now",
}

_CODES = {
    400: "invalid_input",
    404: "no_such_resource",
    405: "method_not_allowed",
    413: "body_too_large",
}

_RUN_OF: Final = re.compile(r"\^\[(?P<characters>[^]]+)\]\{(?P<fewest>\d+)(?:,(?P<most>\d+))?\}\$")
_ONE_OF: Final = re.compile(r"\^\(([a-z_|]+)\)\$")
_CHARACTERS: Final = {
    "0-9a-f": "hex digits, in lower case",
    "0-9": "digits",
    "0-9A-Z": "digits and capital letters",
}


def problem(status: int, code: str, detail: str) -> ApiProblem:
    """Return the error that becomes a problem response."""
    return ApiProblem(status, code, _TITLES.get(status, "Error"), detail)


def problem_response(status: int, code: str, detail: str, **members: Any) -> JSONResponse:
    """Return a problem response; `members` are what this problem tells besides."""
    body: dict[str, Any] = {
        "type": f"urn:mulu:problem:{code}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "code": code,
        "detail": detail,
        **members,
    }
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(body, status, headers, MEDIA_TYPE)


def described(pattern: str) -> str:
    """Return what a parameter's pattern asks for, in words where it is one of the usual forms."""
    found = _RUN_OF.fullmatch(pattern)
    if found is not None and found["characters"] in _CHARACTERS:
        fewest, most = found["fewest"], found["most"]
        count = fewest if most is None else f"{fewest} to {most}"
        return f"{count} {_CHARACTERS[found['characters']]}"
    found = _ONE_OF.fullmatch(pattern)
    if found is not None:
        return f"one of {found[1].replace('|', ', ')}"
    return f"what matches {pattern}"


def install(app: FastAPI) -> None:
    """Answer every failure of `app` as a problem."""

    async def api_problem(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiProblem)
        return problem_response(error.status, error.code, error.detail)

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        if first["type"] == "string_pattern_mismatch":
            text = f"{first['loc'][-1]}: expected {described(first['ctx']['pattern'])}"
            return problem_response(422, "invalid_input", text)
        where = ".".join(str(part) for part in first["loc"])
        return problem_response(422, "invalid_input", f"{where}: {plain_message(first['msg'])}")

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = _CODES.get(error.status_code, "refused")
        return problem_response(error.status_code, code, str(error.detail))

    async def index_failed(_: Request, error: Exception) -> JSONResponse:
        return problem_response(503, "index_unavailable", "the node's index is not usable now")

    async def too_many_reads(_: Request, error: Exception) -> JSONResponse:
        return problem_response(503, "too_many_reads", str(error))

    async def storage_failed(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, DamagedStoreError):
            # The node ends: what it cannot read it must not vote on either.
            request.app.state.services.failure.tell(error)
        return problem_response(503, "storage_failed", "the node cannot read its store")

    app.add_exception_handler(StorageError, storage_failed)
    app.add_exception_handler(SQLAlchemyError, index_failed)
    app.add_exception_handler(IndexUnavailableError, index_failed)
    app.add_exception_handler(TooManyReadsError, too_many_reads)
    app.add_exception_handler(ApiProblem, api_problem)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
