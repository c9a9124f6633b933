"""Verification of licenses: each verdict with its code, and exit codes."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.bundle import Bundle
from ledger.checkpoints import cosign, sign_checkpoint
from ledger.membership import enrolled_key_key
from ledger.membership_operations import RevokeKey
from ledger.notes import SignedNote
from ledger.policy import policy_for
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.evidence import license_keys, license_subject
from licenses.models import ChangeStatus, RevokeLicense, SuspendIssuer
from licenses.verdicts import (
    ANCHORED,
    AUTHORISED_USE,
    CHECKPOINT_QUORUM,
    CHECKS,
    CONTENT_DIGEST,
    FORMAT,
    FRESHNESS,
    HOLDER_BINDING,
    ISSUER_ACCREDITED,
    ISSUER_SIGNATURE,
    STATUS,
    VALIDITY_PERIOD,
    ExitCode,
    Outcome,
)
from tests.ledger.sample_chain import FOUNDERS, Member, SampleChain, validator_set
from tests.licenses.story import BEIJING, DAY_MS, ISSUER, TYPE, Holder, Story, key_of
from tests.licenses.verification_story import BY, ask, check_license, credential_of, outcomes


def test_a_good_license_passes_every_check_that_applies(story: Story, person: Holder) -> None:
    report = check_license(story, person)
    assert report.exit_code is ExitCode.VALID
    assert set(outcomes(report, Outcome.PASSED)) == set(CHECKS) - {HOLDER_BINDING, AUTHORISED_USE}
    assert [each.check for each in report.verdicts] == list(CHECKS)
    shown = report.to_json()
    assert shown["result"] == "valid" and shown["exit_code"] == 0
    assert report.facts["status"] == "01"


def test_a_bundle_alone_shows_a_license_without_its_document(story: Story, person: Holder) -> None:
    report = ask(story, bundle=story.license_bundle(person.handle))
    assert report.exit_code is ExitCode.VALID
    assert report.subject == license_subject(person.handle)


def change_status(story: Story, person: Holder, verb: str, model: Any = ChangeStatus) -> None:
    body = model(licenses=(person.handle,), reason="check")
    story.apply(BY, (f"licenses.license.{verb}", body))


def test_withheld_given_back_revoked(story: Story, person: Holder) -> None:
    seen = []
    for verb, model in (
        ("withhold", ChangeStatus),
        ("give_back", ChangeStatus),
        ("revoke", RevokeLicense),
    ):
        change_status(story, person, verb, model)
        report = check_license(story, person)
        seen.append((report.exit_code, report.verdict(STATUS).code))
    assert seen == [
        (ExitCode.NOT_VALID, "withheld"),
        (ExitCode.VALID, "ok"),
        (ExitCode.NOT_VALID, "revoked"),
    ]


def test_a_past_status_is_proved_from_the_history(story: Story, person: Holder) -> None:
    issued_ms = story.chain.time_ms
    story.wait(DAY_MS)
    change_status(story, person, "withhold")
    withheld_ms = story.chain.time_ms
    story.wait(DAY_MS)
    change_status(story, person, "give_back")
    for at_ms, exit_code, code in (
        (issued_ms - 1, ExitCode.NOT_VALID, "not_recorded_then"),
        (issued_ms, ExitCode.VALID, "ok"),
        (withheld_ms - 1, ExitCode.VALID, "ok"),
        (withheld_ms, ExitCode.NOT_VALID, "withheld"),
        (story.chain.time_ms, ExitCode.VALID, "ok"),
        (story.chain.time_ms + 1000, ExitCode.UNESTABLISHED, "not_shown"),
    ):
        report = check_license(story, person, at_ms=at_ms)
        assert (report.exit_code, report.verdict(STATUS).code) == (exit_code, code), at_ms


def test_an_old_bundle_still_shows_the_past_but_not_the_present(
    story: Story, person: Holder
) -> None:
    at_ms = story.chain.time_ms
    bundle = story.license_bundle(person.handle)
    now_ms = at_ms + 30 * DAY_MS
    report = ask(story, bundle=bundle, now_ms=now_ms)
    assert outcomes(report, Outcome.UNESTABLISHED) == {FRESHNESS: "stale"}
    assert report.exit_code is ExitCode.UNESTABLISHED
    assert ask(story, bundle=bundle, now_ms=now_ms, at_ms=at_ms).exit_code is ExitCode.VALID


@pytest.mark.parametrize("at", [False, True])
def test_an_anchor_that_is_too_old_establishes_nothing(
    story: Story, person: Holder, at: bool
) -> None:
    report = check_license(
        story,
        person,
        at_ms=story.chain.time_ms if at else None,
        now_ms=story.chain.time_ms + 400 * DAY_MS,
    )
    assert report.exit_code is ExitCode.UNESTABLISHED
    assert report.verdict(FRESHNESS).code == "anchor_too_old"


def test_the_validity_period_is_that_of_the_time_asked_about(story: Story) -> None:
    begins = (story.time_ms // 1000 + 100) * 1000
    person = story.holder("later", valid_to_ms=begins + 1000)
    assert check_license(story, person).exit_code is ExitCode.VALID
    story.wait(200_000)
    change_status(story, story.holder("unrelated"), "withhold")
    report = check_license(story, person)
    assert report.verdict(VALIDITY_PERIOD).code == "expired"
    assert report.exit_code is ExitCode.NOT_VALID


def test_an_unknown_license_is_not_valid(story: Story) -> None:
    issued = story.prepare(None)
    bundle = story.license_bundle(issued.body.license)
    report = ask(story, credential=str(issued.credential.sd_jwt), bundle=bundle)
    assert report.verdict(ANCHORED).code == "not_recorded"
    assert report.exit_code is ExitCode.NOT_VALID


def test_a_credential_without_evidence_is_not_established(story: Story, person: Holder) -> None:
    report = ask(story, credential=credential_of(person))
    assert report.exit_code is ExitCode.UNESTABLISHED
    other = story.license_bundle(story.holder("another").handle)
    report = ask(story, credential=credential_of(person), bundle=other)
    assert report.exit_code is ExitCode.UNESTABLISHED
    assert report.verdict(ANCHORED).code == "no_evidence"


def test_another_network_s_policy_neither_proves_nor_disproves_a_license(
    story: Story, person: Holder
) -> None:
    policy = policy_for(SUITE, validator_set(FOUNDERS), "another-chain", story.chain.policy().as_of)
    report = check_license(story, person, policy=policy)
    assert report.exit_code is ExitCode.UNESTABLISHED
    assert outcomes(report, Outcome.UNESTABLISHED) == {CHECKPOINT_QUORUM: "other_network"}
    assert "'another-chain': is this the policy of" in report.verdict(CHECKPOINT_QUORUM).text


def test_a_bundle_must_show_the_license_that_is_asked_for(story: Story, person: Holder) -> None:
    bundle = story.license_bundle(person.handle)
    assert ask(story, bundle=bundle, handle=person.handle).exit_code is ExitCode.VALID
    other = story.holder("another").handle
    report = ask(story, bundle=bundle, handle=other)
    assert report.subject == license_subject(other)
    assert outcomes(report, Outcome.UNESTABLISHED) == {ANCHORED: "no_evidence"}
    absent = ask(story, bundle=story.license_bundle(bytes(32)), handle=bytes(32))
    assert absent.verdict(ANCHORED).code == "not_recorded"
    assert absent.exit_code is ExitCode.NOT_VALID


def test_another_credential_under_a_good_handle_is_not_valid(story: Story, person: Holder) -> None:
    """A stolen issuer key signs other claims for a handle that the ledger knows."""
    from licenses.credentials import randomness_bytes, sign_credential
    from tests.ledger.sample_chain import CHAIN_ID
    from tests.licenses.story import FIELDS, random_bytes

    good = person.issued.credential
    assert good.identifier is not None and good.handle_salt is not None
    forged = sign_credential(
        SUITE,
        BY,
        chain_id=CHAIN_ID,
        issuer=ISSUER,
        license_type=TYPE,
        identifier=good.identifier,
        handle_salt=good.handle_salt,
        fields={**FIELDS, "name": "王五"},
        holder=good.holder,
        issued_ms=0,
        valid_from_ms=0,
        valid_to_ms=None,
        randomness=random_bytes("forged", randomness_bytes(len(FIELDS))),
    )
    assert forged.handle == good.handle
    bundle = story.license_bundle(person.handle)
    report = ask(story, credential=str(forged.sd_jwt), bundle=bundle)
    assert outcomes(report, Outcome.FAILED) == {CONTENT_DIGEST: "digest_differs"}
    assert report.exit_code is ExitCode.NOT_VALID


def test_a_forged_signature_is_not_valid(story: Story, person: Holder) -> None:
    jwt, *rest = credential_of(person).split("~")
    forged = jwt[:-10] + ("A" if jwt[-10] != "A" else "B") + jwt[-9:]
    report = ask(
        story,
        credential="~".join((forged, *rest)),
        bundle=story.license_bundle(person.handle),
    )
    assert report.verdict(ISSUER_SIGNATURE).code == "bad_signature"
    assert report.exit_code is ExitCode.NOT_VALID


def test_licenses_recorded_after_a_keys_compromise_read_suspect(story: Story) -> None:
    before = story.holder("before")
    since_ms = story.time_ms
    after = story.holder("after")
    revoke = RevokeKey(key=str(BY.public_key), compromised_since_ms=since_ms)
    story.apply(BY, ("ledger.key.revoke", revoke))
    assert check_license(story, before).exit_code is ExitCode.VALID
    report = check_license(story, after)
    assert report.verdict(ISSUER_SIGNATURE).code == "suspect"
    assert report.exit_code is ExitCode.UNESTABLISHED


def test_a_license_stays_valid_when_its_issuer_is_suspended_later(
    story: Story, person: Holder
) -> None:
    suspend = SuspendIssuer(type=TYPE, issuer=ISSUER, reason="audit")
    story.apply(key_of(BEIJING, "issuer"), ("licenses.issuer.suspend", suspend))
    report = check_license(story, person)
    assert report.exit_code is ExitCode.VALID
    assert report.verdict(ISSUER_ACCREDITED).code == "suspended"


def test_an_issuer_without_accreditation_in_the_bundle_is_not_established(
    story: Story, person: Holder
) -> None:
    signed = story.chain.checkpoint()
    state = story.chain.state_evidence(f"licenses/license/{person.handle.hex()}", signed)
    bundle = Bundle.of(license_subject(person.handle), states=[state]).encode(SUITE)
    report = ask(story, bundle=bundle)
    assert report.verdict(ISSUER_ACCREDITED).code == "no_evidence"
    assert report.exit_code is ExitCode.UNESTABLISHED


def test_a_past_state_under_a_fresh_checkpoint_is_not_taken_for_the_present(
    story: Story, person: Holder
) -> None:
    height = story.chain.height
    change_status(story, person, "revoke", RevokeLicense)
    signed = story.chain.checkpoint()
    states = [
        story.chain.state_evidence(key, signed, height)
        for key in license_keys(story.license(person.handle))
    ]
    bundle = Bundle.of(license_subject(person.handle), states=states).encode(SUITE)
    report = ask(story, bundle=bundle)
    assert report.verdict(FRESHNESS).code == "not_current"
    assert report.exit_code is ExitCode.UNESTABLISHED


def test_evidence_of_the_issuer_from_before_its_keys_revocation_does_not_count(
    story: Story,
) -> None:
    """A presenter mixes today's record of the license with yesterday's record of the key."""
    person = story.holder("after")
    height = story.chain.height
    revoke = RevokeKey(key=str(BY.public_key), compromised_since_ms=story.chain.time_ms)
    story.apply(BY, ("ledger.key.revoke", revoke))
    signed = story.chain.checkpoint()
    keys = license_keys(story.license(person.handle))
    of_key = enrolled_key_key(str(BY.public_key))
    for then in ((), (of_key,)):
        states = [story.chain.state_evidence(key, signed) for key in keys if key != of_key]
        states.insert(0, story.chain.state_evidence(of_key, signed, height))
        states += [story.chain.state_evidence(key, signed) for key in then]
        bundle = Bundle.of(license_subject(person.handle), states=states).encode(SUITE)
        for at_ms in (None, story.chain.time_ms):
            report = ask(story, credential=credential_of(person), bundle=bundle, at_ms=at_ms)
            assert report.exit_code is ExitCode.UNESTABLISHED
            expected = (ISSUER_SIGNATURE, "suspect") if then else (ISSUER_ACCREDITED, "no_evidence")
            assert report.verdict(expected[0]).code == expected[1]


def test_a_revocation_in_the_newest_block_counts_though_ones_clock_is_behind(
    story: Story, person: Holder
) -> None:
    change_status(story, person, "revoke", RevokeLicense)
    report = check_license(story, person, now_ms=story.chain.time_ms - 1)
    assert report.verdict(STATUS).code == "revoked"
    assert report.exit_code is ExitCode.NOT_VALID


def test_a_license_recorded_just_now_is_valid_though_ones_clock_is_behind(story: Story) -> None:
    person = story.holder("new")
    report = check_license(story, person, now_ms=story.chain.time_ms - 1)
    assert report.exit_code is ExitCode.VALID


def test_a_license_recorded_in_the_block_that_suspends_its_issuer_stays_valid(
    story: Story,
) -> None:
    person = story.holder("last")
    story.chain.time_ms -= 1000  # validators order the two within one block
    suspend = SuspendIssuer(type=TYPE, issuer=ISSUER, reason="audit")
    story.apply(key_of(BEIJING, "issuer"), ("licenses.issuer.suspend", suspend))
    report = check_license(story, person)
    assert report.verdict(ISSUER_ACCREDITED).code == "suspended"
    assert report.exit_code is ExitCode.VALID


# --- quorum -----------------------------------------------------------------------------------


def test_a_policy_that_the_checkpoint_does_not_satisfy_establishes_nothing(
    story: Story, person: Holder
) -> None:
    names = ("beijing", "hebei", "national", "tianjin")
    policy = SampleChain([Member(name, generation=9) for name in names]).policy()
    report = check_license(story, person, policy=policy)
    assert report.verdict(CHECKPOINT_QUORUM).code == "no_quorum"
    assert report.exit_code is ExitCode.UNESTABLISHED


def test_two_of_four_cosignatures_are_no_quorum(story: Story, person: Holder) -> None:
    chain = story.chain
    signed = chain.checkpoint()
    few = SignedNote(
        signed.checkpoint.text,
        (
            sign_checkpoint(SUITE, chain.members[0].log_signer, chain.tree),
            *(
                cosign(SUITE, each.witness_signer, each.name, chain.tree, chain.time_ms // 1000)
                for each in chain.members[:2]
            ),
        ),
    )
    good = Bundle.decode(SUITE, story.license_bundle(person.handle))
    from dataclasses import replace

    from ledger.checkpoints import SignedCheckpoint

    weak = SignedCheckpoint.parse(few.encode())
    entries = tuple(replace(each, checkpoint=weak) for each in good.entries)
    states = tuple(replace(each, block=entries[0]) for each in good.states)
    bundle = Bundle(good.subject, weak, (), entries, states).encode(SUITE)
    report = ask(story, bundle=bundle)
    assert report.verdict(CHECKPOINT_QUORUM).code == "no_quorum"
    assert report.exit_code is ExitCode.UNESTABLISHED


# --- unreadable input -------------------------------------------------------------------------


@pytest.mark.parametrize("garbage", ["", "x", "~", "{}", "a.b.c~", "\x00" * 50, "李晓~"], ids=repr)
def test_garbage_is_unreadable(story: Story, person: Holder, garbage: str) -> None:
    report = ask(story, credential=garbage, bundle=story.license_bundle(person.handle))
    assert report.exit_code is ExitCode.UNREADABLE
    assert report.verdict(FORMAT).code == "credential_unreadable"
    report = ask(story, credential=credential_of(person), bundle=garbage.encode())
    assert report.exit_code is ExitCode.UNREADABLE
    assert report.verdict(FORMAT).code == "bundle_unreadable"


def test_nothing_given_is_not_valid(story: Story) -> None:
    assert ask(story).exit_code is ExitCode.UNESTABLISHED
