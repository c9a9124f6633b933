"""Who may register, enrol, revoke and decide: the rules of membership, by the codes that refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nacl.signing
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ledger.codec import Value
from ledger.errors import InvalidOperation
from ledger.limits import MIN_VALIDATORS
from ledger.membership import (
    EnrolledKey,
    Organisation,
    certificate_authority_names,
    enrolled_key,
    initial_state,
    lies_within,
    organisation,
    punish_double_voting,
    validator_fault,
    wanted_validators,
)
from ledger.membership_operations import OPERATIONS, enrolment_bytes
from ledger.operations import Context, Event, operation_table
from ledger.state import Overlay
from ledger.suite import SHA256_ED25519, PublicKey
from ledger.uscc import ALPHABET, check_character, is_uscc, organisation_check_character
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


def test_a_divisions_authority_registers_its_organisations() -> None:
    state = network()
    act(state, "ledger.organisation.register", department(), by=BEIJING)
    found = organisation(state, uscc("110000", 7))
    assert found is not None and found.active and not found.authority


def test_another_divisions_registrar_is_refused_every_act_over_an_organisation() -> None:
    state = network()
    register = "ledger.organisation.register"
    assert refused(state, register, department(), by=TIANJIN) == (
        "ledger.organisation.not_competent"
    )
    act(state, register, department(), by=BEIJING)
    target = uscc("110000", 7)
    for kind, body in (
        ("ledger.organisation.amend", {"uscc": target, "name": "Taken over"}),
        ("ledger.organisation.amend", {"uscc": target, "sealing_key": "ab" * 32}),
        ("ledger.organisation.dissolve", {"uscc": target}),
        ("ledger.key.enrol", enrolment(Key(5), target, "editor")),
    ):
        assert refused(state, kind, body, by=TIANJIN) == "ledger.organisation.not_competent"


def test_an_authority_is_registered_by_the_one_above_it_and_once_a_division() -> None:
    state = network()
    body = department(
        uscc=TONGZHOU, level="district", division="110112", parent=BEIJING, authority=True
    )
    register = "ledger.organisation.register"
    assert refused(state, register, body, by=NATIONAL) == "ledger.organisation.not_competent"
    act(state, register, body, by=BEIJING)
    second = body | {"uscc": uscc("110112", 2)}
    assert refused(state, register, second, by=BEIJING) == "ledger.organisation.authority_exists"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"uscc": BEIJING}, "ledger.organisation.exists"),
        ({"parent": uscc("440000", 99)}, "ledger.organisation.parent_unknown"),
        ({"level": "national"}, "ledger.organisation.level"),
        ({"division": "999999"}, "ledger.organisation.not_competent"),
    ],
)
def test_a_registration_that_does_not_fit_is_refused(change: dict[str, Any], code: str) -> None:
    assert refused(network(), "ledger.organisation.register", department(**change), by=BEIJING) == (
        code
    )


def test_an_organisation_replaces_its_own_sealing_key_but_not_its_own_name() -> None:
    state = network()
    act(state, "ledger.organisation.register", department(), by=BEIJING)
    own = uscc("110000", 7)
    act(state, "ledger.organisation.amend", {"uscc": own, "sealing_key": "cd" * 32}, by=own)
    found = organisation(state, own)
    assert found is not None and found.sealing_key == "cd" * 32
    code = refused(state, "ledger.organisation.amend", {"uscc": own, "name": "Grander"}, by=own)
    assert code == "ledger.organisation.not_competent"


def test_a_dissolved_organisation_enrols_no_keys_and_an_authority_stays() -> None:
    state = network()
    act(state, "ledger.organisation.register", department(), by=BEIJING)
    own = uscc("110000", 7)
    act(state, "ledger.organisation.dissolve", {"uscc": own, "successor": BEIJING}, by=BEIJING)
    code = refused(state, "ledger.key.enrol", enrolment(Key(5), own, "editor"), by=BEIJING)
    assert code == "ledger.organisation.dissolved"
    code = refused(state, "ledger.organisation.dissolve", {"uscc": TIANJIN}, by=NATIONAL)
    assert code == "ledger.organisation.is_authority"


def test_a_key_must_sign_its_own_enrolment_for_this_chain_and_these_roles() -> None:
    state = network()
    key = Key(5)
    kind = "ledger.key.enrol"
    good = enrolment(key, BEIJING, "approver", "editor")
    for bad in (
        good | {"possession": bytes(64)},
        good | {"roles": ("approver",)},
        good | {"organisation": TIANJIN},
        enrolment(key, BEIJING, "approver", "editor", chain="other"),
    ):
        assert refused(state, kind, bad, by=bad["organisation"]) == "ledger.key.not_possessed"
    act(state, kind, good, by=BEIJING)
    assert refused(state, kind, good, by=BEIJING) == "ledger.key.exists"


@pytest.mark.parametrize(
    "roles", [("editor", "approver"), ("editor", "editor"), ("emperor",), ("editor", "")]
)
def test_roles_are_known_unique_and_ordered(roles: tuple[str, ...]) -> None:
    body = enrolment(Key(5), BEIJING, *roles)
    assert refused(network(), "ledger.key.enrol", body, by=BEIJING) == "ledger.key.roles"


def test_only_an_authority_has_approvers_and_governors() -> None:
    state = network()
    act(state, "ledger.organisation.register", department(), by=BEIJING)
    body = enrolment(Key(5), uscc("110000", 7), "approver")
    assert refused(state, "ledger.key.enrol", body, by=BEIJING) == "ledger.key.roles"


def test_a_revoked_key_is_never_enrolled_again_nor_given_roles() -> None:
    state = network()
    act(state, "ledger.key.enrol", enrolment(Key(5), BEIJING, "editor"), by=BEIJING)
    revoke = {"key": str(Key(5)), "compromised_since_ms": NOW_MS - 1}
    act(state, "ledger.key.revoke", revoke, by=BEIJING)
    found = enrolled_key(state, str(Key(5)))
    assert found is not None and not found.active
    assert found.compromised_since_ms == NOW_MS - 1 and found.revoked_ms == NOW_MS
    again = enrolment(Key(5), BEIJING, "editor")
    assert refused(state, "ledger.key.enrol", again, by=BEIJING) == "ledger.key.exists"
    roles = {"key": str(Key(5)), "roles": ("reader",)}
    assert refused(state, "ledger.key.set_roles", roles, by=BEIJING) == "ledger.key.revoked"
    assert refused(state, "ledger.key.revoke", revoke, by=BEIJING) == "ledger.key.revoked"


def test_a_thief_who_revokes_a_key_does_not_have_the_last_word_on_when_it_was_stolen() -> None:
    state = network()
    act(state, "ledger.key.enrol", enrolment(Key(5), BEIJING, "issuer"), by=BEIJING)
    body = {"key": str(Key(5))}
    act(state, "ledger.key.revoke", body, by=BEIJING, roles=frozenset({"issuer"}), signer=Key(5))
    assert refused(state, "ledger.key.revoke", body, by=BEIJING) == "ledger.key.revoked"
    corrected = body | {"compromised_since_ms": NOW_MS - 7}
    editor = frozenset({"editor"})
    code = refused(state, "ledger.key.revoke", corrected, by=BEIJING, roles=editor)
    assert code == "ledger.key.not_registrar"
    code = refused(state, "ledger.key.revoke", corrected, by=TIANJIN)
    assert code == "ledger.organisation.not_competent"
    act(state, "ledger.key.revoke", corrected, by=BEIJING, time_ms=NOW_MS + 9)
    found = enrolled_key(state, str(Key(5)))
    assert found is not None and not found.active
    assert (found.revoked_ms, found.compromised_since_ms) == (NOW_MS, NOW_MS - 7)


def test_an_organisation_that_controls_a_validator_looks_after_its_keys_alone() -> None:
    state = network()
    act(state, "ledger.key.enrol", enrolment(Key(5), BEIJING, "governor"), by=BEIJING)
    for kind, body in (
        ("ledger.key.enrol", enrolment(Key(6), BEIJING, "governor")),
        ("ledger.key.set_roles", {"key": str(Key(5)), "roles": ("reader",)}),
        ("ledger.key.revoke", {"key": str(Key(5))}),
    ):
        assert refused(state, kind, body, by=NATIONAL) == "ledger.key.controller"
        act(state, kind, body, by=BEIJING)
    without = PROVINCES["440000"]
    act(state, "ledger.key.enrol", enrolment(Key(7), without, "registrar"), by=NATIONAL)


@pytest.mark.parametrize(
    ("division", "level", "parent"),
    [
        ("131000", "district", TIANJIN),
        ("500000", "municipal", BEIJING),
        ("120100", "district", BEIJING),
    ],
)
def test_an_authority_registers_no_authority_outside_its_own_territory(
    division: str, level: str, parent: str
) -> None:
    body = department(
        uscc=uscc(division, 1), level=level, division=division, parent=parent, authority=True
    )
    code = refused(network(), "ledger.organisation.register", body, by=parent)
    assert code == "ledger.organisation.parent_unfit"


@pytest.mark.parametrize(
    ("division", "territory", "within"),
    [
        ("110112", "110000", True),
        ("133100", "130000", True),
        ("133101", "133100", True),
        ("110112", "000000", True),
        ("110112", "110112", True),
        ("120000", "110000", False),
        ("110000", "110112", False),
        ("130100", "133100", False),
        ("110000", "100000", False),
    ],
)
def test_divisions_go_down_by_pairs_of_digits(division: str, territory: str, within: bool) -> None:
    assert lies_within(division, territory) == within


def test_no_governor_fills_the_list_of_certificate_authorities() -> None:
    state = network()
    kind, revoke = "ledger.certificate_authority.register", "ledger.certificate_authority.revoke"

    def register(number: int, by: str) -> None:
        act(state, kind, {"name": f"ca-{number}", "certificate": b"x"}, by=by)

    for number in range(4):
        register(number, BEIJING)
    body = {"name": "one-more", "certificate": b"x"}
    assert refused(state, kind, body, by=BEIJING) == "ledger.certificate_authority.too_many"
    act(state, revoke, {"name": "ca-2"}, by=BEIJING)
    assert certificate_authority_names(state) == ("ca-0", "ca-1", "ca-3")
    act(state, kind, body, by=BEIJING)
    for number in range(4, 64):
        register(number, uscc("110112", number // 4))
    assert len(certificate_authority_names(state)) == 64
    full = {"name": "too-many", "certificate": b"x"}
    code = refused(state, kind, full, by=uscc("110112", 99))
    assert code == "ledger.certificate_authority.too_many"
    act(state, kind, full, by=TIANJIN)  # it controls a validator: its nodes must get in


def test_a_key_revokes_itself_and_a_colleagues_only_as_registrar() -> None:
    state = network()
    for seed in (5, 6):
        act(state, "ledger.key.enrol", enrolment(Key(seed), BEIJING, "editor"), by=BEIJING)
    editor = frozenset({"editor"})
    body = {"key": str(Key(6))}
    code = refused(state, "ledger.key.revoke", body, by=BEIJING, roles=editor, signer=Key(5))
    assert code == "ledger.key.not_registrar"
    act(state, "ledger.key.revoke", body, by=BEIJING, roles=editor, signer=Key(6))
    late = {"key": str(Key(5)), "compromised_since_ms": NOW_MS + 1}
    assert refused(state, "ledger.key.revoke", late, by=BEIJING) == "ledger.key.future"


def test_enrolment_and_revocation_bear_the_time_of_their_block() -> None:
    """Not that of the machine that executes it: every node must write the same record."""
    state, key = network(), str(Key(5))
    act(state, "ledger.key.enrol", enrolment(Key(5), BEIJING, "editor"), by=BEIJING)
    assert enrolled_key(state, key) == EnrolledKey(
        BEIJING, ("editor",), "active", NOW_MS, None, None
    )
    body = {"key": key, "compromised_since_ms": NOW_MS - 1}
    act(state, "ledger.key.revoke", body, by=BEIJING)
    assert enrolled_key(state, key) == EnrolledKey(
        BEIJING, ("editor",), "revoked", NOW_MS, NOW_MS, NOW_MS - 1
    )


def admission(name: str = "guangdong", seed: int = 2000) -> dict[str, Any]:
    return {
        "action": "admit",
        "name": name,
        "consensus_key": str(Key(seed)),
        "log_key": str(Key(seed + 1)),
        "witness_key": str(Key(seed + 2)),
    }


def test_a_validator_is_admitted_by_controllers_of_more_than_two_thirds_and_not_before() -> None:
    state = network()
    newcomer = PROVINCES["440000"]
    act(state, "ledger.validator.propose", admission(), by=newcomer, transaction=9)
    proposal = {"proposal": f"{9:064x}-0"}
    for controller in (NATIONAL, BEIJING):
        act(state, "ledger.validator.approve", proposal, by=controller)
        assert len(wanted_validators(state)) == 4
    code = refused(state, "ledger.validator.approve", proposal, by=BEIJING)
    assert code == "ledger.validator.approved_already"
    act(state, "ledger.validator.approve", proposal, by=TIANJIN)
    assert [v.name for v in wanted_validators(state)] == ["guangdong", "v0", "v1", "v2", "v3"]
    code = refused(state, "ledger.validator.approve", proposal, by=PROVINCES["130000"])
    assert code == "ledger.validator.proposal_unknown"


def test_organisations_without_a_validator_do_not_count() -> None:
    state = network()
    act(state, "ledger.validator.propose", admission(), by=PROVINCES["440000"], transaction=9)
    body = {"proposal": f"{9:064x}-0"}
    code = refused(state, "ledger.validator.approve", body, by=PROVINCES["310000"])
    assert code == "ledger.validator.not_controller"
    for controller in (NATIONAL, BEIJING):
        act(state, "ledger.validator.approve", body, by=controller)
    assert len(wanted_validators(state)) == 4


@pytest.mark.parametrize("action", ["remove", "replace"])
def test_approvals_of_a_change_do_not_outlive_the_keys_that_they_were_for(action: str) -> None:
    state = network(5)
    first = {"action": action, "name": "v2"} | (
        {} if action == "remove" else admission("v2", 3000) | {"action": action}
    )
    act(state, "ledger.validator.propose", first, by=TIANJIN, transaction=8)
    second = admission("v2") | {"action": "replace"}
    act(state, "ledger.validator.propose", second, by=TIANJIN, transaction=9)
    for controller in (NATIONAL, BEIJING, PROVINCES["130000"]):
        act(state, "ledger.validator.approve", {"proposal": f"{9:064x}-0"}, by=controller)
    stale = {"proposal": f"{8:064x}-0"}
    code = refused(state, "ledger.validator.approve", stale, by=NATIONAL)
    assert code == "ledger.validator.proposal_stale"


@pytest.mark.parametrize(
    ("body", "by", "code"),
    [
        ({"action": "remove", "name": "v1"}, BEIJING, "ledger.validator.distribution"),
        ({"action": "remove", "name": "nobody"}, BEIJING, "ledger.validator.name"),
        (admission("v1"), BEIJING, "ledger.validator.name"),
        (admission() | {"log_key": str(Key(2000))}, BEIJING, "ledger.validator.keys"),
        (admission() | {"log_key": str(Key(1001))}, BEIJING, "ledger.validator.keys"),
        (admission(), BEIJING, "ledger.validator.distribution"),
        (admission("v1") | {"action": "replace"}, TIANJIN, "ledger.validator.controller"),
        (admission(), uscc("110000", 9), "ledger.validator.not_authority"),
        (admission("none"), PROVINCES["440000"], "ledger.validator.policy"),
        (admission("more-than-two-thirds"), PROVINCES["440000"], "ledger.validator.policy"),
    ],
)
def test_a_change_that_breaks_a_rule_of_the_set_is_refused(
    body: dict[str, Any], by: str, code: str
) -> None:
    assert refused(network(), "ledger.validator.propose", body, by=by) == code


def test_a_proposal_expires() -> None:
    state = network()
    act(state, "ledger.validator.propose", admission(), by=PROVINCES["440000"], transaction=9)
    late_ms = NOW_MS + 31 * 24 * 3_600_000
    body = {"proposal": f"{9:064x}-0"}
    code = refused(state, "ledger.validator.approve", body, by=BEIJING, time_ms=late_ms)
    assert code == "ledger.validator.proposal_expired"


def consensus_key(state: Overlay, name: str) -> str:
    return next(str(v.consensus_key) for v in wanted_validators(state) if v.name == name)


def test_double_voting_removes_a_validator_only_while_four_remain() -> None:
    state = network(5)
    key = consensus_key(state, "v2")
    assert punish_double_voting(state, "v2", key, 8, MIN_VALIDATORS)
    assert "v2" not in [validator.name for validator in wanted_validators(state)]
    assert not punish_double_voting(state, "v2", key, 8, MIN_VALIDATORS), "it is gone already"
    key = consensus_key(state, "v3")
    assert not punish_double_voting(state, "v3", key, 9, MIN_VALIDATORS)
    mark = validator_fault(state, "v3")
    assert mark is not None and mark.present
    assert len(wanted_validators(state)) == 4


def test_evidence_against_a_key_that_has_been_replaced_bars_only_that_key() -> None:
    state = network(5)
    old = str(Key(7777))
    assert not punish_double_voting(state, "v2", old, 8, MIN_VALIDATORS)
    assert validator_fault(state, "v2") is None and len(wanted_validators(state)) == 5
    back = admission("v2") | {"action": "replace", "consensus_key": old}
    assert refused(state, "ledger.validator.propose", back, by=TIANJIN) == "ledger.validator.keys"


def test_a_key_that_signed_twice_does_not_come_back() -> None:
    state = network(5)
    key = consensus_key(state, "v2")
    punish_double_voting(state, "v2", key, 8, MIN_VALIDATORS)
    for name in ("v2", "under-another-name"):
        back = admission(name) | {"consensus_key": key}
        code = refused(state, "ledger.validator.propose", back, by=TIANJIN)
        assert code == "ledger.validator.keys"
    act(state, "ledger.validator.propose", admission("v2"), by=TIANJIN, transaction=9)
    for controller in (NATIONAL, BEIJING, PROVINCES["130000"]):
        if len(wanted_validators(state)) == 4:
            act(state, "ledger.validator.approve", {"proposal": f"{9:064x}-0"}, by=controller)
    assert len(wanted_validators(state)) == 5 and validator_fault(state, "v2") is None
    back = admission("v2", 3000) | {"action": "replace", "consensus_key": key}
    assert refused(state, "ledger.validator.propose", back, by=TIANJIN) == "ledger.validator.keys"


def test_a_replaced_key_clears_the_mark_of_double_voting() -> None:
    state = network()
    punish_double_voting(state, "v1", consensus_key(state, "v1"), 8, MIN_VALIDATORS)
    change = admission("v1") | {"action": "replace"}
    act(state, "ledger.validator.propose", change, by=BEIJING, transaction=9)
    for controller in (NATIONAL, TIANJIN):
        act(state, "ledger.validator.approve", {"proposal": f"{9:064x}-0"}, by=controller)
    assert validator_fault(state, "v1") is None
    assert str(Key(2000)) in [str(v.consensus_key) for v in wanted_validators(state)]


@pytest.mark.parametrize("kind", sorted(TABLE))
def test_a_body_refuses_unknown_fields_and_missing_ones(kind: str) -> None:
    model = TABLE[kind].body
    with pytest.raises(ValidationError):
        model.model_validate({"surprise": 1})
    with pytest.raises(ValidationError):
        model.model_validate({})


@pytest.mark.parametrize(
    "code", ["11110112MB1D52349B", "11100000000013338W", "11430000006122244L", "11330105002500287C"]
)
def test_published_codes_are_good_and_any_changed_character_is_found(code: str) -> None:
    assert is_uscc(code)
    for position in range(18):
        for character in ALPHABET:
            changed = code[:position] + character + code[position + 1 :]
            assert is_uscc(changed) == (changed == code)


@given(st.text(max_size=20))
def test_any_text_can_be_checked(text: str) -> None:
    assert is_uscc(text) in (True, False)
