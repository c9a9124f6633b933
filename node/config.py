"""Configuration of a node: TOML in, frozen models out, read once and passed by constructor.

Every table has defaults that suit a node on one machine; only names, ports and addresses must be given. Paths are
relative to the home directory. Times carry their unit in their name.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.limits import HEARTBEAT_INTERVAL_MS
from ledger.problems import first_problem
from node.errors import InvalidConfiguration

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
EngineName = Literal["tendermint", "cometbft"]
Port = Annotated[int, Field(ge=0, le=65_535)]

MAX_CONFIG_BYTES = 1024 * 1024
"""A configuration beyond this is not one."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class PeerAddress(_Table):
    """Where another node listens for peers."""

    name: Name
    host: str
    port: Port


class PeersConfig(_Table):
    """Links to other nodes. `certificate_authorities` adds CAs for sync links of a node that was long away."""

    listen_host: str = "127.0.0.1"
    listen_port: Port = 0
    addresses: tuple[PeerAddress, ...] = ()
    certificate_authorities: tuple[str, ...] = ()
    max_links: Annotated[int, Field(ge=4, le=1024)] = 64


class ApiConfig(_Table):
    """The HTTP API: plain on loopback, TLS when a certificate and key are given.

    `trusted_proxies` are addresses of reverse proxies, whose `X-Forwarded-For` is taken for the client's address; from
    anybody else that header means nothing.
    """

    listen_host: str = "127.0.0.1"
    listen_port: Port = 0
    tls_certificate: str | None = None
    tls_key: str | None = None
    max_event_streams: Annotated[int, Field(ge=0, le=10_000)] = 64
    trusted_proxies: tuple[str, ...] = ()


class ConsensusConfig(_Table):
    """Pace of consensus. Timeouts are those of round 0; each later round waits half as long again.

    `engine` is the same on all nodes of a network: it is part of how their chain goes on. With `cometbft`, timeouts
    and pause stand in its own config.toml, under `cometbft/` in the node's home.
    """

    engine: EngineName = "tendermint"
    block_pause_ms: Annotated[int, Field(ge=0, le=60_000)] = 50
    heartbeat_interval_ms: Annotated[int, Field(ge=1_000)] = HEARTBEAT_INTERVAL_MS
    propose_timeout_ms: Annotated[int, Field(ge=10)] = 1_000
    prevote_timeout_ms: Annotated[int, Field(ge=10)] = 500
    precommit_timeout_ms: Annotated[int, Field(ge=10)] = 500


class MempoolConfig(_Table):
    """How many transactions may wait, and how large."""

    max_bytes: Annotated[int, Field(ge=1024 * 1024)] = 64 * 1024 * 1024
    max_count: Annotated[int, Field(ge=100)] = 50_000


class SessionsConfig(_Table):
    """One-time-code sessions; `digit` is the first digit of every code and names the jurisdiction.

    Anybody may open a session, so one network address opens `max_opened_per_minute` at most.
    """

    digit: Annotated[int, Field(ge=0, le=9)] = 0
    max_open: Annotated[int, Field(ge=1)] = 10_000
    max_opened_per_minute: Annotated[int, Field(ge=1)] = 600


class IndexConfig(_Table):
    """The searchable index; an SQLAlchemy URL, SQLite in the data directory when empty."""

    url: str = ""


class LogConfig(_Table):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class NodeConfig(_Table):
    """One node. A validator votes with its three keys; a query node follows and answers."""

    name: Name
    role: Literal["validator", "query"]
    peers: PeersConfig = PeersConfig()
    api: ApiConfig = ApiConfig()
    consensus: ConsensusConfig = ConsensusConfig()
    mempool: MempoolConfig = MempoolConfig()
    sessions: SessionsConfig = SessionsConfig()
    index: IndexConfig = IndexConfig()
    log: LogConfig = LogConfig()


def parse_config(text: str) -> NodeConfig:
    """Read a configuration.

    Raises:
        InvalidConfiguration: not TOML, or a field is unknown, missing or out of range.
    """
    try:
        return NodeConfig.model_validate(_tuples(tomllib.loads(text)))
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfiguration(f"config.toml is not TOML: {error}") from None
    except RecursionError:
        raise InvalidConfiguration("config.toml is not TOML: nested too deeply") from None
    except ValidationError as error:
        raise InvalidConfiguration(f"config.toml, field {first_problem(error)}") from None


def load_config(path: Path) -> NodeConfig:
    """Read the configuration file at `path`.

    Raises:
        InvalidConfiguration: missing, unreadable or wrong.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise InvalidConfiguration(f"cannot read {path}: {error.strerror}") from None
    if len(data) > MAX_CONFIG_BYTES:
        raise InvalidConfiguration(f"{path} is larger than {MAX_CONFIG_BYTES} bytes")
    try:
        return parse_config(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise InvalidConfiguration(f"{path} is not UTF-8") from None


def format_config(config: NodeConfig) -> str:
    """Return the TOML text of a configuration; `parse_config` reads it back to an equal value."""
    lines: list[str] = []
    tables: list[str] = []
    for name, value in config.model_dump(mode="python").items():
        if isinstance(value, dict):
            tables.extend(_format_table(name, value))
        else:
            lines.append(f"{name} = {_format_scalar(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _format_table(name: str, table: dict[str, object]) -> list[str]:
    lines = ["", f"[{name}]"]
    nested: list[str] = []
    for key, value in table.items():
        if value is None:
            continue
        if isinstance(value, tuple) and value and isinstance(value[0], dict):
            for row in value:
                nested += ["", f"[[{name}.{key}]]"]
                nested += [f"{field} = {_format_scalar(cell)}" for field, cell in row.items()]
        elif isinstance(value, tuple):
            lines.append(f"{key} = [{', '.join(_format_scalar(item) for item in value)}]")
        else:
            lines.append(f"{key} = {_format_scalar(value)}")
    return lines + nested


def _format_scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    if any(ord(character) < 32 or ord(character) == 127 for character in escaped):
        raise InvalidConfiguration(f"control character in a configured value: {value!r}")
    return f'"{escaped}"'


def _tuples(value: object) -> object:
    """Return TOML's lists as tuples, which strict models ask for."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return value
