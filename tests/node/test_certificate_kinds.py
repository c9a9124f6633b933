"""Certificates that must not open a link, shown by whoever dials and by whoever is dialled. Real TLS over loopback."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from websockets.frames import Opcode
from websockets.utils import accept_key

from node.certificates import (
    IssuedCertificate,
    create_certificate_authority,
    issue_node_certificate,
)
from node.messages import Hello
from tests.node.links import CHAIN, Jurisdictions, Recorder, make_network, running
from tests.node.raw_peer import client_context, frame, raw_peer

ROW = "expired, foreign, wrong-name, self-signed, missing certificate"
DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.fromtimestamp(time.time(), tz=datetime.UTC)
JURISDICTIONS = Jurisdictions(NOW)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a certificate says, where it differs from a good one of Hebei's node."""

    names: tuple[str, ...] = ("hebei",)
    starts: datetime.datetime = NOW - DAY
    ends: datetime.datetime = NOW + DAY
    is_authority: bool = False
    usage: tuple[x509.ObjectIdentifier, ...] = ()


def certificate(issuer: IssuedCertificate | None, key: Any, shape: Shape) -> IssuedCertificate:
    """Issue a certificate of this shape; without an issuer it signs itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in shape.names])
    issuer_name, issuer_key = subject, key
    if issuer is not None:
        issuer_name = x509.load_pem_x509_certificate(issuer.certificate_pem).subject
        issuer_key = load_pem_private_key(issuer.key_pem, password=None)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(shape.starts)
        .not_valid_after(shape.ends)
        .add_extension(x509.BasicConstraints(shape.is_authority, None), critical=True)
    )
    if shape.usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(shape.usage), critical=True)
    signed = builder.sign(issuer_key, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return IssuedCertificate(signed.public_bytes(Encoding.PEM), private)


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def hebei(**shape: Any) -> IssuedCertificate:
    return certificate(JURISDICTIONS.authority("hebei"), p256(), Shape(**shape))


def with_key(key: Any) -> IssuedCertificate:
    return certificate(JURISDICTIONS.authority("hebei"), key, Shape())


def below_a_node() -> IssuedCertificate:
    """Return a certificate that a node's own key has signed, with the node's certificate for a chain."""
    node = issue_node_certificate(JURISDICTIONS.authority("hebei"), "hebei", now=NOW)
    issued = certificate(node, p256(), Shape())
    return IssuedCertificate(issued.certificate_pem + node.certificate_pem, issued.key_pem)


SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %s\r\n\r\n"
)

BAD: dict[str, Callable[[], IssuedCertificate]] = {
    "expired": lambda: hebei(starts=NOW - 2 * DAY, ends=NOW - DAY),
    "not yet valid": lambda: hebei(starts=NOW + DAY, ends=NOW + 2 * DAY),
    "of a foreign authority": lambda: certificate(
        create_certificate_authority("foreign-ca", now=NOW), p256(), Shape()
    ),
    "of a foreign authority with our authority's name": lambda: certificate(
        create_certificate_authority("hebei-ca", now=NOW), p256(), Shape()
    ),
    "another validator's name": lambda: hebei(names=("beijing",)),
    "the dialled node's own name": lambda: hebei(names=("tianjin",)),
    "two names": lambda: hebei(names=("hebei", "national")),
    "no name": lambda: hebei(names=()),
    "self-signed": lambda: certificate(None, p256(), Shape()),
    "self-signed as an authority": lambda: certificate(None, p256(), Shape(is_authority=True)),
    "an authority's own": lambda: JURISDICTIONS.authority("hebei"),
    "an authority below an authority": lambda: hebei(is_authority=True),
    "signed by a node": below_a_node,
    "for signing code": lambda: hebei(usage=(ExtendedKeyUsageOID.CODE_SIGNING,)),
    "RSA of 1024 bits": lambda: with_key(rsa.generate_private_key(65_537, 1024)),
    "DSA": lambda: with_key(dsa.generate_private_key(2048)),
    "an odd curve": lambda: with_key(ec.generate_private_key(ec.SECP256K1())),
    "a small curve": lambda: with_key(ec.generate_private_key(ec.SECP192R1())),
}


def context_of(issued: IssuedCertificate, directory: Path, *, server: bool) -> ssl.SSLContext:
    """Return a context that shows this certificate, whatever it is worth, and trusts anybody."""
    chain, key = directory / "shown.crt", directory / "shown.pem"
    chain.write_bytes(issued.certificate_pem)
    key.write_bytes(issued.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if server else client_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(chain, key)
    return context


async def is_let_in(port: int, context: ssl.SSLContext) -> bool:
    """Dial as Hebei, and tell whether the other side says hello."""
    with contextlib.suppress(OSError, EOFError, ValueError):
        async with raw_peer(port, context) as peer, asyncio.timeout(5):
            await peer.write(frame(Hello(CHAIN, "hebei", "validator", 1).encode()))
            await peer.message()
            return True
    return False


async def dial(directory: Path, context: ssl.SSLContext) -> tuple[bool, list[str]]:
    heard = Recorder()
    tianjin = make_network(
        directory,
        "tianjin",
        JURISDICTIONS.authority("tianjin"),
        JURISDICTIONS.membership(),
        heard,
        now=NOW,
    )
    async with running(tianjin):
        return await is_let_in(tianjin.port, context), heard.up


@pytest.mark.row(ROW)
def test_a_good_certificate_of_this_make_opens_a_link(tmp_path: Path) -> None:
    context = context_of(hebei(), tmp_path, server=False)
    assert asyncio.run(dial(tmp_path, context)) == (True, ["hebei"])


@pytest.mark.row(ROW)
@pytest.mark.parametrize("kind", BAD)
def test_who_dials_with_a_bad_certificate_is_refused(tmp_path: Path, kind: str) -> None:
    try:
        context = context_of(BAD[kind](), tmp_path, server=False)
    except ssl.SSLError:
        pytest.skip("this build of OpenSSL cannot even show it")
    assert asyncio.run(dial(tmp_path, context)) == (False, [])


@pytest.mark.row(ROW)
def test_who_dials_without_a_certificate_is_refused(tmp_path: Path) -> None:
    assert asyncio.run(dial(tmp_path, client_context())) == (False, [])


async def answer(directory: Path, context: ssl.SSLContext) -> tuple[bool, list[str]]:
    """Let Tianjin dial a node that shows this certificate; tell whether it says hello, and what links it has had."""
    heard, dialled = Recorder(), asyncio.Event()
    said: list[bytes] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin TLS on a plain connection, so that refusals count as dials; then upgrade, and listen."""
        with contextlib.suppress(OSError, EOFError):
            await writer.start_tls(context)
            request = await reader.readuntil(b"\r\n\r\n")
            key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
            writer.write(SWITCHING % accept_key(key.decode("ascii")).encode("ascii"))
            said.append(await reader.read(65_536))
        dialled.set()
        writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    tianjin = make_network(
        directory,
        "tianjin",
        JURISDICTIONS.authority("tianjin"),
        JURISDICTIONS.membership(),
        heard,
        peers={"hebei": server.sockets[0].getsockname()[1]},
        now=NOW,
    )
    async with server, running(tianjin):
        for _ in range(2):
            dialled.clear()
            await asyncio.wait_for(dialled.wait(), 10)
    return any(one[0] & 0x0F == Opcode.BINARY for one in said if one), heard.up


@pytest.mark.row(ROW)
def test_hello_is_said_to_who_answers_with_a_good_certificate(tmp_path: Path) -> None:
    context = context_of(hebei(), tmp_path, server=True)
    assert asyncio.run(answer(tmp_path, context)) == (True, [])


@pytest.mark.row(ROW)
@pytest.mark.parametrize("kind", BAD)
def test_nothing_is_said_to_who_answers_with_a_bad_certificate(tmp_path: Path, kind: str) -> None:
    try:
        context = context_of(BAD[kind](), tmp_path, server=True)
    except ssl.SSLError:
        pytest.skip("this build of OpenSSL cannot even show it")
    assert asyncio.run(answer(tmp_path, context)) == (False, [])
