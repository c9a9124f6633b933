"""Block rules: for each, a block that breaks it alone is refused, and the same block without the fault passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.blocks import Block, Header, transactions_root
from ledger.codec import encode
from ledger.commits import Commit, commit_hash
from ledger.entries import EvidenceEntry, decode_entry
from ledger.errors import InvalidBlock, InvalidTransaction
from ledger.evidence import DuplicateVoteEvidence, evidence_hash
from ledger.execution import evidence_key
from ledger.membership import validator_fault
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Transaction, decode_transaction
from tests.ledger.chain import EDITOR, Chain, Member, make_genesis, members, signer

HOUR_MS = 3_600_000


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    chain = Chain.open(tmp_path / "data")
    chain.commit(chain.note("first"))
    yield chain
    chain.close()


def rebuilt(
    block: Block,
    *,
    transactions: tuple[bytes, ...] | None = None,
    evidence: tuple[DuplicateVoteEvidence, ...] | None = None,
    last_commit: Commit | type[Ellipsis] | None = Ellipsis,
    **header: object,
) -> Block:
    """Return the block with other content and a header that fits it, as a dishonest proposer would build it."""
    chosen = block.transactions if transactions is None else transactions
    good = block.evidence if evidence is None else evidence
    commit = block.last_commit if last_commit is Ellipsis else last_commit
    assert commit is None or isinstance(commit, Commit)
    fields = {
        "transactions_root": transactions_root(SUITE, chosen),
        "evidence_hash": evidence_hash(SUITE, good),
        "last_commit_hash": commit_hash(SUITE, commit),
        **header,
    }
    return Block(replace(block.header, **fields), chosen, good, commit)  # type: ignore[arg-type]


def refused(chain: Chain, block: Block, reason: str) -> None:
    with pytest.raises(InvalidBlock, match=reason):
        chain.application.process_proposal(block)


@pytest.mark.parametrize("name", list(Header.__dataclass_fields__))
def test_every_field_of_the_header_is_checked(chain: Chain, name: str) -> None:
    block = chain.propose(chain.note("a"))
    chain.application.process_proposal(block)
    value = getattr(block.header, name)
    if name == "time_ms":
        wrong = chain.application.tip.time_ms
    elif name == "proposer":
        wrong = "zhejiang"
    else:
        wrong = value + 1 if isinstance(value, int) else value[:-1] + value[-1:] * 2
        wrong = value[:-1] + bytes([value[-1] ^ 1]) if isinstance(value, bytes) else wrong
    refused(
        chain,
        replace(block, header=replace(block.header, **{name: wrong})),
        name.split("_", maxsplit=1)[0],
    )


def test_a_later_time_and_another_validator_as_proposer_are_the_proposers_choice(
    chain: Chain,
) -> None:
    block = chain.propose()
    for change in ({"time_ms": chain.application.tip.time_ms + 1}, {"proposer": "tianjin"}):
        chain.application.process_proposal(rebuilt(block, **change))


# --- transactions ---------------------------------------------------------------------------------


def forged(transaction: Transaction) -> Transaction:
    signature = transaction.signature[:-1] + bytes([transaction.signature[-1] ^ 1])
    return decode_transaction(SUITE, encode((transaction.body, signature)))


Make = Callable[[Chain], Transaction]
BAD_TRANSACTIONS: dict[str, tuple[Make, str]] = {
    "a bad signature": (lambda c: forged(c.note("a")), "bad_signature"),
    "another chain's": (lambda c: c.note("a", chain_id="other"), "wrong_chain"),
    "expired by a millisecond": (lambda c: c.note("a", valid_for_ms=-1), "expired"),
    "too distant by a millisecond": (
        lambda c: c.note("a", valid_for_ms=HOUR_MS + 1),
        "too_distant",
    ),
    "a stranger's": (lambda c: c.note("a", by=signer("stranger")), "unknown_signer"),
}


@pytest.mark.parametrize("name", list(BAD_TRANSACTIONS))
def test_a_block_with_such_a_transaction_is_invalid_and_no_proposer_builds_it(
    chain: Chain, name: str
) -> None:
    make, code = BAD_TRANSACTIONS[name]
    bad, good = make(chain), chain.note("good")
    with pytest.raises(InvalidTransaction) as refusal:
        chain.application.check_transaction(bad.raw, chain.time_ms)
    assert refusal.value.code == code
    block = chain.propose(bad, good)
    assert block.transactions == (good.raw,)
    refused(chain, rebuilt(block, transactions=(good.raw, bad.raw)), f"transaction 1: {code}")


@pytest.mark.parametrize("valid_for_ms", [0, HOUR_MS])
def test_the_bounds_of_the_lifetime_themselves_are_good(chain: Chain, valid_for_ms: int) -> None:
    chain.commit(chain.note("a", valid_for_ms=valid_for_ms))


def test_garbage_in_a_block_is_refused(chain: Chain) -> None:
    block = chain.propose()
    for raw in (b"", b"garbage", encode(("body", "signature"))):
        refused(chain, rebuilt(block, transactions=(raw,)), "malformed")


def test_the_same_transaction_twice_in_a_block_is_refused(chain: Chain) -> None:
    one = chain.note("a")
    block = chain.propose(one, one)
    assert block.transactions == (one.raw,)
    refused(chain, rebuilt(block, transactions=(one.raw, one.raw)), "transaction 1: duplicate")


def test_a_transaction_that_the_log_holds_is_refused_for_all_its_lifetime(chain: Chain) -> None:
    one = chain.note("a", valid_for_ms=HOUR_MS)
    chain.commit(one)
    last_moment = one.valid_until_ms
    again = chain.reopen()
    with pytest.raises(InvalidTransaction, match="duplicate"):
        again.application.check_transaction(one.raw, again.time_ms)
    for time_ms in (again.time_ms, last_moment):
        block = again.propose(one, time_ms=time_ms)
        assert block.transactions == ()
        refused(again, rebuilt(block, transactions=(one.raw,)), "duplicate")
    late = again.propose(one, time_ms=last_moment + 1)
    refused(again, rebuilt(late, transactions=(one.raw,)), "expired")
    again.close()


def test_a_failed_transaction_is_used_up_too(chain: Chain) -> None:
    one = chain.note("a", fail="refuse")
    assert chain.commit(one).results[0].code == "test.note.refused"
    refused(chain, rebuilt(chain.propose(), transactions=(one.raw,)), "duplicate")


def test_a_second_signature_makes_no_second_transaction(chain: Chain) -> None:
    """An id does not cover the signature; nor may a cached good one vouch for a bad one."""
    one = chain.note("a")
    chain.application.check_transaction(one.raw, chain.time_ms)
    other = forged(one)
    assert other.id == one.id
    block = chain.propose(other)
    assert block.transactions == ()
    refused(chain, rebuilt(block, transactions=(other.raw,)), "bad_signature")


def test_a_key_enrolled_by_this_block_may_sign_from_the_next_one_on(chain: Chain) -> None:
    from ledger.membership_operations import enrol_key_body
    from ledger.operations import body_value
    from ledger.transactions import Operation

    newcomer, chain_id = signer("newcomer"), chain.application.genesis.chain_id
    beijing = chain.member("beijing")
    body = enrol_key_body(newcomer, chain_id, beijing.controller, ("editor",))
    enrolment = chain.transaction(
        Operation("ledger.key.enrol", body_value(body)), by=beijing.governor
    )
    eager = chain.note("a", by=newcomer)
    block = chain.propose(enrolment, eager)
    assert block.transactions == (enrolment.raw,)
    refused(chain, rebuilt(block, transactions=(enrolment.raw, eager.raw)), "unknown_signer")
    assert chain.commit(enrolment).results[0].code == ""
    assert chain.commit(eager).results[0].code == ""


def test_a_key_revoked_by_an_earlier_block_signs_nothing_that_a_block_may_hold(
    chain: Chain,
) -> None:
    from ledger.transactions import Operation

    late = chain.note("a")
    revocation = chain.transaction(Operation("ledger.key.revoke", {"key": str(EDITOR.public_key)}))
    assert chain.commit(revocation).results[0].code == ""
    block = chain.propose(late)
    assert block.transactions == ()
    refused(chain, rebuilt(block, transactions=(late.raw,)), "key_revoked")


def test_a_proposer_fills_a_block_up_to_its_limit_in_order(tmp_path: Path) -> None:
    from ledger.genesis import Parameters

    genesis = make_genesis(parameters=Parameters(max_block_bytes=130_000))
    chain = Chain.open(tmp_path / "small", genesis=genesis)
    large = [chain.note(f"n{i}", "x" * 30_000) for i in range(6)]
    block = chain.propose(*large)
    assert block.transactions == tuple(one.raw for one in large[:4])
    assert len(block.encode()) <= 130_000
    chain.application.process_proposal(block)
    more = rebuilt(block, transactions=tuple(one.raw for one in large[:5]))
    refused(chain, more, "at most 130000")
    chain.close()


# --- last commit ----------------------------------------------------------------------------------


def test_the_last_commit_must_be_the_validators_word_for_the_last_block(chain: Chain) -> None:
    block = chain.propose()
    good = block.last_commit
    assert good is not None
    wrong = {
        "no last commit": None,
        "not for the block before": replace(good, block_id=bytes(32)),
        "not for the block before ": replace(good, height=2),
        "no quorum": replace(good, signatures=good.signatures[:2]),
        "bad signature": replace(good, round=1),
        "not a validator": replace(good, signatures=(*good.signatures, ("zhejiang", bytes(64)))),
    }
    for reason, commit in wrong.items():
        refused(chain, rebuilt(block, last_commit=commit), reason.strip())


def test_the_first_block_has_no_last_commit(tmp_path: Path) -> None:
    chain = Chain.open(tmp_path / "new")
    block = chain.propose()
    assert block.last_commit is None
    refused(chain, rebuilt(block, last_commit=chain.decide(block)), "first block")
    chain.close()


# --- evidence -------------------------------------------------------------------------------------


def double_vote(chain: Chain, name: str, height: int, **changes: object) -> DuplicateVoteEvidence:
    return DuplicateVoteEvidence.of(
        chain.vote(name, b"\x01" * 32, height=height, **changes),
        chain.vote(name, b"\x02" * 32, height=height, **changes),
    )


def test_evidence_is_logged_once_and_its_validator_marked_if_four_must_remain(
    chain: Chain,
) -> None:
    evidence = double_vote(chain, "hebei", 1)
    finalized = chain.commit(evidence=[evidence, double_vote(chain, "hebei", 1, round=3)])
    assert decode_entry(finalized.entries[0]) == EvidenceEntry(2, 0, "duplicate_vote", "hebei", 1)
    assert len(finalized.entries) == 2
    assert finalized.tip.next_validators == finalized.tip.validators
    fault = validator_fault(chain.application.state, "hebei")
    assert fault is not None and (fault.evidence_height, fault.present) == (1, True)
    assert chain.application.state.get(evidence_key("hebei", 1)) is not None
    with pytest.raises(InvalidBlock, match="already"):
        chain.application.check_evidence(evidence)
    assert chain.propose(evidence=[evidence]).evidence == ()
    refused(chain, rebuilt(chain.propose(), evidence=(evidence,)), "already")


def test_a_double_voter_leaves_two_heights_on_if_four_remain(tmp_path: Path) -> None:
    chain = Chain.open(tmp_path / "five", count=5)
    chain.commit()
    before = chain.application.tip.validators
    finalized = chain.commit(evidence=[double_vote(chain, "hebei", 1)])
    assert finalized.tip.validators == before
    assert "hebei" not in finalized.tip.next_validators and len(finalized.tip.next_validators) == 4
    again = chain.commit(evidence=[double_vote(chain, "tianjin", 1)])
    assert "tianjin" in again.tip.next_validators
    chain.close()


def test_evidence_that_is_not_good_makes_a_block_invalid(chain: Chain) -> None:
    good = double_vote(chain, "hebei", 1)
    stranger = Member("shanghai", "310000")
    assert stranger in chain.members
    bad = {
        "evidence of height 2": double_vote(chain, "hebei", 2),
        "not a validator": double_vote(chain, "shanghai", 1),
        "another chain": double_vote(chain, "hebei", 1, chain_id="other"),
        "bad signature": replace(good, vote_b=replace(good.vote_b, signature=bytes(64))),
    }
    for reason, evidence in bad.items():
        assert chain.propose(evidence=[evidence]).evidence == ()
        refused(chain, rebuilt(chain.propose(), evidence=(evidence,)), reason)
    block = chain.propose(evidence=[double_vote(chain, "tianjin", 1), good])
    assert [one.validator for one in block.evidence] == ["hebei", "tianjin"]
    refused(chain, rebuilt(block, evidence=(good, good)), "twice")
    refused(chain, rebuilt(block, evidence=block.evidence[::-1]), "order")


def test_one_proof_against_a_key_is_all_that_the_ledger_takes(chain: Chain) -> None:
    chain.commit()
    first, second = double_vote(chain, "hebei", 1), double_vote(chain, "hebei", 2)
    assert chain.propose(evidence=[first, second]).evidence == (first,)
    refused(chain, rebuilt(chain.propose(), evidence=(first, second)), "twice")
    chain.commit(evidence=[first])
    assert chain.propose(evidence=[second]).evidence == ()
    refused(chain, rebuilt(chain.propose(), evidence=(second,)), "already")


@pytest.mark.parametrize("name", ["a/b", "/", "~", "x" * 64])
def test_evidence_that_names_what_cannot_be_a_state_key_is_refused_like_any_other(
    chain: Chain, name: str
) -> None:
    good = double_vote(chain, "hebei", 1)
    evidence = DuplicateVoteEvidence(
        *(
            replace(one, vote=replace(one.vote, validator=name))
            for one in (good.vote_a, good.vote_b)
        )
    )
    assert DuplicateVoteEvidence.decode(evidence.encode()) == evidence
    with pytest.raises(InvalidBlock, match="not a validator"):
        chain.application.check_evidence(evidence)
    refused(chain, rebuilt(chain.propose(), evidence=(evidence,)), "not a validator")


def test_evidence_against_a_replaced_key_does_not_touch_the_new_one(tmp_path: Path) -> None:
    from tests.ledger.test_application import change_validator, replacement

    chain = Chain.open(tmp_path / "rekeyed")
    change_validator(chain, **replacement())
    finalized = chain.commit(evidence=[double_vote(chain, "beijing", 1)])
    assert "beijing" in finalized.tip.next_validators
    assert validator_fault(chain.application.state, "beijing") is None
    assert chain.application.state.get(evidence_key("beijing", 1)) is not None
    chain.close()


def test_members_of_the_sample_are_in_order() -> None:
    assert [member.name for member in members()] == ["beijing", "hebei", "national", "tianjin"]
    assert EDITOR.public_key.algorithm == "ed25519"


def test_a_byte_moved_between_two_transactions_makes_another_block(chain: Chain) -> None:
    """A root over a bare concatenation would be the same for both."""
    first, second = chain.note("a").raw, chain.note("b").raw
    moved = (first + second[:1], second[1:])
    assert transactions_root(SUITE, moved) != transactions_root(SUITE, (first, second))
    assert transactions_root(SUITE, (first + second,)) != transactions_root(SUITE, (first, second))
    good = chain.propose(decode_transaction(SUITE, first), decode_transaction(SUITE, second))
    assert good.transactions == (first, second)
    with pytest.raises(InvalidBlock, match="transactions_root"):
        chain.application.process_proposal(replace(good, transactions=moved))
