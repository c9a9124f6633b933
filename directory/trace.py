"""Follows an entry's links: to what it rests on, down to articles of law, or to everything that
rests on it.

Resource → system → responsibility; matter → responsibility and article; entrustment → matter. The
links form no cycle, since each goes from one kind to another. A trace shows dangling links, too: an
entry that is missing or counts no longer is the finding that somebody looks for.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from directory.links import DirectoryReader, EntryName, Link, links_of
from directory.records import Status, effective_entry
from ledger.codec import Value

MAX_NODES: Final = 2_000
"""A department's whole directory; a trace that would be larger says so."""

Direction = Literal["basis", "dependents"]


@dataclass(frozen=True, slots=True)
class TraceNode:
    """One entry of a trace. `status` is "missing" where no such entry exists; `title` is "" where
    no version counts.

    `article` is the article of an instrument on which the node above rests. `cut` tells that the
    trace became too large and the links of this entry were not followed.
    """

    name: EntryName
    status: Status | Literal["missing"]
    title: str
    article: str | None
    cut: bool
    children: tuple[TraceNode, ...]

    def walk(self) -> Iterator[tuple[int, TraceNode]]:
        """Yield every node with its depth, parents before children."""
        yield 0, self
        for child in self.children:
            for depth, node in child.walk():
                yield depth + 1, node

    def to_value(self) -> dict[str, Value]:
        """Return the trace as the map that JSON output shows."""
        return {
            "collection": self.name.collection,
            "id": self.name.identifier,
            "status": self.status,
            "title": self.title,
            "article": self.article,
            "cut": self.cut,
            "children": [child.to_value() for child in self.children],
        }


@dataclass(slots=True)
class _Budget:
    nodes: int


def trace(reader: DirectoryReader, start: EntryName, direction: Direction) -> TraceNode:
    """Follow links from an entry. `basis`: what it rests on; `dependents`: what rests on it."""
    steps = trace_steps(reader, start, direction)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: TraceNode = end.value
            return found


def trace_steps(
    reader: DirectoryReader, start: EntryName, direction: Direction
) -> Generator[None, None, TraceNode]:
    """Follow links as `trace` does, and yield after each entry: who has other work goes on with it."""
    return _trace(reader, Link(start), direction, _Budget(MAX_NODES))


def _trace(
    reader: DirectoryReader, link: Link, direction: Direction, budget: _Budget
) -> Generator[None, None, TraceNode]:
    name = link.target
    record = reader.record(name)
    entry = effective_entry(record)
    names: Sequence[EntryName] = ()
    following: Sequence[Link] = ()
    if direction == "dependents":
        names = reader.dependents(name)  # of an instrument, say, a hundred thousand
    elif entry is not None:
        following = links_of(entry)
    cut = max(len(names), len(following)) > budget.nodes
    if cut:
        following = ()
    elif names:
        following = [Link(dependent) for dependent in names]
    budget.nodes -= len(following)
    yield
    children: list[TraceNode] = []
    for further in following:
        children.append((yield from _trace(reader, further, direction, budget)))
    return TraceNode(
        name,
        "missing" if record is None else record.status,
        "" if entry is None else entry.title,
        link.article,
        cut,
        tuple(children),
    )
