"""The vote keeper: counts the votes of one height, tells when a threshold is reached, finds double votes.

Voters are bits of an integer by their index in the validator set, so counting is one `bit_count`. What is counted:

- A validator's second, different vote counts too, for its value: two quorums share a correct validator whatever the
  faulty ones do, and a quorum that others have seen must be reachable here. "Any" counts validators, not votes.
- f + 1 for a round skip is counted over both types of vote together.

What is kept is bounded: rounds from `PAST_ROUNDS` behind the current one, rounds that were asked for, rounds with a
decision; ahead of the current round the newest `MAX_FUTURE_ROUNDS` of each validator. See `limits`.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from consensus.tendermint.limits import MAX_FUTURE_ROUNDS, PAST_ROUNDS, VOTES_PER_STEP
from consensus.tendermint.messages import Voters
from ledger.validators import ValidatorSet
from ledger.votes import SignedVote, Vote, VoteType


class ThresholdKind(Enum):
    """What 2f + 1 votes, or f + 1, may have reached; the lines that ask for it."""

    POLKA_ANY = "polka any"  # line 34
    POLKA_NIL = "polka nil"  # line 44
    POLKA_VALUE = "polka value"  # lines 28, 36
    PRECOMMIT_ANY = "precommit any"  # line 47
    PRECOMMIT_VALUE = "precommit value"  # line 49
    SKIP_ROUND = "skip round"  # line 55


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold that a vote has just reached."""

    kind: ThresholdKind
    round: int
    block_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """What came of a vote: thresholds reached by it, and an earlier vote that it contradicts."""

    thresholds: tuple[Threshold, ...]
    conflict: SignedVote | None


_PLAIN: Final = Counted((), None)


class _Tally:
    """Votes of one type in one round."""

    __slots__ = ("quorums", "voters", "votes")

    def __init__(self) -> None:
        self.votes: dict[int, dict[bytes | None, SignedVote]] = {}
        self.voters: dict[bytes | None, int] = {}
        self.quorums: list[bytes | None] = []  # values with a quorum, in the order reached

    @property
    def everybody(self) -> int:
        """All voters as bits."""
        bits = 0
        for voters in self.voters.values():
            bits |= voters
        return bits

    def add(self, index: int, signed: SignedVote) -> SignedVote | None:
        """Count a vote that is not there yet; return the first vote that it contradicts."""
        value = signed.vote.block_id
        votes = self.votes.setdefault(index, {})
        conflict = next(iter(votes.values())) if len(votes) == 1 else None
        votes[value] = signed
        self.voters[value] = self.voters.get(value, 0) | 1 << index
        return conflict

    def forget(self, index: int, quorum: int) -> None:
        """Take back all votes of one validator."""
        for value in self.votes.pop(index, ()):
            self.voters[value] &= ~(1 << index)
            if not self.voters[value]:
                del self.voters[value]
        self.quorums = [v for v in self.quorums if self.voters.get(v, 0).bit_count() >= quorum]

    def value_with_quorum(self) -> bytes | None:
        """Return the first block that reached a quorum, or None."""
        return next((value for value in self.quorums if value is not None), None)


class _Round:
    """Votes of one round."""

    __slots__ = ("precommits", "prevotes", "reached")

    def __init__(self) -> None:
        self.prevotes = _Tally()
        self.precommits = _Tally()
        self.reached: set[ThresholdKind] = set()  # those that are reached once a round

    def tally(self, type: VoteType) -> _Tally:
        return self.prevotes if type is VoteType.PREVOTE else self.precommits

    @property
    def has_decision(self) -> bool:
        return self.precommits.value_with_quorum() is not None


