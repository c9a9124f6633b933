"""`python -m tests.faults.node_under_test <home>`: the real node, with a witness of all that its keys sign.

Whatever guard and checkpoint signer release is first appended to the file that SIGNATURES names, one JSON line each:
the key, the place (height, round and step; or a checkpoint's size) and the SHA-256 of what was signed. The file lies
outside everything that faults are injected into: double signing shows however often the process was killed.

CRASH_ORDER names the file in which a test orders the process to die at a point; see `crash_points`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from consensus.tendermint.last_sign import LastSignGuard
from ledger.suite import Signer
from ledger.votes import SignedVote, Vote, VoteType
from node.checkpointing import CheckpointSigner
from node.cometbft.program import supervised_home
from node.cometbft.supervisor import SET_ASIDE, SUPERVISED, supervise
from node.main import run_node
from tests.faults import crash_points

MODULE = "tests.faults.node_under_test"
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


def main(arguments: list[str]) -> int:
    """Run the node of a home, with the options of `python -m node`."""
    options, home = arguments[:-1], Path(arguments[-1])
    wanted = None if options else supervised_home(home)
    if wanted is not None:
        return supervise(home, wanted, module=MODULE)
    witness_signatures(Witness(Path(os.environ["SIGNATURES"])))
    if "CRASH_ORDER" in os.environ:
        crash_points.arm(Path(os.environ["CRASH_ORDER"]))
    return run_node(home, supervised=SUPERVISED in options, set_aside=SET_ASIDE in options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
