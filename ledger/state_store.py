"""The state over a database: decoded values, proofs, and the changes of a block.

A `StateView` is the state under one root, read from a snapshot: what it answers never changes, whatever is
committed meanwhile, and it may be read from several threads. Each block's view begins with the values that the
view before it has cached.

Pages of the tree are cached by their hash, so that one cache serves all views of a node. A page read from disk is
hashed, and must be the one that its parent names.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from ledger import keyspace
from ledger.codec import Value, decode, encode
from ledger.database import Batch, Reader
from ledger.errors import DamagedStoreError, DecodeError, InvalidProof
from ledger.state import Overlay
from ledger.state_tree import Page, StateProof, prove, update
from ledger.suite import Suite

CACHED_PAGES: Final = 65_536
"""A page takes one to three kilobytes of memory: up to twice this many make some 200 MB at most."""

CACHED_VALUE_BYTES: Final = 4 * 1024 * 1024
"""Of encoded values; decoded they take several times as much, and two generations are kept."""

_ENTRY_BYTES: Final = 64
"""What a cached value costs beside its encoding, so that absent keys are bounded too."""

_K = TypeVar("_K")
_V = TypeVar("_V")


class _Generations(Generic[_K, _V]):
    """A bounded cache of two generations: when the young one is full, it replaces the old one.

    What is used moves to the young generation, so whatever is used once a generation stays. Threads share it:
    every change is made under `lock`, and finding something young needs none.
    """

    __slots__ = ("_capacity", "_cost", "_old", "_young", "lock")

    def __init__(self, capacity: int) -> None:
        self.lock = threading.RLock()
        self._capacity = capacity
        self._cost = 0
        self._young: dict[_K, tuple[_V, int]] = {}
        self._old: dict[_K, tuple[_V, int]] = {}

    def get(self, key: _K) -> _V | None:
        entry = self._young.get(key)
        if entry is None:
            # Unlocked: who misses what another thread moves at this moment reads it again.
            if key not in self._old:
                return None
            with self.lock:
                entry = self._old.get(key)
                if entry is None:
                    return None
                self.put(key, *entry)
        return entry[0]

    def put(self, key: _K, value: _V, cost: int) -> None:
        """Cache a value that takes `cost` of the capacity."""
        with self.lock:
            if self._cost >= self._capacity:
                self._old, self._young = self._young, {}
                self._cost = 0
            self._young[key] = (value, cost)
            self._cost += cost

    def discard(self, keys: Iterable[_K]) -> None:
        with self.lock:
            young, old = self._young, self._old
            for key in keys:
                young.pop(key, None)
                old.pop(key, None)


class _Pages:
    """Decoded pages of the tree by their hash, for all views of a line: two generations, as above, but each page
    counts alike, so that a block's pages are taken in at once.

    A page that a block replaces is of use to the view before the block, from which answers with proof are made; when
    the next block has come, it goes. Else pages of the past would drive out those of the present.
    """

    __slots__ = ("_lock", "_old", "_replaced", "_staged", "_young")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._young: dict[bytes, Page] = {}
        self._old: dict[bytes, Page] = {}
        self._staged: tuple[bytes, Sequence[bytes]] = (b"", ())
        self._replaced: Sequence[bytes] = ()

    def get(self, root: bytes) -> Page | None:
        page = self._young.get(root)
        if page is None:
            # Unlocked: who misses what another thread moves at this moment reads it again.
            page = self._old.get(root)
            if page is not None:
                self.put({root: page})
        return page

    def put(self, pages: Mapping[bytes, Page]) -> None:
        """Cache pages by their roots."""
        with self._lock:
            if len(self._young) >= CACHED_PAGES:
                self._old, self._young = self._young, {}
            self._young.update(pages)

    def stage(self, root: bytes, replaced: Sequence[bytes]) -> None:
        """Note what the block under the state root `root` replaces."""
        self._staged = (root, replaced)

    def advance(self, root: bytes) -> None:
        """The block that led to `root` is committed."""
        staged_root, replaced = self._staged
        if staged_root != root:
            return
        with self._lock:
            young, old = self._young, self._old
            for one in self._replaced:
                if young.pop(one, None) is None:
                    old.pop(one, None)
        self._replaced = replaced
        self._staged = (b"", ())


class _Values:
    """Decoded values for a line of views, each the successor of the one before.

    Views have ascending versions. A value read in some version holds until the newest version, for a value that
    changes is dropped when the view with the change begins; an older view cannot tell, and reads for itself.
    Only the newest view adds values, so that none that was read before a change comes in after it.
    """

    __slots__ = ("_entries", "newest")

    def __init__(self) -> None:
        self._entries: _Generations[str, tuple[Value, int]] = _Generations(CACHED_VALUE_BYTES)
        self.newest = 0

    def get(self, key: str, version: int) -> tuple[Value, int] | None:
        """Return (value, version in which it was read) if that holds for `version` too."""
        entry = self._entries.get(key)
        return entry if entry is not None and entry[1] <= version else None

    def put(self, key: str, value: Value, version: int, cost: int) -> None:
        with self._entries.lock:
            if version == self.newest:
                self._entries.put(key, (value, version), cost)

    def advance(self, changed: Iterable[str], version: int) -> int | None:
        """Begin the version after `version`, in which these keys change; None if another has begun already."""
        with self._entries.lock:
            if version != self.newest:
                return None
            self._entries.discard(changed)
            self.newest += 1
            return self.newest


class StateView:
    """The state under `root` (32 bytes), read from `reader`; implements `StateReader`."""

    __slots__ = ("_pages", "_reader", "_root", "_suite", "_values", "_version")

    def __init__(self, reader: Reader, suite: Suite, root: bytes) -> None:
        self._reader = reader
        self._suite = suite
        self._root = root
        self._pages = _Pages()
        self._values = _Values()
        self._version = self._values.newest

    @property
    def root(self) -> bytes:
        return self._root

    def get(self, key: str) -> Value | None:
        """Return the decoded value at `key`, or None.

        Raises:
            DamagedStoreError: what is stored is not a value.
            StorageError: it cannot be read.
        """
        entry = self._values.get(key, self._version)
        if entry is not None:
            return entry[0]
        encoded = self.encoded(key)
        value = None if encoded is None else _decode(key, encoded)
        self._values.put(key, value, self._version, _ENTRY_BYTES + len(encoded or b""))
        return value

    def encoded(self, key: str) -> bytes | None:
        """Return the encoding of the value at `key`, or None: what a proof proves.

        Raises:
            StorageError: it cannot be read.
        """
        return self._reader.get(keyspace.value(key))

    def prove(self, key: str) -> tuple[bytes | None, StateProof]:
        """Return the encoding of the value at `key`, or None where there is none, and the proof of it.

        Raises:
            DamagedStoreError: values and tree disagree.
            StorageError: they cannot be read.
        """
        encoded = self.encoded(key)
        key_hash = self._suite.digest(key.encode())
        proof = prove(self._suite, self._read_page, self._root, key_hash)
        try:
            proof.verify(self._suite, self._root, key, encoded)
        except InvalidProof as error:
            raise DamagedStoreError(
                f"the value at {key} is not the one in the tree: {error}"
            ) from None
        return encoded, proof

    def stage(
        self, overlay: Overlay, batch: Batch, encodings: Mapping[str, bytes] | None = None
    ) -> bytes:
        """Add the overlay's values and the pages that they change to `batch`; return the new root.

        Nothing is written, and this view stays as it is: an outcome that is not committed is simply dropped.
        `encodings` are those of the overlay's values, where the caller has made them all already.

        Raises:
            TypeError, OverflowError, ValueError: as `codec.encode`, for a value outside the codec's profile.
            DamagedStoreError: a page of the tree is not the one that its parent names.
            StorageError: one cannot be read.
        """
        digest = self._suite.digest
        changes: list[tuple[bytes, bytes | None]] = []
        for key, value in overlay.changes.items():
            if value is None:
                batch.delete(keyspace.value(key))
                changes.append((digest(key.encode()), None))
            else:
                encoded = encode(value) if encodings is None else encodings[key]
                batch.put(keyspace.value(key), encoded)
                changes.append((digest(key.encode()), digest(encoded)))
        changes.sort()
        updated = update(self._suite, self._read_page, self._root, changes)
        for path, page in updated.pages.items():
            if page is None:
                batch.delete(keyspace.page(path))
            else:
                batch.put(keyspace.page(path), page.encode())
        self._pages.put(updated.made)
        self._pages.stage(updated.root, updated.replaced)
        return updated.root

    def successor(self, reader: Reader, root: bytes, overlay: Overlay) -> StateView:
        """Return the view under `root`, which staging `overlay` gave, over `reader`, a snapshot that holds it."""
        view = StateView(reader, self._suite, root)
        view._pages = self._pages
        view._pages.advance(root)
        # Changed values are read again when they are asked for: only what is decoded has the types that every
        # node sees, whichever of them a handler had put there.
        version = self._values.advance(overlay.changes, self._version)
        if version is not None:
            view._values = self._values
            view._version = version
        return view

    def _read_page(self, path: bytes, root: bytes) -> Page:
        page = self._pages.get(root)
        if page is not None:
            return page
        data = self._reader.get(keyspace.page(path))
        if data is None:
            raise DamagedStoreError(f"the state tree's page {path_name(path)} is missing")
        try:
            page = Page.decode(self._suite, data)
        except DecodeError as error:
            raise DamagedStoreError(f"page {path_name(path)}: {error}") from None
        if page.root != root:
            raise DamagedStoreError(f"page {path_name(path)} is not the one that its parent names")
        self._pages.put({root: page})
        return page


def path_name(path: bytes) -> str:
    """Name a page's path for people."""
    return "".join("0123456789abcdef"[nibble & 15] for nibble in path) or "root"


def _decode(key: str, encoded: bytes) -> Value:
    try:
        return decode(encoded)
    except DecodeError as error:
        raise DamagedStoreError(f"the value at {key} is damaged: {error}") from None
