"""The store on a real disk: atomic batches, snapshots, and failing writes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plyvel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import keyspace
from ledger.database import Batch, Head
from ledger.errors import DamagedStoreError, DecodeError, StorageError
from ledger.store import Store
from tests.ledger.stores import HASH, batch


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def store(directory: Path) -> Iterator[Store]:
    store = Store.open(directory)
    yield store
    store.close()


# --- reading and writing --------------------------------------------------------------------------


def test_a_batch_puts_and_deletes_and_its_last_change_of_a_key_counts(store: Store) -> None:
    store.write(batch(a=b"1", b=b"2"))
    changes = batch(a=None, c=b"3")
    changes.put(b"a", b"4")
    changes.delete(b"c")
    changes.update(batch(b=None, d=b"5"))
    assert len(changes) == 4
    store.write(changes)
    assert [store.get(key) for key in (b"a", b"b", b"c", b"d")] == [b"4", None, None, b"5"]


def test_what_was_written_is_there_after_opening_again(directory: Path) -> None:
    store = Store.open(directory)
    assert store.head() is None
    store.write(batch(a=b"1"), Head(7, HASH))
    store.close()
    store = Store.open(directory)
    assert (store.get(b"a"), store.head()) == (b"1", Head(7, HASH))
    store.close()


def test_iteration_keeps_to_the_prefix_and_the_range(store: Store) -> None:
    store.write(batch(a=b"0", b=b"1", b1=b"2", b2=b"3", b3=b"4", c=b"5"))

    def keys(*arguments: bytes, **options: object) -> list[bytes]:
        return [key for key, _ in store.iterate(*arguments, **options)]  # type: ignore[arg-type]

    assert keys(b"b") == [b"b", b"b1", b"b2", b"b3"]
    assert keys(b"b", start=b"b2") == [b"b2", b"b3"]
    assert keys(b"b", stop=b"b2") == [b"b", b"b1"]
    assert keys(b"b", start=b"a", stop=b"d") == [b"b", b"b1", b"b2", b"b3"]
    assert keys(b"b", start=b"b1", stop=b"b3", reverse=True) == [b"b2", b"b1"]
    assert keys(b"b", start=b"b3", stop=b"b1") == []
    assert keys(b"x") == []
    assert keys(b"")[-1] == keyspace.HEAD if store.head() else keys(b"")[-1] == b"c"
    assert list(store.iterate(b"b3")) == [(b"b3", b"4")]


@given(st.binary(max_size=4), st.lists(st.binary(max_size=5), max_size=8))
def test_a_prefix_ends_before_the_first_key_beyond_it(prefix: bytes, keys: list[bytes]) -> None:
    end = keyspace.prefix_end(prefix)
    for key in keys:
        inside = key >= prefix and (end is None or key < end)
        assert inside == key.startswith(prefix)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 63))
def test_keys_keep_the_order_of_numbers_and_give_them_back(
    one: int, other: int, level: int
) -> None:
    for key in (keyspace.entry, keyspace.block, keyspace.commit, keyspace.wal):
        assert (key(one) < key(other)) == (one < other)
        assert keyspace.number_of(key(one)) == one
    assert keyspace.tile_of(keyspace.tile(level, one)) == (level, one)
    assert keyspace.state_key_of(keyspace.value("a/b/c")) == "a/b/c"


def test_prefixes_are_of_one_length_and_all_different() -> None:
    prefixes = [
        value
        for name, value in vars(keyspace).items()
        if name.isupper() and name != "HEAD" and type(value) is bytes
    ]
    assert len(set(prefixes)) == len(prefixes)
    assert all(len(prefix) == 2 for prefix in prefixes)


def test_a_snapshot_stays_as_it_was(store: Store) -> None:
    store.write(batch(a=b"1", b=b"2"))
    snapshot = store.snapshot()
    store.write(batch(a=b"3", b=None, c=b"4"))
    assert (snapshot.get(b"a"), snapshot.get(b"c")) == (b"1", None)
    assert list(snapshot.iterate(b"")) == [(b"a", b"1"), (b"b", b"2")]
    snapshot.close()
    with pytest.raises(StorageError, match="closed"):
        snapshot.get(b"a")
    store.close()
    store.close()  # once more does nothing


def test_a_closed_store_answers_nothing(store: Store) -> None:
    snapshot = store.snapshot()
    rows = store.iterate(b"")
    store.close()
    for use in (
        lambda: store.get(b"a"),
        lambda: store.write(batch(a=b"1")),
        lambda: snapshot.get(b"a"),
        lambda: list(rows),
        store.snapshot,
    ):
        with pytest.raises(StorageError):
            use()


def test_one_process_has_a_store_open(directory: Path, store: Store) -> None:
    with pytest.raises(StorageError, match="open already") as caught:
        Store.open(directory)
    assert not isinstance(caught.value, DamagedStoreError)


def test_a_head_never_goes_back(store: Store) -> None:
    store.write(Batch(), Head(5, HASH))
    with pytest.raises(ValueError, match="height 4 after 5"):
        store.write(batch(a=b"1"), Head(4, HASH))
    assert store.get(b"a") is None
    store.write(batch(a=b"1"), Head(6, HASH))


def test_a_head_is_a_height_and_a_hash() -> None:
    assert Head.decode(Head(3, HASH).encode()) == Head(3, HASH)
    for encoded in (b"", b"\x93\x01\x02\x03", b"\x92\x01\x02", b"\x92\x01\xc4\x01a"):
        with pytest.raises(DecodeError):
            Head.decode(encoded)


# --- failing writes -------------------------------------------------------------------------------


def run(script: str, directory: Path, *, file_limit_bytes: int | None = None) -> list[str]:
    """Run a script in a process of its own; return the lines that it printed before it ended."""
    limit = ""
    if file_limit_bytes is not None:
        limit = (
            "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({file_limit_bytes},) * 2)\n"
        )
    done = subprocess.run(
        [sys.executable, "-c", limit + script, str(directory)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.stdout.splitlines()


_WRITER = """
import os, sys, signal
from pathlib import Path
from ledger import keyspace
from ledger.database import Batch, Head
from ledger.errors import StorageError
from ledger.store import Store
store = Store.open(Path(sys.argv[1]))
first = store.head().height + 1 if store.head() else 1
def write(height):
    batch = Batch()
    batch.put(keyspace.entry(height), os.urandom(20_000))
    store.write(batch, Head(height, bytes(32)))
    print(height, flush=True)
