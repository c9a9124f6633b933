"""A node whose home is on this machine: where it answers, and what can be said of it when it does not."""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path
from typing import Final, cast

from cli.network_setup import load_network
from cli.output import CommandError
from cli.processes import log_tail, running_process, was_stopped
from ledger.errors import DecodeError
from ledger.strict_json import json_decode
from node.answers import Json, NetworkStatus
from node.client import NodeClient
from node.cometbft.program import supervised_home
from node.config import ApiConfig, load_config
from node.diagnosis import OPERATORS_ONLY, diagnose
from node.errors import ApiProblem, NodeUnreachable
from node.home import Home
from node.observation import Observation

NOT_RUNNING: Final = "not running"
STOPPED: Final = "stopped"
"""Reasons of a node that somebody must start."""

_SHOWN_FIRST: Final = ("timestamp", "ts", "level", "event", "_msg")


def require_node_home(home: Path) -> None:
    """Check that a directory is a node's home.

    Raises:
        CommandError: it is none; where it is a network's, the hint names those of its nodes.
    """
    if Home(home).config.is_file():
        return
    hint = "Make one: mulu node init --help"
    if (home / "network.json").is_file():
        network = load_network(home)
        homes = ", ".join(str(network.node_home(place)) for place in network.nodes)
        hint = f"It is a network's home; those of its nodes are {homes}."
    raise CommandError(f"{home} is no node's home", hint=hint)


def api_address(home: Path) -> str:
    """Return the address of the HTTP API of the node of `home`.

    Raises:
        CommandError: it is no node's home, or the node takes any free port.
    """
    require_node_home(home)
    api = load_config(Home(home).config).api
    if api.listen_port == 0:
        raise CommandError(f"the node of {home} takes any free port", hint="Give --node URL.")
    host = _api_host(api)
    scheme = "http" if api.tls_certificate is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{api.listen_port}"


def answers(home: Path) -> bool:
    """Tell whether the node of `home` answers by its name: what has its port may be another program.

    Where its API takes any free port that cannot be told, and counts as yes; where it speaks TLS, its certificate is
    made for others than this machine, and whoever listens counts.
    """
    api = load_config(Home(home).config).api
    if api.listen_port == 0:
        return True
    if api.tls_certificate is not None:
        try:
            socket.create_connection((_api_host(api), api.listen_port), timeout=1.0).close()
        except OSError:
            return False
        return True
    try:
        with NodeClient(api_address(home), timeout_s=1.0) as client:
            network_of(home, client)
    except (NodeUnreachable, ApiProblem):
        return False
    return True


def network_of(home: Path, client: NodeClient) -> NetworkStatus:
    """Return the network as the node of `home` sees it.

    Raises:
        NodeUnreachable: no answer, or one of another node that has its port.
        ApiProblem: the node's refusal.
    """
    found = client.network()
    if found.name != load_config(Home(home).config).name:
        raise NodeUnreachable(f"another node, {found.name}, answers at {client.url}")
    return found


def _api_host(api: ApiConfig) -> str:
    """Return the host at which a node of this machine is asked."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(
        api.listen_host, api.listen_host
    )


def local_home(address: str, network_home: Path) -> Path | None:
    """Return the home of the node that answers at `address`, if it belongs to the network of this machine."""
    try:
        network = load_network(network_home)
    except CommandError:
        return None
    for place in network.nodes:
        if place.api == address.rstrip("/"):
            return network.node_home(place)
    return None


def describe_silent(address: str, home: Path, error: str) -> Json:
    """Return what is known of a node that does not answer."""
    record: Json = {"node": address, "ready": False, "reason": NOT_RUNNING, "home": str(home)}
    process_id = running_process(home)
    if process_id is None and was_stopped(home):
        return record | {"reason": STOPPED}
    if process_id is not None and supervised_home(home) is not None:
        record["reason"] = f"its supervisor {process_id} runs; both its processes are restarting"
    elif process_id is not None:
        record["reason"] = f"its process {process_id} runs, but {error}"
    line = log_tail(home, lines=1)
    return record | {"log": _log_line(line)} if line else record


def _log_line(line: str) -> Json | str:
    """Return a line of a log as an object where it is one, else as it stands."""
    try:
        read = json_decode(line.encode())
    except DecodeError:
        return line
    return cast("Json", read) if isinstance(read, dict) else line


def log_text(line: Json | str) -> str:
    """Return a log's line for people: when, what, and its figures."""
    if isinstance(line, str):
        return line
    rest = {key: value for key, value in line.items() if key not in _SHOWN_FIRST}
    what = line.get("event", line.get("_msg", ""))  # the node's own word for it, CometBFT's
    figures = ", ".join(f"{key}={value}" for key, value in rest.items())
    told = f"{line.get('level', '')}: {what}" + (f" ({figures})" if figures else "")
    return f"{time} {told}" if (time := line.get("timestamp", line.get("ts"))) else told


def local_findings(home: Path) -> tuple[Json, ...]:
    """Return what a node tells nobody over HTTP, but the machine's own operators may see."""
    observation = Observation(
        name=home.name,
        now_ms=time.time_ns() // 1_000_000,
        disk_free_bytes=shutil.disk_usage(home).free,
    )
    return tuple(one.to_json() for one in diagnose(observation) if one.code in OPERATORS_ONLY)
