"""The HTTP server: the application with its limits, served by uvicorn inside the node's task group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import nullcontext
from typing import Any, Final

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from node.api import (
    directory,
    events,
    evidence,
    health,
    licenses,
    log,
    network,
    problems,
    sessions,
    transactions,
)
from node.api.problems import problem_response
from node.services import Services

MAX_BODY_BYTES: Final = 1024 * 1024
"""A request's body; larger batches are split by the client."""

KEEP_ALIVE_S: Final = 30
SHUTDOWN_S: Final = 3
MAX_CONNECTIONS: Final = 2_000
"""Connections at one time; beyond, the server answers 503."""

_log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class BodyLimit:
    """Refuses request bodies beyond a bound, by their declared length or as they arrive."""

    def __init__(self, app: AsgiApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._text = f"a request's body has at most {max_bytes} bytes; send several requests"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self._max_bytes:
            await self._refuse(scope, receive, send)
            return
        received = 0

        async def bounded() -> MutableMapping[str, Any]:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise HTTPException(413, self._text)
            return message

        await self._app(scope, bounded, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await problem_response(413, "body_too_large", self._text)(scope, receive, send)


def create_api(services: Services) -> FastAPI:
    """Return the API over a running node's parts."""
    app = FastAPI(
        title="Mulu node",
        version="1",
        summary="A permissioned ledger of responsibilities, licenses and their uses.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    app.state.services = services
    problems.install(app)
    app.add_middleware(BodyLimit)
    parts = (health, network, log, transactions, directory, licenses, evidence, events, sessions)
    for part in parts:
        app.include_router(part.router)
    return app


class _Server(uvicorn.Server):
    """A server that leaves signals to the process that it is part of."""

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
        return nullcontext()


async def serve_api(services: Services) -> None:
    """Serve until cancelled; connections get a moment to end.

    Raises:
        OSError: the port cannot be bound.
    """
    config = services.config.api
    certificate, key = (
        None if name is None else str(services.root / name)
        for name in (config.tls_certificate, config.tls_key)
    )
    server = _Server(
        uvicorn.Config(
            create_api(services),
            host=config.listen_host,
            port=config.listen_port,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
            limit_concurrency=MAX_CONNECTIONS,
            lifespan="off",
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
    )
    _log.info("serving the API", host=config.listen_host, port=config.listen_port)
    await server.serve()
