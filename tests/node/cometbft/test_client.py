"""What it means that CometBFT refuses a whole request: its answer is one error, under an id that is not ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from node.cometbft.client import EngineClient
from node.errors import EngineSilentError, EngineUnavailableError

REFUSAL = {"jsonrpc": "2.0", "id": -1, "error": {"code": -32600, "message": "request too large"}}


def talk(path: Path, story: Callable[[EngineClient], Awaitable[None]]) -> None:
    """Run a story with a client whose every request is refused."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps(REFUSAL).encode()
        writer.write(
            b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_unix_server(refuse, str(path)):
            client = EngineClient(str(path))
            await story(client)
            await client.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_who_refuses_to_tell_how_far_it_is_runs_all_the_same(tmp_path: Path) -> None:
    async def story(client: EngineClient) -> None:
        with pytest.raises(EngineSilentError, match="refuses the request: request too large"):
            await client.status()

    talk(tmp_path / "rpc.sock", story)


def test_transactions_of_a_request_that_was_refused_are_certainly_not_taken(tmp_path: Path) -> None:
    async def story(client: EngineClient) -> None:
        with pytest.raises(EngineUnavailableError, match="refuses the request") as refused:
            await client.broadcast([b"a transaction"])
        assert not isinstance(refused.value, EngineSilentError)

    talk(tmp_path / "rpc.sock", story)


def test_where_nobody_listens_the_process_is_not_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        client = EngineClient(str(tmp_path / "rpc.sock"))
        with pytest.raises(EngineUnavailableError, match="not running") as refused:
            await client.status()
        assert not isinstance(refused.value, EngineSilentError)
        await client.close()

    asyncio.run(scenario())
