"""Health, readiness and metrics: for operators and their monitors."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from fastapi import APIRouter, Response

from node.api.access import Node
from node.api.problems import problem_response
from node.clock import clock_ms
from node.diagnosis import OPERATORS_ONLY, Code, clock_offset_ms, diagnose
from node.services import Services

router = APIRouter(tags=["operation"])


@router.get("/healthz", summary="The process answers")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz", summary="The node serves current answers", response_model=None)
async def readyz(services: Node) -> Response | dict[str, Any]:
    findings = [one for one in services.watch.findings() if one.is_public]
    shown = [one.to_json() for one in findings]
    reason = next((one for one in findings if one.ends_readiness), None)
    if reason is None:
        return {"status": "ready", "findings": shown}
    return problem_response(503, "not_ready", reason.text, reason=reason.code, findings=shown)


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
    if services.config.consensus.engine == "cometbft":
        out.set(
            "engine_peers", runner.peers or 0, "Nodes that are linked with this node's CometBFT"
        )
    out.set("index_height", services.index.height, "Height that searches reach; -1 for none")
    out.set("sessions", len(services.sessions), "Open one-time-code sessions")
    traffic = services.network.traffic
    out.set("peer_bytes_received", traffic.received, "Frames from peers, before TLS")
    out.set("peer_bytes_sent", traffic.sent, "Frames to peers, before TLS")
    _observe_diagnosis(services)
    times = os.times()
    out.set("cpu_seconds", times.user + times.system, "Processor time of the process")
    out.set("resident_bytes", _resident_bytes(), "Memory of the process")


def _observe_diagnosis(services: Services) -> None:
    seen = services.watch.observe()
    found = Counter(one.code.value for one in diagnose(seen) if one.is_public)
    codes = (code.value for code in Code if code not in OPERATORS_ONLY)
    out = services.metrics
    out.set_each("findings", "code", {code: found[code] for code in codes}, "Findings by code")
    median_ms = clock_offset_ms(seen)
    if median_ms is not None:
        text = "Our clock less the validators' median"
        out.set("clock_offset_seconds", -median_ms / 1000, text)
    offsets = {name: ms / 1000 for name, ms in seen.clock_offsets_ms.items()}
    out.set_each("peer_clock_offset_seconds", "peer", offsets, "Validators' clocks less ours")
    days = {one.name: (one.expires_ms - seen.now_ms) / 86_400_000 for one in seen.certificates}
    out.set_each("certificate_days", "name", days, "Days until certificates expire")


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
