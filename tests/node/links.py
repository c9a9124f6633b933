"""Real links for tests: certificate authorities, nodes with certificates, a handler that records."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ledger.keys import SoftwareSigner
from ledger.validators import Validator, ValidatorSet
from node.certificates import (
    IssuedCertificate,
    TrustedAuthority,
    create_certificate_authority,
    issue_node_certificate,
)
from node.config import PeerAddress, PeersConfig
from node.errors import InvalidPeerMessage
from node.link import Link
from node.messages import PeerMessage
from node.peers import Membership, PeerNetwork

CHAIN = "jjj-0123456789abcdef0123456789abcdef"
NOW = datetime.datetime.fromtimestamp(1_790_000_000, tz=datetime.UTC)
NAMES = ("beijing", "hebei", "national", "tianjin")


def utc_now() -> datetime.datetime:
    return datetime.datetime.fromtimestamp(time.time(), tz=datetime.UTC)


def controller_of(name: str) -> str:
    return f"controller-of-{name}"


@dataclass
class Jurisdictions:
    """A certificate authority for each name, and the validator set they form."""

    now: datetime.datetime
    authorities: dict[str, IssuedCertificate] = field(default_factory=dict)

    def authority(self, name: str) -> IssuedCertificate:
        if name not in self.authorities:
            self.authorities[name] = create_certificate_authority(f"{name}-ca", now=self.now)
        return self.authorities[name]

    def membership(self, *names: str) -> Membership:
        members = names or NAMES
        return Membership(
            tuple(
                TrustedAuthority(
                    f"{name}-ca", controller_of(name), self.authority(name).certificate_der
                )
                for name in members
            ),
            ValidatorSet.of(
                Validator(
                    name,
                    controller_of(name),
                    *(SoftwareSigner.generate().public_key for _ in range(3)),
                )
                for name in NAMES
            ),
        )


class Recorder:
    """A handler that keeps what happens, and refuses transactions when told to."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, PeerMessage]] = []
        self.up: list[str] = []
        self.down: list[str] = []
        self.refuse = False
        self.changed = asyncio.Event()

    def link_up(self, link: Link) -> None:
        self.up.append(link.name)
        self.changed.set()

    def link_down(self, link: Link) -> None:
        self.down.append(link.name)
        self.changed.set()

    async def message_received(self, link: Link, message: PeerMessage) -> None:
        self.messages.append((link.name, message))
        self.changed.set()
        if self.refuse:
            raise InvalidPeerMessage("refused by the test")


def make_network(
    directory: Path,
    name: str,
    issuer: IssuedCertificate,
    membership: Membership,
    handler: Recorder,
    *,
    peers: dict[str, int] | None = None,
    now: datetime.datetime,
    chain_id: str = CHAIN,
    lifetime_days: int = 30,
    max_links: int = 64,
) -> PeerNetwork:
    issued = issue_node_certificate(issuer, name, now=now, lifetime_days=lifetime_days)
    certificate, key = directory / f"{name}.crt", directory / f"{name}.pem"
    certificate.write_bytes(issued.certificate_pem)
    key.write_bytes(issued.key_pem)
    addresses = tuple(
        PeerAddress(name=peer, host="127.0.0.1", port=port) for peer, port in (peers or {}).items()
    )
    return PeerNetwork(
        name,
        "validator",
        chain_id,
        PeersConfig(addresses=addresses, max_links=max_links),
        certificate,
        key,
        membership,
        handler,
    )


@dataclass
class Place:
    """Nodes of one chain, whose certificates lie in a directory and are good from `now` on."""

    directory: Path
    now: datetime.datetime = field(default_factory=utc_now)

    def __post_init__(self) -> None:
        self.jurisdictions = Jurisdictions(self.now)
        self.membership = self.jurisdictions.membership()

    def node(
        self,
        name: str,
        handler: Recorder | None = None,
        *,
        peers: dict[str, int] | None = None,
        issuer: IssuedCertificate | None = None,
        now: datetime.datetime | None = None,
        chain_id: str = CHAIN,
        max_links: int = 64,
    ) -> PeerNetwork:
        """Return a node that dials `peers`, by name and port, and has its certificate from its own authority."""
        return make_network(
            self.directory,
            name,
            issuer or self.jurisdictions.authority(name),
            self.membership,
            handler or Recorder(),
            peers=peers,
            now=now or self.now,
            chain_id=chain_id,
            max_links=max_links,
        )


async def until(handler: Recorder, condition: object, timeout_s: float = 10.0) -> None:
    """Wait until `condition()` holds, asked again whenever the handler is called."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # type: ignore[operator]
            handler.changed.clear()
            await handler.changed.wait()


@asynccontextmanager
async def running(*networks: PeerNetwork) -> AsyncIterator[None]:
    """Run networks until the end of the block."""
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(network.run()) for network in networks]
        try:
            for network in networks:
                async with asyncio.timeout(5):
                    await network.listening.wait()
            yield
        finally:
            for task in started:
                task.cancel()


@asynccontextmanager
async def two_nodes(
    place: Place, left: Recorder, right: Recorder
) -> AsyncIterator[tuple[PeerNetwork, PeerNetwork]]:
    """Run beijing, heard by `left`, which dials tianjin, heard by `right`."""
    tianjin = place.node("tianjin", right)
    async with running(tianjin):
        beijing = place.node("beijing", left, peers={"tianjin": tianjin.port})
        async with running(beijing):
            yield beijing, tianjin
