"""Checkpoints: what a validator signs, and how signatures of several become the network's word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ledger.checkpoints import Checkpoint, SignedCheckpoint
from ledger.errors import StorageError
from ledger.keys import SoftwareSigner
from ledger.limits import CLOCK_BOUND_MS
from ledger.policy import policy_for
from ledger.proven import MAX_WAITING_VIEWS
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.suite import PublicKey
from ledger.validators import ValidatorSet
from node.checkpointing import (
    MAX_EARLY_NOTES,
    MAX_OPEN_HEIGHTS,
    Checkpointing,
    CheckpointSigner,
    CommittedCheckpoint,
)
from node.errors import InvalidPeerMessage
from node.home import ValidatorSigners
from node.messages import CheckpointSignatures, ProvenCheckpoint, decode_message
from node.observation import UnsignedCheckpoint
from node.signing_guard import SigningGuard, create_checkpoint_guard
from node.workers import Worker
from tests.ledger.chain import Chain, members

CHAIN = "jjj-0123456789abcdef0123456789abcdef"
MEMBERS = {member.name: member for member in members()}
VALIDATORS = ValidatorSet.of(member.validator for member in MEMBERS.values())
POLICY = policy_for(SUITE, VALIDATORS, CHAIN)


def committed(height: int, size: int | None = None, root: bytes = bytes(32)) -> CommittedCheckpoint:
    checkpoint = Checkpoint(CHAIN, height if size is None else size, root)
    return CommittedCheckpoint(height, height * 1_000, checkpoint, VALIDATORS)


def signer(directory: Path, name: str) -> CheckpointSigner:
    member = MEMBERS[name]
    keys = ValidatorSigners(member.consensus, member.log, member.witness)
    directory.mkdir(exist_ok=True)
    path = directory / f"guard-{name}"
    if not path.exists():
        create_checkpoint_guard(path)
    return CheckpointSigner(SUITE, name, keys, SigningGuard.open(path, 0))


class Gatherer:
    """One node's checkpointing with what it sent and recorded."""

    def __init__(self, signer: CheckpointSigner | None) -> None:
        self.sent: list[bytes] = []
        self.recorded: list[tuple[int, SignedCheckpoint]] = []
        self.checkpointing = Checkpointing(
            SUITE, CHAIN, signer, Worker("checkpoints"), self.sent.append, self._record
        )

    async def _record(self, height: int, signed: SignedCheckpoint) -> None:
        self.recorded.append((height, signed))


def signatures(directory: Path, name: str, what: CommittedCheckpoint) -> CheckpointSignatures:
    signed = signer(directory, name).sign(what)
    assert signed is not None
    return CheckpointSignatures(what.height, signed.encode())


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_three_of_four_make_a_quorum_and_it_is_recorded_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        node = Gatherer(signer(tmp_path, "beijing"))
        await node.checkpointing.committed(committed(5), sign=True)
        [frame] = node.sent
        assert decode_message(frame) == node.checkpointing._own
        for name in ("hebei", "national", "tianjin"):
            assert len(node.recorded) == (1 if name == "tianjin" else 0)
            message = signatures(tmp_path, name, committed(5))
            await node.checkpointing.received(name, message)
        [(height, signed)] = node.recorded
        assert height == 5
        verdict = POLICY.check(SUITE, signed)
        assert verdict.satisfied
        assert verdict.time_s == 5

    run(scenario)


def test_signatures_that_come_before_the_block_wait_for_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        node = Gatherer(None)
        await node.checkpointing.committed(committed(4), sign=False)
        for name in ("hebei", "national", "tianjin"):
            await node.checkpointing.received(name, signatures(tmp_path, name, committed(5)))
        assert node.recorded == []
        await node.checkpointing.committed(committed(5), sign=False)
        assert [height for height, _ in node.recorded] == [5]

    run(scenario)


def test_an_idle_chain_signs_the_same_checkpoint_again_with_a_newer_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        node = Gatherer(None)
        for height in (5, 6):
            again = committed(height, size=5)
            await node.checkpointing.committed(again, sign=False)
            for name in ("hebei", "national", "tianjin"):
                await node.checkpointing.received(name, signatures(tmp_path, name, again))
        times = [POLICY.check(SUITE, signed).time_s for _, signed in node.recorded]
        assert times == [5, 6]

    run(scenario)


