"""The operations of the licenses layer, in one explicit table."""

from __future__ import annotations

from typing import Final

from ledger.operations import OperationType
from licenses.issuing import (
    accredit_issuer,
    bind_holder,
    define_type,
    give_back_license,
    issue_license,
    renew_license,
    revoke_license,
    suspend_issuer,
    withhold_license,
)
from licenses.models import (
    AccreditIssuer,
    BindHolder,
    ChangeStatus,
    DefineType,
    IssueLicense,
    RecordUse,
    RenewLicense,
    RevokeLicense,
    SuspendIssuer,
)
from licenses.recording import RECORD_KIND, record_use

_ISSUER: Final = frozenset({"issuer"})
_RECORDER: Final = frozenset({"recorder"})

_ISSUING: Final = (
    "licenses.license.not_accredited",
    "licenses.license.exists",
    "licenses.license.credential_key",
    "licenses.license.period",
)
_OWN: Final = ("licenses.license.unknown", "licenses.license.not_issuer")

OPERATIONS: Final[tuple[OperationType, ...]] = (
    OperationType(
        "licenses.type.define",
        "Define a license type as its defining authority, or widen it.",
        DefineType,
        define_type,
        _ISSUER,
        (
            "licenses.type.not_defining_authority",
            "licenses.type.duplicate_field",
            "licenses.type.holder_kind",
            "licenses.type.field_removed",
        ),
    ),
    OperationType(
        "licenses.issuer.accredit",
        "Accredit an issuer for a type and a period, as the type's defining authority.",
        AccreditIssuer,
        accredit_issuer,
        _ISSUER,
        (
            "licenses.issuer.not_defining_authority",
            "licenses.issuer.type_unknown",
            "licenses.issuer.unknown_organisation",
            "licenses.issuer.period",
            "licenses.issuer.too_many_changes",
        ),
    ),
    OperationType(
        "licenses.issuer.suspend",
        "Suspend an accreditation; licenses recorded before stay valid.",
        SuspendIssuer,
        suspend_issuer,
        _ISSUER,
        ("licenses.issuer.not_defining_authority", "licenses.issuer.not_accredited"),
    ),
    OperationType(
        "licenses.license.issue",
        "Record a license of an accredited issuer: handle, credential digest, holder commitment.",
        IssueLicense,
        issue_license,
        _ISSUER,
        _ISSUING,
    ),
    OperationType(
        "licenses.license.renew",
        "Record a license in place of a previous one, which is cancelled in the same step.",
        RenewLicense,
        renew_license,
        _ISSUER,
        (
            *_OWN,
            "licenses.license.previous_unfit",
            "licenses.license.not_valid",
            *_ISSUING,
        ),
    ),
    OperationType(
        "licenses.license.bind_holder",
        "Bind an unbound license to its holder's key, with the credential that names the key.",
        BindHolder,
        bind_holder,
        _ISSUER,
        (
            *_OWN,
            "licenses.license.already_bound",
            "licenses.license.not_valid",
            "licenses.license.not_accredited",
            "licenses.license.credential_key",
        ),
    ),
    OperationType(
        "licenses.license.withhold",
        "Withhold licenses for a time.",
        ChangeStatus,
        withhold_license,
        _ISSUER,
        (*_OWN, "licenses.license.not_valid", "licenses.license.too_many_changes"),
    ),
    OperationType(
        "licenses.license.give_back",
        "Give withheld licenses back.",
        ChangeStatus,
        give_back_license,
        _ISSUER,
        (*_OWN, "licenses.license.not_withheld"),
    ),
    OperationType(
        "licenses.license.revoke",
        "End licenses for good, with a final status of the national dictionary.",
        RevokeLicense,
        revoke_license,
        _ISSUER,
        (*_OWN, "licenses.license.ended"),
    ),
    OperationType(
        RECORD_KIND,
        "Record one authorised use of one or more licenses: request with consent or approval.",
        RecordUse,
        record_use,
        _RECORDER,
        (
            "licenses.use.bad_request",
            "licenses.use.not_acceptor",
            "licenses.use.request_expired",
            "licenses.use.request_too_long",
            "licenses.use.operator_not_enrolled",
            "licenses.use.wrong_sealing_key",
            "licenses.use.wrong_division",
            "licenses.use.bad_consent",
            "licenses.use.consent_expired",
            "licenses.use.bad_approval",
            "licenses.use.approval_expired",
            "licenses.use.grant_mismatch",
            "licenses.use.license_unknown",
            "licenses.use.consent_replayed",
            "licenses.use.matter_not_covered",
            "licenses.use.not_entrusted",
            "licenses.use.mode_not_allowed",
            "licenses.use.type_not_listed",
            "licenses.use.field_not_listed",
            "licenses.use.license_mismatch",
            "licenses.use.license_not_valid",
            "licenses.use.license_unbound",
            "licenses.use.no_legal_basis",
            "licenses.use.officer_not_enrolled",
            "licenses.use.same_officer",
            "licenses.use.notice_deferral",
            "licenses.use.too_many_pending",
        ),
    ),
)
