"""The holder's side: requests, consents, disclosures and receipts, in a wallet with a home of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.errors import DecodeError, InvalidProof
from ledger.keys import SealingKey, seal
from ledger.light import NotEstablishedError
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.disclosure import open_disclosure
from licenses.models import RecordUse
from licenses.receipts import check_use_list
from licenses.use import Item, RequestEnvelope, SignedRequest
from licenses.wallet import Wallet
from tests.ledger.sample_chain import CHAIN_ID
from tests.licenses.story import (
    CENTRE,
    FIELDS,
    OTHER_TYPE,
    STRANGER,
    Story,
    key_of,
    sealing_key_of,
)
from tests.licenses.wallet_story import committed, last_use, put_license, records_of, refused

# --- the whole way ----------------------------------------------------------------------------


def test_request_consent_record_disclose(story: Story, wallet: Wallet, handle: bytes) -> None:
    session = wallet.open_session(now_ms=story.time_ms)
    envelope = story.request()
    received = wallet.open_request(seal(session.public_key, envelope.encode()))
    assert received == envelope and received.details.window == "3 号窗口"
    (candidates,) = wallet.review(received, story.time_ms)
    assert [each.credential.handle for each in candidates.licenses] == [handle]

    consent = wallet.consent(received, now_ms=story.time_ms)
    story.record(envelope, consent=consent)
    use_id, bundle = last_use(story)
    sealed = wallet.disclose(bundle, use_id, now_ms=story.time_ms)

    use = committed(story, use_id)
    records = records_of(story, handle)
    (disclosed,) = open_disclosure(SUITE, sealing_key_of(CENTRE), sealed, use, records)
    assert disclosed.fields == {name: FIELDS[name] for name in ("address", "name")}
    (receipt,) = wallet.receipts()
    assert receipt.state == "disclosed" and receipt.height == story.chain.height
    kept = receipt.envelope()
    assert kept is not None and kept.details.case_number == "case-1"
    assert wallet.bundle(use_id) == bundle


def test_nothing_is_disclosed_before_the_use_is_recorded(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    first, second = story.request(), story.request()
    consents = [wallet.consent(each, now_ms=story.time_ms) for each in (first, second)]
    story.record(first, consent=consents[0])
    _, bundle = last_use(story)
    with refused("not_committed"):
        wallet.disclose(bundle, consents[1].consent.use_id(SUITE), now_ms=story.time_ms)


def test_nothing_is_disclosed_for_a_use_that_failed(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    envelope = story.request()
    consent = wallet.consent(envelope, now_ms=story.time_ms)
    body = RecordUse(request=envelope.signed.encode(), consent=consent.encode())
    recorder = key_of(CENTRE, "recorder")
    story.fail(recorder, "licenses.use.license_not_valid", ("licenses.use.record", body))
    use_id = consent.consent.use_id(SUITE)
    with refused("not_committed"):
        wallet.disclose(story.use_bundle(use_id), use_id, now_ms=story.time_ms)
    story.record(envelope, consent=consent)  # the request has not been used up
    assert wallet.disclose(story.use_bundle(use_id), use_id, now_ms=story.time_ms)


def test_nothing_is_disclosed_on_a_checkpoint_without_quorum(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    envelope = story.request()
    story.record(envelope, consent=wallet.consent(envelope, now_ms=story.time_ms))
    use_id, bundle = last_use(story)
    other = Wallet.create(
        wallet.home.with_name("other"),
        "",
        chain_id=CHAIN_ID,
        policy=foreign_policy(story).encode(),
        now_ms=story.time_ms,
    )
    with pytest.raises(NotEstablishedError):
        other.disclose(bundle, use_id, now_ms=story.time_ms)
    damaged = bundle[:-40] + bytes([bundle[-40] ^ 1]) + bundle[-39:]
    with pytest.raises(DecodeError):
        wallet.disclose(damaged, use_id, now_ms=story.time_ms)
    assert wallet.receipts()[0].state == "consented"


def foreign_policy(story: Story) -> Policy:
    """Return a policy whose validators are others than those of the chain."""
    from tests.ledger.sample_chain import Member, SampleChain

    names = ("beijing", "hebei", "national", "tianjin")
    return SampleChain([Member(name, generation=9) for name in names]).policy()


def test_a_use_that_the_holder_did_not_consent_to_is_not_disclosed(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    person = story.holder("somebody else")
    envelope = story.request()
    story.record(envelope, consent=story.consent(envelope, person))
    use_id, bundle = last_use(story)
    with refused("not_consented"):
        wallet.disclose(bundle, use_id, now_ms=story.time_ms)
    with refused("not_ours"):
        wallet.note_use(bundle, use_id, now_ms=story.time_ms)


def test_a_wallet_consents_to_a_request_once(story: Story, wallet: Wallet, handle: bytes) -> None:
    envelope = story.request()
    wallet.consent(envelope, now_ms=story.time_ms)
    with refused("answered"):
        wallet.consent(envelope, now_ms=story.time_ms)


def test_a_refused_request_cannot_be_consented_to(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    envelope = story.request()
    wallet.refuse(envelope, now_ms=story.time_ms)
    with refused("answered"):
        wallet.consent(envelope, now_ms=story.time_ms)
    assert wallet.receipts()[0].state == "refused"


def test_a_holder_may_narrow_the_fields(story: Story, wallet: Wallet, handle: bytes) -> None:
    envelope = story.request()
    for fields in ([()], [("birth_date",)], [("name",), ("name",)], []):
        with refused("not_asked"):
            wallet.consent(envelope, now_ms=story.time_ms, fields=fields)
    consent = wallet.consent(envelope, now_ms=story.time_ms, fields=[("name",)])
    story.record(envelope, consent=consent)
    use_id, bundle = last_use(story)
    sealed = wallet.disclose(bundle, use_id, now_ms=story.time_ms)
    (disclosed,) = open_disclosure(
        SUITE,
        sealing_key_of(CENTRE),
        sealed,
        committed(story, use_id),
        records_of(story, handle),
    )
    assert set(disclosed.fields) == {"name"}


def test_of_several_licenses_the_holder_chooses(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    other = put_license(story, wallet)
    envelope = story.request()
    with refused("choose_license"):
        wallet.consent(envelope, now_ms=story.time_ms)
    with refused("no_license"):
        wallet.consent(envelope, now_ms=story.time_ms, handles=[bytes(32)])
    consent = wallet.consent(envelope, now_ms=story.time_ms, handles=[other])
    assert [grant.handle for grant in consent.consent.grants] == [other]


def test_a_request_for_a_license_that_is_not_held(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    envelope = story.request(items=(Item(OTHER_TYPE, ("name",)),))
    with refused("no_license"):
        wallet.consent(envelope, now_ms=story.time_ms)


def test_two_licenses_never_share_a_key(story: Story, wallet: Wallet) -> None:
    handles = [put_license(story, wallet) for _ in range(2)]
    keys = [wallet.holder_key(each)[0].public_key for each in handles]
    salts = [wallet.holder_key(each)[1] for each in handles]
    assert len(set(keys)) == len(set(salts)) == 2


def test_bad_requests_are_refused_before_the_holder_sees_them(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    good = story.request()
    request = good.signed.request
    bad = [
        story.request(chain_id="other-chain"),
        RequestEnvelope(SignedRequest(request, bytes(64)), good.details),
        RequestEnvelope(good.signed, replace(good.details, purpose="something else")),
        RequestEnvelope(
            SignedRequest(replace(request, organisation=STRANGER), good.signed.signature),
            good.details,
        ),
        story.request(lifetime_ms=10 * 24 * 3_600_000),
    ]
    for envelope in bad:
        with refused("bad_request"):
            wallet.review(envelope, story.time_ms)
    with refused("request_expired"):
        wallet.review(good, request.expires_ms)


def test_a_request_sealed_to_nobody_here_is_refused(story: Story, wallet: Wallet) -> None:
    wallet.open_session(now_ms=story.time_ms)
    for sealed in (b"", b"x" * 500, seal(SealingKey.generate().public_key, b"x")):
        with refused("bad_request"):
            wallet.open_request(sealed)


# --- watching ---------------------------------------------------------------------------------


def test_a_complete_list_of_uses_is_told_from_any_other(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    for _ in range(3):
        envelope = story.request()
        story.record(envelope, consent=wallet.consent(envelope, now_ms=story.time_ms))
        use_id, bundle = last_use(story)
        assert wallet.note_use(bundle, use_id, now_ms=story.time_ms).state == "recorded"
    uses = story.uses[-3:]
    record = story.license(handle)
    check_use_list(SUITE, record, uses)
    for other in (uses[:2], uses[1:], [*uses, uses[0]], uses[::-1], []):
        with pytest.raises(InvalidProof):
            check_use_list(SUITE, record, other)


def test_a_use_that_a_node_keeps_back_is_missed(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    other = put_license(story, wallet, OTHER_TYPE)
    shown = []
    for number in range(3):
        envelope = story.request()
        story.record(envelope, consent=wallet.consent(envelope, now_ms=story.time_ms))
        use_id, bundle = last_use(story)
        if number != 1:
            wallet.note_use(bundle, use_id, now_ms=story.time_ms)
        shown.append(wallet.unseen_uses(story.license_bundle(handle), handle, now_ms=story.time_ms))
    assert shown == [0, 1, 1]
    assert wallet.unseen_uses(story.license_bundle(other), other, now_ms=story.time_ms) == 0


def test_an_old_count_of_uses_is_not_taken_for_the_present_one(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    old = story.license_bundle(handle)
    envelope = story.request()
    story.record(envelope, consent=wallet.consent(envelope, now_ms=story.time_ms))
    with pytest.raises(NotEstablishedError):
        wallet.unseen_uses(old, handle, now_ms=story.time_ms + 2 * 3_600_000)
    with refused("no_evidence"):
        wallet.unseen_uses(story.license_bundle(handle), bytes(32), now_ms=story.time_ms)


def test_a_recorded_use_is_kept_as_disclosed_when_it_is_seen_again(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    envelope = story.request()
    story.record(envelope, consent=wallet.consent(envelope, now_ms=story.time_ms))
    use_id, bundle = last_use(story)
    wallet.disclose(bundle, use_id, now_ms=story.time_ms)
    assert wallet.note_use(bundle, use_id, now_ms=story.time_ms).state == "disclosed"
