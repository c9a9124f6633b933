"""Certificates of nodes and their authorities."""

from __future__ import annotations

import datetime
import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtensionOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from ledger.keys import SoftwareSigner
from ledger.validators import Validator, ValidatorSet
from node.certificates import (
    IssuedCertificate,
    TrustedAuthority,
    certificate_der,
    create_certificate_authority,
    expires_ms,
    identify,
    issue_node_certificate,
    pem_bundle,
    usable_authorities,
)
from node.errors import InvalidCertificate
from node.peers import Membership

NOW = datetime.datetime.fromtimestamp(int(time.time()), tz=datetime.UTC)
BEIJING = create_certificate_authority("beijing-ca", now=NOW)
HEBEI = create_certificate_authority("hebei-ca", now=NOW)
TRUSTED = (
    TrustedAuthority("hebei-ca", "H", HEBEI.certificate_der),
    TrustedAuthority("beijing-ca", "B", BEIJING.certificate_der),
)


def test_a_certificate_tells_node_authority_and_controller() -> None:
    issued = issue_node_certificate(BEIJING, "beijing", now=NOW)
    identity = identify(issued.certificate_der, TRUSTED)
    assert (identity.name, identity.authorities) == ("beijing", (TRUSTED[1],))
    assert identity.controllers == {"B"}


def test_an_authority_of_the_same_name_with_another_key_is_not_trusted() -> None:
    impostor = create_certificate_authority("beijing-ca", now=NOW)
    issued = issue_node_certificate(impostor, "beijing", now=NOW)
    with pytest.raises(InvalidCertificate, match="none of the known"):
        identify(issued.certificate_der, TRUSTED)


@given(st.binary(max_size=200))
def test_random_bytes_are_no_certificate(data: bytes) -> None:
    with pytest.raises(InvalidCertificate):
        identify(data, TRUSTED)
    with pytest.raises(InvalidCertificate):
        certificate_der(data)


