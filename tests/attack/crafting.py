"""Crafted transactions: any value for a body, any frame around it, signed by a real key all the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st

from ledger.codec import Value
from ledger.keys import SoftwareSigner
from ledger.operations import Body, body_value
from ledger.suite import signed_bytes
from ledger.transactions import KIND
from node.operation_table import OPERATIONS
from tests.attack.bodies import EXTREMES, ODD_TEXTS, BodyStrategies, Pool
from tests.attack.sloppy import oddities, pack
from tests.attack.world import BYSTANDER, Good, World


def craft(
    world: World,
    operations: Any,
    by: SoftwareSigner,
    frame: Mapping[str, Any] = MappingProxyType({}),
) -> bytes:
    """Return the bytes of a transaction with its signature; `frame` replaces or adds parts around its operations."""
    world.numbers += 1
    parts = {
        "chain_id": world.chain_id,
        "signer": str(by.public_key),
        "valid_until_ms": world.time_ms + 600_000,
        "nonce": world.numbers.to_bytes(16, "big"),
        "operations": operations,
        **frame,
    }
    body = pack(tuple(parts.values()))
    return pack((body, by.sign(signed_bytes(KIND, body))))


@dataclass
class Attacks:
    """Strategies for operations and whole transactions against one world."""

    world: World
    bodies: BodyStrategies = field(init=False)

    def __post_init__(self) -> None:
        self.pool = Pool(self._values(), without=BYSTANDER)
        self.bodies = BodyStrategies(self.pool)
        self.signers = self.world.signers
        self._cache: dict[str, st.SearchStrategy[Any]] = {}

    def _values(self) -> list[Value]:
        """Return what the ledger holds: every body that took effect or would, every key and its organisation."""
        world = self.world
        known = [body_value(body) for bodies in world.corpus.values() for body in bodies]
        known += [body_value(one.body) for one in world.good.values()]
        genesis = world.application.genesis
        keys = [str(signer.public_key) for signer in world.signers]
        return [*known, keys, tuple(one.uscc for one in genesis.organisations)]

    def known(self, kind: str) -> list[Mapping[str, Value]]:
        """Return bodies of this operation's model that took effect in the ledger, or would."""
        model, world = OPERATIONS[kind].body, self.world
        alike = [other for other in sorted(OPERATIONS) if OPERATIONS[other].body is model]
        bodies = [
            body for other in alike for body in (*world.corpus[other], world.good[other].body)
        ]
        return [body_value(body) for body in bodies]

    def operations(self, kind: str) -> st.SearchStrategy[Any]:
        """Return operations of one kind: as they might be meant, or damaged."""
        if kind not in self._cache:
            model: type[Body] = OPERATIONS[kind].body
            bodies = self.bodies.of(model, self.known(kind))
            self._cache[kind] = st.one_of(bodies, bodies.flatmap(self.bodies.damaged)).map(
                lambda body: (kind, body)
            )
        return self._cache[kind]

    def signers_of(self, kind: str) -> st.SearchStrategy[SoftwareSigner]:
        """Return signers, most of them of the role that the operation asks for."""
        good: Good = self.world.good[kind]
        roles = OPERATIONS[kind].roles
        enrolled = dict(self.world.application.genesis.keys)
        fitting = [
            signer
            for signer in self.signers
            if (key := enrolled.get(str(signer.public_key))) and roles.intersection(key.roles)
        ]
        return st.one_of(
            st.just(good.by),
            st.sampled_from(fitting or self.signers),
            st.sampled_from(self.signers),
        )


def frames(world: World) -> st.SearchStrategy[dict[str, Any]]:
    """Return one part around the operations that is wrong, or that nobody knows."""
    names: Sequence[str] = ("chain_id", "signer", "valid_until_ms", "nonce", "operations")
    odd = st.one_of(st.sampled_from(EXTREMES), st.sampled_from(ODD_TEXTS), oddities)
    wrong = st.sampled_from(names).flatmap(lambda name: odd.map(lambda value: {name: value}))
    times = st.sampled_from((-(2**62), -1, 3_600_001, 2**62)).map(
        lambda after: {"valid_until_ms": world.time_ms + after}
    )
    return st.one_of(wrong, times, odd.map(lambda value: {"a part too many": value}))
