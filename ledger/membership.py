"""Who takes part: organisations, their keys and roles, certificate authorities, wanted validators.

This module holds the records and how to read them; `membership_operations` holds what changes them.
Every division has at most one competent authority, which registers the organisations of its division
and approves what they publish; an authority answers to the one above it (its parent), and the
national authority to itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from ledger.codec import Value
from ledger.state import State, StateReader, state_key
from ledger.validators import Validator, distribution_problem

NATIONAL_DIVISION: Final = "000000"
"""The division of the national level; GB/T 2260 has no code for the whole country."""

LEVELS: Final = ("national", "municipal", "district")
"""Levels of government: national, municipal (province level), district (everything below)."""

ROLES: Final = frozenset(
    {
        "registrar",  # registers organisations and enrols keys
        "editor",  # submits directory entries of its own organisation
        "approver",  # approves entries on behalf of a competent authority
        "issuer",  # defines license types, accredits issuers, issues licenses
        "operator",  # signs requests at a window
        "recorder",  # submits recorded uses
        "officer",  # second officer of statutory uses
        "auditor",  # reads everything
        "governor",  # decides on validators and certificate authorities
        "reader",  # reads what members may read
    }
)

AUTHORITY_ROLES: Final = frozenset({"approver", "governor"})
"""Roles that mean something only in a competent authority."""

VALIDATORS_KEY: Final = state_key("ledger", "validators", "set")

MAX_KNOWN_ORGANISATIONS: Final = 4_096
"""Organisations whose record is kept as an object, for as long as the state holds the very same value."""

MAX_KNOWN_KEYS: Final = 16_384
"""Keys, likewise: the operators of a city's windows, whose requests are checked with every use."""


@dataclass(frozen=True, slots=True)
class Organisation:
    """An organisation. `parent` and `successor` are USCCs, `sealing_key` X25519 in hex; "" if none."""

    uscc: str
    name: str
    level: str
    division: str
    parent: str
    authority: bool
    sealing_key: str
    status: str  # "active" or "dissolved"
    successor: str

    @property
    def active(self) -> bool:
        return self.status == "active"


@dataclass(frozen=True, slots=True)
class EnrolledKey:
    """A key that an organisation has enrolled. Revoked, it signs nothing in any later block."""

    organisation: str
    roles: tuple[str, ...]
    status: str  # "active" or "revoked"
    enrolled_ms: int
    revoked_ms: int | None
    compromised_since_ms: int | None

    @property
    def active(self) -> bool:
        return self.status == "active"


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """A CA whose certificates the nodes of `controller` present to peers. `certificate` is DER."""

    name: str
    controller: str
    certificate: bytes
    status: str  # "active" or "revoked"


@dataclass(frozen=True, slots=True)
class ValidatorFault:
    """The mark of proven double voting. `present`: its validator stayed, as the others could not run a chain."""

    evidence_height: int
    consensus_key: str
    present: bool


_known: dict[str, tuple[Mapping[str, Any], Organisation]] = {}
_known_keys: dict[str, tuple[Mapping[str, Any], EnrolledKey]] = {}


def organisation_key(uscc: str) -> str:
    return state_key("ledger", "organisation", uscc)


def authority_key(division: str) -> str:
    return state_key("ledger", "authority", division)


def enrolled_key_key(public_key: str) -> str:
    return state_key("ledger", "key", public_key)


def certificate_authority_key(name: str) -> str:
    return state_key("ledger", "certificate_authority", name)


def validator_fault_key(name: str) -> str:
    return state_key("ledger", "validator_fault", name)


def faulty_key_key(consensus_key: str) -> str:
    return state_key("ledger", "faulty_key", consensus_key)


_XIONGAN: Final = "133100"
"""Xiong'an New Area: in use, but in no public list."""

_XIONGAN_COUNTIES: Final = frozenset({"130629", "130632", "130638"})
"""Rongcheng, Anxin and Xiong: their numbers still say Baoding (1306)."""


