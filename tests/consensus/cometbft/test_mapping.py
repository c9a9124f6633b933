"""Times, addresses, validators and offences, as CometBFT has them and as the ledger has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.cometbft import abci_pb2, mapping
from consensus.cometbft.abci_pb2 import Misbehavior
from consensus.cometbft.errors import InvalidHandover
from ledger.decisions import ReportedOffence
from ledger.suite import PublicKey
from ledger.validators import ValidatorSet
from tests.consensus.cometbft.driver import timestamp_of
from tests.ledger.chain import Member, members, signer

FOUNDERS = ValidatorSet.of(member.validator for member in members())


@given(st.integers(0, 253_402_300_799_999))
def test_a_time_in_milliseconds_survives(milliseconds: int) -> None:
    assert mapping.time_ms(timestamp_of(milliseconds)) == milliseconds


def test_nanoseconds_are_rounded_down() -> None:
    timestamp = timestamp_of(1_000)
    timestamp.nanos = 999_999
    assert mapping.time_ms(timestamp) == 1_000


def test_an_address_is_the_first_twenty_bytes_of_the_keys_digest() -> None:
    # RFC 8032, test 1; the address as `sha256sum` of the key begins.
    key = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    address = mapping.address_of(PublicKey("ed25519", key))
    assert address.hex() == "21fe31dfa154a261626bf854046fd2271b7bed4b"


def test_every_validator_is_found_by_its_address_and_nobody_else() -> None:
    for validator in FOUNDERS:
        address = mapping.address_of(validator.consensus_key)
        assert mapping.name_of(address, FOUNDERS) == validator.name
    with pytest.raises(InvalidHandover, match="no validator"):
        mapping.name_of(bytes(20), FOUNDERS)


def apply(keys: dict[bytes, int], updates: list[abci_pb2.ValidatorUpdate]) -> dict[bytes, int]:
    """Apply updates as CometBFT does: power 0 removes, and must find somebody to remove."""
    after = dict(keys)
    for update in updates:
        if update.power:
            after[update.pub_key.ed25519] = update.power
        else:
            del after[update.pub_key.ed25519]
    return after


MORE = members(7)


@given(st.sets(st.sampled_from(MORE), min_size=1), st.sets(st.sampled_from(MORE), min_size=1))
def test_the_updates_lead_from_any_set_to_any_other(old: set[Member], new: set[Member]) -> None:
    before = ValidatorSet.of(member.validator for member in old)
    after = ValidatorSet.of(member.validator for member in new)
    updates = mapping.validator_updates(before, after)
    keys = [update.pub_key.ed25519 for update in updates]
    assert len(set(keys)) == len(keys), "CometBFT refuses two updates of one key"
    powers = {one.consensus_key.data: 1 for one in before}
    assert apply(powers, updates) == {one.consensus_key.data: 1 for one in after}


def test_a_replaced_key_leaves_and_its_successor_comes() -> None:
    first, *others = FOUNDERS
    replaced = type(first)(
        first.name,
        first.controller,
        signer("another").public_key,
        first.log_key,
        first.witness_key,
    )
    gone, came = mapping.validator_updates(FOUNDERS, ValidatorSet.of([replaced, *others]))
    assert (gone.pub_key.ed25519, gone.power) == (first.consensus_key.data, 0)
    assert (came.pub_key.ed25519, came.power) == (replaced.consensus_key.data, 1)


def misbehaviour(name: str, height: int, kind: int = abci_pb2.DUPLICATE_VOTE) -> Misbehavior:
    member = next(member for member in members() if member.name == name)
    address = mapping.address_of(member.consensus.public_key)
    return Misbehavior(
        type=kind,  # type: ignore[arg-type]  # an enum's number
        validator=abci_pb2.Validator(address=address, power=1),
        height=height,
    )


def test_misbehaviour_is_an_offence_by_name() -> None:
    reported = [
        misbehaviour("hebei", 3),
        misbehaviour("beijing", 2, abci_pb2.LIGHT_CLIENT_ATTACK),
    ]
    assert mapping.offences(reported, lambda height: FOUNDERS, 5) == (
        ReportedOffence("duplicate_vote", "hebei", 3),
        ReportedOffence("light_client_attack", "beijing", 2),
    )


def test_misbehaviour_of_nobody_of_no_kind_or_of_the_future_is_left_out() -> None:
    stranger = misbehaviour("hebei", 3)
    stranger.validator.address = bytes(20)
    reported = [stranger, misbehaviour("hebei", 3, 0), misbehaviour("hebei", 6)]
    assert mapping.offences(reported, lambda height: FOUNDERS, 5) == ()
