"""Verifying evidence bundles, one or many, and showing what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from cli.license_verify import show_report
from cli.output import CommandError, ExitCode, say, show_json, show_table, time_text
from cli.validation import read_bytes
from ledger.bundle import Bundle
from ledger.errors import DecodeError, InvalidProof
from ledger.light import NotEstablishedError, VerifiedBundle
from ledger.suite import SHA256_ED25519
from licenses.verdicts import Outcome, Report
from licenses.verification import Question
from licenses.verifier import Verifier

_WORST_FIRST: Final = (1, 2, 3)
"""Exit codes of several bundles at once: false before unreadable before not established."""

_MARKS: Final = {0: "✓", 1: "✗", 2: "✗", 3: "?"}


@dataclass(frozen=True, slots=True)
class EvidenceReport:
    """What came of a bundle about anything but a license or a use; `evidence` is what it shows, if it holds."""

    subject: str
    exit_code: ExitCode
    code: str
    text: str
    evidence: VerifiedBundle | None = None

    def rows(self) -> list[tuple[str, str, str]]:
        """Return each piece of evidence: what kind it is, its log index or state key, what it shows."""
        if self.evidence is None:
            return []
        return [
            *(("entry", str(one.index), type(one.entry).__name__) for one in self.evidence.entries),
            *(
                ("state", one.key, "absent" if one.value is None else f"as of block {one.height}")
                for one in self.evidence.states
            ),
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        report: dict[str, Any] = {
            "subject": self.subject,
            "exit_code": int(self.exit_code),
            "code": self.code,
        }
        if self.evidence is None:
            return {**report, "text": self.text}
        return {
            **report,
            "checkpoint_size": self.evidence.checkpoint.checkpoint.size,
            "cosigners": self.evidence.checkpoint.cosigners,
            "evidence": [
                dict(zip(("kind", "id", "what"), row, strict=True)) for row in self.rows()
            ],
        }


AnyReport: TypeAlias = EvidenceReport | Report


def verify_bundles(
    files: Sequence[Path],
    verifier: Verifier,
    question: Question,
    policy: Path | None,
    as_json: bool,
) -> int:
    """Verify bundle files, show what came of them, and return the exit code; of several, the worst.

    Raises:
        CommandError: the only file cannot be read; among several, such a file is reported as unreadable.
    """
    if len(files) == 1:
        report = verify_bundle(verifier, question, read_bytes(files[0]))
        _show_one(report, as_json, policy)
        return int(report.exit_code)
    reports = [(file, _verify_file(verifier, question, file)) for file in files]
    codes = {int(report.exit_code) for _, report in reports}
    worst = next((code for code in _WORST_FIRST if code in codes), 0)
    if as_json:
        show_json(
            {
                "exit_code": worst,
                "policy": str(policy),
                "bundles": [{"file": str(file), **one.to_json()} for file, one in reports],
            }
        )
        return worst
    show_table(
        f"{len(files)} bundles",
        ("", "File", "Subject", "What"),
        ((_MARKS[int(one.exit_code)], str(file), one.subject, _why(one)) for file, one in reports),
    )
    good = sum(1 for _, one in reports if int(one.exit_code) == 0)
    say(f"Trusted: {policy}")
    say(f"{good} of {len(files)} hold.")
    return worst


def verify_bundle(verifier: Verifier, question: Question, data: bytes) -> AnyReport:
    """Verify a bundle. Licenses and uses have a verdict a check; a file that is no bundle is left to them, too."""
    try:
        bundle = Bundle.decode(SHA256_ED25519, data)
    except DecodeError:
        return verifier.verify(question, bundle=data)
    subject = bundle.subject
    if subject.startswith(("license:", "use:")):
        return verifier.verify(question, bundle=data)
    try:
        evidence = verifier.view().verify_bundle(bundle)
    except DecodeError as error:
        return EvidenceReport(subject, ExitCode.BAD_INPUT, "unreadable", str(error))
    except InvalidProof as error:
        return EvidenceReport(subject, ExitCode.REFUSED, "bad_proof", str(error))
    except NotEstablishedError as error:
        return EvidenceReport(subject, ExitCode.NOT_ESTABLISHED, error.code, str(error))
    return EvidenceReport(subject, ExitCode.OK, "ok", "what it shows holds", evidence)


def _verify_file(verifier: Verifier, question: Question, file: Path) -> AnyReport:
    try:
        data = read_bytes(file)
    except CommandError as error:
        return EvidenceReport("", ExitCode.BAD_INPUT, "unreadable", str(error))
    return verify_bundle(verifier, question, data)


def _why(report: AnyReport) -> str:
    """Say in a line what came of a bundle: of a license or use, the first check that decided it."""
    if isinstance(report, EvidenceReport):
        return report.text if report.exit_code is ExitCode.OK else f"{report.code}: {report.text}"
    decisive = {
        1: Outcome.FAILED,
        2: Outcome.UNREADABLE,
        3: Outcome.UNESTABLISHED,
    }.get(int(report.exit_code))
    return next(
        (f"{one.code}: {one.text}" for one in report.verdicts if one.outcome is decisive),
        "what it shows holds",
    )


def _show_one(report: AnyReport, as_json: bool, policy: Path | None) -> None:
    if isinstance(report, Report):
        show_report(report, as_json, policy)
    elif as_json:
        show_json(report.to_json())
    elif report.evidence is None:
        say(f"{report.subject}: {report.code}: {report.text}")
    else:
        checkpoint = report.evidence.checkpoint
        show_table(f"Verified: {report.subject}", ("Kind", "Index or key", "What"), report.rows())
        say(
            f"Checkpoint of size {checkpoint.checkpoint.size}, cosigned by "
            f"{', '.join(checkpoint.cosigners)} at {time_text(checkpoint.time_ms)}."
        )
