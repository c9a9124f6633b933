"""Models of entries: every field absent, of another type or out of bounds is refused, and nothing
may be added."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from directory.codes import Collection
from directory.models import (
    ENTRY_MODELS,
    MAX_MATTERS,
    ApproveEntry,
    RetireEntry,
    ReturnEntry,
    WithdrawEntry,
)
from directory.records import entry_value
from ledger.codec import decode, encode
from ledger.operations import Body
from tests.directory.town import (
    BODIES,
    CENTRE,
    DEPARTMENT,
    LAW,
    LICENSE_TYPE,
    MATTER,
    OTHER,
    RESOURCE,
    START_MS,
    SYSTEM,
    UNSET,
    body_of,
    sample,
)

_DECISION = {"collection": "matter", "id": MATTER, "version": bytes(32), "opinion": "good"}
OPERATIONS: dict[str, tuple[type[Body], dict[str, Any]]] = {
    **{name: (ENTRY_MODELS[name], dict(body)) for name, body in BODIES.items()},
    "retire": (RetireEntry, {"id": MATTER, "reason": "over"}),
    "approve": (ApproveEntry, dict(_DECISION)),
    "return": (ReturnEntry, dict(_DECISION)),
    "withdraw": (WithdrawEntry, {"collection": "matter", "id": MATTER, "version": bytes(32)}),
}
WRONG_TYPES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 2**70, "", "x" * 9_000, b"", b"x" * 31, bytes(32)),
    *((), ("",), (None,), ({},), {}, {"": 0}, "\x00", "\x1b[2J", "\ud800", "１"),
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every field in a body, nested ones too."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield (*path, name)
            yield from paths(part, (*path, name))
    elif isinstance(value, tuple):
        for index, part in enumerate(value):
            if path:
                yield (*path, index)
            yield from paths(part, (*path, index))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a body with the part at `path` replaced, or left out if `new` is UNSET."""
    head, *rest = path
    if isinstance(value, dict):
        copy = dict(value)
        if rest:
            copy[head] = changed(copy[head], tuple(rest), new)
        elif new is UNSET:
            del copy[head]
        else:
            copy[head] = new
        return copy
    items = list(value)
    if rest:
        items[head] = changed(items[head], tuple(rest), new)
    elif new is UNSET:
        del items[head]
    else:
        items[head] = new
    return tuple(items)


