"""Recording a use: what validators let pass, and what they ask of licenses and of the holder's consent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ledger.suite import SHA256_ED25519 as SUITE
from licenses.handles import chained_use
from licenses.models import MAX_PENDING_REQUESTS, ChangeStatus, RecordUse, RevokeLicense
from licenses.use import Item, SignedConsent
from licenses.use_signing import sign_consent
from tests.ledger.sample_chain import signer
from tests.licenses.recording_story import World, refused, use_once
from tests.licenses.story import (
    CENTRE,
    DAY_MS,
    DEPARTMENT,
    ISSUER,
    OTHER_TYPE,
    TYPE,
    Holder,
    key_of,
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
