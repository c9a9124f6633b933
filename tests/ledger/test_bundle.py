"""Evidence bundles: round trips, any changed byte, with or without a repaired digest."""

from __future__ import annotations

import contextlib
import dataclasses
import functools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledger.bundle import MAX_BUNDLE_BYTES, Bundle
from ledger.codec import decode, encode
from ledger.errors import BundleSizeError, DecodeError, InvalidProof
from ledger.light import NotEstablishedError, TrustedView, open_bundle
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519 as SUITE
from tests.ledger.sample_chain import FOUNDERS, Member, SampleChain

_KEY = "licenses/license/00ff"
_PREFIX = b"mulu/bundle/v1\0"
_REFUSALS = (DecodeError, InvalidProof, NotEstablishedError)


@functools.cache
def _case() -> tuple[Bundle, Policy, Policy]:
    """Return a bundle that follows two changes of validators, its anchor, and a policy of today."""
    chain = SampleChain()
    chain.commit({_KEY: ["valid"]}, transactions=[b"issue"])
    anchor, changes = chain.policy(), []
    for members in ((*FOUNDERS[:3], Member("xiongan")), (Member("beijing", 1), *FOUNDERS[1:])):
        chain.commit(next_members=members)
        changes.append(chain.change_evidence())
        chain.commit({"licenses/type/a": chain.height})
    chain.commit({_KEY: ["valid", "revoked"]}, transactions=[b"revoke"] * 3)
    signed = chain.checkpoint()
    bundle = Bundle.of(
        "use:0011",
        changes=changes,
        entries=[chain.entry_evidence(index, signed) for index in (1, len(chain.entries) - 3)],
        states=[
            chain.state_evidence(_KEY, signed),
            chain.state_evidence(_KEY, signed, height=1),
            chain.state_evidence("licenses/license/none", signed),
        ],
    )
    return bundle, anchor, chain.policy()


@functools.cache
def _file() -> bytes:
    return _case()[0].encode(SUITE)


def test_a_bundle_shows_its_entries_and_states_across_changes_of_validators() -> None:
    bundle, anchor, _ = _case()
    assert Bundle.decode(SUITE, _file()) == bundle
    view, verified = open_bundle(SUITE, anchor, _file())
    assert verified.subject == "use:0011"
    assert [state.value for state in verified.states] == [("valid", "revoked"), ("valid",), None]
    assert [state.is_current for state in verified.states] == [True, False, True]
    assert [entry.index for entry in verified.entries] == [e.index for e in bundle.entries]
    state = verified.state(_KEY)
    assert state is not None
    view.require_current(state, state.as_of_ms + 1000)
    assert verified.state("licenses/license/other") is None


def test_a_newer_policy_passes_over_the_changes_that_it_includes() -> None:
    _, _, today = _case()
    _, verified = open_bundle(SUITE, today, _file())
    assert len(verified.states) == 3


def test_a_change_that_starts_nowhere_is_refused() -> None:
    bundle, anchor, today = _case()
    with pytest.raises(NotEstablishedError):
        TrustedView(SUITE, anchor).verify_bundle(dataclasses.replace(bundle, changes=()))
    with pytest.raises(_REFUSALS):
        TrustedView(SUITE, anchor).verify_bundle(
            dataclasses.replace(bundle, changes=bundle.changes[1:])
        )
    assert today.as_of is not None
    younger = dataclasses.replace(
        today, as_of=dataclasses.replace(today.as_of, size=bundle.changes[1].block.index)
    )
    with pytest.raises(_REFUSALS):
        TrustedView(SUITE, younger).verify_bundle(
            dataclasses.replace(bundle, changes=bundle.changes[1:])
        )


@settings(max_examples=300)
@given(st.data())
def test_any_changed_byte_of_a_bundle_is_told(data: st.DataObject) -> None:
    changed = bytearray(_file())
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DecodeError):
        Bundle.decode(SUITE, bytes(changed))


def _with_good_digest(content: bytes) -> bytes:
    return content + SUITE.digest(content)


