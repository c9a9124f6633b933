"""Catching up within a height: a status tells what we have, and a peer answers with what we lack.

The paper needs that what one correct validator has received reaches all others, also votes that a faulty one sent to
some only. Links lose messages when they break, so validators tell each other their status when a link comes up and
now and then while a height is open, and send on any vote the other lacks, not only their own. Bodies are large and
are pulled from one peer at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from consensus.tendermint.limits import MAX_STATUS_ROUNDS, MAX_VOTES_PER_MESSAGE, PAST_ROUNDS
from consensus.tendermint.messages import (
    Message,
    ProposalMessage,
    RoundDigest,
    StatusMessage,
    Voters,
    VotesMessage,
)
from consensus.tendermint.proposals import ProposalKeeper
from consensus.tendermint.rounds import RoundState
from consensus.tendermint.vote_keeper import VoteKeeper
from ledger.votes import SignedVote, VoteType


def status_of(
    height: int, state: RoundState, votes: VoteKeeper, proposals: ProposalKeeper
) -> StatusMessage:
    """Return what we have of the height: the newest rounds up to the current one."""
    rounds = _rounds_up_to(state.round, votes, proposals)[-MAX_STATUS_ROUNDS:]
    return StatusMessage(
        height,
        state.round,
        state.step,
        tuple(
            RoundDigest(
                round,
                proposals.get(round) is not None,
                votes.voters(round, VoteType.PREVOTE),
                votes.voters(round, VoteType.PRECOMMIT),
            )
            for round in rounds
        ),
    )


def missing_from(
    status: StatusMessage,
    state: RoundState,
    votes: VoteKeeper,
    proposals: ProposalKeeper,
    index_of: Mapping[str, int],
) -> tuple[Message, ...]:
    """Return what a peer of the same height with this status lacks: proposals without bodies, then votes."""
    digests = {digest.round: digest for digest in status.rounds}
    messages: list[Message] = []
    lacking: list[SignedVote] = []
    for round in _rounds_of_use(status, state, _rounds_up_to(state.round, votes, proposals)):
        digest = digests.get(round, RoundDigest(round, False, (), ()))
        kept = proposals.get(round)
        if kept is not None and not digest.has_proposal:
            messages.append(ProposalMessage(kept.signed, None))
        lacking.extend(_lacking_votes(round, digest, votes, index_of))
    for start in range(0, len(lacking), MAX_VOTES_PER_MESSAGE):
        messages.append(VotesMessage(tuple(lacking[start : start + MAX_VOTES_PER_MESSAGE])))
    return tuple(messages)


def _rounds_up_to(round: int, votes: VoteKeeper, proposals: ProposalKeeper) -> list[int]:
    return [r for r in sorted({*votes.rounds, *proposals.rounds}) if r <= round]


def _rounds_of_use(status: StatusMessage, state: RoundState, ours: list[int]) -> list[int]:
    """Return those of our rounds that the peer takes messages of, or that move it on, ascending."""
    moving = {state.round, state.round - 1}
    moving |= {value.round for value in (state.valid, state.decision) if value is not None}
    kept_there = range(status.round - PAST_ROUNDS, status.round + 1)
    told = {digest.round for digest in status.rounds}
    return [r for r in ours if r in moving or r in kept_there or r in told]


def _lacking_votes(
    round: int, digest: RoundDigest, votes: VoteKeeper, index_of: Mapping[str, int]
) -> Iterator[SignedVote]:
    there: dict[VoteType, Mapping[bytes | None, int]] = {
        VoteType.PREVOTE: _by_value(digest.prevotes),
        VoteType.PRECOMMIT: _by_value(digest.precommits),
    }
    for signed in votes.votes_of_round(round):
        vote = signed.vote
        if not there[vote.type].get(vote.block_id, 0) >> index_of[vote.validator] & 1:
            yield signed


def _by_value(voters: Voters) -> Mapping[bytes | None, int]:
    return dict(voters)
