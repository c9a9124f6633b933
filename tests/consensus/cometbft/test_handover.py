"""What CometBFT asks is answered from a real ledger: refusals, restarts in between, validators, offences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consensus.cometbft import abci_pb2, mapping
from consensus.cometbft.abci_pb2 import (
    Misbehavior,
    RequestInitChain,
    RequestQuery,
)
from consensus.cometbft.errors import InvalidHandover
from consensus.cometbft.handover import Handover
from ledger.blocks import MAX_BLOCK_TRANSACTIONS
from ledger.codec import decode, encode
from ledger.decisions import Decision
from ledger.entries import BlockEntry, EvidenceEntry, decode_entry
from ledger.errors import InvalidBlock
from ledger.fsck import check_directory
from ledger.limits import CLOCK_BOUND_MS
from ledger.state import state_key
from ledger.state_tree import StateProof
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.suite import Suite
from ledger.transactions import (
    Operation,
    Transaction,
    decode_transaction,
    sign_transaction,
)
from tests.consensus.cometbft.driver import MAX_TX_BYTES, Driven, timestamp_of
from tests.ledger.chain import EDITOR, TABLE, Chain, make_genesis, members, signer


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    chain = Chain.open(tmp_path / "ledger")
    yield chain
    chain.close()


@pytest.fixture
def driven(chain: Chain) -> Driven:
    return Driven.of(chain)


# --- transactions ------------------------------------------------------------------------------------


def committed(driven: Driven) -> Transaction:
    transaction = driven.chain.note("committed")
    driven.commit(transaction)
    return transaction


def ill_signed(driven: Driven) -> Transaction:
    good = driven.chain.note("a")
    forged = sign_transaction(
        SUITE,
        signer("mallory"),
        driven.application.genesis.chain_id,
        good.operations,
        valid_until_ms=good.valid_until_ms,
        nonce=bytes(16),
    )
    # The editor's body under another's signature.
    body, _ = decode(good.raw)  # type: ignore[misc]
    _, signature = decode(forged.raw)  # type: ignore[misc]
    return decode_transaction(SUITE, encode((body, signature)))


BAD: dict[str, Callable[[Driven], Transaction]] = {
    "duplicate": committed,
    "bad_signature": ill_signed,
    "expired": lambda driven: driven.chain.note("a", valid_for_ms=-1),
    "too_distant": lambda driven: driven.chain.note("a", valid_for_ms=3_600_001),
    "wrong_chain": lambda driven: driven.chain.note("a", chain_id=make_genesis(name="b").chain_id),
    "unknown_signer": lambda driven: driven.chain.note("a", by=signer("stranger")),
}


@pytest.mark.parametrize("code", BAD)
def test_a_bad_transaction_is_refused_left_out_and_its_block_rejected(
    driven: Driven, code: str
) -> None:
    bad, good = BAD[code](driven), driven.chain.note("good")
    assert driven.check(bad) == code
    assert driven.prepare(bad, good) == [good.raw]
    assert not driven.accepts(good, bad)
    assert driven.accepts(good)


def test_the_same_transaction_twice_is_left_out_once_and_its_block_rejected(
    driven: Driven,
) -> None:
    one = driven.chain.note("a")
    assert driven.prepare(one, one) == [one.raw]
    assert not driven.accepts(one, one)


def test_bytes_that_are_no_transaction_are_refused_left_out_and_rejected(driven: Driven) -> None:
    request = abci_pb2.RequestCheckTx(tx=b"\xff")
    assert driven.handover.check_tx(request, driven.chain.time_ms).log == "malformed"
    prepare = abci_pb2.RequestPrepareProposal(
        max_tx_bytes=MAX_TX_BYTES,
        txs=[b"\xff"],
        height=1,
        time=timestamp_of(driven.chain.time_ms),
    )
    assert not driven.handover.prepare_proposal(prepare, driven.chain.time_ms).txs
    assert not driven.accepts(txs=[b"\xff"])


def test_a_signature_is_verified_once_from_the_check_to_the_block(
    driven: Driven, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction, verified = driven.chain.note("a"), []
    verify = Suite.verify
    monkeypatch.setattr(
        Suite,
        "verify",
        lambda suite, key, message, signature: (
            verified.append(message) or verify(suite, key, message, signature)
        ),
    )
    assert driven.check(transaction) == ""
    assert driven.check(transaction) == ""  # CometBFT rechecks what still waits after each block
    driven.commit(transaction)
    assert len(verified) == 1


def test_what_others_decided_is_not_verified_again(
    driven: Driven, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CometBFT replays blocks without proposing them: more than two thirds have verified each."""
    request = driven.decided(driven.chain.note("a"))
    monkeypatch.setattr(Suite, "verify", lambda *_: pytest.fail("a signature was verified"))
    driven.handover.finalize_block(request)
    assert len(driven.handover.write().transactions) == 1


