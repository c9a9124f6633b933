"""Operations on the validator set: proposals and approvals by the authorities that control validators.

Validators and their keys change only by governors whose validators are more than two thirds of the
set, never to fewer than four, and never so that one controller has a third or more. A change counts
from two heights on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal, cast

from pydantic import Field

from ledger.errors import InvalidOperation
from ledger.fields import KeyText, Slug
from ledger.membership import (
    controls_validator,
    is_authority,
    is_faulty_key,
    save_wanted_validators,
    validator_fault,
    validator_fault_key,
    wanted_validators,
)
from ledger.operations import Body, Context, Event, OperationType
from ledger.policy import policy_problem
from ledger.state import State, state_key
from ledger.validators import Validator, distribution_problem, is_quorum

PROPOSAL_LIFETIME_MS: Final = 30 * 24 * 3_600_000
"""A proposed change of validators that nobody completes in 30 days is void: keys it names may be stale."""


class ProposeValidator(Body):
    """A change of one validator: `admit` a new one, `replace` the keys of one, `remove` one (then without keys)."""

    action: Literal["admit", "replace", "remove"]
    name: Slug
    consensus_key: KeyText | None = None
    log_key: KeyText | None = None
    witness_key: KeyText | None = None


class ApproveValidator(Body):
    """`proposal` is `<transaction>-<index>`: the proposing transaction's id, and the operation's index in it."""

    proposal: Annotated[str, Field(pattern=r"^[0-9a-f]{64}-[0-9]{1,3}$")]


def propose_validator(state: State, body: ProposeValidator, context: Context) -> list[Event]:
    if not is_authority(state, context.organisation):
        raise InvalidOperation(
            "ledger.validator.not_authority", "only an authority controls validators"
        )
    change = (
        body.action,
        body.name,
        context.organisation,
        body.consensus_key or "",
        body.log_key or "",
        body.witness_key or "",
    )
    _changed_set(state, change, context)
    identifier = f"{context.transaction_id.hex()}-{context.operation_index}"
    proposal = _Proposal(
        change,
        context.time_ms + PROPOSAL_LIFETIME_MS,
        _present_key(state, body.name),
        (context.organisation,),
    )
    return _count_approvals(state, identifier, proposal, context)


def approve_validator(state: State, body: ApproveValidator, context: Context) -> list[Event]:
    found = cast("dict[str, Any] | None", state.get(_proposal_key(body.proposal)))
    if found is None:
        raise InvalidOperation(
            "ledger.validator.proposal_unknown", f"no open proposal {body.proposal}"
        )
    proposal = _Proposal(**found)
    if context.time_ms > proposal.expires_ms:
        raise InvalidOperation("ledger.validator.proposal_expired", "the proposal has expired")
    if _present_key(state, proposal.change[1]) != proposal.present_key:
        raise InvalidOperation(
            "ledger.validator.proposal_stale", "the validator is not what it was when proposed"
        )
    if context.organisation in proposal.approvals:
        raise InvalidOperation(
            "ledger.validator.approved_already", "this organisation has approved already"
        )
    if not controls_validator(state, context.organisation):
        raise InvalidOperation(
            "ledger.validator.not_controller", "only controllers of validators approve changes"
        )
    approvals = tuple(sorted((*proposal.approvals, context.organisation)))
    return _count_approvals(state, body.proposal, replace(proposal, approvals=approvals), context)


Change = tuple[str, str, str, str, str, str]
"""action, validator name, controller, consensus key, log key, witness key ("" where the action has none)."""


@dataclass(frozen=True, slots=True)
class _Proposal:
    """An open proposal. `present_key` is the validator's consensus key when it was made, "" if there was none:
    who approved a change of that validator did not approve the same change of its successor.
    """

    change: Change
    expires_ms: int
    present_key: str
    approvals: tuple[str, ...]


def _present_key(state: State, name: str) -> str:
    """Return the consensus key of a wanted validator, or ""."""
    return next(
        (str(one.consensus_key) for one in wanted_validators(state) if one.name == name), ""
    )


def _count_approvals(
    state: State, identifier: str, proposal: _Proposal, context: Context
) -> list[Event]:
    current, change = wanted_validators(state), proposal.change
    votes = sum(validator.controller in proposal.approvals for validator in current)
    event = {"validator": change[1], "proposal": identifier}
    if is_quorum(votes, len(current)):
        save_wanted_validators(state, _changed_set(state, change, context))
        if change[0] != "remove" and validator_fault(state, change[1]) is not None:
            state.delete(validator_fault_key(change[1]))  # the faulty key is gone: see _changed_set
        state.delete(_proposal_key(identifier))
        return [Event("ledger.validator.change", event)]
    state.set(
        _proposal_key(identifier),
        {
            "change": change,
            "expires_ms": proposal.expires_ms,
            "present_key": proposal.present_key,
            "approvals": proposal.approvals,
        },
    )
    return [Event("ledger.validator.propose", event)]


def _changed_set(state: State, change: Change, context: Context) -> tuple[Validator, ...]:
    """Return the wanted set after `change`; refuse a set that breaks the rules on size, keys and controllers."""
    action, name, controller, consensus_key, log_key, witness_key = change
    current = wanted_validators(state)
    target = next((validator for validator in current if validator.name == name), None)
    if (action == "admit") != (target is None):
        raise InvalidOperation(
            "ledger.validator.name", f"{name} is {'not ' if target is None else ''}a validator"
        )
    others = tuple(validator for validator in current if validator.name != name)
    keys = (consensus_key, log_key, witness_key)
    if action == "remove":
        if any(keys):
            raise InvalidOperation("ledger.validator.keys", "a removal names no keys")
        changed = others
    else:
        if any(not key.startswith("ed25519:") for key in keys) or len(set(keys)) != 3:
            raise InvalidOperation(
                "ledger.validator.keys", "a validator has three different ed25519 keys"
            )
        in_use = {key for validator in others for key in validator.to_texts()[2:]}
        if in_use.intersection(keys):
            raise InvalidOperation("ledger.validator.keys", "a key is another validator's")
        if any(is_faulty_key(state, key) for key in keys):
            raise InvalidOperation(
                "ledger.validator.keys", "a key has signed two votes for one step"
            )
        if target is not None and target.controller != controller:
            raise InvalidOperation(
                "ledger.validator.controller", f"{name} is controlled by another authority"
            )
        changed = (*others, Validator.from_texts(name, controller, *keys))
    _check_set(changed, context)
    return changed


def _check_set(validators: Sequence[Validator], context: Context) -> None:
    problem = distribution_problem(validators)
    if problem is not None:
        raise InvalidOperation("ledger.validator.distribution", problem)
    problem = policy_problem(context.suite, validators, context.chain_id)
    if problem is not None:
        raise InvalidOperation("ledger.validator.policy", problem)


def _proposal_key(identifier: str) -> str:
    return state_key("ledger", "validator_proposal", identifier)


_GOVERNOR: Final = frozenset({"governor"})
_SET: Final = (
    "ledger.validator.name",
    "ledger.validator.keys",
    "ledger.validator.controller",
    "ledger.validator.distribution",
    "ledger.validator.policy",
)

OPERATIONS: Final[tuple[OperationType, ...]] = (
    OperationType(
        "ledger.validator.propose",
        "Propose to admit, re-key or remove a validator; counts as the proposer's approval.",
        ProposeValidator,
        propose_validator,
        _GOVERNOR,
        ("ledger.validator.not_authority", *_SET),
    ),
    OperationType(
        "ledger.validator.approve",
        "Approve a proposal; once the approvers' validators are more than two thirds, it takes effect two heights on.",
        ApproveValidator,
        approve_validator,
        _GOVERNOR,
        (
            "ledger.validator.proposal_unknown",
            "ledger.validator.proposal_expired",
            "ledger.validator.proposal_stale",
            "ledger.validator.approved_already",
            "ledger.validator.not_controller",
            *_SET,
        ),
    ),
)
