"""A wallet that is full: nothing is lost, and the holder can make room."""

from __future__ import annotations

from typing import Any

import pytest

from licenses import holding, receipts
from licenses import wallet as wallet_on_disk
from licenses.holding import Holding
from licenses.receipts import KEPT_FOR_DISCLOSURE_MS
from licenses.wallet import BUNDLES, Wallet
from tests.licenses.story import ISSUER, Story
from tests.licenses.wallet_story import put_license, refused, use_by_law, use_with_consent

DAY_MS = 24 * 3_600_000


def fill(story: Story, wallet: Wallet, handle: bytes) -> tuple[bytes, bytes]:
    """Refuse, disclose, and note a use by law; return the ids of the two uses."""
    wallet.refuse(story.request(), now_ms=story.time_ms)
    disclosed, bundle = use_with_consent(story, wallet)
    wallet.disclose(bundle, disclosed, now_ms=story.time_ms)
    by_law, bundle = use_by_law(story, handle)
    wallet.note_use(bundle, by_law, now_ms=story.time_ms)
    return disclosed, by_law


def test_a_full_wallet_takes_new_receipts_once_old_ones_are_removed(
    story: Story, wallet: Wallet, handle: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "MAX_RECEIPTS", 3)
    uses = fill(story, wallet, handle)
    later, bundle = use_by_law(story, handle)
    with refused("full"):
        wallet.consent(story.request(), now_ms=story.time_ms)
    with refused("full"):
        wallet.refuse(story.request(), now_ms=story.time_ms)
    with refused("full"):
        wallet.note_use(bundle, later, now_ms=story.time_ms)
    story.wait(600_000)
    assert wallet.remove_receipts(wallet.receipts(), now_ms=story.time_ms) == 3
    assert wallet.receipts() == ()
    assert list((wallet.home / BUNDLES).iterdir()) == []
    assert wallet.note_use(bundle, later, now_ms=story.time_ms).state == "recorded"
    assert wallet.consent(story.request(), now_ms=story.time_ms)

    held = wallet.read()
    assert [held.has_evidence(use_id) for use_id in uses] == [True, True]
    now_ms = story.time_ms
    assert wallet.unseen_uses(story.license_bundle(handle), handle, now_ms=now_ms) == 0
    with refused("removed"):
        wallet.note_use(story.use_bundle(uses[1]), uses[1], now_ms=now_ms)
    assert Holding.decode(wallet.suite, held.encode()) == held


def test_a_receipt_on_which_something_rests_is_not_removed(
    story: Story, wallet: Wallet, handle: bytes
) -> None:
    refused_one, consented = story.request(), story.request()
    wallet.refuse(refused_one, now_ms=story.time_ms)
    wallet.consent(consented, now_ms=story.time_ms)
    use_id, bundle = use_with_consent(story, wallet)
    recorded = wallet.note_use(bundle, use_id, now_ms=story.time_ms)
    expires_ms = recorded.envelope().signed.request.expires_ms  # type: ignore[union-attr]
    exported = wallet.receipts()
    assert wallet.remove_receipts(exported, now_ms=story.time_ms) == 0
    with refused("answered"):
        wallet.consent(refused_one, now_ms=story.time_ms)
    assert wallet.remove_receipts(exported, now_ms=expires_ms) == 1  # the refused one
    last_ms = expires_ms + KEPT_FOR_DISCLOSURE_MS
    assert wallet.remove_receipts(exported, now_ms=last_ms - 2_000) == 0
    assert wallet.disclose(bundle, use_id, now_ms=story.time_ms)
    assert wallet.remove_receipts(exported, now_ms=last_ms) == 1, "the other has changed since"
    assert [receipt.state for receipt in wallet.receipts()] == ["disclosed"]


def test_a_vault_that_is_full_of_long_receipts_is_emptied_likewise(
    story: Story, wallet: Wallet, handle: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(story, wallet, handle)
    monkeypatch.setattr(wallet_on_disk, "MAX_VAULT_BYTES", len(wallet.read().encode()) + 100)
    with refused("full"):
        wallet.consent(story.request(), now_ms=story.time_ms)
    story.wait(600_000)
    assert wallet.remove_receipts(wallet.receipts(), now_ms=story.time_ms) == 3
    assert wallet.consent(story.request(), now_ms=story.time_ms)


def test_licenses_and_keys_leave_receipts_their_room(
    story: Story, wallet: Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_license(story, wallet)
    offer = wallet.offer(ISSUER)
    monkeypatch.setattr(holding, "MAX_KEYS_BYTES", len(wallet.read().encode()))
    with refused("full"):
        wallet.add(story.prepare(offer).package())
    with refused("full"):
        wallet.offer(ISSUER)
    assert wallet.consent(story.request(), now_ms=story.time_ms)


def test_removing_a_receipt_without_evidence_removes_none_that_was_kept_meanwhile(
    story: Story, wallet: Wallet, handle: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vault is unlocked before evidence is removed: another process may note the use in between."""
    use_id, bundle = use_with_consent(story, wallet)
    later_ms = story.time_ms + 2 * DAY_MS
    removed = receipts.remove_receipts

    def then_noted(*arguments: Any) -> Any:
        changed, gone = removed(*arguments)
        wallet._save_bundle(use_id, bundle)
        return changed, gone

    monkeypatch.setattr(receipts, "remove_receipts", then_noted)
    assert wallet.remove_receipts(wallet.receipts(), now_ms=later_ms) == 1
    assert (wallet.home / BUNDLES / use_id.hex()).exists()
