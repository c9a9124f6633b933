"""The last-sign guard on real files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.tendermint.errors import SigningRefused
from consensus.tendermint.last_sign import LastSign, LastSignGuard, create_last_sign
from consensus.tendermint.messages import Proposal
from consensus.tendermint.rounds import RoundValue, Step
from ledger.errors import DecodeError, StorageError
from ledger.limits import CLOCK_BOUND_MS
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.votes import Vote, VoteType
from tests.consensus.transcripts import BLOCK_IDS, CHAIN_ID, signer_of

SIGNER = signer_of("a")
START_MS = 1_700_000_000_000
A, B = BLOCK_IDS["A"], BLOCK_IDS["B"]


def vote(height: int, round: int, type: VoteType, block_id: bytes | None) -> Vote:
    return Vote(CHAIN_ID, height, round, type, block_id, "a")


def prevote(round: int = 0, block_id: bytes | None = A, height: int = 5) -> Vote:
    return vote(height, round, VoteType.PREVOTE, block_id)


def precommit(round: int = 0, block_id: bytes | None = A, height: int = 5) -> Vote:
    return vote(height, round, VoteType.PRECOMMIT, block_id)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "last-sign"
    create_last_sign(path, CHAIN_ID)
    return path


def guard_at(path: Path, chain_id: str = CHAIN_ID) -> LastSignGuard:
    return LastSignGuard.open(path, SIGNER, chain_id, START_MS)


def test_a_signature_is_the_keys_and_the_file_is_private(path: Path) -> None:
    signed = guard_at(path).sign_vote(prevote(), None)
    assert signed.verify(SUITE, SIGNER.public_key)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["last-sign"]


def test_a_restart_gives_the_stored_signature_for_the_same_bytes(path: Path) -> None:
    signed = guard_at(path).sign_vote(prevote(), RoundValue(0, A))
    before = path.read_bytes()
    guard = guard_at(path)
    assert guard.sign_vote(prevote(), None) == signed
    assert path.read_bytes() == before
    assert guard.lock_for(5) == RoundValue(0, A)
    assert guard.lock_for(6) is None


@pytest.mark.parametrize(
    "other",
    [
        prevote(block_id=B),
        prevote(block_id=None),
        prevote(height=4),
        precommit(height=4, round=9),
    ],
    ids=["another block", "nil", "an older height", "an older height's later round"],
)
def test_other_bytes_for_a_step_at_or_before_the_newest_are_refused(
    path: Path, other: Vote
) -> None:
    guard_at(path).sign_vote(prevote(), None)
    guard = guard_at(path)
    before = path.read_bytes()
    with pytest.raises(SigningRefused):
        guard.sign_vote(other, None)
    assert path.read_bytes() == before


def test_steps_of_a_round_are_signed_in_their_order_only(path: Path) -> None:
    guard = guard_at(path)
    proposal = Proposal(CHAIN_ID, 5, 1, None, A, "a")
    signed = guard.sign_proposal(proposal, None)
    assert signed.verify(SUITE, SIGNER.public_key)
    assert guard.sign_proposal(proposal, None) == signed
    with pytest.raises(SigningRefused):
        guard.sign_proposal(replace(proposal, block_id=B), None)
    guard.sign_vote(prevote(round=1), None)
    guard.sign_vote(precommit(round=1), None)
    for refused in (prevote(round=1), precommit(round=0)):
        with pytest.raises(SigningRefused):
            guard.sign_vote(refused, None)
    with pytest.raises(SigningRefused):
        guard.sign_proposal(proposal, None)
    guard.sign_vote(prevote(height=6, block_id=None), None)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.integers(0, 2),
            st.sampled_from(VoteType),
            st.sampled_from([None, A, B]),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_whatever_is_asked_no_step_is_signed_twice(
    asked: list[tuple[int, int, VoteType, bytes | None, bool]],
) -> None:
    stored = [LastSign(CHAIN_ID).encode()]
    signed: dict[tuple[int, int, VoteType], bytes] = {}

    def guard_from_disk() -> LastSignGuard:
        return LastSignGuard(SIGNER, CHAIN_ID, LastSign.decode(stored[-1]), stored.append, START_MS)

    guard = guard_from_disk()
    for height, round, type, block_id, restart in asked:
        if restart:
            guard = guard_from_disk()
        try:
            one = guard.sign_vote(vote(height, round, type, block_id), None)
        except SigningRefused:
            continue
        step = (height, round, type)
        assert signed.setdefault(step, one.vote.encode()) == one.vote.encode()
        assert LastSign.decode(stored[-1]).signature == one.signature


def test_a_signature_is_not_released_when_the_record_may_not_be_on_disk(tmp_path: Path) -> None:
    def failing(data: bytes) -> None:
        raise StorageError("no space")

    guard = LastSignGuard(SIGNER, CHAIN_ID, LastSign(CHAIN_ID), failing, START_MS)
    with pytest.raises(StorageError):
        guard.sign_vote(prevote(), None)
    # The step is not taken as signed in memory either: the process stops, and the file decides.
    assert guard.lock_for(5) is None


def test_file_and_directory_are_synced_before_a_signature_is_released(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[Path, bytes | None]] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        sync(descriptor)
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((target, target.read_bytes() if target.is_file() else path.read_bytes()))

    monkeypatch.setattr(os, "fsync", note)
    guard_at(path).sign_vote(prevote(), None)
    record = path.read_bytes()
    # The new file whole, under its own name; then the directory, with the new file in the place of the old one.
    assert synced == [(path.with_name("last-sign.new"), record), (path.parent, record)]


def test_a_directory_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        create_last_sign(tmp_path / "missing" / "last-sign", CHAIN_ID)


def test_a_record_is_created_once_only(path: Path) -> None:
    with pytest.raises(StorageError):
        create_last_sign(path, CHAIN_ID)


def test_a_file_of_another_chain_is_refused(path: Path) -> None:
    with pytest.raises(StorageError, match="belongs to chain"):
        guard_at(path, "other-chain")


def test_a_half_written_replacement_does_not_count(path: Path) -> None:
    guard_at(path).sign_vote(prevote(), None)
    path.with_name("last-sign.new").write_bytes(b"cut off")
    assert guard_at(path).sign_vote(precommit(), None).verify(SUITE, SIGNER.public_key)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped"])
def test_without_a_good_record_it_is_silent_until_a_height_begun_after_its_start_is_decided(
    path: Path, damage: str
) -> None:
    guard_at(path).sign_vote(prevote(), None)
    data = path.read_bytes()
    match damage:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(data[:-1])
        case "flipped":
            path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    guard = guard_at(path)
    late_ms = START_MS + 2 * CLOCK_BOUND_MS + 1

    def refuses(height: int) -> bool:
        try:
            guard.sign_vote(prevote(height=height), None)
        except SigningRefused:
            return True
        return False

    assert refuses(5)
    guard.note_decided(5, START_MS - 1)  # old blocks come in by sync
    guard.note_decided(6, START_MS + CLOCK_BOUND_MS)  # within what clocks may differ
    assert refuses(7)
    guard.note_decided(7, late_ms)  # proposed after our start: height 8 began after it
    assert refuses(8)
    guard.note_decided(8, late_ms + 1)
    assert guard.may_sign and not refuses(9)
    assert guard_at(path).may_sign  # and the file is back


@given(st.binary(max_size=200))
def test_a_damaged_record_is_never_taken_for_one(garbage: bytes) -> None:
    record = LastSign(CHAIN_ID, 3, 1, Step.PREVOTE, b"bytes", bytes(64), RoundValue(0, A))
    assert LastSign.decode(record.encode()) == record
    with pytest.raises(DecodeError):
        LastSign.decode(garbage)
