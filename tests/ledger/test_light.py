"""The light verifier: what it believes, what it refuses, and what it calls not established."""

from __future__ import annotations

import dataclasses
import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import light
from ledger.bundle import EntryEvidence, StateEvidence, ValidatorChange
from ledger.checkpoints import SignedCheckpoint, cosign, sign_checkpoint
from ledger.entries import BlockEntry, TransactionEntry
from ledger.errors import DecodeError, InvalidPolicy, InvalidProof
from ledger.light import NotEstablishedError, TrustedView, require_network
from ledger.policy import Policy, policy_for
from ledger.suite import SHA256_ED25519 as SUITE
from tests.ledger.sample_chain import (
    FOUNDERS,
    START_MS,
    Member,
    SampleChain,
    validator_set,
)

_KEY = "licenses/license/00ff"
_HOUR_MS = 3_600_000
_NEWCOMERS = (*FOUNDERS[:3], Member("xiongan"))
_ROTATED = (Member("beijing", 1), *FOUNDERS[1:])


@functools.cache
def _issued_and_revoked() -> SampleChain:
    """Block 1 issues a license, block 2 changes another record, block 3 revokes the license."""
    chain = SampleChain()
    chain.commit({_KEY: ["valid"], "licenses/type/a": 1}, transactions=[b"issue"])
    chain.commit({"licenses/type/b": 2}, transactions=[b"define"])
    chain.commit({_KEY: ["valid", "revoked"]}, transactions=[b"revoke"])
    return chain


def _view(chain: SampleChain) -> TrustedView:
    return TrustedView(SUITE, chain.policy())


def test_a_present_value_is_shown_for_the_time_that_a_quorum_vouches_for() -> None:
    chain = _issued_and_revoked()
    heartbeat_s = chain.time_ms // 1000 + 600
    evidence = chain.state_evidence(_KEY, chain.checkpoint(heartbeat_s))
    state = _view(chain).verify_state(evidence)
    assert state.value == ("valid", "revoked")
    assert state.height == 3
    assert state.is_current
    assert state.as_of_ms == heartbeat_s * 1000


def test_absence_is_shown_like_a_value() -> None:
    chain = _issued_and_revoked()
    state = _view(chain).verify_state(
        chain.state_evidence("licenses/license/none", chain.checkpoint())
    )
    assert state.value is None
    assert state.is_current


