"""X.509 for links between nodes: one certificate authority a jurisdiction, one certificate a node.

A node's certificate names its node id as common name and as DNS name. Authorities sign with path length 0 and may
issue nothing but nodes' certificates. Keys are ECDSA P-256, which every TLS 1.3 stack has.

An authority is known by its key, never by its subject: anybody may register a certificate with any subject. OpenSSL,
though, looks for an issuer by subject and key identifier, and takes the first that fits; so only certificates whose
key identifier nobody else can have are given to it (`authority_problem`).
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.errors import InvalidCertificate

AUTHORITY_LIFETIME_DAYS: Final = 3_650
NODE_LIFETIME_DAYS: Final = 825
"""Longest lifetime that common TLS stacks accept for a leaf certificate."""

MAX_NAME_CHARACTERS: Final = 64
"""Of a common name (RFC 5280, appendix A.1); neither TLS nor the library that reads certificates holds to it."""

WRONG_KIND_OF_KEY: Final = "its key must be ECDSA P-256"
"""Why a certificate authority cannot issue nodes' certificates, and another one must be made."""

_UNREADABLE: Final = (
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    InternalError,
)
"""What the library raises besides ValueError over bytes that are no certificate, or an odd one."""

_BACKDATED: Final = datetime.timedelta(hours=1)
"""A certificate is valid a little before its issue, so that a slow clock does not refuse it."""


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate and its private key, both PEM. The key is unencrypted: store it with mode 0600."""

    certificate_pem: bytes
    key_pem: bytes

    @property
    def certificate_der(self) -> bytes:
        return x509.load_pem_x509_certificate(self.certificate_pem).public_bytes(Encoding.DER)


@dataclass(frozen=True, slots=True)
class TrustedAuthority:
    """A certificate authority that links may chain to. `controller` is the USCC of the authority that runs it."""

    name: str
    controller: str
    certificate: bytes
    """DER."""


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Who a certificate says is at the other end, and which authorities vouch for that.

    `authorities` are all whose key has signed the certificate: one, unless others have registered a copy of it.
    """

    name: str
    authorities: tuple[TrustedAuthority, ...]
    expires_ms: int

    @property
    def controllers(self) -> frozenset[str]:
        """The organisations that registered such an authority; none if only the configuration names it."""
        return frozenset(one.controller for one in self.authorities if one.controller)


