"""Recording a use: what validators ask of the request, and of who asks and who records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ledger.errors import InvalidOperation
from ledger.membership_operations import AmendOrganisation, RevokeKey
from licenses.models import RecordUse
from licenses.use import Basis, Item, Request, RequestEnvelope, SignedRequest
from tests.ledger.sample_chain import signer
from tests.licenses.recording_story import World, refused
from tests.licenses.story import (
    CENTRE,
    DAY_MS,
    DEPARTMENT,
    INSTRUMENT,
    STRANGER,
    TYPE,
    key_of,
    sealing_key_of,
)


def signed_again(envelope: RequestEnvelope, by: Any, changes: dict[str, Any]) -> RequestEnvelope:
    """Return the request with other fields, signed anew."""
    request = replace(envelope.signed.request, **changes)
    return RequestEnvelope(
        SignedRequest(request, by.sign(request.signed_bytes())), envelope.details
    )


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


@pytest.mark.parametrize("division", ["110112", "000000", "990101", "120012"])
def test_a_use_is_recorded_for_a_place_within_the_organisations_division_only(
    world: World, division: str
) -> None:
    envelope = world.request(division=division)
    with refused("wrong_division"):
        world.record(envelope, consent=world.consent(envelope, world.person))
    assert world.license(world.person.handle).uses == 0
    within = world.request(division="120101")
    world.record(within, consent=world.consent(within, world.person))
    assert world.license(world.person.handle).uses == 1