def test_a_forged_signature_is_the_peers_fault(tmp_path: Path) -> None:
    async def scenario() -> None:
        node = Gatherer(None)
        await node.checkpointing.committed(committed(5), sign=False)
        good = SignedCheckpoint.parse(signatures(tmp_path, "national", committed(5)).note)
        forged = replace(good.signatures[1], signature=bytes(72))
        note = SignedCheckpoint(good.checkpoint, (good.signatures[0], forged)).encode()
        with pytest.raises(InvalidPeerMessage, match="bad signature"):
            await node.checkpointing.received("national", CheckpointSignatures(5, note))
        with pytest.raises(InvalidPeerMessage, match="not a signed checkpoint"):
            await node.checkpointing.received("national", CheckpointSignatures(5, b"garbage"))
        assert node.recorded == []

    run(scenario)


@pytest.mark.parametrize("late", [0, 2, MAX_OPEN_HEIGHTS - 1])
def test_quorums_move_the_proven_view_on_after_any_time_without_however_late_they_are_gathered(
    tmp_path: Path, late: int
) -> None:
    async def scenario(chain: Chain) -> None:
        application = chain.application

        async def record(height: int, signed: SignedCheckpoint) -> None:
            application.record_checkpoint(signed)

        checkpointing = Checkpointing(
            SUITE, application.genesis.chain_id, None, Worker("unused"), lambda _: None, record
        )
        quorums: list[ProvenCheckpoint] = []

        async def commit() -> None:
            chain.commit(chain.note(f"note-{chain.nonces}"))
            tip, checkpoint = application.tip, application.checkpoint()
            what = CommittedCheckpoint(tip.height, tip.time_ms, checkpoint, tip.validators)
            await checkpointing.committed(what, sign=False)
            quorums.append(ProvenCheckpoint(tip.height, chain.checkpoint().encode()))

        for _ in range(MAX_WAITING_VIEWS + MAX_OPEN_HEIGHTS):
            await commit()
        assert application.proven() is None
        for _ in range(3):
            await checkpointing.received("xiongan", quorums[-1 - late])
            proven = application.proven()
            assert proven is not None
            assert proven.height == application.tip.height - late
            await commit()

    chain = Chain.open(tmp_path / "data")
    asyncio.run(scenario(chain))
    chain.close()


def other(
    directory: Path, name: str, height: int, size: int | None = None, root: bytes = b"\x01" * 32
) -> CheckpointSignatures:
    """A validator's signatures of another root than `committed` has."""
    return signatures(directory, name, committed(height, size, root))


def test_another_root_is_kept_from_our_signatures_and_one_who_signs_it_may_be_faulty(
    tmp_path: Path,
) -> None:
    """Its link stays, however often it says so: it may be us who are wrong."""

    async def scenario() -> None:
        node = Gatherer(signer(tmp_path, "beijing"))
        await node.checkpointing.committed(committed(5), sign=True)
        for peer in ("hebei", "hebei", "xiongan"):
            await node.checkpointing.received(peer, other(tmp_path, "hebei", 5))
        for name in ("national", "tianjin"):
            await node.checkpointing.received(name, signatures(tmp_path, name, committed(5)))
        [(_, signed)] = node.recorded
        assert POLICY.check(SUITE, signed).satisfied
        assert not node.checkpointing.is_contradicted

    run(scenario)


