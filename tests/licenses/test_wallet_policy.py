"""Whom a wallet believes: for how long, how that is renewed, and what it has proved under earlier validators."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ledger.codec import decode, encode
from ledger.errors import InvalidProof
from ledger.light import DEFAULT_MAX_ANCHOR_AGE_MS, NotEstablishedError
from ledger.policy import NO_QUORUM, policy_for
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.disclosure import open_disclosure
from licenses.holding import Holding
from licenses.wallet import Wallet
from tests.ledger.sample_chain import CHAIN_ID, FOUNDERS, validator_set
from tests.licenses.story import CENTRE, DEPARTMENT, Story, sealing_key_of
from tests.licenses.wallet_story import (
    Rekeyed,
    change_validators,
    committed,
    records_of,
    refused,
    use_by_law,
    use_with_consent,
)


def not_established(code: str) -> pytest.RaisesExc[NotEstablishedError]:
    return pytest.raises(NotEstablishedError, check=lambda error: error.code == code)


def test_under_a_policy_that_is_too_old_nothing_is_believed_nor_disclosed(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    use_id, bundle = use_with_consent(story, wallet)
    anchor = wallet.policy().as_of
    assert anchor is not None
    last_ms = anchor.time_s * 1000 + DEFAULT_MAX_ANCHOR_AGE_MS
    with not_established("anchor_too_old"):
        wallet.note_use(bundle, use_id, now_ms=last_ms + 1)
    with not_established("anchor_too_old"):
        wallet.disclose(bundle, use_id, now_ms=last_ms + 1)
    assert wallet.receipts()[0].state == "consented"
    assert wallet.disclose(bundle, use_id, now_ms=last_ms)


def test_nothing_is_begun_under_a_policy_that_is_too_old_to_disclose(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    """A use would be recorded, and count, and its fields never be disclosed."""
    anchor = wallet.policy().as_of
    assert anchor is not None
    last_ms = anchor.time_s * 1000 + DEFAULT_MAX_ANCHOR_AGE_MS
    story.wait(last_ms - story.time_ms - 60_000)
    before = wallet.read()
    expires_first, expires_later = story.request(lifetime_ms=60_000), story.request()
    with pytest.raises(NotEstablishedError, match="--renew"):
        wallet.consent(expires_later, now_ms=story.time_ms)
    with pytest.raises(NotEstablishedError, match="--replace"):
        wallet.open_session(now_ms=last_ms + 1)
    with pytest.raises(NotEstablishedError, match="--replace"):
        wallet.consent(expires_later, now_ms=last_ms + 1)
    assert wallet.read() == before
    assert wallet.open_session(now_ms=last_ms)
    wallet.refuse(expires_later, now_ms=last_ms + 1)
    story.record(expires_first, consent=wallet.consent(expires_first, now_ms=story.time_ms))
    assert wallet.disclose(story.use_bundle(story.last_use), story.last_use, now_ms=story.time_ms)


def test_a_policy_is_renewed_through_changes_of_validators(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    change = change_validators(story)
    use_id, bundle = use_with_consent(story, wallet)
    with not_established("no_quorum"):
        wallet.disclose(bundle, use_id, now_ms=story.time_ms)
    signed = story.chain.checkpoint()
    with not_established("no_quorum"):
        wallet.renew_policy([], signed, now_ms=story.time_ms)
    renewed = wallet.renew_policy([change], signed, now_ms=story.time_ms)
    assert renewed == wallet.policy() == story.chain.policy()
    sealed = wallet.disclose(bundle, use_id, now_ms=story.time_ms)
    records = records_of(story, handle)
    assert open_disclosure(SUITE, sealing_key_of(CENTRE), sealed, committed(story, use_id), records)


def test_what_was_proved_under_earlier_validators_stays_proved(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    use_id, bundle = use_by_law(story, handle)
    wallet.note_use(bundle, use_id, now_ms=story.time_ms)
    change = change_validators(story)
    wallet.renew_policy([change], story.chain.checkpoint(), now_ms=story.time_ms)
    assert len(wallet.read().former) == 1
    assert wallet.recorded_use(use_id).request.organisation == DEPARTMENT
    with not_established("no_quorum"):
        wallet.disclose(bundle, use_id, now_ms=story.time_ms)


def test_what_was_proved_before_a_consensus_key_alone_was_replaced_stays_proved(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    """A policy names no consensus keys, but the hash of the validators covers them."""
    before = wallet.policy()
    use_id, bundle = use_by_law(story, handle)
    wallet.note_use(bundle, use_id, now_ms=story.time_ms)
    change = change_validators(story, (Rekeyed(FOUNDERS[0].name), *FOUNDERS[1:]))
    renewed = wallet.renew_policy([change], story.chain.checkpoint(), now_ms=story.time_ms)
    assert replace(renewed, as_of=None) == replace(before, as_of=None)
    assert len(wallet.read().former) == 1
    assert wallet.recorded_use(use_id).request.organisation == DEPARTMENT


def test_a_policy_renewed_without_a_change_is_the_same_but_younger(
    story: Story, wallet: Wallet
) -> None:
    before = wallet.policy()
    story.chain.commit({"ledger/note/1": 1})
    renewed = wallet.renew_policy([], story.chain.checkpoint(), now_ms=story.time_ms)
    assert renewed == story.chain.policy() == replace(before, as_of=renewed.as_of)
    assert renewed.as_of != before.as_of
    assert wallet.read().former == ()


def test_a_policy_that_is_too_old_vouches_for_no_other(story: Story, wallet: Wallet) -> None:
    change = change_validators(story)
    story.wait(DEFAULT_MAX_ANCHOR_AGE_MS + 1000)
    signed = story.chain.checkpoint()
    with not_established("anchor_too_old"):
        wallet.renew_policy([change], signed, now_ms=story.time_ms)
    wallet.replace_policy(story.chain.policy(), now_ms=story.time_ms)
    assert wallet.renew_policy([], signed, now_ms=story.time_ms) == story.chain.policy()


def test_a_policy_is_renewed_by_a_fresh_checkpoint_only(story: Story, wallet: Wallet) -> None:
    early = story.chain.checkpoint()
    story.chain.commit({"ledger/note/1": 1})
    wallet.renew_policy([], story.chain.checkpoint(), now_ms=story.time_ms)
    with pytest.raises(InvalidProof, match="before the policy"):
        wallet.renew_policy([], early, now_ms=story.time_ms)
    with not_established("stale"):
        later_ms = story.time_ms + 2 * 3_600_000
        wallet.renew_policy([], story.chain.checkpoint(), now_ms=later_ms)


def test_a_holder_gives_a_wallet_a_policy_that_is_not_too_old_to_begin_with(
    story: Story, wallet: Wallet, tmp_path: Path
) -> None:
    story.chain.commit({"ledger/note/1": 1})
    new = story.chain.policy()
    assert new.as_of is not None
    last_ms = new.as_of.time_s * 1000 + DEFAULT_MAX_ANCHOR_AGE_MS
    home, policy = tmp_path / "another", new.encode()
    with not_established("anchor_too_old"):
        Wallet.create(home, "", chain_id=CHAIN_ID, policy=policy, now_ms=last_ms + 1)
    with not_established("anchor_too_old"):
        wallet.replace_policy(new, now_ms=last_ms + 1)
    assert not home.exists()
    wallet.replace_policy(new, now_ms=last_ms)
    assert Wallet.create(home, "", chain_id=CHAIN_ID, policy=policy, now_ms=last_ms)


def test_a_holder_gives_a_wallet_a_policy_of_its_chain_and_then_newer_ones_only(
    story: Story, wallet: Wallet, tmp_path: Path
) -> None:
    old = wallet.policy()
    story.chain.commit({"ledger/note/1": 1})
    new = story.chain.policy()
    other = policy_for(SUITE, validator_set(FOUNDERS), "another-chain", new.as_of)
    for policy, code in (
        (other, "other_chain"),
        (replace(new, quorum=NO_QUORUM), "bad_policy"),
        (replace(new, as_of=None), "bad_policy"),
    ):
        with refused(code):
            wallet.replace_policy(policy, now_ms=story.time_ms)
        with refused(code):
            Wallet.create(
                tmp_path / "another",
                "",
                chain_id=CHAIN_ID,
                policy=policy.encode(),
                now_ms=story.time_ms,
            )
    wallet.replace_policy(new, now_ms=story.time_ms)
    with refused("policy_older"):
        wallet.replace_policy(old, now_ms=story.time_ms)
    assert wallet.policy() == new


def test_a_vault_from_before_policies_were_renewed_is_read(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    held = wallet.read()
    version, *parts = decode(held.encode())  # type: ignore[misc]
    assert version == 2
    assert Holding.decode(SUITE, encode((1, *parts[:6]))) == held