OPTIONAL = {
    ("instrument", "number"),
    ("instrument", "in_force_until_ms"),
    ("system", "summary"),
    ("resource", "code"),
    ("resource", "related"),
    ("approve", "opinion"),
}
MAY_BE_EMPTY = {("resource", "related")}
ACCEPTED_ELSEWHERE = {  # a value from WRONG_TYPES that is right in this place
    ("instrument", "in_force_from_ms"): (0,),
    ("instrument", "digest"): (bytes(32),),
    ("entrustment", "valid_from_ms"): (0,),
    ("entrustment", "digest"): (bytes(32),),
    ("responsibility", "catch_all"): (True,),
    ("resource", "confidential"): (True,),
    ("approve", "version"): (bytes(32),),
    ("return", "version"): (bytes(32),),
    ("withdraw", "version"): (bytes(32),),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_sample_is_accepted_as_decoded_from_a_transaction(name: str) -> None:
    model, body = OPERATIONS[name]
    assert model.model_validate(decode(encode(body))) == model.model_validate(body)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_absent_field_is_refused(name: str) -> None:
    model, body = OPERATIONS[name]
    for path in paths(body):
        if isinstance(path[-1], int) or (name, path[-1]) in OPTIONAL:
            continue
        with pytest.raises(ValidationError):
            model.model_validate(changed(body, path, UNSET))


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_field_of_the_wrong_type_is_refused(name: str) -> None:
    model, body = OPERATIONS[name]
    for path in paths(body):
        for wrong in WRONG_TYPES:
            if _is_right(name, path, wrong):
                continue
            with pytest.raises(ValidationError):
                model.model_validate(changed(body, path, wrong))
                pytest.fail(f"{path} accepted {wrong!r}")


def _is_right(name: str, path: tuple[Any, ...], value: Any) -> bool:
    field = (name, path[-1])
    if value is None:
        return field in OPTIONAL and field[1] != "related"
    if value == () and type(value) is tuple:
        return field in MAY_BE_EMPTY
    if value == "１":  # a name in full-width digits is a name
        return path[-1] in (
            "name",
            "number",
            "issuer",
            "text",
            "summary",
            "condition",
            "reason",
        ) or (path[-1] in ("document", "opinion"))
    if type(value) is bool and path[-1] in ("sensitive", "open", "catch_all", "confidential"):
        return True
    accepted = ACCEPTED_ELSEWHERE.get(field, ())
    return any(type(one) is type(value) and one == value for one in accepted)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_unknown_field_is_refused_at_every_level(name: str) -> None:
    model, body = OPERATIONS[name]
    with pytest.raises(ValidationError):
        model.model_validate({**body, "owner": OTHER})
    for path in paths(body):
        part: Any = body
        for step in path:
            part = part[step]
        if isinstance(part, dict):
            with pytest.raises(ValidationError):
                model.model_validate(changed(body, path, {**part, "extra": 1}))


REFUSED: dict[str, tuple[Collection, dict[str, Any]]] = {
    "an instrument that ends before it begins": ("instrument", {"in_force_until_ms": 1}),
    "an article twice": ("instrument", {"articles": ("1", "1")}),
    "no articles": ("instrument", {"articles": ()}),
    "an instrument's identifier without owner": ("instrument", {"id": "housing-law"}),
    "an identifier with a bad check character": ("instrument", {"id": LAW.replace("1100", "1101")}),
    "an identifier with a slash": ("instrument", {"id": f"{DEPARTMENT}-a/b"}),
    "an identifier in capitals": ("instrument", {"id": f"{DEPARTMENT}-Law"}),
    "a responsibility numbered 0": ("responsibility", {"number": 0}),
    "a responsibility numbered 10,000": ("responsibility", {"number": 10_000}),
    "a number as text": ("responsibility", {"number": "1"}),
    "a blank text": ("responsibility", {"text": " \n "}),
    "a name of two lines": ("responsibility", {"name": "a\nb"}),
    "a system that carries out nothing": ("system", {"responsibilities": ()}),
    "a system with another's responsibility": ("system", {"responsibilities": (f"{OTHER}-1",)}),
    "a system with a responsibility twice": (
        "system",
        {"responsibilities": (f"{DEPARTMENT}-1", f"{DEPARTMENT}-1")},
    ),
    "an unknown network": ("system", {"network": "internet"}),
    "data in another's system": ("resource", {"systems": (f"{OTHER}-desk",)}),
    "data related to themselves": ("resource", {"related": (RESOURCE,)}),
    "data below the grade of an item": ("resource", {"grade": "general"}),
    "two items of one name": ("resource", {"items": (BODIES["resource"]["items"][0],) * 2}),
    "conditional sharing without its condition": (
        "resource",
        {"sharing": {"type": "conditional", "method": "file"}},
    ),
    "unconditional sharing with a condition": (
        "resource",
        {"sharing": {"type": "unconditional", "method": "file", "condition": "x"}},
    ),
    "no sharing without a ground": ("resource", {"sharing": {"type": "none"}}),
    "no sharing by a method": (
        "resource",
        {
            "sharing": {
                "type": "none",
                "method": "file",
                "ground": {"instrument": LAW, "article": "1"},
            }
        },
    ),
    "sharing without a method": ("resource", {"sharing": {"type": "unconditional"}}),
    "open but not shared": (
        "resource",
        {
            "sharing": {"type": "none", "ground": {"instrument": LAW, "article": "1"}},
            "opening": {"open": True},
        },
    ),
    "closed on a condition": ("resource", {"opening": {"open": False, "condition": "x"}}),
    "confidential and open": ("resource", {"confidential": True, "opening": {"open": True}}),
    "confidential and shared with all": (
        "resource",
        {"confidential": True, "sharing": {"type": "unconditional", "method": "file"}},
    ),
    "a matter of another department's code": ("matter", {"department": OTHER}),
    "a matter on another's responsibility": ("matter", {"responsibilities": (f"{OTHER}-1",)}),
    "a matter on no responsibility": ("matter", {"responsibilities": ()}),
    "a matter on no article": ("matter", {"articles": ()}),
    "a matter with an article twice": (
        "matter",
        {"articles": ({"instrument": LAW, "article": "1"},) * 2},
    ),
    "a matter that asks for a license in no mode": ("matter", {"modes": ()}),
    "a matter that asks for nothing in some mode": ("matter", {"licenses": ()}),
    "a mode twice": ("matter", {"modes": ("holder", "holder")}),
    "an unknown mode": ("matter", {"modes": ("anyone",)}),
    "a license type twice": ("matter", {"licenses": BODIES["matter"]["licenses"] * 2}),
    "a license type without fields": (
        "matter",
        {"licenses": ({"type": LICENSE_TYPE, "fields": ()},)},
    ),
    "a field without a reason": (
        "matter",
        {"licenses": ({"type": LICENSE_TYPE, "fields": ({"name": "address", "reason": " "},)},)},
    ),
    "a field twice": (
        "matter",
        {
            "licenses": (
                {"type": LICENSE_TYPE, "fields": ({"name": "address", "reason": "r"},) * 2},
            )
        },
    ),
    "an entrustment of oneself": ("entrustment", {"organisation": DEPARTMENT}),
    "an entrustment with another's matter": (
        "entrustment",
        {"matters": (f"{OTHER}0000000000001",)},
    ),
    "an entrustment that ends when it begins": ("entrustment", {"valid_to_ms": START_MS}),
    "an entrustment without matters": ("entrustment", {"matters": ()}),
    "an entrustment with too many matters": (
        "entrustment",
        {"matters": tuple(f"{DEPARTMENT}{n:013d}" for n in range(MAX_MATTERS + 1))},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_entry_that_contradicts_itself_is_refused(name: str) -> None:
    collection, changes = REFUSED[name]
    with pytest.raises(ValidationError):
        ENTRY_MODELS[collection].model_validate(body_of(collection, **changes))


def test_entries_know_their_identifier_and_owner() -> None:
    identifiers = {
        "instrument": LAW,
        "responsibility": f"{DEPARTMENT}-1",
        "system": SYSTEM,
        "resource": RESOURCE,
        "matter": MATTER,
        "entrustment": f"{DEPARTMENT}-{CENTRE}",
    }
    for collection, identifier in identifiers.items():
        entry = sample(collection)  # type: ignore[arg-type]
        assert entry.identifier == identifier
        assert entry.owner == identifier[:18]
        assert entry.title


@pytest.mark.parametrize("collection", BODIES)
def test_an_entry_survives_json_and_the_codec(collection: Collection) -> None:
    entry = sample(collection)
    model = ENTRY_MODELS[collection]
    assert model.model_validate_json(entry.model_dump_json(exclude_none=True)) == entry
    assert model.model_validate(decode(encode(entry_value(entry)))) == entry
