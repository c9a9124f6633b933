"""Somebody else's records: whoever signs with the right role, but for another organisation, changes none of them."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping

import pytest
from pydantic.fields import FieldInfo

from ledger.codec import Value
from ledger.keys import SoftwareSigner
from ledger.operations import body_value
from node.operation_table import OPERATIONS
from tests.attack.bodies import EXTREMES, Pool, type_of
from tests.attack.crafting import Attacks, craft
from tests.attack.world import World
from tests.licenses.story import DEPARTMENT, HEBEI, NATIONAL, TIANJIN, TONGZHOU

UNOWNED = "ledger.certificate_authority.register"
"""A name is anybody's until it is taken; the record says whose it became."""

KINDS = sorted(set(OPERATIONS) - {UNOWNED})

ABOVE = frozenset({TONGZHOU})
"""The authority above an organisation that controls no validator looks after its keys, too."""

ALSO: Mapping[str, frozenset[str]] = {
    "ledger.key.enrol": ABOVE,
    "ledger.key.revoke": ABOVE,
    "ledger.key.set_roles": ABOVE,
    # Each controller of a validator has a vote, in the order in which they come.
    "ledger.validator.approve": frozenset({NATIONAL, TIANJIN, HEBEI}),
    # An organisation replaces its sealing key itself; its name is its authority's to change.
    "ledger.organisation.amend": frozenset({DEPARTMENT}),
}
"""Organisations beside the signer's own that may do the same."""

SHARED = frozenset({"ledger/certificate_authorities/names"})
"""Records that belong to all."""


def strangers(world: World, kind: str) -> Iterator[SoftwareSigner]:
    """Yield a key of each organisation that may not do what the good operation does, in the same role."""
    enrolled = dict(world.application.genesis.keys)
    own = enrolled[str(world.good[kind].by.public_key)]
    for signer in world.signers:
        key = enrolled.get(str(signer.public_key))
        if key is None or key.organisation in {own.organisation, *ALSO.get(kind, ())}:
            continue
        if key.roles == own.roles:
            yield signer


def changes(world: World, raw: bytes) -> tuple[str, set[str]]:
    """Return the code of a transaction in a block, and the state keys that it would change."""
    application, tip = world.application, world.application.tip
    block = application.prepare_proposal(
        tip.height + 1,
        world.time_ms,
        [raw],
        (),
        application.history.commit(tip.height),
        tip.validators.proposer(tip.height + 1, 0).name,
    )
    finalized = application.finalize_block(block)
    return finalized.results[0].code, set(finalized.overlay.changes)


@pytest.mark.parametrize("kind", KINDS)
def test_who_has_the_role_elsewhere_cannot_do_the_same(world: World, kind: str) -> None:
    good = world.good[kind]
    operation = (kind, body_value(good.body))
    assert changes(world, craft(world, (operation,), good.by))[0] == ""
    found = list(strangers(world, kind))
    assert found
    for stranger in found:
        code, changed = changes(world, craft(world, (operation,), stranger))
        assert code in OPERATIONS[kind].codes, str(stranger.public_key)
        assert changed == set()


@pytest.fixture(scope="module")
def pool(world: World) -> Pool:
    return Attacks(world).pool


def _fitting(pool: Pool, field: FieldInfo) -> tuple[Value, ...]:
    """Return values of the ledger that a field takes; for a list, lists of one."""
    if typing.get_origin(field.annotation) is tuple:
        item = typing.get_args(field.annotation)[0]
        return tuple((value,) for value in pool.fitting(item))
    return pool.fitting(type_of(field))


@pytest.mark.parametrize("kind", KINDS)
def test_a_stranger_who_changes_any_field_changes_no_record_of_others(
    world: World, pool: Pool, kind: str
) -> None:
    good = world.good[kind]
    body = body_value(good.body)
    _, touched = changes(world, craft(world, ((kind, body),), good.by))
    owned = {key for key in touched - SHARED if world.get(key) is not None}
    for stranger in strangers(world, kind):
        for name, field in good.body.__class__.model_fields.items():
            fitting = _fitting(pool, field)
            for value in (*fitting[:6], *fitting[-6:], *EXTREMES[:4]):
                raw = craft(world, ((kind, {**body, name: value}),), stranger)
                _, changed = changes(world, raw)
                assert not changed & owned, f"{name} = {value!r}"
