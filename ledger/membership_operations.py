"""Operations on organisations, keys and certificate authorities.

Rules. A registrar of the competent authority registers the organisations of its division; an
authority is registered by the one above it, within its own territory. Keys are enrolled by a
registrar of their own organisation or of the authority above it, and prove that their owner holds
them. An organisation that controls a validator looks after its keys alone: else the authority above
all of them could enrol itself as everybody's governor, and two thirds would be one. Certificate
authorities are their governors' business. The validator set is in `validator_operations`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Final, Literal

from pydantic import Field

from ledger import validator_operations
from ledger.codec import encode
from ledger.errors import InvalidOperation
from ledger.fields import (
    Bytes64,
    Certificate,
    Division,
    KeyText,
    Name,
    SealingKeyText,
    Slug,
    TimeMs,
    Uscc,
)
from ledger.membership import (
    AUTHORITY_ROLES,
    LEVELS,
    NATIONAL_DIVISION,
    ROLES,
    CertificateAuthority,
    EnrolledKey,
    Organisation,
    authority_key,
    authority_of,
    authority_of_division,
    certificate_authority,
    certificate_authority_names,
    controls_validator,
    enrolled_key,
    lies_within,
    organisation,
    save_certificate_authority,
    save_enrolled_key,
    save_organisation,
)
from ledger.operations import Body, Context, Event, OperationType
from ledger.state import State
from ledger.suite import PublicKey, Signer, signed_bytes

ENROLMENT_KIND: Final = "enrolment"

MAX_CERTIFICATE_AUTHORITIES: Final = 64
"""Active ones. Nodes look through them at every link; controllers of validators always find room."""

MAX_CERTIFICATE_AUTHORITIES_EACH: Final = 4
"""Two for nodes of different kinds, each while it is replaced; so no organisation fills the list alone."""

Roles = Annotated[tuple[str, ...], Field(min_length=1, max_length=len(ROLES))]


class RegisterOrganisation(Body):
    uscc: Uscc
    name: Name
    level: Literal["national", "municipal", "district"]
    division: Division
    parent: Uscc
    authority: bool = False
    sealing_key: SealingKeyText | None = None


class AmendOrganisation(Body):
    uscc: Uscc
    name: Name | None = None
    sealing_key: SealingKeyText | None = None


class DissolveOrganisation(Body):
    uscc: Uscc
    successor: Uscc | None = None


class EnrolKey(Body):
    key: KeyText
    organisation: Uscc
    roles: Roles
    possession: Bytes64


class SetKeyRoles(Body):
    key: KeyText
    roles: Roles


class RevokeKey(Body):
    key: KeyText
    compromised_since_ms: TimeMs | None = None


class RegisterCertificateAuthority(Body):
    """`certificate` is the CA's own, DER, signed with its key. The ledger takes any bytes; nodes leave others out."""

    name: Slug
    certificate: Certificate


class RevokeCertificateAuthority(Body):
    name: Slug


def enrolment_bytes(chain_id: str, key: str, uscc: str, roles: Sequence[str]) -> bytes:
    """Return what a key signs to prove that its owner asked for this enrolment."""
    return signed_bytes(ENROLMENT_KIND, encode((chain_id, key, uscc, tuple(roles))))


def enrol_key_body(signer: Signer, chain_id: str, uscc: str, roles: Sequence[str]) -> EnrolKey:
    """Return the body that enrols `signer`'s key, with its proof of possession."""
    key = str(signer.public_key)
    ordered = tuple(sorted(roles))
    possession = signer.sign(enrolment_bytes(chain_id, key, uscc, ordered))
    return EnrolKey(key=key, organisation=uscc, roles=ordered, possession=possession)


