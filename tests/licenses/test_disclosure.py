"""What the receiving organisation accepts as the disclosure of a use."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.errors import DecodeError, InvalidProof
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.disclosure import open_disclosure, seal_disclosure
from licenses.use import Item
from licenses.wallet import Wallet
from tests.ledger.sample_chain import signer
from tests.licenses.story import CENTRE, STRANGER, TYPE, Story, sealing_key_of
from tests.licenses.wallet_story import committed, last_use, records_of


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
