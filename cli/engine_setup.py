"""CometBFT as the engine: its program is looked for, its homes are laid out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cli.output import CommandError, ExitCode, error_console, printable
from consensus.cometbft.layout import EnginePeer, EngineSettings, node_id
from ledger.genesis import Genesis
from ledger.keys import SoftwareSigner
from node.cometbft.home import create_engine_home
from node.cometbft.program import find_engine, supervised_home
from node.config import ConsensusConfig, EngineName
from node.errors import InvalidConfiguration
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
        settings = _settings(name, _LOOPBACK, ports[name], peers, consensus)
        consensus_key = signers[name].consensus if name in signers else None
        create_engine_home(Home(home).cometbft, genesis, settings, node_keys[name], consensus_key)


def create_joining_engine_home(
    home: Path,
    name: str,
    listen: tuple[str, int],
    peers: Sequence[EnginePeer],
    genesis: Genesis,
    consensus: ConsensusConfig,
    signers: ValidatorSigners | None,
) -> EnginePeer:
    """Write `<home>/cometbft` of a node that joins a network; return where its CometBFT is to be found."""
    node_key = SoftwareSigner.generate()
    settings = _settings(name, *listen, tuple(peers), consensus)
    consensus_key = None if signers is None else signers.consensus
    create_engine_home(Home(home).cometbft, genesis, settings, node_key, consensus_key)
    return EnginePeer(node_id(node_key), *listen)


def _settings(
    name: str, host: str, port: int, peers: tuple[EnginePeer, ...], consensus: ConsensusConfig
) -> EngineSettings:
    return EngineSettings(
        name=name,
        listen_host=host,
        listen_port=port,
        peers=peers,
        propose_timeout_ms=consensus.propose_timeout_ms,
        prevote_timeout_ms=consensus.prevote_timeout_ms,
        precommit_timeout_ms=consensus.precommit_timeout_ms,
        block_pause_ms=consensus.block_pause_ms,
    )


def engine_peer(text: str) -> EnginePeer:
    """Read `ID@HOST:PORT`.

    Raises:
        CommandError: it is something else.
    """
    identity, _, address = text.partition("@")
    host, _, port = address.rpartition(":")
    try:
        return EnginePeer(identity, host, int(port))
    except ValueError:
        raise CommandError(
            f"{text!r} is not a peer of CometBFT",
            hint="Write ID@HOST:PORT, as `mulu node status` of that node shows it.",
        ) from None


def require_engine(homes: Iterable[Path]) -> None:
    """Check that CometBFT is installed, if a node of these homes wants it.

    Raises:
        CommandError: it is not, or another version; the hint says how to install it.
    """
    if any(supervised_home(home) is not None for home in homes):
        require_program("cometbft")


def require_program(engine: EngineName) -> None:
    """Check that the program of an engine is installed.

    Raises:
        CommandError: it is not, or another version; the hint says how to install it.
    """
    if engine != "cometbft":
        return
    try:
        find_engine()
    except InvalidConfiguration as error:
        text, _, hint = str(error).partition(". ")
        raise CommandError(
            text, code="engine_missing", exit_code=ExitCode.NOT_ESTABLISHED, hint=f"{hint}"
        ) from None


def warn_without_engine(engine: str) -> None:
    """Say on standard error how the engine is installed, if it is needed and missing."""
    if engine != "cometbft":
        return
    try:
        find_engine()
    except InvalidConfiguration as error:
        error_console().print(f"warning: {printable(str(error))}", markup=False)
