"""What a node makes, a light verifier accepts, starting from the genesis policy and through changes of validators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.bundle import Bundle
from ledger.commits import Commit
from ledger.entries import BlockEntry, TransactionEntry
from ledger.light import NotEstablishedError, TrustedView, open_bundle
from ledger.policy import AsOf, Policy, policy_for
from ledger.proofs import entry_evidence, state_evidence, validator_changes
from ledger.suite import SHA256_ED25519 as SUITE
from tests.ledger.chain import START_MS, Chain
from tests.ledger.test_application import change_validator, replacement


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    chain = Chain.open(tmp_path / "data")
    yield chain
    chain.close()


def anchor(chain: Chain) -> Policy:
    genesis = chain.application.genesis
    as_of = AsOf(START_MS // 1000, 1, genesis.validators.hash(SUITE))
    return policy_for(SUITE, genesis.validators, genesis.chain_id, as_of)


def test_entries_and_states_verify_under_the_anchor(chain: Chain) -> None:
    transaction = chain.note("a")
    chain.commit(transaction)
    proven = chain.application.record_checkpoint(chain.checkpoint())
    assert proven is not None
    view = TrustedView(SUITE, anchor(chain))
    entry = view.verify_entry(entry_evidence(proven, 1)).entry
    assert isinstance(entry, TransactionEntry) and entry.transaction == transaction.raw
    state = view.verify_state(state_evidence(proven, "test/note/a"))
    assert state.is_current and isinstance(state.value, dict) and state.value["text"] == "text"
    assert view.verify_state(state_evidence(proven, "test/note/b")).value is None
    with pytest.raises(ValueError, match="no leaf"):
        entry_evidence(proven, proven.size)


def test_before_the_first_block_entry_states_rest_on_genesis(chain: Chain) -> None:
    proven = chain.application.record_checkpoint(chain.checkpoint())
    assert proven is not None
    state = TrustedView(SUITE, anchor(chain)).verify_state(
        state_evidence(proven, "ledger/validators/set")
    )
    assert state.is_current and state.value is not None


def test_a_bundle_leads_through_a_change_of_validators(chain: Chain) -> None:
    chain.commit(chain.note("a"))
    change_validator(chain, **replacement())
    chain.commit()
    change_height = chain.application.tip.height
    at_the_change = chain.application.record_checkpoint(chain.checkpoint())
    assert at_the_change is not None
    three = ("hebei", "national", "tianjin")
    for _ in range(2):
        block = chain.propose(chain.note(f"n{chain.nonces}"))
        votes = [chain.vote(name, block.id(SUITE)) for name in three]
        chain.application.apply_synced(block, Commit.of(votes))
    proven = chain.application.record_checkpoint(chain.checkpoint(*three))
    assert proven is not None
    (change,) = validator_changes(chain.application)
    assert change.block.index == at_the_change.size - 1
    made = Bundle.of(
        "test",
        changes=validator_changes(chain.application, before_height=proven.height),
        entries=[entry_evidence(proven, 1)],
        states=[state_evidence(proven, "test/note/a")],
        attachments=[("paper", b"text")],
    )
    view, bundle = open_bundle(SUITE, anchor(chain), made.encode(SUITE))
    assert view.validators_hash == chain.application.tip.validators.hash(SUITE)
    assert bundle.states[0].value is not None
    # under the checkpoint of the change itself the old set still vouches
    assert validator_changes(chain.application, before_height=at_the_change.height) == ()
    early = Bundle.of("test", states=[state_evidence(at_the_change, "test/note/a")])
    open_bundle(SUITE, anchor(chain), early.encode(SUITE))
    # without the change nothing can be established
    cut = Bundle.of("test", states=made.states)
    with pytest.raises(NotEstablishedError):
        open_bundle(SUITE, anchor(chain), cut.encode(SUITE))
    assert validator_changes(chain.application, since_height=change_height) == ()
    assert len(validator_changes(chain.application, since_height=change_height - 1)) == 1
    entry = TrustedView(SUITE, anchor(chain)).verify_entry(change.block).entry
    assert isinstance(entry, BlockEntry) and entry.height == change_height
