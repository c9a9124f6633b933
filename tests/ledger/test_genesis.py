"""Genesis: the file both ways, the chain id, and everything that does not fit together."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ledger.codec import Value
from ledger.errors import DecodeError
from ledger.genesis import Genesis, Parameters
from ledger.membership import CertificateAuthority, EnrolledKey, enrolled_key, organisation
from ledger.state import Overlay
from tests.ledger.chain import EDITOR, START_MS, Member, make_genesis, members, signer, uscc

GENESIS = make_genesis(
    certificate_authorities=[CertificateAuthority("ca-b", uscc("110000"), b"\x30\x00", "active")]
)


class Empty:
    def get(self, key: str) -> Value | None:
        return None


def test_the_file_reads_back_as_the_same_genesis() -> None:
    text = GENESIS.to_json()
    assert Genesis.from_json(text) == GENESIS
    assert Genesis.from_json(text.encode()) == GENESIS
    assert Genesis.from_json(text).to_json() == text


def test_the_chain_id_is_the_name_and_the_first_half_of_the_hash() -> None:
    assert GENESIS.chain_id == f"test-{GENESIS.hash.hex()[:32]}"
    longest = make_genesis(name="a" * 17)
    assert len(longest.chain_id) == 50


def test_the_order_of_lists_in_the_file_changes_nothing() -> None:
    file = json.loads(GENESIS.to_json())
    for value in file.values():
        if isinstance(value, list):
            value.reverse()
    assert Genesis.from_json(json.dumps(file)) == GENESIS


def changes_of_every_leaf(value: Any) -> list[tuple[list[Any], Any]]:
    """Return (path, other value) for every leaf of a JSON value."""
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    else:
        return [([], not value if isinstance(value, bool) else 7 if value is None else None)]
    return [([key, *path], new) for key, item in pairs for path, new in changes_of_every_leaf(item)]


def test_no_leaf_of_the_file_can_change_unseen() -> None:
    original = GENESIS.to_json()
    for path, new in changes_of_every_leaf(json.loads(original)):
        file = json.loads(original)
        target = file
        for key in path[:-1]:
            target = target[key]
        if target[path[-1]] == new:
            continue
        target[path[-1]] = new
        with pytest.raises(DecodeError):
            Genesis.from_json(json.dumps(file))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "genesis"),
        ("[]", "genesis"),
        ("{}", "chain_id"),
        ('{"a": 1, "a": 2}', "twice"),
        ("[" * 100_000, "genesis"),
        (GENESIS.to_json().replace('"name": "test"', '"name": "test", "more": 1'), "more"),
        (GENESIS.to_json().replace("sha256-ed25519", "md5-rsa"), "md5-rsa"),
        (GENESIS.to_json().replace('"time_ms": 1', '"time_ms": 2'), "states chain id"),
        (GENESIS.to_json().replace('"time_ms": 1', '"time_ms": 1.'), "time_ms"),
        ("\udcff", "genesis"),
    ],
)
def test_a_file_that_is_no_genesis_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        Genesis.from_json(text)


BEIJING = next(one for one in GENESIS.organisations if one.division == "110000")
OTHERS = [one for one in GENESIS.organisations if one is not BEIJING]
RENAMED = [replace(members()[0].validator, name="X Y"), *(m.validator for m in members()[1:])]
KEYS = dict(GENESIS.keys)
KEY = KEYS[str(EDITOR.public_key)]


def with_key(**changes: Any) -> dict[str, EnrolledKey]:
    return {**KEYS, str(EDITOR.public_key): replace(KEY, **changes)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "Test"}, "name"),
        ({"name": "a" * 18}, "name"),
        ({"time_ms": -1}, "time_ms"),
        ({"validators": [m.validator for m in members(3)]}, "3 validators"),
        (
            {
                "validators": [
                    replace(m.validator, controller=uscc("110000")) for m in members()[:2]
                ]
                + [m.validator for m in members()[2:]]
            },
            "a third or more",
        ),
        (
            {
                "validators": [
                    replace(members()[0].validator, name="X Y"),
                    *(m.validator for m in members()[1:]),
                ]
            },
            "names are",
        ),
        ({"organisations": OTHERS}, "not registered|controller"),
        ({"organisations": [*OTHERS, BEIJING, BEIJING]}, "twice"),
        ({"organisations": [*OTHERS, replace(BEIJING, parent="")]}, "parent"),
        ({"organisations": [*OTHERS, replace(BEIJING, level="galactic")]}, "level"),
        ({"organisations": [*OTHERS, replace(BEIJING, status="dissolved")]}, "active"),
        ({"organisations": [*OTHERS, replace(BEIJING, authority=False)]}, "not an authority"),
        (
            {"organisations": [*OTHERS, BEIJING, replace(BEIJING, uscc=uscc("110000", 2))]},
            "division 110000",
        ),
        ({"keys": with_key(organisation=uscc("990000"))}, "not registered"),
        (
            {
                "organisations": [
                    *OTHERS,
                    replace(BEIJING, division="110000", parent=uscc("120000")),
                ]
            },
            "no part of its parent",
        ),
        ({"keys": with_key(roles=("king",))}, "roles"),
        ({"keys": with_key(roles=("reader", "editor"))}, "roles"),
        ({"keys": with_key(status="revoked")}, "active"),
        ({"keys": with_key(enrolled_ms=START_MS + 1)}, "genesis time"),
        (
            {
                "certificate_authorities": [
                    CertificateAuthority("a", uscc("990000"), b"x", "active")
                ]
            },
            "controller",
        ),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        make_genesis(**changes)


@pytest.mark.parametrize(
    "changes",
    [{"transaction_lifetime_ms": 1}, {"max_block_bytes": 1}, {"max_block_bytes": 2**30}],
)
def test_parameters_have_bounds(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="lies between"):
        Parameters(**changes)


def test_the_initial_state_holds_what_genesis_registers() -> None:
    state = Overlay(Empty())
    GENESIS.initialise(state)
    assert organisation(state, uscc("110000")) == BEIJING
    assert enrolled_key(state, str(EDITOR.public_key)) == KEY
    assert enrolled_key(state, str(signer("stranger").public_key)) is None
    assert Member("beijing", "110000").validator in GENESIS.validators.validators
