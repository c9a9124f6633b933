"""Structure check: where responsibility, system, data and law do not match.

Approval keeps a version from counting that lacks its basis; but the basis may be retired
afterwards, or may never have been completed. This check finds that over all entries of a
department, or of the whole directory. What waits for approval is not looked at: it does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from directory.links import DirectoryReader, EntryName, links_of
from directory.models import Entrustment, Entry, Instrument, Resource, Responsibility, System
from directory.records import effective_entry
from ledger.codec import Value

FindingCode = Literal[
    "responsibility_without_system",
    "responsibility_without_data",
    "basis_missing",
    "rests_on_catch_all",
    "article_not_in_force",
    "system_without_data",
    "system_off_cloud",
    "confidential_on_open_network",
    "related_missing",
    "entrustment_over",
]

EXPLANATIONS: Final[Mapping[FindingCode, str]] = {
    "responsibility_without_system": "no system carries it out",
    "responsibility_without_data": "its systems hold no data resource",
    "basis_missing": "rests on an entry that does not count",
    "rests_on_catch_all": "rests on a catch-all clause, which covers nothing",
    "article_not_in_force": "rests on an article that is not in force",
    "system_without_data": "holds no data resource",
    "system_off_cloud": "stands on its owner's premises, not on a government cloud",
    "confidential_on_open_network": "confidential data lie in a system off the intranet",
    "related_missing": "names a related resource that does not count",
    "entrustment_over": "its period is over",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One mismatch: what, at which entry, and the entry or article that it concerns, if any."""

    code: FindingCode
    name: EntryName
    concerns: str

    @property
    def text(self) -> str:
        """The finding for people."""
        about = f" ({self.concerns})" if self.concerns else ""
        return f"{self.name.identifier} {EXPLANATIONS[self.code]}{about}"

    def to_value(self) -> dict[str, Value]:
        """Return the finding as the map that JSON output shows."""
        return {
            "code": self.code,
            "collection": self.name.collection,
            "id": self.name.identifier,
            "concerns": self.concerns,
            "text": self.text,
        }


def check_structure(
    reader: DirectoryReader, names: Iterable[EntryName], time_ms: int
) -> tuple[Finding, ...]:
    """Check the entries `names` at `time_ms`; entries of which no version counts are passed
    over."""
    return tuple(one for name in names for one in check_entry(reader, name, time_ms))


def check_entry(reader: DirectoryReader, name: EntryName, time_ms: int) -> Iterator[Finding]:
    """Yield the findings of `check_structure` at one entry."""
    entry = effective_entry(reader.record(name))
    if entry is not None:
        yield from _check_links(reader, name, entry, time_ms)
        check = _CHECKS.get(type(entry))
        if check is not None:
            yield from check(reader, name, entry, time_ms)


def _effective(reader: DirectoryReader, name: EntryName) -> Entry | None:
    return effective_entry(reader.record(name))


def _check_links(
    reader: DirectoryReader, name: EntryName, entry: Entry, time_ms: int
) -> Iterator[Finding]:
    for link in links_of(entry):
        target = _effective(reader, link.target)
        if target is None:
            yield Finding("basis_missing", name, link.target.identifier)
        elif isinstance(target, Responsibility) and target.catch_all:
            yield Finding("rests_on_catch_all", name, link.target.identifier)
        elif isinstance(target, Instrument):
            article = cast(str, link.article)
            if not target.in_force(article, time_ms):
                yield Finding("article_not_in_force", name, f"{target.id} article {article}")


def _check_responsibility(
    reader: DirectoryReader, name: EntryName, entry: Entry, time_ms: int
) -> Iterator[Finding]:
    if cast(Responsibility, entry).catch_all:
        return
    systems = [one for one in reader.dependents(name) if one.collection == "system"]
    if not systems:
        yield Finding("responsibility_without_system", name, "")
    elif not any(_has_data(reader, system) for system in systems):
        yield Finding("responsibility_without_data", name, "")


def _has_data(reader: DirectoryReader, system: EntryName) -> bool:
    return any(one.collection == "resource" for one in reader.dependents(system))


def _check_system(
    reader: DirectoryReader, name: EntryName, entry: Entry, time_ms: int
) -> Iterator[Finding]:
    if not _has_data(reader, name):
        yield Finding("system_without_data", name, "")
    if cast(System, entry).hosting == "own_premises":
        yield Finding("system_off_cloud", name, "")


def _check_resource(
    reader: DirectoryReader, name: EntryName, entry: Entry, time_ms: int
) -> Iterator[Finding]:
    resource = cast(Resource, entry)
    for identifier in resource.systems:
        system = _effective(reader, EntryName("system", identifier))
        if resource.confidential and isinstance(system, System) and system.network != "intranet":
            yield Finding("confidential_on_open_network", name, identifier)
    for identifier in resource.related:
        if _effective(reader, EntryName("resource", identifier)) is None:
            yield Finding("related_missing", name, identifier)


def _check_entrustment(
    reader: DirectoryReader, name: EntryName, entry: Entry, time_ms: int
) -> Iterator[Finding]:
    if time_ms >= cast(Entrustment, entry).valid_to_ms:
        yield Finding("entrustment_over", name, "")


_Check = Callable[[DirectoryReader, EntryName, Entry, int], Iterator[Finding]]
_CHECKS: Final[Mapping[type[Entry], _Check]] = {
    Responsibility: _check_responsibility,
    System: _check_system,
    Resource: _check_resource,
    Entrustment: _check_entrustment,
}
