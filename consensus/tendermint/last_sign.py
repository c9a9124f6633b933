"""The last-sign guard: a key never signs two different things for one step, whatever happened to the database.

`keys/last-sign` holds the newest signature: `[chain_id, height, round, step, signed bytes, signature, locked round or
nil, locked block id or nil]` with its SHA-256 in front. It lies beside the key, not under `data/`, and is replaced
atomically and synced before the signature is released. `restore` deletes it. Rules:

- A later step is signed. The same step and the same bytes get the stored signature. Anything else is refused.
- Where the record is missing or damaged, the guard is silent: our key may have signed anything in the heights that
  were open when this process started. It signs nothing until a height that began after the start has been decided.
  Block times tell when that is, so clocks must not be further apart than twice the bound for timely blocks.

Blocking I/O. This is the engine's only module that touches a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consensus.tendermint.errors import SigningRefused
from consensus.tendermint.limits import MAX_PROPOSAL_BYTES
from consensus.tendermint.messages import Proposal, SignedProposal
from consensus.tendermint.rounds import RoundValue, Step
from ledger.codec import decode_array, encode
from ledger.decoding import MAX_ROUND, hash_field, integer, short_text, signature_field
from ledger.errors import DecodeError, StorageError
from ledger.files import replace_file
from ledger.limits import CLOCK_BOUND_MS
from ledger.suite import Signer
from ledger.votes import SignedVote, Vote, VoteType, sign_vote

_MAX_RECORD_BYTES: Final = 4 * 1024
_DIGEST_BYTES: Final = 32

_STEP_OF: Final = {VoteType.PREVOTE: Step.PREVOTE, VoteType.PRECOMMIT: Step.PRECOMMIT}


@dataclass(frozen=True, slots=True)
class LastSign:
    """The guard's record. A key that has never signed has height 0, no bytes and no signature."""

    chain_id: str
    height: int = 0
    round: int = 0
    step: Step = Step.UNSTARTED
    signed_bytes: bytes = b""
    signature: bytes = bytes(64)
    lock: RoundValue | None = None

    @property
    def position(self) -> tuple[int, int, int]:
        """Where it stands among all that a key signs."""
        return self.height, self.round, int(self.step)

    def encode(self) -> bytes:
        """Return the record as the file holds it: SHA-256, then the canonical encoding."""
        content = encode(
            (
                self.chain_id,
                self.height,
                self.round,
                int(self.step),
                self.signed_bytes,
                self.signature,
                None if self.lock is None else self.lock.round,
                None if self.lock is None else self.lock.block_id,
            )
        )
        return hashlib.sha256(content).digest() + content

    @staticmethod
    def decode(data: bytes) -> LastSign:
        """Read what `encode` returned.

        Raises:
            DecodeError: damaged.
        """
        digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            raise DecodeError("last-sign record: checksum differs")
        parts = decode_array(content, 8, max_bytes=_MAX_RECORD_BYTES)
        chain_id, height, round_, step, signed, signature, locked_round, locked_id = parts
        if type(signed) is not bytes or len(signed) > MAX_PROPOSAL_BYTES:
            raise DecodeError("last-sign record: signed bytes")
        lock = None
        if locked_round is not None or locked_id is not None:
            lock = RoundValue(
                integer(locked_round, "locked round", 0, MAX_ROUND), hash_field(locked_id, "lock")
            )
        return LastSign(
            short_text(chain_id, "chain_id"),
            integer(height, "height"),
            integer(round_, "round", 0, MAX_ROUND),
            Step(integer(step, "step", Step.UNSTARTED, Step.PRECOMMIT)),
            signed,
            signature_field(signature),
            lock,
        )


