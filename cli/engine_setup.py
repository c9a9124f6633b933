"""Lay out CometBFT's homes for the nodes of one machine: a full mesh, keys, genesis and configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from consensus.cometbft.layout import EnginePeer, EngineSettings, node_id
from ledger.genesis import Genesis
from ledger.keys import SoftwareSigner
from node.cometbft.home import create_engine_home
from node.config import ConsensusConfig
from node.home import Home, ValidatorSigners

_LOOPBACK = "127.0.0.1"


def create_engine_homes(
    homes: Mapping[str, Path],
    ports: Mapping[str, int],
    genesis: Genesis,
    consensus: ConsensusConfig,
    signers: Mapping[str, ValidatorSigners],
) -> None:
    """Write `<home>/cometbft` of every node; nodes without signers follow and do not vote."""
    node_keys = {name: SoftwareSigner.generate() for name in homes}
    for name, home in homes.items():
        peers = tuple(
            EnginePeer(node_id(node_keys[other]), _LOOPBACK, ports[other])
            for other in homes
            if other != name
        )
        settings = EngineSettings(
            name=name,
            listen_host=_LOOPBACK,
            listen_port=ports[name],
            peers=peers,
            propose_timeout_ms=consensus.propose_timeout_ms,
            prevote_timeout_ms=consensus.prevote_timeout_ms,
            precommit_timeout_ms=consensus.precommit_timeout_ms,
            block_pause_ms=consensus.block_pause_ms,
        )
        consensus_key = signers[name].consensus if name in signers else None
        create_engine_home(Home(home).cometbft, genesis, settings, node_keys[name], consensus_key)
