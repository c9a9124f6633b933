"""Verification of presentations: who shows a license, to whom, and that nothing is added or dropped."""

from __future__ import annotations

from typing import Any

from ledger.base64url import base64url_decode
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.credentials import present
from licenses.models import BindHolder
from licenses.sd_jwt import Disclosure
from licenses.use import Item
from licenses.verdicts import (
    AUTHORISED_USE,
    CONTENT_DIGEST,
    HOLDER_BINDING,
    ISSUER_SIGNATURE,
    ExitCode,
    Outcome,
)
from tests.licenses.story import CENTRE, DEPARTMENT, TYPE, Holder, Story
from tests.licenses.verification_story import BY, ask, check_license


def presentation(story: Story, person: Holder, by: Any = None, *, nonce: str = "nonce-1") -> str:
    binding = (by or person.signer, CENTRE, nonce, story.chain.time_ms)
    return present(SUITE, person.issued.credential, ["name"], binding=binding)


def test_a_presentation_is_bound_to_audience_and_nonce(story: Story, person: Holder) -> None:
    bundle = story.license_bundle(person.handle)
    text = presentation(story, person)

    def binding(**options: Any) -> tuple[ExitCode, str]:
        report = ask(story, credential=text, bundle=bundle, **options)
        return report.exit_code, report.verdict(HOLDER_BINDING).code

    assert binding(audience=CENTRE, nonce="nonce-1") == (ExitCode.VALID, "ok")
    assert binding(audience=DEPARTMENT) == (ExitCode.NOT_VALID, "bad_binding")
    assert binding(nonce="nonce-2") == (ExitCode.NOT_VALID, "bad_binding")
    early = story.chain.time_ms - 90_000
    assert binding(now_ms=early)[1] == "bad_binding", "made in the future"


def test_a_presentation_that_nobody_asked_for_may_be_a_copy(story: Story, person: Holder) -> None:
    """RFC 9901, section 7.3: the verifier checks nonce and audience, which only it knows."""
    bundle = story.license_bundle(person.handle)
    text = presentation(story, person)
    stranger = presentation(story, person, story.holder("thief").signer)
    known: tuple[tuple[dict[str, Any], Outcome, ExitCode], ...] = (
        ({}, Outcome.NOT_CHECKED, ExitCode.VALID),
        ({"audience": "", "nonce": ""}, Outcome.NOT_CHECKED, ExitCode.VALID),
        ({"audience": CENTRE}, Outcome.UNESTABLISHED, ExitCode.UNESTABLISHED),
        ({"nonce": "nonce-1"}, Outcome.UNESTABLISHED, ExitCode.UNESTABLISHED),
        ({"require_holder": True}, Outcome.UNESTABLISHED, ExitCode.UNESTABLISHED),
    )
    for options, outcome, exit_code in known:
        report = ask(story, credential=text, bundle=bundle, **options)
        verdict = report.verdict(HOLDER_BINDING)
        assert (verdict.outcome, verdict.code) == (outcome, "not_asked_for")
        assert report.exit_code is exit_code and not report.shows_holder
        assert "--audience" in verdict.text and "--nonce" in verdict.text
        report = ask(story, credential=stranger, bundle=bundle, **options)
        assert report.verdict(HOLDER_BINDING).code == "bad_binding"
        assert report.exit_code is ExitCode.NOT_VALID


def test_a_credential_that_its_holder_does_not_show_is_told_as_that(
    story: Story, person: Holder
) -> None:
    report = check_license(story, person)
    verdict = report.verdict(HOLDER_BINDING)
    assert (verdict.outcome, verdict.code) == (Outcome.NOT_CHECKED, "not_presented")
    assert report.exit_code is ExitCode.VALID and not report.shows_holder
    issued = story.prepare(None)
    story.apply(BY, ("licenses.license.issue", issued.body))
    bundle = story.license_bundle(issued.body.license)
    report = ask(story, credential=str(issued.credential.sd_jwt), bundle=bundle)
    assert report.verdict(HOLDER_BINDING).code == "not_applicable" and report.shows_holder


def test_less_evidence_is_never_better(story: Story, person: Holder) -> None:
    """Whoever shows a presentation can cut the holder's signature off, unless that is bad it must not tell against."""
    envelope = story.request(items=(Item(TYPE, ("name",)),))
    story.record(envelope, consent=story.consent(envelope, person))
    use_id = story.last_use
    of_use, of_license = story.use_bundle(use_id), story.license_bundle(person.handle)
    asked: tuple[dict[str, Any], ...] = (
        {},
        {"audience": CENTRE},
        {"nonce": use_id.hex()},
        {"audience": CENTRE, "nonce": use_id.hex()},
        {"require_holder": True},
        {"use_id": use_id},
    )
    worse = (ExitCode.VALID, ExitCode.UNESTABLISHED, ExitCode.NOT_VALID)
    for nonce in (use_id.hex(), "another"):
        text = presentation(story, person, nonce=nonce)
        cut = text[: text.rindex("~") + 1]
        for options in asked:
            for bundle in (of_use, of_license, None):
                whole = ask(story, credential=text, bundle=bundle, **options)
                less = ask(story, credential=cut, bundle=bundle, **options)
                if whole.verdict(HOLDER_BINDING).code == "bad_binding":
                    assert whole.exit_code is ExitCode.NOT_VALID
                elif whole.verdict(AUTHORISED_USE).code == "other_use":
                    assert less.exit_code is not ExitCode.VALID
                else:
                    assert worse.index(less.exit_code) >= worse.index(whole.exit_code), options


def test_a_presentation_by_somebody_else_is_not_valid(story: Story, person: Holder) -> None:
    other = story.holder("thief")
    report = ask(
        story,
        credential=presentation(story, person, other.signer),
        bundle=story.license_bundle(person.handle),
    )
    assert report.exit_code is ExitCode.NOT_VALID


def test_an_altered_field_is_not_valid_rather_than_unreadable(story: Story, person: Holder) -> None:
    jwt, name, binding = presentation(story, person).split("~")
    shown = Disclosure.decode(name)
    altered = Disclosure.build(base64url_decode(shown.salt), shown.name or "", "Somebody Else")
    report = ask(
        story,
        credential="~".join((jwt, altered.text, binding)),
        bundle=story.license_bundle(person.handle),
    )
    assert report.verdict(ISSUER_SIGNATURE).code == "disclosure_altered"
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