def create_certificate_authority(
    name: str, *, now: datetime.datetime, lifetime_days: int = AUTHORITY_LIFETIME_DAYS
) -> IssuedCertificate:
    """Create a certificate authority's key and self-signed certificate. `now` is an aware UTC time."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = (
        _builder(subject, subject, key, now, lifetime_days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(certificate_sign=True), critical=True)
    )
    return _issued(builder.sign(key, hashes.SHA256()), key)


def issue_node_certificate(
    authority: IssuedCertificate,
    node: str,
    *,
    hosts: Sequence[str] = ("127.0.0.1", "localhost"),
    now: datetime.datetime,
    lifetime_days: int = NODE_LIFETIME_DAYS,
) -> IssuedCertificate:
    """Issue the certificate of `node` under `authority`, with a new key. `hosts` are DNS names or IP addresses.

    Of an authority that others made, `authority_key_problem` has been asked.
    """
    issuer = x509.load_pem_x509_certificate(authority.certificate_pem)
    issuer_key = load_pem_private_key(authority.key_pem, password=None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([_general_name(host) for host in (node, *hosts)])
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        _builder(_name(node), issuer.subject, key, now, lifetime_days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(certificate_sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .add_extension(names, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    return _issued(builder.sign(issuer_key, hashes.SHA256()), key)


def identify(certificate: bytes, authorities: Iterable[TrustedAuthority]) -> NodeIdentity:
    """Return whom a peer's certificate (DER) names, after finding whose authority has issued it, by the signature.

    TLS has verified chain and validity already; this binds the node's name to those who registered the issuer's key.

    Raises:
        InvalidCertificate: malformed, without exactly one name, an authority's own, or issued by none of
            `authorities`.
    """
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        names = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        authority_itself = _is_authority(parsed)
    except (ValueError, *_UNREADABLE):
        raise InvalidCertificate("the certificate cannot be read") from None
    if authority_itself:
        raise InvalidCertificate("the certificate is an authority's, not a node's")
    if len(names) != 1 or not isinstance(names[0].value, str):
        raise InvalidCertificate("the certificate does not name exactly one node")
    if len(names[0].value) > MAX_NAME_CHARACTERS:
        raise InvalidCertificate("the certificate's name is too long")
    issuers = tuple(authority for authority in authorities if _issued_by(parsed, authority))
    if not issuers:
        raise InvalidCertificate("the certificate was issued by none of the known authorities")
    return NodeIdentity(names[0].value, issuers, _expires_ms(parsed))


def _expires_ms(certificate: x509.Certificate) -> int:
    return int(certificate.not_valid_after_utc.timestamp() * 1000)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _issued_by(certificate: x509.Certificate, authority: TrustedAuthority) -> bool:
    try:
        certificate.verify_directly_issued_by(x509.load_der_x509_certificate(authority.certificate))
    except (InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion, ValueError, TypeError):
        return False
    return True


def usable_authorities(
    registered: Iterable[TrustedAuthority],
) -> tuple[tuple[TrustedAuthority, ...], dict[str, str]]:
    """Return the authorities that links may chain to, and why others are left out, by their names.

    The ledger takes any bytes for a certificate: whether they are one is nothing that all validators' libraries agree
    on for ever. So what is no authority's certificate is left out here, where it must not stop a node.
    """
    usable: list[TrustedAuthority] = []
    left_out: dict[str, str] = {}
    for one in registered:
        problem = authority_problem(one.certificate)
        if problem is None:
            usable.append(one)
        else:
            left_out[one.name] = problem
    return tuple(usable), left_out


def authority_problem(certificate: bytes) -> str | None:
    """Say why no link may chain to a certificate (DER) that is registered for an authority, or None.

    It must be signed with its own key, so that nobody else can make one for that key; and its key identifier must be
    the key's hash (RFC 5280 section 4.2.1.2, the first method), so that no other key has it. OpenSSL would else take
    a certificate of the same subject for the issuer of another authority's nodes, and end their links.
    """
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        if parsed.issuer != parsed.subject:
            return "it is not signed with its own key"
        parsed.verify_directly_issued_by(parsed)
        identifier = parsed.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate)
        if identifier != x509.SubjectKeyIdentifier.from_public_key(parsed.public_key()):
            return "its key identifier is not the hash of its key"
    except (InvalidSignature, TypeError):
        return "it is not signed with its own key"
    except x509.ExtensionNotFound:
        return "it has no key identifier"
    except (ValueError, UnsupportedAlgorithm, ssl.SSLError, *_UNREADABLE) as error:
        return f"it cannot be read: {error}"
    return None


def authority_key_problem(authority: IssuedCertificate) -> str | None:
    """Say why an authority cannot issue nodes' certificates, or None: its key must be ECDSA P-256, and its own."""
    try:
        certificate = x509.load_pem_x509_certificate(authority.certificate_pem)
        key = load_pem_private_key(authority.key_pem, password=None)
        if not (
            isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
        ):
            return WRONG_KIND_OF_KEY
        if certificate.public_key() != key.public_key():
            return "the certificate is of another key"
    except TypeError:
        return "its key has a passphrase; it must be given without"
    except (ValueError, UnsupportedAlgorithm, *_UNREADABLE) as error:
        return f"it cannot be read: {error}"
    return None


def same_key(first: bytes, second: bytes) -> bool:
    """Tell whether two certificates (DER) are of one key; one that cannot be read has none."""
    try:
        keys = [x509.load_der_x509_certificate(one).public_key() for one in (first, second)]
    except (ValueError, UnsupportedAlgorithm, *_UNREADABLE):
        return False
    return keys[0] == keys[1]


def has_issued(authority: IssuedCertificate, certificate_pem: bytes) -> bool:
    """Tell whether an authority's key has signed a certificate, whatever subject either names.

    Raises:
        InvalidCertificate: the certificate cannot be read.
    """
    key = x509.load_pem_x509_certificate(authority.certificate_pem).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        algorithm = certificate.signature_hash_algorithm
        if algorithm is None:  # Ed25519
            return False
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(algorithm))
    except InvalidSignature:
        return False
    except (ValueError, UnsupportedAlgorithm, *_UNREADABLE):
        raise InvalidCertificate("the certificate cannot be read") from None
    return True


def pem_bundle(authorities: Iterable[TrustedAuthority]) -> str:
    """Return the authorities' certificates as one PEM text, for a TLS context."""
    return "".join(
        x509.load_der_x509_certificate(authority.certificate)
        .public_bytes(Encoding.PEM)
        .decode("ascii")
        for authority in authorities
    )


def expires_ms(certificate: bytes) -> int:
    """Return when a certificate (DER) stops being valid, in milliseconds since the epoch.

    Raises:
        InvalidCertificate: it cannot be read.
    """
    try:
        parsed = x509.load_der_x509_certificate(certificate)
    except (ValueError, x509.InvalidVersion):
        raise InvalidCertificate("the certificate cannot be read") from None
    return _expires_ms(parsed)


def certificate_der(certificate_pem: bytes) -> bytes:
    """Return a PEM certificate as DER.

    Raises:
        InvalidCertificate: it cannot be read.
    """
    try:
        return x509.load_pem_x509_certificate(certificate_pem).public_bytes(Encoding.DER)
    except ValueError:
        raise InvalidCertificate("the certificate cannot be read") from None


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    lifetime_days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=lifetime_days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _issued(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> IssuedCertificate:
    return IssuedCertificate(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, certificate_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificate_sign,
        key_cert_sign=certificate_sign,
        crl_sign=certificate_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
