"""Health, readiness and metrics: for operators and their monitors."""

from __future__ import annotations

import os

from fastapi import APIRouter, Response

from node.api.access import Node
from node.api.problems import problem_response
from node.clock import clock_ms
from node.services import Services

router = APIRouter(tags=["operation"])


@router.get("/healthz", summary="The process answers")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz", summary="The node serves current answers", response_model=None)
async def readyz(services: Node) -> Response | dict[str, str]:
    reason = not_ready(services)
    if reason is not None:
        return problem_response(503, "not_ready", reason)
    return {"status": "ready"}


def not_ready(services: Services) -> str | None:
    """Return why this node does not serve current answers, or None."""
    stalled = services.stalled()
    if stalled is not None:
        return stalled
    if services.application.proven() is None:
        return "no checkpoint with a quorum of signatures yet"
    behind = services.sync.target - services.application.tip.height
    if behind > 2:
        return f"catching up: {behind} blocks behind"
    return None


@router.get("/metrics", summary="Metrics in Prometheus' format")
async def metrics(services: Node) -> Response:
    _observe(services)
    return Response(services.metrics.render(), media_type="text/plain; version=0.0.4")


def _observe(services: Services) -> None:
    """Read what is counted elsewhere."""
    out, tip, runner = services.metrics, services.application.tip, services.runner.status
    proven = services.application.proven()
    out.set("height", tip.height, "Last committed height")
    out.set("log_size", tip.log.size, "Entries in the log")
    out.set("proven_size", 0 if proven is None else proven.size, "Entries under the checkpoint")
    age_s = 0.0 if proven is None else max(0.0, clock_ms() / 1000 - proven.time_s)
    out.set("checkpoint_age_seconds", age_s, "Age of the newest quorum checkpoint")
    out.set("validators", len(services.validators()), "Validators of the next height")
    out.set(
        "validators_online", len(services.online()), "Validators that are linked, self included"
    )
    out.set("quorum", float(services.has_quorum()), "Whether blocks can be decided")
    out.set("round", runner.round, "Round of the current height")
    out.set("runner_queue", runner.queued, "Events that wait for the runner")
    out.set("mempool_transactions", len(services.mempool), "Pending transactions")
    out.set("mempool_bytes", services.mempool.size_bytes, "Bytes of pending transactions")
    out.set("mempool_evicted", services.mempool.evicted, "Pending transactions pushed out")
    out.set("links", len(services.network.links), "Linked nodes")
    if runner.peers is not None:
        out.set("engine_peers", runner.peers, "Nodes that are linked with this node's CometBFT")
    out.set("sessions", len(services.sessions), "Open one-time-code sessions")
    links = services.network.links.values()
    out.set("peer_bytes_received", sum(link.bytes_received for link in links), "Of live links")
    out.set("peer_bytes_sent", sum(link.bytes_sent for link in links), "Of live links")
    times = os.times()
    out.set("cpu_seconds", times.user + times.system, "Processor time of the process")
    out.set("resident_bytes", _resident_bytes(), "Memory of the process")


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