@settings(max_examples=200)
@given(st.data())
def test_any_changed_byte_but_the_subjects_is_refused_even_under_a_good_digest(
    data: st.DataObject,
) -> None:
    _, anchor, _ = _case()
    content = bytearray(_file()[:-32])
    subject = content.index(b"use:0011")
    positions = st.integers(0, len(content) - 1).filter(
        lambda position: not subject <= position < subject + len(b"use:0011")
    )
    content[data.draw(positions)] ^= data.draw(st.integers(1, 255))
    with pytest.raises(_REFUSALS):
        open_bundle(SUITE, anchor, _with_good_digest(bytes(content)))


@given(st.data())
def test_a_cut_or_lengthened_bundle_is_told(data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(_file()) - 1))
    for changed in (_file()[:length], _file() + data.draw(st.binary(min_size=1, max_size=40))):
        with pytest.raises(DecodeError):
            Bundle.decode(SUITE, changed)


@given(st.binary(max_size=200))
@example(b"")
@example(bytes(32))
def test_bytes_are_a_bundle_in_its_one_encoding_or_a_decode_error(data: bytes) -> None:
    for candidate in (data, _with_good_digest(_PREFIX + data)):
        with contextlib.suppress(DecodeError):
            assert Bundle.decode(SUITE, candidate).encode(SUITE) == candidate


def _parts() -> list[object]:
    value = decode(_file()[len(_PREFIX) : -32])
    assert isinstance(value, tuple)
    return list(value)


@pytest.mark.parametrize("part", range(7))
@pytest.mark.parametrize("value", [None, True, 0, -1, 2, "text", b"bytes", [], [[]], [None], {}])
def test_a_part_of_the_wrong_type_is_a_refusal(part: int, value: object) -> None:
    parts = _parts()
    parts[part] = value
    content = _PREFIX + encode(parts)  # type: ignore[arg-type]
    if part == 6 and value == []:
        return  # no attachments: what it is anyway
    try:
        open_bundle(SUITE, _case()[1], _with_good_digest(content))
    except _REFUSALS:
        return
    assert part in (1, 5)  # another subject, or no states, are other bundles
    assert value in ("text", [])


def test_attachments_are_carried_but_not_vouched_for() -> None:
    bundle, anchor, _ = _case()
    attached = dataclasses.replace(bundle, attachments=(("consent", b"1"), ("credential", b"2")))
    _, verified = open_bundle(SUITE, anchor, attached.encode(SUITE))
    assert verified.attachments == attached.attachments


def test_a_bundle_is_valid_from_birth() -> None:
    bundle, _, _ = _case()
    other = SampleChain()
    other.commit()
    alien = other.entry_evidence(0, other.checkpoint())
    for changes in (
        {"entries": tuple(reversed(bundle.entries))},
        {"entries": (bundle.entries[0], bundle.entries[0])},
        {"entries": bundle.entries[:1]},
        {"entries": (alien, *bundle.entries)},
        {"attachments": (("b", b""), ("a", b""))},
        {"attachments": (("a", b""), ("a", b""))},
    ):
        with pytest.raises(ValueError, match=r"bundle|attachments"):
            dataclasses.replace(bundle, **changes)
    first = bundle.entries[0]
    with pytest.raises(ValueError, match="two entries"):
        Bundle.of("twice", entries=[first, dataclasses.replace(first, entry=b"other")])
    with pytest.raises(ValueError, match="at least one"):
        Bundle.of("nothing")


def test_a_bundle_of_many_megabytes_is_neither_written_nor_read() -> None:
    bundle = dataclasses.replace(_case()[0], attachments=(("film", bytes(MAX_BUNDLE_BYTES)),))
    with pytest.raises(BundleSizeError, match="at most"):
        bundle.encode(SUITE)
    with pytest.raises(DecodeError, match="at most"):
        Bundle.decode(SUITE, _PREFIX + bytes(MAX_BUNDLE_BYTES))
