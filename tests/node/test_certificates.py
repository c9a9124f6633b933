"""Certificates of nodes and their authorities."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.certificates import (
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

NOW = datetime.datetime.fromtimestamp(1_790_000_000, tz=datetime.UTC)
BEIJING = create_certificate_authority("beijing-ca", now=NOW)
HEBEI = create_certificate_authority("hebei-ca", now=NOW)
TRUSTED = (
    TrustedAuthority("hebei-ca", "H", HEBEI.certificate_der),
    TrustedAuthority("beijing-ca", "B", BEIJING.certificate_der),
)


def test_a_certificate_tells_node_authority_and_controller() -> None:
    issued = issue_node_certificate(BEIJING, "beijing", now=NOW)
    identity = identify(issued.certificate_der, TRUSTED)
    assert (identity.name, identity.authority, identity.controller) == (
        "beijing",
        "beijing-ca",
        "B",
    )


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
    assert usable_authorities((broken, *TRUSTED)) == (TRUSTED, ("a",))
    issued = issue_node_certificate(BEIJING, "beijing", now=NOW)
    with pytest.raises(InvalidCertificate):
        identify(issued.certificate_der, (broken,))


def test_who_registers_anothers_authority_or_subject_cuts_nobody_off() -> None:
    impostor = create_certificate_authority("beijing-ca", now=NOW)
    copies = (
        TrustedAuthority("a-copy", "X", BEIJING.certificate_der),
        TrustedAuthority("a-double", "X", impostor.certificate_der),
    )
    usable, left_out = usable_authorities((*TRUSTED, *copies))
    assert (usable, left_out) == (TRUSTED, ("a-copy", "a-double"))
    issued = issue_node_certificate(BEIJING, "beijing", now=NOW)
    assert identify(issued.certificate_der, usable).controller == "B"
    renewed = TrustedAuthority("beijing-ca-2", "B", impostor.certificate_der)
    assert usable_authorities((*TRUSTED, renewed))[1] == ()


def test_the_expiry_is_told() -> None:
    issued = issue_node_certificate(HEBEI, "hebei", now=NOW, lifetime_days=10)
    expected = NOW + datetime.timedelta(days=10)
    assert expires_ms(issued.certificate_der) == expected.timestamp() * 1000
    with pytest.raises(InvalidCertificate):
        expires_ms(b"no certificate")
