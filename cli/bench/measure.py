"""Send a prepared load to all validators and measure: throughput, latency, CPU and disk of the nodes."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cli.demo.world import World
from cli.processes import process_family
from ledger.keys import SoftwareSigner
from ledger.suite import SHA256_ED25519
from node.async_client import AsyncNodeClient
from node.errors import ApiProblem, NodeUnreachable

PER_REQUEST: Final = 50
"""Transactions that the loader puts into one HTTP request, as a gateway does."""

OPERATIONS_PER_REQUEST: Final = 200
"""Operations in one request, where a transaction has many: what is under way at a time is a few blocks, and an answer
takes as long as that, not longer than the loader waits."""

REQUESTS_PER_NODE: Final = 16
_TIMEOUT_S: Final = 30.0

_CHECKS: Final = 1_000
"""Signature checks by which the machine is judged: some 50 ms, before the load and after it."""


@dataclass(slots=True)
class Tally:
    """What the loader saw."""

    latencies_s: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    last_commit_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """Figures of one run. CPU is that of all nodes together; bytes are those of one node.

    `signature_check_us` is what checking a signature cost on this machine in this run: other work on it, and a
    virtual processor that shares a core, make it dearer, and everything else with it.
    """

    seconds: float
    committed: int
    outcomes: dict[str, int]
    latency_p50_ms: float
    latency_p99_ms: float
    cpu_us_per_transaction: float
    loader_cpu_us_per_transaction: float
    signature_check_us: float
    disk_bytes_per_transaction: float

    @property
    def transactions_per_s(self) -> float:
        return self.committed / self.seconds if self.seconds else 0.0

    def share_of_signature_limit(self, checks: int) -> float:
        """Return the rate as a share of what the cores could do if all they did was to verify.

        `checks` are the signatures of a transaction, each of which every validator verifies.
        """
        seconds = checks * self.signature_check_us / 1e6
        return self.transactions_per_s * seconds / (os.cpu_count() or 1)


def run_load(
    world: World,
    load: Sequence[bytes],
    *,
    operations: int,
    seconds: float,
    rate: float | None,
    profile: str,
) -> Measurement:
    """Send `load`, of so many operations each, for that long, at `rate` a second or as fast as it is committed."""
    check_us = _signature_check_us()
    cpu, disk = _cpu_s(world), _disk_bytes(world)
    started, loader_cpu = time.monotonic(), time.process_time()
    most = max(1, OPERATIONS_PER_REQUEST // operations)
    tally = asyncio.run(_send(world, load, most, seconds, rate, profile))
    loader_cpu = time.process_time() - loader_cpu
    committed = tally.outcomes["committed"]
    elapsed = (tally.last_commit_s or time.monotonic()) - started
    latencies = sorted(tally.latencies_s)
    return Measurement(
        elapsed,
        committed,
        dict(tally.outcomes),
        _quantile(latencies, 0.50) * 1000,
        _quantile(latencies, 0.99) * 1000,
        (_cpu_s(world) - cpu) / max(1, committed) * 1e6,
        loader_cpu / max(1, committed) * 1e6,
        (check_us + _signature_check_us()) / 2,
        (_disk_bytes(world) - disk) / max(1, committed),
    )


async def _send(
    world: World,
    load: Sequence[bytes],
    most: int,
    seconds: float,
    rate: float | None,
    profile: str,
) -> Tally:
    """Send `load`, at most `most` transactions in one request."""
    tally = Tally()
    batch = PER_REQUEST if rate is None else max(1, min(PER_REQUEST, int(rate / 50)))
    size = min(batch, most, max(1, 900_000 // (4 * max(map(len, load)) // 3)))
    requests = [load[start : start + size] for start in range(0, len(load), size)]
    position = iter(range(len(requests)))
    started = time.monotonic()

    async def work(client: AsyncNodeClient) -> None:
        for number in position:
            due = started + (0.0 if rate is None else number * size / rate)
            now = time.monotonic()
            if max(due, now) >= started + seconds:
                return
            if due > now:
                await asyncio.sleep(due - now)
            # With a rate, latency counts from when a request was due, so that a stall is not hidden.
            sent = time.monotonic() if rate is None else due
            await _submit(client, requests[number], tally, sent)

    async with asyncio.TaskGroup() as tasks:
        for place in world.network.validators:
            client = AsyncNodeClient(
                place.api, signer=world.signer(profile), chain_id=world.network.chain_id
            )
            for _ in range(REQUESTS_PER_NODE):
                tasks.create_task(work(client))
    return tally


async def _submit(
    client: AsyncNodeClient, transactions: Sequence[bytes], tally: Tally, sent: float
) -> None:
    try:
        results = await client.submit(transactions, wait="committed", timeout_s=_TIMEOUT_S)
    except (ApiProblem, NodeUnreachable) as error:
        tally.outcomes[getattr(error, "code", "") or type(error).__name__] += len(transactions)
        return
    now = time.monotonic()
    for result in results:
        tally.outcomes[result.status if not result.code else result.code] += 1
    if any(result.status == "committed" for result in results):
        tally.last_commit_s = max(tally.last_commit_s, now)
        tally.latencies_s += [now - sent] * len(results)


def _quantile(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def _signature_check_us() -> float:
    """Return the CPU time of one signature check."""
    signer, message = SoftwareSigner.generate(), bytes(320)
    signature = signer.sign(message)
    started = time.process_time()
    for _ in range(_CHECKS):
        assert SHA256_ED25519.verify(signer.public_key, message, signature)
    return (time.process_time() - started) / _CHECKS * 1e6


def _cpu_s(world: World) -> float:
    """Return the CPU time that all nodes have used, with their engines where these are processes of their own."""
    ticks = 0
    for process in world.processes.values():
        for process_id in process_family(process.pid):
            stat = Path(f"/proc/{process_id}/stat").read_text("ascii", errors="replace")
            fields = stat.rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # utime, stime: proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def _disk_bytes(world: World) -> int:
    """Return the size of one validator's data."""
    home = world.network.node_home(world.network.validators[0])
    total = 0
    for path in (*(home / "data").rglob("*"), *(home / "cometbft" / "data").rglob("*")):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # compaction removes files as we look
            continue
    return total
