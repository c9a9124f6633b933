"""CometBFT's home, inside a node's: laid out once."""

from __future__ import annotations

from pathlib import Path

from consensus.cometbft import layout
from consensus.cometbft.layout import EngineSettings
from ledger.files import replace_file
from ledger.genesis import Genesis
from ledger.keys import SoftwareSigner


def create_engine_home(
    directory: Path,
    genesis: Genesis,
    settings: EngineSettings,
    node_key: SoftwareSigner,
    consensus_key: SoftwareSigner | None,
) -> None:
    """Lay out CometBFT's home for a validator, or, without a consensus key, for a node that follows.

    A follower gets a key too, which no genesis names: CometBFT does not start without one.
    """
    config, data = directory / "config", directory / "data"
    config.mkdir(parents=True)
    data.mkdir()
    key = consensus_key or SoftwareSigner.generate()
    replace_file(config / "config.toml", layout.config_toml(settings).encode())
    replace_file(config / "genesis.json", layout.genesis_json(genesis).encode())
    replace_file(config / "node_key.json", layout.node_key_json(node_key).encode())
    replace_file(config / "priv_validator_key.json", layout.validator_key_json(key).encode())
    replace_file(data / "priv_validator_state.json", layout.validator_state_json().encode())
