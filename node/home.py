"""A node's home directory: where everything lies, how it is created and read.

    config.toml  genesis.json  policy.txt
    keys/        consensus.key log.key witness.key (validators), tls.pem tls.crt,
                 last-sign and checkpoint-guard (what was signed last; never restore them from a backup)
    data/        ledger/ (LevelDB), head (marker), index.sqlite
    cometbft/    where CometBFT is the engine: its configuration, keys and data

`keys/` and what is in it is readable by its owner only.
"""

from __future__ import annotations

import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consensus.tendermint.last_sign import create_last_sign
from ledger.files import replace_file, sync_directory
from ledger.genesis import MAX_GENESIS_BYTES, Genesis
from ledger.keyfile import load_key, save_key
from ledger.keys import SoftwareSigner
from node.certificates import IssuedCertificate, certificate_der
from node.config import NodeConfig, format_config, load_config
from node.errors import InvalidCertificate, InvalidConfiguration
from node.files import PROCESS_ID_FILE
from node.signing_guard import create_checkpoint_guard

MAX_TLS_FILE_BYTES: Final = 1024 * 1024
"""A chain of certificates has some kilobytes."""


@dataclass(frozen=True, slots=True)
class Home:
    """Paths inside a home directory."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def genesis(self) -> Path:
        return self.root / "genesis.json"

    @property
    def policy(self) -> Path:
        return self.root / "policy.txt"

    @property
    def cometbft(self) -> Path:
        """CometBFT's own home, where it is the engine."""
        return self.root / "cometbft"

    def has_engine_data(self) -> bool:
        """Tell whether CometBFT has stored blocks here."""
        return (self.cometbft / "data" / "blockstore.db").is_dir()

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def consensus_key(self) -> Path:
        return self.keys / "consensus.key"

    @property
    def log_key(self) -> Path:
        return self.keys / "log.key"

    @property
    def witness_key(self) -> Path:
        return self.keys / "witness.key"

    @property
    def tls_key(self) -> Path:
        return self.keys / "tls.pem"

    @property
    def tls_certificate(self) -> Path:
        return self.keys / "tls.crt"

    @property
    def last_sign(self) -> Path:
        return self.keys / "last-sign"

    @property
    def checkpoint_guard(self) -> Path:
        return self.keys / "checkpoint-guard"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def ledger(self) -> Path:
        return self.data / "ledger"

    @property
    def index(self) -> Path:
        return self.data / "index.sqlite"

    @property
    def process_id(self) -> Path:
        return self.root / PROCESS_ID_FILE


@dataclass(frozen=True, slots=True)
class ValidatorSigners:
    """A validator's three keys."""

    consensus: SoftwareSigner
    log: SoftwareSigner
    witness: SoftwareSigner


@dataclass(frozen=True, slots=True)
class OpenedHome:
    """What a node reads from its home when it starts. `signers` is None on a query node."""

    home: Home
    config: NodeConfig
    genesis: Genesis
    genesis_json: bytes
    signers: ValidatorSigners | None


def create_node_home(
    directory: Path,
    config: NodeConfig,
    genesis: Genesis,
    policy: str,
    tls: IssuedCertificate,
    signers: ValidatorSigners | None,
    *,
    passphrase: str = "",
) -> Home:
    """Lay out a new home directory and return its paths.

    Raises:
        InvalidConfiguration: the directory holds something already, or a validator lacks its signers.
    """
    home = Home(directory)
    if directory.exists() and any(directory.iterdir()):
        raise InvalidConfiguration(f"{directory} is not empty; choose another directory")
    if (config.role == "validator") != (signers is not None):
        raise InvalidConfiguration("a validator needs its three keys, a query node has none")
    directory.mkdir(parents=True, exist_ok=True)
    home.data.mkdir()
    home.keys.mkdir(mode=0o700)
    replace_file(home.config, format_config(config).encode())
    replace_file(home.genesis, genesis.to_json().encode())
    replace_file(home.policy, policy.encode())
    replace_file(home.tls_certificate, tls.certificate_pem)
    replace_file(home.tls_key, tls.key_pem)
    if signers is not None:
        save_key(home.consensus_key, signers.consensus, passphrase)
        save_key(home.log_key, signers.log, passphrase)
        save_key(home.witness_key, signers.witness, passphrase)
        create_last_sign(home.last_sign, genesis.chain_id)
        create_checkpoint_guard(home.checkpoint_guard)
    return home


def open_home(directory: Path, passphrase: str = "") -> OpenedHome:
    """Read configuration, genesis and keys of a home.

    Raises:
        InvalidConfiguration: a file is missing, unreadable or wrong.
        DecodeError: the genesis file is wrong.
        KeyFileError: a key cannot be read, or the passphrase is wrong.
    """
    home = Home(directory)
    config = load_config(home.config)
    try:
        if home.genesis.stat().st_size > MAX_GENESIS_BYTES:
            raise InvalidConfiguration(f"{home.genesis} is larger than {MAX_GENESIS_BYTES} bytes")
        genesis_json = home.genesis.read_bytes()
    except OSError as error:
        raise InvalidConfiguration(f"cannot read {home.genesis}: {error.strerror}") from None
    signers = None
    if config.role == "validator":
        signers = ValidatorSigners(
            load_key(home.consensus_key, passphrase),
            load_key(home.log_key, passphrase),
            load_key(home.witness_key, passphrase),
        )
    if not home.data.exists():
        home.data.mkdir()
        sync_directory(home.root)
    return OpenedHome(home, config, Genesis.from_json(genesis_json), genesis_json, signers)


def check_tls(opened: OpenedHome) -> None:
    """Check that the node's certificate and its key can be used, and the API's where it speaks TLS.

    Raises:
        InvalidConfiguration: a file is missing, unreadable or wrong, or others may read the node's key; the text says
            what to do.
    """
    home, api = opened.home, opened.config.api
    renew = f"issue new ones: mulu node renew {home.root} --authority CA.pem"
    if _tls_part(home.tls_key, renew) & 0o077:
        raise InvalidConfiguration(
            f"{home.tls_key}: others may read it; run: chmod 600 {home.tls_key}"
        )
    _check_pair(home.tls_certificate, home.tls_key, renew)
    if api.tls_certificate is not None:
        certificate = home.root / api.tls_certificate
        key = certificate if api.tls_key is None else home.root / api.tls_key
        _check_pair(certificate, key, "see [api] in config.toml")


def _check_pair(certificate: Path, key: Path, remedy: str) -> None:
    """Check that a certificate and a key, both PEM, can be read and belong together."""
    for path in (certificate, key):
        _tls_part(path, remedy)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        certificate_der(certificate.read_bytes())
    except InvalidCertificate:
        raise InvalidConfiguration(f"{certificate} is no certificate; {remedy}") from None
    try:
        # An encrypted key would be asked for on the terminal: nobody sits there.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        why = "it belongs to another certificate" if "MISMATCH" in str(error.reason) else ""
        raise InvalidConfiguration(
            f"{key} is not the key of {certificate}: {why or 'it cannot be read as one'}; {remedy}"
        ) from None


def _tls_part(path: Path, remedy: str) -> int:
    """Return the permissions of a file of a certificate or key, which can be read and is of a size that it may have."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_TLS_FILE_BYTES:
            raise InvalidConfiguration(f"{path} is no PEM file; {remedy}")
        path.open("rb").close()
    except OSError as error:
        raise InvalidConfiguration(f"cannot read {path}: {error.strerror}; {remedy}") from None
    return stat.S_IMODE(status.st_mode)
