"""The HTTP client of a node's `/v1` API, as the command line and the loader use it.

`NodeClient` has one typed method for each resource; `node.async_client` has the few that a loader needs. Every failure
is one of two errors: `NodeUnreachable` (no answer, or one that no node gives) or `ApiProblem` (the node refused and
says why). Records of the directory and of licenses are returned as the node's JSON objects, which have the fields that
`node.shapes` asks for; docs/API.md describes them.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self

import httpx

from ledger.bundle import Bundle
from ledger.errors import DecodeError
from ledger.limits import MAX_ENTRY_BYTES
from ledger.notes import MAX_NOTE_BYTES
from ledger.suite import SHA256_ED25519, Signer
from ledger.tiles import TILE_WIDTH
from node.answers import (
    DEFAULT_TIMEOUT_S,
    GRACE_S,
    MAX_ANSWER_BYTES,
    Answer,
    AnswerReader,
    Credentials,
    FoundSession,
    Json,
    NetworkStatus,
    OpenedSession,
    Page,
    ServerEvent,
    SubmissionResult,
    TransactionView,
    Wait,
    parse_network,
    parse_page,
    parse_server_events,
    parse_submission,
    parse_transaction,
    submission_body,
)
from node.errors import ApiProblem, NodeUnreachable
from node.shapes import (
    AnyObject,
    ChangesShape,
    CheckShape,
    EntryShape,
    FoundSessionShape,
    LicenseShape,
    MessageShape,
    OpenedSessionShape,
    OrganisationShape,
    OwnUseShape,
    Shape,
    StateShape,
    TraceShape,
    UseShape,
)

_MAX_SMALL_BYTES: Final = MAX_NOTE_BYTES
"""A hash tile has 8 KiB at most, a checkpoint's note less."""

_MAX_ENTRIES_BYTES: Final = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)

