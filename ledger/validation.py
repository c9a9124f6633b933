"""Block rules: everything that makes a block invalid, each recomputed and compared.

A block is judged against the tip it builds on and the state and log of that tip, and nothing else: not the
node's clock (timeliness is the consensus' affair), not its mempool. Whoever prevotes for a block has asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.admission import (
    DUPLICATE,
    PreparedTransaction,
    check_chain,
    check_lifetime,
    registered_key,
)
from ledger.blocks import (
    MAX_BLOCK_EVIDENCE,
    MAX_BLOCK_TRANSACTIONS,
    VERSION,
    Block,
    Header,
    transactions_root,
)
from ledger.commits import Commit, commit_hash, verify_commit
from ledger.errors import DecodeError, InvalidBlock, InvalidSignature, InvalidTransaction
from ledger.evidence import DuplicateVoteEvidence, evidence_hash
from ledger.genesis import Genesis
from ledger.history import History, Tip
from ledger.membership import is_faulty_key
from ledger.state_store import StateView

MAX_EVIDENCE_AGE_HEIGHTS: Final = 100_000
"""Double voting is found while its height's votes are still passed around; later it only costs look-ups."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What a block is judged by: the tip, and the state and the log as they are at the tip."""

    genesis: Genesis
    tip: Tip
    state: StateView
    history: History


def make_header(
    basis: Basis,
    *,
    time_ms: int,
    transactions: Sequence[bytes],
    evidence: tuple[DuplicateVoteEvidence, ...],
    last_commit: Commit | None,
    proposer: str,
) -> Header:
    """Return the only header that a block with this content can have on top of the tip."""
    suite, tip = basis.genesis.suite, basis.tip
    return Header(
        version=VERSION,
        chain_id=basis.genesis.chain_id,
        height=tip.height + 1,
        time_ms=time_ms,
        last_block_id=tip.block_id,
        last_commit_hash=commit_hash(suite, last_commit),
        transactions_root=transactions_root(suite, transactions),
        validators_hash=tip.validators.hash(suite),
        next_validators_hash=tip.next_validators.hash(suite),
        app_hash=tip.app_hash,
        evidence_hash=evidence_hash(suite, evidence),
        proposer=proposer,
    )


def check_header(basis: Basis, block: Block) -> None:
    """Check every field of the header against the tip and the block's body.

    Raises:
        InvalidBlock: one differs from what it must be.
    """
    header, tip = block.header, basis.tip
    expected = make_header(
        basis,
        time_ms=header.time_ms,
        transactions=block.transactions,
        evidence=block.evidence,
        last_commit=block.last_commit,
        proposer=header.proposer,
    )
    if header != expected:
        wrong = [
            name
            for name in Header.__dataclass_fields__
            if getattr(header, name) != getattr(expected, name)
        ]
        raise InvalidBlock(f"height {tip.height + 1}: wrong {', '.join(wrong)}")
    # time and proposer are the proposer's to choose, within bounds
    if header.time_ms <= tip.time_ms:
        raise InvalidBlock(f"time {header.time_ms} is not after the last block's, {tip.time_ms}")
    if header.proposer not in tip.validators:
        raise InvalidBlock(f"proposer {header.proposer} is not a validator")


def check_size(basis: Basis, block: Block) -> None:
    """Check the block's size.

    Raises:
        InvalidBlock: its encoding is larger than the chain allows, or it holds too many transactions.
    """
    if len(block.transactions) > MAX_BLOCK_TRANSACTIONS:
        raise InvalidBlock(f"block of {len(block.transactions)} transactions")
    size, maximum = len(block.encode()), basis.genesis.parameters.max_block_bytes
    if size > maximum:
        raise InvalidBlock(f"block of {size} bytes, at most {maximum}")


def check_last_commit(basis: Basis, last_commit: Commit | None) -> None:
    """Check that the block before was decided by its validators.

    Raises:
        InvalidBlock: missing, of another block, or not the word of more than two thirds.
    """
    tip = basis.tip
    if tip.last_validators is None:
        if last_commit is not None:
            raise InvalidBlock("the first block has no last commit")
        return
    if last_commit is None:
        raise InvalidBlock("no last commit")
    if (last_commit.height, last_commit.block_id) != (tip.height, tip.block_id):
        raise InvalidBlock("the last commit is not for the block before")
    try:
        verify_commit(basis.genesis.suite, basis.genesis.chain_id, tip.last_validators, last_commit)
    except InvalidSignature as error:
        raise InvalidBlock(f"last {error}") from None


