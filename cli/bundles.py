"""Verifying evidence bundles, one or many, and showing what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from cli.license_verify import MARKS, show_report
from cli.output import CommandError, ExitCode, counted, say, show_json, show_table, time_text
from cli.validation import read_bytes
from ledger.bundle import MAX_BUNDLE_BYTES, Bundle
from ledger.errors import DecodeError, InvalidProof
from ledger.light import NotEstablishedError, VerifiedBundle
from ledger.suite import SHA256_ED25519
from licenses.verdicts import AUTHORISED_USE, STATUS, Outcome, Report
from licenses.verification import Question
from licenses.verifier import Verifier

_GRAVEST_FIRST: Final = (1, 2, 3)
"""Exit codes of several bundles at once: false before unreadable before not established."""

_OUTCOMES: Final = {
    0: Outcome.PASSED,
    1: Outcome.FAILED,
    2: Outcome.UNREADABLE,
    3: Outcome.UNESTABLISHED,
}
_EVIDENCE_ONLY: Final = "·"


@dataclass(frozen=True, slots=True)
class EvidenceReport:
    """What came of a bundle about anything but a license or a use: entries and states, and no judgement on them.

    `rows` are its pieces of evidence: what kind, log index or state key, what it shows. `checkpoint` is what they rest
    on, None where they do not hold.
    """

    subject: str
    exit_code: ExitCode
    code: str
    text: str
    rows: tuple[tuple[str, str, str], ...] = ()
    checkpoint: dict[str, Any] | None = None

    @staticmethod
    def of(evidence: VerifiedBundle) -> EvidenceReport:
        """Report verified evidence."""
        rows = (
            *(("entry", str(one.index), type(one.entry).__name__) for one in evidence.entries),
            *(
                ("state", one.key, "absent" if one.value is None else f"as of block {one.height}")
                for one in evidence.states
            ),
        )
        verified = evidence.checkpoint
        checkpoint = {
            "checkpoint_size": verified.checkpoint.size,
            "checkpoint_time_ms": verified.time_ms,
            "cosigners": verified.cosigners,
        }
        what = counted(len(rows), "entry or state", "entries and states")
        text = f"evidence only: {what}, as of {time_text(verified.time_ms)}"
        return EvidenceReport(evidence.subject, ExitCode.OK, "ok", text, rows, checkpoint)

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        report = {"subject": self.subject, "exit_code": int(self.exit_code), "code": self.code}
        if self.checkpoint is None:
            return {**report, "text": self.text}
        evidence = [dict(zip(("kind", "id", "what"), row, strict=True)) for row in self.rows]
        return {**report, **self.checkpoint, "evidence": evidence}


AnyReport: TypeAlias = EvidenceReport | Report


def verify_bundles(
    files: Sequence[Path],
    verifier: Verifier,
    question: Question,
    policy: Path | None,
    as_json: bool,
) -> int:
    """Verify bundle files, show what came of them, and return the exit code; of several, the gravest.

    JSON has `bundles`, an item a file; of a single one what is told of it stands beside that, too.
    """
    reports = [(file, _verify_file(verifier, question, file)) for file in files]
    codes = Counter(int(report.exit_code) for _, report in reports)
    gravest = next((code for code in _GRAVEST_FIRST if codes[code]), 0)
    if as_json:
        items = [{"file": str(file), **report.to_json()} for file, report in reports]
        whole = items[0] if len(items) == 1 else {}
        show_json({**whole, "exit_code": gravest, "policy": str(policy), "bundles": items})
    elif len(reports) == 1:
        _show_one(*reports[0], policy)
    else:
        _show_many(reports, codes, policy)
    return gravest


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
        return EvidenceReport.of(verifier.view().verify_bundle(bundle))
    except DecodeError as error:
        return EvidenceReport(subject, ExitCode.BAD_INPUT, "unreadable", str(error))
    except InvalidProof as error:
        return EvidenceReport(subject, ExitCode.REFUSED, "bad_proof", str(error))
    except NotEstablishedError as error:
        return EvidenceReport(subject, ExitCode.NOT_ESTABLISHED, error.code, str(error))


def _verify_file(verifier: Verifier, question: Question, file: Path) -> AnyReport:
    try:
        data = read_bytes(file, MAX_BUNDLE_BYTES)
    except CommandError as error:
        return EvidenceReport("", ExitCode.BAD_INPUT, "unreadable", error.text)
    return verify_bundle(verifier, question, data)


def _show_many(
    reports: Sequence[tuple[Path, AnyReport]], codes: Counter[int], policy: Path | None
) -> None:
    show_table(
        counted(len(reports), "bundle"),
        ("", "File", "Subject", "What"),
        ((_mark(report), str(file), report.subject, _why(report)) for file, report in reports),
    )
    only = sum(_is_evidence_only(report) for _, report in reports)
    parts = [
        (codes[0] - only, "hold"),
        (only, "show evidence only"),
        (codes[1], "do not hold"),
        (codes[2], "are unreadable"),
        (codes[3], "could not be established"),
    ]
    say(f"Trusted: {policy}")
    say(f"Of {len(reports)}: {', '.join(f'{count} {what}' for count, what in parts if count)}.")


def _mark(report: AnyReport) -> str:
    if _is_evidence_only(report):
        return _EVIDENCE_ONLY
    return MARKS[_OUTCOMES[int(report.exit_code)]]


def _is_evidence_only(report: AnyReport) -> bool:
    return isinstance(report, EvidenceReport) and report.checkpoint is not None


def _why(report: AnyReport) -> str:
    """Say in a line what came of a bundle: of a license or use, the first check that decided it."""
    if isinstance(report, EvidenceReport):
        return report.text if report.exit_code is ExitCode.OK else f"{report.code}: {report.text}"
    decisive = _OUTCOMES[int(report.exit_code)]
    if decisive is Outcome.PASSED:
        telling = (one for one in report.verdicts if one.check in (STATUS, AUTHORISED_USE))
        return next((one.text for one in telling if one.outcome is decisive), "holds")
    return next(f"{one.code}: {one.text}" for one in report.verdicts if one.outcome is decisive)


def _show_one(file: Path, report: AnyReport, policy: Path | None) -> None:
    if isinstance(report, Report):
        show_report(report, False, policy, str(file))
    elif report.checkpoint is None:
        say(f"{report.subject or file}: {report.code}: {report.text}")
    else:
        show_table(f"Verified: {report.subject}", ("Kind", "Index or key", "What"), report.rows)
        say(
            f"Checkpoint of size {report.checkpoint['checkpoint_size']}, cosigned by "
            f"{', '.join(report.checkpoint['cosigners'])} at "
            f"{time_text(report.checkpoint['checkpoint_time_ms'])}."
        )
