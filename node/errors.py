"""Errors of the node layer."""

from __future__ import annotations

from ledger.errors import LedgerError


class InvalidConfiguration(LedgerError):
    """The configuration or the home directory is not usable; the text names file and field."""


class InvalidCertificate(LedgerError):
    """A certificate does not chain to a known CA, names somebody else, or is expired."""


class InvalidPeerMessage(LedgerError):
    """A peer sent what no correct node sends: the link is dropped."""


class InvalidToken(LedgerError):
    """A token is malformed, expired, for another chain, or not signed by a key that the ledger knows."""


class IndexUnavailableError(LedgerError):
    """The index is being built, or its database has failed: searches cannot be answered now."""


class TooManyReadsError(LedgerError):
    """As many long reads as may be are under way: the organisation's, or the node's."""


class NodeUnreachable(LedgerError):
    """No answer from a node: not started, wrong address, the network is down, or what answers is none."""


class ApiProblem(LedgerError):
    """A node's refusal (RFC 9457). `code` is stable, `status` the HTTP status, `detail` for people.

    `asked_with` is whose key asked, for people, where who asks sets it.
    """

    def __init__(self, status: int, code: str, title: str, detail: str) -> None:
        super().__init__(f"{title}: {detail}" if detail else title)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.asked_with: str | None = None


class EngineUnavailableError(LedgerError):
    """The process that orders blocks is not running, or does not answer."""


class EngineStoppedError(LedgerError):
    """The process that orders blocks runs, but decides nothing more: it must be started again."""


class EngineSilentError(EngineUnavailableError):
    """The process that orders blocks was asked and gave no answer: it may have done what it was asked to do."""
