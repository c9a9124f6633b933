"""A state with six authorities and four validators, and who acts on it: for tests of the rules of membership."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nacl.signing
import pytest

from ledger.codec import Value
from ledger.errors import InvalidOperation
from ledger.membership import EnrolledKey, Organisation, initial_state
from ledger.membership_operations import OPERATIONS, enrolment_bytes
from ledger.operations import Context, Event, operation_table
from ledger.state import Overlay
from ledger.suite import SHA256_ED25519, PublicKey
from ledger.uscc import check_character, organisation_check_character
from ledger.validators import Validator

CHAIN = "test-00000000000000000000000000000000"
TABLE = operation_table(OPERATIONS)
NOW_MS = 1_700_000_000_000


class _Empty:
    def get(self, key: str) -> Value | None:
        return None


def uscc(division: str, number: int) -> str:
    """A good code for the organisation `number` of a division."""
    body = f"{number:08d}"
    first = f"11{division}{body}{organisation_check_character(body)}"
    return first + check_character(first)


NATIONAL = uscc("000000", 1)
PROVINCES = {
    division: uscc(division, 1) for division in ("110000", "120000", "130000", "310000", "440000")
}
BEIJING = PROVINCES["110000"]
TIANJIN = PROVINCES["120000"]
TONGZHOU = uscc("110112", 1)


class Key:
    def __init__(self, seed: int) -> None:
        self._key = nacl.signing.SigningKey(seed.to_bytes(32, "big"))
        self.public_key = PublicKey("ed25519", bytes(self._key.verify_key))

    def __str__(self) -> str:
        return str(self.public_key)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message).signature


def _organisation(code: str, division: str, level: str, parent: str) -> Organisation:
    return Organisation(
        code, f"authority {division}", level, division, parent, True, "", "active", ""
    )


def _validator(name: str, controller: str, seed: int) -> Validator:
    keys = (str(Key(seed)), str(Key(seed + 1)), str(Key(seed + 2)))
    return Validator.from_texts(name, controller, *keys)


def network(validators: int = 4) -> Overlay:
    """A state with the national authority, five provinces and that many validators of as many controllers."""
    state = Overlay(_Empty())
    controllers = (NATIONAL, *PROVINCES.values())
    initial_state(
        state,
        organisations=[
            _organisation(NATIONAL, "000000", "national", NATIONAL),
            *(
                _organisation(code, division, "municipal", NATIONAL)
                for division, code in PROVINCES.items()
            ),
        ],
        keys={str(Key(1)): EnrolledKey(BEIJING, ("registrar",), "active", 0, None, None)},
        certificate_authorities=[],
        validators=[_validator(f"v{i}", controllers[i], 1000 + 10 * i) for i in range(validators)],
    )
    return state


def act(
    state: Overlay,
    kind: str,
    body: Mapping[str, Any],
    *,
    by: str,
    roles: frozenset[str] = frozenset({"registrar", "governor"}),
    signer: Key | None = None,
    time_ms: int = NOW_MS,
    transaction: int = 0,
) -> list[Event]:
    """Carry out one operation as the application does, without its check of roles."""
    operation = TABLE[kind]
    context = Context(
        suite=SHA256_ED25519,
        chain_id=CHAIN,
        height=10,
        time_ms=time_ms,
        transaction_id=transaction.to_bytes(32, "big"),
        operation_index=0,
        signer=(signer or Key(1)).public_key,
        organisation=by,
        roles=roles,
    )
    return list(operation.handler(state, operation.body.model_validate(body), context))


def refused(state: Overlay, kind: str, body: Mapping[str, Any], **how: Any) -> str:
    before = dict(state.changes)
    with pytest.raises(InvalidOperation) as caught:
        act(state, kind, body, **how)
    assert dict(state.changes) == before, "a refusal left a trace"
    assert caught.value.code in TABLE[kind].codes, "an undeclared code"
    return caught.value.code


def department(number: int = 7, **other: Any) -> dict[str, Any]:
    return {
        "uscc": uscc("110000", number),
        "name": "Bureau of Examples",
        "level": "municipal",
        "division": "110000",
        "parent": BEIJING,
    } | other


def enrolment(key: Key, code: str, *roles: str, chain: str = CHAIN) -> dict[str, Any]:
    return {
        "key": str(key),
        "organisation": code,
        "roles": roles,
        "possession": key.sign(enrolment_bytes(chain, str(key), code, roles)),
    }
