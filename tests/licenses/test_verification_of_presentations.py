"""Verification of presentations: who shows a license, to whom, and that nothing is added or dropped."""

from __future__ import annotations

from typing import Any

from ledger.base64url import base64url_decode
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.credentials import present
from licenses.models import BindHolder
from licenses.sd_jwt import Disclosure
from licenses.verdicts import CONTENT_DIGEST, HOLDER_BINDING, ISSUER_SIGNATURE, ExitCode
from tests.licenses.story import CENTRE, DEPARTMENT, Holder, Story
from tests.licenses.verification_story import BY, ask, check_license


def presentation(story: Story, person: Holder, by: Any = None) -> str:
    binding = (by or person.signer, CENTRE, "nonce-1", story.chain.time_ms)
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
    known: tuple[dict[str, Any], ...] = (
        {},
        {"audience": CENTRE},
        {"nonce": "nonce-1"},
        {"audience": "", "nonce": ""},
        {"require_holder": True},
    )
    for options in known:
        report = ask(story, credential=text, bundle=bundle, **options)
        verdict = report.verdict(HOLDER_BINDING)
        assert (report.exit_code, verdict.code) == (ExitCode.UNESTABLISHED, "not_asked_for")
        assert "--audience" in verdict.text and "--nonce" in verdict.text
        report = ask(story, credential=stranger, bundle=bundle, **options)
        assert report.verdict(HOLDER_BINDING).code == "bad_binding"
        assert report.exit_code is ExitCode.NOT_VALID
    assert check_license(story, person).verdict(HOLDER_BINDING).code == "not_applicable"


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
