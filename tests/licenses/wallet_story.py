"""What tests of wallets share: a license in a wallet, uses of it, and validators that come after others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.bundle import ValidatorChange
from ledger.errors import InvalidProof
from ledger.light import open_bundle
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.validators import Validator
from licenses.disclosure import committed_use
from licenses.holding import WalletError
from licenses.models import License
from licenses.use import Basis
from licenses.use_signing import sign_approval
from licenses.wallet import Wallet
from tests.ledger.sample_chain import CHAIN_ID, FOUNDERS, Member, signer
from tests.licenses.story import DEPARTMENT, INSTRUMENT, ISSUER, TYPE, Story, key_of

STRANGERS = (Member("a"), Member("b"), Member("c"), FOUNDERS[0])


def new_wallet(story: Story, home: Path) -> Wallet:
    """Set up a wallet in `home`, without passphrase, that believes the story's validators."""
    policy = story.chain.policy().encode()
    return Wallet.create(home, "", chain_id=CHAIN_ID, policy=policy, now_ms=story.time_ms)


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


class Rekeyed(Member):
    """A validator whose consensus key alone was replaced."""

    @property
    def validator(self) -> Validator:
        kept = super().validator
        return replace(kept, consensus_key=signer(f"new consensus {self.name}").public_key)


def change_validators(story: Story, members: Sequence[Member] = STRANGERS) -> ValidatorChange:
    """Let other validators decide from now on; return the proof of it."""
    story.chain.commit({"ledger/note/0": 1}, next_members=members)
    change = story.chain.change_evidence()
    story.chain.commit({"ledger/note/1": 1})
    return change


def young_policy(story: Story) -> Policy:
    """Return the policy of the validators, obtained just now by this machine's clock."""
    policy = story.chain.policy()
    assert policy.as_of is not None
    return replace(policy, as_of=replace(policy.as_of, time_s=int(time.time())))


def use_with_consent(story: Story, wallet: Wallet) -> tuple[bytes, bytes]:
    """Consent to a request and record its use; return (use id, its bundle)."""
    envelope = story.request()
    story.record(envelope, consent=wallet.consent(envelope, now_ms=story.time_ms))
    return last_use(story)


def use_by_law(story: Story, handle: bytes) -> tuple[bytes, bytes]:
    """Record a use of a license by law; return (use id, its bundle)."""
    envelope = story.request(basis=Basis(INSTRUMENT, "1"), organisation=DEPARTMENT)
    approval = sign_approval(
        SUITE,
        key_of(DEPARTMENT, "officer"),
        envelope.signed.request,
        [(handle, ("name",))],
        expires_ms=story.time_ms + 60_000,
    )
    story.record(envelope, approval=approval)
    return last_use(story)
