"""Links to other nodes: a full mesh of WebSockets over mutual TLS 1.3.

A certificate names the node at the other end and must chain to a certificate authority that the ledger (or, for
synchronisation only, the configuration) knows; a validator's must come from its own controller's authority. Both ends
dial; of two links between the same pair, the one dialled by the smaller name stays, unless it is silent. Each link has
three bounded queues of outgoing frames, consensus first, and a pulse that tells whether the other end answers. A peer
that sends what no correct node sends is cut off for a while.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

import structlog
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.frames import CloseCode
from websockets.protocol import State
from websockets.server import ServerProtocol

from ledger.validators import ValidatorSet
from node.certificates import NodeIdentity, TrustedAuthority, identify, pem_bundle
from node.config import PeerAddress, PeersConfig
from node.connections import (
    PeerClientConnection,
    PeerConnection,
    PeerServerConnection,
    told_reason,
)
from node.errors import InvalidCertificate, InvalidPeerMessage
from node.link import CLOSE_TIMEOUT_S, Link, Traffic
from node.listener import Listener
from node.messages import (
    MAX_FRAME_BYTES,
    MAX_HELLO_BYTES,
    PROTOCOL_VERSION,
    Hello,
    PeerMessage,
    Ping,
    Pong,
    Priority,
    decode_message,
)
from node.refusals import BAN_S, LIVED_S, Refusal, Refusals

HANDSHAKE_TIMEOUT_S: Final = 5.0
"""TLS, upgrade and hello each end within this, or the connection does."""

FIRST_REDIAL_S: Final = 0.25
LAST_REDIAL_S: Final = 5.0
"""Redials back off to this: a restarted validator is back within seconds."""

MAX_GREETING: Final = 4
"""Connections of one node that have shown its certificate, but have not said hello yet."""

RECEIVED_FRAMES: Final = 4
"""Frames that may wait inside a connection: four of the largest size are 32 MiB a link."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Membership:
    """Who may link: the ledger's certificate authorities (and the configuration's), and the current validators."""

    authorities: tuple[TrustedAuthority, ...]
    validators: ValidatorSet

    def admit(self, certificate: bytes) -> NodeIdentity:
        """Return who presents `certificate` (DER).

        Raises:
            InvalidCertificate: nobody who may link, or a validator's name from another's authority.
        """
        identity = identify(certificate, self.authorities)
        validator = self.validators.get(identity.name)
        controllers = identity.controllers
        if validator is not None and controllers and validator.controller not in controllers:
            names = ", ".join(authority.name for authority in identity.authorities)
            raise InvalidCertificate(f"{identity.name} is certified by {names}")
        return identity


class PeerHandler(Protocol):
    """What the rest of the node does with links. Runs on the event loop; `message_received` may wait to slow down."""

    def link_up(self, link: Link) -> None: ...

    def link_down(self, link: Link) -> None: ...

    async def message_received(self, link: Link, message: PeerMessage) -> None:
        """Take a message.

        Raises:
            InvalidPeerMessage: the peer is to be cut off.
        """
        ...