def register_organisation(
    state: State, body: RegisterOrganisation, context: Context
) -> list[Event]:
    if organisation(state, body.uscc) is not None:
        raise InvalidOperation("ledger.organisation.exists", f"{body.uscc} is registered already")
    parent = organisation(state, body.parent)
    if parent is None or not parent.active:
        raise InvalidOperation(
            "ledger.organisation.parent_unknown", f"parent {body.parent} is not registered"
        )
    if (body.level == "national") != (body.division == NATIONAL_DIVISION):
        raise InvalidOperation(
            "ledger.organisation.level", f"level {body.level} in division {body.division}"
        )
    record = Organisation(
        uscc=body.uscc,
        name=body.name,
        level=body.level,
        division=body.division,
        parent=body.parent,
        authority=body.authority,
        sealing_key=body.sealing_key or "",
        status="active",
        successor="",
    )
    if body.authority:
        if not parent.authority or LEVELS.index(parent.level) > LEVELS.index(body.level):
            raise InvalidOperation(
                "ledger.organisation.parent_unfit",
                "an authority's parent is an authority of its level or above",
            )
        if not lies_within(body.division, parent.division):
            raise InvalidOperation(
                "ledger.organisation.parent_unfit",
                f"division {body.division} is no part of its parent's, {parent.division}",
            )
        if authority_of_division(state, body.division) is not None:
            raise InvalidOperation(
                "ledger.organisation.authority_exists",
                f"division {body.division} has its authority",
            )
    _require_authority_over(state, record, context)
    save_organisation(state, record)
    if body.authority:
        state.set(authority_key(body.division), body.uscc)
    return [_organisation_event("ledger.organisation.register", record)]


def amend_organisation(state: State, body: AmendOrganisation, context: Context) -> list[Event]:
    record = _active_organisation(state, body.uscc)
    if body.name is None and body.sealing_key is None:
        raise InvalidOperation(
            "ledger.organisation.nothing_to_amend", "name neither a new name nor a sealing key"
        )
    # An organisation replaces its own sealing key; its name is its authority's to change.
    if body.name is not None or context.organisation != body.uscc:
        _require_authority_over(state, record, context)
    record = replace(
        record,
        name=body.name or record.name,
        sealing_key=body.sealing_key or record.sealing_key,
    )
    save_organisation(state, record)
    return [_organisation_event("ledger.organisation.amend", record)]


def dissolve_organisation(
    state: State, body: DissolveOrganisation, context: Context
) -> list[Event]:
    record = _active_organisation(state, body.uscc)
    if record.authority:
        raise InvalidOperation(
            "ledger.organisation.is_authority", "a competent authority cannot be dissolved"
        )
    if body.successor is not None:
        successor = organisation(state, body.successor)
        if successor is None or not successor.active or successor.uscc == record.uscc:
            raise InvalidOperation(
                "ledger.organisation.successor_unknown", f"{body.successor} cannot succeed"
            )
    _require_authority_over(state, record, context)
    record = replace(record, status="dissolved", successor=body.successor or "")
    save_organisation(state, record)
    return [_organisation_event("ledger.organisation.dissolve", record)]


def enrol_key(state: State, body: EnrolKey, context: Context) -> list[Event]:
    record = _active_organisation(state, body.organisation)
    if enrolled_key(state, body.key) is not None:
        raise InvalidOperation(
            "ledger.key.exists", "the key is or was enrolled; keys are never enrolled twice"
        )
    _check_roles(record, body.roles)
    message = enrolment_bytes(context.chain_id, body.key, body.organisation, body.roles)
    if not context.suite.verify(PublicKey.parse(body.key), message, body.possession):
        raise InvalidOperation("ledger.key.not_possessed", "the key did not sign this enrolment")
    _require_keeper_of_keys(state, record, context)
    save_enrolled_key(
        state,
        body.key,
        EnrolledKey(body.organisation, body.roles, "active", context.time_ms, None, None),
    )
    return [_key_event("ledger.key.enrol", body.key, body.organisation)]


def set_key_roles(state: State, body: SetKeyRoles, context: Context) -> list[Event]:
    found = _active_key(state, body.key)
    record = _active_organisation(state, found.organisation)
    _check_roles(record, body.roles)
    _require_keeper_of_keys(state, record, context)
    save_enrolled_key(state, body.key, replace(found, roles=body.roles))
    return [_key_event("ledger.key.set_roles", body.key, found.organisation)]


