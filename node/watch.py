"""Watching one's own node: gather an observation, diagnose it, and say in the log what is new and what has gone.

Once a second `Watch` notes what lasts (since when something waits, since when no block has come); `findings` is as
fresh as the moment it is asked. Nothing here stands in the way of a commit.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from consensus.tendermint.messages import StatusMessage
from consensus.tendermint.rounds import Step
from consensus.tendermint.timeouts import Timeouts
from ledger.application import Application
from ledger.validators import ValidatorSet
from node.certificates import certificate_der, expires_ms
from node.clock import clock_ms
from node.config import ConsensusConfig
from node.diagnosis import ABOUT_ONE_NODE, Code, Finding, diagnose
from node.engine import Engine
from node.home import OpenedHome
from node.index import Index
from node.observation import Certificate, Damage, Observation
from node.peer_clocks import PeerClocks
from node.peers import HANDSHAKE_TIMEOUT_S, LAST_REDIAL_S, Membership, PeerNetwork

WATCH_S: Final = 1.0

LEAST_PATIENCE_S: Final = 10.0
"""A height that is undecided for so long is called stalled, where three rounds do not take longer."""

PATIENCE_ROUNDS: Final = 3

START_GRACE_S: Final = HANDSHAKE_TIMEOUT_S + LAST_REDIAL_S
"""From its start a node may have no quorum for so long without anything being wrong: then every peer has dialled."""

SETTLED: Final = 3
"""A finding is logged when it was there, or was gone, so many times on end: a start or a flutter is no news."""

REMINDER_S: Final = 86_400.0
"""What stays wrong is logged again once a day."""

_log = structlog.get_logger(__name__)

_Key = tuple[Code, str, tuple[str, ...]]


class Watch:
    """Observes the parts of one node. Belongs to the event loop."""

    def __init__(
        self,
        opened: OpenedHome,
        application: Application,
        engine: Engine,
        network: PeerNetwork,
        damage: Damage | None,
        index: Index,
    ) -> None:
        self._name = opened.config.name
        self._home = opened.home
        self._application = application
        self._engine = engine
        self._network = network
        self._mempool = engine.mempool
        self._sync = engine.sync
        self._damage = damage
        self._index = index
        self._patience_s = _patience_s(opened.config.consensus)
        self._clocks = PeerClocks()
        self._journal = Journal()
        self._own_certificate = Certificate(
            "own", self._name, expires_ms(certificate_der(self._home.tls_certificate.read_bytes()))
        )
        self._authorities: tuple[Membership | None, tuple[Certificate, ...]] = (None, ())
        self._disk_free_bytes: int | None = None
        self._height = -1
        self._started: float | None = None
        self._waiting_since: float | None = None
        self._unhelped_since: float | None = None
        self._quorum_since: float | None = None

    # --- what others tell and ask ----------------------------------------------------------------

    def clock_told(self, peer: str, peer_clock_ms: int) -> None:
        """Note what time it is for a peer."""
        self._clocks.told(peer, peer_clock_ms - clock_ms(), time.monotonic())

    def link_down(self, peer: str) -> None:
        """Forget what is known of a peer whose link has ended."""
        self._clocks.forget(peer)

    def findings(self) -> tuple[Finding, ...]:
        """Return what is wrong now."""
        return diagnose(self.observe())

    async def run(self) -> None:
        """Keep watch until cancelled."""
        self._started = time.monotonic()
        while True:
            self._disk_free_bytes = await asyncio.to_thread(self._free_bytes)
            self._note_what_lasts(time.monotonic())
            self._journal.write(self.findings(), time.monotonic())
            await asyncio.sleep(WATCH_S)

    # --- observing -------------------------------------------------------------------------------

    def observe(self) -> Observation:
        """Return what is known now."""
        application, now_s = self._application, time.monotonic()
        tip, links = application.tip, self._network.links
        status, progress = self._engine.runner.status, self._engine.progress()
        round_trips_s = {
            v.name: links[v.name].round_trip_s for v in tip.validators if v.name in links
        }
        return Observation(
            name=self._name,
            now_ms=clock_ms(),
            height=tip.height,
            round=status.round,
            is_started=progress.is_started,
            waiting_s=_lasted_s(self._waiting_since, now_s),
            patience_s=self._patience_s,
            validators=tuple(validator.name for validator in tip.validators),
            online=frozenset((self._name, *(() if status.is_alone else self._network.heard))),
            quorum=tip.validators.quorum_size,
            quorum_s=_lasted_s(self._quorum_since, now_s),
            faults_tolerated=tip.validators.faults_tolerated,
            is_starting=_lasted_s(self._started, now_s) < START_GRACE_S,
            refusals=self._network.refusals,
            silent=()
            if progress.votes is None
            else silent_validators(progress.votes, tip.validators),
            untimely=progress.untimely,
            diverged=status.diverged,
            engine_problem=status.problem,
            is_guard_silent=progress.is_guard_silent,
            is_proven=application.proven() is not None,
            unsigned_checkpoint=self._engine.unsigned_checkpoint,
            behind=max(0, self._sync.target - tip.height),
            unhelped_s=_lasted_s(self._unhelped_since, now_s),
            damage=self._damage,
            clock_offsets_ms=self._clocks.offsets_ms(round_trips_s, now_s),
            certificates=self._certificates(),
            is_index_failing=self._index.is_failing,
            mempool_fill=self._mempool.fill,
            disk_free_bytes=self._disk_free_bytes,
        )

    def _certificates(self) -> tuple[Certificate, ...]:
        """Return our certificate, those of linked nodes, and those of the ledger's authorities."""
        linked = sorted(self._network.links.items())
        peers = (Certificate("peer", name, link.certificate_expires_ms) for name, link in linked)
        membership = self._network.membership
        if self._authorities[0] is not membership:
            found = (
                Certificate("authority", one.name, expires_ms(one.certificate))
                for one in membership.authorities
                if one.controller
            )
            self._authorities = membership, tuple(found)
        return (self._own_certificate, *peers, *self._authorities[1])

    def _free_bytes(self) -> int | None:
        try:
            return shutil.disk_usage(self._home.data).free
        except OSError:
            return None

    def _note_what_lasts(self, now_s: float) -> None:
        """Note since when something waits and no block has come; a commit begins both anew."""
        height = self._application.tip.height
        if height != self._height:
            self._height, self._waiting_since, self._unhelped_since = height, None, None
        # What waits at a node that only follows may long have been refused by those who build blocks.
        if not self._engine.progress().is_waiting:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = now_s
        if not self._has_quorum():
            self._quorum_since = None
        elif self._quorum_since is None:
            self._quorum_since = now_s
        behind = self._sync.target - height
        if behind <= 0:
            self._unhelped_since = None
        elif self._unhelped_since is None:
            self._unhelped_since = now_s
        if self._damage is not None and self._is_whole_again(behind):
            self._damage = None
            _log.info("what was damaged is whole again", height=height)

    def _is_whole_again(self, behind: int) -> bool:
        """Tell whether a store that was damaged holds again what it held and what the others have."""
        assert self._damage is not None
        reached = self._damage.height is None or self._height >= self._damage.height
        return reached and behind <= 0 and self._has_quorum()

    def _has_quorum(self) -> bool:
        validators, heard = self._application.tip.validators, self._network.heard
        online = sum(1 for one in validators if one.name in heard or one.name == self._name)
        return validators.quorum(online)


