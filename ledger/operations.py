"""Operation types: what a module offers to transactions.

Each module exposes one explicit table, a tuple of `OperationType`; nothing registers itself. A body is a frozen,
strict pydantic model without extra fields: one source for validation, JSON Schema and documentation. A handler is
a plain function of state, body and context: same input, same output on every validator. It raises
`InvalidOperation` with a stable code to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from ledger.codec import Value
from ledger.state import State
from ledger.suite import PublicKey, Suite


class Body(BaseModel):
    """Base of all operation bodies: frozen, strict, no unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Context(NamedTuple):
    """What a handler may know besides state and body. `time_ms` is the block's time; there is no other clock."""

    suite: Suite
    chain_id: str
    height: int
    time_ms: int
    transaction_id: bytes
    operation_index: int
    signer: PublicKey
    organisation: str
    """The signer's organisation: its USCC."""
    roles: frozenset[str]
    """The roles that the signer's key holds in that organisation."""


class Event(NamedTuple):
    """What an operation did, for indexes and watchers; derived, never hashed.

    `kind` is the operation's kind or finer; `attributes` are short strings: names from docs/OPERATIONS.md such as
    `organisation`, `entry`, `matter`, `license` (handle, hex).
    """

    kind: str
    attributes: Mapping[str, str]


Handler = Callable[[State, Any, Context], Sequence[Event]]


@dataclass(frozen=True, slots=True)
class OperationType:
    """One kind of operation. The signer's key must hold one of `roles` (empty: any enrolled key).

    `codes` lists every code that the handler raises itself; docs/OPERATIONS.md is generated from this table.
    """

    kind: str
    summary: str
    body: type[Body]
    handler: Handler
    roles: frozenset[str]
    codes: tuple[str, ...]


OperationTable = Mapping[str, OperationType]


def operation_table(*modules: Sequence[OperationType]) -> OperationTable:
    """Return one table of all modules' operations, by kind.

    Raises:
        ValueError: two operations have the same kind.
    """
    table: dict[str, OperationType] = {}
    for operations in modules:
        for operation in operations:
            if operation.kind in table:
                raise ValueError(f"two operations of kind {operation.kind}")
            table[operation.kind] = operation
    return table


def body_value(body: Body) -> dict[str, Value]:
    """Return a body as the map that goes into a transaction (python mode: bytes stay bytes, tuples arrays)."""
    return body.model_dump(mode="python", exclude_none=True)
