"""The application over a real store: heights, outcomes, restarts, sync, and the proven view."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import merkle
from ledger.codec import decode
from ledger.commits import Commit
from ledger.database import Batch
from ledger.entries import BlockEntry, GenesisEntry, TransactionEntry, decode_entry
from ledger.errors import (
    DamagedStoreError,
    InvalidBlock,
    InvalidProof,
    InvalidTransaction,
    StorageError,
)
from ledger.state import state_key
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Operation
from tests.ledger.chain import READER, Chain, make_genesis, members, signer, uscc


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    chain = Chain.open(tmp_path / "data")
    yield chain
    chain.close()


def note_key(name: str) -> str:
    return state_key("test", "note", name)


def test_genesis_is_the_logs_first_entry_and_the_first_app_hash(chain: Chain) -> None:
    tip = chain.application.tip
    encoded = chain.application.history.entry(0)
    assert encoded is not None
    entry = decode_entry(encoded)
    assert entry == GenesisEntry(
        chain.application.genesis.hash, tip.state_root, tip.validators.hash(SUITE)
    )
    assert (tip.height, tip.log.size, tip.app_hash) == (0, 1, merkle.leaf_hash(SUITE, encoded))


def test_a_transaction_takes_effect_and_is_an_entry_before_its_block_entry(chain: Chain) -> None:
    transaction = chain.note("a")
    finalized = chain.commit(transaction)
    assert [result.code for result in finalized.results] == [""]
    assert [event.kind for event in finalized.events] == ["test.note.write"]
    first, last = (decode_entry(entry) for entry in finalized.entries)
    assert first == TransactionEntry(1, 0, "", None, transaction.raw)
    assert isinstance(last, BlockEntry)
    assert (last.state_root, last.block_id) == (finalized.state_root, finalized.block_id)
    value = chain.application.state.get(note_key("a"))
    assert value == {"text": "text", "by": uscc("110000"), "time_ms": finalized.tip.time_ms}
    assert chain.application.history.transaction_index(transaction.id) == 1


def test_the_app_hash_is_the_root_of_everything_ever_logged(chain: Chain) -> None:
    for number in range(5):
        chain.commit(*(chain.note(f"{number}-{i}") for i in range(number * 40)))
    tip = chain.application.tip
    entries = [entry for _, entry in chain.application.history.entries(0, tip.log.size)]
    hashes = [merkle.leaf_hash(SUITE, entry) for entry in entries]
    assert merkle.root(SUITE, hashes) == tip.app_hash
    proof = chain.application.history.inclusion_proof(7, tip.log.size)
    merkle.verify_inclusion(SUITE, hashes[7], 7, tip.log.size, proof, tip.app_hash)


def test_an_empty_block_appends_nothing_and_keeps_the_app_hash(chain: Chain) -> None:
    before = chain.commit(chain.note("a"))
    empty = chain.commit()
    assert empty.entries == ()
    assert (empty.app_hash, empty.state_root) == (before.app_hash, before.state_root)
    assert chain.application.tip.height == 2
    assert not chain.application.wants_block()


@pytest.mark.parametrize(
    ("fail", "code"),
    [
        ("refuse", "test.note.refused"),
        ("bug", "internal"),
        ("float", "internal"),
        ("large", "value_too_large"),
    ],
)
def test_a_failed_operation_undoes_its_whole_transaction_and_is_recorded(
    chain: Chain, fail: str, code: str
) -> None:
    good = {"name": "first", "text": "x"}
    bad = {"name": "second", "text": "x", "fail": fail}
    kind = "test.note.write"
    failing = chain.transaction(Operation(kind, good), Operation(kind, bad))
    finalized = chain.commit(failing, chain.note("third"))
    assert [(r.code, r.operation_index) for r in finalized.results] == [(code, 1), ("", None)]
    entry = decode_entry(finalized.entries[0])
    assert isinstance(entry, TransactionEntry)
    assert (entry.code, entry.operation_index) == (code, 1)
    state = chain.application.state
    assert state.get(note_key("first")) is None
    assert state.get(note_key("second")) is None
    assert state.get(note_key("third")) is not None
    assert len(chain.reported) == (1 if code == "internal" else 0)


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (Operation("test.note.unheard_of", {}), "unknown_operation"),
        (Operation("test.note.write", {}), "invalid_body"),
        (Operation("test.note.write", {"name": "a", "more": 1}), "invalid_body"),
        (Operation("test.note.write", {"name": 1}), "invalid_body"),
    ],
)
def test_what_cannot_run_is_refused_at_submission_and_recorded_in_a_block(
    chain: Chain, operation: Operation, code: str
) -> None:
    transaction = chain.transaction(operation)
    with pytest.raises(InvalidTransaction) as refusal:
        chain.application.check_transaction(transaction.raw, chain.time_ms)
    assert refusal.value.code == code
    assert [result.code for result in chain.commit(transaction).results] == [code]


def test_a_signer_without_the_role_fails(chain: Chain) -> None:
    transaction = chain.note("a", by=READER)
    with pytest.raises(InvalidTransaction, match="role_missing"):
        chain.application.check_transaction(transaction.raw, chain.time_ms)
    assert chain.commit(transaction).results[0].code == "role_missing"


def test_a_storage_error_stops_the_node_and_not_the_transaction(chain: Chain) -> None:
    block = chain.propose(chain.note("a", fail="storage"))
    with pytest.raises(StorageError):
        chain.application.finalize_block(block)
    assert chain.application.tip.height == 0


def test_a_key_revoked_earlier_in_the_block_signs_nothing_more(chain: Chain) -> None:
    from tests.ledger.chain import EDITOR

    revocation = chain.transaction(Operation("ledger.key.revoke", {"key": str(EDITOR.public_key)}))
    finalized = chain.commit(revocation, chain.note("a"))
    assert [result.code for result in finalized.results] == ["", "key_revoked"]
    late = chain.note("b")
    with pytest.raises(InvalidTransaction, match="key_revoked"):
        chain.application.check_transaction(late.raw, chain.time_ms)
    assert chain.propose(late).transactions == ()


def test_a_transaction_sees_what_those_before_it_in_the_block_wrote(chain: Chain) -> None:
    finalized = chain.commit(
        chain.note("a", "one"), chain.note("a", "two"), chain.note("a", fail="delete")
    )
    assert all(result.succeeded for result in finalized.results)
    assert chain.application.state.get(note_key("a")) is None
    assert chain.application.query(note_key("a")).value is None


def test_a_query_comes_with_a_proof_under_the_state_root(chain: Chain) -> None:
    chain.commit(chain.note("a"))
    answer = chain.application.query(note_key("a"))
    assert answer.value is not None
    answer.proof.verify(SUITE, chain.application.tip.state_root, note_key("a"), answer.value)
    absent = chain.application.query(note_key("b"))
    absent.proof.verify(SUITE, answer.state_root, note_key("b"), None)


def test_a_query_names_the_height_of_its_root_while_blocks_are_committed(chain: Chain) -> None:
    """Reading is open to all threads."""
    roots: dict[int, bytes] = {}

    def commit(count: int) -> None:
        for _ in range(count):
            tip = chain.commit(chain.note(f"note-{chain.nonces}")).tip
            roots[tip.height] = tip.state_root

    commit(1)
    answers = []
    with ThreadPoolExecutor(1) as other:
        committing = other.submit(commit, 40)
        while not committing.done():
            answers.append(chain.application.query(note_key("note-0")))
        committing.result()
    assert len({answer.height for answer in answers}) > 1
    assert all(roots[answer.height] == answer.state_root for answer in answers)


# --- restart and sync -----------------------------------------------------------------------------


def test_a_restart_finds_the_same_tip_and_goes_on(chain: Chain) -> None:
    chain.commit(chain.note("a"))
    chain.commit()
    before = chain.application.tip
    again = chain.reopen()
    assert again.application.tip == before
    again.commit(again.note("b"))
    assert again.application.state.get(note_key("a")) is not None
    again.close()


def test_nothing_of_a_block_is_there_before_its_commit(chain: Chain) -> None:
    block = chain.propose(chain.note("a"))
    chain.application.finalize_block(block)
    chain.application.finalize_block(block)
    again = chain.reopen()
    assert again.application.tip.height == 0
    assert again.application.history.entry(1) is None
    assert again.application.state.get(note_key("a")) is None
    again.close()


def test_what_the_engine_adds_is_written_with_the_block(chain: Chain) -> None:
    block = chain.propose(chain.note("a"))
    extra = Batch()
    extra.put(b"w/test", b"gone")
    finalized = chain.application.finalize_block(block)
    chain.application.commit(finalized, chain.decide(block), extra)
    assert chain.store.get(b"w/test") == b"gone"


def test_a_database_of_another_chain_is_refused(chain: Chain, tmp_path: Path) -> None:
    chain.close()
    with pytest.raises(StorageError, match="another chain"):
        Chain.open(chain.directory, genesis=make_genesis(name="other"))


def test_a_chain_is_begun_once_only(chain: Chain) -> None:
    with pytest.raises(StorageError):
        chain.application.init_chain()


def test_a_node_that_syncs_reaches_the_same_roots_and_bytes(chain: Chain, tmp_path: Path) -> None:
    other = Chain.open(tmp_path / "other")
    for number in range(4):
        chain.commit(*(chain.note(f"{number}-{i}") for i in range(number)))
        history = chain.application.history
        block, commit = history.block(number + 1), history.commit(number + 1)
        assert block is not None and commit is not None
        other.application.apply_synced(block, commit)
        assert other.application.tip == chain.application.tip
    rows = dict(chain.store.iterate(b""))
    assert dict(other.store.iterate(b"")) == rows
    other.close()


def test_a_synced_block_needs_the_word_of_its_validators(chain: Chain, tmp_path: Path) -> None:
    other = Chain.open(tmp_path / "other")
    block = chain.propose(chain.note("a"))
    commit = chain.decide(block)
    changed = replace(block, transactions=())
    few = replace(commit, signatures=commit.signatures[:2])
    alien = replace(commit, signatures=(*commit.signatures[:3], ("zhejiang", bytes(64))))
    bad = replace(commit, signatures=(*commit.signatures[:3], ("tianjin", bytes(64))))
    later = Commit(2, 0, commit.block_id, commit.signatures)
    for wrong_block, wrong_commit in [
        (changed, commit),
        (block, few),
        (block, alien),
        (block, bad),
        (block, later),
        (chain.propose(), commit),
    ]:
        with pytest.raises(InvalidBlock):
            other.application.apply_synced(wrong_block, wrong_commit)
    assert other.application.tip.height == 0
    other.application.apply_synced(block, commit)
    other.close()


def test_a_decided_block_that_does_not_fit_means_damage_here(chain: Chain) -> None:
    block = chain.propose(chain.note("a"))
    header = replace(block.header, app_hash=bytes(32))
    wrong = replace(block, header=header)
    with pytest.raises(DamagedStoreError, match="app_hash"):
        chain.application.apply_synced(wrong, chain.decide(wrong))


# --- the proven view ------------------------------------------------------------------------------


def test_the_proven_view_stays_at_what_a_quorum_has_cosigned(chain: Chain) -> None:
    application = chain.application
    assert application.proven() is None
    chain.commit(chain.note("a", "one"))
    signed = chain.checkpoint()
    assert application.record_checkpoint(signed) is not None
    chain.commit(chain.note("a", "two"))
    proven = application.proven()
    assert proven is not None and (proven.height, proven.size) == (1, signed.checkpoint.size)
    encoded, proof = proven.state.prove(note_key("a"))
    assert encoded is not None
    value = decode(encoded)
    assert isinstance(value, dict) and value["text"] == "one"
    entry = decode_entry(proven.binding.entry)
    assert isinstance(entry, BlockEntry) and entry.state_root == proven.state.root
    proof.verify(SUITE, entry.state_root, note_key("a"), encoded)
    merkle.verify_inclusion(
        SUITE,
        merkle.leaf_hash(SUITE, proven.binding.entry),
        proven.binding_index,
        proven.size,
        proven.proven_entry(proven.binding_index)[1],
        signed.checkpoint.root,
    )
    assert application.record_checkpoint(chain.checkpoint()) is not None
    newer = application.proven()
    assert newer is not None and newer.height == 2


def test_the_genesis_state_is_proved_by_the_genesis_entry(chain: Chain) -> None:
    proven = chain.application.record_checkpoint(chain.checkpoint())
    assert proven is not None and proven.binding_index == 0
    entry = decode_entry(proven.binding.entry)
    assert isinstance(entry, GenesisEntry) and entry.state_root == proven.state.root


def test_an_idle_chain_takes_newer_times_of_the_same_checkpoint(chain: Chain) -> None:
    chain.commit(chain.note("a"))
    chain.application.record_checkpoint(chain.checkpoint(time_s=1_760_000_100))
    chain.commit()
    chain.application.record_checkpoint(chain.checkpoint(time_s=1_760_000_700))
    chain.application.record_checkpoint(chain.checkpoint(time_s=1_760_000_300))
    proven = chain.application.proven()
    assert proven is not None and proven.time_s == 1_760_000_700


def test_checkpoints_without_quorum_or_of_another_log_prove_nothing(chain: Chain) -> None:
    chain.commit(chain.note("a"))
    good = chain.checkpoint()
    with pytest.raises(InvalidProof):
        chain.application.record_checkpoint(chain.checkpoint("beijing", "hebei"))
    with pytest.raises(InvalidProof):
        chain.application.record_checkpoint(
            replace(good, checkpoint=replace(good.checkpoint, origin="other"))
        )
    unknown = replace(good, checkpoint=replace(good.checkpoint, size=99))
    assert chain.application.record_checkpoint(unknown) is None
    assert chain.application.proven() is None


def test_a_quorum_for_another_root_of_our_size_stops_the_node(chain: Chain, tmp_path: Path) -> None:
    other = Chain.open(tmp_path / "other")
    chain.commit(chain.note("a"))
    other.commit(other.note("b"))
    with pytest.raises(DamagedStoreError):
        chain.application.record_checkpoint(other.checkpoint())
    other.close()


def test_a_stored_checkpoint_of_the_tip_proves_again_after_a_restart(chain: Chain) -> None:
    chain.commit(chain.note("a"))
    chain.application.record_checkpoint(chain.checkpoint())
    chain.application.save_checkpoints()
    again = chain.reopen()
    proven = again.application.proven()
    assert proven is not None and proven.height == 1
    again.close()


def test_the_next_block_carries_a_recorded_checkpoint_and_drops_the_one_before(
    chain: Chain,
) -> None:
    signed = []
    for number in range(3):
        chain.commit(chain.note(f"{number}"))
        signed.append(chain.checkpoint())
        chain.application.record_checkpoint(signed[-1])
    history = chain.application.history
    assert history.newest_checkpoint() == (2, signed[1])
    assert history.checkpoint(1) is None
    chain.application.save_checkpoints()
    assert chain.store.get(b"k/" + (3).to_bytes(8, "big")) == signed[2].encode()


# --- validators -----------------------------------------------------------------------------------


def change_validator(chain: Chain, **body: str) -> None:
    """Propose a change as Beijing, approve it as Hebei and Tianjin, each in a block of its own."""
    proposal = chain.transaction(
        Operation("ledger.validator.propose", body), by=chain.member("beijing").governor
    )
    assert chain.commit(proposal).results[0].code == ""
    for name in ("hebei", "tianjin"):
        approval = chain.transaction(
            Operation("ledger.validator.approve", {"proposal": f"{proposal.id.hex()}-0"}),
            by=chain.member(name).governor,
        )
        result = chain.commit(approval).results[0]
        assert result.code == "", result.text


def replacement() -> dict[str, str]:
    keys = ("consensus_key", "log_key", "witness_key")
    return {
        "action": "replace",
        "name": "beijing",
        **{key: str(signer(f"new {key}").public_key) for key in keys},
    }


def test_a_change_of_validators_takes_effect_two_heights_on_and_is_logged(tmp_path: Path) -> None:
    chain = Chain.open(tmp_path / "data")
    old = chain.application.tip.validators
    change_validator(chain, **replacement())
    height = chain.application.tip.height
    tip = chain.application.tip
    assert (tip.validators, tip.next_validators != old) == (old, True)
    assert chain.application.wants_block()
    changed = tip.next_validators
    chain.application.record_checkpoint(chain.checkpoint())
    first = chain.commit()
    entry = decode_entry(first.entries[-1])
    assert isinstance(entry, BlockEntry)
    assert (entry.validators_hash, entry.next_validators_hash) == (
        old.hash(SUITE),
        changed.hash(SUITE),
    )
    proof_of_change = chain.checkpoint()
    chain.application.record_checkpoint(proof_of_change)
    assert chain.application.tip.validators == changed
    assert chain.application.wants_block()
    # the new set decides the next height: the old key of beijing no longer counts
    block = chain.propose()
    with pytest.raises(InvalidBlock):
        chain.application.apply_synced(block, chain.decide(block))
    commit = Commit.of(
        chain.vote(name, block.id(SUITE)) for name in ("hebei", "national", "tianjin")
    )
    second = chain.application.apply_synced(block, commit)
    assert len(second.entries) == 1
    assert not chain.application.wants_block()
    history = chain.application.history
    assert list(history.validator_changes()) == [(height + 2, changed)]
    assert history.checkpoint(height + 1) == proof_of_change
    assert history.validators(height + 1) == old
    chain.close()


def test_too_few_validators_are_refused_by_membership(chain: Chain) -> None:
    proposal = chain.transaction(
        Operation("ledger.validator.propose", {"action": "remove", "name": "hebei"}),
        by=chain.member("beijing").governor,
    )
    assert chain.commit(proposal).results[0].code == "ledger.validator.distribution"
    assert len(members()) == 4


def test_what_strangers_submit_is_not_remembered(chain: Chain) -> None:
    application = chain.application
    refused = {
        "unknown_signer": chain.note("a", by=signer("stranger")),
        "wrong_chain": chain.note("a", chain_id="other"),
        "role_missing": chain.note("a", by=READER),
        "expired": chain.note("a", valid_for_ms=-5_000),
    }
    for code, transaction in refused.items():
        with pytest.raises(InvalidTransaction, match=code):
            application.check_transaction(transaction.raw, chain.time_ms)
        assert len(application._cache) == 0
    application.check_transaction(chain.note("a").raw, chain.time_ms)
    assert len(application._cache) == 1
