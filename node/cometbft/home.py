"""CometBFT's home, inside a node's: laid out once, and where its program is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from consensus.cometbft import layout
from consensus.cometbft.layout import INSTALL_COMMAND, VERSION, EngineSettings
from ledger.genesis import Genesis
from ledger.keys import SoftwareSigner
from node.errors import InvalidConfiguration
from node.home import replace_file


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


def find_engine() -> Path:
    """Return CometBFT's program: what MULU_COMETBFT names, or what is on PATH, or where Go installs it.

    Raises:
        InvalidConfiguration: there is none, or it is of another version; the text says how to install it.
    """
    named = os.environ.get("MULU_COMETBFT")
    found = named or shutil.which("cometbft")
    if found is None:
        go_path = os.environ.get("GOPATH", str(Path.home() / "go"))
        installed = Path(os.environ.get("GOBIN", f"{go_path}/bin")) / "cometbft"
        found = str(installed) if installed.is_file() else None
    if found is None:
        raise InvalidConfiguration(f"CometBFT is not installed. Install it: {INSTALL_COMMAND}")
    version = _version_of(found)
    if version.split(".")[:2] != VERSION.lstrip("v").split(".")[:2]:
        raise InvalidConfiguration(
            f"{found} is CometBFT {version or 'of an unknown version'}, {VERSION} is needed. "
            f"Install it: {INSTALL_COMMAND}"
        )
    return Path(found)


def _version_of(program: str) -> str:
    try:
        told = subprocess.run([program, "version"], capture_output=True, text=True, timeout=10.0)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return told.stdout.strip().removeprefix("v").partition("+")[0]
