"""Recording a use in statutory mode: law and a second officer in place of the holder's consent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ledger.suite import SHA256_ED25519 as SUITE
from licenses.use import MAX_NOTICE_DEFERRAL_MS, Basis, RequestEnvelope
from licenses.use_signing import sign_approval
from tests.ledger.sample_chain import signer
from tests.licenses.recording_story import World, refused
from tests.licenses.story import CENTRE, DEPARTMENT, INSTRUMENT, ISSUER, key_of


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
