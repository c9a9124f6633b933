"""Verification: each verdict with its code, exit codes, and that no changed byte is ever accepted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.bundle import Bundle
from ledger.checkpoints import cosign, sign_checkpoint
from ledger.membership import enrolled_key_key
from ledger.membership_operations import RevokeKey
from ledger.notes import SignedNote
from ledger.policy import Policy, policy_for
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.credentials import present
from licenses.evidence import license_keys, license_subject
from licenses.models import BindHolder, ChangeStatus, RevokeLicense, SuspendIssuer
from licenses.use import Basis, Item
from licenses.use_signing import sign_approval
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
    Report,
)
from licenses.verification import Question, verify
from tests.ledger.sample_chain import FOUNDERS, Member, SampleChain, validator_set
from tests.licenses.story import (
    BEIJING,
    CENTRE,
    DAY_MS,
    DEPARTMENT,
    INSTRUMENT,
    ISSUER,
    TYPE,
    Holder,
    Story,
    key_of,
    ready_story,
)

BY = key_of(ISSUER, "issuer")


@pytest.fixture
def story() -> Story:
    return ready_story()


@pytest.fixture
def person(story: Story) -> Holder:
    return story.holder()


def credential_of(person: Holder) -> str:
    return str(person.issued.credential.sd_jwt)


def ask(story: Story, **options: Any) -> Report:
    """Verify under the chain's own policy, now, unless told otherwise."""
    policy = options.pop("policy", None) or story.chain.policy()
    bundle, credential = options.pop("bundle", None), options.pop("credential", None)
    question = Question(now_ms=options.pop("now_ms", story.chain.time_ms), **options)
    return verify(SUITE, policy, question, credential=credential, bundle=bundle)


def check_license(story: Story, person: Holder, **options: Any) -> Report:
    bundle = story.license_bundle(person.handle)
    return ask(story, credential=credential_of(person), bundle=bundle, **options)


def outcomes(report: Report, outcome: Outcome) -> dict[str, str]:
    return {each.check: each.code for each in report.verdicts if each.outcome is outcome}


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


# --- holder binding ---------------------------------------------------------------------------


def presentation(story: Story, person: Holder, by: Any = None) -> str:
    binding = (by or person.signer, CENTRE, "nonce-1", story.chain.time_ms)
    return present(SUITE, person.issued.credential, ["name"], binding=binding)


def test_a_presentation_is_bound_to_audience_and_nonce(story: Story, person: Holder) -> None:
    bundle = story.license_bundle(person.handle)
    text = presentation(story, person)

    def binding(**options: Any) -> tuple[ExitCode, str]:
        report = ask(story, credential=text, bundle=bundle, **options)
        return report.exit_code, report.verdict(HOLDER_BINDING).code

    assert binding() == (ExitCode.VALID, "ok")
    assert binding(audience=CENTRE, nonce="nonce-1") == (ExitCode.VALID, "ok")
    assert binding(audience=DEPARTMENT) == (ExitCode.NOT_VALID, "bad_binding")
    assert binding(nonce="nonce-2") == (ExitCode.NOT_VALID, "bad_binding")
    early = story.chain.time_ms - 90_000
    assert binding(now_ms=early)[1] == "bad_binding", "made in the future"


def test_a_presentation_by_somebody_else_is_not_valid(story: Story, person: Holder) -> None:
    other = story.holder("thief")
    report = ask(
        story,
        credential=presentation(story, person, other.signer),
        bundle=story.license_bundle(person.handle),
    )
    assert report.exit_code is ExitCode.NOT_VALID


def test_a_disclosure_added_or_dropped_after_binding_is_noticed(
    story: Story, person: Holder
) -> None:
    bundle = story.license_bundle(person.handle)
    text = presentation(story, person)
    jwt, name, binding = text.split("~")
    more = [each.text for each in person.issued.credential.sd_jwt.disclosures if each.text != name][
        -1
    ]
    for changed in ((jwt, binding), (jwt, name, more, binding)):
        report = ask(story, credential="~".join(changed), bundle=bundle)
        assert report.verdict(HOLDER_BINDING).code == "bad_binding"
        assert report.exit_code is ExitCode.NOT_VALID


def test_an_unbound_presentation_fails_where_the_holder_is_required(
    story: Story, person: Holder
) -> None:
    assert check_license(story, person, require_holder=True).exit_code is ExitCode.NOT_VALID


def test_a_replaced_credential_is_not_valid_after_binding(story: Story) -> None:
    issued = story.prepare(None)
    story.apply(BY, ("licenses.license.issue", issued.body))
    bind = BindHolder(
        license=issued.body.license,
        credential=bytes(32),
        credential_key=str(BY.public_key),
        holder=bytes(32),
    )
    story.apply(BY, ("licenses.license.bind_holder", bind))
    report = ask(
        story,
        credential=str(issued.credential.sd_jwt),
        bundle=story.license_bundle(issued.body.license),
    )
    assert report.verdict(CONTENT_DIGEST).code == "digest_differs"


