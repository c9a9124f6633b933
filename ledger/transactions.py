"""Transactions: `[body bytes, signature]`, body `[chain_id, signer, valid_until, nonce, operations]`.

The id is the hash of the signed bytes, not of the signature, so that a second signature by the same key cannot
make a second transaction. `valid_until` is in milliseconds since the Unix epoch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, cast

from ledger.codec import Value, decode_array, encode
from ledger.errors import DecodeError, InvalidKey
from ledger.limits import MAX_OPERATIONS, MAX_TRANSACTION_BYTES
from ledger.suite import SIGNATURE_BYTES, PublicKey, Signer, Suite, signed_bytes

KIND: Final = "transaction"
NONCE_BYTES: Final = 16
_MAX_KIND_CHARACTERS: Final = 64
_SIGNER: Final = re.compile(r"([a-z0-9]{1,16}):([0-9a-f]{64}|[0-9a-f]{66})", re.ASCII)
"""Any algorithm's key by its form, which is also fit for a state key."""

_KNOWN_SIGNERS: Final = 4_096
"""Keys read last: the same few gateways and officers sign most transactions. Each takes some 300 bytes."""


# Named tuples, not frozen data classes: several of these are made for each transaction, and cost a sixth to make.


class Operation(NamedTuple):
    """One operation: its kind `<module>.<noun>.<verb>` and its body, a map that the kind's model validates."""

    kind: str
    body: Mapping[str, Value]


class Transaction(NamedTuple):
    """A decoded transaction. `raw` is its encoding, `id` the hash that names it everywhere."""

    chain_id: str
    signer: PublicKey
    valid_until_ms: int
    nonce: bytes
    operations: tuple[Operation, ...]
    body: bytes
    signature: bytes
    raw: bytes
    id: bytes

    def verify(self, suite: Suite) -> bool:
        """Tell whether the signature is the signer's."""
        return suite.verify(self.signer, signed_bytes(KIND, self.body), self.signature)


def sign_transaction(
    suite: Suite,
    signer: Signer,
    chain_id: str,
    operations: Sequence[Operation],
    *,
    valid_until_ms: int,
    nonce: bytes,
) -> Transaction:
    """Build and sign a transaction. `nonce` is 16 random bytes."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce has {NONCE_BYTES} bytes")
    body = encode(
        (
            chain_id,
            str(signer.public_key),
            valid_until_ms,
            nonce,
            tuple((operation.kind, operation.body) for operation in operations),
        )
    )
    return decode_transaction(suite, encode((body, signer.sign(signed_bytes(KIND, body)))))


def decode_transaction(suite: Suite, raw: bytes) -> Transaction:
    """Decode a transaction; the signature is not verified here.

    Raises:
        DecodeError: not a transaction, or beyond the limits on size and number of operations.
    """
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise DecodeError(f"transaction of {len(raw)} bytes, at most {MAX_TRANSACTION_BYTES}")
    body, signature = decode_array(raw, 2)
    if type(body) is not bytes or type(signature) is not bytes or len(signature) != SIGNATURE_BYTES:
        raise DecodeError("a transaction is [body bytes, 64-byte signature]")
    chain_id, signer, valid_until_ms, nonce, operations = decode_array(body, 5)
    if type(chain_id) is not str or type(signer) is not str:
        raise DecodeError("chain id and signer are strings")
    if type(valid_until_ms) is not int or valid_until_ms < 0:
        raise DecodeError("valid_until is a time in milliseconds")
    if type(nonce) is not bytes or len(nonce) != NONCE_BYTES:
        raise DecodeError(f"a nonce has {NONCE_BYTES} bytes")
    if type(operations) is not tuple or not 1 <= len(operations) <= MAX_OPERATIONS:
        raise DecodeError(f"a transaction has 1 to {MAX_OPERATIONS} operations")
    try:
        key = _parse_key(signer)
    except InvalidKey as error:
        raise DecodeError(str(error)) from None
    return Transaction(
        chain_id,
        key,
        valid_until_ms,
        nonce,
        tuple([_decode_operation(operation) for operation in operations]),
        body,
        signature,
        raw,
        suite.hash(KIND, body),
    )


@lru_cache(maxsize=_KNOWN_SIGNERS)
def _parse_key(text: str) -> PublicKey:
    """Read a signer's key by form only: an ill-made key cannot be registered, so it never signs anything."""
    match = _SIGNER.fullmatch(text)
    if match is None:
        raise InvalidKey("signer is not a public key")
    return PublicKey(match[1], bytes.fromhex(match[2]))


def _decode_operation(value: Value) -> Operation:
    if type(value) is not tuple or len(value) != 2:
        raise DecodeError("an operation is [kind, body]")
    kind, body = value
    if type(kind) is not str or not 1 <= len(kind) <= _MAX_KIND_CHARACTERS or not kind.isascii():
        raise DecodeError("an operation's kind is a short ASCII string")
    if type(body) is not dict:
        raise DecodeError("an operation's body is a map")
    return Operation(kind, cast("Mapping[str, Value]", body))
