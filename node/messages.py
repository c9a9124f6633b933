"""What nodes say to each other: one canonical array a frame, `[kind, …]`, each with its bounds.

    ["hello", version, chain_id, node, role, height]
    ["consensus", payload]                                  a message of consensus.tendermint.messages
    ["transactions", [bytes, …]]
    ["status", height, checkpoint_size, clock_ms]           the sender's clock, or nil
    ["get_blocks", from_height, count]
    ["blocks", from_height, [[block, commit], …]]           may be fewer than asked for, or none
    ["checkpoint", height, note]                            one validator's two signatures of a checkpoint
    ["get_checkpoint"]                                      answered by the newest one that a quorum signed
    ["proven_checkpoint", height, note]
    ["ping", number]                                        answered at once by the pong of this number
    ["pong", number]

Decoding checks form and bounds only; what a message claims is for its receiver to verify.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from ledger.codec import Value, decode, encode
from ledger.errors import DecodeError
from ledger.limits import MAX_BLOCK_BYTES, MAX_TRANSACTION_BYTES
from node.errors import InvalidPeerMessage

PROTOCOL_VERSION: Final = 1

MAX_FRAME_BYTES: Final = 8 * 1024 * 1024
"""Two whole blocks; the largest message that the codec decodes."""

MAX_HELLO_BYTES: Final = 1024
"""The first frame, before the other side is known to be of this chain."""

MAX_TRANSACTIONS: Final = 4_096
"""Transactions in one frame: a tenth of the mempool, so that one frame cannot hold up consensus for long."""

TRANSACTIONS_FRAME_BYTES: Final = 512 * 1024
"""A sender fills frames of transactions up to here, so that a vote never waits behind more."""

MAX_SYNC_BLOCKS: Final = 64
BLOCKS_FRAME_BYTES: Final = MAX_FRAME_BYTES - 64 * 1024
"""Blocks in one frame together; a single block with its commit always fits."""

MAX_HEIGHT: Final = 2**53
MAX_PING: Final = 2**53
MAX_CLOCK_MS: Final = 2**53
"""Far beyond any height, count or date that a peer may tell, and still exact where JSON shows it."""


class Priority(IntEnum):
    """Which frame goes first where several wait."""

    CONSENSUS = 0
    TRANSACTIONS = 1
    SYNC = 2


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame of each side."""

    chain_id: str
    node: str
    role: str
    height: int
    version: int = PROTOCOL_VERSION

    def encode(self) -> bytes:
        return encode(("hello", self.version, self.chain_id, self.node, self.role, self.height))


@dataclass(frozen=True, slots=True)
class ConsensusPayload:
    """A message of the consensus protocol, still encoded."""

    payload: bytes

    def encode(self) -> bytes:
        return encode(("consensus", self.payload))


@dataclass(frozen=True, slots=True)
class Transactions:
    """Raw transactions for the mempool."""

    transactions: tuple[bytes, ...]

    def encode(self) -> bytes:
        return encode(("transactions", self.transactions))


@dataclass(frozen=True, slots=True)
class Status:
    """How far the sender is: its last committed height, and the size of its newest proven checkpoint.

    `clock_ms` is what time it was for the sender, None where it does not say: for diagnosis, never for consensus.
    """

    height: int
    checkpoint_size: int
    clock_ms: int | None = None

    def encode(self) -> bytes:
        return encode(("status", self.height, self.checkpoint_size, self.clock_ms))


@dataclass(frozen=True, slots=True)
class GetBlocks:
    """Asks for blocks with their commits, from `from_height` upwards."""

    from_height: int
    count: int

    def encode(self) -> bytes:
        return encode(("get_blocks", self.from_height, self.count))


@dataclass(frozen=True, slots=True)
class Blocks:
    """Encoded blocks with their encoded commits, from `from_height` upwards without gaps."""

    from_height: int
    blocks: tuple[tuple[bytes, bytes], ...]

    def encode(self) -> bytes:
        return encode(("blocks", self.from_height, self.blocks))


@dataclass(frozen=True, slots=True)
class CheckpointSignatures:
    """A signed note with one validator's log signature and cosignature of the checkpoint after `height`."""

    height: int
    note: bytes

    def encode(self) -> bytes:
        return encode(("checkpoint", self.height, self.note))


@dataclass(frozen=True, slots=True)
class GetCheckpoint:
    """Asks for the newest checkpoint that a quorum has signed."""

    def encode(self) -> bytes:
        return encode(("get_checkpoint",))