_MAX_CHANGES_BYTES: Final = 64 * 1024 * 1024
"""A thousand changes of validators are shown at once, each about 12 KiB in base64 where they are many."""


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
        self._credentials = Credentials(signer, chain_id)
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
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """Send one request and return its successful answer, whose body has at most `max_bytes`.

        Raises:
            NodeUnreachable: no answer in time, or not one of a node: too long, for one.
            ApiProblem: a node's refusal.
        """
        sent = dict(headers or {})
        if authenticated:
            sent.update(self._credentials.headers(self._learn_chain_id))
        wanted = {k: v for k, v in (params or {}).items() if v is not None}
        try:
            with self._http.stream(
                method,
                path,
                params=wanted or None,
                json=body,
                headers=sent,
                timeout=max(self._timeout_s, wait_s + GRACE_S),
            ) as response:
                answer = _read_answer(response, max_bytes)
        except httpx.HTTPError as error:
            raise NodeUnreachable(
                f"no answer from {self.url}: {error or type(error).__name__}"
            ) from None
        if answer.is_success:
            return answer
        raise answer.problem()

    def get(self, path: str, shape: type[Shape] = AnyObject, **params: Any) -> Json:
        """Return the JSON object at `path`, which has this shape."""
        return self.request("GET", path, params=params).read(shape)

    def _page(self, path: str, item: type[Shape], **params: Any) -> Page:
        return parse_page(self.request("GET", path, params=params), item)

    def _learn_chain_id(self) -> str:
        return self.network().chain_id

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
        return parse_network(self.request("GET", "/v1/network", authenticated=False))

    def policy(self) -> str:
        """Return the tlog-policy file of the current validators."""
        return self.request("GET", "/v1/policy", authenticated=False).text

    def genesis(self) -> bytes:
        """Return the genesis file."""
        return self.request("GET", "/v1/genesis", authenticated=False).content

    def checkpoint(self) -> str:
        """Return the newest checkpoint that a quorum has cosigned, as a signed note."""
        response = self.request(
            "GET", "/checkpoint", authenticated=False, max_bytes=_MAX_SMALL_BYTES
        )
        return response.text

    def tile(self, path: str) -> bytes:
        """Return a tile by its tlog-tiles path, e.g. `tile/0/000` or `tile/entries/000.p/12`.

        Hash tiles are public; entries need a role.
        """
        wanted = "/" + path.lstrip("/")
        holds_entries = wanted.startswith("/tile/entries/")
        max_bytes = _MAX_ENTRIES_BYTES if holds_entries else _MAX_SMALL_BYTES
        response = self.request("GET", wanted, authenticated=holds_entries, max_bytes=max_bytes)
        return response.content

    def metrics(self) -> str:
        """Return the node's metrics in Prometheus' text format."""
        return self.request("GET", "/metrics", authenticated=False).text

    # --- transactions and blocks ------------------------------------------------------------------

    def submit(
        self, transactions: Sequence[bytes], *, wait: Wait = "committed", timeout_s: float = 15.0
    ) -> tuple[SubmissionResult, ...]:
        """Submit transactions (raw bytes) and return what became of each, in order."""
        body = submission_body(transactions, wait, timeout_s)
        answer = self.request("POST", "/v1/transactions", body=body, wait_s=timeout_s)
        return parse_submission(answer, len(transactions))

    def transaction(self, transaction_id: str, *, wait_s: float = 0.0) -> TransactionView:
        """Return a transaction by id (64 hex digits); waits up to `wait_s` for it to be proven."""
        path = f"/v1/transactions/{transaction_id}"
        answer = self.request("GET", path, params={"wait_s": wait_s or None}, wait_s=wait_s)
        return parse_transaction(answer)

    def blocks(self, *, cursor: str | None = None, limit: int | None = None) -> Page:
        """Return blocks, newest first."""
        return self._page("/v1/blocks", AnyObject, cursor=cursor, limit=limit)

    def block(self, height: int) -> Json:
        return self.get(f"/v1/blocks/{height}")

    def validator_changes(self, *, since: int = 0) -> Json:
        """Return the changes of the validator set after log size `since`, as evidence for a light verifier."""
        answer = self.request(
            "GET",
            "/v1/validators/changes",
            params={"since": since},
            authenticated=False,
            max_bytes=_MAX_CHANGES_BYTES,
        )
        return answer.read(ChangesShape)

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
                    raise _read_answer(response, MAX_ANSWER_BYTES).problem()
                yield from parse_server_events(response.iter_lines(), self.url)
        except httpx.HTTPError as error:
            raise NodeUnreachable(
                f"no answer from {self.url}: {error or type(error).__name__}"
            ) from None

    # --- organisations and the directory ----------------------------------------------------------

    def organisations(self, *, cursor: str | None = None, limit: int | None = None) -> Page:
        return self._page("/v1/organisations", OrganisationShape, cursor=cursor, limit=limit)

    def organisation(self, uscc: str) -> Json:
        return self.get(f"/v1/organisations/{uscc}", OrganisationShape)

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
        return self._page(
            f"/v1/directory/{collection}",
            EntryShape,
            q=text,
            owner=owner,
            status=status,
            cursor=cursor,
            limit=limit,
        )

    def directory_entry(self, collection: str, identifier: str) -> Json:
        return self.get(f"/v1/directory/{collection}/{identifier}", EntryShape)

    def directory_trace(self, collection: str, identifier: str, *, direction: str = "down") -> Json:
        """Return the tree of what an entry rests on (`up`) or what rests on it (`down`)."""
        path = f"/v1/directory/{collection}/{identifier}/trace"
        return self.get(path, TraceShape, direction=direction)

    def directory_check(self, *, department: str | None = None) -> Json:
        """Return the findings of the structure check, for one department or all."""
        return self.get("/v1/directory/check", CheckShape, department=department)

    # --- licenses, uses and wallets ---------------------------------------------------------------

    def licenses(self, prefix: str, *, cursor: str | None = None, limit: int | None = None) -> Page:
        """List licenses whose handle begins with `prefix` (hex)."""
        return self._page("/v1/licenses", LicenseShape, prefix=prefix, cursor=cursor, limit=limit)

    def license(self, handle: str) -> Json:
        return self.get(f"/v1/licenses/{handle}", LicenseShape)

    def license_uses(
        self, handle: str, *, cursor: str | None = None, limit: int | None = None
    ) -> Page:
        return self._page(f"/v1/licenses/{handle}/uses", UseShape, cursor=cursor, limit=limit)

    def use(self, use_id: str) -> Json:
        return self.get(f"/v1/uses/{use_id}")

    def wallet_uses(
        self, token: str, *, cursor: str | None = None, limit: int | None = None
    ) -> Page:
        """List the uses of a holder's own license, by number, which are told already.

        `token` is a JWT that the holder's key signs (`node.auth.make_token` with claims `handle` and `salt`, hex).
        """
        answer = self.request(
            "GET",
            "/v1/wallet/uses",
            params={"cursor": cursor, "limit": limit},
            headers={"Authorization": f"Bearer {token}"},
            authenticated=False,
        )
        return parse_page(answer, OwnUseShape)

    # --- proofs -----------------------------------------------------------------------------------

    def state(self, key: str, value: type[Shape] = AnyObject) -> Json:
        """Return a state value, of this shape, with its evidence: `{key, value, evidence (base64)}`."""
        return self.get("/v1/state", StateShape[value], key=key)  # type: ignore[valid-type]

    def state_evidence(self, *keys: str) -> bytes:
        """Return one evidence bundle of up to 100 state values or their absence."""
        return _bundle(self.request("GET", "/v1/evidence/state", params={"key": keys}))

    def transaction_evidence(self, transaction_id: str) -> bytes:
        """Return the evidence bundle of a transaction."""
        return _bundle(self.request("GET", f"/v1/evidence/transactions/{transaction_id}"))

    def license_evidence(self, handle: str, *, token: str | None = None) -> bytes:
        """Return the evidence bundle of a license: the states that `licenses.evidence.license_keys` lists.

        `token` is a holder's, as for `wallet_uses`.
        """
        return self._evidence(f"/v1/evidence/licenses/{handle}", token)

    def use_evidence(self, use_id: str, *, token: str | None = None) -> bytes:
        """Return the evidence bundle of a recorded use; `token` is a holder's, as for `wallet_uses`."""
        return self._evidence(f"/v1/evidence/uses/{use_id}", token)

    def _evidence(self, path: str, token: str | None) -> bytes:
        if token is None:
            return _bundle(self.request("GET", path))
        headers = {"Authorization": f"Bearer {token}"}
        return _bundle(self.request("GET", path, headers=headers, authenticated=False))

    # --- one-time-code sessions ------------------------------------------------------------------------------

    def open_session(self, sealing_key: str) -> OpenedSession:
        """Open a session at the holder's jurisdiction; `sealing_key` (hex) is what requests are sealed to."""
        body = self.request(
            "POST", "/v1/sessions", body={"sealing_key": sealing_key}, authenticated=False
        ).read(OpenedSessionShape)
        return OpenedSession(body["id"], body["code"], body["secret"], body["expires_ms"])

    def find_session(self, code: str) -> FoundSession:
        """Return the session of a code that the holder has told; every try counts against the window's limit."""
        answer = self.request("POST", "/v1/sessions/find", body={"code": code})
        body = answer.read(FoundSessionShape)
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
        answer = self.request(
            "GET",
            f"/v1/sessions/{session_id}/{slot}",
            params={"wait_s": wait_s or None},
            headers=_session_headers(secret),
            wait_s=wait_s,
            authenticated=secret is None,
        )
        payload = answer.read(MessageShape)["payload"]
        return None if payload is None else base64.b64decode(payload)


def _read_answer(response: httpx.Response, max_bytes: int) -> Answer:
    reader = AnswerReader(response, max_bytes)
    for part in response.iter_bytes():
        reader.add(part)
    return reader.answer()


def _bundle(answer: Answer) -> bytes:
    """Return a bundle's bytes, which are one: whether what it says is true is for a light verifier.

    Raises:
        NodeUnreachable: they are none.
    """
    try:
        Bundle.decode(SHA256_ED25519, answer.content)
    except DecodeError as error:
        raise answer.no_node(f"no evidence: {error}") from None
    return answer.content


def _session_headers(secret: str | None) -> dict[str, str]:
    return {} if secret is None else {"Session-Secret": secret}


def _tls_context(certificate_authority: str) -> Any:
    return ssl.create_default_context(cafile=certificate_authority)
