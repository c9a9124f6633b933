"""The table of all operations that this node's application knows."""

from __future__ import annotations

from typing import Final

from ledger import membership_operations
from ledger.operations import OperationTable, operation_table

OPERATIONS: Final[OperationTable] = operation_table(membership_operations.OPERATIONS)