def revoke_key(state: State, body: RevokeKey, context: Context) -> list[Event]:
    found = _enrolled_key(state, body.key)
    if body.compromised_since_ms is not None and body.compromised_since_ms > context.time_ms:
        raise InvalidOperation("ledger.key.future", "compromised_since lies in the future")
    # A thief may revoke the key himself, to have the last word on when it was stolen: a registrar corrects that.
    if not found.active and body.compromised_since_ms in (None, found.compromised_since_ms):
        raise InvalidOperation("ledger.key.revoked", f"{body.key} is revoked already")
    if body.key != str(context.signer):
        record = organisation(state, found.organisation)
        assert record is not None, "keys are enrolled for registered organisations only"
        if "registrar" not in context.roles:
            raise InvalidOperation(
                "ledger.key.not_registrar", "only a registrar revokes another's key"
            )
        _require_keeper_of_keys(state, record, context)
    save_enrolled_key(
        state,
        body.key,
        replace(
            found,
            status="revoked",
            revoked_ms=context.time_ms if found.active else found.revoked_ms,
            compromised_since_ms=body.compromised_since_ms,
        ),
    )
    return [_key_event("ledger.key.revoke", body.key, found.organisation)]


def register_certificate_authority(
    state: State, body: RegisterCertificateAuthority, context: Context
) -> list[Event]:
    if certificate_authority(state, body.name) is not None:
        raise InvalidOperation(
            "ledger.certificate_authority.exists", f"{body.name} is registered already"
        )
    _check_room(state, context.organisation)
    save_certificate_authority(
        state, CertificateAuthority(body.name, context.organisation, body.certificate, "active")
    )
    return [Event("ledger.certificate_authority.register", {"organisation": context.organisation})]


def _check_room(state: State, controller: str) -> None:
    """Refuse one certificate authority too many, of this controller or in all."""
    active = [certificate_authority(state, name) for name in certificate_authority_names(state)]
    own = sum(one is not None and one.controller == controller for one in active)
    full = len(active) >= MAX_CERTIFICATE_AUTHORITIES and not controls_validator(state, controller)
    if full or own >= MAX_CERTIFICATE_AUTHORITIES_EACH:
        raise InvalidOperation(
            "ledger.certificate_authority.too_many",
            f"{len(active)} certificate authorities are active, {own} of them {controller}'s",
        )


def revoke_certificate_authority(
    state: State, body: RevokeCertificateAuthority, context: Context
) -> list[Event]:
    found = certificate_authority(state, body.name)
    if found is None or found.status != "active":
        raise InvalidOperation(
            "ledger.certificate_authority.unknown", f"{body.name} is not registered"
        )
    if found.controller != context.organisation:
        raise InvalidOperation("ledger.certificate_authority.foreign", f"{body.name} is another's")
    save_certificate_authority(state, replace(found, status="revoked"))
    return [Event("ledger.certificate_authority.revoke", {"organisation": context.organisation})]


def _active_organisation(state: State, uscc: str) -> Organisation:
    found = organisation(state, uscc)
    if found is None:
        raise InvalidOperation("ledger.organisation.unknown", f"{uscc} is not registered")
    if not found.active:
        raise InvalidOperation("ledger.organisation.dissolved", f"{uscc} is dissolved")
    return found


def _enrolled_key(state: State, key: str) -> EnrolledKey:
    found = enrolled_key(state, key)
    if found is None:
        raise InvalidOperation("ledger.key.unknown", f"{key} is not enrolled")
    return found


def _active_key(state: State, key: str) -> EnrolledKey:
    found = _enrolled_key(state, key)
    if not found.active:
        raise InvalidOperation("ledger.key.revoked", f"{key} is revoked already")
    return found


def _check_roles(record: Organisation, roles: Sequence[str]) -> None:
    if tuple(sorted(set(roles))) != tuple(roles):
        raise InvalidOperation("ledger.key.roles", "roles are listed once each, in ascending order")
    unknown = sorted(set(roles) - ROLES)
    if unknown:
        raise InvalidOperation("ledger.key.roles", f"unknown roles: {', '.join(unknown)}")
    if not record.authority and AUTHORITY_ROLES.intersection(roles):
        raise InvalidOperation(
            "ledger.key.roles", "only a competent authority has approvers and governors"
        )


