"""The files that CometBFT reads, made from our genesis, keys and addresses. Text in, text out: nothing is written here.

<home>/cometbft/config/config.toml  genesis.json  node_key.json  priv_validator_key.json
<home>/cometbft/data/priv_validator_state.json     what its key has signed last
"""

from __future__ import annotations

import base64
import datetime
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from consensus.cometbft.mapping import POWER, address_of
from consensus.cometbft.release import ABCI_SOCKET, RPC_SOCKET
from ledger.genesis import Genesis
from ledger.keys import SoftwareSigner
from ledger.limits import MAX_VALIDATORS
from ledger.validators import Validator

IDLE_INTERVAL_S: Final = 60
"""After so long without a block CometBFT makes an empty one: more often than the embedded engine's heartbeat, since two
things last as long as the interval. The next block's time is that much too old at most; and so long may validators
wait for each other after an outage, if some have begun the height, and what they began it for has expired meanwhile."""

MAX_EVIDENCE_AGE_BLOCKS: Final = 100_000
MAX_EVIDENCE_AGE: Final = datetime.timedelta(days=2)
"""CometBFT refuses evidence only when it is older than both."""

MAX_EVIDENCE_BYTES: Final = 64 * 1024

DEFAULT_INBOUND_PEERS: Final = 40
"""CometBFT's own default."""

_NODE_ID: Final = re.compile(r"[0-9a-f]{40}", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]-]{1,253}", re.ASCII)

_KEY_TYPE: Final = "tendermint/PubKeyEd25519"
_SECRET_TYPE: Final = "tendermint/PrivKeyEd25519"


@dataclass(frozen=True, slots=True)
class EnginePeer:
    """Where another node's CometBFT listens. `node_id` is the address of its node key, in hex."""

    node_id: str
    host: str
    port: int

    def __post_init__(self) -> None:
        if not _NODE_ID.fullmatch(self.node_id):
            raise ValueError("a node id is 40 lowercase hex digits")
        if not _HOST.fullmatch(self.host) or not 0 < self.port < 65_536:
            raise ValueError("an address is a host and a port")

    def __str__(self) -> str:
        return f"{self.node_id}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What differs from node to node. Times as in the embedded engine's configuration."""

    name: str
    listen_host: str
    listen_port: int
    peers: tuple[EnginePeer, ...]
    propose_timeout_ms: int
    prevote_timeout_ms: int
    precommit_timeout_ms: int
    block_pause_ms: int


def genesis_json(genesis: Genesis) -> str:
    """Return CometBFT's genesis of a chain: same chain id, time and validators, each with power 1."""
    started = datetime.datetime.fromtimestamp(genesis.time_ms / 1000, datetime.UTC)
    document = {
        "genesis_time": started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "chain_id": genesis.chain_id,
        "initial_height": "1",
        "consensus_params": {
            "block": {"max_bytes": str(genesis.parameters.max_block_bytes), "max_gas": "-1"},
            "evidence": {
                "max_age_num_blocks": str(MAX_EVIDENCE_AGE_BLOCKS),
                "max_age_duration": str(int(MAX_EVIDENCE_AGE.total_seconds()) * 10**9),
                "max_bytes": str(MAX_EVIDENCE_BYTES),
            },
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": "1"},
            "abci": {"vote_extensions_enable_height": "0"},
        },
        "validators": [_genesis_validator(one) for one in genesis.validators],
        "app_hash": "",
    }
    return json.dumps(document, indent=2) + "\n"


def _genesis_validator(validator: Validator) -> dict[str, object]:
    key = validator.consensus_key
    return {
        "address": address_of(key).hex().upper(),
        "pub_key": {"type": _KEY_TYPE, "value": _base64(key.data)},
        "power": str(POWER),
        "name": validator.name,
    }


def validator_key_json(signer: SoftwareSigner) -> str:
    """Return the key file of a validator: CometBFT keeps it in clear, so it is for its owner's eyes only."""
    key = signer.public_key
    document = {
        "address": address_of(key).hex().upper(),
        "pub_key": {"type": _KEY_TYPE, "value": _base64(key.data)},
        "priv_key": {"type": _SECRET_TYPE, "value": _base64(signer.secret + key.data)},
    }
    return json.dumps(document, indent=2) + "\n"


def validator_state_json() -> str:
    """Return the record of a key that has never signed. Write it when the key is made, never later."""
    return json.dumps({"height": "0", "round": 0, "step": 0}) + "\n"


