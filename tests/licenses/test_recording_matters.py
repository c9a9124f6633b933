"""Recording a use: what validators ask of the matter, of its basis and of who is entrusted with it."""

from __future__ import annotations

import pytest

from directory.models import Entrustment, RetireEntry
from ledger.membership_operations import DissolveOrganisation
from licenses.use import Item
from tests.licenses.recording_story import World, refused, use_once
from tests.licenses.story import (
    BEIJING,
    CENTRE,
    DAY_MS,
    DEPARTMENT,
    INSTRUMENT,
    MATTER,
    STRANGER,
    TIANJIN,
    TONGZHOU,
    TYPE,
    key_of,
)


def test_a_use_for_no_registered_matter_is_refused(world: World) -> None:
    with refused("matter_not_covered"):
        use_once(world, matter=DEPARTMENT + "0001000000009")


@pytest.mark.parametrize(
    ("collection", "identifier"),
    [
        ("matter", MATTER),
        ("responsibility", f"{DEPARTMENT}-1"),
        ("instrument", INSTRUMENT),
    ],
)
def test_a_matter_covers_nothing_once_it_or_its_basis_is_retired(
    world: World, collection: str, identifier: str
) -> None:
    retire = RetireEntry(id=identifier, reason="ended")
    world.apply(key_of(DEPARTMENT, "editor"), (f"directory.{collection}.retire", retire))
    use_once(world)  # a retirement counts only once it is approved
    world.approve(collection, identifier)
    with refused("matter_not_covered"):
        use_once(world)


def test_a_department_that_is_dissolved_has_no_matters(world: World) -> None:
    body = DissolveOrganisation(uscc=DEPARTMENT)
    world.apply(key_of(TONGZHOU, "registrar"), ("ledger.organisation.dissolve", body))
    with refused("matter_not_covered"):
        use_once(world)


def test_a_centre_that_is_dissolved_accepts_nothing(world: World) -> None:
    body = DissolveOrganisation(uscc=CENTRE)
    world.apply(key_of(TIANJIN, "registrar"), ("ledger.organisation.dissolve", body))
    with refused("not_acceptor"):
        use_once(world)


def test_an_organisation_that_is_not_entrusted_is_refused(world: World) -> None:
    with refused("not_entrusted"):
        use_once(world, organisation=STRANGER)


@pytest.mark.parametrize(
    ("begins", "ends", "now"),
    [(DAY_MS, 2 * DAY_MS, 0), (0, DAY_MS, DAY_MS)],
    ids=["before", "after"],
)
def test_an_entrustment_counts_in_its_period_only(
    world: World, begins: int, ends: int, now: int
) -> None:
    start = world.time_ms
    entrustment = Entrustment(
        department=DEPARTMENT,
        organisation=CENTRE,
        matters=(MATTER,),
        valid_from_ms=start + begins,
        valid_to_ms=start + ends,
        document="another",
        digest=bytes(32),
    )
    world.publish("entrustment", entrustment)
    world.wait(now)
    with refused("not_entrusted"):
        use_once(world)


def test_a_revoked_entrustment_counts_no_more(world: World) -> None:
    identifier = f"{DEPARTMENT}-{CENTRE}"
    retire = RetireEntry(id=identifier, reason="ended")
    world.apply(key_of(DEPARTMENT, "editor"), ("directory.entrustment.retire", retire))
    world.approve("entrustment", identifier)
    with refused("not_entrusted"):
        use_once(world)


def test_a_field_that_the_matter_does_not_list_is_refused(world: World) -> None:
    with refused("field_not_listed"):
        use_once(world, items=(Item(TYPE, ("birth_date", "name")),))


def test_a_type_that_the_matter_does_not_list_is_refused(world: World) -> None:
    with refused("type_not_listed"):
        use_once(world, items=(Item(BEIJING + "009", ("name",)),))


def test_a_mode_that_the_matter_does_not_allow_is_refused(world: World) -> None:
    world.publish("matter", world.matter(modes=("statutory",)))
    with refused("mode_not_allowed"):
        use_once(world)
