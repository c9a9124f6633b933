"""One-time-code sessions: a relay of sealed payloads between a wallet and a window."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from licenses.session import MAX_SEALED_BYTES, SessionError
from node.api.access import Caller, Member, Node, Origin, caller_of, require_role
from node.api.problems import problem
from node.errors import ApiProblem
from node.services import Services

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

MAX_WAIT_S = 30.0
Slot = Literal["request", "consent", "disclosure"]
SessionId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
Secret = Annotated[str | None, Header(alias="Session-Secret", max_length=64)]

_STATUS = {
    "session.limited": 429,
    "session.full": 503,
    "session.busy": 503,
    "session.too_long": 413,
}


class OpenSession(BaseModel):
    model_config = ConfigDict(extra="forbid")
    sealing_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class FindSession(BaseModel):
    model_config = ConfigDict(extra="forbid")
    code: Annotated[str, Field(pattern=r"^[0-9]{8}$")]
    window: Annotated[str, Field(max_length=64)] = ""


class Payload(BaseModel):
    model_config = ConfigDict(extra="forbid")
    payload: Annotated[str, Field(max_length=4 * MAX_SEALED_BYTES // 3 + 4)]


def _problem(error: SessionError) -> ApiProblem:
    return problem(_STATUS.get(error.code, 403), error.code, str(error))


@router.post("", summary="Open a session (wallet)", status_code=201)
async def open_session(services: Node, origin: Origin, body: OpenSession) -> dict[str, Any]:
    try:
        opened = services.sessions.open(bytes.fromhex(body.sealing_key), origin)
    except SessionError as error:
        raise _problem(error) from None
    return {
        "id": opened.id,
        "code": opened.code,
        "secret": opened.secret,
        "expires_ms": opened.expires_ms,
    }


@router.post("/find", summary="Claim the session of a code (operator)")
async def find_session(services: Node, caller: Member, body: FindSession) -> dict[str, Any]:
    require_role(caller, "operator")
    window = f"{caller.organisation}/{body.window}"
    try:
        found = services.sessions.find(body.code, caller.key, window)
    except SessionError as error:
        raise _problem(error) from None
    return {
        "id": found.id,
        "sealing_key": found.sealing_key.hex(),
        "expires_ms": found.expires_ms,
    }


@router.post("/{session_id}/{slot}", summary="Leave a sealed payload", status_code=201)
async def put_message(
    services: Node,
    session_id: SessionId,
    slot: Slot,
    body: Payload,
    secret: Secret = None,
    authorization: Annotated[str | None, Header()] = None,
) -> dict[str, str]:
    try:
        sealed = base64.b64decode(body.payload, validate=True)
    except (binascii.Error, ValueError):
        raise problem(422, "invalid_input", "payload: not base64") from None
    operator = _operator(services, secret, authorization)
    try:
        services.sessions.put(session_id, slot, sealed, secret=secret, operator=operator)
    except SessionError as error:
        raise _problem(error) from None
    return {"status": "left"}


@router.get("/{session_id}/{slot}", summary="Fetch a sealed payload, waiting for it")
async def get_message(
    services: Node,
    session_id: SessionId,
    slot: Slot,
    wait_s: Annotated[float, Query(ge=0, le=MAX_WAIT_S)] = 0.0,
    secret: Secret = None,
    authorization: Annotated[str | None, Header()] = None,
) -> dict[str, str | None]:
    operator = _operator(services, secret, authorization)
    try:
        sealed = await services.sessions.poll(
            session_id, slot, wait_s, secret=secret, operator=operator
        )
    except SessionError as error:
        raise _problem(error) from None
    return {"payload": None if sealed is None else base64.b64encode(sealed).decode("ascii")}


def _operator(services: Services, secret: str | None, authorization: str | None) -> str | None:
    """Return the key of the operator who asks; None where the wallet does, by its secret."""
    if secret is not None:
        return None
    caller: Caller = caller_of(services, authorization)
    return caller.key
