"""Evidence made from the proven view: what a light verifier needs to believe an answer. Blocking reads."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.bundle import Bundle, EntryEvidence, StateEvidence, ValidatorChange
from ledger.entries import TransactionEntry, decode_entry
from ledger.errors import DamagedStoreError
from ledger.proven import ProvenView
from ledger.suite import Suite
from ledger.transactions import decode_transaction
from licenses.disclosure import CommittedUse, uses_in
from licenses.evidence import license_keys, license_subject, use_keys, use_subject
from licenses.models import License, find_license

MAX_CHANGES_AT_ONCE = 1_000


def entry_evidence(proven: ProvenView, index: int) -> EntryEvidence:
    """Return the entry at a log index with its proof.

    Raises:
        ValueError: the log under the checkpoint does not reach so far.
        DamagedStoreError: entries and tiles are not those of the checkpoint.
    """
    encoded, proof = proven.proven_entry(index)
    return EntryEvidence(encoded, index, proof, proven.checkpoint)


def state_evidence(proven: ProvenView, key: str) -> StateEvidence:
    """Return a state value, or its absence, with its proof."""
    value, proof = proven.state.prove(key)
    return StateEvidence(key, value, proof, proven.binding)


def validator_changes(proven: ProvenView, since_size: int = 0) -> tuple[ValidatorChange, ...]:
    """Return the changes of the validator set after the log had `since_size` entries, oldest first."""
    changes: list[ValidatorChange] = []
    history = proven.history
    for height, validators in history.validator_changes():
        record = history.record(height - 1)
        signed = history.checkpoint(height - 1)
        if record is None or signed is None or signed.checkpoint.size <= since_size:
            continue  # not decided yet, not vouched for yet, or known to whoever asks
        index = record.log_size - 1
        encoded, proof = history.proven_entry(index, signed.checkpoint)
        changes.append(ValidatorChange.of(EntryEvidence(encoded, index, proof, signed), validators))
        if len(changes) == MAX_CHANGES_AT_ONCE:
            break
    return tuple(changes)


def state_bundle(proven: ProvenView, keys: Iterable[str], subject: str) -> Bundle:
    """Return a bundle about state keys."""
    states = [state_evidence(proven, key) for key in keys]
    return Bundle.of(subject, changes=validator_changes(proven), states=states)


def transaction_bundle(suite: Suite, proven: ProvenView, transaction_id: bytes) -> Bundle | None:
    """Return a bundle about a transaction, or None if the log under the checkpoint does not hold it.

    Raises:
        DamagedStoreError: the transaction index, entries or tiles are not those of the checkpoint.
    """
    index = proven.history.transaction_index(transaction_id)
    if index is None:
        return None
    evidence = entry_evidence(proven, index)
    entry = decode_entry(evidence.entry)
    if (
        not isinstance(entry, TransactionEntry)
        or decode_transaction(suite, entry.transaction).id != transaction_id
    ):
        raise DamagedStoreError(f"entry {index} is not transaction {transaction_id.hex()}")
    return Bundle.of(
        f"transaction:{transaction_id.hex()}",
        changes=validator_changes(proven),
        entries=[evidence],
    )


def license_bundle(proven: ProvenView, handle: bytes) -> Bundle | None:
    """Return a bundle about a license: its record, type, accreditation, issuer's key and organisation."""
    record = find_license(proven.state, handle)
    if record is None:
        return None
    return state_bundle(proven, license_keys(record), license_subject(handle))


def use_at(suite: Suite, proven: ProvenView, index: int, use_id: bytes) -> CommittedUse | None:
    """Return the use that the entry at `index` records, or None if it records no such use."""
    encoded = proven.history.entry(index)
    entry = None if encoded is None else decode_entry(encoded)
    if not isinstance(entry, TransactionEntry) or entry.code:
        return None
    transaction = decode_transaction(suite, entry.transaction)
    found = uses_in(suite, transaction, entry.height, index)
    return next((use for use in found if use.id == use_id), None)


def use_bundle(proven: ProvenView, use: CommittedUse) -> Bundle:
    """Return a bundle about a use: its transaction, its block entry (for the time), and what it rests on as it is now.

    Raises:
        DamagedStoreError: the use's block is missing.
    """
    block = proven.history.record(use.height)
    if block is None:
        raise DamagedStoreError(f"block {use.height} is missing")
    records: list[License] = []
    for used in use.licenses:
        record = find_license(proven.state, used.handle)
        if record is not None:
            records.append(record)
    return Bundle.of(
        use_subject(use.id),
        changes=validator_changes(proven),
        entries=[entry_evidence(proven, index) for index in (use.index, block.log_size - 1)],
        states=[state_evidence(proven, key) for key in use_keys(use, tuple(records))],
    )
