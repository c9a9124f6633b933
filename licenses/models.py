"""License types, accreditations and licenses: operation bodies, state records and how to read them.

One state key a record: `licenses/type/<21 characters>`, `licenses/issuer/<type>-<USCC>`,
`licenses/license/<handle>`. A license's record carries its status history, the number of its uses
and the head of their chain, so that a past status can be proved, and a list of its uses can be
shown to be complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, NamedTuple, cast

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from directory.fields import FieldName, LicenseTypeCode
from ledger.codec import Value
from ledger.fields import Bytes32, KeyText, Name, TimeMs, Uscc, from_hex
from ledger.operations import Body
from ledger.state import State, StateReader, state_key
from licenses.use_fields import MAX_ENVELOPE_BYTES, MAX_FIELDS

VALID: Final = "01"
WITHHELD: Final = "02"
RESCINDED: Final = "03"
CANCELLED: Final = "04"
LAPSED: Final = "05"
TRANSFERRED: Final = "06"
REVOKED: Final = "07"
OTHER: Final = "99"

STATUS_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        VALID: "valid",
        WITHHELD: "withheld",
        RESCINDED: "rescinded",
        CANCELLED: "cancelled",
        LAPSED: "lapsed",
        TRANSFERRED: "transferred out",
        REVOKED: "revoked",
        OTHER: "other",
    }
)
"""The national dictionary of license statuses."""

MAX_STATUS_CHANGES: Final = 256
"""A record is rewritten with every use; a license that is withheld and given back more often than
this is revoked."""

MAX_PENDING_REQUESTS: Final = 128
"""Requests that a license remembers against replay until they expire (at most 15 minutes)."""

MAX_LICENSES_AT_ONCE: Final = 32
"""Credentials of one license (for unlinkable use) whose status changes together."""

ACCREDITED: Final = "active"
SUSPENDED: Final = "suspended"


Envelope = Annotated[
    bytes,
    Field(min_length=1, max_length=MAX_ENVELOPE_BYTES),
    BeforeValidator(from_hex),
    PlainSerializer(lambda value: value.hex(), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^([0-9a-f]{2})+$"}),
]
"""A signed structure in its canonical encoding, kept as the very bytes that were signed."""


class LicenseField(Body):
    """One field of a license type."""

    name: FieldName
    title: Name


class DefineType(Body):
    """Define a license type, or replace its name and fields with wider ones."""

    type: LicenseTypeCode
    name: Name
    holder_kind: Literal["person", "organisation"]
    fields: Annotated[tuple[LicenseField, ...], Field(min_length=1, max_length=MAX_FIELDS)]


class AccreditIssuer(Body):
    """Accredit an issuer for a type, for a period; again after a suspension, or to change the
    period."""

    type: LicenseTypeCode
    issuer: Uscc
    valid_from_ms: TimeMs
    valid_to_ms: TimeMs | None = None


class SuspendIssuer(Body):
    """Suspend an accreditation: no new licenses; those recorded before stay valid."""

    type: LicenseTypeCode
    issuer: Uscc
    reason: Name


class IssueLicense(Body):
    """Record a license: its handle, the digest of its credential, and who may consent to its use.

    `holder` commits to the holder's key; without it the license is unbound and unusable in holder
    mode. `credential_key` is the enrolled issuer key that signed the credential.
    """

    license: Bytes32
    type: LicenseTypeCode
    credential: Bytes32
    credential_key: KeyText
    holder: Bytes32 | None = None
    document: Bytes32 | None = None
    valid_from_ms: TimeMs
    valid_to_ms: TimeMs | None = None


class RenewLicense(IssueLicense):
    """Issue a license in place of `previous`, which is cancelled in the same step."""

    previous: Bytes32


class BindHolder(Body):
    """Bind an unbound license to a holder's key; the credential that names the key replaces the old
    one."""

    license: Bytes32
    credential: Bytes32
    credential_key: KeyText
    holder: Bytes32


class ChangeStatus(Body):
    """Change the status of all credentials of a license in one step."""

    licenses: Annotated[tuple[Bytes32, ...], Field(min_length=1, max_length=MAX_LICENSES_AT_ONCE)]
    reason: Name


class RevokeLicense(ChangeStatus):
    """End licenses for good; `status` is the final status of the national dictionary."""

    status: Literal["03", "04", "05", "06", "07", "99"] = "07"


class RecordUse(Body):
    """Record a use: a signed request with the holder's signed consent or the officer's signed
    approval."""

    request: Envelope
    consent: Envelope | None = None
    approval: Envelope | None = None


@dataclass(frozen=True, slots=True)
class LicenseType:
    """A license type. `fields` maps names to titles."""

    code: str
    name: str
    holder_kind: str
    fields: dict[str, str]
    version: int

    @property
    def authority(self) -> str:
        """The defining authority's USCC."""
        return self.code[:18]

    def to_value(self) -> Value:
        return {
            "name": self.name,
            "holder_kind": self.holder_kind,
            "fields": self.fields,
            "version": self.version,
        }

    @staticmethod
    def from_value(code: str, value: Value) -> LicenseType:
        """Read the record that the state holds for this type."""
        return LicenseType(code=code, **cast("dict[str, Any]", value))