class VoteKeeper:
    """Counts votes of one height. Signatures are the caller's business: ask `wants`, verify, then `add`."""

    def __init__(self, validators: ValidatorSet) -> None:
        self._validators = validators
        self._quorum = validators.quorum_size
        self._some_correct = validators.faults_tolerated + 1  # f + 1
        self._rounds: dict[int, _Round] = {}
        self._ahead: list[list[int]] = [[] for _ in validators]  # by validator, ascending
        self._round = 0
        self._asked_for: frozenset[int] = frozenset()

    # ---- counting

    def wants(self, index: int, vote: Vote) -> bool:
        """Tell whether `add` would count this vote: neither known, nor too old, too far, or one too many."""
        if vote.round > self._round:
            ahead = self._ahead[index]
            if len(ahead) >= MAX_FUTURE_ROUNDS and vote.round < ahead[0]:
                return False
        elif vote.round < self._round - PAST_ROUNDS and vote.round not in self._asked_for:
            return False
        votes_of_round = self._rounds.get(vote.round)
        if votes_of_round is None:
            return True
        tally = votes_of_round.tally(vote.type)
        votes = tally.votes.get(index)
        if not votes:
            return True
        if vote.block_id in votes:
            return False
        backing = tally.voters.get(vote.block_id, 0).bit_count()
        return len(votes) < VOTES_PER_STEP or backing >= self._some_correct

    def add(self, index: int, signed: SignedVote) -> Counted:
        """Count a vote that `wants` wants, by the validator with this index; its signature is good."""
        vote = signed.vote
        if vote.round > self._round:
            self._note_ahead(index, vote.round)
        votes_of_round = self._rounds.get(vote.round)
        if votes_of_round is None:
            votes_of_round = self._rounds[vote.round] = _Round()
        conflict = votes_of_round.tally(vote.type).add(index, signed)
        thresholds = tuple(self._new_thresholds(votes_of_round, vote))
        return Counted(thresholds, conflict) if thresholds or conflict else _PLAIN

    def _new_thresholds(self, votes_of_round: _Round, vote: Vote) -> Iterator[Threshold]:
        """Yield what this vote has just brought about, each threshold once."""
        reached = votes_of_round.reached
        tally = votes_of_round.tally(vote.type)
        everybody = tally.everybody
        is_prevote = vote.type is VoteType.PREVOTE
        any_kind = ThresholdKind.POLKA_ANY if is_prevote else ThresholdKind.PRECOMMIT_ANY
        if any_kind not in reached and everybody.bit_count() >= self._quorum:
            reached.add(any_kind)
            yield Threshold(any_kind, vote.round)
        value = vote.block_id
        if value not in tally.quorums and tally.voters[value].bit_count() >= self._quorum:
            tally.quorums.append(value)
            if value is not None:
                kind = ThresholdKind.POLKA_VALUE if is_prevote else ThresholdKind.PRECOMMIT_VALUE
                yield Threshold(kind, vote.round, value)
            elif is_prevote:  # no rule asks for 2f + 1 precommits for nil
                yield Threshold(ThresholdKind.POLKA_NIL, vote.round)
        if vote.round > self._round and ThresholdKind.SKIP_ROUND not in reached:
            other = votes_of_round.precommits if is_prevote else votes_of_round.prevotes
            if (everybody | other.everybody).bit_count() >= self._some_correct:
                reached.add(ThresholdKind.SKIP_ROUND)
                yield Threshold(ThresholdKind.SKIP_ROUND, vote.round)

    def _note_ahead(self, index: int, round: int) -> None:
        """Remember that this validator has votes in a later round; let go of its lowest one when they are too many."""
        ahead = self._ahead[index]
        if round in ahead:
            return
        insort(ahead, round)
        if len(ahead) > MAX_FUTURE_ROUNDS:
            self._forget(index, ahead.pop(0))

    def _forget(self, index: int, round: int) -> None:
        votes_of_round = self._rounds[round]
        if votes_of_round.has_decision:
            return
        votes_of_round.prevotes.forget(index, self._quorum)
        votes_of_round.precommits.forget(index, self._quorum)
        # What the votes left over no longer reach may be reached again.
        votes_of_round.reached.clear()
        if not votes_of_round.prevotes.votes and not votes_of_round.precommits.votes:
            del self._rounds[round]

    # ---- rounds

    def enter_round(self, round: int, asked_for: Iterable[int] = ()) -> None:
        """Make `round` the current one and drop old rounds but `asked_for` (of locked and valid values)."""
        self._round = round
        self._asked_for = frozenset(asked_for)
        oldest = round - PAST_ROUNDS
        self._rounds = {
            number: votes
            for number, votes in self._rounds.items()
            if number >= oldest or number in self._asked_for or votes.has_decision
        }
        self._ahead = [[ahead for ahead in rounds if ahead > round] for rounds in self._ahead]

    def ask_for(self, round: int) -> None:
        """Take in votes of an old round as well (the polka of a proposal), until the next round."""
        self._asked_for |= {round}

    # ---- what has been reached

    def has_polka(self, round: int, block_id: bytes | None) -> bool:
        """Tell whether 2f + 1 prevoted for this in `round` (lines 28, 44)."""
        votes = self._rounds.get(round)
        return votes is not None and block_id in votes.prevotes.quorums

    def polka_value(self, round: int) -> bytes | None:
        """Return the block that 2f + 1 prevoted for in `round` (line 36), or None."""
        votes = self._rounds.get(round)
        return None if votes is None else votes.prevotes.value_with_quorum()

    def has_any_quorum(self, type: VoteType, round: int) -> bool:
        """Tell whether 2f + 1 validators have cast votes of this type in `round` (lines 34, 47)."""
        votes = self._rounds.get(round)
        return votes is not None and votes.tally(type).everybody.bit_count() >= self._quorum

    def decisions(self) -> list[tuple[int, bytes]]:
        """Return (round, block id) wherever 2f + 1 precommitted a block (line 49)."""
        found = []
        for number, votes in self._rounds.items():
            block_id = votes.precommits.value_with_quorum()
            if block_id is not None:
                found.append((number, block_id))
        return sorted(found)

    def round_to_skip_to(self) -> int | None:
        """Return the highest later round that f + 1 validators have voted in (line 55), or None."""
        later = [
            number
            for number, votes in self._rounds.items()
            if number > self._round
            and (votes.prevotes.everybody | votes.precommits.everybody).bit_count()
            >= self._some_correct
        ]
        return max(later, default=None)

    # ---- the votes themselves

    @property
    def rounds(self) -> list[int]:
        """Rounds that have votes, ascending."""
        return sorted(self._rounds)

    def vote_of(self, index: int, round: int, type: VoteType) -> SignedVote | None:
        """Return the first vote of a validator in a step, or None."""
        votes = self._rounds.get(round)
        if votes is None:
            return None
        return next(iter(votes.tally(type).votes.get(index, {}).values()), None)

    def votes_of_round(self, round: int) -> Iterator[SignedVote]:
        """Yield all votes of a round so that a keeper which is given them in this order keeps every one.

        Prevotes, then precommits; of each, what is kept in any case, by validator, and then what is kept only
        because f + 1 others stand behind its value.
        """
        votes = self._rounds.get(round)
        if votes is not None:
            for tally in (votes.prevotes, votes.precommits):
                of_validators = [
                    tuple(tally.votes[index].values()) for index in sorted(tally.votes)
                ]
                for cast in of_validators:
                    yield from cast[:VOTES_PER_STEP]
                for cast in of_validators:
                    yield from cast[VOTES_PER_STEP:]

    def precommits(self, round: int, block_id: bytes) -> tuple[SignedVote, ...]:
        """Return the precommits for a block in a round: those of a commit once `decisions` has it."""
        return tuple(
            signed
            for signed in self.votes_of_round(round)
            if signed.vote.type is VoteType.PRECOMMIT and signed.vote.block_id == block_id
        )

    def voters(self, round: int, type: VoteType) -> Voters:
        """Return who voted what, nil first, then by block id: what a status tells."""
        votes = self._rounds.get(round)
        if votes is None:
            return ()
        return tuple(
            sorted(
                votes.tally(type).voters.items(),
                key=lambda item: (item[0] is not None, item[0] or b""),
            )
        )

    def describe(self) -> str:
        """Return a line for each round and type with votes, for people and transcripts."""
        lines = []
        for number in self.rounds:
            for type in VoteType:
                parts = [
                    f"{'nil' if value is None else value.hex()[:4]} by {self._names(bits)}"
                    for value, bits in self.voters(number, type)
                ]
                if parts:
                    lines.append(f"round {number} {type.name.lower()}: {'; '.join(parts)}")
        return "\n".join(lines)

    def _names(self, bits: int) -> str:
        return " ".join(v.name for i, v in enumerate(self._validators) if bits >> i & 1)
