"""Who changes the set of validators, what no change may do to it, and what a double vote leads to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ledger.membership import (
    is_faulty_key,
    punish_double_voting,
    save_wanted_validators,
    validator_fault,
    wanted_validators,
)
from ledger.state import Overlay
from ledger.validators import Validator, distribution_problem
from tests.ledger.members import (
    BEIJING,
    NATIONAL,
    NOW_MS,
    PROVINCES,
    TIANJIN,
    Key,
    act,
    network,
    refused,
    uscc,
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
    assert punish_double_voting(state, "v2", key, 8)
    assert "v2" not in [validator.name for validator in wanted_validators(state)]
    assert not punish_double_voting(state, "v2", key, 8), "it is gone already"
    key = consensus_key(state, "v3")
    assert not punish_double_voting(state, "v3", key, 9)
    mark = validator_fault(state, "v3")
    assert mark is not None and mark.present
    assert len(wanted_validators(state)) == 4


def shared(controllers: Sequence[int]) -> Overlay:
    """Return a state whose validators v0, v1, … are controlled by these authorities, by their number."""
    state = network()
    authorities = (NATIONAL, *PROVINCES.values())
    save_wanted_validators(
        state,
        [
            Validator.from_texts(
                f"v{number}",
                authorities[controller],
                *(str(key) for key in KEYS[3 * number : 3 * number + 3]),
            )
            for number, controller in enumerate(controllers)
        ],
    )
    return state


KEYS = tuple(Key(5000 + number) for number in range(30))


def test_a_double_voter_stays_where_another_would_control_a_third() -> None:
    state = shared((0, 0, 1, 2, 3, 4, 5))
    key = consensus_key(state, "v2")
    assert not punish_double_voting(state, "v2", key, 8)
    mark = validator_fault(state, "v2")
    assert mark is not None and mark.present and is_faulty_key(state, key)
    assert len(wanted_validators(state)) == 7
    change = admission("v2") | {"action": "replace"}
    act(state, "ledger.validator.propose", change, by=BEIJING, transaction=9)
    for controller in (NATIONAL, TIANJIN, PROVINCES["130000"]):
        act(state, "ledger.validator.approve", {"proposal": f"{9:064x}-0"}, by=controller)
    assert validator_fault(state, "v2") is None and consensus_key(state, "v2") == str(Key(2000))


def test_a_double_voter_leaves_where_its_own_controller_has_the_most() -> None:
    state = shared((0, 0, 1, 2, 3, 4, 5))
    assert punish_double_voting(state, "v1", consensus_key(state, "v1"), 8)
    assert len(wanted_validators(state)) == 6


@given(
    st.lists(st.integers(0, 5), min_size=4, max_size=10),
    st.lists(st.integers(0, 9), min_size=1, max_size=10, unique=True),
)
def test_whoever_is_punished_a_set_that_could_run_a_chain_still_can(
    controllers: list[int], culprits: list[int]
) -> None:
    state = shared(controllers)
    assume(distribution_problem(wanted_validators(state)) is None)
    for number in culprits:
        if number < len(controllers):
            before = wanted_validators(state)
            name, key = f"v{number}", consensus_key(state, f"v{number}")
            leaves = punish_double_voting(state, name, key, 8)
            others = [validator for validator in before if validator.name != name]
            assert leaves == (distribution_problem(others) is None)
            mark = validator_fault(state, name)
            assert mark is not None and mark.present == (not leaves)
            assert distribution_problem(wanted_validators(state)) is None


def test_evidence_against_a_key_that_has_been_replaced_bars_only_that_key() -> None:
    state = network(5)
    old = str(Key(7777))
    assert not punish_double_voting(state, "v2", old, 8)
    assert validator_fault(state, "v2") is None and len(wanted_validators(state)) == 5
    back = admission("v2") | {"action": "replace", "consensus_key": old}
    assert refused(state, "ledger.validator.propose", back, by=TIANJIN) == "ledger.validator.keys"


def test_a_key_that_signed_twice_does_not_come_back() -> None:
    state = network(5)
    key = consensus_key(state, "v2")
    punish_double_voting(state, "v2", key, 8)
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
    punish_double_voting(state, "v1", consensus_key(state, "v1"), 8)
    change = admission("v1") | {"action": "replace"}
    act(state, "ledger.validator.propose", change, by=BEIJING, transaction=9)
    for controller in (NATIONAL, TIANJIN):
        act(state, "ledger.validator.approve", {"proposal": f"{9:064x}-0"}, by=controller)
    assert validator_fault(state, "v1") is None
    assert str(Key(2000)) in [str(v.consensus_key) for v in wanted_validators(state)]
