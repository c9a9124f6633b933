"""What an entry rests on, and the reader through which links are followed in both directions.

The state holds each entry under its own key and cannot be listed; a node's index can. So whatever
follows links works over `DirectoryReader`, which an index implements; `MemoryDirectory` is one made
of records at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from directory.codes import Collection
from directory.models import Entrustment, Entry, Matter, Resource, System
from directory.records import EntryRecord, effective_entry, record_from_value
from ledger.codec import Value


@dataclass(frozen=True, slots=True, order=True)
class EntryName:
    """Where an entry stands."""

    collection: Collection
    identifier: str


@dataclass(frozen=True, slots=True)
class Link:
    """That an entry rests on another; `article` names the article where that is an instrument."""

    target: EntryName
    article: str | None = None


def links_of(entry: Entry) -> tuple[Link, ...]:
    """Return what an entry rests on, in its own order."""
    if isinstance(entry, System):
        return tuple(Link(EntryName("responsibility", one)) for one in entry.responsibilities)
    if isinstance(entry, Resource):
        ground = entry.sharing.ground
        systems = tuple(Link(EntryName("system", one)) for one in entry.systems)
        if ground is None:
            return systems
        return (*systems, Link(EntryName("instrument", ground.instrument), ground.article))
    if isinstance(entry, Matter):
        return (
            *(Link(EntryName("responsibility", one)) for one in entry.responsibilities),
            *(Link(EntryName("instrument", one.instrument), one.article) for one in entry.articles),
        )
    if isinstance(entry, Entrustment):
        return tuple(Link(EntryName("matter", one)) for one in entry.matters)
    return ()


class DirectoryReader(Protocol):
    """The directory as an index shows it."""

    def record(self, name: EntryName) -> EntryRecord | None:
        """Return an entry's record, or None."""
        ...

    def dependents(self, name: EntryName) -> Sequence[EntryName]:
        """Return the entries whose effective version rests on this one, in ascending order."""
        ...


@dataclass(slots=True)
class MemoryDirectory:
    """A reader over records in memory."""

    records: dict[EntryName, EntryRecord] = field(default_factory=dict)
    _dependents: dict[EntryName, list[EntryName]] = field(default_factory=dict)

    @staticmethod
    def of(values: Iterable[tuple[Collection, str, Value]]) -> MemoryDirectory:
        """Return a reader over (collection, identifier, state value)."""
        directory = MemoryDirectory()
        for collection, identifier, value in values:
            directory.records[EntryName(collection, identifier)] = record_from_value(value)
        for name, record in sorted(directory.records.items(), key=lambda item: item[0]):
            entry = effective_entry(record)
            if entry is None:
                continue
            for target in dict.fromkeys(link.target for link in links_of(entry)):
                directory._dependents.setdefault(target, []).append(name)
        return directory

    def record(self, name: EntryName) -> EntryRecord | None:
        return self.records.get(name)

    def dependents(self, name: EntryName) -> Sequence[EntryName]:
        return tuple(self._dependents.get(name, ()))
