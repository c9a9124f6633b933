"""The operation that records a use: the tie between the directory and the licenses.

Every validator checks, before a use is recorded: the request is signed by an enrolled operator of the organisation
that submits it, names a place within that organisation's division, and is in time; the organisation is the responsible
department or one that it has entrusted; the matter is in force with every responsibility and article it rests on; type
and fields are on the matter's list; the license is valid at block time; and the holder consented to exactly this
request, or a second officer approved it on the article of law that the request cites. A request is used at most once:
each license remembers the hashes of used requests until they have expired anyway.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from directory.codes import place_problem
from directory.lookup import effective_matter, is_entrusted, matter_problem
from directory.models import Matter
from ledger.errors import DecodeError, InvalidOperation
from ledger.membership import enrolled_key, organisation
from ledger.operations import Context, Event
from ledger.state import State, StateReader
from licenses.handles import chained_use, holder_commitment
from licenses.models import (
    MAX_PENDING_REQUESTS,
    VALID,
    License,
    RecordUse,
    find_license,
    save_use,
)
from licenses.use import (
    HOLDER_MODE,
    MAX_NOTICE_DEFERRAL_MS,
    MAX_REQUEST_LIFETIME_MS,
    Grant,
    Request,
    SignedApproval,
    SignedConsent,
    SignedRequest,
)

RECORD_KIND: Final = "licenses.use.record"


class _Granted(NamedTuple):
    """What is granted of one license, in either mode. `holder` is the consent's grant, None in statutory mode."""

    handle: bytes
    fields: tuple[str, ...]
    holder: Grant | None


class CheckedUse(NamedTuple):
    """A use that has passed all checks, with the records of its licenses as they are before it."""

    request: Request
    request_hash: bytes
    id: bytes
    notice_after_ms: int | None
    licenses: tuple[License, ...]


def record_use(state: State, body: RecordUse, context: Context) -> list[Event]:
    use = check_use(state, body, context)
    return [_record(state, record, use, context) for record in use.licenses]


def check_use(state: StateReader, body: RecordUse, context: Context) -> CheckedUse:
    """Check everything that is checked of a use before it is recorded; nothing is written.

    Raises:
        InvalidOperation: with the code of the first check that it fails.
    """
    signed = _decode_request(body)
    request = signed.request
    _check_request(state, request, context)
    request_hash = request.hash(context.suite)
    consent, approval = _authorisation(request, request_hash, body, context)
    granted = _granted(consent, approval)
    _check_grants(request, granted)
    records = tuple([_usable_license(state, each, request_hash) for each in granted])
    matter = _check_matter(state, request, context)
    for item, each, record in zip(request.items, granted, records, strict=True):
        _check_license(record, item.license_type, each, context)
    if approval is not None:
        _check_approval(state, request, matter, approval, context)
    # Signatures last: they are dear, and an operation that fails above never needs them.
    if not signed.verify(context.suite):
        raise InvalidOperation("licenses.use.bad_request", "the operator did not sign the request")
    if consent is not None and not consent.verify(context.suite):
        raise InvalidOperation("licenses.use.bad_consent", "a holder did not sign the consent")
    if approval is not None and not approval.verify(context.suite):
        raise InvalidOperation("licenses.use.bad_approval", "the officer did not sign the approval")
    for record in records:
        _check_room(record, context)
    return CheckedUse(
        request,
        request_hash,
        _use_id(consent, approval, context),
        None if approval is None else approval.approval.notice_after_ms,
        records,
    )


def _decode_request(body: RecordUse) -> SignedRequest:
    try:
        return SignedRequest.decode(body.request)
    except DecodeError as error:
        raise InvalidOperation("licenses.use.bad_request", str(error)) from None


def _check_request(state: StateReader, request: Request, context: Context) -> None:
    """Check who asks and when; whether they may ask this is the matter's business."""
    if request.chain_id != context.chain_id:
        raise InvalidOperation("licenses.use.bad_request", f"made for chain {request.chain_id}")
    if request.organisation != context.organisation:
        raise InvalidOperation(
            "licenses.use.not_acceptor", f"only {request.organisation} records its own request"
        )
    if context.time_ms >= request.expires_ms:
        raise InvalidOperation("licenses.use.request_expired", "the request has expired")
    if request.expires_ms > context.time_ms + MAX_REQUEST_LIFETIME_MS:
        raise InvalidOperation("licenses.use.request_too_long", "the request lasts too long")
    acceptor = organisation(state, request.organisation)
    if acceptor is None or not acceptor.active:
        raise InvalidOperation("licenses.use.not_acceptor", f"{request.organisation} is dissolved")
    if not _holds_role(state, str(request.operator), "operator", request.organisation):
        raise InvalidOperation(
            "licenses.use.operator_not_enrolled",
            f"{request.operator} is not an active operator key of {request.organisation}",
        )
    if acceptor.sealing_key != request.sealing_key.hex():
        raise InvalidOperation(
            "licenses.use.wrong_sealing_key",
            f"the request's sealing key is not the one that {request.organisation} registered",
        )
    outside = place_problem(request.division, acceptor.division)
    if outside is not None:
        raise InvalidOperation("licenses.use.wrong_division", outside)