@dataclass(frozen=True, slots=True)
class ProvenCheckpoint:
    """A checkpoint after `height` with a quorum of signatures, as a note."""

    height: int
    note: bytes

    def encode(self) -> bytes:
        return encode(("proven_checkpoint", self.height, self.note))


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks whether the other end is there."""

    number: int

    def encode(self) -> bytes:
        return encode(("ping", self.number))


@dataclass(frozen=True, slots=True)
class Pong:
    """Answers a ping, after everything that was sent before."""

    number: int

    def encode(self) -> bytes:
        return encode(("pong", self.number))


PeerMessage: TypeAlias = (
    "Hello | ConsensusPayload | Transactions | Status | GetBlocks | Blocks"
    " | CheckpointSignatures | GetCheckpoint | ProvenCheckpoint | Ping | Pong"
)

_MAX_NOTE_BYTES: Final = 16 * 1024


def decode_message(frame: bytes) -> PeerMessage:
    """Read a frame.

    Raises:
        InvalidPeerMessage: not a message that a correct node sends.
    """
    try:
        value = decode(frame, max_bytes=MAX_FRAME_BYTES)
    except DecodeError as error:
        raise InvalidPeerMessage(str(error)) from None
    if type(value) is not tuple or not value:
        raise InvalidPeerMessage("a frame is a non-empty array")
    match value:
        case ("consensus", bytes(payload)):
            return ConsensusPayload(payload)
        case ("transactions", tuple(raws)):
            return Transactions(_raws(raws))
        case ("status", height, size, clock_ms):
            time_ms = None if clock_ms is None else _bounded(clock_ms, 0, MAX_CLOCK_MS)
            return Status(_height(height), _height(size), time_ms)
        case ("get_blocks", height, count):
            return GetBlocks(_height(height), _bounded(count, 1, MAX_SYNC_BLOCKS))
        case ("blocks", height, tuple(rows)):
            return Blocks(_height(height), _blocks(rows))
        case ("checkpoint", height, bytes(note)) if len(note) <= _MAX_NOTE_BYTES:
            return CheckpointSignatures(_height(height), note)
        case ("get_checkpoint",):
            return GetCheckpoint()
        case ("proven_checkpoint", height, bytes(note)) if len(note) <= _MAX_NOTE_BYTES:
            return ProvenCheckpoint(_height(height), note)
        case ("ping", number):
            return Ping(_bounded(number, 1, MAX_PING))
        case ("pong", number):
            return Pong(_bounded(number, 1, MAX_PING))
        case ("hello", version, str(chain_id), str(node), str(role), height):
            return Hello(chain_id, node, role, _height(height), _bounded(version, 0, 2**16))
        case _:
            raise InvalidPeerMessage("a message of unknown kind or shape")


def transaction_frames(raws: Sequence[bytes]) -> list[bytes]:
    """Return frames that together hold `raws` in order, each within the bounds on bytes and count."""
    frames: list[bytes] = []
    waiting: list[bytes] = []
    size = 0
    for raw in raws:
        if waiting and (
            size + len(raw) > TRANSACTIONS_FRAME_BYTES or len(waiting) == MAX_TRANSACTIONS
        ):
            frames.append(Transactions(tuple(waiting)).encode())
            waiting, size = [], 0
        waiting.append(raw)
        size += len(raw)
    if waiting:
        frames.append(Transactions(tuple(waiting)).encode())
    return frames


def _raws(raws: tuple[Value, ...]) -> tuple[bytes, ...]:
    if not 1 <= len(raws) <= MAX_TRANSACTIONS:
        raise InvalidPeerMessage(f"{len(raws)} transactions in one frame")
    result = []
    for raw in raws:
        if type(raw) is not bytes or not 0 < len(raw) <= MAX_TRANSACTION_BYTES:
            raise InvalidPeerMessage("a transaction is a byte string within its limit")
        result.append(raw)
    return tuple(result)


def _blocks(rows: tuple[Value, ...]) -> tuple[tuple[bytes, bytes], ...]:
    if len(rows) > MAX_SYNC_BLOCKS:
        raise InvalidPeerMessage(f"{len(rows)} blocks in one frame")
    result = []
    for row in rows:
        match row:
            case (bytes(block), bytes(commit)) if len(block) <= MAX_BLOCK_BYTES:
                result.append((block, commit))
            case _:
                raise InvalidPeerMessage("a synchronised block is a block with its commit")
    return tuple(result)


def _height(value: Value) -> int:
    return _bounded(value, 0, MAX_HEIGHT)


def _bounded(value: Value, minimum: int, maximum: int) -> int:
    if type(value) is not int or not minimum <= value <= maximum:
        raise InvalidPeerMessage(f"a number is not in {minimum} … {maximum}")
    return value