def lies_within(division: str, territory: str) -> bool:
    """Tell whether a division is `territory` or one below it: GB/T 2260 codes go down by pairs of digits.

    Only Xiong'an's counties have kept the numbers that they had in Baoding.
    """
    if division in _XIONGAN_COUNTIES and division != territory:
        division = _XIONGAN
    while territory.endswith("00"):
        territory = territory[:-2]
    return division.startswith(territory)


def organisation(state: StateReader, uscc: str) -> Organisation | None:
    """Return an organisation's record, or None."""
    record = _record(state, organisation_key(uscc))
    if record is None:
        return None
    known = _known.get(uscc)
    if known is not None and known[0] is record:
        return known[1]
    found = Organisation(uscc=uscc, **record)
    if len(_known) >= MAX_KNOWN_ORGANISATIONS:
        _known.clear()
    _known[uscc] = (record, found)
    return found


def enrolled_key(state: StateReader, public_key: str) -> EnrolledKey | None:
    """Return the record of a key written `<algorithm>:<hex>`, or None."""
    record = _record(state, enrolled_key_key(public_key))
    if record is None:
        return None
    known = _known_keys.get(public_key)
    if known is not None and known[0] is record:
        return known[1]
    found = EnrolledKey(
        record["organisation"],
        record["roles"],
        record["status"],
        record["enrolled_ms"],
        record.get("revoked_ms"),
        record.get("compromised_since_ms"),
    )
    if len(_known_keys) >= MAX_KNOWN_KEYS:
        _known_keys.clear()
    _known_keys[public_key] = (record, found)
    return found


def certificate_authority(state: StateReader, name: str) -> CertificateAuthority | None:
    """Return a CA's record, or None."""
    record = _record(state, certificate_authority_key(name))
    return None if record is None else CertificateAuthority(name=name, **record)


def certificate_authority_names(state: StateReader) -> tuple[str, ...]:
    """Return the names of all active CAs, in the order in which they were registered."""
    return cast("tuple[str, ...]", state.get(_CERTIFICATE_AUTHORITIES_KEY) or ())


def is_authority(state: StateReader, uscc: str) -> bool:
    """Tell whether an organisation is the active competent authority of its division."""
    found = organisation(state, uscc)
    return found is not None and found.authority and found.active


def authority_of_division(state: StateReader, division: str) -> Organisation | None:
    """Return the competent authority of a division, or None."""
    uscc = state.get(authority_key(division))
    return None if uscc is None else organisation(state, cast(str, uscc))


def authority_of(state: StateReader, subject: Organisation) -> Organisation | None:
    """Return who approves what `subject` publishes.

    That is its division's authority; for an authority, the one above it.
    """
    if not subject.authority:
        return authority_of_division(state, subject.division)
    if subject.division == NATIONAL_DIVISION:
        return subject
    return organisation(state, subject.parent)


def wanted_validators(state: StateReader) -> tuple[Validator, ...]:
    """Return the validators that the ledger wants from two heights on, sorted by name."""
    rows = cast("tuple[tuple[str, str, str, str, str], ...]", state.get(VALIDATORS_KEY))
    return tuple(Validator.from_texts(*row) for row in rows)


def controls_validator(state: StateReader, uscc: str) -> bool:
    """Tell whether an organisation controls a validator of the wanted set."""
    rows = cast("tuple[tuple[str, str, str, str, str], ...]", state.get(VALIDATORS_KEY))
    return any(controller == uscc for _, controller, *_ in rows)


def is_faulty_key(state: StateReader, consensus_key: str) -> bool:
    """Tell whether a consensus key is proved to have signed twice: then it never votes again."""
    return state.get(faulty_key_key(consensus_key)) is not None


def validator_fault(state: StateReader, name: str) -> ValidatorFault | None:
    """Return the mark that proven double voting left on a validator, or None."""
    record = _record(state, validator_fault_key(name))
    return None if record is None else ValidatorFault(**record)


