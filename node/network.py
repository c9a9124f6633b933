"""What the parts of a node want of its links, whatever carries them: WebSockets (`node.peers`), or a simulation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from node.messages import Priority


class PeerLink(Protocol):
    """One live link. `height` is the peer's last announced height."""

    height: int

    @property
    def name(self) -> str: ...

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
