"""What a node answers to its HTTP clients, read into types; the clients' tokens."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import httpx

from ledger.suite import Signer
from node.auth import MAX_LIFETIME_S, make_token
from node.errors import ApiProblem, NodeUnreachable

Json = dict[str, Any]
Wait = Literal["none", "committed", "proven"]
Status = Literal["committed", "failed", "pending", "refused", "not_committed"]

DEFAULT_TIMEOUT_S: Final = 30.0
GRACE_S: Final = 10.0
"""Time that an answer may take beyond what the request asks the node to wait."""


@dataclass(frozen=True, slots=True)
class SubmissionResult:
    """What became of one submitted transaction.

    committed: took effect. failed: stands in the log with `code`, without effect, for the operation at
    `operation_index`. refused: never admitted, for
    `code`. pending: admitted, not asked to wait. not_committed: admitted, but not decided in time; it may still be.
    """

    id: str
    status: Status
    code: str
    height: int | None
    index: int | None
    text: str
    operation_index: int | None


@dataclass(frozen=True, slots=True)
class ValidatorStatus:
    """A validator as this node sees it."""

    name: str
    online: bool


@dataclass(frozen=True, slots=True)
class EngineView:
    """How far a node's engine is: `height` is of the block being decided, `address` is what CometBFT's peers dial.

    All but `name` is None where the engine does not answer.
    """

    name: str
    height: int | None
    round: int | None
    step: str | None
    peers: int | None
    address: str | None

    def __str__(self) -> str:
        if self.height is None:
            return f"{self.name}, which does not answer"
        return f"{self.name}, height {self.height}, round {self.round}, {self.step}, {self.peers} peers"


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """The network as one node sees it. `stalled` says why no block can be made, or is None.

    `damage` says that the node found its store damaged since it was started, and what it did. `findings` are what is
    wrong: objects with `severity`, `code`, `text`, `names` and `numbers`, the worst first.
    """

    chain_id: str
    name: str
    validators: tuple[ValidatorStatus, ...]
    online: int
    total: int
    quorum: bool
    height: int
    checkpoint_size: int
    checkpoint_time_ms: int
    app_hash: str
    stalled: str | None
    damage: str | None
    engine: EngineView
    findings: tuple[Json, ...]
    raw: Json


@dataclass(frozen=True, slots=True)
class TransactionView:
    """A transaction as the log holds it; `proof` is a C2SP tlog-proof of `entry`, there once it is proven."""

    id: str
    status: Status
    height: int | None
    index: int | None
    code: str
    operation_index: int | None
    operations: tuple[Json, ...]
    entry: bytes | None
    proof: str | None
    checkpoint: str | None
    time_ms: int | None
    raw: Json


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; pass `cursor` to get the next one, None at the end."""

    items: tuple[Json, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One new record of the log. `index` is its place in the log; resume after it."""

    index: int
    kind: str
    data: Json


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A one-time-code session as its holder sees it. `secret` stays with the holder."""

    id: str
    code: str
    secret: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class FoundSession:
    """A session as the window that was told the code sees it. `sealing_key` is the wallet's, in hex."""

    id: str
    sealing_key: str
    expires_ms: int


def problem_of(response: httpx.Response) -> ApiProblem | NodeUnreachable:
    """Return the problem that a refusing response holds; where it holds none, no node has answered."""
    try:
        body = response.json()
        return ApiProblem(
            response.status_code,
            str(body["code"]),
            str(body.get("title", response.reason_phrase)),
            str(body.get("detail", "")),
        )
    except (ValueError, AttributeError, LookupError, TypeError):
        return _no_node(response)


def json_of(response: httpx.Response) -> Any:
    """Return the JSON value that a response holds.

    Raises:
        NodeUnreachable: it holds none, so no node has answered.
    """
    try:
        return response.json()
    except ValueError:
        raise _no_node(response) from None


def _no_node(response: httpx.Response) -> NodeUnreachable:
    url = response.request.url
    return NodeUnreachable(
        f"what answers at {url.scheme}://{url.netloc.decode()} is no Mulu node "
        f"(HTTP {response.status_code} to {url.path})"
    )


def submission_body(transactions: Sequence[bytes], wait: Wait, timeout_s: float) -> Json:
    """Return the body that submits transactions."""
    encoded = [base64.b64encode(raw).decode("ascii") for raw in transactions]
    return {"transactions": encoded, "wait": wait, "timeout_s": timeout_s}


def parse_submission(body: Json) -> tuple[SubmissionResult, ...]:
    """Read the answer to a submission."""
    return tuple(
        SubmissionResult(
            row["id"],
            row["status"],
            row["code"],
            row["height"],
            row["index"],
            row["text"],
            row["operation_index"],
        )
        for row in body["results"]
    )


def parse_network(body: Json) -> NetworkStatus:
    """Read the answer of `/v1/network`.

    Raises:
        NodeUnreachable: it is none of a node.
    """
    try:
        return _network(body)
    except (LookupError, TypeError):
        raise NodeUnreachable("what answers is no Mulu node") from None


def _network(body: Json) -> NetworkStatus:
    return NetworkStatus(
        body["chain_id"],
        body["name"],
        tuple(ValidatorStatus(row["name"], row["online"]) for row in body["validators"]),
        body["online"],
        body["total"],
        body["quorum"],
        body["height"],
        body["checkpoint_size"],
        body["checkpoint_time_ms"],
        body["app_hash"],
        body["stalled"],
        body.get("damage"),
        EngineView(**body["engine"]),
        tuple(body.get("findings", ())),
        body,
    )


def parse_transaction(body: Json) -> TransactionView:
    """Read the answer of `/v1/transactions/{id}`."""
    entry = body["entry"]
    return TransactionView(
        body["id"],
        body["status"],
        body["height"],
        body["index"],
        body["code"],
        body["operation_index"],
        tuple(body["operations"]),
        None if entry is None else base64.b64decode(entry),
        body["proof"],
        body["checkpoint"],
        body["time_ms"],
        body,
    )


def parse_page(body: Json) -> Page:
    """Read a page of a list."""
    return Page(tuple(body["items"]), body["cursor"])


def parse_server_events(lines: Iterator[str]) -> Iterator[ServerEvent]:
    """Parse a server-sent event stream; comments (keep-alives) are skipped."""
    index, kind, data = -1, "message", ""
    for line in lines:
        if not line:
            if data:
                yield ServerEvent(index, kind, json.loads(data))
            kind, data = "message", ""
        elif line.startswith("id:"):
            index = int(line[3:].strip())
        elif line.startswith("event:"):
            kind = line[6:].strip()
        elif line.startswith("data:"):
            data += line[5:].strip()


class Credentials:
    """Signs a token when one is needed, and again before it expires."""

    def __init__(self, signer: Signer | None, chain_id: str | None) -> None:
        self.signer = signer
        self.chain_id = chain_id
        self._token = ""
        self._renew_at_s = 0

    def headers(self, learn_chain_id: Callable[[], str]) -> dict[str, str]:
        if self.signer is None:
            return {}
        if self.chain_id is None:
            self.chain_id = learn_chain_id()
        now_s = int(time.time())
        if now_s >= self._renew_at_s:
            self._token = make_token(self.signer, self.chain_id, now_s)
            self._renew_at_s = now_s + MAX_LIFETIME_S // 2
        return {"Authorization": f"Bearer {self._token}"}