def _authorisation(
    request: Request, request_hash: bytes, body: RecordUse, context: Context
) -> tuple[SignedConsent | None, SignedApproval | None]:
    """Return the consent (holder mode) or the approval (statutory mode); it must be for this request, and in time."""
    if request.mode == HOLDER_MODE:
        if body.consent is None or body.approval is not None:
            raise InvalidOperation("licenses.use.bad_consent", "holder mode takes a consent")
        try:
            consent = SignedConsent.decode(body.consent)
        except DecodeError as error:
            raise InvalidOperation("licenses.use.bad_consent", str(error)) from None
        bound = consent.consent
        if bound.chain_id != context.chain_id or bound.request_hash != request_hash:
            raise InvalidOperation("licenses.use.bad_consent", "consent to another request")
        if context.time_ms >= bound.expires_ms:
            raise InvalidOperation("licenses.use.consent_expired", "the consent has expired")
        return consent, None
    if body.approval is None or body.consent is not None:
        raise InvalidOperation("licenses.use.bad_approval", "statutory mode takes an approval")
    try:
        approval = SignedApproval.decode(body.approval)
    except DecodeError as error:
        raise InvalidOperation("licenses.use.bad_approval", str(error)) from None
    given = approval.approval
    if given.chain_id != context.chain_id or given.request_hash != request_hash:
        raise InvalidOperation("licenses.use.bad_approval", "approval of another request")
    if context.time_ms >= given.expires_ms:
        raise InvalidOperation("licenses.use.approval_expired", "the approval has expired")
    return None, approval


def _granted(
    consent: SignedConsent | None, approval: SignedApproval | None
) -> tuple[_Granted, ...]:
    if consent is not None:
        return tuple(_Granted(each.handle, each.fields, each) for each in consent.consent.grants)
    assert approval is not None, "one of the two authorises a use"
    return tuple(_Granted(handle, fields, None) for handle, fields in approval.approval.grants)


def _use_id(
    consent: SignedConsent | None, approval: SignedApproval | None, context: Context
) -> bytes:
    if consent is not None:
        return consent.consent.use_id(context.suite)
    assert approval is not None, "one of the two authorises a use"
    return approval.approval.use_id(context.suite)


def _check_grants(request: Request, granted: tuple[_Granted, ...]) -> None:
    if len(granted) != len(request.items):
        raise InvalidOperation(
            "licenses.use.grant_mismatch", "a use grants one license for each item of its request"
        )
    for item, each in zip(request.items, granted, strict=True):
        if each.fields == item.fields:
            continue
        beyond = sorted(set(each.fields) - set(item.fields))
        if beyond:
            raise InvalidOperation(
                "licenses.use.grant_mismatch", f"granted but not asked for: {', '.join(beyond)}"
            )


def _usable_license(state: StateReader, granted: _Granted, request_hash: bytes) -> License:
    """Return the license, unless this request has been used on it before."""
    record = find_license(state, granted.handle)
    if record is None:
        raise InvalidOperation("licenses.use.license_unknown", f"no {granted.handle.hex()}")
    if request_hash in [used for used, _ in record.pending]:
        raise InvalidOperation(
            "licenses.use.consent_replayed", "this request has been used on the license already"
        )
    return record


