"""Genesis: what a chain starts from, as a JSON file for people and a canonical value for its hash.

The chain id is `<name>-<first 32 hex digits of the genesis hash>`; it stands in the file for people
to read, is checked when the file is read, and is not part of what is hashed. Lists are sorted, so
that the order in the file changes nothing. Everything the ledger would refuse later is refused
here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.codec import Value, encode
from ledger.errors import DecodeError, InvalidKey
from ledger.fields import Division, KeyText, Name, Slug, TimeMs, Uscc
from ledger.limits import DEFAULT_TRANSACTION_LIFETIME_MS, MAX_BLOCK_BYTES, MAX_TRANSACTION_BYTES
from ledger.membership import (
    AUTHORITY_ROLES,
    LEVELS,
    NATIONAL_DIVISION,
    ROLES,
    CertificateAuthority,
    EnrolledKey,
    Organisation,
    initial_state,
    lies_within,
)
from ledger.policy import policy_problem
from ledger.problems import first_problem
from ledger.state import State
from ledger.suite import SHA256_ED25519, SUITES, Suite
from ledger.validators import Validator, ValidatorSet, distribution_problem

KIND: Final = "genesis"
VERSION: Final = 1
MAX_GENESIS_BYTES: Final = 4 * 1024 * 1024
"""Some 10,000 organisations and keys; the rest is registered by transactions."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,16}", re.ASCII)
_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_HEX_DIGITS_OF_CHAIN_ID: Final = 32


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the members agreed on besides who they are."""

    transaction_lifetime_ms: int = DEFAULT_TRANSACTION_LIFETIME_MS
    max_block_bytes: int = MAX_BLOCK_BYTES

    def __post_init__(self) -> None:
        if not 60_000 <= self.transaction_lifetime_ms <= 24 * 3_600_000:
            raise ValueError("transaction_lifetime_ms lies between a minute and a day")
        if not 2 * MAX_TRANSACTION_BYTES <= self.max_block_bytes <= MAX_BLOCK_BYTES:
            raise ValueError(
                f"max_block_bytes lies between {2 * MAX_TRANSACTION_BYTES} and {MAX_BLOCK_BYTES}"
            )


@dataclass(frozen=True, slots=True)
class Genesis:
    """A chain's start. Make it with `of`, which sorts, or read it with `from_json`.

    `keys` are pairs of a public key's text and its record, sorted.
    """

    name: str
    time_ms: int
    suite: Suite
    parameters: Parameters
    validators: ValidatorSet
    organisations: tuple[Organisation, ...]
    keys: tuple[tuple[str, EnrolledKey], ...]
    certificate_authorities: tuple[CertificateAuthority, ...]
    hash: bytes = field(init=False)
    """The genesis hash."""
    chain_id: str = field(init=False)

    def __post_init__(self) -> None:
        _check(self)
        digest = self.suite.hash(KIND, encode(_to_value(self)))
        object.__setattr__(self, "hash", digest)
        chain_id = f"{self.name}-{digest.hex()[:_HEX_DIGITS_OF_CHAIN_ID]}"
        object.__setattr__(self, "chain_id", chain_id)
        problem = policy_problem(self.suite, self.validators.validators, chain_id)
        if problem is not None:
            raise ValueError(problem)

    @staticmethod
    def of(
        *,
        name: str,
        time_ms: int,
        validators: Iterable[Validator],
        organisations: Iterable[Organisation],
        keys: Mapping[str, EnrolledKey],
        certificate_authorities: Iterable[CertificateAuthority] = (),
        parameters: Parameters | None = None,
        suite: Suite = SHA256_ED25519,
    ) -> Genesis:
        """Return a genesis of these parts, given in any order.

        Raises:
            ValueError: the parts do not fit together; the text says which.
        """
        return Genesis(
            name,
            time_ms,
            suite,
            parameters or Parameters(),
            ValidatorSet.of(validators),
            tuple(sorted(organisations, key=lambda one: one.uscc)),
            tuple(sorted(keys.items(), key=lambda pair: pair[0])),
            tuple(sorted(certificate_authorities, key=lambda one: one.name)),
        )

    def initialise(self, state: State) -> None:
        """Write the initial state."""
        initial_state(
            state,
            organisations=self.organisations,
            keys=dict(self.keys),
            certificate_authorities=self.certificate_authorities,
            validators=self.validators.validators,
        )

    def to_json(self) -> str:
        """Return the file's text: indented JSON, certificates in hex, a line end last."""
        return json.dumps(_to_json(self), ensure_ascii=False, indent=2) + "\n"

    @staticmethod
    def from_json(text: str | bytes) -> Genesis:
        """Read the file's text.

        Raises:
            DecodeError: not JSON, an unknown, missing, repeated or ill-formed field, parts that do
            not fit
                together, or another chain id than the one stated.
        """
        try:
            return _from_json(text)
        except ValidationError as error:
            raise DecodeError(f"genesis: {first_problem(error)}") from None
        except (ValueError, RecursionError, InvalidKey) as error:
            raise DecodeError(f"genesis: {error}") from None


