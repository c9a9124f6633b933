"""Verification of uses from their bundles, and that no changed byte is ever accepted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.policy import Policy
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.credentials import present
from licenses.use import Basis, Item
from licenses.use_signing import sign_approval
from licenses.verdicts import AUTHORISED_USE, ExitCode
from licenses.verification import Question
from licenses.verifier import Verifier
from tests.licenses.story import (
    CENTRE,
    DAY_MS,
    DEPARTMENT,
    INSTRUMENT,
    TYPE,
    Holder,
    Story,
    key_of,
    ready_story,
)
from tests.licenses.verification_story import ask, check_license, credential_of


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
    report = Verifier(SUITE, policy).verify(Question(now_ms=now_ms), bundle=damaged)
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
    report = Verifier(SUITE, policy).verify(Question(now_ms=now_ms), bundle=damaged)
    good = Verifier(SUITE, policy).verify(Question(now_ms=now_ms), bundle=bundle)
    # One changed byte may make a cosignature one by an unknown key: then a quorum remains or is missing.
    assert report.exit_code is not ExitCode.VALID or report.facts == good.facts
