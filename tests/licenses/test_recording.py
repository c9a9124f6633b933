"""Recording a use: what validators let pass, and every code with which they refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from directory.models import Entrustment, RetireEntry
from ledger.errors import InvalidOperation
from ledger.membership_operations import AmendOrganisation, DissolveOrganisation, RevokeKey
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.handles import chained_use
from licenses.models import MAX_PENDING_REQUESTS, ChangeStatus, RecordUse, RevokeLicense
from licenses.use import (
    MAX_NOTICE_DEFERRAL_MS,
    Basis,
    Item,
    Request,
    RequestEnvelope,
    SignedConsent,
    SignedRequest,
)
from licenses.use_signing import sign_approval, sign_consent
from tests.ledger.sample_chain import signer
from tests.licenses.story import (
    BEIJING,
    CENTRE,
    DAY_MS,
    DEPARTMENT,
    INSTRUMENT,
    ISSUER,
    MATTER,
    OTHER_TYPE,
    STRANGER,
    TIANJIN,
    TONGZHOU,
    TYPE,
    Holder,
    Story,
    key_of,
    ready_story,
    sealing_key_of,
)


class World(Story):
    """A story with one holder, whose license is ready for use."""

    person: Holder


@pytest.fixture(scope="module")
def prepared() -> tuple[Story, Holder]:
    story = ready_story()
    return story, story.holder()


@pytest.fixture
def world(prepared: tuple[Story, Holder]) -> Iterator[World]:
    """Return the prepared world; what a test commits is undone by the copy of its state."""
    story, person = prepared
    kept = dict(story.values)
    story.__class__ = World
    assert isinstance(story, World)
    story.person = person
    yield story
    # The sample chain only grows; handlers read the values, which start afresh for each test.
    story.values = kept


def refused(code: str) -> Any:
    return pytest.raises(InvalidOperation, match=f"^licenses\\.use\\.{code}\\b")


def use_once(world: World, **options: Any) -> RequestEnvelope:
    envelope = world.request(**options)
    world.record(envelope, consent=world.consent(envelope, world.person))
    return envelope


def signed_again(envelope: RequestEnvelope, by: Any, changes: dict[str, Any]) -> RequestEnvelope:
    """Return the request with other fields, signed anew."""
    request = replace(envelope.signed.request, **changes)
    return RequestEnvelope(
        SignedRequest(request, by.sign(request.signed_bytes())), envelope.details
    )


def test_an_entrusted_organisation_records_a_use(world: World) -> None:
    before = world.license(world.person.handle)
    envelope = world.request()
    request_hash = envelope.signed.request.hash(SUITE)
    consent = world.consent(envelope, world.person)
    transaction = world.record(envelope, consent=consent)
    record = world.license(world.person.handle)
    assert record.uses == before.uses + 1
    use_id = consent.consent.use_id(SUITE)
    assert record.last_use == chained_use(SUITE, before.last_use, record.uses, use_id, transaction)
    assert record.pending[-1] == (request_hash, envelope.signed.request.expires_ms)


def test_the_responsible_department_needs_no_entrustment(world: World) -> None:
    use_once(world, organisation=DEPARTMENT)


def test_a_consent_is_used_once(world: World) -> None:
    envelope = world.request()
    consent = world.consent(envelope, world.person)
    world.record(envelope, consent=consent)
    with refused("consent_replayed"):
        world.record(envelope, consent=consent)
    assert world.license(world.person.handle).uses == 1


def test_a_second_consent_to_a_used_request_is_a_replay_too(world: World) -> None:
    envelope = world.request()
    world.record(envelope, consent=world.consent(envelope, world.person))
    with refused("consent_replayed"):
        world.record(envelope, consent=world.consent(envelope, world.person, lifetime_ms=1_000_000))


def test_a_used_request_is_remembered_until_it_has_expired(world: World) -> None:
    envelope = use_once(world)
    consent = world.consent(envelope, world.person, lifetime_ms=DAY_MS)
    world.wait(envelope.signed.request.expires_ms - world.time_ms - 1)
    with refused("consent_replayed"):
        world.record(envelope, consent=consent)
    world.wait(1)
    with refused("request_expired"):
        world.record(envelope, consent=consent)
    use_once(world)
    assert len(world.license(world.person.handle).pending) == 1, "expired requests are forgotten"


def test_too_many_uses_within_minutes_are_refused(world: World) -> None:
    record = world.license(world.person.handle)
    pending = tuple((bytes([n]) * 32, world.time_ms + DAY_MS) for n in range(MAX_PENDING_REQUESTS))
    key = f"licenses/license/{record.handle.hex()}"
    world.values[key] = record._replace(pending=pending).to_value()
    with refused("too_many_pending"):
        use_once(world)


def test_a_holder_may_grant_fewer_fields_than_asked(world: World) -> None:
    envelope = world.request()
    grant = (world.person.handle, ("name",), world.person.salt, world.person.signer)
    consent = sign_consent(
        SUITE, envelope.signed.request, [grant], expires_ms=world.time_ms + 60_000
    )
    world.record(envelope, consent=consent)


def test_one_request_may_use_licenses_of_two_holders(world: World) -> None:
    other = world.holder("second holder", license_type=OTHER_TYPE)
    envelope = world.request(items=(Item(TYPE, ("name",)), Item(OTHER_TYPE, ("name",))))
    world.record(envelope, consent=world.consent(envelope, world.person, other))
    assert world.license(other.handle).uses == 1
    assert world.license(world.person.handle).uses == 1


def test_two_holders_who_were_shown_one_request_make_two_uses_with_two_names(world: World) -> None:
    other = world.holder("shown the same request")
    envelope = world.request()
    for person in (world.person, other):
        world.record(envelope, consent=world.consent(envelope, person))
    assert len({use_id for use_id, _ in world.uses[-2:]}) == 2


def test_one_license_that_is_not_valid_spoils_a_use_of_two(world: World) -> None:
    other = world.holder("third holder", license_type=OTHER_TYPE)
    envelope = world.request(items=(Item(TYPE, ("name",)), Item(OTHER_TYPE, ("name",))))
    status = ChangeStatus(licenses=(other.handle,), reason="check")
    world.apply(key_of(ISSUER, "issuer"), ("licenses.license.withhold", status))
    with refused("license_not_valid"):
        world.record(envelope, consent=world.consent(envelope, world.person, other))
    assert world.license(world.person.handle).uses == 0


# --- the request -----------------------------------------------------------------------------

FORGERIES: dict[str, Callable[[Request], Request]] = {
    "matter": lambda r: replace(r, matter=DEPARTMENT + "0001000000002"),
    "division": lambda r: replace(r, division="110112"),
    "items": lambda r: replace(r, items=(Item(TYPE, ("name",)),)),
    "details": lambda r: replace(r, details=bytes(32)),
    "nonce": lambda r: replace(r, nonce=bytes(16)),
    "expiry": lambda r: replace(r, expires_ms=r.expires_ms + 1),
    "organisation": lambda r: replace(r, organisation=DEPARTMENT),
    "operator": lambda r: replace(r, operator=key_of(STRANGER, "operator").public_key),
    "sealing key": lambda r: replace(r, sealing_key=sealing_key_of(STRANGER).public_key),
    "chain": lambda r: replace(r, chain_id="other-chain"),
    "mode": lambda r: replace(r, mode="statutory", basis=Basis(INSTRUMENT, "1")),
}


@pytest.mark.parametrize("field", FORGERIES)
def test_a_request_changed_after_signing_is_refused(world: World, field: str) -> None:
    envelope = world.request()
    forged = RequestEnvelope(
        SignedRequest(FORGERIES[field](envelope.signed.request), envelope.signed.signature),
        envelope.details,
    )
    with pytest.raises(InvalidOperation):
        world.record(
            forged,
            consent=world.consent(forged, world.person),
            by=key_of(forged.signed.request.organisation, "recorder"),
        )
    assert world.license(world.person.handle).uses == 0


@pytest.mark.parametrize("field", FORGERIES)
def test_a_consent_to_another_request_is_refused(world: World, field: str) -> None:
    envelope = world.request()
    consent = world.consent(envelope, world.person)
    changed = FORGERIES[field](envelope.signed.request)
    fields = {name: getattr(changed, name) for name in Request.__dataclass_fields__}
    other = signed_again(envelope, key_of(CENTRE, "operator"), fields)
    with pytest.raises(InvalidOperation):
        world.record(other, consent=consent, by=key_of(CENTRE, "recorder"))
    assert world.license(world.person.handle).uses == 0


def test_a_request_for_another_chain_is_refused(world: World) -> None:
    envelope = world.request(chain_id="other-chain")
    with refused("bad_request"):
        world.record(envelope, consent=world.consent(envelope, world.person))


def test_garbage_is_no_request(world: World) -> None:
    for garbage in (b"\xc0", b"\x92\xc4\x00\xc4\x00", b"\xff" * 100):
        body = RecordUse(request=garbage, consent=b"\xc0")
        with refused("bad_request"):
            world.apply(key_of(CENTRE, "recorder"), ("licenses.use.record", body))


def test_a_request_that_nobody_signed_is_refused(world: World) -> None:
    envelope = world.request()
    unsigned = RequestEnvelope(SignedRequest(envelope.signed.request, bytes(64)), envelope.details)
    with refused("bad_request"):
        world.record(unsigned, consent=world.consent(unsigned, world.person))


def test_only_the_organisation_that_asked_records(world: World) -> None:
    envelope = world.request()
    with refused("not_acceptor"):
        world.record(
            envelope,
            consent=world.consent(envelope, world.person),
            by=key_of(DEPARTMENT, "recorder"),
        )


def test_an_expired_request_is_refused(world: World) -> None:
    envelope = world.request(lifetime_ms=60_000)
    consent = world.consent(envelope, world.person)
    world.wait(60_000)
    with refused("request_expired"):
        world.record(envelope, consent=consent)


def test_a_request_that_lasts_too_long_is_refused(world: World) -> None:
    envelope = world.request(lifetime_ms=DAY_MS)
    with refused("request_too_long"):
        world.record(envelope, consent=world.consent(envelope, world.person))


@pytest.mark.parametrize(
    "operator",
    [
        pytest.param(signer("nobody"), id="unknown key"),
        pytest.param(key_of(STRANGER, "operator"), id="operator of another organisation"),
        pytest.param(key_of(CENTRE, "recorder"), id="key without the role"),
    ],
)
def test_only_an_enrolled_operator_of_the_organisation_asks(world: World, operator: Any) -> None:
    envelope = world.request(operator=operator)
    with refused("operator_not_enrolled"):
        world.record(envelope, consent=world.consent(envelope, world.person))


def test_a_revoked_operator_key_asks_no_more(world: World) -> None:
    envelope = world.request()
    operator = key_of(CENTRE, "operator")
    world.apply(operator, ("ledger.key.revoke", RevokeKey(key=str(operator.public_key))))
    with refused("operator_not_enrolled"):
        world.record(envelope, consent=world.consent(envelope, world.person))


def test_disclosure_goes_to_the_registered_sealing_key_only(world: World) -> None:
    envelope = world.request(sealing_key=sealing_key_of(STRANGER).public_key)
    with refused("wrong_sealing_key"):
        world.record(envelope, consent=world.consent(envelope, world.person))


def test_a_replaced_sealing_key_voids_older_requests(world: World) -> None:
    envelope = world.request()
    body = AmendOrganisation(uscc=CENTRE, sealing_key="ab" * 32)
    world.apply(key_of(CENTRE, "registrar"), ("ledger.organisation.amend", body))
    with refused("wrong_sealing_key"):
        world.record(envelope, consent=world.consent(envelope, world.person))


# --- the matter -------------------------------------------------------------------------------


def test_a_use_for_no_registered_matter_is_refused(world: World) -> None:
    with refused("matter_not_covered"):
        use_once(world, matter=DEPARTMENT + "0001000000009")


@pytest.mark.parametrize(
    ("collection", "identifier"),
    [
        ("matter", MATTER),
        ("responsibility", f"{DEPARTMENT}-1"),
        ("instrument", INSTRUMENT),
    ],
)
def test_a_matter_covers_nothing_once_it_or_its_basis_is_retired(
    world: World, collection: str, identifier: str
) -> None:
    retire = RetireEntry(id=identifier, reason="ended")
    world.apply(key_of(DEPARTMENT, "editor"), (f"directory.{collection}.retire", retire))
    use_once(world)  # a retirement counts only once it is approved
    world.approve(collection, identifier)
    with refused("matter_not_covered"):
        use_once(world)


def test_a_department_that_is_dissolved_has_no_matters(world: World) -> None:
    body = DissolveOrganisation(uscc=DEPARTMENT)
    world.apply(key_of(TONGZHOU, "registrar"), ("ledger.organisation.dissolve", body))
    with refused("matter_not_covered"):
        use_once(world)


def test_a_centre_that_is_dissolved_accepts_nothing(world: World) -> None:
    body = DissolveOrganisation(uscc=CENTRE)
    world.apply(key_of(TIANJIN, "registrar"), ("ledger.organisation.dissolve", body))
    with refused("not_acceptor"):
        use_once(world)


def test_an_organisation_that_is_not_entrusted_is_refused(world: World) -> None:
    with refused("not_entrusted"):
        use_once(world, organisation=STRANGER)


@pytest.mark.parametrize(
    ("begins", "ends", "now"),
    [(DAY_MS, 2 * DAY_MS, 0), (0, DAY_MS, DAY_MS)],
    ids=["before", "after"],
)
def test_an_entrustment_counts_in_its_period_only(
    world: World, begins: int, ends: int, now: int
) -> None:
    start = world.time_ms
    entrustment = Entrustment(
        department=DEPARTMENT,
        organisation=CENTRE,
        matters=(MATTER,),
        valid_from_ms=start + begins,
        valid_to_ms=start + ends,
        document="another",
        digest=bytes(32),
    )
    world.publish("entrustment", entrustment)
    world.wait(now)
    with refused("not_entrusted"):
        use_once(world)


def test_a_revoked_entrustment_counts_no_more(world: World) -> None:
    identifier = f"{DEPARTMENT}-{CENTRE}"
    retire = RetireEntry(id=identifier, reason="ended")
    world.apply(key_of(DEPARTMENT, "editor"), ("directory.entrustment.retire", retire))
    world.approve("entrustment", identifier)
    with refused("not_entrusted"):
        use_once(world)


def test_a_field_that_the_matter_does_not_list_is_refused(world: World) -> None:
    with refused("field_not_listed"):
        use_once(world, items=(Item(TYPE, ("birth_date", "name")),))


def test_a_type_that_the_matter_does_not_list_is_refused(world: World) -> None:
    with refused("type_not_listed"):
        use_once(world, items=(Item(BEIJING + "009", ("name",)),))


def test_a_mode_that_the_matter_does_not_allow_is_refused(world: World) -> None:
    world.publish("matter", world.matter(modes=("statutory",)))
    with refused("mode_not_allowed"):
        use_once(world)


# --- the license ------------------------------------------------------------------------------


def test_a_withheld_license_is_refused_until_it_is_given_back(world: World) -> None:
    issuer = key_of(ISSUER, "issuer")
    change = ChangeStatus(licenses=(world.person.handle,), reason="check")
    world.apply(issuer, ("licenses.license.withhold", change))
    with refused("license_not_valid"):
        use_once(world)
    world.apply(issuer, ("licenses.license.give_back", change))
    use_once(world)
    revoke = RevokeLicense(licenses=(world.person.handle,), reason="forged papers")
    world.apply(issuer, ("licenses.license.revoke", revoke))
    with refused("license_not_valid"):
        use_once(world)


def test_a_license_counts_in_its_validity_period_by_block_time(world: World) -> None:
    ends = (world.time_ms // 1000 + 600) * 1000
    person = world.holder("expiring", valid_to_ms=ends)
    early, late = world.request(), world.request(lifetime_ms=700_000)
    world.record(early, consent=world.consent(early, person))
    consent = world.consent(late, person, lifetime_ms=700_000)
    world.wait(ends - world.time_ms)
    assert world.time_ms == ends
    with refused("license_not_valid"):
        world.record(late, consent=consent)


def test_an_unknown_license_is_refused(world: World) -> None:
    envelope = world.request()
    grant = (bytes(32), ("name",), world.person.salt, world.person.signer)
    consent = sign_consent(
        SUITE, envelope.signed.request, [grant], expires_ms=world.time_ms + 60_000
    )
    with refused("license_unknown"):
        world.record(envelope, consent=consent)


def test_a_license_of_another_type_than_asked_is_refused(world: World) -> None:
    with refused("license_mismatch"):
        use_once(world, items=(Item(OTHER_TYPE, ("name",)),))


def test_an_unbound_license_is_unusable_in_holder_mode(world: World) -> None:
    issued = world.prepare(None)
    world.apply(key_of(ISSUER, "issuer"), ("licenses.license.issue", issued.body))
    person = Holder(world.person.signer, world.person.salt, issued)
    envelope = world.request()
    with refused("license_unbound"):
        world.record(envelope, consent=world.consent(envelope, person))


# --- the consent ------------------------------------------------------------------------------


def test_nobody_else_consents(world: World) -> None:
    envelope = world.request()
    with refused("bad_consent"):
        world.record(
            envelope, consent=world.consent(envelope, world.person, by=signer("a stranger"))
        )


def test_a_consent_with_the_holders_key_but_anothers_signature_is_refused(world: World) -> None:
    envelope = world.request()
    consent = world.consent(envelope, world.person)
    forged = signer("a stranger").sign(consent.consent.signed_bytes())
    with refused("bad_consent"):
        world.record(envelope, consent=SignedConsent(consent.consent, (forged,)))


@pytest.mark.parametrize(
    "changes",
    [{"expires_ms": 2**53}, {"chain_id": "other-chain"}, {"request_hash": bytes(32)}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_consent_changed_after_signing_is_refused(world: World, changes: Any) -> None:
    envelope = world.request()
    consent = world.consent(envelope, world.person)
    forged = SignedConsent(replace(consent.consent, **changes), consent.signatures)
    with refused("bad_consent"):
        world.record(envelope, consent=forged)


def test_an_expired_consent_is_refused(world: World) -> None:
    envelope = world.request()
    consent = world.consent(envelope, world.person, lifetime_ms=60_000)
    world.wait(60_000)
    with refused("consent_expired"):
        world.record(envelope, consent=consent)


def test_a_use_without_consent_is_refused(world: World) -> None:
    with refused("bad_consent"):
        world.record(world.request())
    envelope = world.request()
    body = RecordUse(request=envelope.signed.encode(), consent=b"\xc0")
    with refused("bad_consent"):
        world.apply(key_of(CENTRE, "recorder"), ("licenses.use.record", body))


def test_a_consent_grants_nothing_that_was_not_asked(world: World) -> None:
    envelope = world.request(items=(Item(TYPE, ("name",)),))
    person = world.person
    grants = [
        [(person.handle, ("address", "name"), person.salt, person.signer)],
        [
            (person.handle, ("name",), person.salt, person.signer),
            (bytes(32), ("name",), person.salt, person.signer),
        ],
    ]
    for each in grants:
        consent = sign_consent(
            SUITE, envelope.signed.request, each, expires_ms=world.time_ms + 60_000
        )
        with refused("grant_mismatch"):
            world.record(envelope, consent=consent)


# --- statutory mode ---------------------------------------------------------------------------


def statutory(world: World, basis: Basis | None = None, **options: Any) -> RequestEnvelope:
    return world.request(basis=basis or Basis(INSTRUMENT, "1"), **options)


def approve(world: World, envelope: RequestEnvelope, **options: Any) -> Any:
    by = options.pop("by", key_of(DEPARTMENT, "officer"))
    lifetime_ms = options.pop("lifetime_ms", 300_000)
    grants = [(world.person.handle, item.fields) for item in envelope.signed.request.items]
    return sign_approval(
        SUITE,
        by,
        envelope.signed.request,
        options.pop("grants", grants),
        expires_ms=world.time_ms + lifetime_ms,
        **options,
    )


def test_a_statutory_use_needs_no_consent_but_law_and_a_second_officer(world: World) -> None:
    envelope = statutory(world, organisation=DEPARTMENT)
    approval = approve(world, envelope)
    world.record(envelope, approval=approval)
    with refused("consent_replayed"):
        world.record(envelope, approval=approval)
    assert world.license(world.person.handle).uses == 1


def test_an_unbound_license_is_usable_in_statutory_mode(world: World) -> None:
    issued = world.prepare(None)
    world.apply(key_of(ISSUER, "issuer"), ("licenses.license.issue", issued.body))
    envelope = statutory(world, organisation=DEPARTMENT)
    grants = [(issued.body.license, ("name",))]
    world.record(envelope, approval=approve(world, envelope, grants=grants))


def test_a_statutory_use_needs_the_matters_leave(world: World) -> None:
    world.publish("matter", world.matter(modes=("holder",)))
    envelope = statutory(world)
    with refused("mode_not_allowed"):
        world.record(envelope, approval=approve(world, envelope))


@pytest.mark.parametrize(
    "basis",
    [Basis(INSTRUMENT, "2"), Basis(f"{DEPARTMENT}-other", "1"), Basis("无此文件", "1")],
    ids=["another article", "another instrument", "no identifier of the directory"],
)
def test_a_statutory_use_cites_what_the_matter_rests_on(world: World, basis: Basis) -> None:
    envelope = statutory(world, basis)
    with refused("no_legal_basis"):
        world.record(envelope, approval=approve(world, envelope))


@pytest.mark.parametrize(
    "officer",
    [
        pytest.param(signer("nobody"), id="unknown key"),
        pytest.param(key_of(CENTRE, "officer"), id="officer of the entrusted window"),
        pytest.param(key_of(DEPARTMENT, "editor"), id="key without the role"),
    ],
)
def test_only_an_officer_of_the_department_approves(world: World, officer: Any) -> None:
    envelope = statutory(world)
    with refused("officer_not_enrolled"):
        world.record(envelope, approval=approve(world, envelope, by=officer))


@pytest.mark.parametrize("role", ["operator", "recorder"])
def test_who_asks_or_submits_is_not_the_second_officer(world: World, role: str) -> None:
    key = key_of(DEPARTMENT, role)
    state_key = f"ledger/key/{key.public_key}"
    roles = tuple(sorted((role, "officer")))
    world.values[state_key] = {**world.values[state_key], "roles": roles}  # type: ignore[dict-item]
    envelope = statutory(world, organisation=DEPARTMENT)
    with refused("same_officer"):
        world.record(envelope, approval=approve(world, envelope, by=key))


def test_an_approval_that_the_officer_did_not_sign_is_refused(world: World) -> None:
    envelope = statutory(world)
    approval = replace(approve(world, envelope), signature=bytes(64))
    with refused("bad_approval"):
        world.record(envelope, approval=approval)


def test_an_approval_is_for_one_request_in_its_time_and_for_what_was_asked(world: World) -> None:
    envelope = statutory(world)
    with refused("bad_approval"):
        world.record(envelope, approval=approve(world, statutory(world)))
    with refused("bad_approval"):
        world.record(envelope, consent=world.consent(envelope, world.person))
    grants = [(world.person.handle, ("birth_date",))]
    with refused("grant_mismatch"):
        world.record(envelope, approval=approve(world, envelope, grants=grants))
    approval = approve(world, envelope, lifetime_ms=10_000)
    world.wait(10_000)
    with refused("approval_expired"):
        world.record(envelope, approval=approval)


def test_notice_to_the_holder_is_deferred_for_a_time_only(world: World) -> None:
    for deferral_ms in (0, MAX_NOTICE_DEFERRAL_MS + 1):
        envelope = statutory(world)
        approval = approve(world, envelope, notice_after_ms=world.time_ms + deferral_ms)
        with refused("notice_deferral"):
            world.record(envelope, approval=approval)
    envelope = statutory(world)
    approval = approve(world, envelope, notice_after_ms=world.time_ms + MAX_NOTICE_DEFERRAL_MS)
    world.record(envelope, approval=approval)