def _check(genesis: Genesis) -> None:
    """Refuse parts that do not fit together."""
    if _NAME.fullmatch(genesis.name) is None:
        raise ValueError("name: 1 to 17 characters a-z, 0-9 and -, the first a letter")
    if genesis.time_ms < 0:
        raise ValueError("time_ms is milliseconds since the Unix epoch")
    organisations = {one.uscc: one for one in genesis.organisations}
    _check_unique("organisation", [one.uscc for one in genesis.organisations])
    _check_unique("key", [text for text, _ in genesis.keys])
    _check_unique("certificate authority", [one.name for one in genesis.certificate_authorities])
    for one in genesis.organisations:
        _check_organisation(one, organisations)
    authorities = [one for one in genesis.organisations if one.authority]
    _check_unique("authority of division", sorted(one.division for one in authorities))
    _check_controllers(genesis, organisations)
    for text, enrolled in genesis.keys:
        _check_key(text, enrolled, organisations, genesis.time_ms)


def _check_unique(what: str, names: Sequence[str]) -> None:
    for a, b in pairwise(names):
        if a >= b:
            raise ValueError(f"{what} {b} occurs twice, or the list is not sorted")


def _check_organisation(one: Organisation, organisations: Mapping[str, Organisation]) -> None:
    if one.level not in LEVELS:
        raise ValueError(f"organisation {one.uscc}: level is one of {', '.join(LEVELS)}")
    if one.status != "active" or one.successor:
        raise ValueError(f"organisation {one.uscc}: is active at the start, without a successor")
    parent = organisations.get(one.parent)
    if one.authority and one.division == NATIONAL_DIVISION:
        if one.parent:
            raise ValueError(f"organisation {one.uscc}: the national authority has no parent")
    elif parent is None or (one.authority and not parent.authority):
        raise ValueError(f"organisation {one.uscc}: its parent is not registered or not fit")
    elif one.authority and not lies_within(one.division, parent.division):
        raise ValueError(f"organisation {one.uscc}: its division is no part of its parent's")


def _check_key(
    text: str, enrolled: EnrolledKey, organisations: Mapping[str, Organisation], time_ms: int
) -> None:
    subject = organisations.get(enrolled.organisation)
    if subject is None:
        raise ValueError(f"key {text}: its organisation {enrolled.organisation} is not registered")
    if not ROLES.issuperset(enrolled.roles) or list(enrolled.roles) != sorted(set(enrolled.roles)):
        raise ValueError(f"key {text}: roles are known ones, sorted, once each")
    if not subject.authority and AUTHORITY_ROLES.intersection(enrolled.roles):
        raise ValueError(f"key {text}: only a competent authority has approvers and governors")
    if enrolled != EnrolledKey(
        enrolled.organisation, enrolled.roles, "active", time_ms, None, None
    ):
        raise ValueError(f"key {text}: is active at the start, enrolled at the genesis time")


def _check_controllers(genesis: Genesis, organisations: Mapping[str, Organisation]) -> None:
    problem = distribution_problem(genesis.validators.validators)
    if problem is not None:
        raise ValueError(problem)
    for validator in genesis.validators:
        if _SLUG.fullmatch(validator.name) is None:
            raise ValueError(f"validator {validator.name!r}: names are a-z, 0-9, '.', '_' and '-'")
        controller = organisations.get(validator.controller)
        if controller is None or not controller.authority:
            raise ValueError(f"validator {validator.name}: its controller is not an authority")
    for authority in genesis.certificate_authorities:
        if authority.controller not in organisations or authority.status != "active":
            raise ValueError(f"certificate authority {authority.name}: unknown controller")