def _check_matter(state: StateReader, request: Request, context: Context) -> Matter:
    """Return the matter, if it and all it rests on are in force and cover what the request asks for."""
    matter = effective_matter(state, request.matter)
    if matter is None:
        raise InvalidOperation(
            "licenses.use.matter_not_covered", f"no matter {request.matter} is in force"
        )
    problem = matter_problem(state, matter, context.time_ms)
    if problem is not None:
        raise InvalidOperation(
            "licenses.use.matter_not_covered", f"what {request.matter} rests on: {problem}"
        )
    if request.organisation != matter.department and not is_entrusted(
        state, matter.department, request.organisation, request.matter, context.time_ms
    ):
        raise InvalidOperation(
            "licenses.use.not_entrusted",
            f"{matter.department} has not entrusted {request.organisation} with the matter now",
        )
    if request.mode not in matter.modes:
        raise InvalidOperation(
            "licenses.use.mode_not_allowed", f"the matter allows {', '.join(matter.modes)}"
        )
    for item in request.items:
        demand = matter.demand(item.license_type)
        if demand is None:
            raise InvalidOperation(
                "licenses.use.type_not_listed", f"the matter lists no {item.license_type}"
            )
        unlisted = sorted(set(item.fields) - {field.name for field in demand.fields})
        if unlisted:
            raise InvalidOperation(
                "licenses.use.field_not_listed", f"not on the list: {', '.join(unlisted)}"
            )
    return matter


def _check_license(record: License, license_type: str, granted: _Granted, context: Context) -> None:
    if record.type != license_type:
        raise InvalidOperation(
            "licenses.use.license_mismatch", f"the license is of type {record.type}"
        )
    if record.status != VALID:
        raise InvalidOperation("licenses.use.license_not_valid", f"its status is {record.status}")
    if not record.in_period(context.time_ms):
        raise InvalidOperation("licenses.use.license_not_valid", "outside its validity period")
    if granted.holder is None:
        return
    if record.holder is None:
        raise InvalidOperation("licenses.use.license_unbound", "no holder's key is bound to it")
    grant = granted.holder
    if holder_commitment(context.suite, grant.holder_salt, grant.holder) != record.holder:
        raise InvalidOperation("licenses.use.bad_consent", "the consenting key is not the holder's")


def _check_approval(
    state: StateReader,
    request: Request,
    matter: Matter,
    approval: SignedApproval,
    context: Context,
) -> None:
    """Check the cited law, the second officer, and how long the holder's notice is put off."""
    basis = request.basis
    assert basis is not None, "a decoded statutory request cites its basis"
    cited = (basis.instrument, basis.article)
    if cited not in {(article.instrument, article.article) for article in matter.articles}:
        raise InvalidOperation(
            "licenses.use.no_legal_basis",
            f"the matter does not rest on {basis.instrument} {basis.article}",
        )
    officer = approval.approval.officer
    # The power is the department's: a window that it entrusted cannot approve for it.
    if not _holds_role(state, str(officer), "officer", matter.department):
        raise InvalidOperation(
            "licenses.use.officer_not_enrolled",
            f"{officer} is not an active officer key of {matter.department}",
        )
    if officer in (request.operator, context.signer):
        raise InvalidOperation(
            "licenses.use.same_officer", "who asks or submits cannot be the second officer"
        )
    notice_after_ms = approval.approval.notice_after_ms
    if notice_after_ms is not None and not (
        context.time_ms < notice_after_ms <= context.time_ms + MAX_NOTICE_DEFERRAL_MS
    ):
        raise InvalidOperation(
            "licenses.use.notice_deferral", "notice is deferred into the past or for too long"
        )


def _pending(record: License, context: Context) -> tuple[tuple[bytes, int], ...]:
    time_ms = context.time_ms
    return tuple([entry for entry in record.pending if entry[1] > time_ms])


def _check_room(record: License, context: Context) -> None:
    if len(record.pending) < MAX_PENDING_REQUESTS:
        return
    if len(_pending(record, context)) >= MAX_PENDING_REQUESTS:
        raise InvalidOperation(
            "licenses.use.too_many_pending", "too many uses of this license within minutes"
        )


def _record(state: State, record: License, use: CheckedUse, context: Context) -> Event:
    request = use.request
    number = record.uses + 1
    head = chained_use(context.suite, record.last_use, number, use.id, context.transaction_id)
    pending = (*_pending(record, context), (use.request_hash, request.expires_ms))
    save_use(state, record, head, pending)
    attributes = {
        "use": use.id.hex(),
        "license": record.handle.hex(),
        "number": str(number),
        "type": record.type,
        "organisation": request.organisation,
        "matter": request.matter,
        "division": request.division,
        "mode": request.mode,
    }
    if use.notice_after_ms is not None:
        attributes["notice_after_ms"] = str(use.notice_after_ms)
    return Event(RECORD_KIND, attributes)


def _holds_role(state: StateReader, key: str, role: str, uscc: str) -> bool:
    found = enrolled_key(state, key)
    return found is not None and found.active and found.organisation == uscc and role in found.roles
