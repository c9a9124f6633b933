"""The client of a CometBFT process: JSON-RPC over its Unix socket, for what the application interface does not tell.

Transactions go in by `broadcast_tx_sync`, an array of them in one request. How far consensus is, and who is connected,
is asked once a second. CometBFT answers an array of one by an object, not by an array; and a request that it refuses
as a whole by one error without an id of ours (its `rpc/jsonrpc/server`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from node.errors import EngineSilentError, EngineUnavailableError

TIMEOUT_S: Final = 10.0
MAX_ANSWER_TEXT: Final = 200
"""Of an error that CometBFT words."""

_PLACE: Final = re.compile(r"(\d+)/(\d+)/(\d+)", re.ASCII)
_STEPS: Final = {
    1: "new height",
    2: "new round",
    3: "propose",
    4: "prevote",
    5: "prevote wait",
    6: "precommit",
    7: "precommit wait",
    8: "commit",
}


@dataclass(frozen=True, slots=True)
class Broadcast:
    """What became of a transaction that was handed over: `code` "" if it waits for a block now."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """How far CometBFT is. `height` is that of the block being decided, `address` what its peers dial.

    `waiting` counts the transactions in its mempool.
    """

    height: int
    round: int
    step: str
    catching_up: bool
    peers: int
    address: str
    waiting: int

    @property
    def is_deciding(self) -> bool:
        """Whether the height has started: a proposal is awaited, or votes are."""
        return self.round > 0 or self.step not in (_STEPS[1], _STEPS[2])


class EngineClient:
    """Talks to one CometBFT process."""

    def __init__(self, socket: str) -> None:
        """`socket` is the path of the process' RPC socket."""
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=socket),
            base_url="http://cometbft",
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def broadcast(self, raws: Sequence[bytes]) -> list[Broadcast]:
        """Hand transactions over, in order.

        Raises:
            EngineUnavailableError: the process is not there, or refuses the whole request: it has taken none.
            EngineSilentError: it does not answer: it may have taken some of them.
        """
        calls = [
            _call(i, "broadcast_tx_sync", tx=base64.b64encode(raw).decode("ascii"))
            for i, raw in enumerate(raws)
        ]
        answers = await self._post(calls)
        refusal = _refusal(answers, calls)
        if refusal is not None:
            raise EngineUnavailableError(refusal)
        by_id = {one.get("id"): one for one in answers}
        return [_broadcast(by_id.get(i)) for i in range(len(raws))]

    async def status(self) -> EngineStatus:
        """Return how far the process is.

        Raises:
            EngineUnavailableError: the process is not there.
            EngineSilentError: it is there, and does not tell.
        """
        names = ("status", "consensus_state", "net_info", "num_unconfirmed_txs")
        calls = [_call(i, name) for i, name in enumerate(names)]
        answers = await self._post(calls)
        refusal = _refusal(answers, calls)
        if refusal is not None:
            raise EngineSilentError(refusal)
        results: dict[Any, Any] = {one.get("id"): one.get("result") for one in answers}
        try:
            place = _PLACE.fullmatch(results[1]["round_state"]["height/round/step"])
            assert place is not None
            return EngineStatus(
                int(place[1]),
                int(place[2]),
                _STEPS.get(int(place[3]), "unknown"),
                bool(results[0]["sync_info"]["catching_up"]),
                int(results[2]["n_peers"]),
                _address(results[0]["node_info"]),
                int(results[3]["total"]),
            )
        except (LookupError, TypeError, ValueError, AttributeError, AssertionError):
            raise EngineSilentError("CometBFT's answer is not of version 0.38") from None

    async def _post(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        try:
            answer = await self._http.post("/", json=calls)
            answers = answer.json()
        except httpx.ConnectError:
            raise EngineUnavailableError("CometBFT is not running") from None
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise EngineSilentError(f"CometBFT does not answer: {error}") from None
        if isinstance(answers, dict):
            answers = [answers]
        if not isinstance(answers, list) or not all(isinstance(one, dict) for one in answers):
            raise EngineSilentError("CometBFT's answer is no array")
        return answers


def _refusal(answers: list[dict[str, Any]], calls: list[dict[str, Any]]) -> str | None:
    """Return why CometBFT has refused a request as a whole, or None."""
    ids = {call["id"] for call in calls}
    for one in answers:
        if one.get("id") not in ids and one.get("error") is not None:
            return f"CometBFT refuses the request: {_text(one['error'])}"
    return None


def _call(number: int, method: str, **parameters: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}


def _address(node_info: dict[str, Any]) -> str:
    """Return a node's id and where it listens, as `persistent_peers` names it."""
    return f"{node_info['id']}@{str(node_info['listen_addr']).rpartition('/')[2]}"


def _text(error: object) -> str:
    found = error.get("data") or error.get("message") if isinstance(error, dict) else error
    return str(found)[:MAX_ANSWER_TEXT]


def _broadcast(answer: dict[str, Any] | None) -> Broadcast:
    if answer is None:
        return Broadcast("engine_refused", "CometBFT's answer lacks it")
    error = answer.get("error")
    if error is not None:
        text = _text(error)
        if "already exists in cache" in text:
            return Broadcast("", "")
        return Broadcast("mempool_full" if "mempool is full" in text else "engine_refused", text)
    result = answer.get("result") or {}
    if result.get("code"):
        return Broadcast(str(result.get("log") or "engine_refused"), "")
    return Broadcast("", "")
