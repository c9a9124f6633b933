"""The holder's side: offers, consents, disclosures and receipts, in a wallet with a home of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import DecodeError, InvalidProof, InvalidSignature
from ledger.keyfile import KeyFileError
from ledger.keys import SealingKey, seal
from ledger.light import NotEstablishedError, open_bundle
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.disclosure import committed_use, open_disclosure, seal_disclosure
from licenses.holding import WalletError, check_use_list
from licenses.issuance import HolderOffer, make_offer
from licenses.models import License, RecordUse
from licenses.use import Item, RequestEnvelope, SignedRequest
from licenses.wallet import VAULT_FILE, Wallet
from tests.ledger.sample_chain import CHAIN_ID, signer
from tests.licenses.story import (
    CENTRE,
    FIELDS,
    ISSUER,
    OTHER_TYPE,
    STRANGER,
    TYPE,
    Story,
    key_of,
    ready_story,
    sealing_key_of,
)


@pytest.fixture(scope="module")
def story() -> Story:
    return ready_story()


@pytest.fixture
def wallet(story: Story, tmp_path: Path) -> Wallet:
    policy = story.chain.policy().encode()
    return Wallet.create(tmp_path / "wallet", "", chain_id=CHAIN_ID, policy=policy)


def put_license(story: Story, wallet: Wallet, license_type: str = TYPE) -> bytes:
    """Issue a license to the wallet, record it and add it; return its handle."""
    issued = story.prepare(wallet.offer(ISSUER), license_type=license_type)
    story.apply(key_of(ISSUER, "issuer"), ("licenses.license.issue", issued.body))
    return wallet.add(issued.package()).credential.handle


@pytest.fixture
def handle(story: Story, wallet: Wallet) -> Iterator[bytes]:
    yield put_license(story, wallet)


def refused(code: str) -> Any:
    return pytest.raises(WalletError, check=lambda error: error.code == f"wallet.{code}")


def last_use(story: Story) -> tuple[bytes, bytes]:
    """Return (use id, its bundle) of the use that was recorded last."""
    return story.last_use, story.use_bundle(story.last_use)


def records_of(story: Story, *handles: bytes) -> dict[bytes, License]:
    return {each: story.license(each) for each in handles}


def committed(story: Story, use_id: bytes) -> Any:
    _, evidence = open_bundle(SUITE, story.chain.policy(), story.use_bundle(use_id))
    for verified in evidence.entries:
        try:
            return committed_use(SUITE, verified, CHAIN_ID, use_id)
        except InvalidProof:
            continue
    raise AssertionError


# --- the whole way ----------------------------------------------------------------------------


def test_request_consent_record_disclose(story: Story, wallet: Wallet, handle: bytes) -> None:
    session = wallet.open_session()
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
        wallet.note_use(bundle, use_id)


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
    wallet.open_session()
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
        assert wallet.note_use(bundle, use_id).state == "recorded"
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
            wallet.note_use(bundle, use_id)
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
    assert wallet.note_use(bundle, use_id).state == "disclosed"


# --- taking licenses in -----------------------------------------------------------------------


def test_a_license_bound_to_anothers_key_is_not_taken_in(story: Story, wallet: Wallet) -> None:
    offer = make_offer(signer("somebody"), CHAIN_ID, ISSUER, bytes(32))
    with refused("not_ours"):
        wallet.add(story.prepare(offer).package())


def test_a_license_is_taken_in_once(story: Story, wallet: Wallet) -> None:
    package = story.prepare(wallet.offer(ISSUER)).package()
    wallet.add(package)
    with refused("held"):
        wallet.add(package)


def test_a_tampered_or_partial_package_is_not_taken_in(story: Story, wallet: Wallet) -> None:
    issued = story.prepare(wallet.offer(ISSUER))
    text = str(issued.credential.sd_jwt)
    jwt, *disclosures = text.split("~")
    forged = jwt[:-4] + ("AAAA" if jwt[-4:] != "AAAA" else "BBBB")
    with pytest.raises((InvalidSignature, DecodeError)):
        wallet.add("~".join((forged, *disclosures)))
    with refused("incomplete"):
        wallet.add(jwt + "~")
    for garbage in ("", "{", "{}", '{"format":"mulu-credential/v1"}', "x~y~", "\ud800"):
        with pytest.raises(DecodeError):
            wallet.add(garbage)


def test_an_offer_is_for_one_issuer_and_proves_possession(wallet: Wallet) -> None:
    offer = wallet.offer(ISSUER)
    assert HolderOffer.parse(str(offer)) == offer
    offer.verify(SUITE, chain_id=CHAIN_ID, issuer=ISSUER)
    for options in (
        {"chain_id": "other", "issuer": ISSUER},
        {"chain_id": CHAIN_ID, "issuer": STRANGER},
    ):
        with pytest.raises(InvalidSignature):
            offer.verify(SUITE, **options)
    stolen = replace(offer, key=signer("thief").public_key)
    with pytest.raises(InvalidSignature):
        stolen.verify(SUITE, chain_id=CHAIN_ID, issuer=ISSUER)
    for text in (
        "",
        "mulu-offer:",
        "mulu-offer:zz",
        "mulu-offer:c0",
        str(offer) + "00",
        "x" * 9999,
    ):
        with pytest.raises(DecodeError):
            HolderOffer.parse(text)


@pytest.mark.parametrize("algorithm", ["ed25519", "p256"])
def test_holders_keys_may_be_of_either_kind(story: Story, wallet: Wallet, algorithm: str) -> None:
    issued = story.prepare(wallet.offer(ISSUER, algorithm))
    story.apply(key_of(ISSUER, "issuer"), ("licenses.license.issue", issued.body))
    wallet.add(issued.package())
    envelope = story.request()
    story.record(envelope, consent=wallet.consent(envelope, now_ms=story.time_ms))
    use_id, bundle = last_use(story)
    sealed = wallet.disclose(bundle, use_id, now_ms=story.time_ms)
    records = records_of(story, issued.body.license)
    use = committed(story, use_id)
    assert open_disclosure(SUITE, sealing_key_of(CENTRE), sealed, use, records)


# --- the receiving organisation ---------------------------------------------------------------


def test_a_disclosure_is_checked_against_use_and_record(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    envelopes = [story.request() for _ in range(2)]
    sealed, uses = [], []
    for envelope in envelopes:
        story.record(envelope, consent=wallet.consent(envelope, now_ms=story.time_ms))
        use_id, bundle = last_use(story)
        sealed.append(wallet.disclose(bundle, use_id, now_ms=story.time_ms))
        uses.append(committed(story, use_id))
    key, records = sealing_key_of(CENTRE), records_of(story, handle)
    with pytest.raises(DecodeError):
        open_disclosure(SUITE, sealing_key_of(STRANGER), sealed[0], uses[0], records)
    with pytest.raises(InvalidProof):
        open_disclosure(SUITE, key, sealed[0], uses[1], records)
    with pytest.raises(InvalidProof):
        open_disclosure(SUITE, key, sealed[0], uses[0], {})
    other = {handle: records[handle]._replace(credential=bytes(32))}
    with pytest.raises(InvalidProof, match="digest"):
        open_disclosure(SUITE, key, sealed[0], uses[0], other)


def test_a_disclosure_of_more_than_granted_is_refused(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    envelope = story.request(items=(Item(TYPE, ("name",)),))
    story.record(envelope, consent=wallet.consent(envelope, now_ms=story.time_ms))
    use = committed(story, story.last_use)
    held = wallet.read().license(handle)
    assert held is not None and held.key is not None
    wider = replace(use, licenses=(replace(use.licenses[0], fields=("address", "name")),))
    sealed = seal_disclosure(
        SUITE, wider, {handle: (held.credential, held.key.signer())}, now_ms=story.time_ms
    )
    with pytest.raises(InvalidProof, match="more is shown"):
        open_disclosure(SUITE, sealing_key_of(CENTRE), sealed, use, records_of(story, handle))


def test_only_the_holder_discloses_in_holder_mode(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    envelope = story.request()
    story.record(envelope, consent=wallet.consent(envelope, now_ms=story.time_ms))
    use = committed(story, story.last_use)
    held = wallet.read().license(handle)
    assert held is not None
    for credentials in (
        {},
        {handle: (held.credential, None)},
        {handle: (held.credential, signer("x"))},
    ):
        with pytest.raises(InvalidProof):
            seal_disclosure(SUITE, use, credentials, now_ms=story.time_ms)  # type: ignore[arg-type]


# --- files ------------------------------------------------------------------------------------


def test_a_wallet_survives_being_closed(story: Story, wallet: Wallet, handle: bytes) -> None:
    envelope = story.request()
    wallet.consent(envelope, now_ms=story.time_ms)
    again = Wallet.open(wallet.home, "")
    assert again.read() == wallet.read()
    assert again.read().encode() == wallet.read().encode()


def test_two_processes_may_share_a_wallet(story: Story, wallet: Wallet) -> None:
    other = Wallet.open(wallet.home, "")
    offers = [each.offer(ISSUER) for each in (wallet, other, wallet)]
    for offer in offers:
        wallet.add(story.prepare(offer).package())
    assert len(other.licenses()) == 3


def test_the_vault_tells_nothing_in_clear_and_is_for_its_owner_only(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    path = wallet.home / VAULT_FILE
    content = path.read_bytes()
    for secret in ("李晓".encode(), handle, handle.hex().encode(), CHAIN_ID.encode()):
        assert secret not in content
    assert path.stat().st_mode & 0o077 == 0
    path.chmod(0o644)
    with refused("exposed"):
        wallet.read()


def test_a_damaged_vault_is_refused_and_left_alone(story: Story, wallet: Wallet) -> None:
    path = wallet.home / VAULT_FILE
    content = path.read_bytes()
    for damaged in (b"", content[:-1], content[:50] + b"x" + content[51:], b"garbage" * 100):
        path.write_bytes(damaged)
        with refused("damaged"):
            wallet.offer(ISSUER)
        assert path.read_bytes() == damaged
    path.unlink()
    with refused("damaged"):
        wallet.read()


def test_a_wallet_is_not_made_over_another_nor_opened_where_there_is_none(
    story: Story, wallet: Wallet, tmp_path: Path
) -> None:
    policy = story.chain.policy().encode()
    with refused("exists"):
        Wallet.create(wallet.home, "", chain_id=CHAIN_ID, policy=policy)
    with refused("none"):
        Wallet.open(tmp_path / "nothing", "")
    with pytest.raises(KeyFileError):
        Wallet.open(wallet.home, "not the passphrase")
    with pytest.raises(DecodeError):
        Wallet.create(tmp_path / "bad", "", chain_id=CHAIN_ID, policy=b"no policy")
