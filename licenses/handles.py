"""Handles and commitments: how the ledger names a license and its holder without knowing either.

A handle is the hash of a 32-byte salt and the license's identifier; who lacks the salt cannot get
from one to the other, and destroying the salt cuts the link for good. A holder commitment does the
same for the holder's key. The two salts are different: a use opens the holder commitment on the
ledger, which must not help anyone to guess the identifier behind the handle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ledger.codec import Value, encode
from ledger.suite import HASH_BYTES, PublicKey, Suite

SALT_BYTES: Final = 32

HANDLE_KIND: Final = "license-handle"
HOLDER_KIND: Final = "holder-commitment"
CREDENTIAL_KIND: Final = "credential"
DETAILS_KIND: Final = "request-details"
USE_CHAIN_KIND: Final = "license-use"


def license_handle(suite: Suite, salt: bytes, identifier: str) -> bytes:
    """Return the 32-byte handle of a license: `H([salt, identifier])`.

    `identifier` is the GB/T 36904 identifier, or any other text that names the license at its
    issuer.

    Raises:
        ValueError: the salt has not 32 bytes, or the identifier is empty.
    """
    if not identifier:
        raise ValueError("a license has an identifier")
    return _salted(suite, HANDLE_KIND, salt, identifier)


def holder_commitment(suite: Suite, salt: bytes, key: PublicKey) -> bytes:
    """Return the 32-byte commitment to a holder's key: `H([salt, key])`."""
    return _salted(suite, HOLDER_KIND, salt, str(key))


def details_commitment(suite: Suite, salt: bytes, details: Mapping[str, str]) -> bytes:
    """Return the 32-byte commitment to the details of a request, which stay off the ledger."""
    return _salted(suite, DETAILS_KIND, salt, dict(details))


def credential_digest(suite: Suite, issuer_signed: str) -> bytes:
    """Return the 32-byte digest of the issuer-signed JWT (compact form, ASCII, without
    disclosures)."""
    return suite.hash(CREDENTIAL_KIND, encode(issuer_signed))


def document_digest(suite: Suite, document: bytes) -> bytes:
    """Return the 32-byte digest of a document file that belongs to a license."""
    return suite.hash("license-document", encode(suite.digest(document)))


def chained_use(
    suite: Suite, previous: bytes | None, number: int, use_id: bytes, transaction_id: bytes
) -> bytes:
    """Return the head of a license's chain of uses after use `number` (from 1): `H([previous,
    number, …])`."""
    return suite.hash(USE_CHAIN_KIND, encode((previous, number, use_id, transaction_id)))


def _salted(suite: Suite, kind: str, salt: bytes, content: Value) -> bytes:
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes")
    digest = suite.hash(kind, encode((salt, content)))
    assert len(digest) == HASH_BYTES
    return digest
