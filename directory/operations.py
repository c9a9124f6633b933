"""The operations of the directory: one explicit table.

For each collection `directory.<noun>.publish`, `.amend` and `.retire` by the owner's editors; for
all of them together `directory.entry.withdraw` by the owner's editors, `.approve` and `.return` by
the competent authority's approvers.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from directory.codes import Collection
from directory.decisions import approve, return_entry
from directory.models import (
    ENTRY_MODELS,
    ApproveEntry,
    RetireEntry,
    ReturnEntry,
    WithdrawEntry,
)
from directory.requirements import MATTER_CODES
from directory.submissions import amend, publish, retire, withdraw
from ledger.operations import Body, OperationType

_EDITOR: Final = frozenset({"editor"})
_APPROVER: Final = frozenset({"approver"})
_OWNER_CODES: Final = ("directory.entry.not_owner", "directory.entry.owner_dissolved")
_PENDING_CODES: Final = (
    "directory.entry.unknown",
    "directory.entry.nothing_pending",
    "directory.entry.other_version",
)
_DECISION_CODES: Final = (
    *_PENDING_CODES,
    "directory.entry.not_competent",
    "directory.entry.own_submission",
)


def _collection_operations(
    collection: Collection, article: str, own_codes: tuple[str, ...] = ()
) -> tuple[OperationType, ...]:
    model: type[Body] = ENTRY_MODELS[collection]
    noun = f"{article} {collection}"
    return (
        OperationType(
            f"directory.{collection}.publish",
            f"Submit {noun} of which no version counts; it waits for approval.",
            model,
            publish,
            _EDITOR,
            (*_OWNER_CODES, "directory.entry.pending", "directory.entry.exists", *own_codes),
        ),
        OperationType(
            f"directory.{collection}.amend",
            f"Submit a new version of {noun}; the present one counts until it is approved.",
            model,
            amend,
            _EDITOR,
            (
                *_OWNER_CODES,
                "directory.entry.unknown",
                "directory.entry.pending",
                "directory.entry.not_effective",
                "directory.entry.unchanged",
                *own_codes,
            ),
        ),
        OperationType(
            f"directory.{collection}.retire",
            f"Ask that {noun} count no longer; that waits for approval, too.",
            RetireEntry,
            partial(retire, collection),
            _EDITOR,
            (
                *_OWNER_CODES,
                "directory.entry.unknown",
                "directory.entry.pending",
                "directory.entry.not_effective",
            ),
        ),
    )


OPERATIONS: Final[tuple[OperationType, ...]] = (
    *_collection_operations("instrument", "an"),
    *_collection_operations(
        "responsibility", "a", ("directory.responsibility.catch_all_unmarked",)
    ),
    *_collection_operations("system", "a"),
    *_collection_operations("resource", "a"),
    *_collection_operations("matter", "a"),
    *_collection_operations("entrustment", "an"),
    OperationType(
        "directory.entry.withdraw",
        "Take back a submission of one's own organisation before it is decided.",
        WithdrawEntry,
        withdraw,
        _EDITOR,
        (*_OWNER_CODES, *_PENDING_CODES),
    ),
    OperationType(
        "directory.entry.approve",
        "Approve the version that waits: from this block on it counts (a retired entry no longer).",
        ApproveEntry,
        approve,
        _APPROVER,
        (
            *_DECISION_CODES,
            "directory.entry.submitter_compromised",
            "directory.entry.owner_dissolved",
            "directory.system.responsibility_not_effective",
            "directory.system.responsibility_catch_all",
            "directory.resource.system_not_effective",
            "directory.resource.confidential_on_open_network",
            "directory.resource.ground_not_in_force",
            *MATTER_CODES,
            "directory.entrustment.expired",
            "directory.entrustment.organisation_not_active",
            "directory.entrustment.matter_not_effective",
        ),
    ),
    OperationType(
        "directory.entry.return",
        "Return the version that waits to its owner, with the reason.",
        ReturnEntry,
        return_entry,
        _APPROVER,
        _DECISION_CODES,
    ),
)
