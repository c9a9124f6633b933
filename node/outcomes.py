"""Those who wait for a transaction's outcome, and what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ledger.finalization import FinalizedBlock

Status = Literal["committed", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A committed transaction. `index` is its place in the log; `code` is "" if it took effect."""

    height: int
    index: int
    code: str
    operation_index: int | None
    text: str

    @property
    def status(self) -> Status:
        return "committed" if self.code == "" else "failed"


class Outcomes:
    """Futures by transaction id, resolved when a block with the transaction is committed here."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, list[asyncio.Future[Outcome]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, transaction_id: bytes) -> asyncio.Future[Outcome]:
        """Return a future of a transaction's outcome; give it back with `forget`."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(transaction_id, []).append(future)
        return future

    def forget(self, transaction_id: bytes, future: asyncio.Future[Outcome]) -> None:
        """Stop waiting."""
        waiting = self._waiting.get(transaction_id)
        if waiting is None:
            return
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            del self._waiting[transaction_id]

    def committed(self, finalized: FinalizedBlock) -> None:
        """Tell everybody who waits for a transaction of this block."""
        if not self._waiting:
            return
        for position, prepared in enumerate(finalized.transactions):
            waiting = self._waiting.pop(prepared.id, None)
            if waiting is None:
                continue
            result = finalized.results[position]
            outcome = Outcome(
                finalized.height,
                finalized.first_index + position,
                result.code,
                result.operation_index,
                result.text,
            )
            for future in waiting:
                if not future.done():
                    future.set_result(outcome)


async def wait_all(
    futures: Sequence[asyncio.Future[Outcome]], timeout_s: float
) -> tuple[Outcome | None, ...]:
    """Wait until all are resolved or the time is over; None for those that are not."""
    pending: Iterable[asyncio.Future[Outcome]] = [one for one in futures if not one.done()]
    if pending:
        await asyncio.wait(pending, timeout=timeout_s)
    return tuple(one.result() if one.done() else None for one in futures)
