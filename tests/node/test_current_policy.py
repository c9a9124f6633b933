"""The policy that a node gives out, between a change of validators and the checkpoint that proves it."""

from __future__ import annotations

from pathlib import Path

from ledger.suite import SHA256_ED25519 as SUITE
from node.api.network import current_policy
from tests.ledger.chain import Chain
from tests.ledger.test_application import change_validator, replacement


def test_a_policy_names_those_who_cosign_what_follows_its_checkpoint(tmp_path: Path) -> None:
    chain = Chain.open(tmp_path / "data")
    application = chain.application
    assert current_policy(application).as_of is None
    chain.commit(chain.note("a"))
    proven = application.record_checkpoint(chain.checkpoint())
    assert proven is not None
    before = application.tip.validators
    change_validator(chain, **replacement())
    while application.tip.validators == before:
        chain.commit()
    assert application.proven() is proven, "no quorum has come since"

    policy = current_policy(application)
    assert policy.as_of is not None
    assert (policy.as_of.size, policy.as_of.validators_hash) == (proven.size, before.hash(SUITE))
    keys = {str(witness.key.public_key) for witness in policy.witnesses}
    assert keys == {str(validator.witness_key) for validator in before}

    assert application.record_checkpoint(chain.checkpoint()) is not None
    after = current_policy(application).as_of
    assert after is not None
    assert after.validators_hash == application.tip.validators.hash(SUITE) != before.hash(SUITE)
    chain.close()