# --- uses -------------------------------------------------------------------------------------


def test_a_use_is_verified_from_its_bundle(story: Story, person: Holder) -> None:
    envelope = story.request()
    story.record(envelope, consent=story.consent(envelope, person))
    use_id = story.last_use
    story.wait(30 * DAY_MS)
    report = ask(story, bundle=story.use_bundle(use_id))
    assert report.exit_code is ExitCode.VALID
    assert report.verdict(AUTHORISED_USE).code == "ok"
    assert report.facts["organisation"] == CENTRE and report.facts["fields"] == "address name"
    assert report.subject == f"use:{use_id.hex()}"


def test_a_statutory_use_is_verified_from_its_bundle(story: Story, person: Holder) -> None:
    envelope = story.request(basis=Basis(INSTRUMENT, "1"), organisation=DEPARTMENT)
    approval = sign_approval(
        SUITE,
        key_of(DEPARTMENT, "officer"),
        envelope.signed.request,
        [(person.handle, ("name",))],
        expires_ms=story.time_ms + 60_000,
    )
    story.record(envelope, approval=approval)
    use_id = story.last_use
    report = ask(story, bundle=story.use_bundle(use_id))
    assert report.exit_code is ExitCode.VALID and report.facts["mode"] == "statutory"


def test_fields_shown_under_a_use_are_those_that_it_granted(story: Story, person: Holder) -> None:
    envelope = story.request(items=(Item(TYPE, ("name",)),))
    story.record(envelope, consent=story.consent(envelope, person))
    use_id = story.last_use
    bundle = story.use_bundle(use_id)

    def shown(fields: list[str], nonce: str) -> tuple[ExitCode, str]:
        binding = (person.signer, CENTRE, nonce, story.chain.time_ms)
        text = present(SUITE, person.issued.credential, fields, binding=binding)
        report = ask(story, credential=text, bundle=bundle, use_id=use_id)
        return report.exit_code, report.verdict(AUTHORISED_USE).code

    assert shown(["name"], use_id.hex()) == (ExitCode.VALID, "ok")
    assert shown(["address", "name"], use_id.hex()) == (ExitCode.NOT_VALID, "field_not_granted")
    assert shown(["name"], "another") == (ExitCode.NOT_VALID, "other_use")
    other = story.holder("not used")
    report = ask(story, credential=credential_of(other), bundle=bundle)
    assert report.verdict(AUTHORISED_USE).code == "other_license"


def test_a_use_that_the_bundle_does_not_show_is_not_established(
    story: Story, person: Holder
) -> None:
    report = check_license(story, person, use_id=bytes(32))
    assert report.verdict(AUTHORISED_USE).code == "no_evidence"
    assert report.exit_code is ExitCode.UNESTABLISHED


# --- damage -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evidence() -> tuple[bytes, Policy, int]:
    story = ready_story()
    person = story.holder()
    envelope = story.request()
    story.record(envelope, consent=story.consent(envelope, person))
    bundle = story.use_bundle(story.last_use)
    return bundle, story.chain.policy(), story.chain.time_ms


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_a_bundle_is_noticed(
    evidence: tuple[bytes, Policy, int], data: st.DataObject
) -> None:
    bundle, policy, now_ms = evidence
    at = data.draw(st.integers(0, len(bundle) - 1))
    mask = data.draw(st.integers(1, 255))
    damaged = bundle[:at] + bytes([bundle[at] ^ mask]) + bundle[at + 1 :]
    report = verify(SUITE, policy, Question(now_ms=now_ms), bundle=damaged)
    assert report.exit_code in (ExitCode.NOT_VALID, ExitCode.UNREADABLE)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_noticed_even_where_the_digest_is_repaired(
    evidence: tuple[bytes, Policy, int], data: st.DataObject
) -> None:
    """A forger, unlike bad luck, mends the digest: then proofs and signatures must notice."""
    bundle, policy, now_ms = evidence
    content = bundle[:-32]
    subject = content.index(b"use:")
    places = [*range(subject), *range(subject + 68, len(content))]
    at = places[data.draw(st.integers(0, len(places) - 1))]
    damaged = (
        content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]
    )
    damaged += SUITE.digest(damaged)
    report = verify(SUITE, policy, Question(now_ms=now_ms), bundle=damaged)
    good = verify(SUITE, policy, Question(now_ms=now_ms), bundle=bundle)
    # One changed byte may make a cosignature one by an unknown key: then a quorum remains or is missing.
    assert report.exit_code is not ExitCode.VALID or report.facts == good.facts
