"""Key files: round trips, wrong passphrases, damage, modes, never an overwritten key."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.keyfile import (
    KeyFileError,
    is_protected,
    load_key,
    load_sealing_key,
    read_public_key,
    save_key,
    save_sealing_key,
)
from ledger.keys import SealingKey, SoftwareSigner


@pytest.mark.parametrize("algorithm", ["ed25519", "p256"])
def test_a_key_comes_back_and_its_public_key_is_readable_without_passphrase(
    tmp_path: Path, algorithm: str
) -> None:
    signer = SoftwareSigner.generate(algorithm)
    save_key(tmp_path / "key", signer, "")
    assert load_key(tmp_path / "key", "") == signer
    assert read_public_key(tmp_path / "key") == str(signer.public_key)
    assert not is_protected(tmp_path / "key")


def test_a_protected_key_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    path = tmp_path / "key"
    signer = SoftwareSigner.generate()
    save_key(path, signer, "正确的密码")
    assert is_protected(path)
    assert load_key(path, "正确的密码") == signer
    for passphrase in ("wrong", ""):
        with pytest.raises(KeyFileError, match="passphrase"):
            load_key(path, passphrase)
    assert signer.secret.hex() not in path.read_text()


def test_a_sealing_key_comes_back_and_is_no_signing_key(tmp_path: Path) -> None:
    key = SealingKey.generate()
    save_sealing_key(tmp_path / "sealing", key, "")
    save_key(tmp_path / "signing", SoftwareSigner.generate(), "")
    assert load_sealing_key(tmp_path / "sealing", "") == key
    assert read_public_key(tmp_path / "sealing") == f"x25519:{key.public_key.hex()}"
    with pytest.raises(KeyFileError, match="no signing key"):
        load_key(tmp_path / "sealing", "")
    with pytest.raises(KeyFileError, match="expected x25519"):
        load_sealing_key(tmp_path / "signing", "")


def test_a_key_file_is_private_complete_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    signer = SoftwareSigner.generate()
    save_key(path, signer, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(KeyFileError, match="never overwritten"):
        save_key(path, SoftwareSigner.generate(), "")
    assert load_key(path, "") == signer
    assert os.listdir(tmp_path) == ["key"]


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    save_key(path, SoftwareSigner.generate(), "")
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(KeyFileError, match="chmod 600"):
            load_key(path, "")


def test_no_changed_character_of_a_key_file_yields_another_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    signer = SoftwareSigner.generate()
    save_key(path, signer, "")
    content = path.read_bytes()
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        try:
            assert load_key(path, "") == signer
        except KeyFileError:
            continue


def _set(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update({name: value})


@pytest.mark.parametrize(
    "change",
    [
        _set("format", "mulu-key/v2"),
        _set("kdf", "scrypt"),
        _set("kind", "x25519"),
        _set("kind", "rsa"),
        _set("kind", 1),
        _set("public_key", "ed25519:" + "00" * 32),
        _set("protected", True),
        _set("protected", "no"),
        _set("operations", 0),
        _set("operations", 10**9),
        _set("operations", True),
        _set("operations", 1.0),
        _set("memory_bytes", 2**40),
        _set("memory_bytes", 1),
        _set("salt", "00"),
        _set("salt", "zz"),
        _set("salt", None),
        _set("box", "00" * 72),
        _set("box", ""),
        _set("comment", "hello"),
        lambda content: content.pop("kdf"),
    ],
)
def test_a_file_with_a_field_that_is_wrong_missing_or_unknown_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    path = tmp_path / "key"
    save_key(path, SoftwareSigner.generate(), "")
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(KeyFileError, match=str(path)):
        load_key(path, "")


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 2000, b"-----BEGIN PRIVATE KEY-----", bytes(5000)],
)
def test_what_is_no_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError):
        load_key(path, "")


def test_a_missing_file_or_directory_is_a_key_file_error(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be read"):
        load_key(tmp_path / "none", "")
    with pytest.raises(KeyFileError, match="cannot be read"):
        load_key(tmp_path, "")
    with pytest.raises(KeyFileError, match="cannot be written"):
        save_key(tmp_path / "none" / "key", SoftwareSigner.generate(), "")
