"""Bugs of consensus: votes and what is signed, the round machine, the log and the guard."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

_VOTES: Final = "ledger/votes.py"
_MESSAGES: Final = "consensus/tendermint/messages.py"
_ROUNDS: Final = "consensus/tendermint/rounds.py"
_DRIVER: Final = "consensus/tendermint/driver.py"
_KEEPER: Final = "consensus/tendermint/vote_keeper.py"
_GUARD: Final = "consensus/tendermint/last_sign.py"
_COMMITS: Final = "ledger/commits.py"

_TRANSCRIPTS: Final = "tests/consensus/test_transcripts.py::test_transcript_prints_what_it_says"
_POWER_FAILURES: Final = (
    "tests/sim/test_sim.py::test_the_rarer_faults_show_no_violation[power failures]"
)
_VOTE_IS_BOUND: Final = "tests/ledger/test_votes.py::test_a_vote_is_bound_to_every_field_of_it"
_PROPOSAL_IS_BOUND: Final = (
    "tests/consensus/test_messages.py::test_a_proposals_signature_covers_every_field"
)
_BAD_COMMITS: Final = (
    "tests/ledger/test_votes.py::test_a_commit_with_anything_wrong_in_it_is_refused"
)

_SIGNED: Final[tuple[Mutant, ...]] = (
    Mutant(
        "vote-without-chain-id",
        "The chain id is left out of what a vote signs: a vote counts on every chain.",
        _VOTES,
        "return signed_bytes(KIND, self.encode())",
        'return signed_bytes(KIND, Vote("", self.height, self.round, self.type, self.block_id,'
        " self.validator).encode())",
        (_VOTE_IS_BOUND,),
    ),
    Mutant(
        "vote-without-height",
        "The height is left out of what a vote signs: a vote counts at every height.",
        _VOTES,
        "return signed_bytes(KIND, self.encode())",
        "return signed_bytes(KIND, Vote(self.chain_id, 1, self.round, self.type, self.block_id,"
        " self.validator).encode())",
        (_VOTE_IS_BOUND,),
    ),
    Mutant(
        "vote-without-round",
        "The round is left out of what a vote signs: a vote counts in every round.",
        _VOTES,
        "return signed_bytes(KIND, self.encode())",
        "return signed_bytes(KIND, Vote(self.chain_id, self.height, 0, self.type, self.block_id,"
        " self.validator).encode())",
        (_VOTE_IS_BOUND,),
    ),
    Mutant(
        "vote-without-type",
        "The type is left out of what a vote signs: a prevote passes for a precommit.",
        _VOTES,
        "return signed_bytes(KIND, self.encode())",
        "return signed_bytes(KIND, Vote(self.chain_id, self.height, self.round, VoteType.PREVOTE,"
        " self.block_id, self.validator).encode())",
        (_VOTE_IS_BOUND,),
    ),
    Mutant(
        "proposal-without-chain-id",
        "The chain id is left out of what a proposal signs.",
        _MESSAGES,
        "return signed_bytes(PROPOSAL_KIND, encode(self.to_value()))",
        "return signed_bytes(PROPOSAL_KIND, encode(tuple(self.to_value())[1:]))",
        (_PROPOSAL_IS_BOUND,),
    ),
    Mutant(
        "proposal-without-height",
        "The height is left out of what a proposal signs.",
        _MESSAGES,
        "return signed_bytes(PROPOSAL_KIND, encode(self.to_value()))",
        "return signed_bytes(PROPOSAL_KIND, encode((self.chain_id, *tuple(self.to_value())[2:])))",
        (_PROPOSAL_IS_BOUND,),
    ),
    Mutant(
        "proposal-without-round",
        "The round is left out of what a proposal signs.",
        _MESSAGES,
        "return signed_bytes(PROPOSAL_KIND, encode(self.to_value()))",
        "return signed_bytes(PROPOSAL_KIND, encode((*tuple(self.to_value())[:2],"
        " *tuple(self.to_value())[3:])))",
        (_PROPOSAL_IS_BOUND,),
    ),
)

_COUNTED: Final[tuple[Mutant, ...]] = (
    Mutant(
        "quorum-of-two-of-four",
        "Half of the validators make a quorum.",
        "ledger/validators.py",
        "return 2 * len(self.validators) // 3 + 1",
        "return len(self.validators) // 2",
        ("tests/ledger/test_votes.py::test_quorum_sizes",),
    ),
    Mutant(
        "quorum-of-two-thirds-exactly",
        "Exactly two thirds of the validators make a quorum.",
        "ledger/validators.py",
        "return 3 * votes > 2 * n",
        "return 3 * votes >= 2 * n",
        ("tests/ledger/test_votes.py::test_quorum_sizes",),
    ),
    Mutant(
        "double-vote-counted-twice",
        "Of a validator that votes for two values both votes count towards a quorum for whatever.",
        _KEEPER,
        "if any_kind not in reached and everybody.bit_count() >= self._quorum:",
        "if any_kind not in reached and sum(map(int.bit_count, tally.voters.values()))"
        " >= self._quorum:",
        (
            "tests/consensus/test_vote_keeper.py::test_it_tells_each_threshold_once_and_when_a_dumb_count_reaches_it",
        ),
    ),
    Mutant(
        "signer-counted-twice-in-a-commit",
        "A commit may hold the same validator's precommit twice, and both count.",
        _COMMITS,
        "if any(a >= b for a, b in pairwise(names)):",
        "if any(a > b for a, b in pairwise(names)):",
        (_BAD_COMMITS,),
    ),
    Mutant(
        "stranger-counted-in-a-commit",
        "A commit's signature by somebody who is no validator counts.",
        _COMMITS,
        'raise InvalidSignature(f"commit: {signed.vote.validator} is not a validator")',
        "continue",
        (_BAD_COMMITS,),
    ),
    Mutant(
        "commit-checked-to-two-thirds-only",
        "Signatures of a commit beyond a quorum are not verified.",
        _COMMITS,
        "for signed in commit.votes(chain_id):",
        "for signed in commit.votes(chain_id)[: validators.quorum_size]:",
        (_BAD_COMMITS,),
    ),
    Mutant(
        "commit-without-quorum",
        "A commit with a single good precommit is a commit.",
        _COMMITS,
        "if not validators.quorum(len(names)):",
        "if not names:",
        (_BAD_COMMITS,),
    ),
    Mutant(
        "forged-vote-counted",
        "The signature of a vote is not verified before it counts.",
        _DRIVER,
        "if not signed.verify(self._suite, self._keys[index]):",
        "if signed.vote.block_id is None and not signed.verify(self._suite, self._keys[index]):",
        ("tests/consensus/test_driver.py::test_it_refuses_and_stays_as_it_was",),
    ),
    Mutant(
        "vote-of-another-chain-counted",
        "A vote that was signed for another chain counts.",
        _DRIVER,
        "if index is None or vote.chain_id != self._chain_id:",
        "if index is None:",
        ("tests/consensus/test_driver.py::test_it_refuses_and_stays_as_it_was",),
    ),
    Mutant(
        "proposal-of-anybody-accepted",
        "Whoever is a validator may propose in any round.",
        _DRIVER,
        "proposer = self._validators.proposer(self.height, proposal.round)",
        "proposer = self._validators.get(proposal.proposer) or self._validators.validators[0]",
        ("tests/consensus/test_driver.py::test_it_refuses_and_stays_as_it_was",),
    ),
    Mutant(
        "proposer-stays-for-all-rounds",
        "The proposer of a height does not change with the round: one dead proposer halts the chain.",
        "ledger/validators.py",
        "return self.validators[(height + round) % len(self.validators)]",
        "return self.validators[height % len(self.validators)]",
        ("tests/ledger/test_votes.py::test_proposers_take_turns_by_height_and_round",),
    ),
    Mutant(
        "evidence-not-reported",
        "A second, different vote is counted, but no evidence is made of it.",
        _DRIVER,
        "if counted.conflict is not None:",
        "if counted.conflict is not None and vote.validator == self._own_name:",
        (_TRANSCRIPTS,),
    ),
)

_RULES: Final[tuple[Mutant, ...]] = (
    Mutant(
        "no-lock-on-precommit",
        "A validator that precommits a value does not lock it.",
        _ROUNDS,
        "return _precommit(remember_lock(state, RoundValue(round_, block_id)), block_id)",
        "return _precommit(replace(state, valid=RoundValue(round_, block_id)), block_id)",
        (
            (
                "tests/consensus/test_rounds.py"
                "::test_a_precommit_for_a_value_locks_it_and_only_a_polka_of_the_round_leads_there"
            ),
        ),
    ),
    Mutant(
        "lock-not-looked-at",
        "A validator prevotes for a fresh proposal whatever it has locked.",
        _ROUNDS,
        "return _prevote(state, block_id if acceptable and agrees else None)",
        "return _prevote(state, block_id if acceptable else None)",
        (
            "tests/consensus/test_simulation.py::test_a_single_lock_protects_a_decision_that_nobody_else_knows_of",
        ),
    ),
    Mutant(
        "old-polka-unlocks",
        "A re-proposal with a polka older than the lock is prevoted for.",
        _ROUNDS,
        "agrees = locked is None or locked.round <= pol_round or locked.block_id == block_id",
        "agrees = True",
        (_TRANSCRIPTS,),
    ),
    Mutant(
        "nil-polka-unlocks",
        "Two thirds of prevotes for nil take the lock away.",
        _ROUNDS,
        "case PolkaNil() if step is _PREVOTE:  # lines 44-46\n            return _precommit(state, None)",
        "case PolkaNil() if step is _PREVOTE:\n"
        "            return _precommit(replace(state, locked=None), None)",
        (
            "tests/consensus/test_simulation.py::test_a_single_lock_protects_a_decision_that_nobody_else_knows_of",
        ),
    ),
    Mutant(
        "lock-lost-at-restart",
        "After a restart the lock that the guard remembers is forgotten.",
        _DRIVER,
        "self._state = remember_lock(self._state, lock)",
        "self._state = replace(self._state, valid=lock)",
        (_TRANSCRIPTS,),
    ),
    Mutant(
        "valid-value-not-proposed-again",
        "A proposer that knows a valid value proposes another one.",
        _ROUNDS,
        "if state.valid is not None and state.valid.round < start.round:  # lines 15-16",
        "if state.valid is not None and state.locked is None and state.valid.round < start.round:",
        (_TRANSCRIPTS,),
    ),
    Mutant(
        "late-polka-forgotten",
        "A polka that is seen after the precommit does not make its value the valid one.",
        _ROUNDS,
        "return replace(state, valid=RoundValue(round_, block_id)), _NOTHING",
        "return state, _NOTHING",
        (_TRANSCRIPTS,),
    ),
    Mutant(
        "decision-of-an-earlier-round-missed",
        "Two thirds of precommits decide in the current round only.",
        _DRIVER,
        "            if valid:\n                yield PrecommitValue(round, block_id)",
        "            if valid and round == self._state.round:\n"
        "                yield PrecommitValue(round, block_id)",
        (_TRANSCRIPTS,),
    ),
    Mutant(
        "no-round-skip",
        "A validator does not follow f + 1 others into a later round.",
        _ROUNDS,
        "            return state, (EnterRound(later),)",
        "            return state, _NOTHING",
        (_TRANSCRIPTS,),
    ),
    Mutant(
        "no-timeout-growth",
        "Timeouts do not grow with the round: on a slow network no round is ever long enough.",
        "consensus/tendermint/timeouts.py",
        "duration_ms += duration_ms // 2 + 1",
        "duration_ms += 0",
        (
            "tests/consensus/test_timeouts.py::test_a_timeout_grows_strictly_until_the_cap_and_stays_there",
        ),
    ),
    Mutant(
        "no-clock-bound",
        "A fresh block may bear a time far ahead of every clock.",
        "consensus/tendermint/timeouts.py",
        "return oldest_ms <= block_time_ms <= received_ms + CLOCK_BOUND_MS",
        "return oldest_ms <= block_time_ms",
        (
            "tests/consensus/test_timeouts.py::test_a_block_is_timely_within_the_clock_bound_and_the_rounds_delay",
        ),
    ),
    Mutant(
        "reproposal-judged-by-the-clock",
        "A block that is proposed again must be timely again: a locked one never decides.",
        _DRIVER,
        "yield RepeatedProposal(kept.block_id, pol_round, valid)",
        "yield RepeatedProposal(kept.block_id, pol_round, valid and kept.timely is not False)",
        (_TRANSCRIPTS,),
    ),
    Mutant(
        "untimely-block-accepted",
        "A fresh block is prevoted for although its time is not timely.",
        _DRIVER,
        "yield FreshProposal(kept.block_id, False)",
        "yield FreshProposal(kept.block_id, True)",
        (_TRANSCRIPTS,),
    ),
    Mutant(
        "invalid-block-accepted",
        "A fresh block is prevoted for although the application calls it invalid.",
        _DRIVER,
        "yield FreshProposal(kept.block_id, valid)",
        "yield FreshProposal(kept.block_id, True)",
        (_TRANSCRIPTS,),
    ),
    Mutant(
        "flood-of-far-rounds-kept",
        "Votes of every later round are kept, however many a validator sends.",
        _KEEPER,
        "if len(ahead) > MAX_FUTURE_ROUNDS:",
        "if len(ahead) > 1_000 * MAX_FUTURE_ROUNDS:",
        (
            "tests/consensus/test_driver.py::test_a_flood_of_far_rounds_is_bounded_in_memory_and_never_reaches_the_log",
        ),
    ),
)

_DURABLE: Final[tuple[Mutant, ...]] = (
    Mutant(
        "vote-signed-before-it-is-logged",
        "What led to a vote is saved after the vote is signed and sent.",
        _DRIVER,
        "                self._save(effects)\n"
        "                effects.append(SignVote(vote, self._state.locked))",
        "                effects.append(SignVote(vote, self._state.locked))\n"
        "                self._save(effects)",
        ("tests/consensus/test_driver.py::test_the_body_is_saved_before_the_prevote_is_signed",),
    ),
    Mutant(
        "prevote-before-the-body-is-durable",
        "A block's body is not logged before the prevote that says it is valid.",
        _DRIVER,
        "                self._log.add(BodyReceived(self.height, block_id, block.body, timely))\n",
        "",
        ("tests/consensus/test_driver.py::test_the_body_is_saved_before_the_prevote_is_signed",),
    ),
    Mutant(
        "log-write-not-waited-for",
        "The runner goes on while the write-ahead log is still being written.",
        "node/runner.py",
        "                await self._storage.run(self._database.write, batch)",
        '                self._start_job(self._storage.run(self._database.write, batch), "save")',
        (_POWER_FAILURES,),
    ),
    Mutant(
        "log-not-written",
        "The write-ahead log stays empty: whoever restarts knows nothing of its height.",
        "node/runner.py",
        "                    batch.put(keyspace.wal(number), record)",
        "                    batch.delete(keyspace.wal(number))",
        (_POWER_FAILURES,),
    ),
    Mutant(
        "log-not-truncated",
        "A commit leaves the write-ahead log of its height behind.",
        "node/runner.py",
        "        batch.delete(keyspace.wal(number))",
        "        batch.changes.get(keyspace.wal(number))",
        (_POWER_FAILURES,),
    ),
    Mutant(
        "last-sign-check-off-by-one",
        "A key signs a second, different vote for the step that it signed last.",
        _GUARD,
        "if position <= last.position:",
        "if position < last.position:",
        (
            "tests/consensus/test_last_sign.py::test_other_bytes_for_a_step_at_or_before_the_newest_are_refused",
        ),
    ),
    Mutant(
        "last-sign-not-stored",
        "The guard remembers what it signed in memory only: a restart forgets it.",
        _GUARD,
        "        self._save(last.encode())\n",
        "",
        (
            "tests/consensus/test_last_sign.py::test_a_restart_gives_the_stored_signature_for_the_same_bytes",
        ),
    ),
    Mutant(
        "last-sign-not-synced",
        "The guard's record is not synced before the signature is released.",
        "ledger/files.py",
        "        os.fsync(file.fileno())\n",
        "",
        (
            "tests/consensus/test_last_sign.py::test_file_and_directory_are_synced_before_a_signature_is_released",
        ),
    ),
    Mutant(
        "lost-guard-signs-at-once",
        "Without a record of what it signed, a key signs again at once.",
        _GUARD,
        "self._silent = last is None",
        "self._silent = False",
        (
            (
                "tests/consensus/test_last_sign.py"
                "::test_without_a_good_record_it_is_silent_until_a_height_begun_after_its_start_is_decided"
            ),
        ),
    ),
    Mutant(
        "checkpoint-guard-off-by-one",
        "A validator signs a second checkpoint of one size, with another root.",
        "node/signing_guard.py",
        "elif checkpoint.size <= self._signed[0]:",
        "elif checkpoint.size < self._signed[0]:",
        (
            "tests/node/test_checkpointing.py::test_the_guard_signs_growing_logs_only_and_remembers_over_a_restart",
        ),
    ),
)

CONSENSUS: Final = (*_SIGNED, *_COUNTED, *_RULES, *_DURABLE)
