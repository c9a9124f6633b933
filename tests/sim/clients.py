"""Clients: they submit signed transactions to correct nodes all the time, and bad ones that must be refused."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from ledger.admission import Admitted
from ledger.keys import SoftwareSigner
from ledger.suite import Signer
from ledger.transactions import Operation, Transaction, sign_transaction
from tests.ledger.chain import EDITOR, MORE_REGIONS, REGIONS, Member, signer
from tests.sim.virtual import START_MS

if TYPE_CHECKING:
    from tests.sim.process import Process
    from tests.sim.world import World

LIFETIME_MS = 600_000
MAX_WAITING = 4
"""Transactions not committed yet that clients wait for before they submit more, …"""

PATIENCE_S = 2.0
"""… and how long they wait."""

PROMPT_S = 5
"""Within this a transaction is committed once everything works …"""

SLOW_S = 60
"""… and in a network that is slow for good, where a height takes some fifteen seconds."""

BUSY_PAUSE_S = 0.2
"""How often clients look whether less is waiting."""

BAD = (
    "bad signature",
    "expired",
    "too distant",
    "foreign chain",
    "unknown signer",
    "garbage",
    "repeated",
)


class Clients:
    """Everybody who submits transactions."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = 0
        self._after_healing: list[Transaction] | None = None
        self._sent: list[Transaction] = []
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._stranger = signer("stranger")
        self._governors = [
            Member(member.name, member.division).governor
            for member in (_member(name) for name in sorted(world.by_name))
            if member is not None
        ]

    async def run(self) -> None:
        world = self._world
        if world.plan.validator_changes:
            changing = world.loop.create_task(self._change_validators())
        try:
            while True:
                idle = self._waits_for_little()
                await asyncio.sleep(world.plan.pause_ms / 1000 if idle else BUSY_PAUSE_S)
                if not self._waits_for_little():
                    continue
                self._submit(self._note())
                if world.plan.bad_transactions and world.random.random() < 0.2:
                    self._submit_bad()
        finally:
            if world.plan.validator_changes:
                changing.cancel()

    def _waits_for_little(self) -> bool:
        """Tell whether few of the newest are uncommitted. What has waited long may be lost with a machine."""
        judge, now_s = self._world.judge, self._world.loop.time()
        while self._waiting and (
            judge.is_committed(self._waiting[0][1]) or now_s - self._waiting[0][0] > PATIENCE_S
        ):
            self._waiting.popleft()
        return len(self._waiting) < MAX_WAITING

    @property
    def heals(self) -> bool:
        """Whether the faults are over for good."""
        return self._after_healing is not None

    def note_healing(self) -> None:
        """From now on whatever is submitted must be committed."""
        self._after_healing = []

    def missing(self) -> list[Transaction]:
        """Return what was submitted after healing, and not in the last moments, and is not committed."""
        judge = self._world.judge
        self._after_healing = [
            one for one in self._after_healing or () if not judge.is_committed(one.id)
        ]
        patience_s = SLOW_S if self._world.plan.delay_stays else PROMPT_S
        limit_ms = START_MS + self._world.loop.now_ms + LIFETIME_MS - patience_s * 1_000
        return [one for one in self._after_healing if one.valid_until_ms < limit_ms]

    def _sign(
        self,
        *operations: Operation,
        by: Signer = EDITOR,
        valid_for_ms: int = LIFETIME_MS,
        chain_id: str | None = None,
    ) -> Transaction:
        self._numbers += 1
        genesis = self._world.genesis
        return sign_transaction(
            genesis.suite,
            by,
            chain_id or genesis.chain_id,
            operations,
            valid_until_ms=START_MS + self._world.loop.now_ms + valid_for_ms,
            nonce=self._numbers.to_bytes(16, "big"),
        )

    def _note(self, by: SoftwareSigner = EDITOR, **options: object) -> Transaction:
        name = f"n{self._world.random.randrange(50)}"
        body = {"name": name, "text": str(self._numbers), "fail": ""}
        return self._sign(Operation("test.note.write", body), by=by, **options)  # type: ignore[arg-type]

    def _processes(self) -> list[Process]:
        return [
            host.process
            for host in self._world.correct
            if host.process is not None and host.ready and not host.paused
        ]

    def _submit(self, transaction: Transaction) -> bool:
        processes = self._processes()
        if not processes:
            return False
        process = self._world.random.choice(processes)
        self._world.judge.sent(transaction)
        self._world.injected["transaction submitted"] += 1
        self._sent.append(transaction)
        self._waiting.append((self._world.loop.time(), transaction.id))
        del self._sent[:-100]
        if self._after_healing is not None:
            self._after_healing.append(transaction)
        process.host.run(self._give(process, transaction.raw, False))
        return True

    def _submit_bad(self) -> None:
        processes = self._processes()
        if processes:
            world = self._world
            kind = world.random.choice(BAD)
            raw = self._bad(kind)
            if raw is not None:
                world.injected[f"bad transaction: {kind}"] += 1
                process = world.random.choice(processes)
                process.host.run(self._give(process, raw, True))

    async def _give(self, process: Process, raw: bytes, bad: bool) -> None:
        for result in await process.replica.intake.submit([raw]):
            if bad and isinstance(result, Admitted) and process.alive:
                self._world.judge.violation("a bad transaction was admitted")

    def _bad(self, kind: str) -> bytes | None:
        random = self._world.random
        match kind:
            case "bad signature":
                raw = bytearray(self._note().raw)
                raw[-1] ^= 1
                return bytes(raw)
            case "expired":
                return self._note(valid_for_ms=-60_000).raw
            case "too distant":
                return self._note(valid_for_ms=100 * 3_600_000).raw
            case "foreign chain":
                return self._note(chain_id="test-" + "0" * 32).raw
            case "unknown signer":
                return self._note(by=self._stranger).raw
            case "garbage":
                return random.randbytes(random.randrange(1, 200))
            case _:  # committed everywhere already
                tips = [one.application.history for one in self._processes()]
                for one in self._sent:
                    if tips and all(h.transaction_index(one.id) is not None for h in tips):
                        return one.raw
                return None

    # --- changes of validators -------------------------------------------------------------------

    async def _change_validators(self) -> None:
        """Admit the standby and remove it again; with seven founders, remove the last and admit it again."""
        world = self._world
        member = _member("shanxi") if world.standby else _member(max(world.by_name))
        assert member is not None
        actions = ("admit", "remove") if world.standby else ("remove", "admit")
        if not world.standby and (world.faulty_names or world.plan.lost_data):
            return  # six validators survive one fault only
        for action in actions * 20:
            await asyncio.sleep(world.random.random() * 2)
            await self._change(action, member)

    async def _change(self, action: str, member: Member) -> None:
        world = self._world
        keys = {
            "consensus_key": str(member.consensus.public_key),
            "log_key": str(member.log.public_key),
            "witness_key": str(member.witness.public_key),
        }
        body = {"action": action, "name": member.name, **(keys if action == "admit" else {})}
        proposal = self._sign(Operation("ledger.validator.propose", body), by=member.governor)
        if not await self._committed(proposal):
            return
        for governor in self._governors:
            approval = Operation("ledger.validator.approve", {"proposal": f"{proposal.id.hex()}-0"})
            if not await self._committed(self._sign(approval, by=governor)):
                return
        names = [one.name for one in world.judge.reference.tip.next_validators]
        if (member.name in names) == (action == "admit"):
            world.injected[f"validator change: {action}"] += 1

    async def _committed(self, transaction: Transaction) -> bool:
        """Submit until it is committed; False if it takes too long."""
        for _ in range(30):
            self._submit(transaction)
            await asyncio.sleep(0.2)
            if self._world.judge.is_committed(transaction.id):
                return True
        return False


def _member(name: str) -> Member | None:
    division = {**REGIONS, **MORE_REGIONS}.get(name)
    return None if division is None else Member(name, division)
