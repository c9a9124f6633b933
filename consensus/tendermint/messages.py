"""Messages that validators exchange about the height being decided. Peer frames carry their encodings.

`[number, field, …]`, canonical: 1 proposal `[1, proposal, signature, body or nil]`, 2 votes `[2, [vote, …]]`,
3 status `[3, height, round, step, rounds]`, 4 body request `[4, height, block_id]`, 5 body
`[5, height, block_id, body]`. Bodies are opaque here. Decoding checks form and bounds, not signatures.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from consensus.tendermint.errors import InvalidMessage
from consensus.tendermint.limits import (
    MAX_MESSAGE_BYTES,
    MAX_PROPOSAL_BYTES,
    MAX_STATUS_ROUNDS,
    MAX_STATUS_VALUES,
    MAX_VOTES_PER_MESSAGE,
)
from consensus.tendermint.rounds import Step
from ledger.codec import Value, decode, decode_array, encode
from ledger.decoding import (
    MAX_ROUND,
    fields,
    hash_field,
    integer,
    items,
    short_text,
    signature_field,
)
from ledger.errors import DecodeError
from ledger.limits import MAX_BLOCK_BYTES, MAX_VALIDATORS
from ledger.suite import PublicKey, Suite, signed_bytes
from ledger.votes import SignedVote

PROPOSAL_KIND: Final = "proposal"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A round's proposal (line 19). `pol_round` is validRound: None for a new block, else the round of its polka."""

    chain_id: str
    height: int
    round: int
    pol_round: int | None
    block_id: bytes
    proposer: str

    def to_value(self) -> Value:
        """Return the value that is encoded."""
        return (
            self.chain_id,
            self.height,
            self.round,
            self.pol_round,
            self.block_id,
            self.proposer,
        )

    @staticmethod
    def from_value(value: Value) -> Proposal:
        """Read what `to_value` returned.

        Raises:
            DecodeError: not a proposal, or a polka that is not of an earlier round.
        """
        chain_id, height, round_, pol_round, block_id, proposer = fields(value, "proposal", 6)
        number = integer(round_, "round", 0, MAX_ROUND)
        return Proposal(
            short_text(chain_id, "chain_id"),
            integer(height, "height", 1),
            number,
            None if pol_round is None else integer(pol_round, "pol_round", 0, number - 1),
            hash_field(block_id, "block_id"),
            short_text(proposer, "proposer"),
        )

    def signed_bytes(self) -> bytes:
        """Return the bytes that the proposer signs."""
        return signed_bytes(PROPOSAL_KIND, encode(self.to_value()))


@dataclass(frozen=True, slots=True)
class SignedProposal:
    """A proposal with its proposer's 64-byte signature: `[proposal, signature]`."""

    proposal: Proposal
    signature: bytes

    def verify(self, suite: Suite, key: PublicKey) -> bool:
        """Tell whether the signature is good under the proposer's consensus key."""
        return suite.verify(key, self.proposal.signed_bytes(), self.signature)

    def encode(self) -> bytes:
        """Return the canonical encoding."""
        return encode((self.proposal.to_value(), self.signature))

    @staticmethod
    def decode(data: bytes) -> SignedProposal:
        """Read a signed proposal; the signature is not verified here.

        Raises:
            DecodeError: not a signed proposal.
        """
        proposal, signature = decode_array(data, 2, max_bytes=MAX_PROPOSAL_BYTES)
        return SignedProposal(Proposal.from_value(proposal), signature_field(signature))


@dataclass(frozen=True, slots=True)
class ProposalMessage:
    """A proposal, with its block's encoding from the proposer, without where the receiver is to fetch it."""

    proposal: SignedProposal
    body: bytes | None


@dataclass(frozen=True, slots=True)
class VotesMessage:
    """Votes of one height, ours or passed on, at most `MAX_VOTES_PER_MESSAGE`."""

    votes: tuple[SignedVote, ...]


Voters: TypeAlias = tuple[tuple[bytes | None, int], ...]
"""Who voted what: (block id or None for nil, set of voters as bits by index in the validator set)."""


@dataclass(frozen=True, slots=True)
class RoundDigest:
    """What a peer has of one round."""

    round: int
    has_proposal: bool
    prevotes: Voters
    precommits: Voters


@dataclass(frozen=True, slots=True)
class StatusMessage:
    """What a peer has of its height, so that others can send the rest. It asks for bodies one by one."""

    height: int
    round: int
    step: Step
    rounds: tuple[RoundDigest, ...]


