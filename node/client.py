"""The HTTP client of a node's `/v1` API, as the command line and the loader use it.

`NodeClient` has one typed method for each resource; `AsyncNodeClient` the few that a loader needs. Every failure is
one of two errors: `NodeUnreachable` (no answer) or `ApiProblem` (the node refused and says why). Records of the
directory and of licenses are returned as the node's JSON objects; docs/API.md describes them.
"""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import httpx

from ledger.suite import Signer
from node.auth import MAX_LIFETIME_S, make_token
from node.errors import ApiProblem, NodeUnreachable

Json = dict[str, Any]
Wait = Literal["none", "committed", "proven"]
Status = Literal["committed", "failed", "pending", "refused", "not_committed"]

DEFAULT_TIMEOUT_S: Final = 30.0
_GRACE_S: Final = 10.0
"""Time that an answer may take beyond what the request asks the node to wait."""


@dataclass(frozen=True, slots=True)
class SubmissionResult:
    """What became of one submitted transaction.

    committed: took effect. failed: stands in the log with `code`, without effect. refused: never admitted, for
    `code`. pending: admitted, not asked to wait. not_committed: admitted, but not decided in time; it may still be.
    """

    id: str
    status: Status
    code: str
    height: int | None
    index: int | None
    text: str


@dataclass(frozen=True, slots=True)
class ValidatorStatus:
    """A validator as this node sees it."""

    name: str
    online: bool


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """The network as one node sees it. `stalled` says why no block can be made, or is None."""

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


def _problem(response: httpx.Response) -> ApiProblem:
    try:
        body = response.json()
        return ApiProblem(
            response.status_code,
            str(body.get("code", "")),
            str(body.get("title", response.reason_phrase)),
            str(body.get("detail", "")),
        )
    except (ValueError, AttributeError):
        return ApiProblem(response.status_code, "", response.reason_phrase, response.text[:200])


def _submission_body(transactions: Sequence[bytes], wait: Wait, timeout_s: float) -> Json:
    encoded = [base64.b64encode(raw).decode("ascii") for raw in transactions]
    return {"transactions": encoded, "wait": wait, "timeout_s": timeout_s}


def _parse_submission(body: Json) -> tuple[SubmissionResult, ...]:
    return tuple(
        SubmissionResult(
            row["id"], row["status"], row["code"], row["height"], row["index"], row["text"]
        )
        for row in body["results"]
    )


def _parse_network(body: Json) -> NetworkStatus:
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
        body,
    )


def _parse_transaction(body: Json) -> TransactionView:
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


def _parse_page(body: Json) -> Page:
    return Page(tuple(body["items"]), body["cursor"])


class _Credentials:
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


