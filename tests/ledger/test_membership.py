"""Who may register organisations, enrol keys and revoke them: the rules of membership, by the codes that refuse."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ledger.membership import (
    EnrolledKey,
    certificate_authority_names,
    enrolled_key,
    lies_within,
    organisation,
)
from tests.ledger.members import (
    BEIJING,
    NATIONAL,
    NOW_MS,
    PROVINCES,
    TABLE,
    TIANJIN,
    TONGZHOU,
    Key,
    act,
    department,
    enrolment,
    network,
    refused,
    uscc,
)


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
        ("130629", "133100", True),
        ("130629", "130629", True),
        ("130629", "130000", True),
        ("130629", "130600", False),
        ("130602", "133100", False),
    ],
)
def test_divisions_go_down_by_pairs_of_digits_but_for_xiongans_counties(
    division: str, territory: str, within: bool
) -> None:
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


@pytest.mark.parametrize("kind", sorted(TABLE))
def test_a_body_refuses_unknown_fields_and_missing_ones(kind: str) -> None:
    model = TABLE[kind].body
    with pytest.raises(ValidationError):
        model.model_validate({"surprise": 1})
    with pytest.raises(ValidationError):
        model.model_validate({})
