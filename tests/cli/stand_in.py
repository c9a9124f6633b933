"""An HTTP server that stands where a node would, and answers what a test wants."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.ledger.sample_chain import CHAIN_ID

ZEROS: Final = "0" * 64

NETWORK: Final[dict[str, Any]] = {
    "chain_id": CHAIN_ID,
    "name": "beijing",
    "validators": [{"name": "beijing", "online": True}],
    "online": 1,
    "total": 1,
    "quorum": True,
    "height": 1,
    "checkpoint_size": 1,
    "checkpoint_time_ms": 1,
    "app_hash": ZEROS,
    "stalled": None,
    "engine": dict.fromkeys(("height", "round", "step", "peers", "address"), None)
    | {"name": "tendermint"},
}
"""What a node tells of its network."""

Answer = Callable[[str], tuple[int, bytes | Iterable[bytes]]]
"""Given the path with its query, returns status and body; one in parts has no length, and ends with the connection."""

Posted = Callable[[str, bytes], tuple[int, bytes | Iterable[bytes]]]
"""Given the path and what was posted there, returns the same."""


@contextmanager
def serving(
    answer: Answer, *, posted: Posted | None = None, port: int = 0, kind: str | None = None
) -> Iterator[str]:
    """Answer GET requests, and POST requests if told how, until the block ends; yields the server's URL.

    `kind` is the content type of all answers, by default that of a node's.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(*answer(self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._reply(*((405, b"") if posted is None else posted(self.path, body)))

        def _reply(self, status: int, body: bytes | Iterable[bytes]) -> None:
            self.send_response(status)
            usual = "application/json" if status == 200 else "application/problem+json"
            self.send_header("Content-Type", kind or usual)
            if isinstance(body, bytes):
                self.send_header("Content-Length", str(len(body)))
                body = (body,)
            self.end_headers()
            with contextlib.suppress(OSError):  # who asked wants no more of it
                for part in body:
                    self.wfile.write(part)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
