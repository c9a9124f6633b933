"""Log entries and blocks: bytes both ways, what decoding refuses, what ids and roots bind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.blocks import Block, Header, transactions_root
from ledger.codec import decode, encode
from ledger.commits import Commit
from ledger.entries import (
    BlockEntry,
    Entry,
    EvidenceEntry,
    GenesisEntry,
    TransactionEntry,
    decode_entry,
)
from ledger.errors import DecodeError
from ledger.limits import MAX_ENTRY_BYTES, MAX_TRANSACTION_BYTES
from ledger.suite import SHA256_ED25519 as SUITE

hashes = st.binary(min_size=32, max_size=32)
heights = st.integers(1, 2**63 - 1)
counts = st.integers(0, 2**40)
names = st.text("abcdefgh-._", min_size=1, max_size=64)
codes = st.from_regex(r"[a-z0-9_.-]{1,64}", fullmatch=True)

failures = st.tuples(codes, st.integers(0, 255)) | st.just(("", None))
entries: st.SearchStrategy[Entry] = st.one_of(
    st.builds(GenesisEntry, hashes, hashes, hashes),
    st.builds(
        lambda height, index, failure, raw: TransactionEntry(height, index, *failure, raw),
        heights,
        counts,
        failures,
        st.binary(max_size=300),
    ),
    st.builds(EvidenceEntry, heights, counts, names, names, heights),
    st.builds(BlockEntry, heights, counts, hashes, names, hashes, hashes, hashes, counts),
)


@given(entries)
def test_entries_survive_their_encoding(entry: Entry) -> None:
    assert decode_entry(entry.encode()) == entry


@given(entries, st.data())
def test_an_entry_with_a_field_more_less_or_of_another_type_is_refused(
    entry: Entry, data: st.DataObject
) -> None:
    parts = decode(entry.encode())
    assert isinstance(parts, tuple)
    position = data.draw(st.integers(0, len(parts) - 1))
    for wrong in (
        (*parts, 0),
        parts[:position] + parts[position + 1 :],
        (*parts[:position], {"map": 1}, *parts[position + 1 :]),
        (*parts[:position], -1, *parts[position + 1 :]),
    ):
        with pytest.raises(DecodeError):
            decode_entry(encode(wrong))


@given(st.binary(max_size=200))
def test_garbage_is_no_entry_and_no_block(data: bytes) -> None:
    for read in (decode_entry, Block.decode, Header.decode):
        with pytest.raises(DecodeError):
            read(data)


def test_only_failures_name_an_operation() -> None:
    for code, operation_index in (("", 0), ("bad", None), ("Bad", 0), ("x" * 65, 0), ("bad", 256)):
        with pytest.raises(DecodeError):
            decode_entry(encode(("transaction", 1, 0, code, operation_index, b"")))


def test_the_largest_transaction_fits_an_entry() -> None:
    entry = TransactionEntry(2**63 - 1, 2**31, "x" * 64, 255, bytes(MAX_TRANSACTION_BYTES))
    assert len(entry.encode()) <= MAX_ENTRY_BYTES
    assert decode_entry(entry.encode()) == entry


HEADER = Header(
    1, "test-0", 7, 1000, *(bytes([i]) * 32 for i in range(7)), proposer="beijing"
)  # seven hashes in a row
COMMIT = Commit(6, 0, bytes(32), (("beijing", bytes(64)),))
BLOCK = Block(HEADER, (b"one", b"two"), (), COMMIT)


def test_blocks_survive_their_encoding() -> None:
    assert Header.decode(HEADER.encode()) == HEADER
    for block in (BLOCK, replace(BLOCK, last_commit=None), replace(BLOCK, transactions=())):
        assert Block.decode(block.encode()) == block


def test_a_block_id_covers_every_field_of_the_header() -> None:
    ids = {HEADER.id(SUITE)}
    for name in Header.__dataclass_fields__:
        value = getattr(HEADER, name)
        changed = value + 1 if isinstance(value, int) else value[:-1] + value[-1:] * 2
        ids.add(replace(HEADER, **{name: changed}).id(SUITE))
    assert len(ids) == 1 + len(Header.__dataclass_fields__)


def test_a_byte_moved_between_transactions_changes_the_root() -> None:
    roots = [
        transactions_root(SUITE, parts)
        for parts in (
            [b"ab", b"cd"],
            [b"abc", b"d"],
            [b"abcd"],
            [b"ab", b"cd", b"cd"],
            [b"cd", b"ab"],
            [],
            [b""],
        )
    ]
    assert len(set(roots)) == len(roots)


def test_a_body_is_the_one_that_its_header_names() -> None:
    header = replace(
        HEADER,
        transactions_root=transactions_root(SUITE, BLOCK.transactions),
        evidence_hash=SUITE.hash("evidence", encode(())),
        last_commit_hash=SUITE.hash("commit", encode(COMMIT.to_value())),
    )
    block = replace(BLOCK, header=header)
    block.check_body(SUITE)
    for wrong in (
        replace(block, transactions=(b"one",)),
        replace(block, last_commit=None),
        replace(block, header=replace(header, evidence_hash=bytes(32))),
    ):
        with pytest.raises(DecodeError):
            wrong.check_body(SUITE)
