"""Ledger values as JSON: bytes as hex, arrays as lists, maps as objects."""

from __future__ import annotations

from typing import Any


def jsonable(value: Any) -> Any:
    """Return a canonical value as JSON has it; bytes become lower-case hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    return value