def _require_authority_over(state: State, record: Organisation, context: Context) -> None:
    above = authority_of(state, record)
    if above is None or above.uscc != context.organisation:
        raise InvalidOperation(
            "ledger.organisation.not_competent",
            f"{context.organisation} is not the competent authority over {record.uscc}",
        )


def _require_keeper_of_keys(state: State, record: Organisation, context: Context) -> None:
    """Let an organisation look after its keys, and the authority above it unless it controls a validator."""
    if context.organisation == record.uscc:
        return
    _require_authority_over(state, record, context)
    if controls_validator(state, record.uscc):
        raise InvalidOperation(
            "ledger.key.controller",
            f"{record.uscc} controls a validator and looks after its keys alone",
        )


def _organisation_event(kind: str, record: Organisation) -> Event:
    return Event(kind, {"organisation": record.uscc, "division": record.division})


def _key_event(kind: str, key: str, uscc: str) -> Event:
    return Event(kind, {"organisation": uscc, "key": key})


_REGISTRAR: Final = frozenset({"registrar"})
_GOVERNOR: Final = frozenset({"governor"})
_OVER: Final = ("ledger.organisation.not_competent",)
_KEEPER: Final = (*_OVER, "ledger.key.controller")
_ACTIVE: Final = ("ledger.organisation.unknown", "ledger.organisation.dissolved")
OPERATIONS: Final[tuple[OperationType, ...]] = (
    OperationType(
        "ledger.organisation.register",
        "Register an organisation in the signer's division, or the authority of a division below.",
        RegisterOrganisation,
        register_organisation,
        _REGISTRAR,
        (
            "ledger.organisation.exists",
            "ledger.organisation.parent_unknown",
            "ledger.organisation.parent_unfit",
            "ledger.organisation.level",
            "ledger.organisation.authority_exists",
            *_OVER,
        ),
    ),
    OperationType(
        "ledger.organisation.amend",
        "Change an organisation's name (its authority) or sealing key (itself or its authority).",
        AmendOrganisation,
        amend_organisation,
        _REGISTRAR,
        (*_ACTIVE, "ledger.organisation.nothing_to_amend", *_OVER),
    ),
    OperationType(
        "ledger.organisation.dissolve",
        "Dissolve an organisation and name its successor.",
        DissolveOrganisation,
        dissolve_organisation,
        _REGISTRAR,
        (
            *_ACTIVE,
            "ledger.organisation.is_authority",
            "ledger.organisation.successor_unknown",
            *_OVER,
        ),
    ),
    OperationType(
        "ledger.key.enrol",
        "Enrol a key with roles for an organisation; the key signs its own enrolment.",
        EnrolKey,
        enrol_key,
        _REGISTRAR,
        (
            *_ACTIVE,
            "ledger.key.exists",
            "ledger.key.roles",
            "ledger.key.not_possessed",
            *_KEEPER,
        ),
    ),
    OperationType(
        "ledger.key.set_roles",
        "Replace the roles of a key.",
        SetKeyRoles,
        set_key_roles,
        _REGISTRAR,
        (*_ACTIVE, "ledger.key.unknown", "ledger.key.revoked", "ledger.key.roles", *_KEEPER),
    ),
    OperationType(
        "ledger.key.revoke",
        "Revoke a key, one's own or as a registrar another; say, or correct, since when it was compromised.",
        RevokeKey,
        revoke_key,
        frozenset(),
        (
            "ledger.key.unknown",
            "ledger.key.revoked",
            "ledger.key.future",
            "ledger.key.not_registrar",
            *_KEEPER,
        ),
    ),
    OperationType(
        "ledger.certificate_authority.register",
        "Register a CA for the nodes of the signer's organisation.",
        RegisterCertificateAuthority,
        register_certificate_authority,
        _GOVERNOR,
        ("ledger.certificate_authority.exists", "ledger.certificate_authority.too_many"),
    ),
    OperationType(
        "ledger.certificate_authority.revoke",
        "Revoke a CA of the signer's organisation: its nodes' links are cut.",
        RevokeCertificateAuthority,
        revoke_certificate_authority,
        _GOVERNOR,
        ("ledger.certificate_authority.unknown", "ledger.certificate_authority.foreign"),
    ),
    *validator_operations.OPERATIONS,
)
