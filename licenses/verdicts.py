"""What a verification says: a verdict for each check, and what they come to.

Order of outcomes: unreadable input (exit code 2) before a check that failed (1) before one that could not be
established (3); 0 only if every check that applies has passed. What nobody asked for does not count, and is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

FORMAT: Final = "format"
ISSUER_SIGNATURE: Final = "issuer_signature"
ISSUER_ACCREDITED: Final = "issuer_accredited"
ANCHORED: Final = "anchored"
CONTENT_DIGEST: Final = "content_digest"
STATUS: Final = "status"
VALIDITY_PERIOD: Final = "validity_period"
HOLDER_BINDING: Final = "holder_binding"
AUTHORISED_USE: Final = "authorised_use"
CHECKPOINT_QUORUM: Final = "checkpoint_quorum"
FRESHNESS: Final = "freshness"

NOT_APPLICABLE: Final = "not_applicable"
"""The code of a check of which there is nothing to tell."""

CHECKS: Final = (
    FORMAT,
    ISSUER_SIGNATURE,
    ISSUER_ACCREDITED,
    ANCHORED,
    CONTENT_DIGEST,
    STATUS,
    VALIDITY_PERIOD,
    HOLDER_BINDING,
    AUTHORISED_USE,
    CHECKPOINT_QUORUM,
    FRESHNESS,
)


class Outcome(Enum):
    """How a check ended. `NOT_CHECKED`: it does not apply to what was presented, or was not asked for."""

    PASSED = "passed"
    FAILED = "failed"
    UNESTABLISHED = "unestablished"
    UNREADABLE = "unreadable"
    NOT_CHECKED = "not_checked"


class ExitCode(IntEnum):
    """What a program that verifies returns."""

    VALID = 0
    NOT_VALID = 1
    UNREADABLE = 2
    UNESTABLISHED = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of one check: `code` is stable, `text` is for people."""

    check: str
    outcome: Outcome
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """All verdicts, in the order of `CHECKS`, and what the verified evidence says of the subject."""

    verdicts: tuple[Verdict, ...]
    subject: str
    facts: Mapping[str, str]

    @property
    def exit_code(self) -> ExitCode:
        outcomes = {verdict.outcome for verdict in self.verdicts}
        if Outcome.UNREADABLE in outcomes:
            return ExitCode.UNREADABLE
        if Outcome.FAILED in outcomes:
            return ExitCode.NOT_VALID
        if Outcome.UNESTABLISHED in outcomes or Outcome.PASSED not in outcomes:
            return ExitCode.UNESTABLISHED
        return ExitCode.VALID

    def verdict(self, check: str) -> Verdict:
        """Return the verdict of a check."""
        return next(verdict for verdict in self.verdicts if verdict.check == check)

    @property
    def shows_holder(self) -> bool:
        """Whether nothing is left to tell of who shows the license: it is verified, or does not apply."""
        binding = self.verdict(HOLDER_BINDING)
        return binding.outcome is Outcome.PASSED or binding.code == NOT_APPLICABLE

    def to_json(self) -> dict[str, object]:
        """Return the report as a JSON object, for machines."""
        return {
            "result": self.exit_code.name.lower(),
            "exit_code": int(self.exit_code),
            "subject": self.subject,
            "facts": dict(self.facts),
            "verdicts": [
                {
                    "check": verdict.check,
                    "outcome": verdict.outcome.value,
                    "code": verdict.code,
                    "text": verdict.text,
                }
                for verdict in self.verdicts
            ],
        }
