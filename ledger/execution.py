"""Execution: run the transactions and the evidence of a block over the state before it.

Each transaction runs over an overlay of its own, which is merged when all its operations succeed and dropped
when one fails. A failure is recorded by a code and the operation's index. An exception that no handler meant to
raise fails its transaction with code `internal`: one crafted transaction must not stop every validator at
every restart. Storage, memory and recursion errors do stop the node (`STOPS_THE_NODE`): they say nothing about the
transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ledger.admission import (
    INTERNAL,
    ROLE_MISSING,
    STOPS_THE_NODE,
    PreparedTransaction,
    Refusal,
    Signers,
    role_missing_text,
)
from ledger.codec import encode
from ledger.decisions import Offence
from ledger.errors import InvalidOperation, InvalidTransaction
from ledger.limits import MIN_VALIDATORS
from ledger.membership import (
    VALIDATORS_KEY,
    punish_double_voting,
    wanted_validators,
)
from ledger.operations import Context, Event
from ledger.state import Overlay, State, StateReader, state_key
from ledger.suite import Suite
from ledger.validators import ValidatorSet, distribution_problem

VALUE_TOO_LARGE: Final = "value_too_large"
MAX_STATE_VALUE_BYTES: Final = 1024 * 1024
"""A value is read, decoded and proved whole; a record that outgrows this stops growing, not the chain."""

ReportError = Callable[[bytes, str, BaseException], None]
"""Called with transaction id, operation kind and the exception behind a code `internal`; may log it."""


class TransactionResult(NamedTuple):
    """What became of a transaction: `code` "" if it took effect, else the code and the failed operation's index.

    `text` is for people and is recorded nowhere; `events` are empty for a failure.
    """

    code: str
    operation_index: int | None
    text: str
    events: tuple[Event, ...]

    @property
    def succeeded(self) -> bool:
        """Whether the transaction took effect."""
        return self.code == ""


@dataclass(frozen=True, slots=True)
class BlockContext:
    """What a block tells its transactions, and nothing else does."""

    suite: Suite
    chain_id: str
    height: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Execution:
    """The outcome of a block: its changes over the state before it, what became of each transaction.

    `encodings` are those of the overlay's values, made once. `next_validators` vote from two heights on; None if
    the block leaves them as they were.
    """

    overlay: Overlay
    encodings: Mapping[str, bytes]
    results: tuple[TransactionResult, ...]
    next_validators: ValidatorSet | None


class _Failed(Exception):
    """A transaction fails at its operation `index`."""

    def __init__(self, code: str, index: int, text: str) -> None:
        super().__init__(code)
        self.result = TransactionResult(code, index, text, ())


def execute(
    state: StateReader,
    context: BlockContext,
    transactions: Sequence[PreparedTransaction],
    offences: Sequence[Offence],
    culprit_keys: Sequence[str],
    report: ReportError,
) -> Execution:
    """Run a valid block. `culprit_keys` are the consensus keys behind `offences`, at their heights."""
    overlay = Overlay(state)
    encodings: dict[str, bytes] = {}
    signers = Signers()
    results = []
    for prepared in transactions:
        try:
            result = _run(overlay, encodings, signers, context, prepared, report)
        except _Failed as failure:
            result = failure.result
        results.append(result)
    if VALIDATORS_KEY in overlay.changes:
        problem = distribution_problem(wanted_validators(overlay))
        assert problem is None, f"membership refuses such a change: {problem}"
    for one, culprit_key in zip(offences, culprit_keys, strict=True):
        _punish(overlay, context, one, culprit_key)
    if offences:
        encodings.update(
            (key, encode(value))
            for key, value in overlay.changes.items()
            if value is not None and key.startswith("ledger/")
        )
    return Execution(overlay, encodings, tuple(results), _next_validators(overlay))


def _next_validators(overlay: Overlay) -> ValidatorSet | None:
    """Return the wanted set if the block has written it: decoding one checks a dozen points of the curve."""
    if VALIDATORS_KEY not in overlay.changes:
        return None
    wanted = ValidatorSet(wanted_validators(overlay))
    assert len(wanted) >= MIN_VALIDATORS, "membership keeps at least four validators"
    return wanted


def _run(
    block: Overlay,
    encodings: dict[str, bytes],
    signers: Signers,
    context: BlockContext,
    prepared: PreparedTransaction,
    report: ReportError,
) -> TransactionResult:
    """Run one transaction; merge its changes into the block's if every operation succeeds."""
    overlay = Overlay(block)
    try:
        authority = signers.look_up(block, prepared.signer)
    except (
        InvalidTransaction
    ) as refusal:  # since the state before the block: revoked or dissolved by this block
        raise _Failed(refusal.code, 0, refusal.text) from None
    roles = authority.roles
    transaction = prepared.transaction
    events: list[Event] = []
    index = 0
    kind = ""
    try:
        for index, operation in enumerate(prepared.operations):
            if isinstance(operation, Refusal):
                if operation.error is not None:
                    report(transaction.id, transaction.operations[index].kind, operation.error)
                raise _Failed(operation.code, index, operation.text)
            kind = operation.type.kind
            needed = operation.type.roles
            if needed and needed.isdisjoint(roles):
                raise _Failed(ROLE_MISSING, index, role_missing_text(operation.type))
            events.extend(
                operation.type.handler(
                    overlay,
                    operation.body,
                    Context(
                        context.suite,
                        context.chain_id,
                        context.height,
                        context.time_ms,
                        transaction.id,
                        index,
                        transaction.signer,
                        authority.organisation,
                        roles,
                    ),
                )
            )
        changed = _encode_changes(overlay, index)
    except InvalidOperation as refusal:
        return TransactionResult(refusal.code, index, refusal.text, ())
    except (_Failed, *STOPS_THE_NODE):
        raise
    except BaseException as error:
        report(transaction.id, kind, error)
        return TransactionResult(INTERNAL, index, "the operation failed unexpectedly", ())
    overlay.merge_into(block)
    for name, encoding in changed:
        if encoding is None:
            encodings.pop(name, None)
        else:
            encodings[name] = encoding
    return TransactionResult("", None, "", tuple(events))


def _encode_changes(overlay: Overlay, index: int) -> list[tuple[str, bytes | None]]:
    """Encode a transaction's changes while it can still fail: later, a value that has no encoding would halt all."""
    changed: list[tuple[str, bytes | None]] = []
    for name, value in overlay.changes.items():
        encoding = None if value is None else encode(value)
        if encoding is not None and len(encoding) > MAX_STATE_VALUE_BYTES:
            raise _Failed(VALUE_TOO_LARGE, index, f"{name} would have {len(encoding)} bytes")
        changed.append((name, encoding))
    return changed


def evidence_key(validator: str, height: int) -> str:
    """Return the state key of the record that double voting at `height` has been punished."""
    return state_key("ledger", "evidence", f"{height}-{validator}")


def _punish(state: State, context: BlockContext, offence: Offence, culprit_key: str) -> None:
    """Record evidence, bar the key, and mark or remove its validator unless it has replaced that key since."""
    state.set(
        evidence_key(offence.validator, offence.height),
        {
            "kind": offence.kind,
            "consensus_key": culprit_key,
            "recorded_height": context.height,
        },
    )
    punish_double_voting(state, offence.validator, culprit_key, offence.height)
