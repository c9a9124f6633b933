"""The table of all operations that this node's application knows."""

from __future__ import annotations

from typing import Final

from directory import operations as directory_operations
from ledger import membership_operations
from ledger.operations import OperationTable, operation_table
from licenses import operations as licenses_operations

OPERATIONS: Final[OperationTable] = operation_table(
    membership_operations.OPERATIONS,
    directory_operations.OPERATIONS,
    licenses_operations.OPERATIONS,
)
