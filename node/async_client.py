"""The asynchronous HTTP client, for loaders: many requests at the same time over kept connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import httpx

from ledger.suite import Signer
from node.answers import (
    DEFAULT_TIMEOUT_S,
    GRACE_S,
    Answer,
    AnswerReader,
    Credentials,
    Json,
    NetworkStatus,
    SubmissionResult,
    TransactionView,
    Wait,
    parse_network,
    parse_submission,
    parse_transaction,
    submission_body,
)
from node.errors import NodeUnreachable


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
        self._credentials = Credentials(signer, chain_id)
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
    ) -> Answer:
        """Send one request and return its successful answer; errors as in `NodeClient.request`."""
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
    ) -> Answer:
        try:
            async with self._http.stream(
                method,
                path,
                params=params,
                json=body,
                headers=headers,
                timeout=max(self._timeout_s, wait_s + GRACE_S),
            ) as response:
                reader = AnswerReader(response)
                async for part in response.aiter_bytes():
                    reader.add(part)
        except httpx.HTTPError as error:
            raise NodeUnreachable(
                f"no answer from {self.url}: {error or type(error).__name__}"
            ) from None
        answer = reader.answer()
        if not answer.is_success:
            raise answer.problem()
        return answer

    async def network(self) -> NetworkStatus:
        return parse_network(await self._send("GET", "/v1/network", {}, None, None, 0.0))

    async def submit(
        self, transactions: Sequence[bytes], *, wait: Wait = "committed", timeout_s: float = 15.0
    ) -> tuple[SubmissionResult, ...]:
        """Submit transactions (raw bytes) and return what became of each, in order."""
        body = submission_body(transactions, wait, timeout_s)
        answer = await self.request("POST", "/v1/transactions", body=body, wait_s=timeout_s)
        return parse_submission(answer, len(transactions))

    async def transaction(self, transaction_id: str, *, wait_s: float = 0.0) -> TransactionView:
        params = {"wait_s": wait_s} if wait_s else None
        path = f"/v1/transactions/{transaction_id}"
        return parse_transaction(await self.request("GET", path, params=params, wait_s=wait_s))