def node_key_json(signer: SoftwareSigner) -> str:
    """Return the key file by which CometBFT's peers know a node."""
    value = _base64(signer.secret + signer.public_key.data)
    return json.dumps({"priv_key": {"type": _SECRET_TYPE, "value": value}}) + "\n"


def node_id(signer: SoftwareSigner) -> str:
    """Return the id that a node key stands for."""
    return address_of(signer.public_key).hex()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def config_toml(settings: EngineSettings) -> str:
    """Return CometBFT's configuration; every value that is not its default has its reason beside it."""
    lines = [
        "# Written by mulu; CometBFT's defaults hold for what is not here.",
        *_setting("proxy_app", f"unix://{ABCI_SOCKET}", "the node's application, on this machine"),
        *_setting("abci", "socket"),
        *_setting("moniker", settings.name),
        *_setting("log_format", "json", "as the node's own log"),
        *_setting("log_level", "error", "commits stand in the node's log already"),
        "",
        "[rpc]",
        *_setting("laddr", f"unix://{RPC_SOCKET}", "for the node alone; people ask the node's API"),
        *_setting("max_request_batch_size", 1000, "the node submits in arrays"),
        *_setting("max_body_bytes", 8 * 1024 * 1024, "an array of transactions, in base64"),
        "",
        "[p2p]",
        *_setting("laddr", f"tcp://{settings.listen_host}:{settings.listen_port}"),
        *_setting("persistent_peers", ",".join(map(str, settings.peers)), "a full mesh"),
        *_setting(
            "unconditional_peer_ids",
            ",".join(peer.node_id for peer in settings.peers),
            "no stranger's connection keeps a member out",
        ),
        *_setting(
            "max_num_inbound_peers",
            max(DEFAULT_INBOUND_PEERS, MAX_VALIDATORS + len(settings.peers)),
            "all members, and those that join later",
        ),
        *_setting("max_num_outbound_peers", max(MAX_VALIDATORS, len(settings.peers)), "likewise"),
        *_setting("pex", False, "members are known; no address is learned from others"),
        *_setting("addr_book_strict", False, "nodes of one machine or a private network"),
        *_setting("allow_duplicate_ip", True, "nodes of one machine"),
        *_setting("flush_throttle_timeout", "10ms", "100 ms would be added to each step"),
        *_setting("send_rate", 64 * 1024 * 1024, "5 MB/s would hold full blocks back"),
        *_setting("recv_rate", 64 * 1024 * 1024),
        *_setting("max_packet_msg_payload_size", 32 * 1024, "fewer packets a block part"),
        "",
        "[mempool]",
        *_setting(
            "recheck",
            True,
            "what can no longer stand in a block must leave, or validators that hold it begin "
            "every height at once, for nothing; no signature is verified again",
        ),
        *_setting("size", 50_000, "as the embedded engine's"),
        *_setting("max_txs_bytes", 64 * 1024 * 1024, "as the embedded engine's"),
        *_setting("cache_size", 100_000, "twice the size"),
        *_setting("max_tx_bytes", 60_000, "a log entry's limit"),
        "",
        "[consensus]",
        *_setting("create_empty_blocks", False, "an idle chain makes none …"),
        *_setting(
            "create_empty_blocks_interval",
            f"{IDLE_INTERVAL_S}s",
            "… but a heartbeat: it keeps checkpoints fresh, bounds how old the next block's time is, and "
            "lets validators meet that wait for each other after an outage",
        ),
        *_setting("timeout_propose", f"{settings.propose_timeout_ms}ms"),
        *_setting("timeout_prevote", f"{settings.prevote_timeout_ms}ms"),
        *_setting("timeout_precommit", f"{settings.precommit_timeout_ms}ms"),
        *_setting("timeout_commit", f"{settings.block_pause_ms}ms", "the pause between blocks"),
        *_setting("peer_gossip_sleep_duration", "10ms", "100 ms would be added to each step"),
        "",
        "[tx_index]",
        *_setting("indexer", "null", "the node has its own index"),
        "",
        "[storage]",
        *_setting("discard_abci_responses", True, "the log holds every outcome"),
        "",
        "[instrumentation]",
        *_setting("prometheus", False, "the node's /metrics tells height, round and peers"),
    ]
    return "\n".join(lines) + "\n"


def _setting(name: str, value: str | int | bool, reason: str = "") -> Sequence[str]:
    written = json.dumps(value)  # of these types, JSON is TOML
    return (f"# {reason}", f"{name} = {written}") if reason else (f"{name} = {written}",)
