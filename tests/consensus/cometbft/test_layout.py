"""The files that CometBFT reads: what stands in them, and that the real program takes them."""

from __future__ import annotations

import base64
import json
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.cometbft import layout, mapping
from consensus.cometbft.layout import EnginePeer, EngineSettings
from ledger.limits import MAX_TRANSACTION_BYTES, MAX_VALIDATORS
from node.cometbft.home import create_engine_home
from node.cometbft.program import find_engine
from tests.ledger.chain import make_genesis, members, signer
from tests.node.cometbft.engine import needs_cometbft

PEER = EnginePeer("0123456789abcdef0123456789abcdef01234567", "10.0.0.2", 26_656)
SETTINGS = EngineSettings("hebei", "127.0.0.1", 26_656, (PEER, PEER), 1_000, 500, 500, 50)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """CometBFT's home of a validator."""
    [hebei] = [member for member in members() if member.name == "hebei"]
    directory = tmp_path / "cometbft"
    create_engine_home(directory, make_genesis(), SETTINGS, signer("node"), hebei.consensus)
    return directory


def run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [find_engine(), *words, "--home", home],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_genesis_names_the_same_chain_time_and_validators_with_equal_power() -> None:
    genesis = make_genesis()
    document = json.loads(layout.genesis_json(genesis))
    assert document["chain_id"] == genesis.chain_id
    assert document["genesis_time"] == "2025-10-09T08:53:20.000Z"
    found = {one["name"]: (one["power"], one["address"]) for one in document["validators"]}
    assert found == {
        one.name: ("1", mapping.address_of(one.consensus_key).hex().upper())
        for one in genesis.validators
    }


def test_every_setting_is_valid_toml_with_its_reason_above_it() -> None:
    text = layout.config_toml(SETTINGS)
    config = tomllib.loads(text)
    assert config["p2p"]["persistent_peers"] == f"{PEER},{PEER}"
    assert config["p2p"]["unconditional_peer_ids"] == f"{PEER.node_id},{PEER.node_id}"
    assert config["consensus"]["create_empty_blocks"] is False
    assert config["consensus"]["timeout_commit"] == "50ms"
    assert config["mempool"]["max_tx_bytes"] == MAX_TRANSACTION_BYTES
    assert config["mempool"]["recheck"] is True
    reason = text.splitlines()[text.splitlines().index("recheck = true") - 1]
    assert reason.startswith("# what can no longer stand in a block must leave")


@pytest.mark.parametrize("members", [4, MAX_VALIDATORS + 100])
def test_there_is_room_for_all_members_and_for_those_that_join_later(members: int) -> None:
    peers = tuple(EnginePeer(f"{one:040x}", "10.0.0.2", 26_656) for one in range(members - 1))
    config = tomllib.loads(layout.config_toml(replace(SETTINGS, peers=peers)))["p2p"]
    assert config["unconditional_peer_ids"].split(",") == [one.node_id for one in peers]
    assert config["max_num_inbound_peers"] >= max(MAX_VALIDATORS, members)
    assert config["max_num_outbound_peers"] >= max(MAX_VALIDATORS, members - 1)


def test_only_the_owner_may_read_the_keys(home: Path) -> None:
    for name in ("priv_validator_key.json", "node_key.json"):
        assert (home / "config" / name).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("node_id", "host", "port"),
    [("x" * 40, "h", 1), ("0" * 39, "h", 1), ("0" * 40, 'h"', 1), ("0" * 40, "h", 0)],
)
def test_what_is_no_address_of_a_peer_is_refused(node_id: str, host: str, port: int) -> None:
    with pytest.raises(ValueError, match=r"node id|address"):
        EnginePeer(node_id, host, port)


@needs_cometbft
def test_cometbft_reads_the_keys_as_we_mean_them(home: Path) -> None:
    shown = run(home, "show-node-id")
    assert shown.stdout.strip() == layout.node_id(signer("node")), shown.stderr
    validator = json.loads(run(home, "show-validator").stdout)
    key = signer("consensus hebei").public_key
    assert validator == {
        "type": "tendermint/PubKeyEd25519",
        "value": base64.b64encode(key.data).decode(),
    }


@needs_cometbft
def test_cometbft_reads_genesis_and_configuration_and_then_asks_for_the_application(
    home: Path,
) -> None:
    ended = run(home, "start", "--abci", "none")  # so that it gives up there, not before
    assert "unknown abci transport none" in ended.stdout + ended.stderr


@needs_cometbft
@pytest.mark.parametrize("damage", ["", "{", '{"height": "x"}'])
def test_cometbft_itself_refuses_to_start_without_the_record_of_what_its_key_has_signed(
    home: Path, damage: str
) -> None:
    state = home / "data" / "priv_validator_state.json"
    if damage:
        state.write_text(damage, "ascii")
    else:
        state.unlink()
    ended = run(home, "start")
    assert ended.returncode != 0
    assert "priv_validator_state.json" in ended.stdout + ended.stderr
