"""The short way of the question that is asked most: a state value with its proof, `GET /v1/state?key=…`.

Routing, dependencies and validation of the framework cost twice what the answer costs. A plain request of a member is
answered here, by the same functions; whatever is not plain, or is to be refused, goes the long way, which says why.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from ledger.errors import StorageError
from node.api.access import caller_of
from node.api.asgi import AsgiApp, Receive, Scope, Send
from node.api.evidence import STATE_KEY, state_answer
from node.errors import ApiProblem
from node.services import Services

PATH: Final = "/v1/state"

_QUERY: Final = re.compile(rb"key=([^&+]+)")
_KEY: Final = re.compile(STATE_KEY)

_OF_A_BODY: Final = (b"content-length", b"transfer-encoding")
"""A request that brings a body is not plain: the bound of bodies stands on the long way."""


class ShortWay:
    """Answers plain questions, and passes all others on."""

    def __init__(self, app: AsgiApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = None
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "GET":
            answer = self._answer(scope)
        if answer is None:
            await self._app(scope, receive, send)
            return
        headers: list[Any] = [
            (b"content-length", b"%d" % len(answer)),
            (b"content-type", b"application/json"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _answer(self, scope: Scope) -> bytes | None:
        query = _QUERY.fullmatch(scope["query_string"])
        tokens = [value for name, value in scope["headers"] if name == b"authorization"]
        has_body = any(name in _OF_A_BODY for name, _ in scope["headers"])
        if query is None or len(tokens) != 1 or has_body:
            return None
        try:
            key = unquote_to_bytes(query[1]).decode("utf-8")
            if _KEY.fullmatch(key) is None:
                return None
            caller_of(self._services, tokens[0].decode("ascii"))
            return state_answer(self._services, key)
        except (UnicodeDecodeError, ApiProblem, StorageError):
            return None
