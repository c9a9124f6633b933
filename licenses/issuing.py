"""Operations on license types, issuers and licenses: define, accredit, suspend, issue, renew, bind, change status.

Rules. A type's defining authority (its USCC begins the type's code) defines the type and accredits issuers. A license
is recorded only by an issuer that is accredited at block time, and names the enrolled key that signed its credential.
Only its issuer, or the organisation that succeeded it, changes its status. Final statuses stay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ledger.errors import InvalidOperation
from ledger.membership import enrolled_key, organisation
from ledger.operations import Context, Event
from ledger.state import State
from licenses.models import (
    ACCREDITED,
    CANCELLED,
    MAX_STATUS_CHANGES,
    SUSPENDED,
    VALID,
    WITHHELD,
    Accreditation,
    AccreditIssuer,
    BindHolder,
    Change,
    ChangeStatus,
    DefineType,
    IssueLicense,
    License,
    LicenseType,
    RenewLicense,
    RevokeLicense,
    SuspendIssuer,
    accreditation,
    find_license,
    license_type,
    save_accreditation,
    save_license,
    save_type,
)

RENEWED: Final = "renewed"
"""The reason that the record of a renewed license gives for its cancellation."""


def define_type(state: State, body: DefineType, context: Context) -> list[Event]:
    if context.organisation != body.type[:18]:
        raise InvalidOperation(
            "licenses.type.not_defining_authority", f"{body.type} is not {context.organisation}'s"
        )
    fields = {field.name: field.title for field in body.fields}
    if len(fields) != len(body.fields):
        raise InvalidOperation("licenses.type.duplicate_field", "a field is listed twice")
    found = license_type(state, body.type)
    if found is not None:
        if found.holder_kind != body.holder_kind:
            raise InvalidOperation(
                "licenses.type.holder_kind", f"holders of {body.type} are {found.holder_kind}s"
            )
        # Licenses, matters and requests name fields: a type only ever grows.
        removed = sorted(set(found.fields) - set(fields))
        if removed:
            raise InvalidOperation("licenses.type.field_removed", f"missing: {', '.join(removed)}")
    version = 1 if found is None else found.version + 1
    save_type(state, LicenseType(body.type, body.name, body.holder_kind, fields, version))
    attributes = {"type": body.type, "organisation": context.organisation}
    return [Event("licenses.type.define", attributes)]


def accredit_issuer(state: State, body: AccreditIssuer, context: Context) -> list[Event]:
    _require_defining_authority(body.type, context)
    if license_type(state, body.type) is None:
        raise InvalidOperation("licenses.issuer.type_unknown", f"{body.type} is not defined")
    issuer = organisation(state, body.issuer)
    if issuer is None or not issuer.active:
        raise InvalidOperation(
            "licenses.issuer.unknown_organisation", f"{body.issuer} is not an active organisation"
        )
    _check_period(body.valid_from_ms, body.valid_to_ms, "licenses.issuer.period")
    found = accreditation(state, body.type, body.issuer)
    history = () if found is None else found.history
    if len(history) >= MAX_STATUS_CHANGES:
        raise InvalidOperation("licenses.issuer.too_many_changes", "the history is full")
    record = Accreditation(
        body.type,
        body.issuer,
        ACCREDITED,
        body.valid_from_ms,
        body.valid_to_ms,
        (*history, _change(ACCREDITED, context, "accredited")),
    )
    save_accreditation(state, record)
    return [_accreditation_event("licenses.issuer.accredit", record)]


def suspend_issuer(state: State, body: SuspendIssuer, context: Context) -> list[Event]:
    _require_defining_authority(body.type, context)
    found = accreditation(state, body.type, body.issuer)
    if found is None or found.status != ACCREDITED:
        raise InvalidOperation(
            "licenses.issuer.not_accredited", f"{body.issuer} is not accredited for {body.type}"
        )
    history = (*found.history, _change(SUSPENDED, context, body.reason))
    record = replace(found, status=SUSPENDED, history=history)
    save_accreditation(state, record)
    return [_accreditation_event("licenses.issuer.suspend", record)]


def issue_license(state: State, body: IssueLicense, context: Context) -> list[Event]:
    record = _new_license(state, body, context, None)
    save_license(state, record)
    return [_license_event("licenses.license.issue", record)]


def renew_license(state: State, body: RenewLicense, context: Context) -> list[Event]:
    previous = _own_license(state, body.previous, context)
    if previous.type != body.type:
        raise InvalidOperation(
            "licenses.license.previous_unfit", f"the previous license is of type {previous.type}"
        )
    if previous.status != VALID:
        raise InvalidOperation(
            "licenses.license.not_valid", f"the previous license has status {previous.status}"
        )
    record = _new_license(state, body, context, body.previous)
    cancelled = _with_status(previous, CANCELLED, context, RENEWED)
    save_license(state, cancelled)
    save_license(state, record)
    return [
        _license_event("licenses.license.renew", record),
        _license_event("licenses.license.revoke", cancelled),
    ]


def bind_holder(state: State, body: BindHolder, context: Context) -> list[Event]:
    found = _own_license(state, body.license, context)
    if found.holder is not None:
        raise InvalidOperation(
            "licenses.license.already_bound", "renew the license to bind another key"
        )
    if found.status != VALID:
        raise InvalidOperation("licenses.license.not_valid", f"its status is {found.status}")
    # The credential is a new one, with whatever claims: only who may issue may put it in place of the old one.
    _require_accredited(state, found.type, found.issuer, context)
    _check_credential_key(state, body.credential_key, context)
    record = found._replace(
        holder=body.holder,
        credential=body.credential,
        credential_key=body.credential_key,
        recorded_ms=context.time_ms,
    )
    save_license(state, record)
    return [_license_event("licenses.license.bind_holder", record)]


def withhold_license(state: State, body: ChangeStatus, context: Context) -> list[Event]:
    events = []
    for handle in body.licenses:
        found = _own_license(state, handle, context)
        if found.status != VALID:
            raise InvalidOperation("licenses.license.not_valid", f"its status is {found.status}")
        if len(found.history) >= MAX_STATUS_CHANGES:
            raise InvalidOperation(
                "licenses.license.too_many_changes", "its history is full; revoke it instead"
            )
        record = _with_status(found, WITHHELD, context, body.reason)
        save_license(state, record)
        events.append(_license_event("licenses.license.withhold", record))
    return events


def give_back_license(state: State, body: ChangeStatus, context: Context) -> list[Event]:
    events = []
    for handle in body.licenses:
        found = _own_license(state, handle, context)
        if found.status != WITHHELD:
            raise InvalidOperation("licenses.license.not_withheld", f"its status is {found.status}")
        record = _with_status(found, VALID, context, body.reason)
        save_license(state, record)
        events.append(_license_event("licenses.license.give_back", record))
    return events


def revoke_license(state: State, body: RevokeLicense, context: Context) -> list[Event]:
    events = []
    for handle in body.licenses:
        found = _own_license(state, handle, context)
        if found.status not in (VALID, WITHHELD):
            raise InvalidOperation("licenses.license.ended", f"its status is {found.status}")
        record = _with_status(found, body.status, context, body.reason)
        save_license(state, record)
        events.append(_license_event("licenses.license.revoke", record))
    return events


def _new_license(
    state: State, body: IssueLicense, context: Context, previous: bytes | None
) -> License:
    _require_accredited(state, body.type, context.organisation, context)
    if find_license(state, body.license) is not None:
        raise InvalidOperation("licenses.license.exists", "this handle is recorded already")
    _check_credential_key(state, body.credential_key, context)
    _check_period(body.valid_from_ms, body.valid_to_ms, "licenses.license.period")
    return License(
        handle=body.license,
        type=body.type,
        issuer=context.organisation,
        credential=body.credential,
        credential_key=body.credential_key,
        holder=body.holder,
        document=body.document,
        valid_from_ms=body.valid_from_ms,
        valid_to_ms=body.valid_to_ms,
        previous=previous,
        recorded_ms=context.time_ms,
        history=(_change(VALID, context, "issued"),),
        uses=0,
        last_use=None,
        pending=(),
    )


def _own_license(state: State, handle: bytes, context: Context) -> License:
    """Return a license of the signer's organisation, or of one that it has succeeded."""
    found = find_license(state, handle)
    if found is None:
        raise InvalidOperation("licenses.license.unknown", f"no license {handle.hex()}")
    if found.issuer != context.organisation:
        issuer = organisation(state, found.issuer)
        if issuer is None or issuer.active or issuer.successor != context.organisation:
            raise InvalidOperation(
                "licenses.license.not_issuer", f"the license is {found.issuer}'s"
            )
    return found


