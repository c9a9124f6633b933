"""The state as operation handlers see it: a map from `<module>/<collection>/<id>` to canonical values.

Handlers read and write single keys; there is no iteration, so nothing can depend on an order. A value read is
shared and must not be changed: write a new one. Overlays collect the changes of one transaction on top of those
of its block; dropping an overlay undoes everything it held.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final, Protocol

from ledger.codec import Value

_KEY: Final = re.compile(r"[a-z]{1,16}/[a-z_]{1,32}/[^/\x00-\x20\x7f]{1,160}")


@lru_cache(maxsize=8_192)
def _check_key(key: str) -> None:
    if _KEY.fullmatch(key) is None:
        raise ValueError(f"not a state key: {key[:200]!r}")


@lru_cache(maxsize=8_192)
def state_key(module: str, collection: str, identifier: str) -> str:
    """Return the key of a record. The last ones are remembered: most are asked for several times in a transaction.

    Raises:
        ValueError: a part is empty, too long, or holds a slash, a space or a control character.
    """
    key = f"{module}/{collection}/{identifier}"
    _check_key(key)
    return key


class StateReader(Protocol):
    """Read access to the state."""

    def get(self, key: str) -> Value | None:
        """Return the value at `key`, or None where there is none (nil is never stored)."""
        ...


class State(StateReader, Protocol):
    """Read and write access, as handlers have it."""

    def set(self, key: str, value: Value) -> None: ...

    def delete(self, key: str) -> None: ...


class Overlay:
    """Changes on top of another reader. A deleted key maps to None."""

    __slots__ = ("_base", "_changes")

    def __init__(self, base: StateReader) -> None:
        self._base = base
        self._changes: dict[str, Value | None] = {}

    def get(self, key: str) -> Value | None:
        changes = self._changes
        if key in changes:
            return changes[key]
        return self._base.get(key)

    def set(self, key: str, value: Value) -> None:
        if value is None:
            raise ValueError("nil is not a state value; delete the key instead")
        _check_key(key)
        self._changes[key] = value

    def delete(self, key: str) -> None:
        self._changes[key] = None

    def merge_into(self, parent: Overlay) -> None:
        """Move this overlay's changes into `parent`, which must be its base."""
        assert parent is self._base
        parent._changes.update(self._changes)

    @property
    def changes(self) -> Mapping[str, Value | None]:
        """All changes by key; None marks a deletion."""
        return self._changes

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._changes))
