"""Views of the state over a real store: values, proofs, caches that never show another version, damaged rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import keyspace, state_store
from ledger.codec import Value, encode
from ledger.database import Batch, Reader
from ledger.errors import DamagedStoreError
from ledger.state import Overlay
from ledger.state_store import StateView
from ledger.state_tree import EMPTY_ROOT
from ledger.store import Store
from ledger.suite import SHA256_ED25519 as SUITE

KEYS = [f"test/note/{number}" for number in range(12)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "ledger")
    yield store
    store.close()


def empty(store: Store) -> StateView:
    return StateView(store.snapshot(), SUITE, EMPTY_ROOT)


def commit(store: Store, view: StateView, changes: Mapping[str, Value | None]) -> StateView:
    """Take changes through a block."""
    overlay, batch = Overlay(view), Batch()
    for key, value in changes.items():
        if value is None:
            overlay.delete(key)
        else:
            overlay.set(key, value)
    root = view.stage(overlay, batch)
    store.write(batch)
    return view.successor(store.snapshot(), root, overlay)


class Counting:
    """A reader that counts what is read from the one below, by prefix."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.iterate = reader.iterate
        self.reads: dict[bytes, int] = {}

    def get(self, key: bytes) -> bytes | None:
        self.reads[key[:2]] = self.reads.get(key[:2], 0) + 1
        return self._reader.get(key)


def test_an_empty_state_has_no_values_and_proves_it(store: Store) -> None:
    view = empty(store)
    assert view.get(KEYS[0]) is None
    encoded, proof = view.prove(KEYS[0])
    assert encoded is None
    proof.verify(SUITE, EMPTY_ROOT, KEYS[0], None)


def test_values_are_those_that_were_committed_and_proved_under_the_root(store: Store) -> None:
    view = commit(store, empty(store), {key: {"n": n} for n, key in enumerate(KEYS)})
    view = commit(store, view, {KEYS[3]: None, KEYS[4]: "changed"})
    assert [view.get(key) for key in KEYS[2:6]] == [{"n": 2}, None, "changed", {"n": 5}]
    assert view.encoded(KEYS[4]) == encode("changed")
    for key in KEYS:
        encoded, proof = view.prove(key)
        assert encoded == view.encoded(key)
        proof.verify(SUITE, view.root, key, encoded)


def test_staging_changes_nothing_but_the_batch(store: Store) -> None:
    view = commit(store, empty(store), {KEYS[0]: 1})
    root, overlay, batch = view.root, Overlay(view), Batch()
    overlay.set(KEYS[0], 2)
    assert view.stage(overlay, batch) != root
    assert (view.root, view.get(KEYS[0])) == (root, 1)
    view.prove(KEYS[0])[1].verify(SUITE, root, KEYS[0], encode(1))
    assert batch.changes[keyspace.value(KEYS[0])] == encode(2)


def test_encodings_that_the_caller_has_made_are_used(store: Store) -> None:
    view = empty(store)
    overlay, own, given_ = Overlay(view), Batch(), Batch()
    overlay.set(KEYS[0], {"a": 1})
    root = view.stage(overlay, own)
    assert view.stage(overlay, given_, {KEYS[0]: encode({"a": 1})}) == root
    assert given_.changes == own.changes


def test_a_value_without_an_encoding_is_refused(store: Store) -> None:
    view = empty(store)
    overlay = Overlay(view)
    overlay.set(KEYS[0], 0.5)  # type: ignore[arg-type]  # what a handler's bug might do
    with pytest.raises(TypeError):
        view.stage(overlay, Batch())


def test_a_list_that_was_set_is_read_as_a_tuple_by_every_node(store: Store) -> None:
    view = commit(store, empty(store), {KEYS[0]: {"history": [1, 2]}})
    assert view.get(KEYS[0]) == {"history": (1, 2)}
    assert StateView(store.snapshot(), SUITE, view.root).get(KEYS[0]) == {"history": (1, 2)}


def test_every_view_keeps_its_own_version(store: Store) -> None:
    views = [empty(store)]
    for number in range(5):
        views.append(commit(store, views[-1], {KEYS[0]: number, KEYS[number + 1]: number}))
        views[-1].get(KEYS[0])
    for _ in range(2):  # from the store, then from the caches
        assert [view.get(KEYS[0]) for view in views] == [None, 0, 1, 2, 3, 4]
        assert [view.get(KEYS[3]) for view in views] == [None, None, None, 2, 2, 2]
        for number, view in enumerate(views):
            encoded, proof = view.prove(KEYS[0])
            assert encoded == (encode(number - 1) if number else None)
            proof.verify(SUITE, view.root, KEYS[0], encoded)


def test_two_successors_of_one_view_do_not_share_values(store: Store) -> None:
    base = commit(store, empty(store), {KEYS[0]: "base"})
    one = commit(store, base, {KEYS[0]: "one"})
    assert one.get(KEYS[0]) == "one"
    other = commit(store, base, {KEYS[0]: "other", KEYS[1]: "other"})
    assert [view.get(KEYS[0]) for view in (base, one, other)] == ["base", "one", "other"]
    assert [view.get(KEYS[1]) for view in (base, one, other)] == [None, None, "other"]


changes = st.dictionaries(
    st.sampled_from(KEYS),
    st.one_of(st.none(), st.integers(0, 3), st.lists(st.booleans(), max_size=2)),
)