def test_a_failed_transaction_stands_in_the_block_with_its_code(driven: Driven) -> None:
    answer, finalized = driven.commit(driven.chain.note("a", fail="refuse"))
    [result] = answer.tx_results
    assert (result.code, result.codespace, result.log) == (1, "mulu", "test.note.refused")
    assert [one.code for one in finalized.results] == ["test.note.refused"]


# --- blocks ------------------------------------------------------------------------------------------


def test_a_proposer_puts_no_transactions_into_a_block_whose_time_is_old(driven: Driven) -> None:
    """After an idle pause, and in the first block: what has expired since would seem valid still."""
    transaction, time_ms = driven.chain.note("a"), driven.chain.time_ms
    assert driven.prepare(transaction, now_ms=time_ms + CLOCK_BOUND_MS + 1) == []
    assert driven.prepare(transaction, now_ms=time_ms + CLOCK_BOUND_MS) == [transaction.raw]


def test_a_block_takes_what_fits_and_leaves_the_rest_in_order(driven: Driven) -> None:
    waiting = [driven.chain.note(f"{number}", text="x" * 1000) for number in range(10)]
    size = len(waiting[0].raw) + 5
    chosen = driven.prepare(*waiting, max_bytes=4 * size)
    assert chosen == [one.raw for one in waiting[:4]]


def test_a_block_is_rejected_whose_time_is_not_after_the_last_ones(driven: Driven) -> None:
    driven.commit()
    tip = driven.application.tip
    assert not driven.accepts(time=timestamp_of(tip.time_ms))
    assert driven.accepts(time=timestamp_of(tip.time_ms + 1))


def test_the_first_block_may_have_the_time_of_genesis(driven: Driven) -> None:
    time_ms = driven.application.genesis.time_ms
    assert driven.accepts(time=timestamp_of(time_ms))


def test_a_block_is_rejected_that_nobody_of_the_validators_proposes(driven: Driven) -> None:
    assert not driven.accepts(proposer_address=bytes(20))


def test_a_block_is_rejected_that_holds_too_many_transactions(driven: Driven) -> None:
    assert not driven.accepts(txs=[b"x"] * (MAX_BLOCK_TRANSACTIONS + 1))


@pytest.mark.parametrize("height", [0, 1, 3])
def test_a_height_out_of_turn_is_an_error_which_stops_the_node(driven: Driven, height: int) -> None:
    driven.commit()
    with pytest.raises(InvalidHandover, match="CometBFT is at height"):
        driven.accepts(height=height)
    with pytest.raises(InvalidHandover, match="CometBFT is at height"):
        driven.handover.finalize_block(driven.decided(height=height))


def test_an_empty_block_appends_nothing_so_no_further_block_follows_it(driven: Driven) -> None:
    """CometBFT makes one more block when the application hash has changed, and none when it has not."""
    changed, _ = driven.commit(driven.chain.note("a"))
    size = driven.application.tip.log.size
    answer, finalized = driven.commit()
    assert answer.app_hash == changed.app_hash
    assert finalized.entries == ()
    assert driven.application.tip.log.size == size


def test_a_commit_without_a_block_is_an_error(driven: Driven) -> None:
    driven.commit()
    with pytest.raises(InvalidHandover, match="not finalised"):
        driven.handover.write()


