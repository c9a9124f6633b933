"""A small world for tests of the directory: authorities, departments, officers, and a ledger's real
execution.

Everything goes the whole way of a transaction: signed, encoded, decoded, its body validated, the
role checked, executed over the state, and the state encoded and decoded again after every block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from directory.codes import Collection
from directory.models import ENTRY_MODELS, Entry
from directory.operations import OPERATIONS
from directory.records import EntryRecord, entry_key, entry_value, load_record
from ledger.admission import prepare_transaction
from ledger.codec import Value, decode, encode
from ledger.execution import BlockContext, execute
from ledger.keys import SoftwareSigner
from ledger.membership import EnrolledKey, Organisation, initial_state
from ledger.membership_operations import OPERATIONS as MEMBERSHIP_OPERATIONS
from ledger.operations import operation_table
from ledger.state import Overlay
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Operation, sign_transaction
from ledger.uscc import check_character, organisation_check_character
from ledger.validators import Validator

CHAIN_ID = "town-000102030405060708090a0b0c0d0e0f"
START_MS = 1_760_000_000_000
DAY_MS = 86_400_000
TABLE = operation_table(MEMBERSHIP_OPERATIONS, OPERATIONS)


def uscc(division: str, number: int) -> str:
    """Return a good code for the organisation `number` of a division."""
    body = f"{number:08d}"
    first = f"11{division}{body}{organisation_check_character(body)}"
    return first + check_character(first)


NATIONAL = uscc("000000", 1)
BEIJING = uscc("110000", 1)
TONGZHOU = uscc("110112", 1)
DEPARTMENT = uscc("110112", 2)
OTHER = uscc("110112", 3)
TIANJIN = uscc("120000", 1)
CENTRE = uscc("120000", 2)

_ORGANISATIONS = (
    Organisation(NATIONAL, "National", "national", "000000", NATIONAL, True, "", "active", ""),
    Organisation(BEIJING, "Beijing", "municipal", "110000", NATIONAL, True, "", "active", ""),
    Organisation(TONGZHOU, "Tongzhou", "district", "110112", BEIJING, True, "", "active", ""),
    Organisation(DEPARTMENT, "Housing", "district", "110112", TONGZHOU, False, "", "active", ""),
    Organisation(OTHER, "Archives", "district", "110112", TONGZHOU, False, "", "active", ""),
    Organisation(TIANJIN, "Tianjin", "municipal", "120000", NATIONAL, True, "", "active", ""),
    Organisation(CENTRE, "Centre", "municipal", "120000", TIANJIN, False, "", "active", ""),
)

OFFICERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "national": (NATIONAL, ("approver", "editor")),
    "national-second": (NATIONAL, ("approver", "editor")),
    "beijing": (BEIJING, ("approver", "editor", "registrar")),
    "tongzhou": (TONGZHOU, ("approver", "editor", "registrar")),
    "tongzhou-clerk": (TONGZHOU, ("reader",)),
    "editor": (DEPARTMENT, ("editor",)),
    "editor-second": (DEPARTMENT, ("editor",)),
    "clerk": (DEPARTMENT, ("operator", "recorder")),
    "stranger": (OTHER, ("editor",)),
    "tianjin": (TIANJIN, ("approver", "editor", "registrar")),
    "centre": (CENTRE, ("editor", "operator")),
}
"""Who signs: organisation and roles of each key."""


def key(label: str) -> SoftwareSigner:
    """Return the same key for the same label, always."""
    return SoftwareSigner.from_secret("ed25519", hashlib.sha256(label.encode()).digest())


class Ledger:
    """A state, changed only by blocks of signed transactions."""

    def __init__(self) -> None:
        self.height = 0
        self.time_ms = START_MS
        self.values: dict[str, bytes] = {}
        overlay = Overlay(self)
        initial_state(
            overlay,
            organisations=_ORGANISATIONS,
            keys={
                str(key(name).public_key): EnrolledKey(owner, roles, "active", 0, None, None)
                for name, (owner, roles) in OFFICERS.items()
            },
            certificate_authorities=(),
            validators=tuple(_validator(name) for name in ("a", "b", "c", "d")),
        )
        self._store(overlay.changes)

    def get(self, state_key: str) -> Value | None:
        encoding = self.values.get(state_key)
        return None if encoding is None else decode(encoding)

    def _store(self, changes: Mapping[str, Value | None]) -> None:
        for state_key, value in changes.items():
            if value is None:
                self.values.pop(state_key, None)
            else:
                self.values[state_key] = encode(value)

    def run(self, officer: str, *operations: Operation) -> str:
        """Commit one block with one transaction and return its code, "" where it took effect."""
        self.height += 1
        self.time_ms += 1000
        transaction = sign_transaction(
            SUITE,
            key(officer),
            CHAIN_ID,
            operations,
            valid_until_ms=self.time_ms + 60_000,
            nonce=self.height.to_bytes(16, "big"),
        )
        errors: list[BaseException] = []
        execution = execute(
            self,
            BlockContext(SUITE, CHAIN_ID, self.height, self.time_ms),
            [prepare_transaction(SUITE, TABLE, transaction.raw)],
            (),
            (),
            lambda _id, _kind, error: errors.append(error),
        )
        if errors:
            raise errors[0]
        self._store(execution.overlay.changes)
        self.text = execution.results[0].text
        self.events = execution.results[0].events
        return execution.results[0].code

    def submit(self, officer: str, verb: str, entry: Entry) -> str:
        """Publish or amend an entry."""
        kind = f"directory.{entry.collection}.{verb}"
        return self.run(officer, Operation(kind, entry_value(entry)))

    def retire(self, officer: str, collection: Collection, identifier: str) -> str:
        body = {"id": identifier, "reason": "no longer needed"}
        return self.run(officer, Operation(f"directory.{collection}.retire", body))

    def decide(
        self,
        officer: str,
        verb: str,
        collection: Collection,
        identifier: str,
        version: bytes | None = None,
    ) -> str:
        """Approve, return or withdraw what waits, or the version named."""
        if version is None:
            record = self.record(collection, identifier)
            waiting = record.pending if record is not None else None
            version = bytes(32) if waiting is None else waiting.version
        body: dict[str, Value] = {"collection": collection, "id": identifier, "version": version}
        if verb == "return":
            body["opinion"] = "please say it clearly"
        return self.run(officer, Operation(f"directory.entry.{verb}", body))

    def record(self, collection: Collection, identifier: str) -> EntryRecord | None:
        return load_record(self, collection, identifier)

    def value(self, collection: Collection, identifier: str) -> Value | None:
        return self.get(entry_key(collection, identifier))

    def establish(self, *entries: Entry) -> None:
        """Publish and approve entries, as their owner's editor and its authority's approver."""
        for entry in entries:
            editor, approver = _RESPONSIBLE[entry.owner]
            assert self.submit(editor, "publish", entry) == "", self.text
            code = self.decide(approver, "approve", entry.collection, entry.identifier)
            assert code == "", f"{code}: {self.text}"


_RESPONSIBLE = {
    NATIONAL: ("national", "national-second"),
    BEIJING: ("beijing", "national"),
    TONGZHOU: ("tongzhou", "beijing"),
    DEPARTMENT: ("editor", "tongzhou"),
    OTHER: ("stranger", "tongzhou"),
    CENTRE: ("centre", "tianjin"),
}


def _validator(name: str) -> Validator:
    keys = (str(key(f"{use} {name}").public_key) for use in ("consensus", "log", "witness"))
    return Validator.from_texts(name, uscc("110000", ord(name)), *keys)


LAW = f"{NATIONAL}-housing-law"
SYSTEM = f"{DEPARTMENT}-desk"
RESOURCE = f"{DEPARTMENT}-applications"
MATTER = f"{DEPARTMENT}0000000000001"
LICENSE_TYPE = f"{NATIONAL}001"
ENTRUSTMENT = f"{DEPARTMENT}-{CENTRE}"

BODIES: Mapping[Collection, Mapping[str, Any]] = {
    "instrument": {
        "id": LAW,
        "kind": "law",
        "name": "Housing law",
        "number": "No. 7",
        "issuer": "The people's congress",
        "in_force_from_ms": START_MS - 365 * DAY_MS,
        "in_force_until_ms": START_MS + 365 * DAY_MS,
        "articles": ("1", "2", "2-2", "29"),
        "digest": bytes(range(32)),
    },
    "responsibility": {
        "department": DEPARTMENT,
        "number": 1,
        "name": "Housing subsidies",
        "text": "Grant housing subsidies to residents and check their grounds.",
        "catch_all": False,
    },
    "system": {
        "id": SYSTEM,
        "name": "Subsidy desk",
        "summary": "Takes applications.",
        "responsibilities": (f"{DEPARTMENT}-1",),
        "network": "extranet",
        "hosting": "district_cloud",
    },
    "resource": {
        "id": RESOURCE,
        "name": "Applications for subsidies",
        "code": "301/12",
        "summary": "Who applied for what.",
        "format": "database",
        "systems": (SYSTEM,),
        "items": (
            {"name": "applicant", "type": "text", "grade": "important", "sensitive": True},
            {"name": "day", "type": "date", "grade": "general", "sensitive": False},
        ),
        "grade": "important",
        "confidential": False,
        "sharing": {"type": "conditional", "method": "service", "condition": "for audits"},
        "opening": {"open": False},
        "update_cycle": "daily",
        "related": (),
    },
    "matter": {
        "code": MATTER,
        "name": "Apply for a housing subsidy",
        "department": DEPARTMENT,
        "responsibilities": (f"{DEPARTMENT}-1",),
        "articles": ({"instrument": LAW, "article": "29"},),
        "licenses": (
            {
                "type": LICENSE_TYPE,
                "fields": ({"name": "address", "reason": "Subsidies depend on the district."},),
            },
        ),
        "modes": ("holder", "statutory"),
    },
    "entrustment": {
        "department": DEPARTMENT,
        "organisation": CENTRE,
        "matters": (MATTER,),
        "valid_from_ms": START_MS,
        "valid_to_ms": START_MS + 30 * DAY_MS,
        "document": "Letter of entrustment",
        "digest": bytes(32),
    },
}
"""A valid body of each collection; they rest on one another."""


@dataclass(frozen=True)
class _Unset:
    pass


UNSET = _Unset()


def body_of(collection: Collection, **changes: Any) -> dict[str, Any]:
    """Return the sample body with changes; `UNSET` leaves a field out."""
    merged = {**BODIES[collection], **changes}
    return {name: value for name, value in merged.items() if value is not UNSET}


def sample(collection: Collection, **changes: Any) -> Entry:
    """Return the sample entry with changes."""
    return ENTRY_MODELS[collection].model_validate(body_of(collection, **changes))


def everything() -> tuple[Entry, ...]:
    """Return one entry of each collection, each after what it rests on."""
    return tuple(sample(collection) for collection in BODIES)
