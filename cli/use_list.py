"""The list of a license's uses, held against the license's own proved record: complete, or not to be believed.

The record counts the uses and holds the head of a chain over them (`licenses.receipts.check_use_list`). That covers
which uses there are, in which order and transactions; who asked and for what, and the block, are the node's word, until
`mulu audit trace` proves them one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cli.output import CommandError, ExitCode, counted
from cli.proofs import ProvedState
from ledger.errors import InvalidProof
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519
from licenses.models import License, license_key
from licenses.receipts import check_use_list
from node.answers import Json
from node.client import NodeClient

_PAGE: Final = 500
"""The most uses that a node shows at once."""


def proved_record(client: NodeClient, policy: Policy, handle: str) -> License:
    """Return a license's record as it is now, proved.

    Raises:
        CommandError: there is no such license.
        LedgerError: the node's evidence is false, or does not establish the present.
    """
    value = ProvedState(client, policy).get(license_key(bytes.fromhex(handle)))
    if value is None:
        raise CommandError(
            f"the ledger has no license {handle}",
            code="license_unknown",
            exit_code=ExitCode.REFUSED,
        )
    return License.from_value(bytes.fromhex(handle), value)


def all_uses(client: NodeClient, record: License) -> tuple[Json, ...]:
    """Fetch as many uses as the record counts, and check that they are these.

    Raises:
        CommandError: as `check_complete`.
    """
    found: list[Json] = []
    cursor: str | None = None
    while len(found) < record.uses:
        page = client.license_uses(record.handle.hex(), cursor=cursor, limit=_PAGE)
        found += page.items
        cursor = page.cursor
        if cursor is None or not page.items:
            break
    return check_complete(record, found)


def check_complete(record: License, uses: Sequence[Any]) -> tuple[Json, ...]:
    """Return the uses that the record counts, the list's first ones: later ones are recorded since, and not proved.

    Raises:
        CommandError: the node keeps uses back, or shows others (exit 1), or does not tell enough (exit 3).
    """
    shown = tuple(uses[: record.uses])
    if len(shown) < record.uses:
        raise _false(record, f"the node shows {len(shown)} of them and keeps the others back")
    if any(use.get("transaction") is None for use in shown):
        raise CommandError(
            "the node does not tell the transactions of the uses, so the list cannot be checked",
            hint="It runs an older release: ask another node.",
            code="no_evidence",
            exit_code=ExitCode.NOT_ESTABLISHED,
        )
    ids = [(bytes.fromhex(use["id"]), bytes.fromhex(use["transaction"])) for use in shown]
    try:
        check_use_list(SHA256_ED25519, record, ids)
        if [use["number"] for use in shown] != list(range(1, len(shown) + 1)):
            raise InvalidProof("other numbers")
    except InvalidProof:
        raise _false(record, "the node shows others: one is invented, exchanged or moved") from None
    return shown


def _false(record: License, how: str) -> CommandError:
    return CommandError(
        f"the list of uses is false: the ledger counts {counted(record.uses, 'use')} of license "
        f"{record.handle.hex()}, {how}",
        hint="Ask another node.",
        code="uses_false",
        exit_code=ExitCode.REFUSED,
    )
