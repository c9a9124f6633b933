"""What `mulu node init` and `mulu node renew` are given of others – CA, genesis, policy – and what does not fit."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from cli.main import run
from cli.network_setup import create_network
from node.certificates import create_certificate_authority

NOW = datetime.datetime.fromtimestamp(time.time(), tz=datetime.UTC)

Told = Callable[..., str]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("network") / "home"
    create_network(home)
    return home


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Run a command line and return what it says to people, which its exit code goes with."""

    def tell(*words: object, expect: int = 0) -> str:
        capsys.readouterr()
        code = run([str(word) for word in words])
        out, err = capsys.readouterr()
        assert code == expect, out + err
        return " ".join((out + err).split())

    return tell


def init_words(directory: Path, home: Path, authority: Path, **other: Path) -> tuple[object, ...]:
    genesis = other.get("genesis", directory / "genesis.json")
    policy = other.get("policy", directory / "policy.txt")
    return (
        *("node", "init", home, "--name", "baoding", "--genesis", genesis, "--policy", policy),
        *("--authority", authority),
    )


def save_authority(path: Path, key: Any, *, passphrase: bytes = b"", signer: Any = None) -> Path:
    """Save a CA of this key, whoever has made it with which program; return its key's path."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "baoding-ca")])
    signer = signer or key
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(signer.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else SHA256())
    )
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    path.with_suffix(".crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    return path


def new_authority(path: Path) -> Path:
    made = create_certificate_authority("baoding-ca", now=NOW)
    path.write_bytes(made.key_pem)
    path.with_suffix(".crt").write_bytes(made.certificate_pem)
    return path


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


UNFIT: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "Ed25519": (
        lambda: {"key": ed25519.Ed25519PrivateKey.generate()},
        "its key must be ECDSA P-256",
    ),
    "RSA": (lambda: {"key": rsa.generate_private_key(65537, 2048)}, "its key must be ECDSA P-256"),
    "P-384": (
        lambda: {"key": ec.generate_private_key(ec.SECP384R1())},
        "its key must be ECDSA P-256",
    ),
    "encrypted": (lambda: {"key": p256(), "passphrase": b"a long one"}, "its key has a passphrase"),
    "another's": (lambda: {"key": p256(), "signer": p256()}, "the certificate is of another key"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_an_authority_that_cannot_issue_is_wrong_input_and_how_another_is_made_is_told(
    case: str, directory: Path, tmp_path: Path, told: Told
) -> None:
    made, why = UNFIT[case]
    authority = save_authority(tmp_path / "ca.pem", **made())
    for words in (
        init_words(directory, tmp_path / "node", authority),
        ("node", "renew", directory / "nodes" / "hebei", "--authority", authority),
    ):
        text = told(*words, expect=2)
        assert why in text
        assert ("openssl req -x509 -newkey ec" in text) is ("P-256" in why)
    assert not (tmp_path / "node").exists()


def test_a_certificate_is_renewed_by_another_authority_only_where_an_option_says_so(
    directory: Path, told: Told
) -> None:
    home = directory / "nodes" / "beijing"
    certificate = home / "keys" / "tls.crt"
    before = certificate.read_bytes()
    own, foreign = (directory / "authorities" / f"{name}.pem" for name in ("beijing", "hebei"))
    refused = told("node", "renew", home, "--authority", foreign, expect=2)
    assert f"{foreign} is another CA than the one that issued {certificate}" in refused
    assert "--another-authority" in refused
    assert certificate.read_bytes() == before
    told("node", "renew", home, "--authority", own)
    assert certificate.read_bytes() != before
    told("node", "renew", home, "--authority", foreign, "--another-authority")
    told("node", "renew", home, "--authority", own, "--another-authority")


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_certificate_that_is_missing_or_damaged_is_renewed(
    content: bytes | None, directory: Path, told: Told
) -> None:
    certificate = directory / "nodes" / "tianjin" / "keys" / "tls.crt"
    certificate.unlink()
    if content is not None:
        certificate.write_bytes(content)
    authority = directory / "authorities" / "tianjin.pem"
    told("node", "renew", directory / "nodes" / "tianjin", "--authority", authority)
    assert certificate.read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")


def test_a_genesis_and_a_policy_of_different_chains_are_refused(
    directory: Path, tmp_path: Path, told: Told
) -> None:
    create_network(tmp_path / "other", name="other")
    words = init_words(
        directory,
        tmp_path / "node",
        directory / "authorities" / "hebei.pem",
        policy=tmp_path / "other" / "policy.txt",
    )
    text = told(*words, expect=2)
    assert f"{tmp_path / 'other' / 'policy.txt'} is the policy of other-" in text
    assert "but genesis is that of sample-" in text
    assert not (tmp_path / "node").exists()


def test_what_is_no_policy_is_refused(directory: Path, tmp_path: Path, told: Told) -> None:
    (tmp_path / "policy.txt").write_bytes(b"\xff")
    authority = directory / "authorities" / "hebei.pem"
    words = init_words(directory, tmp_path / "node", authority, policy=tmp_path / "policy.txt")
    assert f"{tmp_path / 'policy.txt'} is not a policy file" in told(*words, expect=2)


@pytest.mark.parametrize("named", [True, False])
def test_who_joins_is_told_where_genesis_does_not_name_the_authority(
    named: bool, directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = directory / "authorities" / "hebei.pem"
    authority = own if named else new_authority(tmp_path / "ca.pem")
    words = init_words(directory, tmp_path / "node", authority)
    assert run([*(str(word) for word in words), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["authority_in_genesis"] is named
    assert ("the other nodes refuse this one" in " ".join(err.split())) is not named