def test_more_validators_than_may_be_faulty_with_another_root_show_that_it_is_us(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        node = Gatherer(signer(tmp_path, "beijing"))
        await node.checkpointing.committed(committed(5), sign=True)
        for name, contradicted in (("hebei", False), ("national", True), ("tianjin", True)):
            await node.checkpointing.received(name, other(tmp_path, name, 5))
            assert node.checkpointing.is_contradicted is contradicted
        assert node.recorded == []

    run(scenario)


def test_another_root_that_came_before_our_block_counts_as_well(tmp_path: Path) -> None:
    async def scenario() -> None:
        node = Gatherer(None)
        await node.checkpointing.committed(committed(4), sign=False)
        for name in ("hebei", "national"):
            await node.checkpointing.received(name, other(tmp_path, name, 5))
        assert not node.checkpointing.is_contradicted, "a longer log says nothing"
        await node.checkpointing.committed(committed(5), sign=False)
        assert node.checkpointing.is_contradicted

    run(scenario)


def test_a_later_height_with_as_long_a_log_and_another_root_contradicts_as_well(
    tmp_path: Path,
) -> None:
    """So a node that starts after it has diverged may learn it from what new links are greeted with."""

    async def scenario() -> None:
        node = Gatherer(None)
        await node.checkpointing.committed(committed(5), sign=False)
        for name, contradicted in (("tianjin", False), ("national", True)):
            await node.checkpointing.received(name, other(tmp_path, name, 9, size=5))
            assert node.checkpointing.is_contradicted is contradicted

    run(scenario)


@pytest.mark.parametrize("is_early", [False, True], ids=["a height that is open", "a later one"])
def test_a_true_checkpoint_under_a_height_with_a_longer_log_blames_who_sent_it_and_nobody_else(
    tmp_path: Path, is_early: bool
) -> None:
    """Validators sign origin, size and root; the height beside them is the sender's word."""

    async def scenario() -> None:
        node = Gatherer(None)
        await node.checkpointing.committed(committed(4), sign=False)
        for name in ("hebei", "national", "tianjin"):
            await node.checkpointing.received(name, signatures(tmp_path, name, committed(4)))
        [(_, quorum)] = node.recorded
        mislabelled = ProvenCheckpoint(5, quorum.encode())
        if is_early:
            await node.checkpointing.received("xiongan", mislabelled)
        await node.checkpointing.committed(committed(5), sign=False)
        if not is_early:
            with pytest.raises(
                InvalidPeerMessage, match="size 4 for a height whose log has size 5"
            ):
                await node.checkpointing.received("xiongan", mislabelled)
        assert not node.checkpointing.is_contradicted
        for name in ("hebei", "national", "tianjin"):
            await node.checkpointing.received(name, signatures(tmp_path, name, committed(5)))
        assert [height for height, _ in node.recorded] == [4, 5]

    run(scenario)


def test_a_forged_signature_beside_a_true_one_of_another_root_is_the_senders_fault(
    tmp_path: Path,
) -> None:
    """Else such a note, sent again and again, would be verified and logged each time."""

    async def scenario() -> None:
        node = Gatherer(None)
        await node.checkpointing.committed(committed(5), sign=False)
        await node.checkpointing.received("hebei", other(tmp_path, "hebei", 5))
        true, forged = (
            SignedCheckpoint.parse(other(tmp_path, name, 5).note) for name in ("hebei", "national")
        )
        beside = [replace(one, signature=bytes(72)) for one in forged.signatures[1:]]
        note = SignedCheckpoint(true.checkpoint, (*true.signatures, *beside)).encode()
        with pytest.raises(InvalidPeerMessage, match="forged"):
            await node.checkpointing.received("xiongan", CheckpointSignatures(5, note))
        assert not node.checkpointing.is_contradicted

    run(scenario)


def test_who_repeats_that_it_signed_another_root_is_logged_once_whatever_it_adds(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        node = Gatherer(None)
        await node.checkpointing.committed(committed(5), sign=False)
        true = SignedCheckpoint.parse(other(tmp_path, "hebei", 5).note)
        with capture_logs() as logs:
            for number in range(3):
                strange = replace(true.signatures[1], name=f"nobody-{number}")
                note = SignedCheckpoint(true.checkpoint, (*true.signatures, strange)).encode()
                await node.checkpointing.received("hebei", CheckpointSignatures(5, note))
        assert [one["event"] for one in logs] == ["another checkpoint than ours"]
        assert logs[0]["names"] == ["hebei"]

    run(scenario)


def test_who_signs_a_third_root_is_a_liar_and_so_is_who_shows_what_no_validator_signed(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        node = Gatherer(None)
        await node.checkpointing.committed(committed(5), sign=False)
        await node.checkpointing.received("hebei", other(tmp_path / "a", "hebei", 5))
        with pytest.raises(InvalidPeerMessage, match="a third"):
            third = other(tmp_path / "b", "hebei", 5, root=b"\x02" * 32)
            await node.checkpointing.received("hebei", third)
        for name in ("national", "tianjin"):
            true = SignedCheckpoint.parse(other(tmp_path / "a", name, 5).note)
            forged = tuple(replace(one, signature=bytes(72)) for one in true.signatures)
            for what in (
                SignedCheckpoint(true.checkpoint, forged),
                SignedCheckpoint(replace(true.checkpoint, root=b"\x02" * 32), true.signatures),
                SignedCheckpoint(replace(true.checkpoint, origin="else"), true.signatures),
            ):
                with pytest.raises(InvalidPeerMessage, match="no validator"):
                    message = CheckpointSignatures(5, what.encode())
                    await node.checkpointing.received(name, message)
        assert not node.checkpointing.is_contradicted

    run(scenario)


def test_notes_from_the_future_are_bounded_and_go_with_their_peer(tmp_path: Path) -> None:
    async def scenario() -> None:
        node = Gatherer(None)
        await node.checkpointing.committed(committed(1), sign=False)
        for height in range(10, 10 + 3 * MAX_EARLY_NOTES):
            await node.checkpointing.received("hebei", CheckpointSignatures(height, b"x" * 1000))
        assert len(node.checkpointing._early["hebei"]) == MAX_EARLY_NOTES
        node.checkpointing.forget_peer("hebei")
        assert node.checkpointing._early == {}

    run(scenario)


def test_the_guard_signs_growing_logs_only_and_remembers_over_a_restart(tmp_path: Path) -> None:
    first = signer(tmp_path, "beijing")
    assert first.sign(committed(5)) is not None
    assert first.sign(committed(6, size=5)) is not None, "the same log, later"
    again = signer(tmp_path, "beijing")
    assert again.sign(committed(5)) is not None
    assert again.refused is None
    assert again.sign(committed(5, root=b"\x01" * 32)) is None, "another root of the same size"
    assert again.refused == UnsignedCheckpoint(5)
    assert again.sign(committed(4)) is None, "a smaller log"
    assert again.refused == UnsignedCheckpoint(4)
    assert again.sign(committed(7)) is not None
    assert again.refused is None


@pytest.mark.parametrize("record", [None, b"", b"\x00", b"\x92\x05\xc4\x01a"])
def test_a_lost_or_damaged_guard_signs_nothing_of_before_its_start(
    tmp_path: Path, record: bytes | None
) -> None:
    path = tmp_path / "guard"
    if record is not None:
        path.write_bytes(record)
    started_ms = 1_000_000
    guard = SigningGuard.open(path, started_ms)
    checkpoint = Checkpoint(CHAIN, 5, bytes(32))
    for time_ms in (0, started_ms, started_ms + 2 * CLOCK_BOUND_MS):
        assert not guard.admit(checkpoint, time_ms)
        assert guard.is_silent
    assert guard.admit(checkpoint, started_ms + 2 * CLOCK_BOUND_MS + 1)
    assert not SigningGuard.open(path, started_ms).admit(Checkpoint(CHAIN, 4, bytes(32)), 2**40)


def test_a_guard_is_created_once_and_an_unreadable_one_stops_the_node(tmp_path: Path) -> None:
    create_checkpoint_guard(tmp_path / "guard")
    with pytest.raises(StorageError, match="may have signed"):
        create_checkpoint_guard(tmp_path / "guard")
    with pytest.raises(StorageError, match="cannot write"):
        create_checkpoint_guard(tmp_path / "missing" / "guard")
    with pytest.raises(StorageError, match="cannot read"):
        SigningGuard.open(tmp_path, 0)


def registered(what: CommittedCheckpoint, **keys: PublicKey) -> CommittedCheckpoint:
    """Return a checkpoint of the same log where the ledger registers other keys for beijing."""
    others = (v for v in VALIDATORS if v.name != "beijing")
    beijing = replace(MEMBERS["beijing"].validator, **keys)
    return replace(what, validators=ValidatorSet.of((*others, beijing)))


def fresh_key() -> PublicKey:
    return SoftwareSigner.generate().public_key


def test_who_is_no_validator_signs_nothing_and_there_is_nothing_wrong_with_it(
    tmp_path: Path,
) -> None:
    outsider = replace(
        committed(5),
        validators=ValidatorSet.of(v for v in VALIDATORS if v.name != "beijing"),
    )
    beijing = signer(tmp_path, "beijing")
    assert beijing.sign(registered(committed(4), log_key=fresh_key())) is None
    assert beijing.refused is not None
    assert beijing.sign(outsider) is None
    assert beijing.refused is None


@pytest.mark.parametrize("keys", [("log",), ("witness",), ("log", "witness")], ids=" and ".join)
def test_where_the_ledger_registers_other_keys_nothing_is_signed_and_it_is_said_which(
    tmp_path: Path, keys: tuple[str, ...]
) -> None:
    """Only the log key may have been replaced; a note with one strange signature would cost every link."""
    replaced = {f"{key}_key": fresh_key() for key in keys}

    async def scenario() -> None:
        node = Gatherer(signer(tmp_path, "beijing"))
        with capture_logs() as logs:
            for height in (5, 6):
                changed = registered(committed(height), **replaced)
                await node.checkpointing.committed(changed, sign=True)
                assert node.checkpointing.unsigned_checkpoint == UnsignedCheckpoint(height, keys)
        assert [one["keys"] for one in logs] == [keys], "said once"
        assert node.sent == node.checkpointing.greeting() == []
        await node.checkpointing.committed(committed(7), sign=True)
        assert node.checkpointing.unsigned_checkpoint is None
        assert len(node.sent) == 1

    run(scenario)


def test_a_note_of_ones_own_that_is_no_good_is_neither_sent_nor_the_end_of_the_process(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        node = Gatherer(signer(tmp_path, "beijing"))
        strange = replace(committed(5), checkpoint=Checkpoint("another-chain", 5, bytes(32)))
        with capture_logs() as logs:
            await node.checkpointing.committed(strange, sign=True)
        assert [one["event"] for one in logs] == ["own checkpoint signature dropped"]
        assert node.sent == node.checkpointing.greeting() == []

    run(scenario)