class NodeClient:
    """Synchronous client of one node. `signer` is an enrolled key; without it only public resources answer.

    `chain_id` is what tokens are made for; when None the node is asked once. `certificate_authority` is a PEM file
    for nodes whose API speaks TLS.
    """

    def __init__(
        self,
        url: str,
        *,
        signer: Signer | None = None,
        chain_id: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        certificate_authority: str | None = None,
    ) -> None:
        verify: Any = True if certificate_authority is None else _tls_context(certificate_authority)
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._credentials = _Credentials(signer, chain_id)
        self._http = httpx.Client(
            base_url=self.url, timeout=timeout_s, verify=verify, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # --- transport --------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Json | None = None,
        headers: Mapping[str, str] | None = None,
        wait_s: float = 0.0,
        authenticated: bool = True,
    ) -> httpx.Response:
        """Send one request and return its successful response.

        Raises:
            NodeUnreachable: no answer in time.
            ApiProblem: an answer other than 2xx.
        """
        sent = dict(headers or {})
        if authenticated:
            sent.update(self._credentials.headers(self._learn_chain_id))
        wanted = {k: v for k, v in (params or {}).items() if v is not None}
        try:
            response = self._http.request(
                method,
                path,
                params=wanted or None,
                json=body,
                headers=sent,
                timeout=max(self._timeout_s, wait_s + _GRACE_S),
            )
        except httpx.HTTPError as error:
            raise NodeUnreachable(
                f"no answer from {self.url}: {error or type(error).__name__}"
            ) from None
        if response.is_success:
            return response
        raise _problem(response)

    def get(self, path: str, **params: Any) -> Json:
        """Return the JSON object at `path`."""
        body: Json = self.request("GET", path, params=params).json()
        return body

    def _learn_chain_id(self) -> str:
        body = self.request("GET", "/v1/network", authenticated=False).json()
        return str(body["chain_id"])

    # --- the network ------------------------------------------------------------------------------

    def healthy(self) -> bool:
        """Tell whether the process answers."""
        try:
            self.request("GET", "/healthz", authenticated=False)
        except (NodeUnreachable, ApiProblem):
            return False
        return True

    def ready(self) -> tuple[bool, str]:
        """Tell whether the node serves current answers, and if not, why."""
        try:
            self.request("GET", "/readyz", authenticated=False)
        except NodeUnreachable as error:
            return False, str(error)
        except ApiProblem as problem:
            return False, problem.detail
        return True, ""

    def network(self) -> NetworkStatus:
        """Return who is online, whether there is a quorum, and how far the chain is."""
        return _parse_network(self.request("GET", "/v1/network", authenticated=False).json())

    def policy(self) -> str:
        """Return the tlog-policy file of the current validators."""
        return self.request("GET", "/v1/policy", authenticated=False).text

    def genesis(self) -> bytes:
        """Return the genesis file."""
        return self.request("GET", "/v1/genesis", authenticated=False).content

    def checkpoint(self) -> str:
        """Return the newest checkpoint that a quorum has cosigned, as a signed note."""
        return self.request("GET", "/checkpoint", authenticated=False).text

    def tile(self, path: str) -> bytes:
        """Return a tile by its tlog-tiles path, e.g. `tile/0/000` or `tile/entries/000.p/12`."""
        return self.request("GET", "/" + path.lstrip("/")).content

    def metrics(self) -> str:
        """Return the node's metrics in Prometheus' text format."""
        return self.request("GET", "/metrics", authenticated=False).text

    # --- transactions and blocks ------------------------------------------------------------------

    def submit(
        self, transactions: Sequence[bytes], *, wait: Wait = "committed", timeout_s: float = 15.0
    ) -> tuple[SubmissionResult, ...]:
        """Submit transactions (raw bytes) and return what became of each, in order."""
        body = _submission_body(transactions, wait, timeout_s)
        response = self.request("POST", "/v1/transactions", body=body, wait_s=timeout_s)
        return _parse_submission(response.json())

    def transaction(self, transaction_id: str, *, wait_s: float = 0.0) -> TransactionView:
        """Return a transaction by id (64 hex digits); waits up to `wait_s` for it to be proven."""
        path = f"/v1/transactions/{transaction_id}"
        response = self.request("GET", path, params={"wait_s": wait_s or None}, wait_s=wait_s)
        return _parse_transaction(response.json())

    def blocks(self, *, cursor: str | None = None, limit: int | None = None) -> Page:
        """Return blocks, newest first."""
        return _parse_page(self.get("/v1/blocks", cursor=cursor, limit=limit))

    def block(self, height: int) -> Json:
        return self.get(f"/v1/blocks/{height}")

    def validator_changes(self, *, since: int = 0) -> Json:
        """Return the changes of the validator set after log size `since`, as evidence for a light verifier."""
        return self.get("/v1/validators/changes", since=since)

    def events(
        self, *, after: int | None = None, kinds: Sequence[str] = ()
    ) -> Iterator[ServerEvent]:
        """Yield new records of the log as they are proven, from the one after index `after` on; ends with the link."""
        headers = {"Accept": "text/event-stream"}
        headers.update(self._credentials.headers(self._learn_chain_id))
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        params = {"kinds": ",".join(kinds)} if kinds else {}
        try:
            with self._http.stream(
                "GET",
                "/v1/events",
                headers=headers,
                params=params,
                timeout=httpx.Timeout(self._timeout_s, read=60.0),
            ) as response:
                if not response.is_success:
                    response.read()
                    raise _problem(response)
                yield from _server_events(response.iter_lines())
        except httpx.HTTPError as error:
            raise NodeUnreachable(
                f"no answer from {self.url}: {error or type(error).__name__}"
            ) from None

    # --- organisations and the directory ----------------------------------------------------------

    def organisations(self, *, cursor: str | None = None, limit: int | None = None) -> Page:
        return _parse_page(self.get("/v1/organisations", cursor=cursor, limit=limit))

    def organisation(self, uscc: str) -> Json:
        return self.get(f"/v1/organisations/{uscc}")

    def directory(
        self,
        collection: str,
        *,
        text: str | None = None,
        owner: str | None = None,
        status: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Page:
        """List a collection: instrument, responsibility, system, resource, matter or entrustment."""
        return _parse_page(
            self.get(
                f"/v1/directory/{collection}",
                q=text,
                owner=owner,
                status=status,
                cursor=cursor,
                limit=limit,
            )
        )

    def directory_entry(self, collection: str, identifier: str) -> Json:
        return self.get(f"/v1/directory/{collection}/{identifier}")

    def directory_trace(self, collection: str, identifier: str, *, direction: str = "down") -> Json:
        """Return the tree of what an entry rests on (`up`) or what rests on it (`down`)."""
        return self.get(f"/v1/directory/{collection}/{identifier}/trace", direction=direction)

    def directory_check(self, *, department: str | None = None) -> Json:
        """Return the findings of the structure check, for one department or all."""
        return self.get("/v1/directory/check", department=department)

    # --- licenses, uses and wallets ---------------------------------------------------------------

    def licenses(self, prefix: str, *, cursor: str | None = None, limit: int | None = None) -> Page:
        """List licenses whose handle begins with `prefix` (hex)."""
        return _parse_page(self.get("/v1/licenses", prefix=prefix, cursor=cursor, limit=limit))

    def license(self, handle: str) -> Json:
        return self.get(f"/v1/licenses/{handle}")

    def license_uses(
        self, handle: str, *, cursor: str | None = None, limit: int | None = None
    ) -> Page:
        return _parse_page(self.get(f"/v1/licenses/{handle}/uses", cursor=cursor, limit=limit))

    def use(self, use_id: str) -> Json:
        return self.get(f"/v1/uses/{use_id}")

    def wallet(self, prefix: str, token: str) -> Json:
        """Return what a wallet matches locally: licenses and uses under a handle prefix.

        `token` is a JWT that the holder's key signs (`node.auth.make_token` with claims `handle` and `salt`, hex).
        """
        return self._holder(f"/v1/wallet/{prefix}", token)

    def _holder(self, path: str, token: str) -> Json:
        headers = {"Authorization": f"Bearer {token}"}
        body: Json = self.request("GET", path, headers=headers, authenticated=False).json()
        return body

    # --- proofs -----------------------------------------------------------------------------------

    def state(self, key: str) -> Json:
        """Return a state value with its evidence: `{key, value, evidence (base64)}`."""
        return self.get("/v1/state", key=key)

    def state_evidence(self, key: str) -> bytes:
        """Return the evidence bundle of a state value or its absence."""
        return self.request("GET", "/v1/evidence/state", params={"key": key}).content

    def transaction_evidence(self, transaction_id: str) -> bytes:
        """Return the evidence bundle of a transaction."""
        return self.request("GET", f"/v1/evidence/transactions/{transaction_id}").content

    def license_evidence(self, handle: str) -> bytes:
        """Return the evidence bundle of a license: the states that `licenses.verification.license_keys` lists."""
        return self.request("GET", f"/v1/evidence/licenses/{handle}").content

    def use_evidence(self, use_id: str, *, token: str | None = None) -> bytes:
        """Return the evidence bundle of a recorded use; `token` is a holder's, as for `wallet`."""
        path = f"/v1/evidence/uses/{use_id}"
        if token is None:
            return self.request("GET", path).content
        headers = {"Authorization": f"Bearer {token}"}
        return self.request("GET", path, headers=headers, authenticated=False).content

    # --- one-time-code sessions ------------------------------------------------------------------------------

    def open_session(self, sealing_key: str) -> OpenedSession:
        """Open a session at the holder's jurisdiction; `sealing_key` (hex) is what requests are sealed to."""
        body = self.request(
            "POST", "/v1/sessions", body={"sealing_key": sealing_key}, authenticated=False
        ).json()
        return OpenedSession(body["id"], body["code"], body["secret"], body["expires_ms"])

    def find_session(self, code: str) -> FoundSession:
        """Return the session of a code that the holder has told; every try counts against the window's limit."""
        body = self.request("POST", "/v1/sessions/find", body={"code": code}).json()
        return FoundSession(body["id"], body["sealing_key"], body["expires_ms"])

    def put_session_message(
        self, session_id: str, slot: str, payload: bytes, *, secret: str | None = None
    ) -> None:
        """Leave a sealed payload in `request`, `consent` or `disclosure`; the holder's side gives its secret."""
        body = {"payload": base64.b64encode(payload).decode("ascii")}
        self.request(
            "POST",
            f"/v1/sessions/{session_id}/{slot}",
            body=body,
            headers=_session_headers(secret),
            authenticated=secret is None,
        )

    def get_session_message(
        self, session_id: str, slot: str, *, wait_s: float = 0.0, secret: str | None = None
    ) -> bytes | None:
        """Return the sealed payload in a slot, or None if none came within `wait_s`."""
        response = self.request(
            "GET",
            f"/v1/sessions/{session_id}/{slot}",
            params={"wait_s": wait_s or None},
            headers=_session_headers(secret),
            wait_s=wait_s,
            authenticated=secret is None,
        )
        payload = response.json()["payload"]
        return None if payload is None else base64.b64decode(payload)


class AsyncNodeClient:
    """Asynchronous client of one node, for loaders."""

    def __init__(
        self,
        url: str,
        *,
        signer: Signer | None = None,
        chain_id: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_connections: int = 64,
    ) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._credentials = _Credentials(signer, chain_id)
        limits = httpx.Limits(
            max_connections=max_connections, max_keepalive_connections=max_connections
        )
        self._http = httpx.AsyncClient(
            base_url=self.url, timeout=timeout_s, limits=limits, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        params: Json | None = None,
        wait_s: float = 0.0,
    ) -> Json:
        """Send one request and return its JSON object; errors as in `NodeClient.request`."""
        if self._credentials.signer is not None and self._credentials.chain_id is None:
            self._credentials.chain_id = (await self.network()).chain_id
        headers = self._credentials.headers(str)
        return await self._send(method, path, headers, body, params, wait_s)

    async def _send(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: Json | None,
        params: Json | None,
        wait_s: float,
    ) -> Json:
        try:
            response = await self._http.request(
                method,
                path,
                params=params,
                json=body,
                headers=headers,
                timeout=max(self._timeout_s, wait_s + _GRACE_S),
            )
        except httpx.HTTPError as error:
            raise NodeUnreachable(
                f"no answer from {self.url}: {error or type(error).__name__}"
            ) from None
        if not response.is_success:
            raise _problem(response)
        answer: Json = response.json()
        return answer

    async def network(self) -> NetworkStatus:
        return _parse_network(await self._send("GET", "/v1/network", {}, None, None, 0.0))

    async def submit(
        self, transactions: Sequence[bytes], *, wait: Wait = "committed", timeout_s: float = 15.0
    ) -> tuple[SubmissionResult, ...]:
        """Submit transactions (raw bytes) and return what became of each, in order."""
        body = _submission_body(transactions, wait, timeout_s)
        return _parse_submission(
            await self.request("POST", "/v1/transactions", body=body, wait_s=timeout_s)
        )

    async def transaction(self, transaction_id: str, *, wait_s: float = 0.0) -> TransactionView:
        params = {"wait_s": wait_s} if wait_s else None
        path = f"/v1/transactions/{transaction_id}"
        return _parse_transaction(await self.request("GET", path, params=params, wait_s=wait_s))


def _session_headers(secret: str | None) -> dict[str, str]:
    return {} if secret is None else {"Session-Secret": secret}


def _server_events(lines: Iterator[str]) -> Iterator[ServerEvent]:
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


def _tls_context(certificate_authority: str) -> Any:
    return ssl.create_default_context(cafile=certificate_authority)
