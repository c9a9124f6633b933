"""Blocks that came as bytes: decoded and checked once between receipt, validation and decision."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from consensus.tendermint.errors import InvalidMessage
from ledger.blocks import Block
from ledger.errors import DecodeError
from ledger.suite import Suite
from node.workers import Worker

KEPT_BLOCKS: Final = 8
"""Blocks of the current height and the next that are kept decoded; others are decoded again."""

INLINE_BODY_BYTES: Final = 256 * 1024
"""Larger bodies are decoded on the application's thread, so that the loop stays free."""


class Bodies:
    """Decoded blocks by id."""

    def __init__(self, suite: Suite, worker: Worker) -> None:
        self._suite = suite
        self._worker = worker
        self._blocks: OrderedDict[bytes, tuple[bytes, Block]] = OrderedDict()

    def keep(self, block_id: bytes, body: bytes, block: Block) -> None:
        """Keep a block that is known to be the one of this id and these bytes."""
        self._blocks[block_id] = (body, block)
        while len(self._blocks) > KEPT_BLOCKS:
            self._blocks.popitem(last=False)

    def forget_up_to(self, height: int) -> None:
        """Drop the blocks of heights that are decided."""
        self._blocks = OrderedDict(
            item for item in self._blocks.items() if item[1][1].header.height > height
        )

    async def checked(self, body: bytes, block_id: bytes, height: int) -> Block:
        """Decode a body and check that it is the block of that id.

        Raises:
            InvalidMessage: it is not.
        """
        known = self._blocks.get(block_id)
        if known is not None and known[0] == body:  # the id alone proves nothing of these bytes
            return known[1]
        if len(body) > INLINE_BODY_BYTES:
            block = await self._worker.run(self._decode, body, block_id, height)
        else:
            block = self._decode(body, block_id, height)
        self.keep(block_id, body, block)
        return block

    def _decode(self, body: bytes, block_id: bytes, height: int) -> Block:
        try:
            block = Block.decode(body)
            if block.header.height != height or block.id(self._suite) != block_id:
                raise DecodeError("the body is another block's")
            block.check_body(self._suite)
        except DecodeError as error:
            raise InvalidMessage(f"body of a proposal: {error}") from None
        return block
