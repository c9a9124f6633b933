"""A validator that leaves: its votes count up to the exact height, and what they decided stays decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.blocks import Block
from ledger.commits import Commit, commit_hash, verify_commit
from ledger.errors import InvalidBlock
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Operation
from tests.ledger.chain import Chain

LEAVING = "tianjin"
FOUNDERS = ("beijing", "hebei", "national", "shanxi", LEAVING)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    """Five validators; the newest block has decided that one of them leaves."""
    chain = Chain.open(tmp_path / "data", count=5)
    proposal = chain.transaction(
        Operation("ledger.validator.propose", {"action": "remove", "name": LEAVING}),
        by=chain.member("beijing").governor,
    )
    chain.commit(proposal)
    approval = {"proposal": f"{proposal.id.hex()}-0"}
    chain.commit(
        *(
            chain.transaction(
                Operation("ledger.validator.approve", approval), by=chain.member(name).governor
            )
            for name in ("hebei", "national", "shanxi")
        )
    )
    yield chain
    chain.close()


def commit_of(chain: Chain, block: Block, *names: str) -> Commit:
    return Commit.of(chain.vote(name, block.id(SUITE)) for name in names)


def apply(chain: Chain, *names: str) -> None:
    block = chain.propose()
    chain.application.apply_synced(block, commit_of(chain, block, *names))


def test_its_vote_makes_a_quorum_for_one_height_more_and_not_for_the_next(chain: Chain) -> None:
    changed = chain.application.tip.height  # H: from H + 2 on it is no validator
    three = ("beijing", "hebei", "national")
    with pytest.raises(InvalidBlock):
        apply(chain, *three)  # three of five
    apply(chain, *three, LEAVING)
    assert chain.application.tip.height == changed + 1
    for names in (("beijing", "hebei", LEAVING), (*three, LEAVING), FOUNDERS):
        with pytest.raises(InvalidBlock):
            apply(chain, *names)
    apply(chain, *three)  # three of four
    assert chain.application.tip.height == changed + 2


def test_its_vote_beyond_a_quorum_spoils_a_commit_inside_a_block(chain: Chain) -> None:
    apply(chain, *FOUNDERS)
    apply(chain, *FOUNDERS[:4])
    good = chain.propose()
    chain.application.process_proposal(good)
    last = good.last_commit
    assert last is not None
    vote = chain.vote(LEAVING, last.block_id, height=last.height)
    swollen = Commit.of((*last.votes(chain.application.genesis.chain_id), vote))
    header = replace(good.header, last_commit_hash=commit_hash(SUITE, swollen))
    with pytest.raises(InvalidBlock, match="not a validator"):
        chain.application.process_proposal(Block(header, (), (), swollen))


def test_what_it_decided_before_still_verifies(chain: Chain) -> None:
    apply(chain, "beijing", "hebei", "national", LEAVING)
    apply(chain, *FOUNDERS[:4])
    history, tip = chain.application.history, chain.application.tip
    signed = []
    for height in range(1, tip.height + 1):
        commit = history.commit(height)
        assert commit is not None
        verify_commit(SUITE, chain.application.genesis.chain_id, history.validators(height), commit)
        signed.append(LEAVING in dict(commit.signatures))
    assert signed == [True] * (tip.height - 1) + [False]
