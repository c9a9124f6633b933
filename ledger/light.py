"""The light verifier: from a policy that one trusts to entries and states that one may believe. Bytes in, no I/O.

`TrustedView` starts from a policy – the trust anchor – and believes nothing that does not lead to a checkpoint which
the policy's quorum has cosigned. It follows changes of validators: a block entry that names another next set, last in
a checkpoint that the old set cosigned, makes the new set the one that is asked.

Rules:
- A checkpoint after height H is cosigned by the set of H. The entry that announces a new set is the last one that the
  old set cosigns, so the new set's checkpoints are larger.
- A state is *current* only under the block entry that is last in its checkpoint; under an earlier block entry it is
  a past state, however fresh the checkpoint. (Each block that changes anything ends in its block entry.)
- What time it is shown for: a current state, for the time that a quorum of cosigners vouches for; a past one, for its
  block's time.
- The keys of validators that have left could still sign another continuation. So what holds *now* is not
  established under an anchor that is too old, whatever the signatures say.

`InvalidProof` means that evidence is false; `NotEstablishedError` that it may be true, but does not show enough.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ledger.bundle import Bundle, EntryEvidence, StateEvidence, ValidatorChange
from ledger.checkpoints import Checkpoint, SignedCheckpoint
from ledger.codec import Value, decode
from ledger.entries import BlockEntry, Entry, GenesisEntry, decode_entry
from ledger.errors import InvalidPolicy, InvalidProof, LedgerError
from ledger.limits import CHECKPOINT_FRESH_MS, CLOCK_BOUND_MS
from ledger.policy import AsOf, Policy, PolicyVerdict, policy_for
from ledger.suite import Suite
from ledger.tlog_proof import verify_entry

MAX_KNOWN_CHECKPOINTS: Final = 256
"""Verified checkpoints that a verifier remembers, some kilobytes each: bundles fetched together rest on few."""

DEFAULT_MAX_ANCHOR_AGE_MS: Final = 90 * 24 * 3_600_000
"""Validators that leave destroy their keys; how long that may take to be relied upon is the verifier's choice."""


class NotEstablishedError(LedgerError):
    """The evidence does not show enough.

    `code` is one of other_network, no_quorum, no_anchor, validators_changed, anchor_too_old, stale, not_current,
    future.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A checkpoint that satisfies the policy. `time_ms` is what a quorum vouches for, None if it needs none."""

    checkpoint: Checkpoint
    cosigners: tuple[str, ...]
    time_ms: int | None


@dataclass(frozen=True, slots=True)
class VerifiedEntry:
    """A log entry that is in the log."""

    entry: Entry
    encoding: bytes
    index: int
    checkpoint: VerifiedCheckpoint


@dataclass(frozen=True, slots=True)
class VerifiedState:
    """A state value that held after block `height`; None where the key had none.

    `is_current`: nothing was committed between that block and the checkpoint. `as_of_ms` is the latest time for which
    the value is shown to hold.
    """

    key: str
    value: Value | None
    height: int
    block_time_ms: int
    is_current: bool
    as_of_ms: int
    checkpoint: VerifiedCheckpoint


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """All evidence of a bundle, verified. Subject and attachments are claims: the ledger does not prove them."""

    subject: str
    entries: tuple[VerifiedEntry, ...]
    states: tuple[VerifiedState, ...]
    attachments: tuple[tuple[str, bytes], ...]
    checkpoint: VerifiedCheckpoint

    def state(self, key: str) -> VerifiedState | None:
        """Return the verified state of that key, or None if the bundle says nothing of it."""
        return next((state for state in self.states if state.key == key), None)


