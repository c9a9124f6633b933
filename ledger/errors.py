"""The one error tree of the ledger layer; other layers derive theirs from `LedgerError`.

An error that reports bad input is named `Invalid…`; any other ends in `Error`. Texts are for people and
never reach a hash; what the ledger records is the stable ASCII `code` of `InvalidOperation`.
"""

from __future__ import annotations

import re
from typing import Final

from ledger.limits import MAX_CODE_BYTES

CODE: Final = re.compile(rf"[a-z0-9_.-]{{1,{MAX_CODE_BYTES}}}", re.ASCII)
"""The form of a code that the ledger records."""


class LedgerError(Exception):
    """Base of every error that this project raises on purpose."""


class DecodeError(LedgerError):
    """Bytes are not a canonical encoding of what was asked for."""


class InvalidKey(LedgerError):
    """A key is malformed, of an unknown algorithm, or one that no enrolment may accept."""


class InvalidSignature(LedgerError):
    """A signature does not verify."""


class InvalidProof(LedgerError):
    """A Merkle proof, note, checkpoint or bundle does not prove what it claims."""


class InvalidPolicy(InvalidProof):
    """A policy names no chain, or several: nothing can be held against it, whatever evidence shows."""


class BundleSizeError(LedgerError, ValueError):
    """What a bundle is to hold makes a file that is larger than anyone reads."""


class InvalidTransaction(LedgerError):
    """A transaction may not enter a block. `code` is stable ASCII, the text is for people."""

    def __init__(self, code: str, text: str = "") -> None:
        assert CODE.fullmatch(code), code
        super().__init__(f"{code}: {text}" if text else code)
        self.code = code
        self.text = text


class InvalidOperation(LedgerError):
    """A handler refuses an operation. `code` is recorded on the ledger: ASCII, at most 64 bytes."""

    def __init__(self, code: str, text: str = "") -> None:
        assert CODE.fullmatch(code), code
        super().__init__(f"{code}: {text}" if text else code)
        self.code = code
        self.text = text


class InvalidBlock(LedgerError):
    """A proposed or synchronised block breaks a rule of the ledger."""


class StorageError(LedgerError):
    """The database cannot be read or written; the process must stop rather than go on."""


class DamagedStoreError(StorageError):
    """What the database holds does not verify: never vote on it, never serve from it."""
