"""The vectors in docs/FORMATS.md are what this code makes: a change of any format shows here."""

from __future__ import annotations

import re
from pathlib import Path

from ledger.blocks import Header, transactions_root
from ledger.commits import Commit, commit_hash
from ledger.entries import BlockEntry, EvidenceEntry, GenesisEntry, TransactionEntry
from ledger.evidence import DuplicateVoteEvidence, evidence_hash
from ledger.merkle import leaf_hash
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.suite import signed_bytes
from ledger.transactions import Operation, sign_transaction
from ledger.votes import Vote, VoteType, sign_vote
from tests.ledger.chain import EDITOR, make_genesis, members

FORMATS = Path(__file__).parents[2] / "docs" / "FORMATS.md"


def vectors() -> dict[str, str]:
    """Return name and hex of each vector, made from the sample genesis and its keys."""
    genesis = make_genesis()
    chain_id = genesis.chain_id
    transaction = sign_transaction(
        SUITE,
        EDITOR,
        chain_id,
        [Operation("test.note.write", {"name": "a", "text": "目录"})],
        valid_until_ms=1_760_000_600_000,
        nonce=bytes(range(16)),
    )
    beijing = members()[0]

    def vote(block_id: bytes | None) -> Vote:
        return Vote(chain_id, 1, 0, VoteType.PRECOMMIT, block_id, "beijing")

    signed = [sign_vote(beijing.consensus, vote(block_id)) for block_id in (None, b"\x01" * 32)]
    commit = Commit.of(signed[1:])
    evidence = DuplicateVoteEvidence.of(*signed)
    validators_hash = genesis.validators.hash(SUITE)
    header = Header(
        1,
        chain_id,
        2,
        1_760_000_001_000,
        b"\x01" * 32,
        commit_hash(SUITE, commit),
        transactions_root(SUITE, [transaction.raw]),
        validators_hash,
        validators_hash,
        b"\x02" * 32,
        evidence_hash(SUITE, (evidence,)),
        "beijing",
    )
    entries = {
        "genesis": GenesisEntry(genesis.hash, b"\x03" * 32, validators_hash),
        "transaction": TransactionEntry(2, 0, "", None, transaction.raw),
        "failed transaction": TransactionEntry(2, 0, "internal", 0, transaction.raw),
        "evidence": EvidenceEntry(2, 0, "duplicate_vote", "beijing", 1),
        "block": BlockEntry(
            2,
            header.time_ms,
            header.id(SUITE),
            "beijing",
            validators_hash,
            validators_hash,
            b"\x04" * 32,
            1,
        ),
    }
    return {
        "genesis hash": genesis.hash.hex(),
        "validators hash": validators_hash.hex(),
        "transaction": transaction.raw.hex(),
        "transaction id": transaction.id.hex(),
        "vote, signed bytes": signed_bytes("vote", vote(b"\x01" * 32).encode()).hex(),
        "commit hash": commit_hash(SUITE, commit).hex(),
        "commit hash of none": commit_hash(SUITE, None).hex(),
        "evidence hash": evidence_hash(SUITE, (evidence,)).hex(),
        "evidence hash of none": evidence_hash(SUITE, ()).hex(),
        "transactions root": header.transactions_root.hex(),
        "header": header.encode().hex(),
        "block id": header.id(SUITE).hex(),
        **{
            f"leaf hash, {name} entry": leaf_hash(SUITE, entry.encode()).hex()
            for name, entry in entries.items()
        },
    }


def test_the_documented_vectors_are_what_this_code_makes() -> None:
    block = re.search(r"```vectors\n(.*?)```", FORMATS.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    documented = {}
    for line in re.sub(r"\n +", "", block[1]).strip().split("\n"):
        name, value = line.split(" = ")
        documented[name] = value
    assert documented == vectors()
