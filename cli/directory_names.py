"""The names of what an entry mentions by code: organisations, the owners of keys, and the entries that it rests on.

Names are for people to read beside the codes, as a node tells them; nothing is concluded from them. Nothing that a node
tells in their place keeps an entry from being shown: then it is shown without names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias, cast

from directory.records import entry_key
from ledger.bundle import Bundle
from ledger.codec import Value, decode
from ledger.errors import DecodeError
from ledger.membership import enrolled_key_key, organisation_key
from ledger.suite import SHA256_ED25519
from node.answers import Json
from node.client import NodeClient
from node.errors import ApiProblem, NodeUnreachable

Mention: TypeAlias = tuple[str, str]
"""What is mentioned – "organisation", "key", or the collection of an entry – and by which code."""

_ORGANISATION: Final = "organisation"
KEY: Final = "key"

_KINDS: Final[Mapping[str, str]] = {
    "owner": _ORGANISATION,
    "department": _ORGANISATION,
    "organisation": _ORGANISATION,
    "submitter": KEY,
    "approver": KEY,
    "by": KEY,
    "instrument": "instrument",
    "responsibilities": "responsibility",
    "systems": "system",
    "related": "resource",
    "matters": "matter",
}
"""What the fields of records and entries mention, by the field's name."""

_KEYS_AT_ONCE: Final = 50
"""State values asked for together: so many of the longest still fit into one answer (docs/API.md)."""


def with_mentions(value: Any, told: Callable[[Mention], str], field: str = "") -> Any:
    """Return a record with each mention, at any depth, as `told` shows it."""
    if isinstance(value, Mapping):
        return {name: with_mentions(one, told, name) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [with_mentions(one, told, field) for one in value]
    if isinstance(value, str) and field in _KINDS:
        return told((_KINDS[field], value))
    return value


def names_in(client: NodeClient, record: Json) -> dict[Mention, str]:
    """Return the names of what a record mentions, as far as the node tells them; it is asked for many at once."""
    mentions: dict[Mention, None] = {}

    def note(mention: Mention) -> str:
        mentions[mention] = None
        return mention[1]

    with_mentions(record, note)
    try:
        return _names(client, mentions)
    except (ApiProblem, NodeUnreachable, DecodeError):
        return {}  # names are for members, an open entry is shown to all; or what was told is none


def _names(client: NodeClient, mentions: Iterable[Mention]) -> dict[Mention, str]:
    found = _values(client, mentions)
    owners = {
        mention: (_ORGANISATION, owner)
        for mention, value in found.items()
        if mention[0] == KEY and (owner := _text(value, "organisation"))
    }
    found |= _values(client, (owner for owner in owners.values() if owner not in found))
    names = {mention: _name(mention, value) for mention, value in found.items()}
    return names | {mention: names.get(owner, owner[1]) for mention, owner in owners.items()}


def _name(mention: Mention, value: Value) -> str:
    """Return what people call an organisation or entry: by the version that counts, else the one that waits."""
    kind, _ = mention
    if kind == KEY:
        return ""
    if kind == _ORGANISATION:
        return _text(value, "name")
    return _text(value, "effective", "name") or _text(value, "pending", "body", "name")


def _text(value: Value, *fields: str) -> str:
    """Return the text at a path of fields; "" where there is none: nobody has verified what a node tells."""
    for field in fields:
        value = value.get(field) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""


def _values(client: NodeClient, mentions: Iterable[Mention]) -> dict[Mention, Value]:
    """Return the state's values of what is mentioned, where there are any."""
    by_key: dict[str, Mention] = {}
    for mention in mentions:
        with contextlib.suppress(ValueError):  # of a code that no key can have, there is no value
            by_key[_state_key(mention)] = mention
    keys = list(by_key)
    found = {}
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        data = client.state_evidence(*keys[start : start + _KEYS_AT_ONCE])
        for state in Bundle.decode(SHA256_ED25519, data).states:
            if state.value is not None and state.key in by_key:
                found[by_key[state.key]] = decode(state.value)
    return found


def _state_key(mention: Mention) -> str:
    kind, code = mention
    if kind == KEY:
        return enrolled_key_key(code)
    if kind == _ORGANISATION:
        return organisation_key(code)
    return entry_key(cast("Any", kind), code)
