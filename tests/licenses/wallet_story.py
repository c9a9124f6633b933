"""What tests of wallets share: a license in a wallet, and the use that was recorded last."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.errors import InvalidProof
from ledger.light import open_bundle
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.disclosure import committed_use
from licenses.holding import WalletError
from licenses.models import License
from licenses.wallet import Wallet
from tests.ledger.sample_chain import CHAIN_ID
from tests.licenses.story import ISSUER, TYPE, Story, key_of


def put_license(story: Story, wallet: Wallet, license_type: str = TYPE) -> bytes:
    """Issue a license to the wallet, record it and add it; return its handle."""
    issued = story.prepare(wallet.offer(ISSUER), license_type=license_type)
    story.apply(key_of(ISSUER, "issuer"), ("licenses.license.issue", issued.body))
    return wallet.add(issued.package()).credential.handle


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
