"""What receipts show of a license's uses; which may leave the wallet once exported, and what stays of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from ledger.errors import InvalidProof
from ledger.suite import Suite
from licenses.handles import chained_use
from licenses.holding import Holding, Receipt, RemovedUses
from licenses.models import License

KEPT_FOR_DISCLOSURE_MS: Final = 24 * 3_600_000
"""How long after its request has expired a consent stays: its use may be recorded and the fields not disclosed yet."""


def is_settled(receipt: Receipt, now_ms: int) -> bool:
    """Tell whether nothing rests on a receipt any more: its request cannot be answered again, nothing waits for it."""
    envelope = receipt.envelope()
    if envelope is None:
        return True  # by law: the issuer discloses
    waits = receipt.state in ("consented", "recorded")
    last_ms = envelope.signed.request.expires_ms + (KEPT_FOR_DISCLOSURE_MS if waits else 0)
    return now_ms >= last_ms


def remove_receipts(
    holding: Holding, exported: Iterable[Receipt], now_ms: int
) -> tuple[Holding, tuple[Receipt, ...]]:
    """Remove those of the exported receipts that are settled and have not changed since; return them, too.

    Of recorded uses the ids stay: they are neither fetched again nor missed.
    """
    wanted = set(exported)
    removed = tuple(
        each for each in holding.receipts if each in wanted and is_settled(each, now_ms)
    )
    gone = {each.use_id for each in removed}
    known = {each.license: each.uses for each in holding.removed}
    for receipt in removed:
        if receipt.bundle is not None:
            for handle in receipt.licenses:
                known[handle] = known.get(handle, frozenset()) | {receipt.use_id}
    changed = replace(
        holding,
        receipts=tuple(each for each in holding.receipts if each.use_id not in gone),
        removed=tuple(RemovedUses(handle, uses) for handle, uses in sorted(known.items())),
    )
    return changed, removed


def unseen_uses(holding: Holding, record: License) -> int:
    """Return how many uses of a license the ledger counts of which the wallet has no evidence.

    `record` is the ledger's, proved to be current. Each receipt of a recorded use rests on evidence of its own, so
    counting tells: what is missing will be told later (statutory uses), has not been fetched, or is kept back.
    """
    seen = sum(
        receipt.transaction_id is not None and record.handle in receipt.licenses
        for receipt in holding.receipts
    )
    removed = sum(len(each.uses) for each in holding.removed if each.license == record.handle)
    return max(0, record.uses - seen - removed)


def check_use_list(suite: Suite, record: License, uses: Sequence[tuple[bytes, bytes]]) -> None:
    """Check that a list of (use id, transaction id), oldest first, is the complete list of a license's uses.

    Raises:
        InvalidProof: one is missing, added or out of order.
    """
    head = None
    for number, (use_id, transaction_id) in enumerate(uses, start=1):
        head = chained_use(suite, head, number, use_id, transaction_id)
    if len(uses) != record.uses or head != record.last_use:
        raise InvalidProof(f"the ledger counts {record.uses} uses; the list does not match")
