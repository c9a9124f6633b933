"""What a node answers to its HTTP clients, read into types; the clients' tokens."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import httpx
from pydantic import ValidationError

from ledger.errors import DecodeError
from ledger.problems import first_problem
from ledger.strict_json import json_decode
from ledger.suite import Signer
from node.auth import MAX_LIFETIME_S, make_token
from node.errors import ApiProblem, NodeUnreachable
from node.shapes import (
    MAX_ANSWER_DEPTH,
    AnyObject,
    EngineShape,
    NetworkShape,
    PageShape,
    ProblemShape,
    Shape,
    Status,
    SubmissionShape,
    TransactionShape,
)

Json = dict[str, Any]
Wait = Literal["none", "committed", "proven"]

DEFAULT_TIMEOUT_S: Final = 30.0
GRACE_S: Final = 10.0
"""Time that an answer may take beyond what the request asks the node to wait."""

MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
"""Four times the largest file that a node gives out, an evidence bundle; a full page of entries that are long has less.
What has a node's port may send without end, and JSON takes many times its own length in memory."""

_MAX_INDEX_DIGITS: Final = 19
"""Of a place in the log."""


@dataclass(frozen=True, slots=True)
class SubmissionResult:
    """What became of one submitted transaction.

    committed: took effect. failed: stands in the log with `code`, without effect, for the operation at
    `operation_index`. refused: never admitted, for `code`. pending: admitted, not asked to wait. not_committed:
    admitted, but not decided in time; it may still be.
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


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request: HTTP status and body, which `AnswerReader` has bounded.

    `origin` and `path` say who was asked for what.
    """

    origin: str
    path: str
    status_code: int
    reason: str
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status_code < 300

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the JSON value that the body is.

        Raises:
            NodeUnreachable: it is none, so no node has answered.
        """
        try:
            return json_decode(self.content, max_depth=MAX_ANSWER_DEPTH)
        except DecodeError as error:
            raise self.no_node(str(error)) from None

    def read(self, shape: type[Shape] = AnyObject) -> Json:
        """Return the JSON object that the body is, which has the fields of `shape`.

        Raises:
            NodeUnreachable: it is none, or has not, so no node has answered.
        """
        body = self.json()
        try:
            shape.model_validate(body)
        except ValidationError as error:
            raise self.no_node(first_problem(error, whole="answer")) from None
        return cast("Json", body)

    def problem(self) -> ApiProblem | NodeUnreachable:
        """Return the problem that a refusing answer holds; where it holds none, no node has answered."""
        try:
            body = self.read(ProblemShape)
        except NodeUnreachable as error:
            return error
        return ApiProblem(
            self.status_code,
            body["code"],
            body.get("title", self.reason),
            body.get("detail", ""),
        )

    def no_node(self, why: str) -> NodeUnreachable:
        """Return the error that this is the answer of no node."""
        asked = f"HTTP {self.status_code} to {self.path}"
        return NodeUnreachable(f"what answers at {self.origin} is no Mulu node ({asked}: {why})")


class AnswerReader:
    """Gathers an answer as its body comes in, up to `max_bytes`."""

    def __init__(self, response: httpx.Response, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._response = response
        self._parts: list[bytes] = []
        self._max_bytes = self._left_bytes = max_bytes

    def add(self, part: bytes) -> None:
        """Take the next part of the body.

        Raises:
            NodeUnreachable: the body is longer than any of a node's.
        """
        self._left_bytes -= len(part)
        if self._left_bytes < 0:
            raise self.answer().no_node(f"more than {self._max_bytes} bytes")
        self._parts.append(part)

    def answer(self) -> Answer:
        """Return the answer, of what has come so far."""
        url = self._response.request.url
        return Answer(
            f"{url.scheme}://{url.netloc.decode()}",
            url.path,
            self._response.status_code,
            self._response.reason_phrase,
            self._response.headers,
            b"".join(self._parts),
        )


def submission_body(transactions: Sequence[bytes], wait: Wait, timeout_s: float) -> Json:
    """Return the body that submits transactions."""
    encoded = [base64.b64encode(raw).decode("ascii") for raw in transactions]
    return {"transactions": encoded, "wait": wait, "timeout_s": timeout_s}


def parse_submission(answer: Answer, count: int) -> tuple[SubmissionResult, ...]:
    """Read the answer to a submission of `count` transactions.

    Raises:
        NodeUnreachable: it is none of a node.
    """
    rows = answer.read(SubmissionShape)["results"]
    if len(rows) != count:
        raise answer.no_node(f"{len(rows)} results of {count} transactions")
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
        for row in rows
    )


def parse_network(answer: Answer) -> NetworkStatus:
    """Read the answer of `/v1/network`.

    Raises:
        NodeUnreachable: it is none of a node.
    """
    body = answer.read(NetworkShape)
    engine = body["engine"]
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
        EngineView(*(engine[name] for name in EngineShape.model_fields)),
        tuple(body.get("findings", ())),
        body,
    )


def parse_transaction(answer: Answer) -> TransactionView:
    """Read the answer of `/v1/transactions/{id}`.

    Raises:
        NodeUnreachable: it is none of a node.
    """
    body = answer.read(TransactionShape)
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


def parse_page(answer: Answer, shape: type[Shape]) -> Page:
    """Read a page of a list, whose items `shape` describes.

    Raises:
        NodeUnreachable: it is none of a node.
    """
    body = answer.read(PageShape[shape])  # type: ignore[valid-type]
    return Page(tuple(body["items"]), body["cursor"])


def parse_server_events(lines: Iterator[str], origin: str) -> Iterator[ServerEvent]:
    """Parse a server-sent event stream that came from `origin`; comments (keep-alives) are skipped.

    Raises:
        NodeUnreachable: it is not one of a node.
    """
    index, kind, data = -1, "message", ""
    for line in lines:
        if not line:
            if data:
                yield ServerEvent(index, kind, _event_data(data, origin))
            kind, data = "message", ""
        elif line.startswith("id:"):
            index = _event_index(line[3:].strip(), origin)
        elif line.startswith("event:"):
            kind = line[6:].strip()
        elif line.startswith("data:"):
            data += line[5:].strip()


def _event_index(text: str, origin: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_INDEX_DIGITS):
        raise NodeUnreachable(f"what answers at {origin} is no Mulu node: an event has no index")
    return int(text)


def _event_data(text: str, origin: str) -> Json:
    try:
        data = json_decode(text.encode(), max_depth=MAX_ANSWER_DEPTH)
    except DecodeError as error:
        raise NodeUnreachable(f"what answers at {origin} is no Mulu node: {error}") from None
    if not isinstance(data, dict):
        raise NodeUnreachable(f"what answers at {origin} is no Mulu node: an event is no object")
    return cast("Json", data)


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
