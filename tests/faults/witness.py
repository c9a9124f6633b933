"""A witness of all that a node's keys sign; see `node_under_test`."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from consensus.tendermint.last_sign import LastSignGuard
from ledger.suite import Signer
from ledger.votes import SignedVote, Vote, VoteType
from node.checkpointing import CheckpointSigner

STEPS = {VoteType.PREVOTE: "prevote", VoteType.PRECOMMIT: "precommit"}


class Witness:
    """Appends what is signed; a line is one write, so that a kill leaves whole lines."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, key: Signer, place: tuple[object, ...], signed: bytes) -> None:
        digest = hashlib.sha256(signed).hexdigest()
        line = json.dumps({"key": str(key.public_key), "place": place, "signed": digest})
        os.write(self._descriptor, line.encode() + b"\n")


def witness_signatures(witness: Witness) -> None:
    """Let a witness see each signature before the node gets it."""
    guard: Any = LastSignGuard
    sign_vote, sign_proposal = guard.sign_vote, guard.sign_proposal
    signer: Any = CheckpointSigner
    sign_checkpoint = signer.sign

    def vote(self: Any, vote: Vote, lock: Any) -> SignedVote:
        signed: SignedVote = sign_vote(self, vote, lock)
        place = (vote.height, vote.round, STEPS[vote.type])
        witness.note(self._signer, place, vote.signed_bytes())
        return signed

    def proposal(self: Any, proposal: Any, lock: Any) -> Any:
        signed = sign_proposal(self, proposal, lock)
        place = (proposal.height, proposal.round, "proposal")
        witness.note(self._signer, place, proposal.signed_bytes())
        return signed

    def checkpoint(self: Any, committed: Any) -> Any:
        signed = sign_checkpoint(self, committed)
        if signed is not None:
            place = ("checkpoint", committed.checkpoint.size)
            witness.note(self._signers.log, place, committed.checkpoint.root)
        return signed

    guard.sign_vote, guard.sign_proposal, signer.sign = vote, proposal, checkpoint
