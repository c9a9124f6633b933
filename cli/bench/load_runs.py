"""Loads against a network: at full speed or at a rate, then at half the speed reached, then without a validator."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from cli.bench.loads import Load
from cli.bench.machine import cores, signature_check_us
from cli.bench.network import Progress, query_place
from cli.bench.sender import Sender, Sending, Tally, quantile
from cli.bench.usage import (
    LOADER,
    QUERY_NODE,
    VALIDATORS,
    Usage,
    cpu_used_s,
    take_usage,
    wire_bytes_between,
)
from cli.demo.world import World
from node.async_client import AsyncNodeClient

_GRACE_S: Final = 60.0
"""What is under way when a run's time is over is answered within the loader's patience, which is shorter."""

REQUESTS_PER_VALIDATOR: Final = 16
"""Requests that clients have under way, for each validator: those of one that is dead ask the others."""

_KILLED: Final = "hebei"
"""Another than the validator whose disk and memory are told."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What is asked of a run. `rate` is in transactions a second; times are in seconds."""

    seconds: float = 10.0
    warm_up_s: float = 2.0
    rate: float | None = None
    half: bool = False
    kill_one: bool = False

    @property
    def whole_s(self) -> float:
        return self.warm_up_s + self.seconds


def measure_load(
    world: World, load: Load, options: LoadOptions, progress: Progress
) -> dict[str, Any]:
    """Run one kind of load and return its figures by name; what runs after the first is a part of them."""
    rest = load.make(world, _count(load, options), progress)
    figures, rest = run_once(world, load, rest, options, options.rate, progress)
    reached = figures["transactions_per_s"]
    if options.half and reached:
        half, rest = run_once(world, load, rest, options, reached / 2, progress)
        figures["at_half_load"] = half
    if options.kill_one:
        progress(f"killing {_KILLED}")
        world.kill_node(_KILLED)
        world.await_online(query_place(world).name, len(world.processes) - 1)
        figures["one_validator_dead"], _ = run_once(
            world, load, rest, options, options.rate, progress
        )
    return figures


def _count(load: Load, options: LoadOptions) -> int:
    """Return how many transactions all runs together send at most."""
    per_s = load.most_per_s if options.rate is None else options.rate
    runs = 1 + options.half * 0.5 + options.kill_one
    return int(options.whole_s * per_s * runs) + 1


def run_once(
    world: World,
    load: Load,
    transactions: Sequence[bytes],
    options: LoadOptions,
    rate: float | None,
    progress: Progress,
) -> tuple[dict[str, Any], list[bytes]]:
    """Send for the time asked; return the figures, and what was not sent."""
    pace = "as fast as it is committed" if rate is None else f"{rate:.0f} transactions a second"
    progress(f"{load.name}: {options.whole_s:g} s, {pace}")
    check_us = signature_check_us()
    usages: list[Usage] = []
    tally, rest = asyncio.run(_send(world, load, transactions, options, rate, usages))
    usages.append(take_usage(world))
    check_us = (check_us + signature_check_us()) / 2
    return _figures(world, load, tally, usages[0], usages[-1], rate, check_us), rest


async def _send(
    world: World,
    load: Load,
    transactions: Sequence[bytes],
    options: LoadOptions,
    rate: float | None,
    usages: list[Usage],
) -> tuple[Tally, list[bytes]]:
    async def measured() -> None:
        usages.append(await asyncio.to_thread(take_usage, world))

    chain_id = world.network.chain_id
    async with asyncio.timeout(options.whole_s + _GRACE_S), AsyncExitStack() as stack:
        targets = [
            await stack.enter_async_context(AsyncNodeClient(place.api))
            for place in world.network.validators
            if place.name in world.processes
        ]
        auditor = world.signer("national-auditor")
        prover = await stack.enter_async_context(
            AsyncNodeClient(query_place(world).api, signer=auditor, chain_id=chain_id)
        )
        sending = Sending(
            targets,
            REQUESTS_PER_VALIDATOR * len(world.network.validators),
            prover,
            load.operations,
            options.warm_up_s,
            options.seconds,
            rate,
        )
        sender = Sender(sending, transactions, measured)
        return await sender.run(), sender.unsent


def _figures(
    world: World,
    load: Load,
    tally: Tally,
    before: Usage,
    after: Usage,
    rate: float | None,
    check_us: float,
) -> dict[str, Any]:
    committed = max(1, tally.committed)
    per_s = tally.committed / tally.seconds if tally.seconds else 0.0
    cpu_s = cpu_used_s(world, before, after)
    validators = sum(place.name in world.processes for place in world.network.validators)
    checks_us = load.signatures * validators * check_us
    commit, proof = tally.commit_latencies_s, tally.proof_latencies_s
    return {
        "rate": None if rate is None else round(rate, 1),
        "validators": validators,
        "seconds": round(tally.seconds, 2),
        "transactions": tally.committed,
        "transactions_per_s": round(per_s, 1),
        "operations_per_s": round(per_s * load.operations, 1),
        "commit_latency_p50_ms": round(quantile(commit, 0.50) * 1000, 1),
        "commit_latency_p99_ms": round(quantile(commit, 0.99) * 1000, 1),
        "proof_latency_p50_ms": round(quantile(proof, 0.50) * 1000, 1),
        "proof_latency_p99_ms": round(quantile(proof, 0.99) * 1000, 1),
        "proofs_followed": len(proof),
        "validators_cpu_us_per_transaction": round(cpu_s[VALIDATORS] / committed * 1e6, 1),
        "query_node_cpu_us_per_transaction": round(cpu_s[QUERY_NODE] / committed * 1e6, 1),
        "loader_cpu_us_per_transaction": round(cpu_s[LOADER] / committed * 1e6, 1),
        "signature_check_us": round(check_us, 1),
        # What the cores could do if all they did was to verify each signature once on every validator.
        "share_of_signature_limit": round(per_s * checks_us / 1e6 / cores(), 3),
        "disk_bytes_per_transaction": round((after.disk_bytes - before.disk_bytes) / committed, 1),
        "disk_written_bytes_per_transaction": round(
            (after.disk_written_bytes - before.disk_written_bytes) / committed, 1
        ),
        "wire_bytes_per_transaction": round(wire_bytes_between(before, after) / committed, 1),
        "validator_peak_memory_mb": round(after.peak_memory_bytes / 1e6, 1),
        "outcomes": dict(tally.outcomes),
        "asked_again": tally.asked_again,
    }
