"""What `mulu tx send` makes of a file of operations before and after it is sent."""

from __future__ import annotations

import datetime
import json
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cli.main import run
from cli.tx import read_operations
from node.certificates import create_certificate_authority, issue_node_certificate

NOW = datetime.datetime.fromtimestamp(time.time(), tz=datetime.UTC)
AUTHORITY = create_certificate_authority("baoding-ca", now=NOW)


def registration(tmp_path: Path, certificate: bytes) -> Path:
    file = tmp_path / "operations.json"
    body = {"name": "baoding-ca", "certificate": certificate.hex()}
    operation = {"kind": "ledger.certificate_authority.register", "body": body}
    file.write_text(json.dumps([operation]))
    return file


UNUSABLE: dict[str, tuple[bytes, str]] = {
    "any bytes": (b"\x00\x01", "it cannot be read"),
    "PEM": (AUTHORITY.certificate_pem, "it is PEM"),
    "more behind it": (AUTHORITY.certificate_der + b"\x00", "it cannot be read"),
    "a node's": (
        issue_node_certificate(AUTHORITY, "baoding", now=NOW).certificate_der,
        "it is not signed with its own key",
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_certificate_that_no_node_can_use_is_not_registered(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate, why = UNUSABLE[case]
    file = registration(tmp_path, certificate)
    assert run(["tx", "send", str(file), "--node", "http://127.0.0.1:1"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"operation 0: the certificate is not a CA's that nodes can use: {why}" in told
    assert "openssl x509 -in ca.crt -outform DER | xxd -p -c0" in told


def test_an_authority_s_own_certificate_is_sent_as_der(tmp_path: Path) -> None:
    (operation,) = read_operations(registration(tmp_path, AUTHORITY.certificate_der))
    assert isinstance(operation.body["certificate"], bytes)
    sent = x509.load_der_x509_certificate(operation.body["certificate"])
    assert sent.public_bytes(Encoding.PEM) == AUTHORITY.certificate_pem
