"""What the parts of a node want of its links, whatever carries them: WebSockets (`node.peers`), or a simulation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from ledger.validators import ValidatorSet
from node.messages import Priority


class PeerLink(Protocol):
    """One live link. `height` is the peer's last announced height."""

    height: int

    @property
    def name(self) -> str: ...

    @property
    def role(self) -> str:
        """What the peer says it is: "validator" or "query"."""
        ...

    @property
    def sync_only(self) -> bool:
        """Whether this peer may only fetch blocks and checkpoints."""
        ...

    def send(self, frame: bytes, priority: Priority) -> bool:
        """Queue a frame; False if it was dropped because the peer is too slow."""
        ...


class Network(Protocol):
    """All links of a node."""

    @property
    def links(self) -> Mapping[str, PeerLink]:
        """Live links by node name."""
        ...

    def set_height(self, height: int) -> None:
        """Tell what height new links are greeted with."""
        ...

    def send(self, name: str, frame: bytes, priority: Priority) -> bool:
        """Queue a frame for a node; False if it is not linked or too slow."""
        ...

    def broadcast(
        self, frame: bytes, priority: Priority, names: Iterable[str] | None = None
    ) -> None:
        """Queue a frame for every linked node, or for those of `names`."""
        ...

    def cut_off(self, name: str, reason: str) -> None:
        """Cut a node that sent what no correct node sends, and refuse it for a while."""
        ...


def reached_height(network: Network, validators: ValidatorSet) -> int:
    """Return the height that the chain has reached at least: told by more validators than may be faulty."""
    links = network.links
    told = sorted((links[v.name].height for v in validators if v.name in links), reverse=True)
    faulty = validators.faults_tolerated
    return told[faulty] if len(told) > faulty else 0
