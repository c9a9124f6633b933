"""Bodies from peers: taken for a block only if they are that block, all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.tendermint.errors import InvalidMessage
from ledger.blocks import Block
from ledger.suite import SHA256_ED25519 as SUITE
from node.bodies import INLINE_BODY_BYTES, Bodies
from node.workers import Worker
from tests.ledger.chain import Chain


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    chain = Chain.open(tmp_path / "data")
    yield chain
    chain.close()


WORKER = Worker("bodies")


def checked(bodies: Bodies, body: bytes, named: Block) -> Block:
    return asyncio.run(bodies.checked(body, named.id(SUITE), named.header.height))


@pytest.mark.parametrize("length", [10, 50_000], ids=["short", "decoded on a thread"])
def test_a_body_is_taken_for_the_block_of_its_id_only(chain: Chain, length: int) -> None:
    notes = [chain.note(f"n{number}", "x" * length) for number in range(6)]
    block, other = chain.propose(*notes), chain.propose()
    assert (len(block.encode()) > INLINE_BODY_BYTES) == (length == 50_000)
    assert checked(Bodies(SUITE, WORKER), block.encode(), block) == block
    with pytest.raises(InvalidMessage, match="another block's"):
        checked(Bodies(SUITE, WORKER), block.encode(), other)
    with pytest.raises(InvalidMessage, match="another block's"):
        asyncio.run(Bodies(SUITE, WORKER).checked(block.encode(), block.id(SUITE), 2))


def test_a_body_holds_what_its_header_names(chain: Chain) -> None:
    block = chain.propose(chain.note("one"))
    swapped = replace(block, transactions=(chain.note("another").raw,))
    for wrong in (swapped, replace(block, transactions=())):
        assert wrong.id(SUITE) == block.id(SUITE)
        with pytest.raises(InvalidMessage, match="transactions_root"):
            checked(Bodies(SUITE, WORKER), wrong.encode(), block)


def test_other_bytes_under_a_known_id_are_checked_again(chain: Chain) -> None:
    bodies = Bodies(SUITE, WORKER)
    block = chain.propose(chain.note("one"))
    assert checked(bodies, block.encode(), block) == block
    wrong = replace(block, transactions=())
    with pytest.raises(InvalidMessage, match="transactions_root"):
        checked(bodies, wrong.encode(), block)
    assert checked(bodies, block.encode(), block) == block


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x94\xc0\xc0\xc0\xc0"])
def test_bytes_that_are_no_block_are_the_peers_fault(chain: Chain, body: bytes) -> None:
    with pytest.raises(InvalidMessage):
        checked(Bodies(SUITE, WORKER), body, chain.propose())