# --- start and restart -------------------------------------------------------------------------------


def init_chain(driven: Driven, **changes: object) -> RequestInitChain:
    genesis = driven.application.genesis
    parts: dict[str, object] = {
        "chain_id": genesis.chain_id,
        "initial_height": 1,
        "validators": [mapping.validator_update(one) for one in genesis.validators],
    }
    return RequestInitChain(**{**parts, **changes})  # type: ignore[arg-type]


def test_a_new_chain_starts_from_the_root_of_genesis(driven: Driven) -> None:
    info = driven.handover.info()
    assert (info.last_block_height, info.last_block_app_hash) == (0, b"")
    answer = driven.handover.init_chain(init_chain(driven))
    assert answer.app_hash == driven.application.tip.app_hash
    assert not answer.validators


def test_the_genesis_of_another_chain_is_refused(driven: Driven) -> None:
    with pytest.raises(InvalidHandover, match="other-"):
        driven.handover.init_chain(init_chain(driven, chain_id="other-1"))


@pytest.mark.parametrize("number", [3, 5])
def test_a_genesis_with_other_validators_is_refused(driven: Driven, number: int) -> None:
    others = [mapping.validator_update(member.validator) for member in members(number)]
    with pytest.raises(InvalidHandover, match="other validators"):
        driven.handover.init_chain(init_chain(driven, validators=others))


def test_a_genesis_with_unequal_powers_is_refused(driven: Driven) -> None:
    updates = [mapping.validator_update(one) for one in driven.application.genesis.validators]
    updates[0].power = 2
    with pytest.raises(InvalidHandover, match="other validators"):
        driven.handover.init_chain(init_chain(driven, validators=updates))


def test_a_chain_that_has_blocks_is_not_begun_again(driven: Driven) -> None:
    driven.commit()
    with pytest.raises(InvalidHandover, match="1 blocks already"):
        driven.handover.init_chain(init_chain(driven))


def test_a_crash_before_the_block_is_executed_changes_nothing(chain: Chain) -> None:
    driven = Driven.of(chain)
    first, _ = driven.commit(chain.note("a"))
    again = Driven.of(chain.reopen())
    info = again.handover.info()
    assert (info.last_block_height, info.last_block_app_hash) == (1, first.app_hash)
    again.chain.close()


def test_a_crash_between_execution_and_commit_leaves_the_block_to_be_replayed(
    chain: Chain,
) -> None:
    driven = Driven.of(chain)
    driven.commit(chain.note("a"))
    before = chain.application.tip
    request = driven.decided(chain.note("b"))
    answer = driven.handover.finalize_block(request)
    again = Driven.of(chain.reopen())
    info = again.handover.info()
    assert (info.last_block_height, info.last_block_app_hash) == (1, before.app_hash)
    assert again.handover.finalize_block(request) == answer
    assert again.handover.write().app_hash == answer.app_hash
    again.chain.close()


def test_a_crash_after_the_commit_leaves_nothing_to_be_replayed(chain: Chain) -> None:
    driven = Driven.of(chain)
    answer, _ = driven.commit(chain.note("a"))
    again = Driven.of(chain.reopen())
    info = again.handover.info()
    assert (info.last_block_height, info.last_block_app_hash) == (1, answer.app_hash)
    with pytest.raises(InvalidHandover, match="CometBFT is at height 1"):
        again.handover.finalize_block(driven.decided(height=1))
    again.chain.close()


def test_a_block_that_is_executed_twice_is_written_once_and_the_same(driven: Driven) -> None:
    request = driven.decided(driven.chain.note("a"))
    first = driven.handover.finalize_block(request)
    assert driven.handover.finalize_block(request) == first
    driven.handover.write()
    assert (driven.application.tip.height, driven.application.tip.app_hash) == (1, first.app_hash)


def test_asking_what_is_written_changes_nothing_of_a_block_that_is_being_decided(
    driven: Driven,
) -> None:
    """CometBFT asks it over one connection for itself and for whoever asks its RPC, between any two other calls."""
    answer = driven.handover.finalize_block(driven.decided(driven.chain.note("a")))
    assert driven.handover.info().last_block_height == 0
    assert driven.handover.write().app_hash == answer.app_hash
    assert driven.handover.info().last_block_height == 1


