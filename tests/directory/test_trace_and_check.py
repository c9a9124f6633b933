"""Links between entries: traced both ways, and checked for what does not match."""

from __future__ import annotations

from collections.abc import Sequence

from directory.check import EXPLANATIONS, Finding, FindingCode, check_structure
from directory.codes import Collection
from directory.links import EntryName, MemoryDirectory
from directory.trace import Direction, TraceNode, trace
from tests.directory.town import (
    DAY_MS,
    DEPARTMENT,
    ENTRUSTMENT,
    LAW,
    MATTER,
    RESOURCE,
    START_MS,
    SYSTEM,
    Ledger,
    sample,
)

FIRST = f"{DEPARTMENT}-1"


def reader(ledger: Ledger) -> MemoryDirectory:
    """Return a reader over the ledger's whole directory."""
    values = []
    for state_key in ledger.values:
        module, collection, identifier = state_key.split("/")
        if module == "directory":
            values.append((collection, identifier, ledger.get(state_key)))
    return MemoryDirectory.of(values)  # type: ignore[arg-type]


def outline(node: TraceNode) -> list[str]:
    """Return a trace as indented lines."""
    return [
        f"{'  ' * depth}{one.name.collection} {one.status}"
        + (f" {one.article}" if one.article else "")
        for depth, one in node.walk()
    ]


def follow(
    ledger: Ledger, collection: Collection, identifier: str, direction: Direction
) -> list[str]:
    return outline(trace(reader(ledger), EntryName(collection, identifier), direction))


def test_an_entrustment_is_traced_to_the_law(ledger: Ledger) -> None:
    assert follow(ledger, "entrustment", ENTRUSTMENT, "basis") == [
        "entrustment effective",
        "  matter effective",
        "    responsibility effective",
        "    instrument effective 29",
    ]


def test_data_are_traced_to_the_responsibility(ledger: Ledger) -> None:
    assert follow(ledger, "resource", RESOURCE, "basis") == [
        "resource effective",
        "  system effective",
        "    responsibility effective",
    ]


def test_a_responsibility_is_traced_to_everything_that_rests_on_it(ledger: Ledger) -> None:
    assert follow(ledger, "responsibility", FIRST, "dependents") == [
        "responsibility effective",
        "  matter effective",
        "    entrustment effective",
        "  system effective",
        "    resource effective",
    ]


def test_a_law_is_traced_to_everything_that_rests_on_it(ledger: Ledger) -> None:
    assert follow(ledger, "instrument", LAW, "dependents") == [
        "instrument effective",
        "  matter effective",
        "    entrustment effective",
    ]


def test_a_trace_shows_what_is_missing_or_retired(ledger: Ledger) -> None:
    assert ledger.retire("editor", "responsibility", FIRST) == ""
    assert ledger.decide("tongzhou", "approve", "responsibility", FIRST) == ""
    assert follow(ledger, "resource", RESOURCE, "basis")[-1] == "    responsibility retired"
    assert follow(ledger, "matter", f"{DEPARTMENT}0000000000009", "basis") == ["matter missing"]
    assert follow(ledger, "system", SYSTEM, "dependents") == [
        "system effective",
        "  resource effective",
    ]


def test_what_waits_for_approval_is_not_traced(ledger: Ledger) -> None:
    other = sample("system", id=f"{DEPARTMENT}-other")
    assert ledger.submit("editor", "publish", other) == ""
    assert follow(ledger, "system", other.identifier, "basis") == ["system pending"]
    assert "other" not in "".join(follow(ledger, "responsibility", FIRST, "dependents"))


def test_a_trace_becomes_json_with_titles(ledger: Ledger) -> None:
    value = trace(reader(ledger), EntryName("matter", MATTER), "basis").to_value()
    assert value["title"] == "Apply for a housing subsidy"
    children = value["children"]
    assert isinstance(children, Sequence) and len(children) == 2


