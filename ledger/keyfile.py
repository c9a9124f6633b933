"""Key files: one private key each, encrypted with a passphrase (argon2id, then XSalsa20-Poly1305).

A file is a small JSON object, so that people can tell what it is and programs can read the public key without the
passphrase. The secret is encrypted under the key that argon2id derives from passphrase and salt; the plain header is
checked against the decrypted secret, so a file whose public key was edited does not load.

An empty passphrase is allowed, for demonstrations and for machines whose disk encryption is the protection: such a
file says `"protected": false` and `is_protected` tells. Files are created with mode 0600, completely or not at all,
and never overwritten; a file that others may read is refused.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import nacl.exceptions
import nacl.pwhash
import nacl.secret
import nacl.utils

from ledger.errors import InvalidKey, LedgerError
from ledger.files import create_file
from ledger.keys import SECRET_BYTES, SealingKey, SoftwareSigner

FORMAT: Final = "mulu-key/v1"

MAX_FILE_BYTES: Final = 4096
MAX_KDF_OPERATIONS: Final = 16
MAX_KDF_MEMORY_BYTES: Final = 1 << 30
"""A hostile file must not make us spend minutes or all memory: twice the library's `moderate` profile and more."""

_SALT_BYTES: Final = nacl.pwhash.argon2id.SALTBYTES
_FIELDS: Final = frozenset(
    (
        "format",
        "kind",
        "public_key",
        "protected",
        "kdf",
        "operations",
        "memory_bytes",
        "salt",
        "box",
    )
)
_KDF: Final = "argon2id"
_SEALING: Final = "x25519"


class KeyFileError(LedgerError):
    """A key file cannot be read or written, or the passphrase is wrong."""


@dataclass(frozen=True, slots=True)
class _Header:
    """What a key file says, decoded and bounded; nothing is decrypted."""

    kind: str
    public_key: str
    protected: bool
    operations: int
    memory_bytes: int
    salt: bytes
    box: bytes


def save_key(path: Path, signer: SoftwareSigner, passphrase: str) -> None:
    """Write a signing key to a new file. With an empty passphrase the file protects nothing and says so.

    Raises:
        KeyFileError: the file exists, or cannot be written.
    """
    _save(path, signer.public_key.algorithm, str(signer.public_key), signer.secret, passphrase)


def save_sealing_key(path: Path, key: SealingKey, passphrase: str) -> None:
    """Write a sealing key to a new file; see `save_key`.

    Raises:
        KeyFileError: the file exists, or cannot be written.
    """
    _save(path, _SEALING, f"{_SEALING}:{key.public_key.hex()}", key.secret, passphrase)


def load_key(path: Path, passphrase: str) -> SoftwareSigner:
    """Read a signing key.

    Raises:
        KeyFileError: no key file, readable by others, of another kind, or the passphrase is wrong.
    """
    header = _read(path)
    secret = _decrypt(path, header, passphrase)
    try:
        signer = SoftwareSigner.from_secret(header.kind, secret)
    except InvalidKey as error:
        raise KeyFileError(f"{path}: no signing key: {error}") from None
    if str(signer.public_key) != header.public_key:
        raise KeyFileError(f"{path}: its public key does not belong to its private key")
    return signer


def load_sealing_key(path: Path, passphrase: str) -> SealingKey:
    """Read a sealing key.

    Raises:
        KeyFileError: no key file, readable by others, of another kind, or the passphrase is wrong.
    """
    header = _read(path)
    if header.kind != _SEALING:
        raise KeyFileError(f"{path}: a key of kind {header.kind!r}, expected {_SEALING}")
    key = SealingKey.from_secret(_decrypt(path, header, passphrase))
    if f"{_SEALING}:{key.public_key.hex()}" != header.public_key:
        raise KeyFileError(f"{path}: its public key does not belong to its private key")
    return key


def read_public_key(path: Path) -> str:
    """Return what the file says its public key is, `<algorithm>:<hex>`, without the passphrase. Not authenticated.

    Raises:
        KeyFileError: no key file, or readable by others.
    """
    return _read(path).public_key


def is_protected(path: Path) -> bool:
    """Tell whether the key file is encrypted with a passphrase that is not empty.

    Raises:
        KeyFileError: no key file, or readable by others.
    """
    return _read(path).protected