class TrustedView:
    """What a verifier trusts, starting from its policy and moved on by changes of validators only."""

    def __init__(self, suite: Suite, policy: Policy) -> None:
        """Start from a policy.

        Raises:
            InvalidPolicy: it names no log, or several origins, so no one chain is meant.
        """
        origins = {log.key.name for log in policy.logs}
        if len(origins) != 1:
            raise InvalidPolicy("the policy must name the logs of exactly one chain")
        self.chain_id: Final = origins.pop()
        self.anchor: Final = policy.as_of
        self._suite = suite
        self._start: Final = policy
        self._policy = policy
        self._validators_hash = None if policy.as_of is None else policy.as_of.validators_hash
        self._set_size = 0  # the log's size at the change to the present set
        # A set's hash covers its names and keys, so it stands for the policy made from it; None for the anchor's own.
        self._changed_to: bytes | None = None
        self._known: dict[tuple[bytes | None, SignedCheckpoint], VerifiedCheckpoint] = {}

    def restarted(self) -> TrustedView:
        """Return a view at the anchor that this one started from. They share what they know of checkpoints, so that
        the signatures under many bundles of one checkpoint are verified once."""
        view = TrustedView(self._suite, self._start)
        view._known = self._known
        return view

    @property
    def policy(self) -> Policy:
        """The policy of the present validator set."""
        return self._policy

    @property
    def validators_hash(self) -> bytes | None:
        """The hash of the present validator set; None if the policy does not say."""
        return self._validators_hash

    def verify_checkpoint(self, signed: SignedCheckpoint) -> VerifiedCheckpoint:
        """Verify that the present validator set vouches for a checkpoint.

        Raises:
            InvalidProof: from before the present set, or a bad signature.
            NotEstablishedError: `other_network`: of another chain than the policy, so nothing is shown to be false;
                `no_quorum`: not signed by a log and cosigned by a quorum.
        """
        checkpoint = signed.checkpoint
        require_network(checkpoint, (self.chain_id,))
        if checkpoint.size <= self._set_size:
            raise InvalidProof("checkpoint from before the change to the set that cosigned it")
        key = (self._changed_to, signed)
        known = self._known.pop(key, None)
        if known is not None:
            self._known[key] = known  # the last one again: the one not asked for longest goes first
            return known
        verdict = self._policy.check(self._suite, signed)
        if not verdict.satisfied:
            raise NotEstablishedError("no_quorum", _lack_of_quorum(verdict, self._policy))
        time_ms = None if verdict.time_s is None else verdict.time_s * 1000
        verified = VerifiedCheckpoint(checkpoint, verdict.cosigners, time_ms)
        if len(self._known) >= MAX_KNOWN_CHECKPOINTS:
            del self._known[next(iter(self._known))]
        self._known[key] = verified
        return verified

    def advance(self, change: ValidatorChange) -> None:
        """Follow a change of validators: from now on the new set is asked. On an error nothing has changed.

        Raises:
            InvalidProof: the evidence is false, or not of a change of the present set.
            NotEstablishedError: as `verify_checkpoint`, or `no_anchor`: the policy does not name its validators' hash.
        """
        if self._validators_hash is None:
            raise NotEstablishedError(
                "no_anchor",
                "the policy has no as-of line, so changes of validators cannot be followed",
            )
        verified = self.verify_entry(change.block)
        block, size = verified.entry, verified.checkpoint.checkpoint.size
        if not isinstance(block, BlockEntry):
            raise InvalidProof("validators change by a block entry")
        if block.validators_hash != self._validators_hash:
            raise InvalidProof("change of another validator set than the present one")
        if block.next_validators_hash == block.validators_hash:
            raise InvalidProof("the block entry does not change the validators")
        if verified.index != size - 1:
            raise InvalidProof("entries follow the change, yet the old set cosigned them")
        if change.validators.hash(self._suite) != block.next_validators_hash:
            raise InvalidProof("the validators listed are not those that the block entry names")
        self._policy = policy_for(self._suite, change.validators, self.chain_id, self.anchor)
        self._validators_hash = self._changed_to = block.next_validators_hash
        self._set_size = size

    def follow(self, changes: Sequence[ValidatorChange], size: int) -> None:
        """Follow the changes of validators that lie before a log of `size`: those who vouch for it are asked then.

        They stand oldest first; those that the anchor already includes are passed over.

        Raises:
            DecodeError: an entry is malformed.
            InvalidProof, NotEstablishedError: as `advance`.
        """
        for change in self._changes_ahead(changes):
            if change.block.checkpoint.checkpoint.size >= size:
                return
            self.advance(change)

    def verify_entry(self, evidence: EntryEvidence) -> VerifiedEntry:
        """Verify that an entry is in the log.

        Raises:
            DecodeError: the entry is of no known kind.
            InvalidProof: the evidence is false.
            NotEstablishedError: as `verify_checkpoint`, or `validators_changed`: by a set that is not shown.
        """
        checkpoint = self.verify_checkpoint(evidence.checkpoint)
        tree = checkpoint.checkpoint
        verify_entry(
            self._suite, evidence.entry, evidence.index, evidence.inclusion, evidence.checkpoint
        )
        entry = decode_entry(evidence.entry)
        if (
            isinstance(entry, BlockEntry)
            and evidence.index == tree.size - 1
            and self._validators_hash not in (None, entry.validators_hash)
        ):
            raise NotEstablishedError(
                "validators_changed",
                "the newest block was decided by other validators than the policy names, and the "
                "evidence does not show the change",
            )
        return VerifiedEntry(entry, evidence.entry, evidence.index, checkpoint)

    def verify_state(self, evidence: StateEvidence) -> VerifiedState:
        """Verify a state value, or that a key has none.

        Raises:
            DecodeError: entry or value is malformed.
            InvalidProof: the evidence is false.
            NotEstablishedError: as `verify_checkpoint`, or `validators_changed`: by a set that is not shown.
        """
        return self._verify_state(evidence, self.verify_entry(evidence.block))

    def _verify_state(self, evidence: StateEvidence, verified: VerifiedEntry) -> VerifiedState:
        block, checkpoint = verified.entry, verified.checkpoint
        if isinstance(block, BlockEntry):
            height, time_ms = block.height, block.time_ms
        elif isinstance(
            block, GenesisEntry
        ):  # before the first block entry; its time is not in the log
            height, time_ms = 0, 0
        else:
            raise InvalidProof("a state is proved under a block entry or genesis")
        evidence.proof.verify(self._suite, block.state_root, evidence.key, evidence.value)
        value = None if evidence.value is None else decode(evidence.value)
        is_current = verified.index == checkpoint.checkpoint.size - 1
        vouched_ms = checkpoint.time_ms if is_current and checkpoint.time_ms is not None else 0
        return VerifiedState(
            evidence.key,
            value,
            height,
            time_ms,
            is_current,
            max(time_ms, vouched_ms),
            checkpoint,
        )

    def verify_bundle(self, bundle: Bundle) -> VerifiedBundle:
        """Follow the bundle's changes of validators from the present set on, then verify all its evidence.

        Changes that the anchor already includes are passed over.

        Raises:
            DecodeError: an entry or value is malformed.
            InvalidProof: the evidence is false.
            NotEstablishedError: `other_network`, `no_quorum`, `no_anchor` or `validators_changed`.
        """
        for change in self._changes_ahead(bundle.changes):
            self.advance(change)
        checkpoint = self.verify_checkpoint(bundle.checkpoint)
        entries = {entry.index: self.verify_entry(entry) for entry in bundle.entries}
        states = tuple(
            self._verify_state(state, entries[state.block.index]) for state in bundle.states
        )
        return VerifiedBundle(
            bundle.subject, tuple(entries.values()), states, bundle.attachments, checkpoint
        )

    def _changes_ahead(self, changes: Sequence[ValidatorChange]) -> Sequence[ValidatorChange]:
        """Return the changes from the first that starts at the present set; those before must lie before the anchor."""
        known_size = max(self._set_size, 0 if self.anchor is None else self.anchor.size)
        for number, change in enumerate(changes):
            block = decode_entry(change.block.entry)
            starts_here = (
                isinstance(block, BlockEntry) and block.validators_hash == self._validators_hash
            )
            if starts_here or change.block.index >= known_size:
                return changes[number:]
        return ()

    def renewed(
        self,
        changes: Sequence[ValidatorChange],
        signed: SignedCheckpoint,
        now_ms: int,
        *,
        max_anchor_age_ms: int = DEFAULT_MAX_ANCHOR_AGE_MS,
    ) -> Policy:
        """Follow changes of validators up to a fresh checkpoint; return the policy as of that: a newer anchor.

        Under the checkpoint of a change itself that is still the policy of the old set, and the change comes next.
        An anchor that is too old vouches for no other: retired keys could have signed the changes.

        Raises:
            DecodeError: an entry is malformed.
            InvalidProof: the evidence is false, or the checkpoint from before the anchor.
            NotEstablishedError: as `advance` and `require_fresh`.
        """
        self.follow(changes, signed.checkpoint.size)
        verified = self.verify_checkpoint(signed)
        if verified.time_ms is None:
            raise NotEstablishedError("no_quorum", "the policy asks for no quorum of validators")
        self.require_fresh(verified.time_ms, now_ms, max_anchor_age_ms=max_anchor_age_ms)
        assert self.anchor is not None and self._validators_hash is not None, "else it is not fresh"
        size = verified.checkpoint.size
        if size < self.anchor.size:
            raise InvalidProof("checkpoint from before the policy")
        return replace(
            self._policy, as_of=AsOf(verified.time_ms // 1000, size, self._validators_hash)
        )

    def require_current(
        self,
        state: VerifiedState,
        now_ms: int,
        *,
        fresh_ms: int = CHECKPOINT_FRESH_MS,
        max_anchor_age_ms: int = DEFAULT_MAX_ANCHOR_AGE_MS,
    ) -> None:
        """Check that a verified state may be called what holds now.

        Raises:
            NotEstablishedError: `not_current`: a past state; otherwise as `require_fresh`.
        """
        if not state.is_current:
            raise NotEstablishedError(
                "not_current", f"{state.key} is shown for block {state.height}, not for the newest"
            )
        self.require_fresh(
            state.as_of_ms, now_ms, fresh_ms=fresh_ms, max_anchor_age_ms=max_anchor_age_ms
        )

    def require_fresh(
        self,
        as_of_ms: int,
        now_ms: int,
        *,
        fresh_ms: int = CHECKPOINT_FRESH_MS,
        max_anchor_age_ms: int = DEFAULT_MAX_ANCHOR_AGE_MS,
    ) -> None:
        """Check that something shown for `as_of_ms` may be called present at `now_ms`.

        Raises:
            NotEstablishedError: `no_anchor`, `anchor_too_old`, `stale`, or `future`: the clocks disagree.
        """
        if self.anchor is None:
            raise NotEstablishedError(
                "no_anchor", "the policy has no as-of line, so its age is unknown"
            )
        anchor_age_ms = now_ms - self.anchor.time_s * 1000
        if anchor_age_ms > max_anchor_age_ms:
            raise NotEstablishedError(
                "anchor_too_old",
                f"the policy is {anchor_age_ms // 86_400_000} days old; get a newer one",
            )
        if as_of_ms > now_ms + CLOCK_BOUND_MS:
            raise NotEstablishedError("future", "the checkpoint is newer than this machine's clock")
        if now_ms - as_of_ms > fresh_ms:
            raise NotEstablishedError(
                "stale", f"the newest checkpoint is {(now_ms - as_of_ms) // 1000} seconds old"
            )


def _lack_of_quorum(verdict: PolicyVerdict, policy: Policy) -> str:
    cosigners, known = len(verdict.cosigners), len(policy.witnesses)
    unsigned = (
        "" if verdict.log_signature else ", and it has no log signature by a key of the policy"
    )
    return f"{cosigners} of {known} known validators have cosigned the checkpoint{unsigned}"


def require_network(checkpoint: Checkpoint, origins: Collection[str]) -> None:
    """Check that a checkpoint is of the network that a policy is of, whose logs have these origins.

    Raises:
        NotEstablishedError: `other_network`: of another one, so that nothing is shown to be false.
    """
    if checkpoint.origin not in origins:
        trusted = ", ".join(repr(origin) for origin in sorted(origins))
        raise NotEstablishedError(
            "other_network",
            f"the evidence is of {checkpoint.origin!r}, the policy of {trusted}: is this "
            "the policy of that network?",
        )


def open_bundle(suite: Suite, policy: Policy, data: bytes) -> tuple[TrustedView, VerifiedBundle]:
    """Read and verify a bundle file under a policy; return what it shows and the view that it was verified in.

    Raises:
        DecodeError: not a bundle, damaged, or a part is malformed.
        InvalidProof: the evidence is false.
        NotEstablishedError: `other_network`, `no_quorum`, `no_anchor` or `validators_changed`.
    """
    view = TrustedView(suite, policy)
    return view, view.verify_bundle(Bundle.decode(suite, data))
