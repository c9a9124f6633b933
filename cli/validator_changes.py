"""The changes of validators that a node shows, from the anchor of a policy up to a checkpoint. None is believed."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final

from ledger.bundle import ValidatorChange
from ledger.errors import InvalidProof
from ledger.policy import AsOf
from node.client import NodeClient

_MAX_ROUNDS: Final = 64
"""Of a thousand changes each."""


def fetch_changes(client: NodeClient, anchor: AsOf | None, size: int) -> Iterator[ValidatorChange]:
    """Yield the changes of validators from the anchor on, oldest first, until they reach a log of `size`.

    The last ones may lie beyond: `TrustedView.follow` takes those before `size` only.

    Raises:
        DecodeError: one is malformed.
        InvalidProof: they do not go on.
    """
    # Where the change itself is the newest entry under the anchor, the anchor may be of either set.
    since = 0 if anchor is None else max(0, anchor.size - 1)
    for _ in range(_MAX_ROUNDS):
        encoded = client.validator_changes(since=since)["changes"]
        changes = [ValidatorChange.decode(base64.b64decode(one)) for one in encoded]
        yield from changes
        if not changes or changes[-1].block.checkpoint.checkpoint.size >= size:
            return
        if changes[-1].block.checkpoint.checkpoint.size <= since:
            raise InvalidProof("the node shows the same changes of validators again")
        since = changes[-1].block.checkpoint.checkpoint.size
