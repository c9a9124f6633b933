"""Uses on the real application: in blocks, by every validator's rules, with failures on the record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from licenses.models import ChangeStatus, RecordUse
from licenses.use import SignedConsent
from tests.licenses.ledger_story import LedgerStory
from tests.licenses.story import (
    CENTRE,
    ISSUER,
    Holder,
    key_of,
)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LedgerStory]:
    story = LedgerStory(tmp_path_factory.mktemp("ledger"))
    story.publish_directory()
    story.define_types()
    yield story
    story.ledger.close()


@pytest.fixture(scope="module")
def person(story: LedgerStory) -> Holder:
    return story.holder()


def test_the_same_consent_twice_in_one_block_is_recorded_once(
    story: LedgerStory, person: Holder
) -> None:
    uses = story.license(person.handle).uses
    envelope = story.request()
    consent = story.consent(envelope, person)
    first, second = story.use(envelope, consent), story.use(envelope, consent)
    assert story.codes(first, second) == ("", "licenses.use.consent_replayed")
    assert story.license(person.handle).uses == uses + 1
    assert story.codes(story.use(envelope, consent)) == ("licenses.use.consent_replayed",)


def test_the_same_consent_twice_in_one_transaction_records_nothing(
    story: LedgerStory, person: Holder
) -> None:
    uses = story.license(person.handle).uses
    envelope = story.request()
    body = RecordUse(
        request=envelope.signed.encode(), consent=story.consent(envelope, person).encode()
    )
    twice = [("licenses.use.record", body)] * 2
    transaction = story.transaction(key_of(CENTRE, "recorder"), *twice)
    assert story.codes(transaction) == ("licenses.use.consent_replayed",)
    assert story.license(person.handle).uses == uses


def test_a_license_withheld_earlier_in_the_block_is_refused(
    story: LedgerStory, person: Holder
) -> None:
    change = ChangeStatus(licenses=(person.handle,), reason="check")
    issuer = key_of(ISSUER, "issuer")
    withhold = story.transaction(issuer, ("licenses.license.withhold", change))
    back = story.transaction(issuer, ("licenses.license.give_back", change))
    envelopes = [story.request() for _ in range(3)]
    before, between, after = (
        story.use(envelope, story.consent(envelope, person)) for envelope in envelopes
    )
    codes = story.codes(before, withhold, between, back, after)
    assert codes == ("", "", "licenses.use.license_not_valid", "", "")


def test_only_recorders_record(story: LedgerStory, person: Holder) -> None:
    envelope = story.request()
    body = RecordUse(
        request=envelope.signed.encode(), consent=story.consent(envelope, person).encode()
    )
    transaction = story.transaction(key_of(CENTRE, "operator"), ("licenses.use.record", body))
    (code,) = story.codes(transaction)
    assert code and not code.startswith("licenses."), "the table's roles come before the handler"


def test_a_failed_use_is_on_the_record_and_its_request_stays_usable(
    story: LedgerStory, person: Holder
) -> None:
    envelope = story.request()
    consent = story.consent(envelope, person)
    forged = SignedConsent(consent.consent, (bytes(64),))
    assert story.codes(story.use(envelope, forged)) == ("licenses.use.bad_consent",)
    assert story.codes(story.use(envelope, consent)) == ("",)


def test_hostile_bodies_fail_by_code_and_never_by_exception(
    story: LedgerStory, person: Holder
) -> None:
    envelope = story.request()
    consent = story.consent(envelope, person)
    good = RecordUse(request=envelope.signed.encode(), consent=consent.encode())
    request = envelope.signed.request
    bodies = [
        good.model_copy(update={"request": b"\x92"}),
        good.model_copy(update={"consent": b"\x92\x91\x91"}),
        good.model_copy(update={"consent": None, "approval": consent.encode()}),
        good.model_copy(update={"approval": b"\xc0"}),
        good.model_copy(
            update={
                "request": replace(
                    envelope.signed, request=replace(request, matter="0" * 31)
                ).encode()
            }
        ),
    ]
    transactions = [
        story.transaction(key_of(CENTRE, "recorder"), ("licenses.use.record", body))
        for body in bodies
    ]
    assert all(code.startswith("licenses.use.") for code in story.codes(*transactions))
