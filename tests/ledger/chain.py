"""A whole chain for tests: genesis, validators with their keys, and an application over a real store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger.application import Application
from ledger.blocks import Block
from ledger.checkpoint_collector import CheckpointCollector
from ledger.checkpoints import SignedCheckpoint, cosign, sign_checkpoint
from ledger.commits import Commit
from ledger.errors import InvalidOperation
from ledger.evidence import DuplicateVoteEvidence
from ledger.finalization import FinalizedBlock
from ledger.genesis import Genesis
from ledger.keys import SoftwareSigner
from ledger.membership import EnrolledKey, Organisation
from ledger.membership_operations import OPERATIONS as MEMBERSHIP_OPERATIONS
from ledger.operations import (
    Body,
    Context,
    Event,
    OperationTable,
    OperationType,
    operation_table,
)
from ledger.policy import policy_for
from ledger.state import State, state_key
from ledger.store import Store
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Operation, Transaction, sign_transaction
from ledger.uscc import check_character, organisation_check_character
from ledger.validators import Validator
from ledger.votes import SignedVote, Vote, VoteType, sign_vote

START_MS = 1_760_000_000_000
REGIONS = {"beijing": "110000", "hebei": "130000", "national": "000000", "tianjin": "120000"}
MORE_REGIONS = {"shanxi": "140000", "shanghai": "310000", "jiangsu": "320000"}


def signer(label: str) -> SoftwareSigner:
    """Return the same key for the same label, always."""
    return SoftwareSigner.from_secret("ed25519", hashlib.sha256(label.encode()).digest())


def uscc(division: str, number: int = 1) -> str:
    """Return a well-formed USCC of a division."""
    code = f"MB{number:06d}"
    first_17 = f"11{division}{code}{organisation_check_character(code)}"
    return first_17 + check_character(first_17)


@dataclass(frozen=True)
class Member:
    """A validator with its private keys."""

    name: str
    division: str

    @property
    def controller(self) -> str:
        return uscc(self.division)

    @property
    def consensus(self) -> SoftwareSigner:
        return signer(f"consensus {self.name}")

    @property
    def log(self) -> SoftwareSigner:
        return signer(f"log {self.name}")

    @property
    def witness(self) -> SoftwareSigner:
        return signer(f"witness {self.name}")

    @property
    def governor(self) -> SoftwareSigner:
        return signer(f"governor {self.name}")

    @property
    def validator(self) -> Validator:
        return Validator(
            self.name,
            self.controller,
            self.consensus.public_key,
            self.log.public_key,
            self.witness.public_key,
        )


class Note(Body):
    """Sets a note, or fails in one of the ways that operations fail."""

    name: str
    text: str = ""
    fail: str = ""


def write_note(state: State, body: Note, context: Context) -> list[Event]:
    key = state_key("test", "note", body.name)
    state.set(key, {"text": body.text, "by": context.organisation, "time_ms": context.time_ms})
    match body.fail:
        case "refuse":
            raise InvalidOperation("test.note.refused", "as told")
        case "bug":
            raise ZeroDivisionError("as told")
        case "float":
            state.set(key, 0.5)  # type: ignore[arg-type]  # what a handler's bug might do
        case "large":
            state.set(key, "x" * (1024 * 1024))
        case "storage":
            from ledger.errors import StorageError

            raise StorageError("as told")
        case "delete":
            state.delete(key)
    return [Event("test.note.write", {"note": body.name})]


NOTE = OperationType(
    "test.note.write",
    "Set a note.",
    Note,
    write_note,
    frozenset({"editor"}),
    ("test.note.refused",),
)
TABLE = operation_table(MEMBERSHIP_OPERATIONS, (NOTE,))
EDITOR = signer("editor")
READER = signer("reader")


def members(count: int = 4) -> tuple[Member, ...]:
    regions = {**REGIONS, **MORE_REGIONS}
    return tuple(
        sorted((Member(*one) for one in list(regions.items())[:count]), key=lambda m: m.name)
    )


def make_genesis(founders: Sequence[Member] | None = None, **changes: Any) -> Genesis:
    """Return a genesis: an authority with a governor for every region, an editor and a reader in Beijing."""
    regions = {**REGIONS, **MORE_REGIONS}
    organisations = [
        Organisation(
            uscc=uscc(division),
            name=f"{name} platform",
            level="national" if division == "000000" else "municipal",
            division=division,
            parent="" if division == "000000" else uscc("000000"),
            authority=True,
            sealing_key="",
            status="active",
            successor="",
        )
        for name, division in regions.items()
    ]

    def key(organisation: str, *roles: str) -> EnrolledKey:
        return EnrolledKey(organisation, roles, "active", START_MS, None, None)

    keys = {
        str(Member(name, division).governor.public_key): key(
            uscc(division), "governor", "registrar"
        )
        for name, division in regions.items()
    }
    keys[str(EDITOR.public_key)] = key(uscc("110000"), "editor")
    keys[str(READER.public_key)] = key(uscc("110000"), "reader")
    parts: dict[str, Any] = {
        "name": "test",
        "time_ms": START_MS,
        "validators": [member.validator for member in founders or members()],
        "organisations": organisations,
        "keys": keys,
    }
    return Genesis.of(**{**parts, **changes})


@dataclass
class Chain:
    """An application whose validators all agree: it proposes, processes, decides and commits by itself."""

    application: Application
    store: Store
    directory: Path
    members: tuple[Member, ...]
    reported: list[BaseException] = field(default_factory=list)
    nonces: int = 0
    closed: bool = False

    @staticmethod
    def open(
        directory: Path,
        count: int = 4,
        genesis: Genesis | None = None,
        table: OperationTable = TABLE,
    ) -> Chain:
        founders = members(count)
        store = Store.open(directory)
        reported: list[BaseException] = []
        application = Application(
            genesis or make_genesis(founders),
            table,
            store,
            lambda transaction_id, kind, error: reported.append(error),
        )
        if application.info() is None:
            application.init_chain()
        everyone = tuple(Member(*one) for one in sorted({**REGIONS, **MORE_REGIONS}.items()))
        return Chain(application, store, directory, everyone, reported)

    def reopen(self) -> Chain:
        genesis = self.application.genesis
        self.close()
        chain = Chain.open(self.directory, genesis=genesis, table=self.application.operations)
        chain.nonces = self.nonces
        return chain

    def close(self) -> None:
        if not self.closed:
            self.store.close()
            self.closed = True

    @property
    def time_ms(self) -> int:
        return self.application.tip.time_ms + 1000

    def member(self, name: str) -> Member:
        return next(member for member in self.members if member.name == name)

    def transaction(
        self,
        *operations: Operation,
        by: SoftwareSigner = EDITOR,
        valid_for_ms: int = 600_000,
        nonce: int | None = None,
        chain_id: str | None = None,
    ) -> Transaction:
        if nonce is None:
            self.nonces += 1
            nonce = self.nonces
        return sign_transaction(
            SUITE,
            by,
            chain_id or self.application.genesis.chain_id,
            operations,
            valid_until_ms=self.time_ms + valid_for_ms,
            nonce=nonce.to_bytes(16, "big"),
        )

    def note(self, name: str, text: str = "text", fail: str = "", **options: Any) -> Transaction:
        body = {"name": name, "text": text, "fail": fail}
        return self.transaction(Operation("test.note.write", body), **options)

    def vote(self, name: str, block_id: bytes | None, **changes: Any) -> SignedVote:
        parts: dict[str, Any] = {
            "chain_id": self.application.genesis.chain_id,
            "height": self.application.tip.height + 1,
            "round": 0,
            "type": VoteType.PRECOMMIT,
            "block_id": block_id,
            "validator": name,
        }
        return sign_vote(self.member(name).consensus, Vote(**{**parts, **changes}))

    def propose(
        self,
        *transactions: Transaction,
        evidence: Sequence[DuplicateVoteEvidence] = (),
        time_ms: int | None = None,
    ) -> Block:
        tip = self.application.tip
        return self.application.prepare_proposal(
            tip.height + 1,
            time_ms or self.time_ms,
            [transaction.raw for transaction in transactions],
            evidence,
            self.application.history.commit(tip.height),
            tip.validators.proposer(tip.height + 1, 0).name,
        )

    def decide(self, block: Block) -> Commit:
        """Return the commit of the validators of the next height for this block."""
        return Commit.of(
            self.vote(validator.name, block.id(SUITE))
            for validator in self.application.tip.validators
        )

    def commit(self, *transactions: Transaction, **options: Any) -> FinalizedBlock:
        """Take the transactions through one height; all of them must stand in its block."""
        block = self.propose(*transactions, **options)
        assert block.transactions == tuple(one.raw for one in transactions)
        self.application.process_proposal(block)
        finalized = self.application.finalize_block(block)
        self.application.commit(finalized, self.decide(block))
        return finalized

    def checkpoint(self, *names: str, time_s: int | None = None) -> SignedCheckpoint:
        """Return the tip's checkpoint with a quorum of its validators, or those of these names."""
        tip = self.application.tip
        checkpoint = self.application.checkpoint()
        validators = tip.last_validators or tip.validators
        signatures = (
            [sign_checkpoint(SUITE, self.member(names[0]).log, checkpoint)] if names else []
        )
        if names:
            signatures += [
                cosign(SUITE, self.member(n).witness, n, checkpoint, time_s or tip.time_ms // 1000)
                for n in names
            ]
            return SignedCheckpoint(checkpoint, tuple(signatures))
        policy = policy_for(SUITE, validators, self.application.genesis.chain_id)
        collector = CheckpointCollector(SUITE, policy, checkpoint)
        for validator in validators:
            member = self.member(validator.name)
            collector.add(sign_checkpoint(SUITE, member.log, checkpoint))
            time = time_s or tip.time_ms // 1000
            collector.add(cosign(SUITE, member.witness, member.name, checkpoint, time))
        signed = collector.result()
        assert signed is not None
        return signed