def _record(state: StateReader, key: str) -> dict[str, Any] | None:
    return cast("dict[str, Any] | None", state.get(key))


def save_organisation(state: State, record: Organisation) -> None:
    """Write an organisation's record."""
    state.set(
        organisation_key(record.uscc),
        {
            "name": record.name,
            "level": record.level,
            "division": record.division,
            "parent": record.parent,
            "authority": record.authority,
            "sealing_key": record.sealing_key,
            "status": record.status,
            "successor": record.successor,
        },
    )


def save_enrolled_key(state: State, public_key: str, record: EnrolledKey) -> None:
    """Write a key's record; times that are None are left out."""
    value: dict[str, Value] = {
        "organisation": record.organisation,
        "roles": record.roles,
        "status": record.status,
        "enrolled_ms": record.enrolled_ms,
    }
    if record.revoked_ms is not None:
        value["revoked_ms"] = record.revoked_ms
    if record.compromised_since_ms is not None:
        value["compromised_since_ms"] = record.compromised_since_ms
    state.set(enrolled_key_key(public_key), value)


_CERTIFICATE_AUTHORITIES_KEY: Final = state_key("ledger", "certificate_authorities", "names")


def save_certificate_authority(state: State, record: CertificateAuthority) -> None:
    """Write a CA's record; list its name while it is active."""
    state.set(
        certificate_authority_key(record.name),
        {
            "controller": record.controller,
            "certificate": record.certificate,
            "status": record.status,
        },
    )
    names = tuple(name for name in certificate_authority_names(state) if name != record.name)
    if record.status == "active":
        names += (record.name,)
    state.set(_CERTIFICATE_AUTHORITIES_KEY, names)


def save_wanted_validators(state: State, validators: Iterable[Validator]) -> None:
    """Write the validator set that is wanted from two heights on."""
    rows = sorted(validator.to_texts() for validator in validators)
    state.set(VALIDATORS_KEY, tuple(rows))


def punish_double_voting(state: State, name: str, consensus_key: str, evidence_height: int) -> bool:
    """Bar a key that signed twice; take its validator out of the wanted set if the others may run a chain.

    Else it stays, marked, until its key is replaced: where too few would remain, or one controller would have a third
    of them. That one could stop the chain alone, and new keys in a set that breaks the rule are refused.

    Returns whether it leaves. A validator that has replaced that key since, or left, is not punished, and one
    that is marked for the same key already not again; the key is barred for ever in every case.
    """
    if not is_faulty_key(state, consensus_key):
        state.set(faulty_key_key(consensus_key), evidence_height)
    validators = wanted_validators(state)
    culprit = next((validator for validator in validators if validator.name == name), None)
    if culprit is None or str(culprit.consensus_key) != consensus_key:
        return False
    marked = validator_fault(state, name)
    if marked is not None and marked.consensus_key == consensus_key:
        return False
    others = tuple(validator for validator in validators if validator.name != name)
    leaves = distribution_problem(others) is None
    state.set(
        validator_fault_key(name),
        {
            "evidence_height": evidence_height,
            "consensus_key": consensus_key,
            "present": not leaves,
        },
    )
    if leaves:
        save_wanted_validators(state, others)
    return leaves


def initial_state(
    state: State,
    *,
    organisations: Sequence[Organisation],
    keys: Mapping[str, EnrolledKey],
    certificate_authorities: Sequence[CertificateAuthority],
    validators: Sequence[Validator],
) -> None:
    """Write what genesis registers. `keys` maps a public key's text to its record."""
    for record in organisations:
        save_organisation(state, record)
        if record.authority:
            state.set(authority_key(record.division), record.uscc)
    for public_key, enrolled in sorted(keys.items()):
        save_enrolled_key(state, public_key, enrolled)
    for authority in certificate_authorities:
        save_certificate_authority(state, authority)
    save_wanted_validators(state, validators)