class Change(NamedTuple):
    """An entry of a history: the status since `time_ms` (block time) at `height`, and who set it
    why."""

    status: str
    time_ms: int
    height: int
    organisation: str
    reason: str


@dataclass(frozen=True, slots=True)
class Accreditation:
    """An issuer's accreditation for a type. `status` is "active" or "suspended"."""

    type: str
    issuer: str
    status: str
    valid_from_ms: int
    valid_to_ms: int | None
    history: tuple[Change, ...]

    def covers(self, time_ms: int) -> bool:
        """Tell whether the accreditation lets its issuer issue at `time_ms`."""
        return self.status == ACCREDITED and in_period(
            self.valid_from_ms, self.valid_to_ms, time_ms
        )

    def to_value(self) -> Value:
        value: dict[str, Value] = {
            "status": self.status,
            "valid_from_ms": self.valid_from_ms,
            "history": _history_value(self.history),
        }
        if self.valid_to_ms is not None:
            value["valid_to_ms"] = self.valid_to_ms
        return value

    @staticmethod
    def from_value(license_type: str, issuer: str, value: Value) -> Accreditation:
        """Read the record that the state holds for this type and issuer."""
        record = cast("dict[str, Any]", value)
        return Accreditation(
            license_type,
            issuer,
            record["status"],
            record["valid_from_ms"],
            record.get("valid_to_ms"),
            _history(record["history"]),
        )


