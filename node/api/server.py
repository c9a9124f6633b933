"""The HTTP server: the application with its limits, served by uvicorn inside the node's task group."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import MutableMapping
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
from node.api.asgi import AsgiApp, Receive, Scope, Send
from node.api.connection import KEEP_ALIVE_S, HttpConnection
from node.api.problems import problem_response
from node.api.short_way import ShortWay
from node.listener import Listener
from node.services import Services

MAX_BODY_BYTES: Final = 1024 * 1024
"""A request's body; larger batches are split by the client."""

HANDSHAKE_TIMEOUT_S: Final = 5.0

_log = structlog.get_logger(__name__)


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
        # llhttp takes any number of zeros before a length, Python's reader of numbers does not.
        digits = declared.lstrip(b"0") or b"0"
        if not declared.isdigit() or len(digits) > 20 or int(digits) > self._max_bytes:
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
        redirect_slashes=False,  # a redirect would name the host that the client has named
    )
    app.state.services = services
    problems.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(ShortWay, services=services)
    parts = (health, network, log, transactions, directory, licenses, evidence, events, sessions)
    for part in parts:
        app.include_router(part.router)
    return app


class _Server(uvicorn.Server):
    """A server that leaves signals to the process that it is part of, and whose TLS handshakes are bounded."""

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        def connection() -> HttpConnection:
            return HttpConnection(self.config, self.server_state, self.lifespan.state)

        listener = Listener(connection, self.config.ssl, HANDSHAKE_TIMEOUT_S)
        await listener.start(self.config.host, self.config.port)
        self.servers = [listener]  # type: ignore[list-item]
        self.started = True

    def end(self) -> None:
        """Close the port and the connections; cancelled, the library would leave both to the end of the loop."""
        for listener in getattr(self, "servers", ()):
            listener.close()
        for connection in tuple(self.server_state.connections):
            connection.shutdown()


def _tells_something(record: logging.LogRecord) -> bool:
    """Leave out requests that end with the node: their tracebacks would bury the line that says why it ends."""
    return record.exc_info is None or not isinstance(record.exc_info[1], asyncio.CancelledError)


async def serve_api(services: Services) -> None:
    """Serve until cancelled; then no connection is accepted any more, and those that wait are closed.

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
            http="httptools",
            ws="none",
            host=config.listen_host,
            port=config.listen_port,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=bool(config.trusted_proxies),
            forwarded_allow_ips=list(config.trusted_proxies),
            timeout_keep_alive=KEEP_ALIVE_S,
            lifespan="off",
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
    )
    logging.getLogger("uvicorn.error").addFilter(_tells_something)
    _log.info(
        "serving the API",
        host=config.listen_host,
        port=config.listen_port,
        tls=certificate is not None,
    )
    try:
        await server.serve()
    finally:
        server.end()