def _to_value(genesis: Genesis) -> Value:
    """Return what is hashed: everything but the chain id, as arrays."""
    parameters = genesis.parameters
    return (
        VERSION,
        genesis.name,
        genesis.time_ms,
        genesis.suite.name,
        (parameters.transaction_lifetime_ms, parameters.max_block_bytes),
        genesis.validators.to_value(),
        tuple(
            (
                one.uscc,
                one.name,
                one.level,
                one.division,
                one.parent,
                one.authority,
                one.sealing_key,
            )
            for one in genesis.organisations
        ),
        tuple((text, enrolled.organisation, enrolled.roles) for text, enrolled in genesis.keys),
        tuple(
            (one.name, one.controller, one.certificate) for one in genesis.certificate_authorities
        ),
    )


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class _ParametersFile(_Model):
    transaction_lifetime_ms: int
    max_block_bytes: int


class _ValidatorFile(_Model):
    name: Slug
    controller: Uscc
    consensus_key: KeyText
    log_key: KeyText
    witness_key: KeyText


class _OrganisationFile(_Model):
    uscc: Uscc
    name: Name
    level: str
    division: Division
    parent: Uscc | None = None
    authority: bool = False
    sealing_key: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


class _KeyFile(_Model):
    key: KeyText
    organisation: Uscc
    roles: tuple[str, ...]


class _AuthorityFile(_Model):
    name: Slug
    controller: Uscc
    certificate: str = Field(pattern=r"^([0-9a-f]{2}){1,8192}$")


class _GenesisFile(_Model):
    chain_id: str
    name: str
    time_ms: TimeMs
    suite: str
    parameters: _ParametersFile
    validators: tuple[_ValidatorFile, ...]
    organisations: tuple[_OrganisationFile, ...]
    keys: tuple[_KeyFile, ...]
    certificate_authorities: tuple[_AuthorityFile, ...]


def _to_json(genesis: Genesis) -> dict[str, Any]:
    return {
        "chain_id": genesis.chain_id,
        "name": genesis.name,
        "time_ms": genesis.time_ms,
        "suite": genesis.suite.name,
        "parameters": {
            "transaction_lifetime_ms": genesis.parameters.transaction_lifetime_ms,
            "max_block_bytes": genesis.parameters.max_block_bytes,
        },
        "validators": [
            dict(zip(_ValidatorFile.model_fields, one.to_texts(), strict=True))
            for one in genesis.validators
        ],
        "organisations": [
            {
                "uscc": one.uscc,
                "name": one.name,
                "level": one.level,
                "division": one.division,
                "parent": one.parent or None,
                "authority": one.authority,
                "sealing_key": one.sealing_key or None,
            }
            for one in genesis.organisations
        ],
        "keys": [
            {"key": text, "organisation": one.organisation, "roles": one.roles}
            for text, one in genesis.keys
        ],
        "certificate_authorities": [
            {"name": one.name, "controller": one.controller, "certificate": one.certificate.hex()}
            for one in genesis.certificate_authorities
        ],
    }


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a field occurs twice")
    return result


def _from_json(text: str | bytes) -> Genesis:
    if len(text) > MAX_GENESIS_BYTES:
        raise ValueError(f"larger than {MAX_GENESIS_BYTES} bytes")
    json.loads(text, object_pairs_hook=_refuse_repeated)
    file = _GenesisFile.model_validate_json(text)
    suite = SUITES.get(file.suite)
    if suite is None:
        raise ValueError(f"suite {file.suite!r} is unknown; known: {', '.join(sorted(SUITES))}")
    genesis = Genesis.of(
        name=file.name,
        time_ms=file.time_ms,
        suite=suite,
        parameters=Parameters(**file.parameters.model_dump()),
        validators=tuple(Validator.from_texts(**one.model_dump()) for one in file.validators),
        organisations=tuple(_organisation(one) for one in file.organisations),
        keys=_keys(file),
        certificate_authorities=tuple(
            CertificateAuthority(one.name, one.controller, bytes.fromhex(one.certificate), "active")
            for one in file.certificate_authorities
        ),
    )
    if genesis.chain_id != file.chain_id:
        raise ValueError(
            f"the file states chain id {file.chain_id}, its content gives {genesis.chain_id}"
        )
    return genesis


def _organisation(one: _OrganisationFile) -> Organisation:
    return Organisation(
        uscc=one.uscc,
        name=one.name,
        level=one.level,
        division=one.division,
        parent=one.parent or "",
        authority=one.authority,
        sealing_key=one.sealing_key or "",
        status="active",
        successor="",
    )


def _keys(file: _GenesisFile) -> dict[str, EnrolledKey]:
    keys = {
        one.key: EnrolledKey(one.organisation, one.roles, "active", file.time_ms, None, None)
        for one in file.keys
    }
    if len(keys) != len(file.keys):
        raise ValueError("a key is listed twice")
    return keys
