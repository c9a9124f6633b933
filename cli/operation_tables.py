"""The table of all operations of the network: what every validator runs."""

from __future__ import annotations

from directory.operations import OPERATIONS as DIRECTORY_OPERATIONS
from ledger.membership_operations import OPERATIONS as MEMBERSHIP_OPERATIONS
from ledger.operations import OperationTable, operation_table
from licenses.operations import OPERATIONS as LICENSE_OPERATIONS


def all_operations() -> OperationTable:
    """Return every kind of operation."""
    return operation_table(MEMBERSHIP_OPERATIONS, DIRECTORY_OPERATIONS, LICENSE_OPERATIONS)
