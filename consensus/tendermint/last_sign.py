"""The last-sign guard: a key never signs two different things for one step, whatever happened to the database.

`keys/last-sign` holds height, round, step, signed bytes, signature, locked round and value of the newest signature.
"""

from __future__ import annotations

from pathlib import Path

from consensus.tendermint.messages import Proposal, SignedProposal
from consensus.tendermint.rounds import RoundValue
from ledger.suite import Signer
from ledger.votes import SignedVote, Vote


def create_last_sign(path: Path, chain_id: str) -> None:
    """Write the record of a key that has never signed. Call it when the consensus key is made, never later.

    Raises:
        StorageError: the file exists, or cannot be written.
    """
    raise NotImplementedError


class LastSignGuard:
    """Signs votes and proposals with the consensus key, each step once. Blocking I/O: one synced write a signature."""

    @staticmethod
    def open(path: Path, signer: Signer, chain_id: str, now_ms: int) -> LastSignGuard:
        """Open the guard. A missing or damaged file makes a silent one: see `may_sign`.

        Raises:
            StorageError: the file cannot be read, or is another chain's.
        """
        raise NotImplementedError

    @property
    def may_sign(self) -> bool:
        """False while silent: until a height that began after the start of the process has been decided."""
        raise NotImplementedError

    def sign_vote(self, vote: Vote, lock: RoundValue | None) -> SignedVote:
        """Sign `vote`, or return the stored signature where it is the newest one.

        Raises:
            SigningRefused: silent, or a step at or before the newest one with other bytes.
            StorageError: the record may not be on disk: stop the process.
        """
        raise NotImplementedError

    def sign_proposal(self, proposal: Proposal, lock: RoundValue | None) -> SignedProposal:
        """Sign `proposal`; as `sign_vote`."""
        raise NotImplementedError

    def lock_for(self, height: int) -> RoundValue | None:
        """Return the lock recorded with the newest signature, if that was at `height`."""
        raise NotImplementedError

    def note_decided(self, height: int, block_time_ms: int) -> None:
        """Tell of every height committed, by consensus or by sync: it ends the silence."""
        raise NotImplementedError
