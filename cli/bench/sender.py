"""Sending a prepared load to validators, at a rate or as fast as it is committed, and what the loader sees of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Final

from ledger.suite import SHA256_ED25519
from ledger.transactions import decode_transaction
from node.answers import SubmissionResult
from node.async_client import AsyncNodeClient
from node.errors import ApiProblem, NodeUnreachable

PER_REQUEST: Final = 50
"""Transactions that the loader puts into one HTTP request, as a gateway does."""

OPERATIONS_PER_REQUEST: Final = 200
"""Operations in one request, where a transaction has many: what is under way at a time is a few blocks, and an answer
takes as long as that, not longer than the loader waits."""

_TIMEOUT_S: Final = 30.0
_UNDECIDED: Final = "not_committed"
_ASK_AGAIN_S: Final = 0.2
_REQUEST_BYTES: Final = 900_000
"""Of base64: below what a node takes at once."""

_PROOFS_AT_ONCE: Final = 16
_PROOF_EVERY: Final = 10
"""Of so many requests one is followed until the query node shows the proof."""


@dataclass(slots=True)
class Tally:
    """What the loader has seen since the warm-up. `started_s` and `last_commit_s` are of the monotonic clock."""

    started_s: float = 0.0
    last_commit_s: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    asked_again: int = 0
    """How often a transaction was not decided when its answer came."""
    commit_latencies_s: list[float] = field(default_factory=list)
    proof_latencies_s: list[float] = field(default_factory=list)

    @property
    def committed(self) -> int:
        return self.outcomes["committed"]

    @property
    def seconds(self) -> float:
        """How long transactions were committed for."""
        return max(0.0, self.last_commit_s - self.started_s)


@dataclass(frozen=True, slots=True)
class Sending:
    """Where a load goes and how: `requests` at a time, spread over `targets`. `operations` are those of one
    transaction; `rate` is in transactions a second, None for as fast as they are committed. Latency is followed to
    `prover`, which asks the query node."""

    targets: Sequence[AsyncNodeClient]
    requests: int
    prover: AsyncNodeClient | None
    operations: float
    warm_up_s: float
    seconds: float
    rate: float | None


class Sender:
    """One run over one load. `measured` is awaited when the warm-up is over: what came before does not count."""

    def __init__(
        self, sending: Sending, load: Sequence[bytes], measured: Callable[[], Awaitable[None]]
    ) -> None:
        self._sending = sending
        self._measured = measured
        self._size = _batch_size(sending, load)
        self._requests = [
            load[start : start + self._size] for start in range(0, len(load), self._size)
        ]
        self._waiting = deque(range(len(self._requests)))
        self._following = 0
        self._started_s = 0.0
        self.tally = Tally()

    async def run(self) -> Tally:
        """Send until the time is over or nothing is left; return when everything sent has been answered."""
        if not self._sending.warm_up_s:
            await self._measured()
        self._started_s = self.tally.started_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            if self._sending.warm_up_s:
                tasks.create_task(self._warm_up())
            for client in islice(cycle(self._sending.targets), self._sending.requests):
                tasks.create_task(self._work(client, tasks))
        return self.tally

    @property
    def unsent(self) -> list[bytes]:
        """What is left of the load."""
        return [one for number in self._waiting for one in self._requests[number]]

    async def _warm_up(self) -> None:
        await asyncio.sleep(self._sending.warm_up_s)
        await self._measured()
        self.tally = Tally(started_s=time.monotonic())

    async def _work(self, client: AsyncNodeClient, tasks: asyncio.TaskGroup) -> None:
        rate = self._sending.rate
        end_s = self._started_s + self._sending.warm_up_s + self._sending.seconds
        while self._waiting:
            number = self._waiting[0]
            due_s = self._started_s + (0.0 if rate is None else number * self._size / rate)
            now_s = time.monotonic()
            if max(due_s, now_s) >= end_s:
                return
            self._waiting.popleft()
            if due_s > now_s:
                await asyncio.sleep(due_s - now_s)
            # With a rate, latency counts from when a request was due, so that a stall is not hidden.
            sent_s = time.monotonic() if rate is None else due_s
            if number % _PROOF_EVERY == 0 and self._following < _PROOFS_AT_ONCE:
                tasks.create_task(self._follow(self._requests[number][-1], sent_s))
            await self._submit(client, self._requests[number], sent_s)

    async def _submit(
        self, client: AsyncNodeClient, transactions: Sequence[bytes], sent_s: float
    ) -> None:
        """Submit until all are decided, for half a minute: where validators are starved, a node says "not yet"."""
        end_s = time.monotonic() + _TIMEOUT_S
        left = transactions
        while left:
            rest_s = max(1.0, end_s - time.monotonic())
            try:
                results = await client.submit(left, wait="committed", timeout_s=rest_s)
            except (ApiProblem, NodeUnreachable) as error:
                name = getattr(error, "code", "") or type(error).__name__
                self.tally.outcomes[name] += len(left)
                return
            now_s, tally = time.monotonic(), self.tally
            asks_again = now_s < end_s
            counts = Counter(map(_outcome, results))
            if asks_again:
                del counts[_UNDECIDED]
            tally.outcomes.update(counts)
            if committed := counts["committed"]:
                tally.last_commit_s = max(tally.last_commit_s, now_s)
                tally.commit_latencies_s += [now_s - sent_s] * committed
            left = [
                one
                for one, result in zip(left, results, strict=True)
                if asks_again and result.status == _UNDECIDED
            ]
            tally.asked_again += len(left)
            if left:
                await asyncio.sleep(_ASK_AGAIN_S)

    async def _follow(self, transaction: bytes, sent_s: float) -> None:
        """Wait until the query node shows a transaction with its proof."""
        prover = self._sending.prover
        if prover is None:
            return
        identifier = decode_transaction(SHA256_ED25519, transaction).id.hex()
        self._following += 1
        try:
            view = await prover.transaction(identifier, wait_s=_TIMEOUT_S)
        except (ApiProblem, NodeUnreachable):
            return  # the transaction's own outcome says what was wrong
        finally:
            self._following -= 1
        if view.proof is not None:
            self.tally.proof_latencies_s.append(time.monotonic() - sent_s)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of `values`, in any order, lies; 0.0 where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def _batch_size(sending: Sending, load: Sequence[bytes]) -> int:
    """Return how many transactions go into one request."""
    rate = sending.rate
    most = PER_REQUEST if rate is None else max(1, min(PER_REQUEST, int(rate / 50)))
    most = min(most, max(1, int(OPERATIONS_PER_REQUEST / sending.operations)))
    longest = 4 * max(map(len, load), default=1) // 3
    return min(most, max(1, _REQUEST_BYTES // longest))


def _outcome(result: SubmissionResult) -> str:
    return result.code or result.status
