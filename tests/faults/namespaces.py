"""Hosts of our own: each node in a network namespace, joined by a bridge, so that the kernel's TCP meets real loss.

The bridge lies in a namespace too, which the calling thread enters: nothing outside is touched or reached. It needs
root, `ip` and `iptables`, and a kernel that allows namespaces; `missing()` says what is not there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cli.network_setup import Network
from ledger.files import replace_file
from node.config import NodeConfig, format_config, load_config

CLONE_NEWNET: Final = 0x4000_0000
OWN_NAMESPACE: Final = Path("/proc/thread-self/ns/net")
NAMED: Final = Path("/run/netns")


def missing() -> str | None:
    """Return why there can be no namespaces here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "iptables"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    name = f"mulu-{os.getpid()}-try"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "the kernel allows no network namespaces"
    _run("ip", "netns", "delete", name)
    return None


@dataclass(frozen=True, slots=True)
class Hosts:
    """A host for each node, with an address of its own. `prefix` is that of the namespaces' names."""

    prefix: str
    addresses: dict[str, str]

    def namespace(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def under(self, name: str) -> tuple[str, ...]:
        """Return the command under which a node runs on its host."""
        return ("ip", "netns", "exec", self.namespace(name))

    def lose(self, sender: str, receiver: str, probability: float = 1.0) -> None:
        """Lose packets from one node to another as they come in."""
        chance = ("-m", "statistic", "--mode", "random", "--probability", str(probability))
        rule = ("-A", "INPUT", "-s", self.addresses[sender], *chance, "-j", "DROP")
        _run(*self.under(receiver), "iptables", "-w", *rule)

    def heal(self) -> None:
        """Lose nothing any more."""
        for name in self.addresses:
            _run(*self.under(name), "iptables", "-w", "-F", "INPUT")

    def place(self, network: Network) -> Network:
        """Let the nodes of a network that has not been started listen on their hosts, and find each other there."""
        for place in network.nodes:
            path = network.node_home(place) / "config.toml"
            replace_file(path, format_config(self._placed(load_config(path))).encode())
        places = tuple(
            replace(place, api=place.api.replace("127.0.0.1", self.addresses[place.name]))
            for place in network.nodes
        )
        return replace(network, nodes=places)

    def _placed(self, config: NodeConfig) -> NodeConfig:
        host = self.addresses[config.name]
        addresses = tuple(
            one.model_copy(update={"host": self.addresses[one.name]})
            for one in config.peers.addresses
        )
        peers = config.peers.model_copy(update={"listen_host": host, "addresses": addresses})
        api = config.api.model_copy(update={"listen_host": host})
        return config.model_copy(update={"peers": peers, "api": api})


@contextlib.contextmanager
def hosts(*names: str) -> Iterator[Hosts]:
    """Make a host for each name, with the calling thread, and what it starts, on a bridge between them."""
    made = Hosts(f"mulu-{os.getpid()}", {name: f"10.77.0.{at}" for at, name in enumerate(names, 1)})
    bridge = made.namespace("bridge")
    try:
        _run("ip", "netns", "add", bridge)
        _run("ip", "-n", bridge, "link", "add", "bridge", "type", "bridge")
        _run("ip", "-n", bridge, "address", "add", "10.77.0.254/24", "dev", "bridge")
        for device in ("bridge", "lo"):
            _run("ip", "-n", bridge, "link", "set", device, "up")
        for name in names:
            _join(made, name, bridge)
        with _inside(bridge):
            yield made
    finally:
        for name in (*names, "bridge"):
            subprocess.run(
                ["ip", "netns", "delete", made.namespace(name)], capture_output=True, check=False
            )


def _join(made: Hosts, name: str, bridge: str) -> None:
    host = made.namespace(name)
    _run("ip", "netns", "add", host)
    _run("ip", "-n", bridge, "link", "add", name, "type", "veth", "peer", "eth0", "netns", host)
    _run("ip", "-n", bridge, "link", "set", name, "master", "bridge", "up")
    _run("ip", "-n", host, "address", "add", f"{made.addresses[name]}/24", "dev", "eth0")
    for device in ("eth0", "lo"):
        _run("ip", "-n", host, "link", "set", device, "up")


@contextlib.contextmanager
def _inside(name: str) -> Iterator[None]:
    """Let the calling thread, and threads and processes that it starts, be in a namespace."""
    with OWN_NAMESPACE.open("rb") as before, (NAMED / name).open("rb") as wanted:
        _enter(wanted.fileno())
        try:
            yield
        finally:
            _enter(before.fileno())


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns comes with Python 3.12
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot enter the network namespace")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