@settings(max_examples=25)
@given(st.lists(st.tuples(changes, st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 9))))))
def test_views_of_any_age_read_like_plain_dictionaries(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[tuple[dict[str, Value | None], list[tuple[str, int]]]],
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(state_store, "CACHED_VALUE_BYTES", 200)  # a few values only
        patched.setattr(state_store, "CACHED_PAGES", 3)
        store = Store.open(tmp_path_factory.mktemp("store") / "ledger")
        views = [empty(store)]
        expected: list[dict[str, Value]] = [{}]
        for changed, reads in history:
            views.append(commit(store, views[-1], changed))
            merged = {**expected[-1], **changed}
            expected.append({key: value for key, value in merged.items() if value is not None})
            for key, age in reads:
                at = max(len(views) - 1 - age, 0)
                value = expected[at].get(key)
                assert views[at].get(key) == (tuple(value) if isinstance(value, list) else value)
                encoded, proof = views[at].prove(key)
                proof.verify(SUITE, views[at].root, key, encoded)
        store.close()


def test_a_value_is_read_and_decoded_once_for_a_line_of_views(store: Store) -> None:
    view = commit(store, empty(store), {key: key for key in KEYS})
    reader = Counting(store.snapshot())
    view = StateView(reader, SUITE, view.root)
    for _ in range(3):
        assert view.get(KEYS[0]) == KEYS[0]
        assert view.get("test/note/absent") is None
    overlay, batch = Overlay(view), Batch()
    overlay.set(KEYS[1], "changed")
    root = view.stage(overlay, batch)
    store.write(batch)
    after = Counting(store.snapshot())
    successor = view.successor(after, root, overlay)
    assert [successor.get(key) for key in KEYS[:2]] == [KEYS[0], "changed"]
    assert (reader.reads[keyspace.VALUES], after.reads[keyspace.VALUES]) == (2, 1)
    successor.prove(KEYS[1])
    assert keyspace.PAGES not in after.reads  # the pages that were staged are cached


def test_values_read_late_in_an_old_view_never_reach_a_new_one(store: Store) -> None:
    """A thread reads a value of the old view while the next block changes it, and puts it into the cache last."""
    view = commit(store, empty(store), {KEYS[0]: "old"})
    reading, changed = threading.Event(), threading.Event()

    class Slow(Counting):
        def get(self, key: bytes) -> bytes | None:
            value = super().get(key)
            reading.set()
            assert changed.wait(10)
            return value

    old = StateView(Slow(store.snapshot()), SUITE, view.root)
    seen: list[Value | None] = []
    thread = threading.Thread(target=lambda: seen.append(old.get(KEYS[0])))
    thread.start()
    assert reading.wait(10)
    overlay, batch = Overlay(view), Batch()
    overlay.set(KEYS[0], "new")
    root = view.stage(overlay, batch)
    store.write(batch)
    new = old.successor(store.snapshot(), root, overlay)
    changed.set()
    thread.join(10)
    assert seen == ["old"]
    assert (new.get(KEYS[0]), old.get(KEYS[0])) == ("new", "old")


# --- damage ---------------------------------------------------------------------------------------


def damaged(store: Store, root: bytes, change: Batch) -> StateView:
    store.write(change)
    return StateView(store.snapshot(), SUITE, root)


def test_a_value_edited_in_the_database_cannot_be_proved(store: Store) -> None:
    view = commit(store, empty(store), {key: key for key in KEYS})
    change = Batch()
    change.put(keyspace.value(KEYS[0]), encode("forged"))
    change.delete(keyspace.value(KEYS[1]))
    change.put(keyspace.value("test/note/new"), encode("forged"))
    view = damaged(store, view.root, change)
    for key in (KEYS[0], KEYS[1], "test/note/new"):
        with pytest.raises(DamagedStoreError, match="not the one in the tree"):
            view.prove(key)
    view.prove(KEYS[2])


def test_a_value_that_is_not_canonical_is_damage(store: Store) -> None:
    view = commit(store, empty(store), {KEYS[0]: 1})
    change = Batch()
    change.put(keyspace.value(KEYS[0]), b"\xcd\x00\x01")
    with pytest.raises(DamagedStoreError, match="damaged"):
        damaged(store, view.root, change).get(KEYS[0])


@pytest.mark.parametrize("way", ["missing", "flipped", "cut", "another"])
def test_a_page_that_is_not_the_one_its_parent_names_is_damage(store: Store, way: str) -> None:
    view = commit(store, empty(store), {key: key for key in KEYS})
    path = b""
    page = store.get(keyspace.page(path))
    assert page is not None
    change = Batch()
    match way:
        case "missing":
            change.delete(keyspace.page(path))
        case "flipped":
            change.put(keyspace.page(path), page[:-1] + bytes((page[-1] ^ 1,)))
        case "cut":
            change.put(keyspace.page(path), page[:-1])
        case "another":
            older = Batch()
            overlay = Overlay(empty(store))
            overlay.set(KEYS[0], "other")
            empty(store).stage(overlay, older)
            change.put(keyspace.page(path), older.changes[keyspace.page(path)] or b"")
    view = damaged(store, view.root, change)
    with pytest.raises(DamagedStoreError, match=r"page root|page of the state tree"):
        view.prove(KEYS[0])
    overlay = Overlay(view)
    overlay.set(KEYS[0], "changed")
    with pytest.raises(DamagedStoreError):
        view.stage(overlay, Batch())
