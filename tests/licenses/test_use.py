"""Requests, consents, approvals: bytes there and back, and nothing else accepted."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.codec import decode, encode
from ledger.errors import DecodeError
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.details import MAX_DETAIL_BYTES, RequestDetails
from licenses.handles import (
    chained_use,
    credential_digest,
    details_commitment,
    document_digest,
    holder_commitment,
    license_handle,
)
from licenses.use import (
    MAX_ITEMS,
    Approval,
    Basis,
    Consent,
    Grant,
    Item,
    Request,
    RequestEnvelope,
    SignedApproval,
    SignedConsent,
    SignedRequest,
)
from licenses.use_fields import MAX_FIELDS
from tests.ledger.sample_chain import CHAIN_ID, signer
from tests.licenses.story import CENTRE, INSTRUMENT, MATTER, TYPE

hashes = st.binary(min_size=32, max_size=32)
times = st.integers(0, 2**53)
keys = st.sampled_from([signer(f"key {n}").public_key for n in range(4)])
names = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
field_lists = st.lists(names, min_size=1, max_size=8, unique=True).map(lambda x: tuple(sorted(x)))
texts = st.text(max_size=100).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text))
items = st.lists(st.builds(Item, st.just(TYPE), field_lists), min_size=1, max_size=3).map(tuple)
bases = st.none() | st.just(Basis(INSTRUMENT, "1")) | st.just(Basis("条例", "第五条"))


@st.composite
def requests(draw: st.DrawFn) -> Request:
    basis = draw(bases)
    return Request(
        CHAIN_ID,
        CENTRE,
        draw(keys),
        draw(hashes),
        MATTER,
        "120000",
        "holder" if basis is None else "statutory",
        draw(items),
        basis,
        draw(hashes),
        draw(st.binary(min_size=16, max_size=16)),
        draw(times),
    )


grants = st.lists(
    st.builds(Grant, hashes, field_lists, keys, hashes),
    min_size=1,
    max_size=3,
    unique_by=lambda grant: grant.handle,
).map(tuple)
consents = st.builds(Consent, st.just(CHAIN_ID), hashes, grants, times)
approvals = st.builds(
    Approval,
    st.just(CHAIN_ID),
    hashes,
    keys,
    st.lists(
        st.tuples(hashes, field_lists), min_size=1, max_size=3, unique_by=lambda pair: pair[0]
    ).map(tuple),
    st.none() | times,
    times,
)
details = st.builds(RequestDetails, hashes, texts, texts, texts, texts)


@given(requests())
def test_requests_survive_their_encoding(request: Request) -> None:
    assert Request.decode(request.encode()) == request
    signed = SignedRequest(request, bytes(64))
    assert SignedRequest.decode(signed.encode()) == signed


@given(consents)
def test_consents_survive_their_encoding(consent: Consent) -> None:
    assert Consent.decode(consent.encode()) == consent
    signed = SignedConsent(consent, (bytes(64),) * len(consent.grants))
    assert SignedConsent.decode(signed.encode()) == signed


@given(approvals)
def test_approvals_survive_their_encoding(approval: Approval) -> None:
    assert Approval.decode(approval.encode()) == approval
    signed = SignedApproval(approval, bytes(64))
    assert SignedApproval.decode(signed.encode()) == signed


@given(requests(), details)
def test_envelopes_survive_their_encoding(request: Request, private: RequestDetails) -> None:
    envelope = RequestEnvelope(SignedRequest(request, bytes(64)), private)
    assert RequestEnvelope.decode(envelope.encode()) == envelope


DECODERS = (Request, SignedRequest, Consent, SignedConsent, Approval, SignedApproval)


@given(st.binary(max_size=200), st.sampled_from((*DECODERS, RequestDetails, RequestEnvelope)))
def test_any_bytes_are_read_or_refused_with_our_error(data: bytes, structure: Any) -> None:
    with contextlib.suppress(DecodeError):
        structure.decode(data)


def sample_request() -> Request:
    return Request(
        CHAIN_ID,
        CENTRE,
        signer("operator").public_key,
        bytes(32),
        MATTER,
        "120000",
        "holder",
        (Item(TYPE, ("address", "name")),),
        None,
        bytes(32),
        bytes(16),
        1_000,
    )


BAD_PARTS: list[tuple[int, Any]] = [
    (0, ""),
    (0, 5),
    (1, "short"),
    (1, CENTRE.lower()),
    (2, "ed25519:" + "00" * 32),
    (2, "rsa:00"),
    (3, bytes(31)),
    (4, MATTER[:-1]),
    (5, "12000０"),
    (5, "1200000"),
    (6, "representative"),
    (6, "statutory"),
    (7, ()),
    (7, ((TYPE, ()),)),
    (7, ((TYPE, ("name", "address")),)),
    (7, ((TYPE, ("name", "name")),)),
    (7, ((TYPE, ("Name",)),)),
    (7, ((TYPE, ("名",)),)),
    (7, ((TYPE, ("address", {"name": 1})),)),
    (7, ((TYPE, {"name": 1}),)),
    (7, ((TYPE[:-1], ("name",)),)),
    (7, ((TYPE, ("name",)),) * (MAX_ITEMS + 1)),
    (7, ((TYPE, tuple(f"f{n:03}" for n in range(MAX_FIELDS + 1))),)),
    (8, ("instrument", "1")),
    (9, bytes(33)),
    (10, bytes(15)),
    (11, -1),
    (11, True),
    (11, "1000"),
]


@pytest.mark.parametrize(("position", "value"), BAD_PARTS, ids=lambda value: repr(value)[:40])
def test_a_malformed_part_of_a_request_is_refused(position: int, value: Any) -> None:
    parts = list(decode(sample_request().encode()))  # type: ignore[arg-type]
    parts[position] = value
    with pytest.raises(DecodeError):
        Request.decode(encode(parts))


@pytest.mark.parametrize("change", [lambda parts: parts[:-1], lambda parts: [*parts, None]])
def test_a_request_has_exactly_its_parts(change: Any) -> None:
    parts = list(decode(sample_request().encode()))  # type: ignore[arg-type]
    with pytest.raises(DecodeError):
        Request.decode(encode(change(parts)))


def test_a_license_is_granted_once_in_a_consent() -> None:
    grant = Grant(bytes(32), ("name",), signer("holder").public_key, bytes(32))
    for twice in ((grant, grant), ()):
        with pytest.raises(DecodeError):
            Consent.decode(Consent(CHAIN_ID, bytes(32), twice, 5).encode())
    pair = (bytes(32), ("name",))
    for repeated in ((pair, pair), ()):
        approval = Approval(CHAIN_ID, bytes(32), signer("o").public_key, repeated, None, 5)
        with pytest.raises(DecodeError):
            Approval.decode(approval.encode())


def test_a_consent_has_one_signature_a_grant() -> None:
    grant = Grant(bytes(32), ("name",), signer("holder").public_key, bytes(32))
    consent = Consent(CHAIN_ID, bytes(32), (grant,), 5)
    for signatures in ((), (bytes(64),) * 2, (bytes(63),)):
        with pytest.raises(DecodeError):
            SignedConsent.decode(SignedConsent(consent, signatures).encode())


def test_details_are_bounded_and_committed_to_with_their_salt() -> None:
    private = RequestDetails(bytes(32), "w", "c", "p", "x")
    assert private.commitment(SUITE) != replace(private, case_number="d").commitment(SUITE)
    assert private.commitment(SUITE) != replace(private, salt=b"\1" * 32).commitment(SUITE)
    with pytest.raises(DecodeError):
        RequestDetails.decode(replace(private, purpose="字" * MAX_DETAIL_BYTES).encode())
    with pytest.raises(ValueError):
        RequestDetails(b"short", "", "", "", "")


# --- handles ----------------------------------------------------------------------------------


def test_handles_differ_by_salt_and_identifier_and_kind() -> None:
    key = signer("holder").public_key
    seen = {
        license_handle(SUITE, bytes(32), "a"),
        license_handle(SUITE, b"\1" * 32, "a"),
        license_handle(SUITE, bytes(32), "b"),
        license_handle(SUITE, bytes(32), str(key)),
        holder_commitment(SUITE, bytes(32), key),
        details_commitment(SUITE, bytes(32), {}),
        credential_digest(SUITE, "a"),
        document_digest(SUITE, b"a"),
        chained_use(SUITE, None, 1, bytes(32), bytes(32)),
        chained_use(SUITE, bytes(32), 1, bytes(32), bytes(32)),
        chained_use(SUITE, None, 2, bytes(32), bytes(32)),
    }
    assert len(seen) == 11


def test_a_handle_needs_a_whole_salt_and_an_identifier() -> None:
    for salt, identifier in ((bytes(31), "a"), (b"", "a"), (bytes(32), "")):
        with pytest.raises(ValueError):
            license_handle(SUITE, salt, identifier)