def with_alternative_names(encoded: bytes, name: str = "beijing") -> bytes:
    """Return a certificate of beijing's authority (DER), with these bytes for its alternative names."""
    issuer = x509.load_pem_x509_certificate(BEIJING.certificate_pem)
    issuer_key = load_pem_private_key(BEIJING.key_pem, password=None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    names = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, encoded)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name, _validate=False)]))
        .issuer_name(issuer.subject)
        .public_key(issuer_key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_certificate_with_a_name_of_a_kind_that_nobody_reads_is_refused() -> None:
    """OpenSSL takes it; an error of another kind would end the node that is dialled, and the one that dials."""
    party_name = bytes.fromhex("3007a505a1030c0161")
    with pytest.raises(InvalidCertificate):
        identify(with_alternative_names(party_name), TRUSTED)


@pytest.mark.filterwarnings("ignore:Attribute's length")
def test_a_name_longer_than_names_may_be_is_refused() -> None:
    certificate = with_alternative_names(bytes.fromhex("300382016e"), "n" * 15_000)
    with pytest.raises(InvalidCertificate, match="too long"):
        identify(certificate, TRUSTED)


def test_openssl_takes_certificate_key_and_authorities(tmp_path: Path) -> None:
    issued = issue_node_certificate(HEBEI, "hebei", now=NOW)
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.pem"
    certificate.write_bytes(issued.certificate_pem)
    key.write_bytes(issued.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(cadata=pem_bundle(TRUSTED))
    assert len(context.get_ca_certs()) == 2


@pytest.mark.parametrize(
    "certificate",
    [b"x", b"\x30\x00", BEIJING.certificate_der[:-1], BEIJING.certificate_der + b"\0"],
)
def test_a_registered_certificate_that_is_none_is_left_out_and_stops_nothing(
    certificate: bytes,
) -> None:
    broken = TrustedAuthority("a", "X", certificate)
    usable, left_out = usable_authorities((broken, *TRUSTED))
    assert (usable, left_out.keys()) == (TRUSTED, {"a"})
    issued = issue_node_certificate(BEIJING, "beijing", now=NOW)
    with pytest.raises(InvalidCertificate):
        identify(issued.certificate_der, (broken,))


def registered(
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    *extensions: x509.ExtensionType,
    subject: str = "beijing-ca",
) -> bytes:
    """Return an authority's certificate (DER) as somebody else may make it: any subject, any extensions."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=3_650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


BEIJINGS = x509.load_pem_x509_certificate(BEIJING.certificate_pem)
BEIJINGS_KEY = BEIJINGS.public_key()
assert isinstance(BEIJINGS_KEY, ec.EllipticCurvePublicKey)
BEIJINGS_ID = x509.SubjectKeyIdentifier.from_public_key(BEIJINGS_KEY)
ROGUE = ec.generate_private_key(ec.SECP256R1())
ROGUES_KEY = ROGUE.public_key()
ROGUES_ID = x509.SubjectKeyIdentifier.from_public_key(ROGUES_KEY)
NOWHERE = x509.NameConstraints([x509.DNSName("nowhere")], None)
FOREIGN = {
    "the same subject": registered(ROGUES_KEY, ROGUE, ROGUES_ID),
    "the same certificate": BEIJING.certificate_der,
    "the same subject, and no key identifier": registered(ROGUES_KEY, ROGUE),
    "the same subject and key identifier": registered(ROGUES_KEY, ROGUE, BEIJINGS_ID),
    "a subject that OpenSSL takes for the same": registered(
        ROGUES_KEY, ROGUE, BEIJINGS_ID, subject="Beijing-CA"
    ),
    "the same key, for no name": registered(BEIJINGS_KEY, ROGUE, BEIJINGS_ID, NOWHERE),
}
"""What another organisation may register to cut Beijing's links, or to pass for Beijing."""

HARMLESS = ("the same subject", "the same certificate")


def shakes_hands(directory: Path, shown: IssuedCertificate, trusted: str) -> bool:
    """Let a server that trusts `trusted` (PEM) and a client that does show each other one certificate."""
    certificate, key = directory / "tls.crt", directory / "tls.pem"
    certificate.write_bytes(shown.certificate_pem)
    key.write_bytes(shown.key_pem)
    ends = []
    pipes = (ssl.MemoryBIO(), ssl.MemoryBIO())
    for protocol, incoming, outgoing in (
        (ssl.PROTOCOL_TLS_CLIENT, *pipes),
        (ssl.PROTOCOL_TLS_SERVER, *reversed(pipes)),
    ):
        context = ssl.SSLContext(protocol)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(cadata=trusted)
        server_side = protocol == ssl.PROTOCOL_TLS_SERVER
        ends.append(context.wrap_bio(incoming, outgoing, server_side=server_side))
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return all(end.getpeercert(binary_form=True) for end in ends)


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("first", [True, False], ids=["registered before", "registered after"])
def test_whatever_another_registers_a_nodes_certificate_opens_links_for_it_alone(
    tmp_path: Path, kind: str, *, first: bool
) -> None:
    foreign, own = TrustedAuthority("a", "X", FOREIGN[kind]), TRUSTED[1]
    usable, left_out = usable_authorities((foreign, own) if first else (own, foreign))
    assert own in usable
    assert (not left_out) == (kind in HARMLESS)
    issued = issue_node_certificate(BEIJING, "beijing", now=NOW)
    assert shakes_hands(tmp_path, issued, pem_bundle(usable))
    assert "B" in identify(issued.certificate_der, usable).controllers


@pytest.mark.parametrize("kind", sorted(FOREIGN.keys() - set(HARMLESS)))
def test_openssl_takes_what_is_left_out_for_the_issuer_of_anothers_nodes(
    tmp_path: Path, kind: str
) -> None:
    issued = issue_node_certificate(BEIJING, "beijing", now=NOW)
    both = (TrustedAuthority("a", "X", FOREIGN[kind]), TRUSTED[1])
    assert not shakes_hands(tmp_path, issued, pem_bundle(both))


def test_an_authority_is_replaced_under_the_same_subject_whoever_waits_with_it() -> None:
    renewed = create_certificate_authority("beijing-ca", now=NOW)
    waiting = TrustedAuthority("a", "X", FOREIGN["the same subject"])
    later = TrustedAuthority("beijing-ca-2", "B", renewed.certificate_der)
    assert usable_authorities((TRUSTED[1], waiting, later))[1] == {}
    usable, left_out = usable_authorities((waiting, later))
    assert left_out == {}, "the old one is revoked"
    issued = issue_node_certificate(renewed, "beijing", now=NOW)
    assert identify(issued.certificate_der, usable).controllers == {"B"}


def a_set(controller: str) -> ValidatorSet:
    keys = (SoftwareSigner.generate().public_key for _ in range(3))
    return ValidatorSet.of([Validator("beijing", controller, *keys)])


def test_a_validators_name_counts_only_under_an_authority_that_its_controller_registered() -> None:
    issued = issue_node_certificate(BEIJING, "beijing", now=NOW).certificate_der
    copy = TrustedAuthority("a", "X", BEIJING.certificate_der)
    configured = TrustedAuthority("ca.pem", "", BEIJING.certificate_der)
    admitted = Membership((copy, *TRUSTED), a_set("B")).admit(issued)
    assert admitted.controllers == {"X", "B"}
    with pytest.raises(InvalidCertificate, match="certified by hebei-ca"):
        shown = issue_node_certificate(HEBEI, "beijing", now=NOW).certificate_der
        Membership((copy, *TRUSTED), a_set("B")).admit(shown)
    with pytest.raises(InvalidCertificate, match="certified by beijing-ca"):
        Membership((*TRUSTED, configured), a_set("H")).admit(issued)
    assert Membership((configured,), a_set("H")).admit(issued).controllers == frozenset()


def test_the_expiry_is_told() -> None:
    issued = issue_node_certificate(HEBEI, "hebei", now=NOW, lifetime_days=10)
    expected = NOW + datetime.timedelta(days=10)
    assert expires_ms(issued.certificate_der) == expected.timestamp() * 1000
    with pytest.raises(InvalidCertificate):
        expires_ms(b"no certificate")