@dataclass(frozen=True, slots=True)
class BodyRequest:
    """Please send this body. Answered with `HeightDriver.body`, or not at all."""

    height: int
    block_id: bytes


@dataclass(frozen=True, slots=True)
class BodyMessage:
    """The answer to a `BodyRequest`. Unasked ones are dropped."""

    height: int
    block_id: bytes
    body: bytes


Message: TypeAlias = ProposalMessage | VotesMessage | StatusMessage | BodyRequest | BodyMessage


class _Number(IntEnum):
    PROPOSAL = 1
    VOTES = 2
    STATUS = 3
    BODY_REQUEST = 4
    BODY = 5


def encode_message(message: Message) -> bytes:
    """Return the canonical encoding of a message."""
    match message:
        case ProposalMessage(proposal, body):
            return encode(
                (int(_Number.PROPOSAL), proposal.proposal.to_value(), proposal.signature, body)
            )
        case VotesMessage(votes):
            return encode((int(_Number.VOTES), tuple(vote.to_value() for vote in votes)))
        case StatusMessage(height, round_, step, rounds):
            digests = tuple((r.round, r.has_proposal, r.prevotes, r.precommits) for r in rounds)
            return encode((int(_Number.STATUS), height, round_, int(step), digests))
        case BodyRequest(height, block_id):
            return encode((int(_Number.BODY_REQUEST), height, block_id))
        case BodyMessage(height, block_id, body):
            return encode((int(_Number.BODY), height, block_id, body))


def decode_message(data: bytes) -> Message:
    """Read a message.

    Raises:
        InvalidMessage: not a message, or beyond a bound.
    """
    try:
        value = decode(data, max_bytes=MAX_MESSAGE_BYTES)
        if type(value) is not tuple or not value:
            raise DecodeError("a message is an array that begins with its number")
        return _message(value)
    except DecodeError as error:
        raise InvalidMessage(str(error)) from None


def _message(value: tuple[Value, ...]) -> Message:
    match integer(value[0], "message number"):
        case _Number.PROPOSAL:
            _, proposal, signature, body = fields(value, "proposal message", 4)
            signed = SignedProposal(Proposal.from_value(proposal), signature_field(signature))
            return ProposalMessage(signed, None if body is None else _body(body))
        case _Number.VOTES:
            _, votes = fields(value, "votes message", 2)
            array = items(votes, "votes", MAX_VOTES_PER_MESSAGE)
            return VotesMessage(tuple(SignedVote.from_value(vote) for vote in array))
        case _Number.STATUS:
            _, height, round_, step, rounds = fields(value, "status message", 5)
            return StatusMessage(
                integer(height, "height", 1),
                integer(round_, "round", 0, MAX_ROUND),
                Step(integer(step, "step", min(Step), max(Step))),
                tuple(_digest(item) for item in items(rounds, "rounds", MAX_STATUS_ROUNDS)),
            )
        case _Number.BODY_REQUEST:
            _, height, block_id = fields(value, "body request", 3)
            return BodyRequest(integer(height, "height", 1), hash_field(block_id, "block_id"))
        case _Number.BODY:
            _, height, block_id, body = fields(value, "body message", 4)
            return BodyMessage(
                integer(height, "height", 1), hash_field(block_id, "block_id"), _body(body)
            )
        case number:
            raise DecodeError(f"message of unknown number {number}")


def _body(value: Value) -> bytes:
    if type(value) is not bytes or not 0 < len(value) <= MAX_BLOCK_BYTES:
        raise DecodeError(f"a body has 1 to {MAX_BLOCK_BYTES} bytes")
    return value


def _digest(value: Value) -> RoundDigest:
    round_, has_proposal, prevotes, precommits = fields(value, "round digest", 4)
    if type(has_proposal) is not bool:
        raise DecodeError("round digest: expected a bool")
    return RoundDigest(
        integer(round_, "round", 0, MAX_ROUND),
        has_proposal,
        _voters(prevotes, "prevotes"),
        _voters(precommits, "precommits"),
    )


def _voters(value: Value, name: str) -> Voters:
    voters = []
    for item in items(value, name, MAX_STATUS_VALUES):
        block_id, bits = fields(item, name, 2)
        voters.append(
            (
                None if block_id is None else hash_field(block_id, "block_id"),
                integer(bits, "voters", 1, (1 << MAX_VALIDATORS) - 1),
            )
        )
    return tuple(voters)
