"""The height driver: round machine, vote keeper and proposals of one height behind one function.

`handle(event) -> list[Effect]`, pure: no clock, no disk, no network. The runner's part:

    driver = HeightDriver(suite, chain_id, height, validators, own_name, timeouts)
    run(driver.replay(records, guard.lock_for(height)))     # once, for the first height after a start of the process
    run(driver.handle(StartHeight(height)))                 # unless the replay started it (`driver.started`)
    for event in queue: run(driver.handle(event))

1. One queue, one consumer. `run` carries out all effects of one event, in order, before the next event is handled.
   The answers of the guard (own proposal, own vote) are handled next, before anything else in the queue.
2. Make the driver of height H + 1 when that of H is made (its validator set is known by then): it collects messages
   before it is started. Give messages to the driver of their height; answer older heights from the store; drop those
   of heights beyond, and let block sync find the way there.
3. `InvalidMessage` from `handle` means: nothing has changed, drop the peer that sent this.
4. Send `StatusMessage` (`status()`) to a peer when its link comes up, and to all every second while the height is not
   decided. To a peer's status of our height answer with what `missing(status)` returns. Answer `BodyRequest` from
   `body(block_id)`. While `wanted_bodies` is not empty, ask another peer each second.
5. On `Decide`: finalise, and commit in one synced batch that also deletes the log's records 0 … `wal_length` - 1;
   then `guard.note_decided(height, block_time_ms)`, and start the next driver. The same when block sync brings the
   height. Late votes may still come to the old driver; they do nothing.
6. Only validators have drivers. Before more is done with a proposal that a peer sends, ask whether it `awaits` it; a
   height that nobody has begun here begins when it `is_heard`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from consensus.tendermint.catch_up import missing_from, status_of
from consensus.tendermint.effects import (
    Broadcast,
    BuildBlock,
    Decide,
    Effect,
    FetchBody,
    ReportDivergence,
    ReportEvidence,
    SaveWal,
    ScheduleTimeout,
    SignProposal,
    SignVote,
    ValidateBlock,
)
from consensus.tendermint.errors import InvalidMessage, InvalidWal
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
from consensus.tendermint.height_log import HeightLog
from consensus.tendermint.messages import (
    Message,
    Proposal,
    ProposalMessage,
    SignedProposal,
    StatusMessage,
    VotesMessage,
)
from consensus.tendermint.proposals import KeptProposal, KnownBlock, ProposalKeeper
from consensus.tendermint.rounds import (
    CastVote,
    Decision,
    EnterRound,
    FreshProposal,
    GetValue,
    Input,
    Output,
    PolkaAny,
    PolkaNil,
    PolkaValue,
    PrecommitAny,
    PrecommitValue,
    Propose,
    RepeatedProposal,
    RoundState,
    RoundValue,
    SkipRound,
    StartRound,
    Step,
    TimeoutExpired,
    ValueBuilt,
    Wait,
    apply,
    remember_lock,
)
from consensus.tendermint.timeouts import Timeouts
from consensus.tendermint.vote_keeper import VoteKeeper
from ledger.commits import Commit
from ledger.evidence import DuplicateVoteEvidence
from ledger.suite import Suite
from ledger.validators import ValidatorSet
from ledger.votes import SignedVote, Vote, VoteType


class HeightDriver:
    """Decides one height. Attributes are read-only to others."""

    def __init__(
        self,
        suite: Suite,
        chain_id: str,
        height: int,
        validators: ValidatorSet,
        own_name: str,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._suite = suite
        self._chain_id = chain_id
        self.height: Final = height
        self._validators = validators
        self._own_name = own_name
        self._timeouts = timeouts or Timeouts()
        self._keys = [validator.consensus_key for validator in validators]
        self._index_of = {validator.name: i for i, validator in enumerate(validators)}
        assert own_name in self._index_of, "who does not vote follows what others have decided"

        self._state = RoundState()
        self._votes = VoteKeeper(validators)
        self._proposals = ProposalKeeper(len(validators))
        self._building: int | None = None  # the round that a block is being built for
        self._divergence_reported = False
        self.is_heard = False
        """Whether a validator has voted or proposed at this height, by what it has signed."""
        self._log = HeightLog()

    # ---- events

    def handle(self, event: Event) -> list[Effect]:
        """Take in one event; return what is to be done, in order. Events of other heights do nothing.

        Raises:
            InvalidMessage: no correct peer sends this; nothing has changed.
        """
        effects: list[Effect] = []
        if event.height != self.height or self._state.step is Step.DECIDED:
            return effects
        match event:
            case VoteReceived(signed):
                self._on_vote(signed, effects)
            case ProposalReceived():
                self._on_proposal(event, effects)
            case BodyReceived():
                self._on_body(event, effects)
            case BlockValidated():
                self._on_validated(event, effects)
            case BlockBuilt():
                self._on_built(event, effects)
            case TimeoutElapsed(_, round, step):
                self._fire(event, TimeoutExpired(round, step), effects)
            case StartHeight() if self._state.step is Step.UNSTARTED:
                self._log.add(event)
                self._log.add_received(self._proposals, self._votes, 0, 0)
                self._apply(StartRound(0, self._is_proposer(0)), effects)
                self._advance(effects)
        return effects

    def _on_vote(self, signed: SignedVote, effects: list[Effect]) -> None:
        vote = signed.vote
        index = self._index_of.get(vote.validator)
        if index is None or vote.chain_id != self._chain_id:
            raise InvalidMessage(f"vote of {vote.validator}, no validator of this height")
        if not self._votes.wants(index, vote):
            return
        if not signed.verify(self._suite, self._keys[index]):
            raise InvalidMessage(f"vote of {vote.validator} with a bad signature")
        self.is_heard = True
        counted = self._votes.add(index, signed)
        if self._is_entered(vote.round):
            self._log.add(VoteReceived(signed))
        if counted.conflict is not None:
            evidence = DuplicateVoteEvidence.of(counted.conflict, signed)
            effects.append(ReportEvidence(evidence))
        if vote.validator == self._own_name:
            effects.append(Broadcast(VotesMessage((signed,))))
        if counted.thresholds:
            self._advance(effects)

    def _on_proposal(self, event: ProposalReceived, effects: list[Effect]) -> None:
        signed, body, timely = event.proposal, event.body, event.timely
        proposal = signed.proposal
        if self._verify_if_wanted(signed):
            self.is_heard = True
            self._keep(signed, timely, effects)
        kept = self._proposals.get(proposal.round)
        if kept is None or kept.block_id != proposal.block_id:
            return  # out of the window, or the proposer's second
        if body is not None and self._proposals.block(proposal.block_id).body is None:
            self._proposals.add_body(proposal.block_id, body, timely)
        self._advance(effects)

    def _verify_if_wanted(self, signed: SignedProposal) -> bool:
        """Tell whether this would be its round's proposal; if so, its signature is good."""
        proposal = signed.proposal
        proposer = self._validators.proposer(self.height, proposal.round)
        if proposal.proposer != proposer.name or proposal.chain_id != self._chain_id:
            raise InvalidMessage(
                f"proposal of {proposal.proposer}, not round {proposal.round}'s proposer"
            )
        if not self._proposals.wants(proposal.round):
            return False
        if not signed.verify(self._suite, proposer.consensus_key):
            raise InvalidMessage(f"proposal of {proposal.proposer} with a bad signature")
        return True

    def _keep(self, signed: SignedProposal, timely: bool | None, effects: list[Effect]) -> None:
        proposal = signed.proposal
        self._proposals.add(signed, timely)
        if self._is_entered(proposal.round):
            self._log.add(ProposalReceived(signed, None, timely))
        if proposal.round == self._state.round:
            self._ask_for_polka(self._proposals.get(proposal.round))
        if proposal.proposer == self._own_name:
            body = self._proposals.block(proposal.block_id).body
            effects.append(Broadcast(ProposalMessage(signed, body)))

    def _on_body(self, event: BodyReceived, effects: list[Effect]) -> None:
        block = self._proposals.block(event.block_id)
        if block.body is None and (block.asked or self._log.replaying):
            self._proposals.add_body(event.block_id, event.body, event.timely)
            self._advance(effects)

    def _on_validated(self, event: BlockValidated, effects: list[Effect]) -> None:
        block = self._proposals.block(event.block_id)
        if block.body is not None and block.valid is None:
            self._log.add(event)
            self._proposals.update(event.block_id, replace(block, valid=event.valid))
            self._advance(effects)

    def _on_built(self, event: BlockBuilt, effects: list[Effect]) -> None:
        if event.round != self._building or self._state.step is not Step.PROPOSE:
            return  # too late: we have prevoted nil, or gone on
        self._building = None
        self._proposals.update(event.block_id, KnownBlock(event.body, timely=True, valid=True))
        self._fire(event, ValueBuilt(event.block_id), effects)

    # ---- rules

    def _fire(self, event: Event, input: Input, effects: list[Effect]) -> None:
        """Apply the input that an event stands for, and log the event if its rule fires."""
        state, outputs = apply(self._state, input)
        if state is not self._state or outputs:
            self._log.add(event)
            self._apply(input, effects)
            self._advance(effects)

    def _advance(self, effects: list[Effect]) -> None:
        """Try every rule whose messages are there, in the order of `_inputs`, until none fires."""
        while any(self._apply(input, effects) for input in self._inputs(effects)):
            pass

    def _inputs(self, effects: list[Effect]) -> Iterator[Input]:
        """Yield the inputs that messages allow now. The order decides only where several rules could fire:

        | 49     | a decision ends everything else                                    |
        | 55     | others are ahead: what this round could still do no longer matters |
        | 22, 28 | prevote, before the votes of the round are looked at               |
        | 36     | lock and precommit a value, rather than …                          |
        | 44     | … precommit nil                                                    |
        | 34, 47 | timeouts last: they never stand before a rule that votes           |
        """
        if self._state.step is Step.UNSTARTED:
            return
        for round, block_id in self._votes.decisions():
            valid = self._validity(block_id, effects)
            if valid:
                yield PrecommitValue(round, block_id)
            elif valid is False and not self._divergence_reported:
                self._divergence_reported = True
                effects.append(ReportDivergence(self.height, round, block_id))
        later = self._votes.round_to_skip_to()
        if later is not None:
            yield SkipRound(later)
        round = self._state.round
        yield from self._proposal_inputs(round, effects)
        polka = self._votes.polka_value(round)
        if polka is not None and self._validity(polka, effects):
            yield PolkaValue(polka)
        if self._votes.has_polka(round, None):
            yield PolkaNil()
        if self._votes.has_any_quorum(VoteType.PREVOTE, round):
            yield PolkaAny()
        if self._votes.has_any_quorum(VoteType.PRECOMMIT, round):
            yield PrecommitAny()

    def _proposal_inputs(self, round: int, effects: list[Effect]) -> Iterator[Input]:
        """Yield what the proposal of the current round allows once its block has been judged (lines 22, 28)."""
        kept = self._proposals.get(round)
        if kept is None:
            return
        valid = self._validity(kept.block_id, effects)
        pol_round = kept.pol_round
        if pol_round is not None:
            if valid is not None and self._votes.has_polka(pol_round, kept.block_id):
                yield RepeatedProposal(kept.block_id, pol_round, valid)
        elif kept.timely is False:
            yield FreshProposal(kept.block_id, False)
        elif valid is not None and kept.timely is not None:
            yield FreshProposal(kept.block_id, valid)

    def _validity(self, block_id: bytes, effects: list[Effect]) -> bool | None:
        """Return valid(v); where it is not known yet, ask for the body, or ask the application, once.

        The body is logged before the application is asked, so it is durable before any vote that says it is valid.
        """
        block = self._proposals.block(block_id)
        if block.valid is None and not block.asked:
            self._proposals.update(block_id, replace(block, asked=True))
            if block.body is None:
                effects.append(FetchBody(self.height, block_id))
            else:
                timely = block.timely is True
                self._log.add(BodyReceived(self.height, block_id, block.body, timely))
                effects.append(ValidateBlock(self.height, block_id, block.body))
        return block.valid

    def _apply(self, input: Input, effects: list[Effect]) -> bool:
        """Give the round machine an input and carry its outputs out; tell whether its rule fired."""
        state, outputs = apply(self._state, input)
        if state is self._state and not outputs:
            return False
        self._state = state
        for output in outputs:
            self._perform(output, effects)
        return True

    def _perform(self, output: Output, effects: list[Effect]) -> None:
        round = self._state.round
        match output:
            case CastVote(type, block_id):
                vote = Vote(self._chain_id, self.height, round, type, block_id, self._own_name)
                self._save(effects)
                effects.append(SignVote(vote, self._state.locked))
            case Wait(step):
                duration_ms = self._timeouts.duration_ms(step, round)
                effects.append(ScheduleTimeout(self.height, round, step, duration_ms))
            case GetValue():
                self._building = round
                effects.append(BuildBlock(self.height, round))
            case Propose(block_id, pol_round):
                self._save(effects)
                proposal = Proposal(
                    self._chain_id, self.height, round, pol_round, block_id, self._own_name
                )
                effects.append(SignProposal(proposal, self._state.locked))
            case EnterRound(later):
                self._enter_round(later, effects)
            case Decision(RoundValue(decided_round, block_id)):
                body = self._proposals.block(block_id).body
                assert body is not None  # its validity was known
                commit = Commit.of(self._votes.precommits(decided_round, block_id))
                effects.append(Decide(self.height, decided_round, block_id, body, commit))

    def _enter_round(self, round: int, effects: list[Effect]) -> None:
        """Go to a later round: let go of what is too old, and start it."""
        held = [value for value in (self._state.locked, self._state.valid) if value is not None]
        self._log.add_received(self._proposals, self._votes, self._state.round + 1, round)
        self._votes.enter_round(round, [value.round for value in held])
        needed = [value.block_id for value in held]
        needed += [block_id for _, block_id in self._votes.decisions()]
        self._proposals.enter_round(round, needed)
        self._building = None
        self._ask_for_polka(self._proposals.get(round))
        self._apply(StartRound(round, self._is_proposer(round)), effects)

    def _ask_for_polka(self, kept: KeptProposal | None) -> None:
        """Take in the prevotes that line 28 needs for this proposal, however old they are."""
        pol_round = None if kept is None else kept.pol_round
        if pol_round is not None:
            self._votes.ask_for(pol_round)

    def _is_proposer(self, round: int) -> bool:
        return self._validators.proposer(self.height, round).name == self._own_name

    # ---- the write-ahead log

    def replay(self, records: Iterable[bytes], lock: RoundValue | None = None) -> list[Effect]:
        """Take in the write-ahead log's records of this height, and the lock that the guard remembers of it.

        Call it first, and once. Returns the effects that are still to be carried out.

        Raises:
            InvalidWal: the records are damaged.
        """
        assert self._state == RoundState() and not self._log.length
        if lock is not None:
            # Where the log was lost, only the guard knows of it. It binds all the same, also what is replayed: a
            # log begun anew may leave votes due that would be cast otherwise without it.
            self._state = remember_lock(self._state, lock)
        effects: list[Effect] = []
        for event in self._log.replay(records, self.height):
            try:
                effects += self.handle(event)
            except InvalidMessage as error:
                raise InvalidWal(f"write-ahead log: {error}") from None
        return [effect for effect in effects if self._is_due(effect)]

    def _is_due(self, effect: Effect) -> bool:
        """Tell whether an effect from before the restart has not been answered, nor become pointless."""
        state = self._state
        match effect:
            case SignVote(vote):
                own_index = self._index_of[vote.validator]
                return self._votes.vote_of(own_index, vote.round, vote.type) is None
            case SignProposal(proposal):
                return proposal.round == state.round and self._proposals.get(state.round) is None
            case ScheduleTimeout(_, round, step):
                # A step's timeout, once it has elapsed, has ended the step; that for precommits the round.
                return round == state.round and (step is Step.PRECOMMIT or step is state.step)
            case BuildBlock(_, round):
                return round == self._building and state.step is Step.PROPOSE
            case ValidateBlock(_, block_id):
                block = self._proposals.block(block_id)
                return block.body is not None and block.valid is None
            case FetchBody(_, block_id):
                return block_id in self._proposals.wanted_bodies
            case Broadcast() | SaveWal():
                return False  # peers ask for what they lack; what was saved is saved
            case _:
                return True

    def _is_entered(self, round: int) -> bool:
        """Tell whether messages of this round are logged as they come."""
        return self._state.step is not Step.UNSTARTED and round <= self._state.round

    def _save(self, effects: list[Effect]) -> None:
        """Have everything logged so far saved before what comes next."""
        effects += self._log.save()

    # ---- what others may know

    def status(self) -> StatusMessage:
        """Return what we have of this height."""
        return status_of(self.height, self._state, self._votes, self._proposals)

    def missing(self, status: StatusMessage) -> tuple[Message, ...]:
        """Return what a peer with this status lacks of what we have; bodies it asks for itself."""
        if status.height != self.height:
            return ()
        return missing_from(status, self._state, self._votes, self._proposals, self._index_of)

    @property
    def untimely_proposer(self) -> str | None:
        """Whose block's time did not fit our clock, in this round or the last one; None where it did."""
        for round in (self._state.round, self._state.round - 1):
            kept = self._proposals.get(round)
            if kept is not None and kept.timely is False and kept.pol_round is None:
                return kept.signed.proposal.proposer
        return None

    def body(self, block_id: bytes) -> bytes | None:
        """Return a body of this height, or None."""
        return self._proposals.block(block_id).body

    def awaits(self, signed: SignedProposal) -> bool:
        """Tell whether a proposal, or the body that comes with it, is of use; raises as `handle` does."""
        if self._verify_if_wanted(signed):
            return True
        kept, block_id = self._proposals.get(signed.proposal.round), signed.proposal.block_id
        return kept is not None and kept.block_id == block_id and self.body(block_id) is None

    @property
    def wanted_bodies(self) -> tuple[bytes, ...]:
        """Block ids whose bodies were asked for with `FetchBody` and have not come."""
        return self._proposals.wanted_bodies

    @property
    def wal_length(self) -> int:
        """How many records this height has in the write-ahead log."""
        return self._log.length

    @property
    def round(self) -> int:
        """The current round; 0 before the start."""
        return self._state.round

    @property
    def step(self) -> Step:
        return self._state.step

    @property
    def state(self) -> RoundState:
        """Round, step, locks: for tests, metrics and people."""
        return self._state

    @property
    def started(self) -> bool:
        return self._state.step is not Step.UNSTARTED

    @property
    def decided(self) -> bool:
        return self._state.step is Step.DECIDED
