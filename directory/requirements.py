"""What an entry needs of the rest of the directory when it is approved.

Responsibility, system and data must match: a system carries out effective responsibilities, data
lie in effective systems, a matter rests on effective responsibilities that are no catch-all clause
and on articles in force, an entrustment names effective matters. What the entry alone must satisfy
is in `models`.
"""

from __future__ import annotations

from directory.lookup import (
    effective_matter,
    effective_responsibility,
    effective_system,
    instrument_article_in_force,
    matter_problem,
)
from directory.models import Entrustment, Entry, Matter, Resource, System
from ledger.errors import InvalidOperation
from ledger.membership import organisation
from ledger.state import StateReader

MATTER_CODES = (
    "directory.matter.responsibility_not_effective",
    "directory.matter.responsibility_catch_all",
    "directory.matter.article_not_in_force",
)


def check_requirements(state: StateReader, entry: Entry, time_ms: int) -> None:
    """Check an entry against the state at `time_ms`.

    Raises:
        InvalidOperation: with the code of the first requirement that is not met.
    """
    try:
        if isinstance(entry, System):
            _check_system(state, entry)
        elif isinstance(entry, Resource):
            _check_resource(state, entry, time_ms)
        elif isinstance(entry, Matter):
            _check_matter(state, entry, time_ms)
        elif isinstance(entry, Entrustment):
            _check_entrustment(state, entry, time_ms)
    except InvalidOperation as error:  # of many that are approved at once, it says which
        raise InvalidOperation(error.code, f"{entry.identifier}: {error.text}") from None


def _check_system(state: StateReader, system: System) -> None:
    for identifier in system.responsibilities:
        responsibility = effective_responsibility(state, identifier)
        if responsibility is None:
            raise InvalidOperation(
                "directory.system.responsibility_not_effective", f"{identifier} is not in effect"
            )
        if responsibility.catch_all:
            raise InvalidOperation(
                "directory.system.responsibility_catch_all",
                f"{identifier} is a catch-all clause and covers nothing",
            )


def _check_resource(state: StateReader, resource: Resource, time_ms: int) -> None:
    for identifier in resource.systems:
        system = effective_system(state, identifier)
        if system is None:
            raise InvalidOperation(
                "directory.resource.system_not_effective", f"{identifier} is not in effect"
            )
        if resource.confidential and system.network != "intranet":
            raise InvalidOperation(
                "directory.resource.confidential_on_open_network",
                f"confidential data lie on the intranet; {identifier} is on the {system.network}",
            )
    ground = resource.sharing.ground
    if ground is not None and not instrument_article_in_force(
        state, ground.instrument, ground.article, time_ms
    ):
        raise InvalidOperation(
            "directory.resource.ground_not_in_force",
            f"article {ground.article} of {ground.instrument} is not in force",
        )


def _check_matter(state: StateReader, matter: Matter, time_ms: int) -> None:
    problem = matter_problem(state, matter, time_ms)
    if problem is not None:
        raise InvalidOperation(f"directory.matter.{problem}", "it lacks its basis")


def _check_entrustment(state: StateReader, entrustment: Entrustment, time_ms: int) -> None:
    if time_ms >= entrustment.valid_to_ms:
        raise InvalidOperation("directory.entrustment.expired", "its period is over already")
    organisation_entrusted = organisation(state, entrustment.organisation)
    if organisation_entrusted is None or not organisation_entrusted.active:
        raise InvalidOperation(
            "directory.entrustment.organisation_not_active",
            f"{entrustment.organisation} is not an active organisation",
        )
    for code in entrustment.matters:
        if effective_matter(state, code) is None:
            raise InvalidOperation(
                "directory.entrustment.matter_not_effective", f"{code} is not in effect"
            )
