"""Damage of every kind to a stopped node's files: it is noticed, and what starts is whole or fetched anew.

What a node does on starting is decided by `open_store`; so the wide sweep runs that on copies of a real node's store,
and some of each kind is shown on a node that starts among the others.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger import keyspace
from ledger.application import Application
from ledger.database import Head
from ledger.errors import DamagedStoreError
from ledger.fsck import open_store
from ledger.genesis import Genesis
from ledger.store import Store
from node.operation_table import OPERATIONS
from tests.faults.damage import cut, flip, largest, newest, places_in_log, records
from tests.faults.network import FaultyNetwork, faulty_network
from tests.node.processes import eventually

VICTIM = "hebei"

pytestmark = pytest.mark.row("torn tail / damage in the middle / cut MANIFEST / missing table")

NEVER_ACKNOWLEDGED = (keyspace.WAL, keyspace.CHECKPOINTS)
"""Rows that may be cut back: the last-sign guard stands in for the one, the others' signatures for the other."""


@dataclass(frozen=True, slots=True)
class Original:
    """A copy of a stopped node's store, and what is in it."""

    directory: Path
    genesis: Genesis
    rows: dict[bytes, bytes]
    head: Head

    @classmethod
    def of(cls, directory: Path, copy: Path, genesis: Genesis) -> Original:
        shutil.copytree(directory, copy)
        opened = Store.open(shutil.copytree(copy, copy.with_name(f"{copy.name}-read")))
        try:
            head = opened.head()
            assert head is not None
            return cls(copy, genesis, dict(opened.iterate(b"")), head)
        finally:
            opened.close()

    def open_damaged(self, directory: Path, damage: Callable[[Path], None]) -> str:
        """Damage a copy and open it as a node does; return what came of it, after checking that it is safe."""
        shutil.copytree(self.directory, directory)
        damage(directory)
        opened = open_store(directory, self.genesis, OPERATIONS)
        try:
            if opened.set_aside is not None:
                assert opened.store.head() is None
                return "set aside"
            head = opened.store.head()
            assert head is not None
            assert head.height >= self.head.height, "what was acknowledged is gone unnoticed"
            refused = self._compare(opened.store)
        finally:
            opened.store.close()
            shutil.rmtree(directory)
        return "recovered" if opened.recovered else "stops on reading" if refused else "whole"

    def _compare(self, store: Store) -> bool:
        """Check that each row is what it was or is refused; tell whether one was refused."""
        refused = False
        try:
            Application(self.genesis, OPERATIONS, store)
        except DamagedStoreError:
            refused = True
        for key, expected in self.rows.items():
            try:
                found = store.get(key)
            except DamagedStoreError:
                refused = True
                continue
            if not (found is None and key.startswith(NEVER_ACKNOWLEDGED)):
                assert found == expected, f"row {key!r} is served wrong"
        return refused


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyNetwork]:
    """Four validators with some history."""
    with faulty_network(tmp_path_factory.mktemp("damage")) as started:
        grow(started)
        yield started


def grow(network: FaultyNetwork) -> None:
    """Add some blocks."""
    with network.client("beijing") as beijing:
        for _ in range(4):
            results = beijing.submit([one.raw for one in network.transactions(15)], timeout_s=30)
            assert {result.status for result in results} == {"committed"}


@pytest.fixture(scope="module")
def in_log(network: FaultyNetwork, tmp_path_factory: pytest.TempPathFactory) -> Original:
    """The victim's store while its whole history lies in LevelDB's log."""
    return original(network, tmp_path_factory.mktemp("log") / "ledger")


@pytest.fixture(scope="module")
def in_tables(
    network: FaultyNetwork, in_log: Original, tmp_path_factory: pytest.TempPathFactory
) -> Original:
    """The victim's store while most of its history lies in tables: LevelDB makes one of its log when it opens."""
    for _ in range(2):
        network.start(VICTIM)
        network.await_ready(VICTIM)
        grow(network)
        found = original(network, tmp_path_factory.mktemp("tables") / "ledger")
    return found


def original(network: FaultyNetwork, copy: Path) -> Original:
    """Stop the victim and copy its store."""
    if VICTIM in network.running:
        assert network.stop(VICTIM) == 0
    home = network.home(VICTIM)
    genesis = Genesis.from_json((home / "genesis.json").read_bytes())
    return Original.of(home / "data" / "ledger", copy, genesis)


# --- the sweep ------------------------------------------------------------------------------------