def silent_validators(status: StatusMessage, validators: ValidatorSet) -> tuple[str, ...]:
    """Return whose votes of the newest round in which votes are due have not been seen.

    In a round's first step nobody has voted yet: there the round before is looked at, if there is one.
    """
    if status.step is Step.UNSTARTED:
        return ()
    round_ = status.round if status.step is not Step.PROPOSE else status.round - 1
    if round_ < 0:
        return ()
    voted = 0
    for digest in status.rounds:
        if digest.round == round_:
            for _, bits in (*digest.prevotes, *digest.precommits):
                voted |= bits
    return tuple(one.name for index, one in enumerate(validators) if not voted >> index & 1)


def _patience_s(config: ConsensusConfig) -> float:
    timeouts = Timeouts(
        config.propose_timeout_ms, config.prevote_timeout_ms, config.precommit_timeout_ms
    )
    rounds_ms = sum(
        timeouts.duration_ms(step, round_)
        for round_ in range(PATIENCE_ROUNDS)
        for step in (Step.PROPOSE, Step.PREVOTE, Step.PRECOMMIT)
    )
    return max(LEAST_PATIENCE_S, rounds_ms / 1000)


def _lasted_s(since_s: float | None, now_s: float) -> float:
    return 0.0 if since_s is None else now_s - since_s


# --- the log ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Followed:
    """A finding that the journal follows: how often on end it was there, or was not; when it was logged last."""

    finding: Finding
    present: int = 0
    absent: int = 0
    logged_s: float | None = None


class Journal:
    """Writes a warning when a finding has come to stay, an information when it has gone, a reminder once a day."""

    def __init__(self) -> None:
        self._followed: dict[_Key, _Followed] = {}

    def write(self, findings: tuple[Finding, ...], now_s: float) -> None:
        """Take what is found now; call it at regular intervals."""
        found: Mapping[_Key, Finding] = {
            _key(finding): finding for finding in findings if not _is_start(finding)
        }
        for key, finding in found.items():
            followed = self._followed.setdefault(key, _Followed(finding))
            followed.finding, followed.absent = finding, 0
            followed.present += 1
            if _is_due(followed, now_s):
                followed.logged_s = now_s
                _warn(finding)
        for key in [key for key in self._followed if key not in found]:
            followed = self._followed[key]
            followed.present = 0
            followed.absent += 1
            if followed.logged_s is None:
                del self._followed[key]
            elif followed.absent >= SETTLED:
                del self._followed[key]
                if _is_replaced(followed.finding, findings):
                    continue
                _log.info(
                    "no longer found",
                    finding=followed.finding.code.value,
                    names=list(followed.finding.names),
                )


def _is_due(followed: _Followed, now_s: float) -> bool:
    if followed.logged_s is None:
        return followed.present >= SETTLED
    return now_s - followed.logged_s >= REMINDER_S


def _key(finding: Finding) -> _Key:
    names = finding.names if finding.code in (*ABOUT_ONE_NODE, Code.VALIDATORS_OFFLINE) else ()
    return finding.code, finding.severity, names


def _is_start(finding: Finding) -> bool:
    """Tell whether a finding says only that the node has just started: that is no news."""
    return finding.code is Code.NO_QUORUM and finding.severity == "warning"


def _is_replaced(gone: Finding, findings: tuple[Finding, ...]) -> bool:
    """Tell whether a finding has not gone, but grown worse or better, or is of other nodes now."""
    return gone.code not in ABOUT_ONE_NODE and any(one.code is gone.code for one in findings)


def _warn(finding: Finding) -> None:
    _log.warning(
        finding.text,
        finding=finding.code.value,
        severity=finding.severity,
        names=list(finding.names),
        **finding.numbers,
    )
