"""Transactions: submit one or many and wait; look one up with its proof."""

from __future__ import annotations

import base64
import binascii
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from ledger.admission import DUPLICATE, Admitted
from ledger.entries import TransactionEntry, decode_entry
from ledger.errors import DamagedStoreError, DecodeError
from ledger.history import History
from ledger.limits import MAX_TRANSACTION_BYTES
from ledger.proven import ProvenView
from ledger.tlog_proof import TlogProof
from ledger.transactions import decode_transaction
from node.api.access import Member, Node
from node.api.jsonable import jsonable
from node.api.problems import problem
from node.intake import Refused
from node.outcomes import Outcome, wait_all
from node.services import Services

router = APIRouter(prefix="/v1", tags=["transactions"])

MAX_WAIT_S = 60.0
NO_QUORUM_WAIT_S = 3.0
"""Without a quorum an answer is unlikely: do not let clients hang for it."""

MAX_SUBMITTED = 2_000

TransactionId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="64 hex digits")]
WaitS = Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="Seconds to wait for the proof")]


class Submission(BaseModel):
    """Transactions to submit, each in base64."""

    model_config = ConfigDict(extra="forbid")

    transactions: Annotated[
        list[Annotated[str, Field(max_length=4 * MAX_TRANSACTION_BYTES // 3 + 4)]],
        Field(min_length=1, max_length=MAX_SUBMITTED),
    ]
    wait: Literal["none", "committed", "proven"] = "committed"
    timeout_s: Annotated[float, Field(ge=0, le=MAX_WAIT_S)] = 15.0


class SubmissionResult(BaseModel):
    """What became of one transaction; `status` as in docs/API.md."""

    id: str
    status: Literal["committed", "failed", "pending", "refused", "not_committed"]
    code: str
    height: int | None
    index: int | None
    operation_index: int | None
    text: str


class SubmissionResults(BaseModel):
    """In the order of the transactions submitted."""

    results: list[SubmissionResult]


@router.post("/transactions", summary="Submit transactions")
async def submit(services: Node, submission: Submission) -> SubmissionResults:
    raws = [_decode(text, position) for position, text in enumerate(submission.transactions)]
    admitted = await services.intake.submit(raws)
    outcomes: dict[bytes, Outcome] = {}
    for raw, one in zip(raws, admitted, strict=True):
        if isinstance(one, Refused) and one.code == DUPLICATE:
            known = decode_transaction(services.genesis.suite, raw).id
            found = outcome_in_log(services.application.history, known)
            if found is not None:
                outcomes[known] = found
    ids = [one.transaction.id for one in admitted if isinstance(one, Admitted)]
    if submission.wait != "none":
        deadline = time.monotonic() + submission.timeout_s
        outcomes |= await _await_outcomes(services, ids, submission.timeout_s)
        if submission.wait == "proven":
            await _await_proofs(services, outcomes, deadline)
    return SubmissionResults(
        results=[
            _result(services, raw, one, outcomes, submission.wait)
            for raw, one in zip(raws, admitted, strict=True)
        ]
    )


def _decode(text: str, position: int) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise problem(422, "invalid_input", f"transactions.{position}: not base64") from None


def outcome_in_log(history: History, transaction_id: bytes) -> Outcome | None:
    """Return what the log says of a transaction, or None if it does not hold it."""
    index = history.transaction_index(transaction_id)
    if index is None:
        return None
    entry = transaction_entry(history, index)
    return Outcome(entry.height, index, entry.code, entry.operation_index, "")


def transaction_entry(history: History, index: int) -> TransactionEntry:
    """Return the transaction at a log index that the transaction index names."""
    encoded = history.entry(index)
    entry = None if encoded is None else decode_entry(encoded)
    if not isinstance(entry, TransactionEntry):
        raise DamagedStoreError(f"entry {index} is no transaction")
    return entry


async def _await_outcomes(
    services: Services, ids: list[bytes], timeout_s: float
) -> dict[bytes, Outcome]:
    """Wait until all of `ids` are committed here or the time is over; return those that are."""
    if not services.has_quorum():
        timeout_s = min(timeout_s, NO_QUORUM_WAIT_S)
    futures = {one: services.outcomes.expect(one) for one in ids}
    try:
        for one, future in futures.items():
            if one not in services.mempool and not future.done():
                # Committed, perhaps, between its admission and our beginning to wait.
                found = outcome_in_log(services.application.history, one)
                if found is not None:
                    future.set_result(found)
        results = await wait_all(list(futures.values()), timeout_s)
    finally:
        for one, future in futures.items():
            services.outcomes.forget(one, future)
    return {one: found for one, found in zip(futures, results, strict=True) if found is not None}


async def _await_proofs(
    services: Services, outcomes: dict[bytes, Outcome], deadline: float
) -> None:
    """Wait until the newest checkpoint covers all outcomes, or the time is over."""
    size = max((outcome.index + 1 for outcome in outcomes.values()), default=0)
    while not _is_proven(services, size):
        if not await services.proven_signal.wait(max(0.0, deadline - time.monotonic())):
            return


def _is_proven(services: Services, size: int) -> bool:
    proven = services.application.proven()
    return proven is not None and proven.size >= size


def _result(
    services: Services,
    raw: bytes,
    one: Admitted | Refused,
    outcomes: dict[bytes, Outcome],
    wait: str,
) -> SubmissionResult:
    transaction_id = _id_of(services, raw, one)
    outcome = outcomes.get(transaction_id)
    status: str
    if outcome is not None:
        return SubmissionResult(
            id=transaction_id.hex(),
            status=outcome.status,
            code=outcome.code,
            height=outcome.height,
            index=outcome.index,
            operation_index=outcome.operation_index,
            text=outcome.text,
        )
    if isinstance(one, Refused):
        status, code, text = "refused", one.code, one.text
    elif wait == "none":
        status, code, text = "pending", "", ""
    else:
        status, code = "not_committed", "not_committed"
        text = services.stalled() or "not decided in time; it may still be: look it up by its id"
    return SubmissionResult.model_validate(
        {
            "id": transaction_id.hex(),
            "status": status,
            "code": code,
            "height": None,
            "index": None,
            "operation_index": None,
            "text": text,
        }
    )


def _id_of(services: Services, raw: bytes, one: Admitted | Refused) -> bytes:
    if isinstance(one, Admitted):
        return one.transaction.id
    try:
        return decode_transaction(services.genesis.suite, raw).id
    except DecodeError:
        return b""


# --- looking up -------------------------------------------------------------------------------------


@router.get("/transactions/{transaction_id}", summary="A transaction with its proof")
async def transaction(
    services: Node, _: Member, transaction_id: TransactionId, wait_s: WaitS = 0.0
) -> dict[str, Any]:
    wanted = bytes.fromhex(transaction_id)
    deadline = time.monotonic() + wait_s
    while True:
        proven = services.application.proven()
        index = None if proven is None else proven.history.transaction_index(wanted)
        if proven is not None and index is not None:
            return describe_transaction(services, proven, wanted, index)
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not await services.proven_signal.wait(left_s):
            return _unproven(services, wanted)


def _unproven(services: Services, wanted: bytes) -> dict[str, Any]:
    """Describe a transaction that no checkpoint covers yet."""
    answer = dict.fromkeys(
        ("height", "index", "operation_index", "entry", "proof", "checkpoint", "time_ms")
    )
    found = outcome_in_log(services.application.history, wanted)
    if found is not None:
        return {
            **answer,
            "id": wanted.hex(),
            "status": found.status,
            "height": found.height,
            "index": found.index,
            "code": found.code,
            "operation_index": found.operation_index,
            "operations": [],
        }
    if wanted in services.mempool:
        return {**answer, "id": wanted.hex(), "status": "pending", "code": "", "operations": []}
    raise problem(404, "transaction_unknown", "neither in the log nor waiting on this node")


def describe_transaction(
    services: Services, proven: ProvenView, wanted: bytes, index: int
) -> dict[str, Any]:
    """Describe a committed transaction with its proof under the newest checkpoint."""
    entry = transaction_entry(proven.history, index)
    decoded = decode_transaction(services.genesis.suite, entry.transaction)
    if decoded.id != wanted:
        raise DamagedStoreError(f"entry {index} is another transaction than {wanted.hex()}")
    header = proven.history.header(entry.height)
    encoded, hashes = proven.proven_entry(index)
    proof = TlogProof(index, hashes, proven.checkpoint)
    return {
        "id": wanted.hex(),
        "status": "failed" if entry.code else "committed",
        "height": entry.height,
        "index": index,
        "code": entry.code,
        "operation_index": entry.operation_index,
        "signer": str(decoded.signer),
        "time_ms": None if header is None else header.time_ms,
        "operations": [
            {"kind": one.kind, "body": jsonable(one.body)} for one in decoded.operations
        ],
        "entry": base64.b64encode(encoded).decode("ascii"),
        "proof": proof.encode().decode("utf-8"),
        "checkpoint": proven.checkpoint.encode().decode("utf-8"),
    }
