"""Import: whole files or nothing, and errors that say where."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory.codes import COLLECTIONS, Collection
from directory.importing import (
    COLUMNS,
    MAX_IMPORT_BYTES,
    MAX_PROBLEMS,
    InvalidImport,
    amend_operation,
    batches,
    entries_from_csv,
    entries_from_json,
    entries_from_statement,
    publish_operation,
)
from directory.models import Responsibility
from directory.statement import parse_statement
from ledger.keys import SoftwareSigner
from ledger.limits import MAX_OPERATIONS
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Operation, sign_transaction
from tests.directory.town import DEPARTMENT, LAW, LICENSE_TYPE, MATTER, everything, sample


def problems(error: pytest.ExceptionInfo[InvalidImport]) -> list[tuple[str, str]]:
    return [(problem.place, problem.field) for problem in error.value.problems]


def as_json(*collections: Collection) -> bytes:
    entries = {one.collection: one for one in everything()}
    return json.dumps(
        {
            name: [json.loads(entries[name].model_dump_json(exclude_none=True))]
            for name in collections
        }
    ).encode()


def as_csv(header: list[str], *rows: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue().encode("utf-8-sig")


def test_entries_of_all_collections_are_read_from_json() -> None:
    assert entries_from_json(as_json(*COLLECTIONS)) == everything()


CSV: dict[Collection, dict[str, str]] = {
    "instrument": {
        "id": LAW,
        "kind": "law",
        "name": "Housing law",
        "number": "No. 7",
        "issuer": "The people's congress",
        "in_force_from_ms": "1728464000000",
        "in_force_until_ms": "1791536000000",
        "articles": "1..2; 2-2; 29",
        "digest": bytes(range(32)).hex(),
    },
    "responsibility": {
        "department": DEPARTMENT,
        "number": "1",
        "name": "Housing subsidies",
        "text": "Grant housing subsidies to residents and check their grounds.",
        "catch_all": "否",
    },
    "system": {
        "id": f"{DEPARTMENT}-desk",
        "name": "Subsidy desk",
        "summary": "Takes applications.",
        "responsibilities": f"{DEPARTMENT}-1",
        "network": "extranet",
        "hosting": "district_cloud",
    },
    "resource": {
        "id": f"{DEPARTMENT}-applications",
        "name": "Applications for subsidies",
        "code": "301/12",
        "summary": "Who applied for what.",
        "format": "database",
        "systems": f"{DEPARTMENT}-desk",
        "items": "applicant|text|important|true; day|date|general|no",
        "grade": "important",
        "confidential": "false",
        "sharing_type": "conditional",
        "sharing_method": "service",
        "sharing_condition": "for audits",
        "sharing_ground": "",
        "open": "No",
        "open_condition": "",
        "update_cycle": "daily",
        "related": "",
    },
    "matter": {
        "code": MATTER,
        "name": "Apply for a housing subsidy",
        "department": DEPARTMENT,
        "responsibilities": f"{DEPARTMENT}-1；",
        "articles": f"{LAW}#29",
        "licenses": f"{LICENSE_TYPE}.address=Subsidies depend on the district.",
        "modes": "holder;statutory",
    },
    "entrustment": {
        "department": DEPARTMENT,
        "organisation": sample("entrustment").identifier[19:],
        "matters": MATTER,
        "valid_from_ms": "1760000000000",
        "valid_to_ms": "1762592000000",
        "document": "Letter of entrustment",
        "digest": "00" * 32,
    },
}


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_an_entry_is_read_from_csv(collection: Collection) -> None:
    row = CSV[collection]
    assert set(row) == set(COLUMNS[collection])
    assert entries_from_csv(as_csv(list(row), list(row.values())), collection) == (
        sample(collection),
    )


def test_dates_count_from_midnight_in_beijing() -> None:
    row = {**CSV["entrustment"], "valid_from_ms": "2025-01-01", "valid_to_ms": "2025-01-02"}
    (entry,) = entries_from_csv(as_csv(list(row), list(row.values())), "entrustment")
    assert entry.model_dump()["valid_from_ms"] == 1_735_660_800_000
    assert entry.model_dump()["valid_to_ms"] == 1_735_747_200_000


@pytest.mark.parametrize("header", [list(CSV["responsibility"]), list(CSV["responsibility"])[:-1]])
def test_whether_a_clause_is_a_catch_all_is_read_from_its_text_where_a_table_does_not_say(
    header: list[str],
) -> None:
    blank = [""] * (len(header) - 4)
    texts = ("Keeps the archives.", "Carries out other tasks assigned by the Government.")
    rows = [[DEPARTMENT, str(number), "a", text, *blank] for number, text in enumerate(texts, 1)]
    entries = entries_from_csv(as_csv(header, *rows), "responsibility")
    assert [one.catch_all for one in entries if isinstance(one, Responsibility)] == [False, True]


def test_every_faulty_cell_is_named_with_its_line() -> None:
    header = list(CSV["responsibility"])
    good = list(CSV["responsibility"].values())
    with pytest.raises(InvalidImport) as error:
        entries_from_csv(
            as_csv(
                header,
                good,
                [DEPARTMENT, "two", "a", "b", "no"],
                [],
                [DEPARTMENT, "3", "", "b", "perhaps"],
                [DEPARTMENT, "4", "a", "b"],
                ["11110112MB1D52349C", "5", "a", "b", "no"],
                good,
            ),
            "responsibility",
        )
    assert problems(error) == [
        ("line 3", "number"),
        ("line 5", "catch_all"),
        ("line 6", ""),
        ("line 7", "department"),
        ("line 8", ""),
    ]
    assert "line 2 already" in str(error.value)


@pytest.mark.parametrize(
    ("collection", "column", "cell"),
    [
        ("instrument", "articles", "1..9999"),
        ("instrument", "articles", "9..1"),
        ("instrument", "articles", "a..b"),
        ("instrument", "in_force_from_ms", "2025-13-01"),
        ("instrument", "in_force_from_ms", "soon"),
        ("instrument", "digest", "xyz"),
        ("matter", "articles", LAW),
        ("matter", "licenses", "x=y"),
        ("resource", "items", "a|text"),
        ("resource", "items", "a|text|general|perhaps"),
        ("resource", "open", "maybe"),
        ("resource", "confidential", "1"),
        ("responsibility", "number", "9" * 40),
    ],
)
def test_a_cell_that_cannot_be_read_is_refused(
    collection: Collection, column: str, cell: str
) -> None:
    row = {**CSV[collection], column: cell}
    with pytest.raises(InvalidImport) as error:
        entries_from_csv(as_csv(list(row), list(row.values())), collection)
    assert problems(error)[0] == ("line 2", column)


NO_CSV = {
    "no header": b"",
    "an unknown column": as_csv(["department", "colour"], ["a", "b"]),
    "a column twice": as_csv(["number", "number"], ["1", "2"]),
    "too many columns": as_csv(["x"] * 100),
    "an open quote": b'department,number\n"a,1\n',
    "no rows": as_csv(list(CSV["responsibility"])),
    "binary": b"\x00\x01\xff",
    "too large": b"x" * (MAX_IMPORT_BYTES + 1),
}


@pytest.mark.parametrize("name", NO_CSV)
def test_what_is_no_such_csv_is_refused(name: str) -> None:
    with pytest.raises(InvalidImport):
        entries_from_csv(NO_CSV[name], "responsibility")


NO_JSON = {
    "nothing": b"",
    "no object": b"[]",
    "an empty object": b"{}",
    "a number": b"1",
    "an unknown collection": b'{"secrets": []}',
    "no array": b'{"matter": {}}',
    "no entries": b'{"matter": []}',
    "a key twice": b'{"matter": [], "matter": []}',
    "NaN": b'{"matter": [NaN]}',
    "deep nesting": b'{"matter": [' + b"[" * 100_000,
    "deep nesting, closed": b'{"matter": [' + b"[" * 900 + b"]" * 900 + b"]}",
    "a huge number": b'{"matter": [' + b"9" * 10_000 + b"]}",
    "a lone surrogate": b'{"matter": ["\\ud800"]}',
    "cut off": as_json("matter")[:-1],
    "binary": b"\xff\x00\xff",
}


@pytest.mark.parametrize("name", NO_JSON)
def test_what_is_no_such_json_is_refused(name: str) -> None:
    with pytest.raises(InvalidImport):
        entries_from_json(NO_JSON[name])


def test_a_faulty_entry_in_json_is_named_with_its_place_and_field() -> None:
    parsed: dict[str, list[Any]] = json.loads(as_json("matter", "system"))
    parsed["matter"].append({**parsed["matter"][0], "modes": ["anyone"], "extra": 1})
    parsed["system"].append(parsed["system"][0])
    with pytest.raises(InvalidImport) as error:
        entries_from_json(json.dumps(parsed).encode())
    assert problems(error) == [
        ("matter[1]", "modes.0"),
        ("matter[1]", "extra"),
        ("system[1]", ""),
    ]


def test_only_so_many_problems_are_listed() -> None:
    with pytest.raises(InvalidImport, match="and 50 more") as error:
        entries_from_json(json.dumps({"matter": [1] * (MAX_PROBLEMS + 50)}).encode())
    assert len(error.value.problems) == MAX_PROBLEMS


def test_a_statement_becomes_responsibilities() -> None:
    statement = parse_statement("(1) Plan roads, parks.\n(2) Do other work assigned by the city.")
    entries = entries_from_statement(statement, DEPARTMENT)
    assert [(one.identifier, one.name, one.catch_all) for one in entries] == [
        (f"{DEPARTMENT}-1", "Plan roads, parks", False),
        (f"{DEPARTMENT}-2", "Do other work assigned by the city", True),
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("No numbers here.", "statement"),
        ("(1) Plan.\n(2) Build.\n(2) Check.", "paragraph 2"),
        ("(1) Plan.\n(2)\n(3) Check.", "paragraph 2"),
        ("(1) Plan.\n(2) " + "x" * 8_001, "paragraph 2"),
    ],
)
def test_a_statement_that_is_none_is_refused_with_the_paragraph(text: str, place: str) -> None:
    with pytest.raises(InvalidImport) as error:
        entries_from_statement(parse_statement(text), DEPARTMENT)
    assert problems(error)[0][0] == place


def test_a_statement_of_an_unknown_department_is_refused() -> None:
    with pytest.raises(InvalidImport) as error:
        entries_from_statement(parse_statement("(1) Plan."), "11110112MB1D52349X")
    assert problems(error) == [("paragraph 1", "department")]


def test_operations_name_their_collection() -> None:
    entry = sample("system")
    assert publish_operation(entry).kind == "directory.system.publish"
    assert amend_operation(entry).kind == "directory.system.amend"
    assert publish_operation(entry).body == amend_operation(entry).body


@given(st.lists(st.integers(1, 8_000), max_size=40), st.integers(0, 300))
def test_batches_keep_order_and_fit_transactions(lengths: list[int], small: int) -> None:
    operations = [
        publish_operation(sample("responsibility", number=number, text="x" * length))
        for number, length in enumerate([*lengths, *([1] * small)], start=1)
    ]
    groups = list(batches(operations))
    assert [one for group in groups for one in group] == operations
    signer = SoftwareSigner.from_secret("ed25519", bytes(32))
    for group in groups:
        assert 1 <= len(group) <= MAX_OPERATIONS
        sign_transaction(
            SUITE, signer, "c" * 50, group, valid_until_ms=2**53, nonce=bytes(16)
        )  # refuses what is too large


def test_an_operation_beyond_a_transaction_is_refused() -> None:
    with pytest.raises(InvalidImport):
        list(batches([Operation("directory.system.publish", {"x": "x" * 60_000})]))


def test_a_short_cell_does_not_stand_for_millions_of_articles() -> None:
    cell = ";".join(["1..1300"] * 16_000)
    with pytest.raises(InvalidImport) as error:
        entries_from_csv(f"articles\n{cell}\n".encode(), "instrument")
    assert problems(error) == [("line 2", "articles")]


def test_a_file_of_another_kind_is_not_read_to_its_end() -> None:
    with pytest.raises(InvalidImport) as error:
        entries_from_csv(b"name\n" + b"x\n" * 200_000, "responsibility")
    assert len(error.value.problems) == MAX_PROBLEMS