def test_an_engine_that_connects_anew_before_the_commit_replays_the_block(driven: Driven) -> None:
    request = driven.decided(driven.chain.note("a"))
    answer = driven.handover.finalize_block(request)
    assert driven.handover.info().last_block_height == 0
    assert driven.handover.finalize_block(request) == answer
    assert driven.handover.write().app_hash == answer.app_hash
    with pytest.raises(InvalidHandover, match="not finalised"):
        driven.handover.write()


# --- queries -----------------------------------------------------------------------------------------


def test_a_query_returns_the_value_with_its_proof_under_the_state_root(driven: Driven) -> None:
    driven.commit(driven.chain.note("a"))
    key = state_key("test", "note", "a")
    answer = driven.handover.query(RequestQuery(data=key.encode(), path="/state", prove=True))
    assert answer.height == 1
    value = decode(answer.value)
    assert value == driven.application.state.get(key)
    [proof] = answer.proof_ops.ops
    root = driven.application.tip.state_root
    StateProof.decode(proof.data).verify(SUITE, root, key, answer.value)


@pytest.mark.parametrize(("data", "path"), [(b"\xff", "/state"), (b"a", "/blocks")])
def test_a_query_for_what_there_is_not_is_refused(driven: Driven, data: bytes, path: str) -> None:
    assert driven.handover.query(RequestQuery(data=data, path=path)).code == 1


# --- validators and offences -------------------------------------------------------------------------


def admit(driven: Driven, **body: str) -> abci_pb2.ResponseFinalizeBlock:
    """Have all governors agree on a change; return the answer to the block that decides it."""
    chain = driven.chain
    propose = Operation("ledger.validator.propose", body)
    proposal = chain.transaction(propose, by=chain.member(body["name"]).governor)
    _, proposed = driven.commit(proposal)
    assert [one.code for one in proposed.results] == [""], proposed.results
    approval = Operation("ledger.validator.approve", {"proposal": f"{proposal.id.hex()}-0"})
    for name in ("national", "tianjin"):
        approved = chain.transaction(approval, by=chain.member(name).governor)
        answer, finalized = driven.commit(approved)
        assert [one.code for one in finalized.results] == [""], finalized.results
    return answer


def test_a_change_of_validators_reaches_cometbft_in_the_block_that_decides_it(
    driven: Driven,
) -> None:
    keys = {name: signer(f"new {name}").public_key for name in ("consensus", "log", "witness")}
    body = {f"{name}_key": str(key) for name, key in keys.items()}
    replaced = driven.chain.member("hebei").consensus.public_key
    answer = admit(driven, action="replace", name="hebei", **body)
    updates = {one.pub_key.ed25519: one.power for one in answer.validator_updates}
    assert updates == {replaced.data: 0, keys["consensus"].data: 1}
    decided_at = driven.application.tip.height
    # CometBFT, too, lets the new set decide from two heights on.
    for _ in range(2):
        assert (
            mapping.address_of(replaced)
            in map(
                mapping.address_of, (one.consensus_key for one in driven.application.tip.validators)
            )
            or driven.application.tip.height > decided_at
        )
        following, _ = driven.commit()
        assert not following.validator_updates
    present = {one.consensus_key for one in driven.application.history.validators(decided_at + 1)}
    then = {one.consensus_key for one in driven.application.history.validators(decided_at + 2)}
    assert replaced in present
    assert (replaced in then, keys["consensus"] in then) == (False, True)


def misbehaviour(driven: Driven, name: str, height: int) -> Misbehavior:
    address = mapping.address_of(driven.chain.member(name).consensus.public_key)
    return Misbehavior(
        type=abci_pb2.DUPLICATE_VOTE,
        validator=abci_pb2.Validator(address=address, power=1),
        height=height,
    )


