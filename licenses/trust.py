"""Whom a wallet trusts: its policy, how that is renewed, and under which one its kept evidence verifies.

A policy vouches for the next one while it is not too old itself; after that only the holder can, who gets a policy file
from somebody to be believed. Former policies are kept: what was proved under them has not become false since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ledger.bundle import ValidatorChange
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import InvalidProof
from ledger.light import NotEstablishedError, TrustedView, VerifiedBundle, open_bundle
from ledger.policy import NO_QUORUM, Policy
from ledger.suite import Suite
from licenses.holding import Holding, WalletError

MAX_FORMER: Final = 32
"""Policies of earlier validators, a few kilobytes each; validators change a few times a year."""


def policy_of(suite: Suite, holding: Holding) -> Policy:
    """Return the policy that a wallet trusts now."""
    return Policy.parse(suite, holding.policy)


def require_young(view: TrustedView, now_ms: int) -> None:
    """Check that the policy of a view may be relied upon: retired keys could sign what they like.

    Raises:
        NotEstablishedError: `no_anchor` or `anchor_too_old`, with what the holder can do.
    """
    try:
        view.require_fresh(now_ms, now_ms)
    except NotEstablishedError as error:
        raise NotEstablishedError(
            error.code,
            f"{error} (give the wallet one from somebody you trust: mulu wallet policy --replace FILE)",
        ) from None


def require_reliance(suite: Suite, holding: Holding, now_ms: int, until_ms: int) -> None:
    """Check that a wallet's policy may be relied upon from now until then, before anything is begun that rests on it.

    Raises:
        NotEstablishedError: as `require_young`; where it can still be renewed, that says so.
    """
    view = TrustedView(suite, policy_of(suite, holding))
    require_young(view, now_ms)
    try:
        view.require_fresh(until_ms, until_ms)
    except NotEstablishedError as error:
        raise NotEstablishedError(
            error.code,
            "the policy will be too old before the request expires, and disclosure be refused "
            "(renew it now: mulu wallet policy --renew)",
        ) from None


def renew_policy(
    suite: Suite,
    holding: Holding,
    changes: Sequence[ValidatorChange],
    signed: SignedCheckpoint,
    now_ms: int,
) -> Holding:
    """Trust the validators of today, as the present policy proves them: through their changes, up to a checkpoint.

    Raises:
        LedgerError: as `TrustedView.renewed`.
    """
    view = TrustedView(suite, policy_of(suite, holding))
    require_young(view, now_ms)
    return _with_policy(suite, holding, view.renewed(changes, signed, now_ms))


def require_usable(suite: Suite, chain_id: str, policy: Policy, now_ms: int) -> None:
    """Check that a policy which the holder gives a wallet of a chain is one under which it can do anything.

    Raises:
        WalletError: `wallet.other_chain`, or `wallet.bad_policy`: without a quorum, or the time that it is of.
        NotEstablishedError: `anchor_too_old`.
    """
    if {log.key.name for log in policy.logs} != {chain_id}:
        raise WalletError("wallet.other_chain", f"not a policy of {chain_id}")
    if policy.quorum == NO_QUORUM or policy.as_of is None:
        raise WalletError("wallet.bad_policy", "the policy has no quorum, or no as-of line")
    TrustedView(suite, policy).require_fresh(now_ms, now_ms)


def replace_policy(suite: Suite, holding: Holding, policy: Policy, now_ms: int) -> Holding:
    """Trust another policy of the same chain, because the holder says so.

    Raises:
        WalletError: as `require_usable`, or `wallet.policy_older`.
        NotEstablishedError: as `require_usable`.
    """
    require_usable(suite, holding.chain_id, policy, now_ms)
    known, given = policy_of(suite, holding).as_of, policy.as_of
    assert given is not None, "else it is not usable"
    if known is not None and (given.time_s, given.size) < (known.time_s, known.size):
        raise WalletError("wallet.policy_older", "the wallet has a newer policy already")
    return _with_policy(suite, holding, policy)


def verify_kept(suite: Suite, holding: Holding, bundle: bytes) -> VerifiedBundle:
    """Verify evidence that the wallet has kept, under the policy that it was taken in under, be it a former one.

    Raises:
        LedgerError: it verifies under none of them; what the present one says of it.
    """
    return policy_that_verifies(suite, holding, bundle)[1]


def policy_that_verifies(
    suite: Suite, holding: Holding, bundle: bytes
) -> tuple[bytes, VerifiedBundle]:
    """Return, of a wallet's policies, the newest under which a bundle verifies, and what the bundle shows.

    Raises:
        LedgerError: as `verify_kept`.
    """
    refusal: InvalidProof | NotEstablishedError | None = None
    for policy in (holding.policy, *reversed(holding.former)):
        try:
            return policy, open_bundle(suite, Policy.parse(suite, policy), bundle)[1]
        except (InvalidProof, NotEstablishedError) as error:
            refusal = refusal or error
    assert refusal is not None, "a wallet has a policy"
    raise refusal


def _with_policy(suite: Suite, holding: Holding, policy: Policy) -> Holding:
    former = holding.former
    if _validators_of(policy_of(suite, holding)) != _validators_of(policy):
        former = (*former, holding.policy)[-MAX_FORMER:]
    return replace(holding, policy=policy.encode(), former=former)


def _validators_of(policy: Policy) -> tuple[Policy, bytes | None]:
    """Return what a policy believes, whenever it was obtained.

    Its lines have no consensus keys, the hash covers them: evidence of before a change of these alone verifies under
    the policy of before only.
    """
    validators_hash = None if policy.as_of is None else policy.as_of.validators_hash
    return replace(policy, as_of=None), validators_hash
