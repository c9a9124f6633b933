"""Records of the write-ahead log: the events of one height, as the driver took them in.

`[kind, height, field, …]`, canonical: 1 start, 2 proposal `[…, signed proposal, timely or nil]`, 3 body `[…, block_id,
body, timely]`, 4 vote `[…, signed vote]`, 5 built `[…, round, block_id, body]`, 6 validated `[…, block_id, valid]`,
7 timeout `[…, round, step]`. The driver's state is a function of these, so replaying them brings back round, locks,
votes, own messages and bodies. Where they lie is the runner's business: numbered from 0, written by `SaveWal`,
deleted in the batch that commits the height.

Two things are logged later than they come: messages of a round ahead when that round is entered, so that a flood of
far rounds fills no disk; and a body, which has a record of its own, when the application is asked about it.
"""

from __future__ import annotations

from enum import IntEnum

from consensus.tendermint.errors import InvalidWal
from consensus.tendermint.events import (
    BlockBuilt,
    BlockValidated,
    BodyReceived,
    Event,
    ProposalReceived,
    StartHeight,
    TimeoutElapsed,
    VoteReceived,
)
from consensus.tendermint.limits import MAX_WAL_RECORD_BYTES
from consensus.tendermint.messages import Proposal, SignedProposal
from consensus.tendermint.rounds import Step
from ledger.codec import Value, decode, encode
from ledger.decoding import MAX_ROUND, fields, hash_field, integer, signature_field
from ledger.errors import DecodeError
from ledger.votes import SignedVote


class _Kind(IntEnum):
    START = 1
    PROPOSAL = 2
    BODY = 3
    VOTE = 4
    BUILT = 5
    VALIDATED = 6
    TIMEOUT = 7


def encode_record(event: Event) -> bytes:
    """Return the record of an event; a proposal's body is not part of it."""
    match event:
        case StartHeight(height):
            return encode((int(_Kind.START), height))
        case ProposalReceived(signed, _, timely):
            proposal = (signed.proposal.to_value(), signed.signature)
            return encode((int(_Kind.PROPOSAL), event.height, proposal, timely))
        case BodyReceived(height, block_id, body, timely):
            return encode((int(_Kind.BODY), height, block_id, body, timely))
        case VoteReceived(vote):
            return encode((int(_Kind.VOTE), event.height, vote.to_value()))
        case BlockBuilt(height, round_, block_id, body):
            return encode((int(_Kind.BUILT), height, round_, block_id, body))
        case BlockValidated(height, block_id, valid):
            return encode((int(_Kind.VALIDATED), height, block_id, valid))
        case TimeoutElapsed(height, round_, step):
            return encode((int(_Kind.TIMEOUT), height, round_, int(step)))


def decode_record(record: bytes, height: int) -> Event:
    """Read a record of this height.

    Raises:
        InvalidWal: it is something else, or of another height.
    """
    try:
        value = decode(record, max_bytes=MAX_WAL_RECORD_BYTES)
        if type(value) is not tuple or len(value) < 2:
            raise DecodeError("a record is an array that begins with its kind and height")
        integer(value[1], "height", height, height)
        return _event(value, height)
    except DecodeError as error:
        raise InvalidWal(f"write-ahead log: {error}") from None


def _event(value: tuple[Value, ...], height: int) -> Event:
    match integer(value[0], "kind of record"):
        case _Kind.START:
            fields(value, "start", 2)
            return StartHeight(height)
        case _Kind.PROPOSAL:
            _, _, proposal, timely = fields(value, "proposal record", 4)
            content, signature = fields(proposal, "signed proposal", 2)
            signed = SignedProposal(Proposal.from_value(content), signature_field(signature))
            judged = None if timely is None else _bool(timely)
            return _of_height(height, ProposalReceived(signed, None, judged))
        case _Kind.BODY:
            _, _, block_id, body, timely = fields(value, "body record", 5)
            return BodyReceived(height, hash_field(block_id, "id"), _bytes(body), _bool(timely))
        case _Kind.VOTE:
            _, _, vote = fields(value, "vote record", 3)
            return _of_height(height, VoteReceived(SignedVote.from_value(vote)))
        case _Kind.BUILT:
            _, _, round_, block_id, body = fields(value, "built record", 5)
            return BlockBuilt(height, _round(round_), hash_field(block_id, "id"), _bytes(body))
        case _Kind.VALIDATED:
            _, _, block_id, valid = fields(value, "validated record", 4)
            return BlockValidated(height, hash_field(block_id, "id"), _bool(valid))
        case _Kind.TIMEOUT:
            _, _, round_, step = fields(value, "timeout record", 4)
            number = integer(step, "step", Step.PROPOSE, Step.PRECOMMIT)
            return TimeoutElapsed(height, _round(round_), Step(number))
        case kind:
            raise DecodeError(f"record of unknown kind {kind!r}")


def _of_height(height: int, event: ProposalReceived | VoteReceived) -> Event:
    if event.height != height:
        raise DecodeError("a record's message is of another height")
    return event


def _round(value: Value) -> int:
    return integer(value, "round", 0, MAX_ROUND)


def _bytes(value: Value) -> bytes:
    if type(value) is not bytes:
        raise DecodeError("expected bytes")
    return value


def _bool(value: Value) -> bool:
    if type(value) is not bool:
        raise DecodeError("expected a bool")
    return value
