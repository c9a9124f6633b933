"""Errors of the engine, split by whose fault they report: a peer's, the disk's, or nobody's."""

from __future__ import annotations

from ledger.errors import LedgerError


class ConsensusError(LedgerError):
    """Base of every error of the engine."""


class InvalidMessage(ConsensusError):
    """A message that no correct peer sends. Nothing was changed; drop the peer it came from."""


class InvalidWal(ConsensusError):
    """The records of the write-ahead log are damaged or of another height. Never vote after this."""


class SigningRefused(ConsensusError):
    """The last-sign guard does not release a signature. The vote is not sent; the node goes on."""