def _save(path: Path, kind: str, public_key: str, secret: bytes, passphrase: str) -> None:
    if passphrase:
        operations = nacl.pwhash.argon2id.OPSLIMIT_MODERATE
        memory_bytes = nacl.pwhash.argon2id.MEMLIMIT_MODERATE
    else:  # there is nothing to slow down
        operations = nacl.pwhash.argon2id.OPSLIMIT_MIN
        memory_bytes = nacl.pwhash.argon2id.MEMLIMIT_MIN
    salt = nacl.utils.random(_SALT_BYTES)
    key = _derive(passphrase, salt, operations, memory_bytes)
    content = {
        "format": FORMAT,
        "kind": kind,
        "public_key": public_key,
        "protected": bool(passphrase),
        "kdf": _KDF,
        "operations": operations,
        "memory_bytes": memory_bytes,
        "salt": salt.hex(),
        "box": bytes(nacl.secret.SecretBox(key).encrypt(secret)).hex(),
    }
    _write_new(path, (json.dumps(content, indent=2) + "\n").encode("ascii"))


def _write_new(path: Path, content: bytes) -> None:
    """Create a file of mode 0600 with this content, durably; a crash leaves no part of it under its name."""
    try:
        create_file(path, content)
    except FileExistsError:
        raise KeyFileError(f"{path}: exists already; a key file is never overwritten") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from None


def _read(path: Path) -> _Header:
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from None
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise KeyFileError(f"{path}: others may read it; run: chmod 600 {path}")
    if len(content) > MAX_FILE_BYTES:
        raise KeyFileError(f"{path}: too large for a key file")
    try:
        return _parse(content)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeyFileError(f"{path}: not a key file: {error}") from None


def _parse(content: bytes) -> _Header:
    decoded = json.loads(content.decode("ascii"))
    if type(decoded) is not dict or set(decoded) != _FIELDS:
        raise ValueError("unexpected fields")
    if decoded["format"] != FORMAT or decoded["kdf"] != _KDF:
        raise ValueError("unknown format")
    for name in ("kind", "public_key", "salt", "box"):
        if type(decoded[name]) is not str:
            raise ValueError(f"{name} is not a string")
    for name, maximum in (
        ("operations", MAX_KDF_OPERATIONS),
        ("memory_bytes", MAX_KDF_MEMORY_BYTES),
    ):
        if type(decoded[name]) is not int or not 1 <= decoded[name] <= maximum:
            raise ValueError(f"{name} is out of bounds")
    if type(decoded["protected"]) is not bool:
        raise ValueError("protected is neither true nor false")
    fields = cast("dict[str, str]", decoded)
    salt = bytes.fromhex(fields["salt"])
    box = bytes.fromhex(fields["box"])
    if len(salt) != _SALT_BYTES or len(box) != SECRET_BYTES + nacl.secret.SecretBox.NONCE_SIZE + 16:
        raise ValueError("salt or box has a wrong length")
    return _Header(
        fields["kind"],
        fields["public_key"],
        decoded["protected"],
        decoded["operations"],
        decoded["memory_bytes"],
        salt,
        box,
    )


def _derive(passphrase: str, salt: bytes, operations: int, memory_bytes: int) -> bytes:
    return nacl.pwhash.argon2id.kdf(
        nacl.secret.SecretBox.KEY_SIZE,
        passphrase.encode(),
        salt,
        opslimit=operations,
        memlimit=memory_bytes,
    )


def _decrypt(path: Path, header: _Header, passphrase: str) -> bytes:
    if header.protected != bool(passphrase):
        wants = "needs a passphrase" if header.protected else "is not protected by a passphrase"
        raise KeyFileError(f"{path}: {wants}")
    try:
        key = _derive(passphrase, header.salt, header.operations, header.memory_bytes)
        return nacl.secret.SecretBox(key).decrypt(header.box)
    except nacl.exceptions.CryptoError:
        raise KeyFileError(f"{path}: wrong passphrase, or the file is damaged") from None
    except (nacl.exceptions.ValueError, nacl.exceptions.RuntimeError, ValueError) as error:
        raise KeyFileError(f"{path}: key derivation failed: {error}") from None