def test_a_trace_that_grows_too_large_says_so() -> None:
    ledger = Ledger()
    ledger.establish(sample("responsibility"))
    rows = [("responsibility", FIRST, ledger.value("responsibility", FIRST))]
    town = Ledger()
    town.establish(sample("responsibility"), sample("system"))
    value = town.value("system", SYSTEM)
    assert isinstance(value, dict)
    for number in range(2_001):
        identifier = f"{DEPARTMENT}-s{number}"
        effective = {**value["effective"], "id": identifier}
        rows.append(("system", identifier, {**value, "effective": effective}))
    directory = MemoryDirectory.of(rows)  # type: ignore[arg-type]
    node = trace(directory, EntryName("responsibility", FIRST), "dependents")
    assert node.cut and node.children == ()


def findings(ledger: Ledger, time_ms: int = START_MS) -> list[tuple[FindingCode, str]]:
    directory = reader(ledger)
    found = check_structure(directory, sorted(directory.records), time_ms)
    return [(finding.code, finding.name.collection) for finding in found]


def test_a_directory_that_matches_has_no_findings(ledger: Ledger) -> None:
    assert findings(ledger) == []


def test_a_responsibility_needs_a_system_with_data() -> None:
    ledger = Ledger()
    ledger.establish(sample("responsibility"))
    assert findings(ledger) == [("responsibility_without_system", "responsibility")]
    ledger.establish(sample("system"))
    assert findings(ledger) == [
        ("responsibility_without_data", "responsibility"),
        ("system_without_data", "system"),
    ]
    ledger.establish(sample("resource"))
    assert findings(ledger) == []


def test_a_catch_all_clause_needs_nothing() -> None:
    ledger = Ledger()
    ledger.establish(sample("responsibility", text="Do other work.", catch_all=True))
    assert findings(ledger) == []


def test_what_lost_its_basis_is_found(ledger: Ledger) -> None:
    assert ledger.retire("editor", "responsibility", FIRST) == ""
    assert ledger.decide("tongzhou", "approve", "responsibility", FIRST) == ""
    assert findings(ledger) == [("basis_missing", "matter"), ("basis_missing", "system")]


def test_what_rests_on_a_clause_turned_catch_all_is_found(ledger: Ledger) -> None:
    assert ledger.submit("editor", "amend", sample("responsibility", catch_all=True)) == ""
    assert ledger.decide("tongzhou", "approve", "responsibility", FIRST) == ""
    assert findings(ledger) == [("rests_on_catch_all", "matter"), ("rests_on_catch_all", "system")]


def test_time_brings_findings_of_its_own(ledger: Ledger) -> None:
    assert findings(ledger, START_MS + 31 * DAY_MS) == [("entrustment_over", "entrustment")]
    assert findings(ledger, START_MS + 366 * DAY_MS) == [
        ("entrustment_over", "entrustment"),
        ("article_not_in_force", "matter"),
    ]


def test_a_system_that_moves_is_found(ledger: Ledger) -> None:
    inner = sample("system", id=f"{DEPARTMENT}-inner", network="intranet")
    secret = sample(
        "resource",
        id=f"{DEPARTMENT}-secret",
        systems=(inner.identifier,),
        confidential=True,
        related=(RESOURCE, f"{DEPARTMENT}-gone"),
    )
    ledger.establish(inner, secret)
    assert findings(ledger) == [("related_missing", "resource")]
    moved = inner.model_copy(update={"network": "portal", "hosting": "own_premises"})
    assert ledger.submit("editor", "amend", moved) == ""
    assert ledger.decide("tongzhou", "approve", "system", inner.identifier) == ""
    assert findings(ledger) == [
        ("confidential_on_open_network", "resource"),
        ("related_missing", "resource"),
        ("system_off_cloud", "system"),
    ]


def test_findings_say_in_words_what_is_wrong() -> None:
    finding = Finding("basis_missing", EntryName("matter", MATTER), FIRST)
    assert finding.text == f"{MATTER} rests on an entry that does not count ({FIRST})"
    assert finding.to_value()["code"] == "basis_missing"
    assert all(EXPLANATIONS.values())
