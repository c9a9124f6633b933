"""Errors of the engine's side of the application interface."""

from __future__ import annotations

from ledger.errors import LedgerError


class InvalidAbciMessage(LedgerError):
    """What came over the socket is no request of ABCI 2.0: the connection is closed."""


class InvalidHandover(LedgerError):
    """The engine asks for what this ledger cannot give: another chain, a height out of turn, an unknown validator."""