def check_evidence(basis: Basis, evidence: DuplicateVoteEvidence) -> None:
    """Check that evidence is good, young enough, and the first against its key.

    One proof bars a key for ever. More would say nothing new, and whoever holds a key could make one for each of a
    hundred thousand heights.

    Raises:
        InvalidBlock: it is not.
    """
    height = basis.tip.height
    if not max(1, height + 1 - MAX_EVIDENCE_AGE_HEIGHTS) <= evidence.height <= height:
        raise InvalidBlock(f"evidence of height {evidence.height} in block {height + 1}")
    validators = basis.history.validators(evidence.height)
    try:
        evidence.verify(basis.genesis.suite, basis.genesis.chain_id, validators)
    except InvalidSignature as error:
        raise InvalidBlock(str(error)) from None
    culprit = validators.get(evidence.validator)
    assert culprit is not None, "verified evidence names a validator"
    if is_faulty_key(basis.state, str(culprit.consensus_key)):
        raise InvalidBlock(f"evidence against this key of {culprit.name} is on the ledger already")


def check_all_evidence(basis: Basis, evidence: Sequence[DuplicateVoteEvidence]) -> None:
    """Check a block's evidence: at most one of a validator, sorted by height and validator.

    Raises:
        InvalidBlock: too much, out of order, or one that is not good.
    """
    if len(evidence) > MAX_BLOCK_EVIDENCE:
        raise InvalidBlock(f"{len(evidence)} pieces of evidence, at most {MAX_BLOCK_EVIDENCE}")
    places = [(one.height, one.validator) for one in evidence]
    if places != sorted(places) or len({name for _, name in places}) != len(places):
        raise InvalidBlock("evidence out of order, or twice for a validator")
    for one in evidence:
        check_evidence(basis, one)


class TransactionRules:
    """What the state and log at the tip say of a block's transactions, one after the other."""

    __slots__ = ("_basis", "_ids", "_signers", "_time_ms")

    def __init__(self, basis: Basis, time_ms: int) -> None:
        self._basis = basis
        self._time_ms = time_ms
        self._ids: set[bytes] = set()
        self._signers: set[str] = set()

    def check(self, prepared: PreparedTransaction) -> None:
        """Check the next transaction: chain, lifetime, id not in the log nor before it here, signer.

        Raises:
            InvalidTransaction: with the reason's code; the transaction does not count as seen then.
        """
        transaction = prepared.transaction
        check_chain(transaction, self._basis.genesis.chain_id)
        check_lifetime(
            transaction, self._time_ms, self._basis.genesis.parameters.transaction_lifetime_ms
        )
        if transaction.id in self._ids:
            raise InvalidTransaction(DUPLICATE, "twice in one block")
        if prepared.signer not in self._signers:
            registered_key(self._basis.state, prepared.signer)
            self._signers.add(prepared.signer)
        # The index holds ids for ever. One that is still valid was committed within its lifetime, so this is
        # the rule "an id that the log holds within that lifetime", whatever older ids a node happens to know.
        if self._basis.history.transaction_index(transaction.id) is not None:
            raise InvalidTransaction(DUPLICATE, "the log holds it already")
        self._ids.add(transaction.id)


def check_transactions(
    basis: Basis,
    time_ms: int,
    transactions: Iterable[bytes],
    prepare: Callable[[bytes], PreparedTransaction],
) -> tuple[PreparedTransaction, ...]:
    """Check a block's transactions; `prepare` reads one and verifies its signature.

    Raises:
        InvalidBlock: one of them may not stand in this block.
    """
    rules = TransactionRules(basis, time_ms)
    checked = []
    for index, raw in enumerate(transactions):
        try:
            prepared = prepare(raw)
            rules.check(prepared)
        except InvalidTransaction as error:
            raise InvalidBlock(f"transaction {index}: {error}") from None
        checked.append(prepared)
    return tuple(checked)


def check_decided(basis: Basis, block: Block, commit: Commit) -> None:
    """Check that the validators of the next height decided exactly this block.

    Raises:
        InvalidBlock: the commit is for another, or not the word of more than two thirds.
    """
    if (commit.height, commit.block_id) != (basis.tip.height + 1, block.id(basis.genesis.suite)):
        raise InvalidBlock("the commit is for another block")
    try:
        block.check_body(basis.genesis.suite)
        verify_commit(basis.genesis.suite, basis.genesis.chain_id, basis.tip.validators, commit)
    except (DecodeError, InvalidSignature) as error:
        raise InvalidBlock(str(error)) from None
