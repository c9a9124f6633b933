"""What a wallet takes in, and the files in which it keeps it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ledger.errors import DecodeError, InvalidSignature
from ledger.keyfile import KeyFileError
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.disclosure import open_disclosure
from licenses.issuance import HolderOffer, make_offer
from licenses.wallet import VAULT_FILE, Wallet
from tests.ledger.sample_chain import CHAIN_ID, signer
from tests.licenses.story import (
    CENTRE,
    ISSUER,
    STRANGER,
    Story,
    key_of,
    sealing_key_of,
)
from tests.licenses.wallet_story import committed, last_use, records_of, refused

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
        Wallet.create(wallet.home, "", chain_id=CHAIN_ID, policy=policy, now_ms=story.time_ms)
    with refused("none"):
        Wallet.open(tmp_path / "nothing", "")
    with pytest.raises(KeyFileError):
        Wallet.open(wallet.home, "not the passphrase")
    with pytest.raises(DecodeError):
        Wallet.create(tmp_path / "bad", "", chain_id=CHAIN_ID, policy=b"no policy", now_ms=0)
