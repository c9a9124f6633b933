"""Admission: what a single transaction must be before it may stand in a block, and the memory of that.

A transaction is read once on a node: decoded, its signature verified, each operation's body validated. All
of that follows from its bytes and the table of operations alone, so the result is kept by the bytes and serves
mempool, proposal, validation and execution alike. What depends on state and time is asked each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from pydantic import ValidationError

from ledger.codec import Value
from ledger.errors import DecodeError, InvalidTransaction, StorageError
from ledger.membership import (
    EnrolledKey,
    enrolled_key,
    enrolled_key_key,
    organisation,
    organisation_key,
)
from ledger.operations import Body, OperationTable, OperationType
from ledger.problems import first_problem
from ledger.state import StateReader
from ledger.suite import Suite
from ledger.transactions import Operation, Transaction, decode_transaction

MALFORMED: Final = "malformed"
WRONG_CHAIN: Final = "wrong_chain"
BAD_SIGNATURE: Final = "bad_signature"
EXPIRED: Final = "expired"
TOO_DISTANT: Final = "too_distant"
DUPLICATE: Final = "duplicate"
UNKNOWN_SIGNER: Final = "unknown_signer"
KEY_REVOKED: Final = "key_revoked"
ORGANISATION_DISSOLVED: Final = "organisation_dissolved"
UNKNOWN_OPERATION: Final = "unknown_operation"
INVALID_BODY: Final = "invalid_body"
ROLE_MISSING: Final = "role_missing"
INTERNAL: Final = "internal"

STOPS_THE_NODE: Final = (
    StorageError,
    MemoryError,
    RecursionError,
    KeyboardInterrupt,
    SystemExit,
)
"""What says nothing about the transaction under whose execution it came up. Anything else fails that transaction
alone, also what is no `Exception`: that is how libraries written in Rust (pydantic, cryptography) panic."""

MAX_CACHED_TRANSACTIONS: Final = 60_000
"""More than a full mempool (50,000), so that a full one does not push out what it will need."""

MAX_CACHED_BYTES: Final = 80 * 1024 * 1024
"""More than a full mempool (64 MiB), for the same reason."""


MAX_KNOWN_SIGNERS: Final = 50_000
"""Far more than officers and gateways that sign in an hour; beyond it, records are decoded again."""


class Call(NamedTuple):
    """An operation made ready to run: its type and its validated body."""

    type: OperationType
    body: Body


class Refusal(NamedTuple):
    """An operation that fails before its handler runs: the code it is recorded with, a text for people.

    `error` is the unexpected exception behind a code `internal`.
    """

    code: str
    text: str
    error: BaseException | None = None


PreparedOperation: TypeAlias = Call | Refusal


class PreparedTransaction(NamedTuple):
    """A transaction with its operations made ready. `signer` is its key's text, the key of its state record."""

    transaction: Transaction
    signer: str
    operations: tuple[PreparedOperation, ...]

    @property
    def id(self) -> bytes:
        """The transaction's id."""
        return self.transaction.id


class Admitted(NamedTuple):
    """A checked transaction and the organisation whose key signed it."""

    transaction: Transaction
    organisation: str


def prepare_transaction(
    suite: Suite, table: OperationTable, raw: bytes, *, verify: bool = True
) -> PreparedTransaction:
    """Read a transaction's bytes. Pure, so it may run on any thread.

    `verify` False leaves the signature unverified: only for a block under a verified commit.

    Raises:
        InvalidTransaction: malformed, or its signature is bad. An operation that cannot run is no reason: it
            fails in the block.
    """
    try:
        transaction = decode_transaction(suite, raw)
    except DecodeError as error:
        raise InvalidTransaction(MALFORMED, str(error)) from None
    if verify and not transaction.verify(suite):
        raise InvalidTransaction(BAD_SIGNATURE, "the signature is not the signer's")
    return PreparedTransaction(
        transaction,
        str(transaction.signer),
        tuple(_prepare_operation(table, operation) for operation in transaction.operations),
    )


def _prepare_operation(table: OperationTable, operation: Operation) -> PreparedOperation:
    found = table.get(operation.kind)
    if found is None:
        return Refusal(UNKNOWN_OPERATION, f"no operation of kind {operation.kind}")
    try:
        return Call(found, found.body.model_validate(operation.body))
    except ValidationError as error:
        return Refusal(INVALID_BODY, first_problem(error))
    except STOPS_THE_NODE:
        raise
    except (
        BaseException
    ) as error:  # a validator's own bug must fail one transaction, not every node
        return Refusal(INTERNAL, "the body's validation failed unexpectedly", error)


