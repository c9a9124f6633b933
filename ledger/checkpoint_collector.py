"""Gathering the signatures of one checkpoint until they satisfy a policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ledger.checkpoints import Checkpoint, SignedCheckpoint
from ledger.errors import InvalidProof
from ledger.notes import NoteSignature, VerifierKey, verify_by_any
from ledger.policy import Policy
from ledger.suite import Suite


class CheckpointCollector:
    """Gathers signatures of one checkpoint, each verified before it is kept, until they satisfy a
    policy.

    Of each key the newest signature is kept: validators cosign the same checkpoint again with a
    newer time while the chain is idle. It holds at most one signature for each key of the policy.
    """

    def __init__(self, suite: Suite, policy: Policy, checkpoint: Checkpoint) -> None:
        self.checkpoint: Final = checkpoint
        self._suite = suite
        self._policy = policy
        self._text = checkpoint.text.encode()
        self._logs = [log.key for log in policy.logs if log.key.name == checkpoint.origin]
        self._witnesses = {witness.key: witness.name for witness in policy.witnesses}
        self._log_signatures: dict[VerifierKey, NoteSignature] = {}
        self._cosignatures: dict[str, NoteSignature] = {}

    def add(self, signature: NoteSignature) -> bool:
        """Verify and keep a signature; tell whether it told us something new. An older one is not
        even verified.

        Raises:
            InvalidProof: by a key that the policy does not know, or bad.
        """
        logs = [key for key in self._logs if key.is_named_by(signature)]
        if logs:
            return self._add_log_signature(signature, logs)
        witnesses = [key for key in self._witnesses if key.is_named_by(signature)]
        if not witnesses:
            raise InvalidProof(f"signature by an unknown key {signature.name[:80]!r}")
        known = self._cosignatures.get(self._witnesses[witnesses[0]])
        if len(witnesses) == 1 and known is not None and _time_s(signature) <= _time_s(known):
            return False
        verified = verify_by_any(self._suite, self._text, signature, witnesses)
        name = self._witnesses[verified.key]
        known = self._cosignatures.get(name)
        if known is not None and _time_s(signature) <= _time_s(known):
            return False
        self._cosignatures[name] = signature
        return True

    def _add_log_signature(self, signature: NoteSignature, keys: Sequence[VerifierKey]) -> bool:
        if all(key in self._log_signatures for key in keys):
            return False
        verified = verify_by_any(self._suite, self._text, signature, keys)
        if verified.key in self._log_signatures:
            return False
        self._log_signatures[verified.key] = signature
        return True

    @property
    def signatures(self) -> tuple[NoteSignature, ...]:
        """All signatures held, log signatures first: what a peer that lacks them is sent."""
        return (
            *self._log_signatures.values(),
            *(self._cosignatures[name] for name in sorted(self._cosignatures)),
        )

    def result(self) -> SignedCheckpoint | None:
        """Return the checkpoint with one log signature and a smallest quorum, or None while the
        policy is not satisfied.

        So the note never has more lines than readers must accept: `MAX_SIGNATURES`.
        """
        times = {name: _time_s(signature) for name, signature in self._cosignatures.items()}
        quorum = self._policy.smallest_quorum(times)
        if quorum is None or not self._log_signatures:
            return None
        first = min(self._log_signatures, key=lambda key: key.public_key)
        log_signature = self._log_signatures[first]
        cosignatures = (self._cosignatures[name] for name in quorum)
        return SignedCheckpoint(self.checkpoint, (log_signature, *cosignatures))


def _time_s(cosignature: NoteSignature) -> int:
    """Return what a line says its time is; one without a time is as old as can be."""
    return cosignature.time_s or 0
