"""Verifying on this machine what a node has answered: no server is trusted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cli.output import CommandError, ExitCode, time_text
from cli.validation import now_ms, read_bytes
from ledger.bundle import Bundle
from ledger.codec import Value
from ledger.entries import TransactionEntry, decode_entry
from ledger.errors import DecodeError, InvalidProof
from ledger.light import TrustedView, require_network
from ledger.policy import MAX_POLICY_BYTES, NO_QUORUM, Policy
from ledger.suite import SHA256_ED25519
from ledger.tlog_proof import TlogProof
from ledger.transactions import decode_transaction
from node.answers import TransactionView
from node.client import NodeClient


def load_policy(path: Path) -> Policy:
    """Read a policy file. One that asks for no quorum establishes nothing: a log signature is one validator's word.

    Raises:
        CommandError: missing or malformed (exit 2), or without a quorum (exit 3).
    """
    data = read_bytes(path, MAX_POLICY_BYTES)
    lines = [line.split() for line in data.splitlines()]
    states_quorum = any(line[:1] == [b"quorum"] for line in lines)
    try:
        policy = Policy.parse(
            SHA256_ED25519, data if states_quorum else data.rstrip() + b"\nquorum none\n"
        )
    except DecodeError as error:
        raise CommandError(f"{path} is not a policy file: {error}") from None
    if policy.quorum == NO_QUORUM:
        raise CommandError(
            f"{path} asks for no quorum of validators, so nothing can be established",
            hint="Use the network's policy.txt, or get one: GET /v1/policy of a member that you trust.",
            code="no_quorum",
            exit_code=ExitCode.NOT_ESTABLISHED,
        )
    return policy


def require_policy(path: Path | None) -> Policy:
    """Return the policy that a command needs to believe anything.

    Raises:
        CommandError: none is named (exit 3), or as `load_policy`.
    """
    if path is None:
        raise CommandError(
            "no policy: whom do you trust?",
            hint="Give --policy FILE, set MULU_POLICY, or use a profile with one.",
            code="no_policy",
            exit_code=ExitCode.NOT_ESTABLISHED,
        )
    return load_policy(path)


class ProvedState:
    """The ledger's state now, read through a node that nobody needs to trust: each value is proved, and kept.

    Values that are known already, from a verified bundle, are not asked for. With `fresh` off, what a node shows may
    be of any age.
    """

    def __init__(
        self,
        client: NodeClient,
        policy: Policy,
        known: Mapping[str, Value | None] | None = None,
        *,
        fresh: bool = True,
    ) -> None:
        self._client = client
        self._policy = policy
        self._fresh = fresh
        self._known = dict(known or {})

    def get(self, key: str) -> Value | None:
        """Return the value at a key, None where the ledger has none.

        Raises:
            InvalidProof: the node's evidence is false, or about something else.
            NotEstablishedError: no quorum vouches for it, or it is too old.
        """
        if key not in self._known:
            view = TrustedView(SHA256_ED25519, self._policy)
            data = self._client.state_evidence(key)
            state = view.verify_bundle(Bundle.decode(SHA256_ED25519, data)).state(key)
            if state is None:
                raise InvalidProof(f"the node's evidence says nothing of {key}")
            if self._fresh:
                view.require_current(state, now_ms())
            self._known[key] = state.value
        return self._known[key]


def verify_transaction_proof(view: TransactionView, policy: Policy) -> str:
    """Verify that a transaction, with the outcome that the node tells, is in the log; return a sentence on it.

    Raises:
        CommandError: the proof is false or shows something else (exit 1), or there is no quorum (exit 3).
        NotEstablishedError: it is of another network than the policy.
    """
    if view.proof is None or view.entry is None:
        raise CommandError(
            "there is no proof yet", code="not_proven", exit_code=ExitCode.NOT_ESTABLISHED
        )
    suite = SHA256_ED25519
    try:
        proof = TlogProof.parse(view.proof.encode())
        require_network(proof.checkpoint.checkpoint, {log.key.name for log in policy.logs})
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
            f"the node's proof is false: {error}",
            hint="Ask another node.",
            code="proof_false",
            exit_code=ExitCode.REFUSED,
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