class TransactionCache:
    """Prepared transactions whose signatures are verified, by their bytes; the oldest make room for new ones.

    By their bytes and not by id: an id does not cover the signature. One with an operation that cannot run is not
    kept: what such a body decodes to (60 KB of empty maps become 5 MB) is nothing that a model has bounded.
    Used by one thread at a time.
    """

    __slots__ = ("_bytes", "_prepare", "_transactions")

    def __init__(self, prepare: Callable[[bytes], PreparedTransaction]) -> None:
        """`prepare` verifies; see `prepare_transaction`."""
        self._prepare = prepare
        self._transactions: OrderedDict[bytes, PreparedTransaction] = OrderedDict()
        self._bytes = 0

    def get(self, raw: bytes) -> PreparedTransaction:
        """Return the transaction of these bytes, verified now or before, and keep it.

        Raises:
            InvalidTransaction: malformed, or a bad signature.
        """
        prepared = self.peek(raw)
        self.add(prepared)
        return prepared

    def peek(self, raw: bytes) -> PreparedTransaction:
        """Return the transaction of these bytes, verified now or before; a new one is not kept.

        Raises:
            InvalidTransaction: malformed, or a bad signature.
        """
        known = self._transactions.get(raw)
        return self._prepare(raw) if known is None else known

    def add(self, prepared: PreparedTransaction) -> None:
        """Remember a transaction that the caller has verified, on another thread perhaps."""
        raw = prepared.transaction.raw
        if raw in self._transactions or any(
            isinstance(one, Refusal) for one in prepared.operations
        ):
            return
        self._transactions[raw] = prepared
        self._bytes += len(raw)
        while len(self._transactions) > MAX_CACHED_TRANSACTIONS or self._bytes > MAX_CACHED_BYTES:
            dropped, _ = self._transactions.popitem(last=False)
            self._bytes -= len(dropped)

    def take(
        self, raw: bytes, prepare: Callable[[bytes], PreparedTransaction] | None = None
    ) -> PreparedTransaction:
        """Return the transaction of these bytes, as `get`, and forget it: it is decided, nobody asks again.

        `prepare` reads one that is not known, instead of the cache's own.

        Raises:
            InvalidTransaction: malformed, or a bad signature.
        """
        known = self._transactions.pop(raw, None)
        if known is None:
            return (prepare or self._prepare)(raw)
        self._bytes -= len(raw)
        return known

    def __len__(self) -> int:
        return len(self._transactions)


def check_lifetime(transaction: Transaction, time_ms: int, lifetime_ms: int) -> None:
    """Check that a transaction is valid at `time_ms`, and not for longer than its id is remembered.

    Raises:
        InvalidTransaction: expired or too distant.
    """
    if transaction.valid_until_ms < time_ms:
        raise InvalidTransaction(
            EXPIRED, f"valid until {transaction.valid_until_ms}, it is {time_ms}"
        )
    if transaction.valid_until_ms > time_ms + lifetime_ms:
        raise InvalidTransaction(
            TOO_DISTANT,
            f"valid until {transaction.valid_until_ms}, at most {time_ms + lifetime_ms} allowed",
        )


def check_chain(transaction: Transaction, chain_id: str) -> None:
    """Check that a transaction was signed for this chain.

    Raises:
        InvalidTransaction: it was signed for another.
    """
    if transaction.chain_id != chain_id:
        raise InvalidTransaction(WRONG_CHAIN, f"signed for {transaction.chain_id[:80]}")


def registered_key(state: StateReader, signer: str) -> EnrolledKey:
    """Return the record of an enrolled, active signer.

    Raises:
        InvalidTransaction: never enrolled, or revoked.
    """
    found = enrolled_key(state, signer)
    if found is None:
        raise InvalidTransaction(UNKNOWN_SIGNER, f"{signer} is not enrolled")
    if not found.active:
        raise InvalidTransaction(KEY_REVOKED, f"{signer} is revoked")
    return found


class Authority(NamedTuple):
    """What a signer may act as: an organisation, and its key's roles there."""

    organisation: str
    roles: frozenset[str]


class Signers:
    """Who may act, decoded once for each version of a key's and its organisation's record.

    State values are shared and never changed in place, so the very same values mean that nothing has changed.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, tuple[Value | None, Value | None, Authority]] = {}

    def look_up(self, state: StateReader, signer: str) -> Authority:
        """Return what a signer may act as.

        Raises:
            InvalidTransaction: the key is not enrolled or revoked, or its organisation is dissolved.
        """
        key_value = state.get(enrolled_key_key(signer))
        known = self._known.get(signer)
        if known is not None and known[0] is key_value:
            authority = known[2]
            if known[1] is state.get(organisation_key(authority.organisation)):
                return authority
        key = registered_key(state, signer)
        subject = organisation(state, key.organisation)
        if subject is None or not subject.active:
            raise InvalidTransaction(ORGANISATION_DISSOLVED, f"{key.organisation} is not active")
        authority = Authority(key.organisation, frozenset(key.roles))
        if len(self._known) >= MAX_KNOWN_SIGNERS:
            self._known.clear()
        subject_value = state.get(organisation_key(key.organisation))
        self._known[signer] = (key_value, subject_value, authority)
        return authority


def check_operations(prepared: PreparedTransaction, authority: Authority) -> None:
    """Refuse at submission what could only be recorded as a failure: who is not allowed, what cannot run.

    Raises:
        InvalidTransaction: with the code that the failure would have.
    """
    for operation in prepared.operations:
        if isinstance(operation, Refusal):
            raise InvalidTransaction(operation.code, operation.text)
        roles = operation.type.roles
        if roles and roles.isdisjoint(authority.roles):
            raise InvalidTransaction(ROLE_MISSING, role_missing_text(operation.type))


def role_missing_text(kind: OperationType) -> str:
    """Say which roles an operation asks for."""
    return f"{kind.kind} needs a key with one of these roles: {', '.join(sorted(kind.roles))}"