# Named tuples, not frozen data classes, as `Change`: made for each use, at a third of the cost.
class License(NamedTuple):
    """A license as the ledger knows it. Hashes are 32 bytes; `valid_to_ms` None means without end.

    `uses` counts recorded uses, `last_use` is the head of their chain (`handles.chained_use`),
    `pending` holds the hashes of used requests with the time after which they have expired anyway. `recorded_ms` is the
    block time at which the present credential was recorded.
    """

    handle: bytes
    type: str
    issuer: str
    credential: bytes
    credential_key: str
    holder: bytes | None
    document: bytes | None
    valid_from_ms: int
    valid_to_ms: int | None
    previous: bytes | None
    recorded_ms: int
    history: tuple[Change, ...]
    uses: int
    last_use: bytes | None
    pending: tuple[tuple[bytes, int], ...]

    @property
    def status(self) -> str:
        """The status in force (two digits)."""
        return self.history[-1].status

    def status_at(self, time_ms: int) -> Change | None:
        """Return the status in force at `time_ms`, or None before the license was recorded."""
        found = None
        for change in self.history:
            if change.time_ms > time_ms:
                break
            found = change
        return found

    def in_period(self, time_ms: int) -> bool:
        """Tell whether `time_ms` lies in the validity period."""
        return in_period(self.valid_from_ms, self.valid_to_ms, time_ms)

    def to_value(self) -> dict[str, Value]:
        value: dict[str, Value] = {
            "type": self.type,
            "issuer": self.issuer,
            "credential": self.credential,
            "credential_key": self.credential_key,
            "valid_from_ms": self.valid_from_ms,
            "recorded_ms": self.recorded_ms,
            "history": _history_value(self.history),
            "uses": self.uses,
        }
        if self.holder is not None:
            value["holder"] = self.holder
        if self.document is not None:
            value["document"] = self.document
        if self.valid_to_ms is not None:
            value["valid_to_ms"] = self.valid_to_ms
        if self.previous is not None:
            value["previous"] = self.previous
        if self.last_use is not None:
            value["last_use"] = self.last_use
        if self.pending:
            value["pending"] = self.pending
        return value

    @staticmethod
    def from_value(handle: bytes, value: Value) -> License:
        """Read the record that the state holds for this handle."""
        record = cast("dict[str, Any]", value)
        return License(
            handle,
            record["type"],
            record["issuer"],
            record["credential"],
            record["credential_key"],
            record.get("holder"),
            record.get("document"),
            record["valid_from_ms"],
            record.get("valid_to_ms"),
            record.get("previous"),
            record["recorded_ms"],
            _history(record["history"]),
            record["uses"],
            record.get("last_use"),
            record.get("pending", ()),
        )


def in_period(valid_from_ms: int, valid_to_ms: int | None, time_ms: int) -> bool:
    """Tell whether `time_ms` lies in a period; the end belongs to it no more."""
    return valid_from_ms <= time_ms and (valid_to_ms is None or time_ms < valid_to_ms)


def type_key(code: str) -> str:
    return state_key("licenses", "type", code)


def issuer_key(license_type: str, issuer: str) -> str:
    return state_key("licenses", "issuer", f"{license_type}-{issuer}")


def license_key(handle: bytes) -> str:
    return state_key("licenses", "license", handle.hex())


def license_type(state: StateReader, code: str) -> LicenseType | None:
    """Return a license type, or None."""
    value = state.get(type_key(code))
    return None if value is None else LicenseType.from_value(code, value)


def accreditation(state: StateReader, license_type: str, issuer: str) -> Accreditation | None:
    """Return an issuer's accreditation for a type, or None."""
    value = state.get(issuer_key(license_type, issuer))
    return None if value is None else Accreditation.from_value(license_type, issuer, value)


def find_license(state: StateReader, handle: bytes) -> License | None:
    """Return the license of a handle (32 bytes), or None."""
    value = state.get(license_key(handle))
    return None if value is None else License.from_value(handle, value)


def save_type(state: State, record: LicenseType) -> None:
    state.set(type_key(record.code), record.to_value())


def save_accreditation(state: State, record: Accreditation) -> None:
    state.set(issuer_key(record.type, record.issuer), record.to_value())


def save_license(state: State, record: License) -> None:
    state.set(license_key(record.handle), record.to_value())


def save_use(
    state: State, record: License, head: bytes, pending: tuple[tuple[bytes, int], ...]
) -> None:
    """Write a license's record after one more use: `head` is the chain's new head, `pending` what is remembered."""
    value = record.to_value()
    value["uses"] = record.uses + 1
    value["last_use"] = head
    value["pending"] = pending
    state.set(license_key(record.handle), value)


def _history(value: Any) -> tuple[Change, ...]:
    return tuple([Change(*row) for row in value])


def _history_value(history: tuple[Change, ...]) -> Value:
    return tuple(
        [
            (change.status, change.time_ms, change.height, change.organisation, change.reason)
            for change in history
        ]
    )
