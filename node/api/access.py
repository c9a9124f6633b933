"""Who asks, and what they may see: tokens verified, roles read from the ledger at each request."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from ledger.membership import enrolled_key, organisation
from node.api.problems import problem
from node.auth import Token, verify_token
from node.errors import InvalidToken
from node.origins import origin_of
from node.services import Services


@dataclass(frozen=True, slots=True)
class Caller:
    """An enrolled key that has signed the request's token."""

    key: str
    organisation: str
    roles: frozenset[str]


async def services_of(request: Request) -> Services:
    """Return the node's parts. Asynchronous like all dependencies: others cost a thread's turn at each request."""
    services: Services = request.app.state.services
    return services


Node = Annotated[Services, Depends(services_of)]


async def asked_from(request: Request) -> str:
    """Return the origin of a request, "" where the server does not tell."""
    return "" if request.client is None else origin_of(request.client.host)


Origin = Annotated[str, Depends(asked_from)]


def bearer_token(services: Services, authorization: str | None) -> Token:
    """Return the verified token of a request.

    Raises:
        ApiProblem: 401, missing or wrong.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise problem(401, "token_missing", "this needs a token signed with an enrolled key")
    try:
        return verify_token(token.strip(), services.genesis.chain_id, int(time.time()))
    except InvalidToken as error:
        raise problem(401, "token_invalid", str(error)) from None


def caller_of(services: Services, authorization: str | None) -> Caller:
    """Return who asks; an active key of an active organisation.

    Raises:
        ApiProblem: 401 or 403.
    """
    key = str(bearer_token(services, authorization).key)
    state = services.application.state
    enrolled = enrolled_key(state, key)
    if enrolled is None or not enrolled.active:
        raise problem(
            403, "key_not_enrolled", "the ledger does not know this key, or it is revoked"
        )
    subject = organisation(state, enrolled.organisation)
    if subject is None or not subject.active:
        raise problem(403, "organisation_not_active", "the key's organisation is not active")
    return Caller(key, enrolled.organisation, frozenset(enrolled.roles))


def is_active(services: Services, caller: Caller) -> bool:
    """Tell whether a caller's key and organisation are still active, for answers that take long."""
    state = services.application.state
    enrolled = enrolled_key(state, caller.key)
    subject = organisation(state, caller.organisation)
    return enrolled is not None and enrolled.active and subject is not None and subject.active


def reader_of_entries(services: Services, authorization: str | None) -> Caller:
    """Return a caller who may read log entries as they are: an auditor or a reader; 403 for all others."""
    if authorization is None:
        raise problem(403, "role_missing", "entries need the role auditor or reader")
    caller = caller_of(services, authorization)
    if caller.roles.isdisjoint(("auditor", "reader")):
        raise problem(403, "role_missing", "entries need the role auditor or reader")
    return caller


async def _member(services: Node, authorization: Annotated[str | None, Header()] = None) -> Caller:
    return caller_of(services, authorization)


Member = Annotated[Caller, Depends(_member)]
"""Any enrolled key."""


def require_role(caller: Caller, *roles: str) -> None:
    """Refuse a caller who holds none of `roles`.

    Raises:
        ApiProblem: 403.
    """
    if caller.roles.isdisjoint(roles):
        raise problem(403, "role_missing", f"this needs one of the roles: {', '.join(roles)}")
