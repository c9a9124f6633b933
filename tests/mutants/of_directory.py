"""Bugs of the directory: what counts, and who decides that it does."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

_LOOKUP: Final = "directory/lookup.py"
_DECISIONS: Final = "directory/decisions.py"
_SUBMISSIONS: Final = "directory/submissions.py"

_DIRECTORY_TRANSCRIPTS: Final = (
    "tests/directory/test_transcripts.py::test_the_transcript_prints_what_it_says"
)

DIRECTORY: Final[tuple[Mutant, ...]] = (
    Mutant(
        "expired-entrustment-accepted",
        "An entrustment counts after its period.",
        _LOOKUP,
        "if not entrustment.valid_from_ms <= time_ms < entrustment.valid_to_ms:",
        "if not entrustment.valid_from_ms <= time_ms:",
        (
            "tests/licenses/test_recording_matters.py::test_an_entrustment_counts_in_its_period_only",
        ),
    ),
    Mutant(
        "entrustment-of-another-matter-accepted",
        "An entrustment counts for matters that it does not name.",
        _LOOKUP,
        "if entrustment is None or matter_code not in entrustment.matters:",
        "if entrustment is None:",
        ("tests/directory/test_lookup.py::test_an_entrustment_holds_within_its_period_only",),
    ),
    Mutant(
        "catch-all-clause-as-a-basis",
        "A matter may rest on a clause about other tasks that somebody assigns.",
        _LOOKUP,
        '        if responsibility.catch_all:\n            return "responsibility_catch_all"\n',
        "",
        ("tests/directory/test_operations.py::test_what_lacks_its_basis_is_not_approved",),
    ),
    Mutant(
        "unmarked-catch-all-clause-accepted",
        "A catch-all clause that is not marked as one is published as a responsibility.",
        _SUBMISSIONS,
        "if isinstance(body, Responsibility) and not body.catch_all and is_catch_all(body.text):",
        "if isinstance(body, Responsibility) and body.catch_all and not body.text:",
        (
            "tests/directory/test_operations.py::test_an_unmarked_catch_all_clause_is_refused_from_the_start",
        ),
    ),
    Mutant(
        "repealed-article-as-a-basis",
        "A matter may rest on an article that is not in force.",
        _LOOKUP,
        'return "article_not_in_force"',
        "continue",
        ("tests/directory/test_operations.py::test_what_lacks_its_basis_is_not_approved",),
    ),
    Mutant(
        "submission-counts-unapproved",
        "An entry counts from its submission on, before anybody has approved it.",
        "directory/records.py",
        '"pending", 0, None, None, pending, None, ()',
        '"pending", 0, None, pending.body, pending, None, ()',
        ("tests/directory/test_lookup.py::test_a_submission_waits_without_counting",),
    ),
    Mutant(
        "amendment-counts-unapproved",
        "A new version counts from its submission on, before anybody has approved it.",
        _SUBMISSIONS,
        "            effective=record.effective,\n            pending=pending,",
        "            effective=body or record.effective,\n            pending=pending,",
        ("tests/directory/test_lookup.py::test_the_present_version_counts_while_a_new_one_waits",),
    ),
    Mutant(
        "stranger-amends-an-entry",
        "Whoever is an editor somewhere changes the entries of all organisations.",
        _SUBMISSIONS,
        "if context.organisation != owner:",
        "if not context.organisation:",
        (
            "tests/directory/test_operations.py::test_nobody_but_the_owners_editors_changes_any_field",
        ),
    ),
    Mutant(
        "submitter-approves",
        "The key that submitted an entry approves it.",
        _DECISIONS,
        "if pending.submitter == str(context.signer):",
        "if not pending.submitter:",
        (_DIRECTORY_TRANSCRIPTS,),
    ),
    Mutant(
        "stranger-approves",
        "Any authority approves the entries of any division.",
        _DECISIONS,
        "if authority is None or not authority.active or authority.uscc != context.organisation:",
        "if authority is None or not authority.active:",
        (_DIRECTORY_TRANSCRIPTS,),
    ),
    Mutant(
        "another-version-approved",
        "An approval counts for whatever version waits when it comes.",
        _SUBMISSIONS,
        "if record.pending.version != version:",
        "if len(record.pending.version) != len(version):",
        (_DIRECTORY_TRANSCRIPTS,),
    ),
    Mutant(
        "submission-by-a-stolen-key-approved",
        "What was submitted with a key after it had been stolen is approved.",
        _DECISIONS,
        "if since_ms is not None and since_ms <= pending.submitted_ms:",
        "if since_ms is not None and since_ms < 0:",
        (_DIRECTORY_TRANSCRIPTS,),
    ),
    Mutant(
        "history-of-an-entry-rewritten",
        "A version that takes effect replaces the history of those before it.",
        _DECISIONS,
        "history=(*record.history, change)[-MAX_CHANGES:],",
        "history=(change,),",
        (
            "tests/directory/test_operations.py::test_a_record_keeps_the_last_changes_and_counts_all",
        ),
    ),
)