def _require_accredited(state: State, code: str, issuer: str, context: Context) -> None:
    accredited = accreditation(state, code, issuer)
    if accredited is None or not accredited.covers(context.time_ms):
        raise InvalidOperation(
            "licenses.license.not_accredited", f"{issuer} is not accredited for {code} now"
        )


def _check_credential_key(state: State, key: str, context: Context) -> None:
    found = enrolled_key(state, key)
    if (
        found is None
        or not found.active
        or found.organisation != context.organisation
        or "issuer" not in found.roles
    ):
        raise InvalidOperation(
            "licenses.license.credential_key",
            f"{key} is not an active issuer key of {context.organisation}",
        )


def _require_defining_authority(code: str, context: Context) -> None:
    if context.organisation != code[:18]:
        raise InvalidOperation(
            "licenses.issuer.not_defining_authority", f"{code} is not {context.organisation}'s"
        )


def _check_period(valid_from_ms: int, valid_to_ms: int | None, code: str) -> None:
    if valid_to_ms is not None and valid_to_ms <= valid_from_ms:
        raise InvalidOperation(code, "the period ends before it begins")


def _with_status(record: License, status: str, context: Context, reason: str) -> License:
    return record._replace(history=(*record.history, _change(status, context, reason)))


def _change(status: str, context: Context, reason: str) -> Change:
    return Change(status, context.time_ms, context.height, context.organisation, reason)


def _accreditation_event(kind: str, record: Accreditation) -> Event:
    return Event(kind, {"type": record.type, "organisation": record.issuer})


def _license_event(kind: str, record: License) -> Event:
    return Event(
        kind,
        {
            "license": record.handle.hex(),
            "type": record.type,
            "organisation": record.issuer,
            "status": record.status,
        },
    )
