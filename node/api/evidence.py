"""State values with their proofs, evidence bundles, and changes of validators: for light verifiers."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response
from pydantic import Field

from ledger.bundle import Bundle
from ledger.codec import decode
from ledger.errors import BundleSizeError
from ledger.proven import ProvenView
from node import evidence
from node.api.access import Member, Node, Origin, caller_of
from node.api.jsonable import jsonable
from node.api.licenses import Handle, UseId, holder_of, is_told, proven_use, unknown_use
from node.api.log import require_proven
from node.api.problems import problem
from node.api.transactions import TransactionId
from node.errors import ApiProblem
from node.services import Services

router = APIRouter(prefix="/v1", tags=["evidence"])

STATE_KEY: Final = r"^[a-z]{1,16}/[a-z_]{1,32}/[^/\x00-\x20\x7f]{1,160}$"
_Key = Annotated[str, Field(pattern=STATE_KEY, max_length=210)]
StateKey = Annotated[_Key, Query()]

MAX_KEYS_AT_ONCE: Final = 100
"""Each is a descent into the state tree. Short records make some hundred kilobytes together; of the longest, which have
120 KB, some seventy fill a bundle, and more are refused."""

StateKeys = Annotated[list[_Key], Query(min_length=1, max_length=MAX_KEYS_AT_ONCE)]
BUNDLE_TYPE = "application/vnd.mulu.bundle"


@router.get("/state", summary="A state value with its evidence")
async def state(services: Node, _: Member, key: StateKey) -> Response:
    return Response(state_answer(services, key), media_type="application/json")


def state_answer(services: Services, key: str) -> bytes:
    """Return a state value with its evidence, as JSON.

    Here and now: handing one state's proof to a thread costs more than making it.

    Raises:
        ApiProblem: 503, nothing is proven yet.
        StorageError: the store cannot be read, or is damaged.
    """
    proven = require_proven(services)
    found = evidence.state_evidence(proven, key)
    encoded = found.encode(proven.binding_encoding)
    answer = {
        "key": key,
        "value": None if found.value is None else jsonable(decode(found.value)),
        "height": proven.height,
        "checkpoint_size": proven.size,
        "evidence": base64.b64encode(encoded).decode("ascii"),
    }
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()


@router.get("/evidence/state", summary="Bundle about state values or their absence")
async def state_bundle(services: Node, _: Member, origin: Origin, key: StateKeys) -> Response:
    proven = require_proven(services)
    keys = tuple(dict.fromkeys(key))
    subject = f"state:{keys[0]}" if len(keys) == 1 else "states"
    return await _bundle(services, origin, lambda: evidence.state_bundle(proven, keys, subject))


@router.get("/evidence/transactions/{transaction_id}", summary="Bundle about a transaction")
async def transaction_bundle(
    services: Node, _: Member, origin: Origin, transaction_id: TransactionId
) -> Response:
    proven, wanted = require_proven(services), bytes.fromhex(transaction_id)

    def make() -> Bundle:
        found = evidence.transaction_bundle(services.genesis.suite, proven, wanted)
        return _found(found, "transaction_unknown", "not in the log under the newest checkpoint")

    return await _bundle(services, origin, make)


@router.get("/evidence/licenses/{handle}", summary="Bundle about a license")
async def license_bundle(
    services: Node,
    origin: Origin,
    handle: Handle,
    authorization: Annotated[str | None, Header()] = None,
) -> Response:
    _member_or_holder(services, authorization, {handle})
    proven = require_proven(services)

    def make() -> Bundle:
        found = evidence.license_bundle(proven, bytes.fromhex(handle))
        return _found(found, "license_unknown", f"no license {handle}")

    return await _bundle(services, origin, make)


@router.get("/evidence/uses/{use_id}", summary="Bundle about a recorded use")
async def use_bundle(
    services: Node,
    origin: Origin,
    use_id: UseId,
    authorization: Annotated[str | None, Header()] = None,
) -> Response:
    proven = require_proven(services)
    rows = await proven_use(services, proven, use_id)
    is_member = _member_or_holder(services, authorization, {row.license for row in rows})
    if not is_member and not is_told(rows[0], time.time_ns() // 1_000_000):
        raise unknown_use(use_id)

    def make() -> Bundle:
        found = _use_bundle(services, proven, rows[0].log_index, use_id)
        return _found(found, "use_unknown", f"no use {use_id}")

    return await _bundle(services, origin, make)


def _use_bundle(services: Services, proven: ProvenView, index: int, use_id: str) -> Bundle | None:
    use = evidence.use_at(services.genesis.suite, proven, index, bytes.fromhex(use_id))
    return None if use is None else evidence.use_bundle(proven, use)


@router.get("/validators/changes", summary="Changes of the validator set, as evidence")
async def validator_changes(
    services: Node,
    origin: Origin,
    since: Annotated[int, Query(ge=0, description="Log size known already")] = 0,
) -> dict[str, Any]:
    proven = require_proven(services)
    found = await services.thread_reads.run(
        origin, lambda: evidence.validator_changes(proven, since)
    )
    return {
        "since": since,
        "changes": [base64.b64encode(change.encode()).decode("ascii") for change in found],
    }


def _member_or_holder(services: Services, authorization: str | None, handles: set[str]) -> bool:
    """Let members in (True), and holders of one of these licenses (False).

    Raises:
        ApiProblem: 401 or 403.
    """
    try:
        caller_of(services, authorization)
    except ApiProblem as refusal:
        if refusal.code != "key_not_enrolled":
            raise
        if holder_of(services, authorization).handle not in handles:
            raise problem(403, "not_the_holder", "another holder's license") from None
        return False
    return True


async def _bundle(services: Services, origin: str, make: Callable[[], Bundle]) -> Response:
    """Make and encode a bundle in a thread.

    Raises:
        ApiProblem: what `make` raises; 413, the file would be larger than anyone reads.
        TooManyReadsError: 503, too many wait.
    """
    try:
        encoded = await services.thread_reads.run(
            origin, lambda: make().encode(services.genesis.suite)
        )
    except BundleSizeError as error:
        raise problem(413, "bundle_too_large", f"{error}; ask for fewer keys at once") from None
    return Response(encoded, media_type=BUNDLE_TYPE)


def _found(bundle: Bundle | None, code: str, detail: str) -> Bundle:
    if bundle is None:
        raise problem(404, code, detail)
    return bundle
