"""Proofs made by a node: evidence for entries, states and changes of validators, from the proven view.

`ledger.light` verifies what is made here, without a node.
"""

from __future__ import annotations

from ledger.application import Application
from ledger.bundle import EntryEvidence, StateEvidence, ValidatorChange
from ledger.proven import ProvenView


def entry_evidence(proven: ProvenView, index: int) -> EntryEvidence:
    """Return the evidence that an entry is in the log.

    Raises:
        ValueError: the log under the proven checkpoint does not reach so far (yet).
        DamagedStoreError: entries and tiles are not those of the checkpoint.
    """
    entry, proof = proven.proven_entry(index)
    return EntryEvidence(entry, index, proof, proven.checkpoint)


def state_evidence(proven: ProvenView, key: str) -> StateEvidence:
    """Return the evidence of what the state holds at `key`, or that it holds nothing there."""
    value, proof = proven.state.prove(key)
    return StateEvidence(key, value, proof, entry_evidence(proven, proven.binding_index))


def validator_changes(
    application: Application, since_height: int = 0, before_height: int | None = None
) -> tuple[ValidatorChange, ...]:
    """Return the evidence of every change of validators that block entries after `since_height` bind.

    `before_height` leaves out those that it or later blocks bind. A change whose checkpoint this node never saw
    is left out: who follows the chain then learns that it cannot.
    """
    history = application.history
    changes = []
    for first_height, validators in history.validator_changes(since_height + 1):
        height = first_height - 1
        if before_height is not None and height >= before_height:
            break
        record, signed = history.record(height), application.checkpoint_after(height)
        if record is None or signed is None:
            continue
        if record.header.validators_hash == record.header.next_validators_hash:
            continue  # only a controller has changed, which no verifier sees
        index = record.log_size - 1
        entry, proof = history.proven_entry(index, signed.checkpoint)
        block = EntryEvidence(entry, index, proof, signed)
        changes.append(ValidatorChange.of(block, validators))
    return tuple(changes)
