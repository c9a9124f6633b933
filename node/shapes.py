"""What clients rely on in a node's JSON answers, as models: more may stand there, nothing else may stand for it.

A node may lie, and what has its port may be no node. Each model has the fields that somebody reads – `Any` where they
are only shown –, so that an answer of another shape ends where it arrives, in one error. Of a list with many wrong
items the first is enough. docs/API.md describes all.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field

from ledger.fields import MAX_TIME_MS

MAX_ANSWER_DEPTH: Final = 32
"""Of JSON: a value of the ledger, sixteen levels deep at most, in what the API wraps around it."""


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:  # also of characters beyond ASCII
        raise ValueError("not base64") from None
    return text


TimeMs = Annotated[int, Field(ge=0, le=MAX_TIME_MS)]
Count = Annotated[int, Field(ge=0)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Base64 = Annotated[str, AfterValidator(_base64)]
Status = Literal["committed", "failed", "pending", "refused", "not_committed"]


class Shape(BaseModel):
    """A JSON object that has at least these fields."""

    model_config = ConfigDict(strict=True, extra="ignore")


class AnyObject(Shape):
    """Shown as it is, or read field by field with what is missing in mind."""


Item = TypeVar("Item", bound=Shape)


class ProblemShape(Shape):
    """A refusal (RFC 9457)."""

    code: str
    title: str = ""
    detail: str = ""


class _ValidatorShape(Shape):
    name: str
    online: bool


class EngineShape(Shape):
    name: str
    height: int | None
    round: int | None
    step: str | None
    peers: int | None
    address: str | None


class _FindingShape(Shape):
    severity: str
    code: str
    text: str


class NetworkShape(Shape):
    chain_id: str
    name: str
    validators: Annotated[list[_ValidatorShape], FailFast()]
    online: int
    total: int
    quorum: bool
    height: Count
    checkpoint_size: Count
    checkpoint_time_ms: TimeMs
    app_hash: str
    stalled: str | None
    damage: str | None = None
    engine: EngineShape
    findings: Annotated[list[_FindingShape], FailFast()] = []


class _ResultShape(Shape):
    id: str
    status: Status
    code: str
    height: int | None
    index: int | None
    text: str
    operation_index: int | None


class SubmissionShape(Shape):
    results: Annotated[list[_ResultShape], FailFast()]


class _OperationShape(Shape):
    kind: str
    body: Any


class TransactionShape(Shape):
    id: Hash
    status: Status
    height: int | None
    index: int | None
    code: str
    operation_index: int | None
    operations: Annotated[list[_OperationShape], FailFast()]
    entry: Base64 | None
    proof: str | None
    checkpoint: str | None
    time_ms: TimeMs | None


class PageShape(Shape, Generic[Item]):
    """One page of a list."""

    items: Annotated[list[Item], FailFast()]
    cursor: str | None


class OrganisationShape(Shape):
    uscc: str
    name: Any
    level: Any
    division: Any
    authority: Any
    status: Any


class _PendingShape(Shape):
    action: str
    version: str
    body: dict[str, Any] | None = None


class _ChangeShape(Shape):
    number: Any
    action: Any
    time_ms: TimeMs | None
    height: Any
    submitter: Any
    approver: Any
    version: Any


class EntryShape(Shape):
    """An entry of the directory. `effective` is the version that counts, `pending` what waits."""

    id: str
    effective: dict[str, Any] | None = None
    pending: _PendingShape | None = None
    history: Annotated[list[_ChangeShape], FailFast()] = []


class TraceShape(Shape):
    collection: str
    id: str
    title: str
    status: str
    article: str | None = None
    cut: bool
    children: Annotated[list[TraceShape], FailFast()] = []


class ChangesShape(Shape):
    """Changes of validators, as evidence."""

    changes: Annotated[list[Base64], FailFast()]


class CheckShape(Shape):
    findings: Annotated[list[AnyObject], FailFast()]


class _StatusChangeShape(Shape):
    status: str
    time_ms: TimeMs
    height: Any
    reason: Any
    organisation: Any


class LicenseShape(Shape):
    status: str
    valid_from_ms: TimeMs | None = None
    valid_to_ms: TimeMs | None = None
    recorded_ms: TimeMs | None = None
    history: Annotated[list[_StatusChangeShape], FailFast()] = []


class UseShape(Shape):
    id: Hash
    transaction: Hash | None = None
    number: Any
    organisation: Any
    matter: Any
    mode: Any
    height: Any


class OwnUseShape(Shape):
    """A use of a holder's own license."""

    id: Hash


class StateShape(Shape, Generic[Item]):
    """A value of the state, None where there is none: every one is a map."""

    value: Item | None


class LicenseTypeShape(Shape):
    fields: dict[str, Any]


class EnrolledKeyShape(Shape):
    organisation: str


class OpenedSessionShape(Shape):
    id: str
    code: str
    secret: str
    expires_ms: TimeMs


class FoundSessionShape(Shape):
    id: str
    sealing_key: Hash
    expires_ms: TimeMs


class MessageShape(Shape):
    payload: Base64 | None
