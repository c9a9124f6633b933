"""What must hold, checked from outside the nodes: it sees what they commit, sign and say, and keeps its own books.

Every block that the first correct node commits is checked and executed once more, by an application that belongs to
the judge; all other correct nodes must reach the same hashes.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from consensus.tendermint.driver import HeightDriver
from consensus.tendermint.limits import MAX_FUTURE_ROUNDS, PAST_ROUNDS
from consensus.tendermint.messages import SignedProposal
from ledger.application import Application
from ledger.blocks import Block
from ledger.codec import decode_array, encode
from ledger.commits import Commit
from ledger.errors import InvalidBlock
from ledger.finalization import FinalizedBlock
from ledger.suite import SHA256_ED25519, PublicKey
from ledger.transactions import Transaction
from ledger.validators import ValidatorSet
from ledger.votes import SignedVote, VoteType
from node.inbox import MAX_QUEUED_MESSAGES
from tests.ledger.chain import TABLE
from tests.sim.disk import Disk, SimulatedDatabase

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.process import Process
    from tests.sim.world import World

MAX_QUEUED_OWN = 256
"""Timers and answers in a runner's queue besides peers' messages."""


class Violation(AssertionError):
    """Something that must never happen has happened."""


class Judge:
    """Judges one run."""

    def __init__(self, world: World) -> None:
        self._world = world
        disk = Disk(world.random, None, Counter())
        self.reference = Application(
            world.genesis, TABLE, SimulatedDatabase(disk, lambda name: None)
        )
        self.reference.init_chain()
        self._outcomes: dict[int, tuple[bytes, ...]] = {}
        self._signed: dict[tuple[str, int, int, int], bytes] = {}
        self._place: dict[bytes, int] = {}
        self._floor: dict[bytes, int] = {}
        self._proven: dict[str, int] = {}
        self._verify = lru_cache(1_024)(SHA256_ED25519.verify)  # nothing that nodes have verified
        self.found: list[str] = []

    @property
    def height(self) -> int:
        """The greatest height that a correct node has committed."""
        return self.reference.tip.height

    def violation(self, what: str) -> None:
        """Report it. Nodes may catch what is raised inside them, so the run is stopped from here."""
        self.found.append(f"at {self._world.loop.now_ms} ms: {what}")
        self._world.stop()

    def require(self, condition: bool, what: str) -> None:
        if not condition:
            self.violation(what)

    # --- agreement, validity, order --------------------------------------------------------------

    def committed(self, host: Host, application: Application, finalized: FinalizedBlock) -> None:
        """A node has committed a block."""
        if host.faulty:
            return
        tip = finalized.tip
        if tip.height == self.height + 1:
            self._first(host, application, finalized)
        outcome = (
            tip.block_id,
            tip.app_hash,
            tip.state_root,
            tip.next_validators.hash(self._world.genesis.suite),
        )
        known = self._outcomes.setdefault(tip.height, outcome)
        self.require(
            known[0] == outcome[0], f"agreement: two blocks at height {tip.height} ({host.address})"
        )
        self.require(known == outcome, f"agreement: two outcomes of height {tip.height}")
        self.require(
            tip.height == host.height + 1, f"{host.address}: {tip.height} after {host.height}"
        )
        host.height = tip.height

    def _first(self, host: Host, application: Application, finalized: FinalizedBlock) -> None:
        reference, block, genesis = self.reference, finalized.block, self._world.genesis
        commit = application.history.commit(finalized.height)
        try:
            assert commit is not None and commit.block_id == finalized.block_id
            self._check_commit(commit, reference.tip.validators)
            if reference.tip.last_validators is not None:
                self._check_commit(block.last_commit, reference.tip.last_validators)
            self._check_block(block)
            reference.process_proposal(block)
        except InvalidBlock as error:
            self.violation(f"validity: {host.address} committed a bad block: {error}")
            return
        for evidence in block.evidence:
            self.require(
                evidence.validator in self._world.faulty_names,
                f"evidence against {evidence.validator}, which is correct",
            )
            self._world.injected["double voting recorded"] += 1
        again = reference.finalize_block(block)
        reference.commit(again, commit)
        outcome = (
            again.block_id,
            again.app_hash,
            again.state_root,
            again.tip.next_validators.hash(genesis.suite),
        )
        self._outcomes[again.height] = outcome
        for prepared in again.transactions:
            self.require(prepared.id not in self._place, "validity: a transaction twice")
            place = len(self._place)
            floor = self._floor.get(prepared.id, 0)
            self.require(
                place >= floor, "order: a transaction before one acknowledged before it was sent"
            )
            self._place[prepared.id] = place

    def _check_commit(self, commit: Commit | None, validators: ValidatorSet) -> None:
        """Count the good signatures of a commit, over bytes put together here."""
        genesis = self._world.genesis
        good = 0
        for name, signature in dict(() if commit is None else commit.signatures).items():
            assert commit is not None
            vote = (genesis.chain_id, commit.height, commit.round, 2, commit.block_id, name)
            validator = validators.get(name)
            good += validator is not None and self._verify(
                validator.consensus_key, b"mulu/vote/v1\0" + encode(vote), signature
            )
        self.require(3 * good > 2 * len(validators), f"validity: a commit of {good} good votes")

    def _check_block(self, block: Block) -> None:
        """Check what stands in a block, without the code that nodes check it with."""
        genesis, header, tip = self._world.genesis, block.header, self.reference.tip
        places = (header.height, header.chain_id, header.last_block_id, header.app_hash)
        expected = (tip.height + 1, genesis.chain_id, tip.block_id, tip.app_hash)
        self.require(places == expected, "validity: a header that names another chain")
        self.require(header.time_ms > tip.time_ms, "validity: time goes backwards")
        for raw in block.transactions:
            body, signature = decode_array(raw, 2)
            assert isinstance(body, bytes) and isinstance(signature, bytes)
            chain_id, key, valid_until_ms, _, _ = decode_array(body, 5)
            good = self._verify(
                PublicKey.parse(str(key)), b"mulu/transaction/v1\0" + body, signature
            )
            self.require(good, "validity: a transaction with a bad signature")
            self.require(chain_id == genesis.chain_id, "validity: a foreign transaction")
            assert isinstance(valid_until_ms, int)
            left_ms = valid_until_ms - header.time_ms
            lifetime_ms = genesis.parameters.transaction_lifetime_ms
            self.require(0 <= left_ms <= lifetime_ms, "validity: a transaction out of its time")

    def sent(self, transaction: Transaction) -> None:
        """A client is about to send a transaction: it knows of everything committed so far."""
        self._floor[transaction.id] = len(self._place)

    def is_committed(self, transaction_id: bytes) -> bool:
        return transaction_id in self._place

    # --- durability ------------------------------------------------------------------------------

    def started(self, host: Host, height: int) -> None:
        """A node has opened its database after a start."""
        if host.faulty:
            return
        self.require(
            height >= host.height,
            f"durability: {host.address} had committed {host.height}, comes back with {height}",
        )
        host.height = height

    # --- signatures ------------------------------------------------------------------------------

    def vote_signed(self, host: Host, signed: SignedVote) -> None:
        vote = signed.vote
        place = (host.name, vote.height, vote.round, int(vote.type))
        self._signed_once(host, place, vote.block_id or b"nil")
        if vote.type is VoteType.PRECOMMIT and not host.faulty:
            self._world.precommitted(vote)

    def proposal_signed(self, host: Host, signed: SignedProposal) -> None:
        proposal = signed.proposal
        place = (host.name, proposal.height, proposal.round, 0)
        content = encode((proposal.pol_round, proposal.block_id))
        self._signed_once(host, place, content)

    def _signed_once(self, host: Host, place: tuple[str, int, int, int], content: bytes) -> None:
        if not host.faulty:
            process = host.process
            failed = process is not None and process.write_failed
            self.require(not failed, f"{host.address}: signed after a write had failed: {place}")
            known = self._signed.setdefault(place, content)
            self.require(known == content, f"double signing: {place}")

    # --- conduct ---------------------------------------------------------------------------------

    def cut_off(self, host: Host, name: str, reason: str) -> None:
        """A node has called a peer a liar."""
        self._world.injected["liar cut off"] += 1
        if not host.faulty:
            self.require(
                name in self._world.faulty_names, f"{host.address} cut off {name}: {reason}"
            )

    def process_failed(self, host: Host, error: BaseException) -> None:
        """A process ended by itself."""
        if not host.faulty:
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            self._world.causes.append(error)
            self.violation(f"{host.address} failed: {type(error).__name__}: {error}")

    def must_have_ended(self, host: Host, process: Process | None) -> None:
        """A write of this process has failed a moment ago."""
        self.require(
            host.faulty or host.paused or host.process is not process,
            f"{host.address} goes on after a failed write",
        )

    def proven(self, host: Host, height: int) -> None:
        """A node has a quorum's checkpoint."""
        self._proven[host.address] = max(height, self._proven.get(host.address, 0))

    def proven_height(self, host: Host) -> int:
        return self._proven.get(host.address, 0)

    def _check_round(self, host: Host, driver: HeightDriver) -> None:
        """Whoever holds votes of f + 1 validators in a later round is in that round (line 55)."""
        for round_ in driver._votes.rounds if driver.started and not driver.decided else ():
            voters = {signed.vote.validator for signed in driver._votes.votes_of_round(round_)}
            self.require(
                round_ <= driver.round or len(voters) <= driver._validators.faults_tolerated,
                f"{host.address} is in round {driver.round}, {len(voters)} others in {round_}",
            )

    # --- bounds ----------------------------------------------------------------------------------

    def check_bounds(self) -> None:
        """Memory that peers could fill is within its bounds at every correct node."""
        for host in self._world.correct:
            process = host.process
            if process is None or not process.ready:
                continue
            runner = process.replica.runner
            queued = runner.status.queued
            self.require(
                queued <= MAX_QUEUED_MESSAGES * len(self._world.by_name) + MAX_QUEUED_OWN,
                f"bounds: {queued} queued at {host.address}",
            )
            self.require(not runner.status.diverged, f"{host.address} has diverged")
            for driver in (runner._driver, runner._next):
                if driver is None:
                    continue
                if not host.paused and not queued:
                    self._check_round(host, driver)
                n = len(driver._validators)
                rounds = len(driver._votes.rounds)
                self.require(
                    rounds <= PAST_ROUNDS + 4 + MAX_FUTURE_ROUNDS * n,
                    f"bounds: votes of {rounds} rounds at {host.address}",
                )
                votes = sum(
                    1 for r in driver._votes.rounds for _ in driver._votes.votes_of_round(r)
                )
                self.require(
                    votes <= rounds * n * 2 * (n + 2), f"bounds: {votes} votes at {host.address}"
                )
                proposals = len(driver._proposals.rounds)
                self.require(
                    proposals <= PAST_ROUNDS + n + 1,
                    f"bounds: {proposals} proposals at {host.address}",
                )
                blocks = len(driver._proposals._blocks)
                self.require(
                    blocks <= 3 * (PAST_ROUNDS + n), f"bounds: {blocks} blocks at {host.address}"
                )
