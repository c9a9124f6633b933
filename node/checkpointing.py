"""Checkpoints: sign one's own after each commit, gather those of others, and record the quorum.

A validator signs a checkpoint only after its guard file holds it: whatever happens to the database, its keys never
sign a smaller log or another root. Signatures travel outside consensus. Each is verified before it is merged; what
comes for heights not committed here yet waits, a little of it for each peer.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from ledger.checkpoints import Checkpoint, SignedCheckpoint, cosign, sign_checkpoint
from ledger.errors import DecodeError, InvalidProof
from ledger.limits import MAX_VALIDATORS
from ledger.policy import CheckpointCollector, Policy, policy_for
from ledger.suite import Suite
from ledger.validators import ValidatorSet
from node.errors import InvalidPeerMessage
from node.home import ValidatorSigners
from node.messages import CheckpointSignatures, ProvenCheckpoint
from node.signing_guard import SigningGuard

MAX_OPEN_HEIGHTS: Final = 16
"""Newest heights whose signatures are gathered at the same time."""

MAX_EARLY_NOTES: Final = 16
"""Notes for heights not committed here yet that are kept, for each peer."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CommittedCheckpoint:
    """The checkpoint after a committed height, and the validators of that height, who sign it."""

    height: int
    time_ms: int
    checkpoint: Checkpoint
    validators: ValidatorSet


class CheckpointSigner:
    """A validator's part: its log signature and cosignature of a checkpoint, under the guard. Blocking I/O."""

    def __init__(
        self, suite: Suite, name: str, signers: ValidatorSigners, guard: SigningGuard
    ) -> None:
        self._suite = suite
        self._name = name
        self._signers = signers
        self._guard = guard
        self.refused_height: int | None = None
        """Height of the newest checkpoint, where the guard forbade to sign it."""

    def sign(self, committed: CommittedCheckpoint) -> SignedCheckpoint | None:
        """Return the checkpoint with our two signatures; None if we must not sign it.

        Raises:
            StorageError: the guard's file may not be on disk: stop the process.
        """
        validator = committed.validators.get(self._name)
        if validator is None or validator.witness_key != self._signers.witness.public_key:
            return None
        if not self._guard.admit(committed.checkpoint, committed.time_ms):
            self._report_refusal(committed.height)
            self.refused_height = committed.height
            return None
        self.refused_height = None
        checkpoint = committed.checkpoint
        time_s = committed.time_ms // 1000
        return SignedCheckpoint(
            checkpoint,
            (
                sign_checkpoint(self._suite, self._signers.log, checkpoint),
                cosign(self._suite, self._signers.witness, self._name, checkpoint, time_s),
            ),
        )

    def _report_refusal(self, height: int) -> None:
        if self._guard.is_silent:
            _log.warning(
                "checkpoint not signed: no record of what these keys have signed, waiting for a new block",
                height=height,
            )
        else:
            _log.error("checkpoint not signed: the guard holds another", height=height)


class Checkpointing:
    """Gathers signatures for the newest heights. Not thread-safe: it belongs to the event loop."""

    def __init__(
        self,
        suite: Suite,
        chain_id: str,
        signer: CheckpointSigner | None,
        broadcast: Callable[[bytes], None],
        record: Callable[[int, SignedCheckpoint], Awaitable[None]],
    ) -> None:
        self._suite = suite
        self._chain_id = chain_id
        self._signer = signer
        self._broadcast = broadcast
        self._record = record
        self._collectors: OrderedDict[int, CheckpointCollector] = OrderedDict()
        self._early: dict[str, OrderedDict[int, bytes]] = {}
        self._policies: tuple[ValidatorSet, Policy] | None = None
        self._own: CheckpointSignatures | None = None
        self.proven: ProvenCheckpoint | None = None

    async def committed(self, committed: CommittedCheckpoint, *, sign: bool) -> None:
        """Begin gathering for a height that has just been committed; `sign` False while catching up."""
        height = committed.height
        collector = CheckpointCollector(
            self._suite, self._policy(committed.validators), committed.checkpoint
        )
        self._collectors[height] = collector
        while len(self._collectors) > MAX_OPEN_HEIGHTS:
            self._collectors.popitem(last=False)
        if sign and self._signer is not None:
            signed = await asyncio.to_thread(self._signer.sign, committed)
            if signed is not None:
                self._own = CheckpointSignatures(height, signed.encode())
                self._broadcast(self._own.encode())
                self._merge(collector, signed)
        for peer, notes in self._early.items():
            note = notes.pop(height, None)
            if note is not None:
                self._merge_note(collector, peer, note)
            for old in [key for key in notes if key < height]:
                del notes[old]
        await self._finish(height)

    async def received(self, peer: str, message: CheckpointSignatures | ProvenCheckpoint) -> None:
        """Take in signatures from a peer.

        Raises:
            InvalidPeerMessage: not a signed checkpoint, or a bad signature.
        """
        collector = self._collectors.get(message.height)
        if collector is not None:
            self._merge(collector, _parse(message.note))
            await self._finish(message.height)
        elif not self._collectors or message.height > next(reversed(self._collectors)):
            notes = self._early.setdefault(peer, OrderedDict())
            notes[message.height] = message.note
            while len(notes) > MAX_EARLY_NOTES:
                notes.popitem(last=False)

    @property
    def unsigned_height(self) -> int | None:
        """Height of the newest checkpoint, where our guard forbade to sign it."""
        return None if self._signer is None else self._signer.refused_height

    def forget_peer(self, peer: str) -> None:
        """Drop what waits from a peer whose link has ended."""
        self._early.pop(peer, None)

    def greeting(self) -> list[bytes]:
        """Return the frames that bring a new link up to date."""
        return [message.encode() for message in (self.proven, self._own) if message is not None]

    def resume(self, height: int, signed: SignedCheckpoint) -> None:
        """Remember the newest recorded checkpoint after a start."""
        self.proven = ProvenCheckpoint(height, signed.encode())

    def _policy(self, validators: ValidatorSet) -> Policy:
        if self._policies is None or self._policies[0] != validators:
            self._policies = (validators, policy_for(self._suite, validators, self._chain_id))
        return self._policies[1]

    def _merge_note(self, collector: CheckpointCollector, peer: str, note: bytes) -> None:
        """Merge a note that waited; its sender may be gone, so a bad one is dropped with a word in the log."""
        try:
            self._merge(collector, _parse(note))
        except InvalidPeerMessage as error:
            _log.warning("checkpoint signature dropped", peer=peer, reason=str(error))

    def _merge(self, collector: CheckpointCollector, signed: SignedCheckpoint) -> None:
        if signed.checkpoint != collector.checkpoint:
            raise InvalidPeerMessage(
                f"a checkpoint of size {signed.checkpoint.size} with another root than ours"
            )
        try:
            for signature in signed.signatures:
                collector.add(signature)
        except InvalidProof as error:
            raise InvalidPeerMessage(str(error)) from None

    async def _finish(self, height: int) -> None:
        """Record the quorum of a height once it is there."""
        collector = self._collectors.get(height)
        if collector is None or (self.proven is not None and self.proven.height >= height):
            return
        result = collector.result()
        if result is None:
            return
        self.proven = ProvenCheckpoint(height, result.encode())
        await self._record(height, result)


def _parse(note: bytes) -> SignedCheckpoint:
    try:
        return SignedCheckpoint.parse(note, max_signatures=2 * MAX_VALIDATORS)
    except DecodeError as error:
        raise InvalidPeerMessage(f"not a signed checkpoint: {error}") from None
