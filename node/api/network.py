"""The network as this node sees it: who is online, how far the chain is, policy, genesis, changes of validators."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from ledger.application import Application
from ledger.policy import AsOf, Policy, policy_for
from node.api.access import Node
from node.services import Services

router = APIRouter(prefix="/v1", tags=["network"])


@router.get("/network", summary="Who is online, quorum, height and checkpoint")
async def network(services: Node) -> dict[str, Any]:
    return describe_network(services)


def describe_network(services: Services) -> dict[str, Any]:
    """Return the network's state for people and scripts."""
    application = services.application
    tip, proven, online = application.tip, application.proven(), services.online()
    links = services.network.links
    runner = services.runner.status
    return {
        "chain_id": services.genesis.chain_id,
        "name": services.config.name,
        "role": services.config.role,
        "validators": [
            {
                "name": validator.name,
                "online": validator.name in online,
                "height": _height_of(services, validator.name),
            }
            for validator in tip.validators
        ],
        "online": len(online),
        "total": len(tip.validators),
        "quorum": services.has_quorum(),
        "height": tip.height,
        "time_ms": tip.time_ms,
        "log_size": tip.log.size,
        "app_hash": tip.app_hash.hex(),
        "checkpoint_size": 0 if proven is None else proven.size,
        "checkpoint_time_ms": 0 if proven is None else proven.time_s * 1000,
        "proven_height": None if proven is None else proven.height,
        "engine": _describe_engine(services),
        "voting": runner.voting,
        "catching_up": services.sync.catching_up,
        "mempool": len(services.mempool),
        "peers": sorted(links),
        "stalled": services.stalled(),
        "damage": None if services.damage is None else services.damage.text,
        "findings": [one.to_json() for one in services.watch.findings() if one.is_public],
    }


def _describe_engine(services: Services) -> dict[str, Any]:
    """Return how far the engine is; nothing but its name where it does not answer."""
    runner, name = services.runner.status, services.config.consensus.engine
    if runner.problem is not None:
        return {"name": name, **dict.fromkeys(("height", "round", "step", "peers", "address"))}
    return {
        "name": name,
        "height": runner.height,
        "round": runner.round,
        "step": runner.step,
        "peers": len(services.network.links) if runner.peers is None else runner.peers,
        "address": runner.address,
    }


def _height_of(services: Services, name: str) -> int | None:
    if name == services.config.name:
        return services.application.tip.height
    link = services.network.links.get(name)
    return None if link is None else link.height


@router.get("/policy", summary="The tlog-policy of the current validators")
async def policy(services: Node) -> Response:
    return Response(
        current_policy(services.application).encode(), media_type="text/plain; charset=utf-8"
    )


def current_policy(application: Application) -> Policy:
    """Return the policy as of the newest checkpoint: of those who cosign the next one, whatever is committed since."""
    genesis, proven = application.genesis, application.proven()
    if proven is None:
        return policy_for(genesis.suite, application.tip.validators, genesis.chain_id)
    validators = application.history.validators(proven.height + 1)
    as_of = AsOf(proven.time_s, proven.size, validators.hash(genesis.suite))
    return policy_for(genesis.suite, validators, genesis.chain_id, as_of)


@router.get("/genesis", summary="The genesis file")
async def genesis_file(services: Node) -> Response:
    return Response(services.genesis_json, media_type="application/json")
