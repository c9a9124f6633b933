"""What counts now: the questions that handlers of licenses and of the directory ask of the state.

Only approved versions of entries of active organisations count. What an entry rests on is checked
when it is approved and again whenever it is used, because what it rests on may have been retired
since.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, cast

from directory.codes import Collection, entrustment_id
from directory.models import (
    ENTRY_MODELS,
    Entrustment,
    Entry,
    Instrument,
    Matter,
    Responsibility,
    System,
)
from directory.records import entry_key
from ledger.codec import Value
from ledger.membership import organisation
from ledger.state import StateReader

MAX_KEPT_ENTRIES: Final = 4_096
"""Entries whose validated model is kept: the matters, bases and entrustments that a city's windows
use in an hour."""

_kept: dict[str, tuple[Value, Entry]] = {}
"""By state key: the version's hash and the model of its body. The hash covers the body, bit by bit; Python's equality,
to which 1 and True are the same, does not tell bodies apart that validation does."""

BasisProblem = Literal[
    "responsibility_not_effective",
    "responsibility_catch_all",
    "article_not_in_force",
]
"""Why a matter may not be carried out although it was approved."""


def effective_instrument(state: StateReader, identifier: str) -> Instrument | None:
    """Return the approved version of an instrument, or None; whether it is in force is another
    question."""
    return cast("Instrument | None", _effective(state, "instrument", identifier))


def effective_responsibility(state: StateReader, identifier: str) -> Responsibility | None:
    """Return the approved version of a responsibility `<USCC>-<number>` of an active department, or
    None."""
    return cast("Responsibility | None", _effective(state, "responsibility", identifier))


def effective_system(state: StateReader, identifier: str) -> System | None:
    """Return the approved version of a system of an active organisation, or None."""
    return cast("System | None", _effective(state, "system", identifier))


def effective_matter(state: StateReader, code: str) -> Matter | None:
    """Return the approved version of a matter of an active department, or None.

    What it rests on is not checked here: ask `matter_problem` before acting on it.
    """
    return cast("Matter | None", _effective(state, "matter", code))


def effective_entrustment(
    state: StateReader, department: str, organisation_code: str
) -> Entrustment | None:
    """Return the approved version of the entrustment from an active department to an organisation,
    or None."""
    identifier = entrustment_id(department, organisation_code)
    return cast("Entrustment | None", _effective(state, "entrustment", identifier))


def matter_problem(state: StateReader, matter: Matter, time_ms: int) -> BasisProblem | None:
    """Say why a matter may not be carried out at `time_ms`, or None.

    Every responsibility it rests on must count and be no catch-all clause, and every article must
    be in force.
    """
    for identifier in matter.responsibilities:
        responsibility = effective_responsibility(state, identifier)
        if responsibility is None:
            return "responsibility_not_effective"
        if responsibility.catch_all:
            return "responsibility_catch_all"
    for basis in matter.articles:
        if not instrument_article_in_force(state, basis.instrument, basis.article, time_ms):
            return "article_not_in_force"
    return None


def is_entrusted(
    state: StateReader,
    department_uscc: str,
    centre_uscc: str,
    matter_code: str,
    time_ms: int,
) -> bool:
    """Tell whether at `time_ms` an active organisation may accept a department's matter on its
    behalf."""
    entrustment = effective_entrustment(state, department_uscc, centre_uscc)
    if entrustment is None or matter_code not in entrustment.matters:
        return False
    if not entrustment.valid_from_ms <= time_ms < entrustment.valid_to_ms:
        return False
    centre = organisation(state, centre_uscc)
    return centre is not None and centre.active


def instrument_article_in_force(
    state: StateReader, instrument_id: str, article: str, time_ms: int
) -> bool:
    """Tell whether an article of a registered instrument is in force at `time_ms`."""
    instrument = effective_instrument(state, instrument_id)
    return instrument is not None and instrument.in_force(article, time_ms)


def _effective(state: StateReader, collection: Collection, identifier: str) -> Entry | None:
    try:
        key = entry_key(collection, identifier)
    except ValueError:
        return None
    value = state.get(key)
    if not isinstance(value, dict) or "effective" not in value:
        return None
    if not _counts_without_owner(collection):
        owner = organisation(state, value["owner"])
        if owner is None or not owner.active:
            return None
    return _validated(key, collection, value)


def _validated(key: str, collection: Collection, record: Mapping[str, Value]) -> Entry:
    """Return the model of the version that counts. Uses of licenses ask for the same few entries
    over and over, and a law with a thousand articles takes milliseconds to validate; so the last
    model of each key is kept, for as long as the state holds that version."""
    version = record["last"]
    known = _kept.get(key)
    if known is not None and known[0] == version:
        return known[1]
    entry = ENTRY_MODELS[collection].model_validate(record["effective"])
    if len(_kept) >= MAX_KEPT_ENTRIES:
        _kept.clear()
    _kept[key] = (version, entry)
    return entry


def _counts_without_owner(collection: Collection) -> bool:
    """A law stays in force when the organisation that registered it is dissolved; nothing else
    outlives its owner."""
    return collection == "instrument"