def test_a_past_value_under_a_fresh_checkpoint_is_a_past_value() -> None:
    chain = _issued_and_revoked()
    evidence = chain.state_evidence(_KEY, chain.checkpoint(chain.time_ms // 1000 + 600), height=1)
    view = _view(chain)
    state = view.verify_state(evidence)
    assert state.value == ("valid",)
    assert not state.is_current
    assert state.as_of_ms == state.block_time_ms == START_MS + 1000
    with pytest.raises(NotEstablishedError) as refused:
        view.require_current(state, chain.time_ms)
    assert refused.value.code == "not_current"


def test_an_old_value_passes_neither_for_another_block_nor_for_another_key() -> None:
    chain = _issued_and_revoked()
    signed = chain.checkpoint()
    old, new = chain.state_evidence(_KEY, signed, 1), chain.state_evidence(_KEY, signed)
    absent = chain.state_evidence("licenses/license/none", signed)
    for forged in (
        dataclasses.replace(old, block=new.block),
        dataclasses.replace(new, value=old.value),
        dataclasses.replace(new, value=None),
        dataclasses.replace(new, key="licenses/type/a"),
        dataclasses.replace(absent, key=_KEY),
        dataclasses.replace(absent, value=new.value),
        dataclasses.replace(new, proof=absent.proof, value=None),
    ):
        with pytest.raises(InvalidProof):
            _view(chain).verify_state(forged)


def test_a_state_is_proved_under_no_entry_but_its_own_blocks() -> None:
    chain = _issued_and_revoked()
    signed = chain.checkpoint()
    genesis = chain.entry_evidence(0, signed)
    evidence = dataclasses.replace(chain.state_evidence(_KEY, signed), block=genesis)
    with pytest.raises(InvalidProof, match="state root"):
        _view(chain).verify_state(evidence)


def test_entries_of_every_kind_are_shown() -> None:
    chain = _issued_and_revoked()
    signed, view = chain.checkpoint(), _view(chain)
    for index, encoding in enumerate(chain.entries):
        verified = view.verify_entry(chain.entry_evidence(index, signed))
        assert (verified.index, verified.encoding) == (index, encoding)
    assert isinstance(view.verify_entry(chain.entry_evidence(1, signed)).entry, TransactionEntry)
    assert isinstance(view.verify_entry(chain.entry_evidence(2, signed)).entry, BlockEntry)


def test_an_entry_proves_itself_only_and_only_in_its_place() -> None:
    chain = _issued_and_revoked()
    view, evidence = _view(chain), chain.entry_evidence(1, chain.checkpoint())
    other = TransactionEntry(1, 0, "internal", 0, b"issue").encode()
    for forged in (
        dataclasses.replace(evidence, entry=other),
        dataclasses.replace(evidence, index=3),
        dataclasses.replace(evidence, index=2**62),
        dataclasses.replace(evidence, inclusion=evidence.inclusion[:-1]),
        dataclasses.replace(evidence, inclusion=(*evidence.inclusion, bytes(32))),
    ):
        with pytest.raises(InvalidProof):
            view.verify_entry(forged)


def test_an_entry_of_no_known_kind_is_a_decode_error_even_if_it_is_in_the_log() -> None:
    chain = SampleChain()
    chain._append([b"\x91\xa5alien"])
    with pytest.raises(DecodeError, match="known kind"):
        _view(chain).verify_entry(chain.entry_evidence(1, chain.checkpoint()))


@given(st.sets(st.integers(0, 3)), st.booleans())
def test_less_than_a_quorum_or_no_log_signature_establishes_nothing(
    cosigners: set[int], log_signature: bool
) -> None:
    chain = _issued_and_revoked()
    lines = [sign_checkpoint(SUITE, FOUNDERS[0].log_signer, chain.tree)] if log_signature else []
    lines += [
        cosign(SUITE, FOUNDERS[n].witness_signer, FOUNDERS[n].name, chain.tree, 1_760_000_000)
        for n in sorted(cosigners)
    ]
    signed = SignedCheckpoint(chain.tree, tuple(lines))
    if log_signature and len(cosigners) >= 3:
        assert _view(chain).verify_checkpoint(signed).time_ms == 1_760_000_000_000
        return
    with pytest.raises(NotEstablishedError) as refused:
        _view(chain).verify_checkpoint(signed)
    assert refused.value.code == "no_quorum"


def test_a_checkpoint_of_another_chain_shows_nothing_and_is_not_called_false() -> None:
    chain = _issued_and_revoked()
    policy = policy_for(SUITE, validator_set(FOUNDERS), "another-chain", chain.policy().as_of)
    with pytest.raises(NotEstablishedError, match="another-chain") as refused:
        TrustedView(SUITE, policy).verify_checkpoint(chain.checkpoint())
    assert refused.value.code == "other_network"


def test_a_checkpoint_is_of_a_policy_s_network_where_one_of_its_logs_has_its_origin() -> None:
    tree = _issued_and_revoked().tree
    require_network(tree, {"another-chain", tree.origin})
    with pytest.raises(NotEstablishedError, match="the policy of 'a', 'b'"):
        require_network(tree, {"b", "a"})


def test_a_policy_of_no_chain_or_of_two_is_no_anchor() -> None:
    policy = _issued_and_revoked().policy()
    for logs in ((), (*policy.logs, *policy_for(SUITE, [Member("x").validator], "b").logs)):
        with pytest.raises(InvalidPolicy, match="exactly one chain"):
            TrustedView(SUITE, dataclasses.replace(policy, logs=logs))


# Changes of validators.


def _changed_chain(*sets: tuple[Member, ...]) -> tuple[SampleChain, Policy, list[ValidatorChange]]:
    """Return a chain whose validators became each of `sets` in turn, its first policy, and the changes."""
    chain = SampleChain()
    chain.commit({_KEY: ["valid"]}, transactions=[b"issue"])
    anchor, changes = chain.policy(), []
    for members in sets:
        chain.commit(next_members=members, transactions=[b"change"])
        changes.append(chain.change_evidence())
        chain.commit({f"ledger/note/{chain.height}": 1})
    return chain, anchor, changes


def test_changes_of_validators_are_followed_from_the_anchor_on() -> None:
    chain, anchor, changes = _changed_chain(_NEWCOMERS, _ROTATED, FOUNDERS)
    view = TrustedView(SUITE, anchor)
    for change in changes:
        view.advance(ValidatorChange.decode(change.encode()))
    assert view.validators_hash == validator_set(FOUNDERS).hash(SUITE)
    assert view.policy == dataclasses.replace(chain.policy(), as_of=anchor.as_of)
    assert view.verify_state(chain.state_evidence(_KEY, chain.checkpoint())).value == ("valid",)


def test_a_policy_is_renewed_up_to_its_checkpoint_and_no_further() -> None:
    """Changes are fetched beside the checkpoint, not with it: some may lie at or beyond its end."""
    chain, anchor, changes = _changed_chain(_NEWCOMERS)
    before, last = chain.checkpoint(), chain.policy()
    chain.commit(next_members=_ROTATED)
    own, now_ms = chain.checkpoint(), chain.time_ms
    changes.append(chain.change_evidence())
    chain.commit({"ledger/note/9": 1})
    for signed in (before, own):
        renewed = TrustedView(SUITE, anchor).renewed(changes, signed, now_ms)
        assert dataclasses.replace(renewed, as_of=None) == dataclasses.replace(last, as_of=None)
        again = TrustedView(SUITE, renewed).renewed(changes, chain.checkpoint(), chain.time_ms)
        assert again == chain.policy()


def test_without_the_changes_a_newer_checkpoint_is_not_established() -> None:
    strangers = (Member("a"), Member("b"), Member("c"), FOUNDERS[0])
    chain, anchor, changes = _changed_chain(strangers, (*strangers[:3], FOUNDERS[1]))
    view = TrustedView(SUITE, anchor)
    with pytest.raises(NotEstablishedError, match="known validators have cosigned"):
        view.verify_checkpoint(chain.checkpoint())
    with pytest.raises(NotEstablishedError, match="known validators have cosigned"):
        view.advance(changes[1])


def test_a_quorum_of_the_old_set_is_not_enough_for_what_holds_now_under_a_new_set() -> None:
    chain, anchor, _ = _changed_chain(_NEWCOMERS)  # three of the four founders are still there
    view = TrustedView(SUITE, anchor)
    signed = chain.checkpoint()
    assert view.verify_entry(chain.entry_evidence(1, signed)).index == 1
    with pytest.raises(NotEstablishedError) as refused:
        view.verify_state(chain.state_evidence(_KEY, signed))
    assert refused.value.code == "validators_changed"


def test_a_change_names_the_present_set_and_lists_exactly_the_next() -> None:
    chain, anchor, (change,) = _changed_chain(_NEWCOMERS)
    other = ValidatorChange.of(change.block, validator_set(_ROTATED))
    no_change = ValidatorChange.of(chain.entry_evidence(2, change.block.checkpoint), FOUNDERS_SET)
    transaction = ValidatorChange.of(chain.entry_evidence(3, change.block.checkpoint), FOUNDERS_SET)
    for forged, reason in (
        (other, "not those"),
        (no_change, "does not change"),
        (transaction, "by a block entry"),
    ):
        view = TrustedView(SUITE, anchor)
        with pytest.raises(InvalidProof, match=reason):
            view.advance(forged)
        assert view.policy == anchor
        view.advance(change)
    with pytest.raises(InvalidProof, match="before the change"):
        view.advance(change)


FOUNDERS_SET = validator_set(FOUNDERS)


def test_the_old_set_cosigns_nothing_after_the_change() -> None:
    chain = SampleChain()
    chain.commit(next_members=_NEWCOMERS)
    anchor, index = chain.policy(), len(chain.entries) - 1
    chain.members = FOUNDERS  # they go on although they have been replaced
    chain._append([TransactionEntry(2, 0, "", None, b"forged").encode()])
    late = ValidatorChange.of(
        chain.entry_evidence(index, chain.checkpoint()), validator_set(_NEWCOMERS)
    )
    with pytest.raises(InvalidProof, match="entries follow"):
        TrustedView(SUITE, anchor).advance(late)


def test_a_replaced_set_cannot_present_its_continuation_as_the_newest_block() -> None:
    _, anchor, changes = _changed_chain(_NEWCOMERS)
    view = TrustedView(SUITE, anchor)
    view.advance(changes[0])
    # A quorum of the new set cosigns, but the newest block entry is one of the old set.
    forged = SampleChain()
    forged.commit(next_members=_NEWCOMERS)
    for _ in range(6):
        forged.next_members = FOUNDERS
        forged.commit({_KEY: ["forged"]})
    forged.members = _NEWCOMERS
    with pytest.raises(NotEstablishedError, match="other validators"):
        view.verify_state(forged.state_evidence(_KEY, forged.checkpoint()))


def test_after_a_change_checkpoints_from_before_it_no_longer_count() -> None:
    chain = SampleChain()
    chain.commit({_KEY: ["valid"]}, next_members=_ROTATED)
    anchor = chain.policy()
    before = chain.state_evidence(_KEY, chain.checkpoint())
    view = TrustedView(SUITE, anchor)
    assert view.verify_state(before).is_current
    view.advance(chain.change_evidence())
    with pytest.raises(InvalidProof, match="before the change"):
        view.verify_state(before)


def test_a_policy_without_as_of_line_verifies_but_follows_no_change_and_knows_no_now() -> None:
    chain, anchor, changes = _changed_chain(_ROTATED)
    view = TrustedView(SUITE, dataclasses.replace(anchor, as_of=None))
    state = view.verify_state(
        _issued_and_revoked().state_evidence(_KEY, _issued_and_revoked().checkpoint())
    )
    for action in (
        lambda: view.advance(changes[0]),
        lambda: view.require_current(state, chain.time_ms),
    ):
        with pytest.raises(NotEstablishedError) as refused:
            action()
        assert refused.value.code == "no_anchor"


# One anchor, many bundles.


class _Counted:
    """A suite that counts the signatures it verifies."""

    def __init__(self) -> None:
        self.count = 0
        verify = SUITE.verifiers["ed25519"]

        def counting(key: bytes, message: bytes, signature: bytes) -> bool:
            self.count += 1
            return verify(key, message, signature)

        self.suite = dataclasses.replace(SUITE, verifiers={"ed25519": counting})


def test_the_signatures_under_a_checkpoint_are_verified_once_for_all_that_rests_on_it() -> None:
    chain, counted = _issued_and_revoked(), _Counted()
    signed = chain.checkpoint()
    view = TrustedView(counted.suite, chain.policy())
    view.verify_state(chain.state_evidence(_KEY, signed))
    first = counted.count
    assert first == len(signed.signatures)
    for key in (_KEY, "licenses/type/a", "licenses/license/none"):
        assert view.restarted().verify_state(chain.state_evidence(key, signed)).is_current
    assert counted.count == first
    other = chain.checkpoint(chain.time_ms // 1000 + 60)  # the same tree, other cosignatures
    view.restarted().verify_checkpoint(other)
    assert counted.count == 2 * first


def test_a_known_checkpoint_lends_nothing_to_one_with_other_signatures() -> None:
    chain = _issued_and_revoked()
    signed, view = chain.checkpoint(), _view(chain)
    view.verify_checkpoint(signed)
    last = signed.signatures[-1]
    forged = dataclasses.replace(last, signature=last.signature[:-1] + b"\0")
    assert forged != last
    with pytest.raises(InvalidProof, match="bad signature"):
        view.restarted().verify_checkpoint(
            dataclasses.replace(signed, signatures=(*signed.signatures[:-1], forged))
        )
    with pytest.raises(NotEstablishedError, match="known validators have cosigned"):
        view.restarted().verify_checkpoint(
            dataclasses.replace(signed, signatures=signed.signatures[:-2])
        )


def test_what_the_anchor_s_set_vouched_for_is_no_word_of_the_set_that_replaced_it() -> None:
    strangers = (Member("a"), Member("b"), Member("c"), FOUNDERS[0])
    chain, anchor, (change,) = _changed_chain(strangers)
    chain.members = FOUNDERS  # they go on although they have been replaced
    late, view = chain.checkpoint(), TrustedView(SUITE, anchor)
    view.verify_checkpoint(late)
    moved = view.restarted()
    moved.advance(change)
    with pytest.raises(NotEstablishedError, match="known validators have cosigned"):
        moved.verify_checkpoint(late)
    assert view.restarted().validators_hash == validator_set(FOUNDERS).hash(SUITE)
    view.restarted().verify_checkpoint(late)


def test_only_so_many_checkpoints_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(light, "MAX_KNOWN_CHECKPOINTS", 2)
    chain, counted = _issued_and_revoked(), _Counted()
    view = TrustedView(counted.suite, chain.policy())
    three = [chain.checkpoint(chain.time_ms // 1000 + age_s) for age_s in (0, 60, 120)]
    for signed in three:
        view.verify_checkpoint(signed)
    each = counted.count // 3
    view.verify_checkpoint(three[2])
    view.verify_checkpoint(three[1])
    assert counted.count == 3 * each
    view.verify_checkpoint(
        three[0]
    )  # in the place of the third, which was asked for before the second
    view.verify_checkpoint(three[1])
    assert counted.count == 4 * each


# Now.


@pytest.mark.parametrize(
    ("age_ms", "code"),
    [
        (-5_001, "future"),
        (-5_000, None),
        (0, None),
        (_HOUR_MS, None),
        (_HOUR_MS + 1, "stale"),
        (91 * 24 * _HOUR_MS, "anchor_too_old"),
    ],
)
def test_now_is_established_while_checkpoint_and_anchor_are_young(
    age_ms: int, code: str | None
) -> None:
    chain = _issued_and_revoked()
    view = _view(chain)
    state = view.verify_state(chain.state_evidence(_KEY, chain.checkpoint()))
    if code is None:
        view.require_current(state, chain.time_ms + age_ms)
        return
    with pytest.raises(NotEstablishedError) as refused:
        view.require_current(state, chain.time_ms + age_ms)
    assert refused.value.code == code


def test_the_verifier_chooses_how_old_checkpoint_and_anchor_may_be() -> None:
    chain = _issued_and_revoked()
    view = _view(chain)
    state = view.verify_state(chain.state_evidence(_KEY, chain.checkpoint()))
    year_later = chain.time_ms + 365 * 24 * _HOUR_MS
    view.require_current(
        state, year_later, fresh_ms=366 * 24 * _HOUR_MS, max_anchor_age_ms=366 * 24 * _HOUR_MS
    )
    with pytest.raises(NotEstablishedError, match="seconds old"):
        view.require_current(state, year_later, max_anchor_age_ms=366 * 24 * _HOUR_MS)


def test_following_changes_does_not_make_an_old_anchor_young() -> None:
    chain, anchor, changes = _changed_chain(_ROTATED)
    view = TrustedView(SUITE, anchor)
    view.advance(changes[0])
    later_s = chain.time_ms // 1000 + 100 * 24 * 3600
    state = view.verify_state(chain.state_evidence(_KEY + "x", chain.checkpoint(later_s)))
    with pytest.raises(NotEstablishedError) as refused:
        view.require_current(state, later_s * 1000)
    assert refused.value.code == "anchor_too_old"


def test_evidence_round_trips() -> None:
    chain = _issued_and_revoked()
    state = chain.state_evidence(_KEY, chain.checkpoint())
    assert StateEvidence.decode(state.encode()) == state
    assert EntryEvidence.decode(state.block.encode()) == state.block


@given(st.data())
def test_no_changed_byte_of_any_evidence_passes(data: st.DataObject) -> None:
    chain = _issued_and_revoked()
    state = chain.state_evidence(_KEY, chain.checkpoint())
    changed = bytearray(state.encode())
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((DecodeError, InvalidProof, NotEstablishedError)):
        _view(chain).verify_state(StateEvidence.decode(bytes(changed)))
