"""Where transactions come in: from clients and from peers, checked once, into the mempool and on to the others.

A transaction that a client hands in goes to every linked node of the validators. What comes from a peer is not passed
on: its sender has links of its own. What waits too long is sent again. Checks run in small chunks, so that consensus
gets its turn in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from ledger.admission import BAD_SIGNATURE, MALFORMED, Admitted
from ledger.application import Application
from ledger.errors import InvalidTransaction
from node.clock import clock_ms
from node.errors import InvalidPeerMessage
from node.mempool import Mempool
from node.messages import Priority, transaction_frames
from node.network import Network
from node.workers import Gate

CHUNK_BYTES: Final = 8 * 1024
"""Transactions checked without a pause, at least one: some 2 ms; consensus gets its turn in between."""

GIVEN_TURNS: Final = 16
"""Turns of the event loop that consensus gets before the next chunk: several steps of a round."""

GATHER_S: Final = 0.005
"""Transactions of clients are sent on together when the first of them has waited this long."""


class Refused(NamedTuple):
    """A transaction that was not taken in. `id` is empty if the bytes are no transaction."""

    id: bytes
    code: str
    text: str


class Intake:
    """Checks, admits and gossips transactions."""

    def __init__(
        self,
        application: Application,
        gate: Gate,
        mempool: Mempool,
        network: Network,
        work_available: Callable[[], None],
        consensus_waits: Callable[[], bool],
    ) -> None:
        self._application = application
        self._gate = gate
        self._turn = asyncio.Lock()
        self._mempool = mempool
        self._network = network
        self._work_available = work_available
        self._consensus_waits = consensus_waits
        self._outgoing: list[bytes] = []
        self.refused: dict[str, int] = {}

    async def submit(self, raws: Sequence[bytes]) -> list[Admitted | Refused]:
        """Take in a client's transactions; return what became of each, in order."""
        results = await self._admit(raws, local=True)
        for raw, result in zip(raws, results, strict=True):
            if isinstance(result, Admitted):
                self._send_on(raw)
        return results

    async def from_peer(self, raws: Sequence[bytes]) -> None:
        """Take in a peer's transactions.

        Raises:
            InvalidPeerMessage: one is malformed or has a bad signature; correct nodes check before they send.
        """
        unknown = [raw for raw in raws if self._mempool.known(raw) is None]
        for result in await self._admit(unknown, local=False):
            if isinstance(result, Refused) and result.code in (MALFORMED, BAD_SIGNATURE):
                raise InvalidPeerMessage(f"a transaction that is {result.code}")

    def resend_overdue(self) -> None:
        """Send transactions again that have waited long, and forget those that have expired."""
        now_ms = clock_ms()
        self._mempool.expire(now_ms)
        self._send(self._mempool.overdue(now_ms))

    async def _admit(self, raws: Sequence[bytes], *, local: bool) -> list[Admitted | Refused]:
        results: list[Admitted | Refused] = []
        for chunk in chunks(raws):
            async with self._turn:  # one chunk of all that is coming in, then everybody else
                now_ms = clock_ms()
                checked = await self._gate.run(check_all, self._application, chunk, now_ms)
                results += [self._pool(one, now_ms, local) for one in checked]
                self._work_available()
                await self._give_way()
        return results

    async def _give_way(self) -> None:
        """Let everybody else run, and consensus for as long as it has something to do at once."""
        await asyncio.sleep(0)
        for _ in range(GIVEN_TURNS):
            if not self._consensus_waits():
                return
            await asyncio.sleep(0)

    def _pool(self, result: Admitted | Refused, now_ms: int, local: bool) -> Admitted | Refused:
        if isinstance(result, Admitted):
            try:
                self._mempool.add(result.transaction, result.organisation, now_ms, local=local)
                return result
            except InvalidTransaction as error:
                result = Refused(result.transaction.id, error.code, error.text)
        self.refused[result.code] = self.refused.get(result.code, 0) + 1
        return result

    def _send_on(self, raw: bytes) -> None:
        if not self._outgoing:
            asyncio.get_running_loop().call_later(GATHER_S, self._flush)
        self._outgoing.append(raw)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        self._send(outgoing)

    def _send(self, raws: Sequence[bytes]) -> None:
        names = [validator.name for validator in self._application.tip.validators]
        for frame in transaction_frames(raws):
            self._network.broadcast(frame, Priority.TRANSACTIONS, names)


def check_all(
    application: Application, raws: Sequence[bytes], now_ms: int
) -> list[Admitted | Refused]:
    """Check transactions against the newest state and our clock; return what became of each, in order."""
    results: list[Admitted | Refused] = []
    for raw in raws:
        try:
            results.append(application.check_transaction(raw, now_ms))
        except InvalidTransaction as error:
            results.append(Refused(b"", error.code, error.text))
    return results


def chunks(raws: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield the transactions in runs of some `CHUNK_BYTES`."""
    chunk: list[bytes] = []
    size = 0
    for raw in raws:
        chunk.append(raw)
        size += len(raw)
        if size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