def test_misbehaviour_becomes_evidence_and_the_culprit_leaves_where_four_remain(
    tmp_path: Path,
) -> None:
    chain = Chain.open(tmp_path / "five", 5)
    driven = Driven.of(chain)
    driven.commit()
    answer, finalized = driven.commit(misbehavior=[misbehaviour(driven, "hebei", 1)])
    key = chain.member("hebei").consensus.public_key
    assert [(one.pub_key.ed25519, one.power) for one in answer.validator_updates] == [(key.data, 0)]
    evidence, block = (decode_entry(entry) for entry in finalized.entries)
    assert evidence == EvidenceEntry(2, 0, "duplicate_vote", "hebei", 1)
    assert isinstance(block, BlockEntry)
    again, finalized = driven.commit(misbehavior=[misbehaviour(driven, "hebei", 1)])
    assert not again.validator_updates
    assert not any(isinstance(decode_entry(one), EvidenceEntry) for one in finalized.entries)
    driven.commit()
    assert driven.application.tip.validators.get("hebei") is None
    chain.close()
    assert check_directory(chain.directory, chain.application.genesis, TABLE).ok


def test_of_four_validators_the_culprit_stays_and_is_marked(driven: Driven) -> None:
    driven.commit()
    answer, finalized = driven.commit(misbehavior=[misbehaviour(driven, "hebei", 1)])
    assert not answer.validator_updates
    assert isinstance(decode_entry(finalized.entries[0]), EvidenceEntry)


# --- replay ------------------------------------------------------------------------------------------


def drive_a_story(driven: Driven) -> None:
    chain = driven.chain
    driven.commit()
    driven.commit(chain.note("a"), chain.note("b", fail="refuse"))
    driven.commit(chain.note("a", text="again"), misbehavior=[misbehaviour(driven, "hebei", 1)])
    driven.commit()


def test_what_cometbft_decided_replayed_alone_gives_the_same_roots_and_log(
    driven: Driven, tmp_path: Path
) -> None:
    drive_a_story(driven)
    other = Chain.open(tmp_path / "other", genesis=driven.application.genesis)
    history = driven.application.history
    for height in range(1, driven.application.tip.height + 1):
        decision = history.decision(height)
        assert decision is not None
        other.application.apply_decision(decision)
    ours, theirs = driven.application.tip, other.application.tip
    assert (theirs.state_root, theirs.app_hash, theirs.log) == (ours.state_root, ours.app_hash, ours.log)  # fmt: skip
    other.close()


def test_the_same_transactions_at_the_same_times_give_the_same_state_root_with_either_engine(
    driven: Driven, tmp_path: Path
) -> None:
    embedded = Chain.open(tmp_path / "embedded", genesis=driven.application.genesis)
    rounds = [
        (),
        (driven.chain.note("a"), driven.chain.note("b", fail="refuse")),
        (driven.chain.note("a", text="again"),),
    ]
    for transactions in rounds:
        time_ms = driven.chain.time_ms
        driven.commit(*transactions)
        embedded.commit(*transactions, time_ms=time_ms)
        assert embedded.application.tip.state_root == driven.application.tip.state_root
        assert embedded.application.tip.time_ms == driven.application.tip.time_ms
    embedded.close()


def test_a_store_of_cometbfts_decisions_is_whole(chain: Chain) -> None:
    drive_a_story(Driven.of(chain))
    chain.close()
    report = check_directory(chain.directory, chain.application.genesis, TABLE)
    assert (report.height, report.problems) == (4, ())


def test_a_decision_with_a_bad_transaction_is_not_replayed(chain: Chain) -> None:
    decision = Decision(1, chain.time_ms, bytes(32), "beijing", (ill_signed(Driven.of(chain)).raw,))
    with pytest.raises(InvalidBlock, match="bad_signature"):
        chain.application.apply_decision(decision)


def test_the_editors_key_is_enrolled_in_these_tests(driven: Driven) -> None:
    assert driven.check(driven.chain.note("a", by=EDITOR)) == ""


def test_a_handover_over_a_chain_with_blocks_tells_its_height(driven: Driven) -> None:
    driven.commit(driven.chain.note("a"))
    assert Handover(driven.application).info().last_block_height == 1
