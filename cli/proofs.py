"""Verifying on this machine what a node has answered: no server is trusted."""

from __future__ import annotations

from pathlib import Path

from cli.output import CommandError, ExitCode, time_text
from ledger.entries import TransactionEntry, decode_entry
from ledger.errors import DecodeError, InvalidProof
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519
from ledger.tlog_proof import TlogProof
from ledger.transactions import decode_transaction
from node.client import TransactionView


def load_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        CommandError: missing or malformed.
    """
    try:
        return Policy.parse(SHA256_ED25519, path.read_bytes())
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None
    except DecodeError as error:
        raise CommandError(f"{path} is not a policy file: {error}") from None


def verify_transaction_proof(view: TransactionView, policy: Policy) -> str:
    """Verify that a transaction, with the outcome that the node tells, is in the log; return a sentence on it.

    Raises:
        CommandError: the proof is false or shows something else (exit 1), or there is no quorum (exit 3).
    """
    if view.proof is None or view.entry is None:
        raise CommandError(
            "there is no proof yet", code="not_proven", exit_code=ExitCode.NOT_ESTABLISHED
        )
    suite = SHA256_ED25519
    try:
        proof = TlogProof.parse(view.proof.encode())
        verdict = policy.check(suite, proof.checkpoint)
        if verdict.satisfied:
            proof.verify(suite, policy, view.entry)
        entry = decode_entry(view.entry)
        if not isinstance(entry, TransactionEntry):
            raise InvalidProof("the proof is about another kind of entry")
        if decode_transaction(suite, entry.transaction).id.hex() != view.id:
            raise InvalidProof("the proof is about another transaction")
        if (entry.height, proof.index, entry.code) != (view.height, view.index, view.code):
            raise InvalidProof("the node's answer is not what the proof shows")
    except (DecodeError, InvalidProof) as error:
        raise CommandError(
            f"the node's proof is false: {error}", code="proof_false", exit_code=ExitCode.REFUSED
        ) from None
    if not verdict.satisfied:
        raise CommandError(
            "the checkpoint lacks a quorum of the policy's validators",
            code="no_quorum",
            exit_code=ExitCode.NOT_ESTABLISHED,
        )
    time_ms = None if verdict.time_s is None else verdict.time_s * 1000
    return (
        f"in the log at index {proof.index}, checkpoint of size {proof.checkpoint.checkpoint.size} "
        f"cosigned by {', '.join(verdict.cosigners)} at {time_text(time_ms)}"
    )