class PeerNetwork:
    """All links of a node. Everything here runs inside `run`, which ends only by cancellation or a failed listen."""

    def __init__(
        self,
        name: str,
        role: str,
        chain_id: str,
        config: PeersConfig,
        certificate: Path,
        key: Path,
        membership: Membership,
        handler: PeerHandler,
    ) -> None:
        self._name = name
        self._role = role
        self._chain_id = chain_id
        self._config = config
        self._handler = handler
        self._membership = membership
        self._certificate = certificate
        self._key = key
        self._server_context = self._context(ssl.PROTOCOL_TLS_SERVER)
        self._client_context = self._context(ssl.PROTOCOL_TLS_CLIENT)
        self._links: dict[str, Link] = {}
        self._banned_until: dict[str, float] = {}
        self._refusals = Refusals()
        self._greeting: Counter[str] = Counter()
        self._height = 0
        self.traffic: Final = Traffic()
        self.listening = asyncio.Event()
        self.port = 0

    # --- what others use -------------------------------------------------------------------------

    @property
    def links(self) -> Mapping[str, Link]:
        """Live links by node name."""
        return MappingProxyType(self._links)

    @property
    def heard(self) -> frozenset[str]:
        """The names of linked nodes that answer."""
        return frozenset(name for name, link in self._links.items() if link.is_fresh)

    @property
    def refusals(self) -> Mapping[str, Refusal]:
        """Who has lately refused this node, or was refused by it, and why."""
        return self._refusals.recent(time.monotonic())

    @property
    def membership(self) -> Membership:
        """Who may link."""
        return self._membership

    def set_height(self, height: int) -> None:
        """Tell what height the next hello names."""
        self._height = height

    def send(self, name: str, frame: bytes, priority: Priority) -> bool:
        """Queue a frame for a node; False if it is not linked or too slow."""
        link = self._links.get(name)
        return link is not None and link.send(frame, priority)

    def broadcast(
        self, frame: bytes, priority: Priority, names: Iterable[str] | None = None
    ) -> None:
        """Queue a frame for every linked node, or for those of `names`."""
        for name in tuple(self._links) if names is None else names:
            link = self._links.get(name)
            if link is not None:
                link.send(frame, priority)

    def cut_off(self, name: str, reason: str) -> None:
        """Cut a node that sent what no correct node sends, and refuse it for a while; it is told why, if it reads."""
        self._ban(name, reason)
        link = self._links.get(name)
        if link is not None:
            self._cut(link, reason)

    def _cut(self, link: Link, reason: str) -> None:
        """Part with a link at once; its own task tells the other end."""
        link.cut(reason)
        self._forget(link)

    def _forget(self, link: Link) -> None:
        if self._links.get(link.name) is link:
            del self._links[link.name]
            self._handler.link_down(link)
            _log.info("link down", peer=link.name)

    def _ban(self, name: str, reason: str) -> None:
        self._banned_until = {n: s for n, s in self._banned_until.items() if self._is_banned(n)}
        self._banned_until[name] = time.monotonic() + BAN_S
        self._note(name, Refusal(is_ours=True, reason=reason))
        _log.warning("peer cut off", peer=name, reason=reason, seconds=BAN_S)

    def update_membership(self, membership: Membership) -> None:
        """Replace who may link, and cut at once the links of those who no longer may."""
        self._membership = membership
        for context in (self._server_context, self._client_context):
            context.load_verify_locations(cadata=pem_bundle(membership.authorities))
        for link in tuple(self._links.values()):
            try:
                membership.admit(link.certificate)
            except InvalidCertificate as error:
                _log.warning("link cut", peer=link.name, reason=str(error))
                link.abort()

    async def run(self) -> None:
        """Listen and keep dialling until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(), name="peers-listen")
            for address in self._config.addresses:
                if address.name != self._name:
                    tasks.create_task(self._keep_dialling(address), name=f"dial-{address.name}")

    # --- connecting ------------------------------------------------------------------------------

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # the certificate names a node, not a host: see Membership
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self._certificate, self._key)
        context.load_verify_locations(cadata=pem_bundle(self._membership.authorities))
        return context

    async def _listen(self) -> None:
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def accepted(connection: PeerServerConnection) -> None:
            server.all_connections.add(connection)
            try:
                await self._accepted(connection)
            except Exception as error:
                # The library would swallow it, and the node go on with a store that fails.
                if not failed.done():
                    failed.set_exception(error)
            finally:
                server.all_connections.discard(connection)
                task = asyncio.current_task()
                assert task is not None
                server.handler_tasks.discard(task)

        def connection() -> PeerServerConnection:
            return PeerServerConnection(
                ServerProtocol(max_size=MAX_FRAME_BYTES, logger=_quiet_logger()),
                server,
                close_timeout=CLOSE_TIMEOUT_S,
                ping_interval=None,
                max_queue=RECEIVED_FRAMES,
            )

        async def listen() -> Listener:
            listener = Listener(connection, self._server_context, HANDSHAKE_TIMEOUT_S)
            await listener.start(self._config.listen_host, self._config.listen_port)
            return listener

        server = Server(listen, accepted, _quiet_logger())  # type: ignore[arg-type]
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            self.listening.set()
            _log.info("listening for peers", port=self.port)
            await failed

    async def _accepted(self, connection: PeerServerConnection) -> None:
        """Serve a connection whose TLS handshake is done, and end it."""
        with suppress(InvalidPeerMessage, InvalidCertificate, ConnectionClosed, TimeoutError):
            try:
                link = await self._welcome(connection)
                async with connection:
                    await self._live(link)
            finally:
                connection.transport.abort()

    async def _welcome(self, connection: PeerServerConnection) -> Link:
        """Take up who has dialled, few of the same name at a time."""
        name = self._identify(connection).name
        if self._greeting[name] >= MAX_GREETING:
            raise InvalidPeerMessage(f"too many connections of {name} at once")
        self._greeting[name] += 1
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                await connection.handshake(server_header=None)
                if connection.state is not State.OPEN:
                    raise InvalidPeerMessage("not a WebSocket handshake")
                try:
                    return await self._greet(connection, None)
                except (InvalidPeerMessage, InvalidCertificate) as error:
                    self._note_ours(name, error)  # not of who only gave up before it said hello
                    raise
        finally:
            self._greeting[name] -= 1
            if not self._greeting[name]:
                del self._greeting[name]  # an authority may certify any number of names

    async def _keep_dialling(self, address: PeerAddress) -> None:
        pause_s = FIRST_REDIAL_S
        while True:
            if address.name not in self._links:
                started = time.monotonic()
                await self._dial(address)
                lived_s = time.monotonic() - started
                pause_s = FIRST_REDIAL_S if lived_s > LAST_REDIAL_S else pause_s * 2
            await asyncio.sleep(min(pause_s, LAST_REDIAL_S))

    async def _dial(self, address: PeerAddress) -> None:
        try:
            async with connect(
                f"wss://{_url_host(address.host)}:{address.port}/",
                ssl=self._client_context,
                server_hostname=address.name,
                compression=None,
                open_timeout=HANDSHAKE_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
                ping_interval=None,
                max_size=MAX_FRAME_BYTES,
                max_queue=RECEIVED_FRAMES,
                user_agent_header=None,
                proxy=None,
                create_connection=PeerClientConnection,
                logger=_quiet_logger(),
            ) as connection:
                assert isinstance(connection, PeerClientConnection), "as asked for"
                async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                    link = await self._greet(connection, address.name)
                await self._live(link)
        except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
            _log.debug("peer not reached", peer=address.name, reason=str(error))
        except (InvalidCertificate, InvalidPeerMessage) as error:
            _log.warning("peer refused", peer=address.name, reason=str(error))
            self._note_ours(address.name, error)

    # --- a link's life ---------------------------------------------------------------------------

    async def _live(self, link: Link) -> None:
        """Read and write until the link ends."""
        if self._is_banned(link.name):  # since it has said hello
            await link.close(CloseCode.POLICY_VIOLATION, f"{link.name} is cut off for a while")
            return
        if not self._register(link):
            await link.close(CloseCode.NORMAL_CLOSURE, "another link stays")
            return
        try:
            await self._exchange(link)
        finally:
            self._forget(link)

    def _identify(self, connection: Connection) -> NodeIdentity:
        return self._membership.admit(_certificate_of(connection))

    async def _greet(self, connection: PeerConnection, dialled: str | None) -> Link:
        """Say hello and hear it. `dialled` is whom we expect at the other end, None if we were dialled."""
        identity = self._identify(connection)
        if dialled is not None and identity.name != dialled:
            raise InvalidCertificate(f"dialled {dialled}, but {identity.name} answers")
        if identity.name == self._name:
            raise InvalidCertificate(f"the other end shows this node's own name, {self._name}")
        if self._is_banned(identity.name):
            raise InvalidPeerMessage(f"{identity.name} is cut off for a while")
        if not self._has_slot(identity.name):
            raise InvalidPeerMessage("no slot for another link")
        hello = Hello(self._chain_id, self._name, self._role, self._height)
        await connection.send(hello.encode())
        frame = await connection.recv()
        theirs = _check_hello(frame, self._chain_id, identity.name)
        dialler = self._name if dialled is not None else identity.name
        return Link(
            connection, _certificate_of(connection), identity, theirs, dialler, self.traffic
        )

    def _is_banned(self, name: str) -> bool:
        return self._banned_until.get(name, 0.0) > time.monotonic()

    def _note(self, name: str, refusal: Refusal) -> None:
        self._refusals.note(name, refusal, time.monotonic())

    def _note_ours(self, name: str, error: Exception) -> None:
        # Of who is banned it is known why, and this says less.
        if name != self._name and not self._is_banned(name):
            self._note(name, Refusal(is_ours=True, reason=str(error)))

    def _has_slot(self, name: str) -> bool:
        """Validators' slots are reserved: other nodes never take the last of them."""
        validators = self._membership.validators
        if name in validators or name in self._links:
            return True
        others = sum(1 for linked in self._links if linked not in validators)
        return others < self._config.max_links - len(validators)

    def _register(self, link: Link) -> bool:
        """Take a link in, unless the pair already has the one that stays.

        One that is silent never stays: the other end may have given it up.
        """
        present = self._links.get(link.name)
        if present is not None and present.is_fresh and present.dialler != link.dialler:
            keeper = min(self._name, link.name)
            if link.dialler != keeper:
                return False
        self._links[link.name] = link
        if present is not None:
            present.abort()
            self._handler.link_down(present)
        self._handler.link_up(link)
        _log.info("link up", peer=link.name, role=link.role, height=link.height)
        return True

    async def _exchange(self, link: Link) -> None:
        """Run both directions until the link ends; a garbage frame bans the peer."""
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(_write(link), name=f"write-{link.name}")
            asker = tasks.create_task(link.keep_asking(), name=f"ask-{link.name}")
            closer = tasks.create_task(link.close_when_cut(), name=f"close-{link.name}")
            garbage = await self._read(link)
            if garbage is not None and not link.is_cut:
                self._ban(link.name, garbage)
                self._cut(link, garbage)
            if link.is_cut:
                await closer
            for task in (writer, asker, closer):
                task.cancel()

    async def _read(self, link: Link) -> str | None:
        """Hand on messages until the link ends (None), or return what was wrong with the last one."""
        since_s = time.monotonic()
        try:
            while True:
                message = await link.read_message()
                if link.is_given_up:
                    return None
                match message:
                    case Hello():
                        return "a second hello"
                    case Ping() | Pong():
                        link.answer(message)
                    case _:
                        await self._handler.message_received(link, message)
        except ConnectionClosed as closed:
            if link.is_cut:
                return None  # the other end only repeats what we told it
            if time.monotonic() - since_s > LIVED_S:
                self._refusals.forget(link.name)
            told = told_reason(closed)
            if told is not None:
                self._note(link.name, Refusal(is_ours=False, reason=told))
                _log.warning("refused by a peer", peer=link.name, reason=told)
            return link.fault(closed)
        except InvalidPeerMessage as error:
            return str(error)