def test_a_bit_flipped_at_any_boundary_of_the_log_is_noticed(
    in_log: Original, tmp_path: Path, injected: Counter[str]
) -> None:
    log = newest(in_log.directory / "db", "*.log").name
    outcomes = Counter[str]()
    for offset in places_in_log(in_log.directory / "db" / log).values():
        outcome = in_log.open_damaged(tmp_path / "ledger", _flipped(log, offset))
        outcomes[outcome] += 1
        injected["bit flipped in the log"] += 1
    assert set(outcomes) <= {"set aside", "recovered", "whole"}
    assert outcomes["set aside"] > outcomes.total() // 2


def test_a_log_cut_anywhere_lacks_only_what_was_never_acknowledged_or_is_refused(
    in_log: Original, tmp_path: Path, injected: Counter[str]
) -> None:
    path = newest(in_log.directory / "db", "*.log")
    size, headers = path.stat().st_size, list(records(path))
    lengths = {0, 1, 6, 7, size // 2, size - 1, 32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1}
    lengths |= {headers[-1] + more for more in (0, 3, 7, 8)} | {headers[len(headers) // 2]}
    for length in sorted(lengths):
        in_log.open_damaged(tmp_path / "ledger", _cut(path.name, length))
        injected["log cut"] += 1


def test_a_torn_tail_of_the_log_is_cut_back(
    in_log: Original, tmp_path: Path, injected: Counter[str]
) -> None:
    """What a crash leaves of a batch that was being written: its beginning, or sectors of zeros."""
    path = newest(in_log.directory / "db", "*.log")
    last = path.read_bytes()[list(records(path))[-1] :]
    for tail in (last[:5], last[: len(last) // 2], last[:-1], bytes(512), bytes(4096) + last):
        outcome = in_log.open_damaged(tmp_path / "ledger", _append(path.name, tail))
        assert outcome in ("whole", "recovered")
        injected["torn tail"] += 1


def _append(name: str, tail: bytes) -> Callable[[Path], None]:
    def append(directory: Path) -> None:
        with (directory / "db" / name).open("ab") as file:
            file.write(tail)

    return append


@pytest.mark.parametrize("pattern", ["*.ldb", "MANIFEST-*", "CURRENT"])
def test_a_bit_flipped_anywhere_in_a_table_manifest_or_current_is_noticed(
    in_tables: Original, tmp_path: Path, injected: Counter[str], pattern: str
) -> None:
    path = largest(in_tables.directory / "db", pattern)
    size = path.stat().st_size
    some = random.Random(1).sample(range(size), min(size, 12))
    for offset in {0, size // 2, size - 1, max(0, size - 48), *some}:
        damage = _flipped(path.name, offset)
        outcome = in_tables.open_damaged(tmp_path / "ledger", damage)
        injected[f"bit flipped in {pattern}"] += 1
        # The bytes of a table's footer and padding that LevelDB never reads carry nothing.
        assert outcome != "whole" or pattern == "*.ldb"


def _cut(name: str, length: int) -> Callable[[Path], None]:
    return lambda directory: cut(directory / "db" / name, length)


def _flipped(name: str, offset: int) -> Callable[[Path], None]:
    return lambda directory: flip(directory / "db" / name, offset)


@pytest.mark.parametrize("way", ["missing", "empty", "cut"])
@pytest.mark.parametrize("pattern", ["*.ldb", "*.log", "MANIFEST-*", "CURRENT", "LOCK"])
def test_a_file_that_is_missing_empty_or_cut_is_noticed(
    in_tables: Original, tmp_path: Path, injected: Counter[str], pattern: str, way: str
) -> None:
    path = largest(in_tables.directory / "db", pattern)

    def damage(directory: Path) -> None:
        damaged = directory / "db" / path.name
        if way == "missing":
            damaged.unlink()
        else:
            cut(damaged, 0 if way == "empty" else damaged.stat().st_size * 2 // 3)

    outcome = in_tables.open_damaged(tmp_path / "ledger", damage)
    injected[f"{pattern} {way}"] += 1
    assert (outcome == "whole") == (pattern == "LOCK")


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(6))
def test_bits_flipped_at_random_places_are_noticed(
    in_log: Original, in_tables: Original, tmp_path: Path, injected: Counter[str], seed: int
) -> None:
    source = random.Random(seed)
    for one in (in_log, in_tables):
        files = sorted(
            path.name
            for path in (one.directory / "db").iterdir()
            if path.name != "LOG" and path.stat().st_size
        )
        for _ in range(10):
            name = source.choice(files)
            offset = source.randrange((one.directory / "db" / name).stat().st_size)
            one.open_damaged(tmp_path / "ledger", _flipped(name, offset))
            injected["bit flipped anywhere"] += 1


# --- nodes that start -----------------------------------------------------------------------------


def cut_log(home: Path) -> None:
    """Cut off blocks that this node has acknowledged."""
    log = newest(home / "data" / "ledger" / "db", "*.log")
    cut(log, log.stat().st_size // 2)


def flip_log(home: Path) -> None:
    log = newest(home / "data" / "ledger" / "db", "*.log")
    flip(log, log.stat().st_size // 2)


def remove_current(home: Path) -> None:
    (home / "data" / "ledger" / "db" / "CURRENT").unlink()


def empty_database(home: Path) -> None:
    for path in (home / "data" / "ledger" / "db").iterdir():
        if path.is_file():
            cut(path, 0)


def lose_marker(home: Path) -> None:
    (home / "data" / "ledger" / "head").unlink()


def damage_marker(home: Path) -> None:
    for slot in (0, 4096):
        flip(home / "data" / "ledger" / "head", slot + 3)


@pytest.mark.faults
@pytest.mark.parametrize(
    "damage", [cut_log, flip_log, remove_current, empty_database, lose_marker, damage_marker]
)
def test_a_node_whose_store_is_damaged_says_so_and_is_whole_again(
    network: FaultyNetwork, injected: Counter[str], damage: Callable[[Path], None]
) -> None:
    start_damaged(network, damage)
    injected[damage.__name__] += 1
    with network.client(VICTIM) as victim:
        assert "the store was damaged" in (victim.network().damage or "")
    assert "the store was damaged" in log_of(network).read_text("utf-8")


def tear_marker(home: Path) -> None:
    """Tear the slot that was written last, as power loss might."""
    marker = home / "data" / "ledger" / "head"
    content = marker.read_bytes()
    newer = max((0, 4096), key=lambda slot: content[slot : slot + 8])
    flip(marker, newer + 20)


def remove_lock(home: Path) -> None:
    (home / "data" / "ledger" / "db" / "LOCK").unlink()


def tear_log(home: Path) -> None:
    log = newest(home / "data" / "ledger" / "db", "*.log")
    _append(log.name, bytes.fromhex("deadbeef 4000 01 00112233"))(home / "data" / "ledger")


def damage_index(home: Path) -> None:
    """The index of searches is disposable: it is built anew."""
    index = home / "data" / "index.sqlite"
    index.write_bytes(random.Random(5).randbytes(index.stat().st_size))


def leave_unfinished_records(home: Path) -> None:
    """What a crash leaves while a record of `keys/` is replaced."""
    (home / "keys" / "last-sign.new").write_bytes(b"half a rec")
    (home / "keys" / ".checkpoint-guard-x").write_bytes(b"")


@pytest.mark.faults
@pytest.mark.parametrize(
    "damage", [tear_log, tear_marker, remove_lock, damage_index, leave_unfinished_records]
)
def test_a_node_that_has_lost_nothing_by_it_starts_as_ever(
    network: FaultyNetwork, injected: Counter[str], damage: Callable[[Path], None]
) -> None:
    start_damaged(network, damage)
    injected[damage.__name__] += 1
    with network.client(VICTIM) as victim:
        assert victim.network().damage is None


def test_after_all_damage_every_invariant_holds(
    network: FaultyNetwork, injected: Counter[str]
) -> None:
    start_damaged(network, cut_log)
    injected["cut_log"] += 1
    network.check()


def start_damaged(network: FaultyNetwork, damage: Callable[[Path], None]) -> None:
    """Stop the victim, damage its files, and start it while the others go on; wait until it is where they are."""
    if VICTIM not in network.running:
        network.start(VICTIM)
        network.await_ready(VICTIM)
    grow(network)
    assert network.stop(VICTIM) == 0
    damage(network.home(VICTIM))
    log_of(network).write_bytes(b"")
    network.commit_one("beijing")
    network.start(VICTIM)
    network.await_ready(VICTIM)
    with network.client("beijing") as beijing, network.client(VICTIM) as victim:
        eventually(lambda: victim.network().app_hash == beijing.network().app_hash)


def log_of(network: FaultyNetwork) -> Path:
    return network.home(VICTIM) / "node.log"
