"""Checkpoints: sign one's own after each commit, gather those of others, and record the quorum.

A validator signs a checkpoint only after its guard file holds it: whatever happens to the database, its keys never
sign a smaller log or another root. It signs with the keys that the ledger registers for it or not at all: others would
take signatures by any other key for a fault of the link that they come by. Signatures travel outside consensus. Each
is verified before it is merged; what comes for heights not committed here yet waits, a little of it for each peer.

Of one size of the log there is one checkpoint. A validator that signs another root than ours of that size is faulty; if
more do than may be faulty, then it is this node that has diverged. The height that stands beside a note is its sender's
word, which no validator has signed: a note of another size than its height's says something of its sender only.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from ledger.checkpoint_collector import CheckpointCollector
from ledger.checkpoints import Checkpoint, SignedCheckpoint, cosign, sign_checkpoint
from ledger.errors import DecodeError, InvalidProof
from ledger.limits import MAX_VALIDATORS
from ledger.policy import Policy, policy_for
from ledger.suite import Suite
from ledger.validators import Validator, ValidatorSet
from node.errors import InvalidPeerMessage
from node.home import ValidatorSigners
from node.messages import CheckpointSignatures, ProvenCheckpoint
from node.observation import UnsignedCheckpoint
from node.signing_guard import SigningGuard
from node.workers import Worker

MAX_OPEN_HEIGHTS: Final = 16
"""Newest heights whose signatures are gathered at the same time; fewer than views wait for theirs
(`ledger.proven.MAX_WAITING_VIEWS`), so that what is gathered finds its view."""

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
        self.refused: UnsignedCheckpoint | None = None
        """The newest checkpoint, where we must not sign it though the ledger has us as a validator."""

    def sign(self, committed: CommittedCheckpoint) -> SignedCheckpoint | None:
        """Return the checkpoint with our two signatures; None if we must not sign it.

        Raises:
            StorageError: the guard's file may not be on disk: stop the process.
        """
        validator = committed.validators.get(self._name)
        if validator is None:
            self.refused = None
            return None
        other_keys = self._other_keys(validator)
        if other_keys:
            if self.refused is None or self.refused.other_keys != other_keys:
                _log.error(
                    "checkpoint not signed: the ledger registers other keys",
                    height=committed.height,
                    keys=other_keys,
                )
            self.refused = UnsignedCheckpoint(committed.height, other_keys)
            return None
        if not self._guard.admit(committed.checkpoint, committed.time_ms):
            self._report_refusal(committed.height)
            self.refused = UnsignedCheckpoint(committed.height)
            return None
        self.refused = None
        checkpoint = committed.checkpoint
        time_s = committed.time_ms // 1000
        return SignedCheckpoint(
            checkpoint,
            (
                sign_checkpoint(self._suite, self._signers.log, checkpoint),
                cosign(self._suite, self._signers.witness, self._name, checkpoint, time_s),
            ),
        )

    def _other_keys(self, validator: Validator) -> tuple[str, ...]:
        """Return which of the keys that we sign with are not those that the ledger registers."""
        pairs = {
            "log": (validator.log_key, self._signers.log.public_key),
            "witness": (validator.witness_key, self._signers.witness.public_key),
        }
        return tuple(name for name, (registered, ours) in pairs.items() if registered != ours)

    def _report_refusal(self, height: int) -> None:
        if self._guard.is_silent:
            _log.warning(
                "checkpoint not signed: no record of what these keys have signed, waiting for a new block",
                height=height,
            )
        else:
            _log.error("checkpoint not signed: the guard holds another", height=height)


@dataclass(slots=True)
class _Open:
    """A height whose signatures are gathered. `dissenters` says which validators have signed what other checkpoint."""

    collector: CheckpointCollector
    validators: ValidatorSet
    dissenters: dict[str, Checkpoint] = field(default_factory=dict)


class Checkpointing:
    """Gathers signatures for the newest heights. Not thread-safe: it belongs to the event loop."""

    def __init__(
        self,
        suite: Suite,
        chain_id: str,
        signer: CheckpointSigner | None,
        worker: Worker,
        broadcast: Callable[[bytes], None],
        record: Callable[[int, SignedCheckpoint], Awaitable[None]],
    ) -> None:
        """`worker` signs; the guard's file is written there."""
        self._suite = suite
        self._chain_id = chain_id
        self._signer = signer
        self._worker = worker
        self._broadcast = broadcast
        self._record = record
        self._open: OrderedDict[int, _Open] = OrderedDict()
        self._early: dict[str, OrderedDict[int, bytes]] = {}
        self._policies: tuple[ValidatorSet, Policy] | None = None
        self._own: CheckpointSignatures | None = None
        self.proven: ProvenCheckpoint | None = None
        self.is_contradicted = False
        """Whether more validators than may be faulty have signed another checkpoint than ours: we sign none then."""

    async def committed(self, committed: CommittedCheckpoint, *, sign: bool) -> None:
        """Begin gathering for a height that has just been committed; `sign` False while catching up."""
        height = committed.height
        collector = CheckpointCollector(
            self._suite, self._policy(committed.validators), committed.checkpoint
        )
        opened = self._open[height] = _Open(collector, committed.validators)
        while len(self._open) > MAX_OPEN_HEIGHTS:
            self._open.popitem(last=False)
        if sign and self._signer is not None and not self.is_contradicted:
            signed = await self._worker.run(self._signer.sign, committed)
            if signed is not None:
                self._tell_own(opened, height, signed)
        for peer, notes in self._early.items():
            note = notes.pop(height, None)
            if note is not None:
                self._merge_note(opened, peer, note)
            for old in [key for key in notes if key < height]:
                del notes[old]
        await self._finish(height)

    async def received(self, peer: str, message: CheckpointSignatures | ProvenCheckpoint) -> None:
        """Take in signatures from a peer.

        Raises:
            InvalidPeerMessage: not a signed checkpoint, or a bad signature.
        """
        opened = self._open.get(message.height)
        if opened is not None:
            self._merge(opened, _parse(message.note))
            await self._finish(message.height)
        elif not self._open or message.height > next(reversed(self._open)):
            self._compare_with_newest(message.note)
            notes = self._early.setdefault(peer, OrderedDict())
            notes[message.height] = message.note
            while len(notes) > MAX_EARLY_NOTES:
                notes.popitem(last=False)

    @property
    def unsigned_checkpoint(self) -> UnsignedCheckpoint | None:
        """The newest checkpoint, where we must not sign it."""
        return None if self._signer is None else self._signer.refused

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

    def _tell_own(self, opened: _Open, height: int, signed: SignedCheckpoint) -> None:
        """Merge our own signatures and send them; what we ourselves do not take, others would end our links for."""
        try:
            self._merge(opened, signed)
        except InvalidPeerMessage as error:
            _log.error("own checkpoint signature dropped", height=height, reason=str(error))
            return
        self._own = CheckpointSignatures(height, signed.encode())
        self._broadcast(self._own.encode())

    def _merge_note(self, opened: _Open, peer: str, note: bytes) -> None:
        """Merge a note that waited; its sender may be gone, so a bad one is dropped with a word in the log."""
        try:
            self._merge(opened, _parse(note))
        except InvalidPeerMessage as error:
            _log.warning("checkpoint signature dropped", peer=peer, reason=str(error))

    def _merge(self, opened: _Open, signed: SignedCheckpoint) -> None:
        collector = opened.collector
        if signed.checkpoint != collector.checkpoint:
            self._contradict(opened, signed)
            return
        try:
            for signature in signed.signatures:
                collector.add(signature)
        except InvalidProof as error:
            raise InvalidPeerMessage(str(error)) from None

    def _compare_with_newest(self, note: bytes) -> None:
        """Look whether a note for a height to come speaks of a log as long as ours, with another root.

        What else is wrong with it is found when it is merged.
        """
        try:
            signed = _parse(note)
        except InvalidPeerMessage:
            return
        opened = next(reversed(self._open.values()), None)
        if opened is None or signed.checkpoint.size != opened.collector.checkpoint.size:
            return
        if signed.checkpoint != opened.collector.checkpoint:
            self._contradict(opened, signed)

    def _contradict(self, opened: _Open, signed: SignedCheckpoint) -> None:
        """Note which validators have verifiably signed another checkpoint than ours.

        Their links stay: if it is us who are wrong, only they can show it.

        Whoever repeats what is known gets no work done and no line logged. Signatures by keys that are unknown at our
        height count for nothing: validators may have changed.

        Raises:
            InvalidPeerMessage: it is of another size than ours, a signature is forged or none is there, or one of
                those who signed it has signed a third.
        """
        checkpoint, dissenters = signed.checkpoint, opened.dissenters
        size = opened.collector.checkpoint.size
        if checkpoint.size != size:  # true of another height: whoever signed it has done no wrong
            raise InvalidPeerMessage(
                f"a checkpoint of size {checkpoint.size} for a height whose log has size {size}"
            )
        claimed = {
            witness.name
            for witness in self._policy(opened.validators).witnesses
            if any(witness.key.is_named_by(one) for one in signed.signatures)
        }
        if claimed and all(dissenters.get(name) == checkpoint for name in claimed):
            return  # told before
        names = self._cosigners(signed, opened.validators)
        what = f"a checkpoint of size {checkpoint.size} with another root than ours"
        if not names or checkpoint.origin != self._chain_id:
            raise InvalidPeerMessage(f"{what}, signed by no validator")
        if claimed - names:
            raise InvalidPeerMessage(f"{what}, with a forged signature")
        if any(dissenters.setdefault(name, checkpoint) != checkpoint for name in names):
            raise InvalidPeerMessage(f"{what}, signed by one who has signed a third")
        _log.warning("another checkpoint than ours", size=checkpoint.size, names=sorted(names))
        if len(dissenters) > opened.validators.faults_tolerated and not self.is_contradicted:
            self.is_contradicted = True
            _log.critical(
                "this node has diverged: other validators have signed another checkpoint",
                size=checkpoint.size,
                names=sorted(dissenters),
            )

    def _cosigners(self, signed: SignedCheckpoint, validators: ValidatorSet) -> set[str]:
        """Return which validators have cosigned a checkpoint; what is forged or unknown counts for nothing."""
        collector = CheckpointCollector(self._suite, self._policy(validators), signed.checkpoint)
        for signature in signed.signatures:
            with contextlib.suppress(InvalidProof):
                collector.add(signature)
        return {one.name for one in collector.signatures} - {signed.checkpoint.origin}

    async def _finish(self, height: int) -> None:
        """Record the quorum of a height once it is there."""
        opened = self._open.get(height)
        if opened is None or (self.proven is not None and self.proven.height >= height):
            return
        result = opened.collector.result()
        if result is None:
            return
        self.proven = ProvenCheckpoint(height, result.encode())
        await self._record(height, result)


def _parse(note: bytes) -> SignedCheckpoint:
    try:
        return SignedCheckpoint.parse(note, max_signatures=2 * MAX_VALIDATORS)
    except DecodeError as error:
        raise InvalidPeerMessage(f"not a signed checkpoint: {error}") from None
