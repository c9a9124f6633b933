"""A jurisdiction's certificate authority as commands are given it: its key (PEM) and, beside it, its .crt."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Final

from cli.output import CommandError, error_console, printable
from cli.validation import read_bytes
from ledger.genesis import Genesis
from node.certificates import (
    WRONG_KIND_OF_KEY,
    IssuedCertificate,
    authority_key_problem,
    authority_problem,
    has_issued,
    issue_node_certificate,
    same_key,
)
from node.errors import InvalidCertificate
from node.home import MAX_TLS_FILE_BYTES

_MAKE: Final = (
    "Make another, and register it: openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 "
    "-subj /CN=NAME-ca -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.pem -out ca.crt"
)

_GIVE: Final = "Give the CA's key, PEM without passphrase; its certificate lies beside it as .crt."


def read_authority(path: Path) -> IssuedCertificate:
    """Read a CA whose key is in `path`.

    Raises:
        CommandError: a file cannot be read, or nodes' certificates cannot be issued with them.
    """
    authority = IssuedCertificate(read_bytes(path.with_suffix(".crt")), read_bytes(path))
    problem = authority_key_problem(authority)
    if problem is not None:
        hint = _MAKE if problem == WRONG_KIND_OF_KEY else _GIVE
        raise CommandError(f"{path} and its .crt are no CA for nodes: {problem}", hint=hint)
    return authority


def issue(authority: IssuedCertificate, name: str, host: str, days: int) -> IssuedCertificate:
    """Issue the certificate of a node that listens on `host`.

    Raises:
        CommandError: no certificate can say that.
    """
    hosts = tuple(dict.fromkeys((host, "127.0.0.1", "localhost")))
    now = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
    try:
        return issue_node_certificate(authority, name, hosts=hosts, now=now, lifetime_days=days)
    except ValueError as error:
        raise CommandError(f"no certificate of {name} can be issued: {error}") from None


def require_same_authority(authority: IssuedCertificate, path: Path, present: Path) -> None:
    """Check that the CA of `path` issued a node's present certificate: others may belong to another member.

    Where that certificate is missing or damaged, which renewing mends, nobody can tell.

    Raises:
        CommandError: another has issued it.
    """
    if not present.exists():
        return
    try:
        same = has_issued(authority, read_bytes(present, MAX_TLS_FILE_BYTES))
    except InvalidCertificate:
        return
    if not same:
        raise CommandError(
            f"{path} is another CA than the one that issued {present}",
            hint="Peers refuse a node whose CA is not on the ledger, and count it to whoever registered the CA. "
            "Give the CA that issued it; where yours has been replaced, register the new one, and add "
            "--another-authority.",
            code="another_authority",
        )


def warn_unless_named(authority: IssuedCertificate, genesis: Genesis) -> bool:
    """Return whether genesis names a CA, by its key; where it does not, say on standard error what that may mean.

    It is no error: a jurisdiction that joins later has its CA registered on the ledger, which is not asked here.
    """
    if any(
        same_key(authority.certificate_der, one.certificate)
        for one in genesis.certificate_authorities
    ):
        return True
    error_console().print(
        printable(
            "warning: genesis does not name this CA: until it is on the ledger, the other nodes refuse this one. "
            "A governor registers it: docs/OPERATING.md, Join."
        ),
        markup=False,
    )
    return False


def check_registration(certificate: bytes, where: str) -> None:
    """Check a certificate that shall be registered: the ledger takes any bytes, and keeps them.

    Raises:
        CommandError: nodes would leave it out.
    """
    problem = authority_problem(certificate)
    if certificate.startswith(b"-----BEGIN"):
        problem = "it is PEM"
    if problem is not None:
        raise CommandError(
            f"{where}: the certificate is not a CA's that nodes can use: {problem}",
            hint="Give the CA's own certificate, DER in hex: openssl x509 -in ca.crt -outform DER | xxd -p -c0",
        )