class LastSignGuard:
    """Signs votes and proposals with the consensus key, each step once."""

    def __init__(
        self,
        signer: Signer,
        chain_id: str,
        last: LastSign | None,
        save: Callable[[bytes], None],
        now_ms: int,
    ) -> None:
        """Take the newest record (None: unknown, be silent). `save` makes a record durable, or raises."""
        self._signer = signer
        self._last = last or LastSign(chain_id)
        self._save = save
        self._silent = last is None
        self._started_ms = now_ms
        self._began_after_start: int | None = None

    @staticmethod
    def open(path: Path, signer: Signer, chain_id: str, now_ms: int) -> LastSignGuard:
        """Open the guard's file. A missing or damaged one makes a silent guard: see `may_sign`.

        Raises:
            StorageError: the file cannot be read, or belongs to another chain.
        """
        last: LastSign | None = None
        try:
            last = LastSign.decode(path.read_bytes())
        except (FileNotFoundError, DecodeError):
            pass  # silent
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error}") from error
        if last is not None and last.chain_id != chain_id:
            raise StorageError(f"{path} belongs to chain {last.chain_id}, this is {chain_id}")
        return LastSignGuard(signer, chain_id, last, lambda data: _replace(path, data), now_ms)

    @property
    def may_sign(self) -> bool:
        """False while silent: until a height that began after the start of the process has been decided."""
        return not self._silent

    def sign_vote(self, vote: Vote, lock: RoundValue | None) -> SignedVote:
        """Sign `vote`, or return the stored signature where it is the newest one.

        Raises:
            SigningRefused: silent, or at or before the newest step with other bytes.
            StorageError: the record may not be on disk: stop the process.
        """
        position = (vote.height, vote.round, int(_STEP_OF[vote.type]))
        stored = self._stored_signature(vote.chain_id, position, vote.signed_bytes())
        if stored is not None:
            return SignedVote(vote, stored)
        signed = sign_vote(self._signer, vote)
        self._record(position, vote.signed_bytes(), signed.signature, lock)
        return signed

    def sign_proposal(self, proposal: Proposal, lock: RoundValue | None) -> SignedProposal:
        """Sign `proposal`, or return the stored signature where it is the newest one.

        Raises:
            SigningRefused, StorageError: as `sign_vote`.
        """
        position = (proposal.height, proposal.round, int(Step.PROPOSE))
        message = proposal.signed_bytes()
        signature = self._stored_signature(proposal.chain_id, position, message)
        if signature is None:
            signature = self._signer.sign(message)
            self._record(position, message, signature, lock)
        return SignedProposal(proposal, signature)

    def lock_for(self, height: int) -> RoundValue | None:
        """Return the lock recorded with the newest signature, if that was at `height`."""
        return self._last.lock if self._last.height == height else None

    def note_decided(self, height: int, block_time_ms: int) -> None:
        """Tell of every height committed, in order, by consensus or by sync: it ends the silence."""
        began = self._began_after_start
        if began is not None and height >= began:
            self._silent = False
        elif began is None and block_time_ms > self._started_ms + 2 * CLOCK_BOUND_MS:
            # This block was proposed after our start, so the next height began after it.
            self._began_after_start = height + 1

    def _stored_signature(
        self, chain_id: str, position: tuple[int, int, int], message: bytes
    ) -> bytes | None:
        """Return the signature of the same bytes, or None where a later step may be signed."""
        last = self._last
        if self._silent:
            raise SigningRefused("no record of what this key has signed; waiting for a new height")
        if chain_id != last.chain_id:
            raise SigningRefused(f"chain {chain_id}, the guard's is {last.chain_id}")
        if position == last.position and message == last.signed_bytes:
            return last.signature
        if position <= last.position:
            raise SigningRefused(
                "height {}, round {}, step {}".format(*position)
                + " is not after {}, {}, {}, signed before".format(*last.position)
            )
        return None

    def _record(
        self,
        position: tuple[int, int, int],
        message: bytes,
        signature: bytes,
        lock: RoundValue | None,
    ) -> None:
        height, round, step = position
        last = LastSign(self._last.chain_id, height, round, Step(step), message, signature, lock)
        self._save(last.encode())
        self._last = last


def create_last_sign(path: Path, chain_id: str) -> None:
    """Write the record of a key that has never signed. Call it when the consensus key is made, never later.

    Raises:
        StorageError: the file exists, or cannot be written.
    """
    if path.exists():
        raise StorageError(f"{path} exists: its key may have signed already")
    _replace(path, LastSign(chain_id).encode())


def _replace(path: Path, data: bytes) -> None:
    """Put `data` in the place of the file: written beside it, synced, renamed, and the directory synced.

    Raises:
        StorageError: the outcome is unknown. Stop the process; never try again.
    """
    try:
        replace_file(path, data, temporary=path.with_name(f"{path.name}.new"))
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error}") from error
