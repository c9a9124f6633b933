"""Which view is proven when quorums come late, out of order, or for a past change of validators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import keyspace
from ledger import proven as proven_module
from ledger.checkpoints import SignedCheckpoint
from ledger.commits import Commit
from ledger.database import Batch
from ledger.errors import DamagedStoreError, InvalidProof
from ledger.suite import SHA256_ED25519 as SUITE
from tests.ledger.chain import Chain
from tests.ledger.test_application import change_validator, replacement


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    chain = Chain.open(tmp_path / "data")
    yield chain
    chain.close()


def heights(chain: Chain, count: int) -> list[SignedCheckpoint]:
    """Commit blocks of one transaction; return each one's quorum checkpoint, not yet recorded."""
    signed = []
    for number in range(count):
        chain.commit(chain.note(f"note-{number}"))
        signed.append(chain.checkpoint())
    return signed


def proven_height(chain: Chain) -> int | None:
    proven = chain.application.proven()
    return None if proven is None else proven.height


def test_an_older_quorum_never_takes_the_view_back(chain: Chain) -> None:
    signed = heights(chain, 3)
    for number, height in ((1, 2), (0, 2), (2, 3), (1, 3), (0, 3)):
        chain.application.record_checkpoint(signed[number])
        assert proven_height(chain) == height


def test_after_many_blocks_without_quorums_late_ones_still_move_the_view_on(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest views make room: whose quorum is to come, two blocks late for ever, is still there then."""
    monkeypatch.setattr(proven_module, "MAX_WAITING_VIEWS", 4)
    signed = heights(chain, 12)
    assert chain.application.record_checkpoint(signed[7]) is None
    assert proven_height(chain) is None
    for late in range(9, 15):
        assert chain.application.record_checkpoint(signed[late - 1]) is not None
        assert proven_height(chain) == late
        signed += heights(chain, 1)
    assert chain.application.record_checkpoint(signed[-1]) is not None
    assert proven_height(chain) == 18


def test_what_an_answer_holds_stays_readable_after_the_view_has_moved_on(chain: Chain) -> None:
    signed = heights(chain, 2)
    held = chain.application.record_checkpoint(signed[0])
    assert held is not None
    chain.application.record_checkpoint(signed[1])
    chain.commit(chain.note("later"))
    value, proof = held.state.prove("test/note/note-1")
    assert value is None
    proof.verify(chain.application.genesis.suite, held.state.root, "test/note/note-1", None)
    assert held.history.entry(held.size) is None


def test_a_checkpoint_before_a_change_of_validators_can_be_recorded_later(chain: Chain) -> None:
    change_validator(chain, **replacement())
    chain.commit()
    change_height = chain.application.tip.height
    of_the_old_set = chain.checkpoint()
    assert chain.application.history.checkpoint(change_height) is None
    again = chain.reopen()
    application = again.application
    # newer blocks of the same validators but one: beijing's keys are new
    for _ in range(2):
        block = again.propose(again.note(f"n{again.nonces}"))
        votes = [again.vote(name, block.id(SUITE)) for name in ("hebei", "national", "tianjin")]
        application.apply_synced(block, Commit.of(votes))
    alone = again.checkpoint("hebei", "national", "tianjin")
    application.record_checkpoint(alone)
    application.save_checkpoints()
    last = again.reopen()
    few = SignedCheckpoint(of_the_old_set.checkpoint, of_the_old_set.signatures[:2])
    with pytest.raises(InvalidProof):
        last.application.record_checkpoint(few)
    assert last.application.record_checkpoint(of_the_old_set) is None
    last.application.save_checkpoints()
    assert last.application.checkpoint_after(change_height) == of_the_old_set
    last = last.reopen()
    assert last.application.history.checkpoint(change_height) == of_the_old_set
    assert proven_height(last) == last.application.tip.height
    last.close()


def test_nothing_is_recorded_without_the_quorum_of_the_right_set(chain: Chain) -> None:
    chain.commit(chain.note("a"))
    with pytest.raises(InvalidProof):
        chain.application.record_checkpoint(chain.checkpoint("beijing", "hebei"))
    assert proven_height(chain) is None


@pytest.mark.parametrize("row", ["entry", "tile"])
def test_an_entry_that_the_network_has_not_vouched_for_is_damage_however_well_it_is_stored(
    chain: Chain, row: str
) -> None:
    heights(chain, 3)
    edited = Batch()
    if row == "entry":
        edited.put(keyspace.entry(1), chain.application.history.entry(3) or b"")
    else:
        tile = chain.application.history.read_tile(0, 0)
        edited.put(keyspace.tile(0, 0), tile[:32] + bytes(32) + tile[64:])
    chain.store.write(edited)
    again = chain.reopen()
    proven = again.application.record_checkpoint(again.checkpoint())
    assert proven is not None
    with pytest.raises(DamagedStoreError, match="not the network's"):
        for index in (0, 1):
            proven.proven_entry(index)
    with pytest.raises(ValueError):
        proven.proven_entry(proven.size)
    again.close()