def _certificate_of(connection: Connection) -> bytes:
    tls = connection.transport.get_extra_info("ssl_object")
    certificate: bytes | None = tls.getpeercert(binary_form=True)
    if certificate is None:
        raise InvalidCertificate("no certificate")
    return certificate


async def _write(link: Link) -> None:
    # A broken link ends the reader too, which ends this; errors here would hide a cancellation.
    with suppress(ConnectionClosed):
        await link.write_frames()


def _check_hello(frame: bytes | str, chain_id: str, name: str) -> Hello:
    if not isinstance(frame, bytes) or len(frame) > MAX_HELLO_BYTES:
        raise InvalidPeerMessage("the first frame is not a hello")
    hello = decode_message(frame)
    if not isinstance(hello, Hello) or hello.version != PROTOCOL_VERSION:
        raise InvalidPeerMessage("the first frame is not a hello of this protocol version")
    if hello.chain_id != chain_id:
        raise InvalidPeerMessage(f"a node of another chain: {hello.chain_id[:64]!r}")
    if hello.node != name or hello.role not in ("validator", "query"):
        raise InvalidPeerMessage("hello does not match the certificate")
    return hello


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _quiet_logger() -> logging.Logger:
    """Return a logger that keeps the library's own lines out: links are logged here, once each."""
    logger = logging.getLogger("mulu.websockets")
    logger.setLevel(logging.CRITICAL)
    return logger
