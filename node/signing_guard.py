"""The checkpoint guard: a validator's keys never sign a smaller log or another root, whatever happened to the database.

`keys/checkpoint-guard` holds the newest checkpoint that was signed. Blocking I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ledger.checkpoints import Checkpoint
from ledger.codec import decode_array, encode
from ledger.errors import DecodeError, StorageError
from ledger.files import replace_file
from ledger.limits import CLOCK_BOUND_MS
from ledger.suite import HASH_BYTES


class SigningGuard:
    """Remembers the newest checkpoint that was signed: `[size, root]`, replaced durably before a signature leaves.

    Where the record is missing or damaged, the guard is silent: our keys may have signed any checkpoint of the past.
    It admits one again once its block was proposed after this process started, by the same rule as `LastSignGuard`.
    """

    def __init__(
        self, signed: tuple[int, bytes] | None, save: Callable[[bytes], None], now_ms: int
    ) -> None:
        """Take the newest record (None: unknown, be silent). `save` makes a record durable, or raises."""
        self._signed = signed
        self._save = save
        self._started_ms = now_ms

    @staticmethod
    def open(path: Path, now_ms: int) -> SigningGuard:
        """Open the guard's file. A missing or damaged one makes a silent guard.

        Raises:
            StorageError: the file cannot be read.
        """
        signed: tuple[int, bytes] | None = None
        try:
            signed = decode_signed(path.read_bytes())
        except (FileNotFoundError, DecodeError):
            pass  # silent
        except OSError as error:
            raise StorageError(f"cannot read the checkpoint guard {path}: {error}") from None
        return SigningGuard(signed, lambda data: _save(path, data), now_ms)

    @property
    def is_silent(self) -> bool:
        """Whether it is unknown what our keys have signed."""
        return self._signed is None

    def admit(self, checkpoint: Checkpoint, time_ms: int) -> bool:
        """Store that `checkpoint`, of a block of that time, is about to be signed; False if it must not be.

        Raises:
            StorageError: it is not known whether the file was written: stop the process.
        """
        wanted = (checkpoint.size, checkpoint.root)
        if self._signed == wanted:
            return True
        if self._signed is None:
            if time_ms <= self._started_ms + 2 * CLOCK_BOUND_MS:
                return False
        elif checkpoint.size <= self._signed[0]:
            return False
        self._save(encode(wanted))
        self._signed = wanted
        return True


NEVER_SIGNED = encode((0, bytes(HASH_BYTES)))
"""The record of keys that have never signed."""


def create_checkpoint_guard(path: Path) -> None:
    """Write the record of keys that have never signed. Call it when the keys are made, never later.

    Raises:
        StorageError: the file exists, or cannot be written.
    """
    if path.exists():
        raise StorageError(f"{path} exists: its keys may have signed already")
    _save(path, NEVER_SIGNED)


def decode_signed(data: bytes) -> tuple[int, bytes]:
    """Read the guard's record.

    Raises:
        DecodeError: damaged.
    """
    size, root = decode_array(data, 2, max_bytes=128)
    if type(size) is not int or type(root) is not bytes or len(root) != HASH_BYTES:
        raise DecodeError("not a size and a root")
    return size, root


def _save(path: Path, data: bytes) -> None:
    try:
        replace_file(path, data)
    except OSError as error:
        raise StorageError(f"cannot write the checkpoint guard: {error}") from None