"""


def test_after_a_failed_write_the_store_refuses_all_further_writes(directory: Path) -> None:
    script = _WRITER + (
        "try:\n    for height in range(first, 1000): write(height)\n"
        "except StorageError as error: print('failed')\n"
        "try: store.write(Batch())\n"
        "except StorageError as error: print(error)\n"
    )
    lines = run(script, directory, file_limit_bytes=200_000)
    assert lines[-2] == "failed"
    assert lines[-1].startswith("the store stopped after a failed write")
    acknowledged = int(lines[-3])
    store = Store.open(directory)
    head = store.head()
    assert head is not None
    assert head.height >= acknowledged
    assert all(store.get(keyspace.entry(n)) for n in range(1, acknowledged + 1))
    store.close()


def test_a_failed_sync_of_the_marker_stops_the_store_too(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(StorageError, match="Input/output error"):
            store.write(batch(a=b"1"), Head(1, HASH))
    with pytest.raises(StorageError, match="stopped after a failed write"):
        store.write(batch(a=b"2"), Head(1, HASH))
    assert store.head() is None


def test_every_batch_is_written_whole_and_synced(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill cannot show it, since the kernel keeps what it was given; so this listens to what LevelDB is asked."""
    asked: list[dict[str, bool]] = []
    real = plyvel.DB

    class Listening:
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self._database = real(*arguments, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._database, name)

        def write_batch(self, **options: bool) -> Any:
            asked.append(options)
            return self._database.write_batch(**options)

    monkeypatch.setattr(plyvel, "DB", Listening)
    store = Store.open(directory)
    store.write(batch(a=b"1"), Head(1, HASH))  # a block
    store.write(batch(b=b"2"))  # a part of the write-ahead log
    store.close()
    assert asked == [{"transaction": True, "sync": True}] * 2


def test_what_was_acknowledged_before_a_kill_is_there_afterwards(directory: Path) -> None:
    acknowledged = 0
    for kill_after in (1, 3, 2):
        script = _WRITER + (
            f"for height in range(first, first + {kill_after}): write(height)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        acknowledged += len(run(script, directory))
        store = Store.open(directory)
        assert store.head() == Head(acknowledged, bytes(32))
        store.close()
    assert acknowledged == 6
