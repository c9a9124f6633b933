"""A holder's answer to a request: what is asked, which licenses it is consented to with, the disclosure after it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final

import click
import typer

from cli.output import CommandError, ExitCode, say, show_record
from cli.questions import confirm
from cli.validation import handle_of, now_ms
from cli.wallet_link import WalletLink, describe_request
from ledger.suite import SHA256_ED25519
from licenses.use import RequestEnvelope
from licenses.wallet import Wallet
from node.answers import OpenedSession

UNBOUND: Final = "held, but not bound to a key of this wallet: it cannot be used with consent"

LicensesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--license",
        metavar="HANDLE",
        help="The license to consent with, where you hold several of a type; once for each type.",
    ),
]


def handles_of(licenses: Sequence[str] | None) -> tuple[bytes, ...]:
    """Return the handles that were given with --license.

    Raises:
        CommandError: one is none.
    """
    return tuple(handle_of(one) for one in licenses or ())


def choose_licenses(
    wallet: Wallet, envelope: RequestEnvelope, licenses: Sequence[bytes], *, asks: bool
) -> tuple[bytes, ...]:
    """Return the handle of one license for each item of a request: the only one, the one given, or the one chosen.

    Raises:
        CommandError: there is none, or several and nobody says which.
        WalletError: the request is not good, or has been answered.
    """
    return tuple(
        _choose(
            item.license_type,
            [one.credential.handle for one in item.licenses],
            licenses,
            asks,
            unbound=_unbound_of(wallet, item.license_type),
        )
        for item in wallet.review(envelope, now_ms())
    )


def _unbound_of(wallet: Wallet, license_type: str) -> list[bytes]:
    return [
        held.credential.handle
        for held in wallet.licenses()
        if held.key is None and held.credential.license_type == license_type
    ]


def _choose(
    license_type: str,
    held: Sequence[bytes],
    licenses: Sequence[bytes],
    asks: bool,
    *,
    unbound: Sequence[bytes],
) -> bytes:
    wanted = [one for one in held if one in licenses]
    found = wanted or held
    if len(found) == 1:
        return found[0]
    if not found and unbound:
        raise CommandError(
            f"license {unbound[0].hex()} of type {license_type} is {UNBOUND}",
            hint="Have the issuer bind one to a key that mulu wallet offer makes.",
            code="wallet.no_license",
        )
    if not found:
        raise CommandError(
            f"no license of type {license_type} is bound to a key of this wallet",
            hint="Take it into the wallet with mulu wallet add.",
            code="wallet.no_license",
        )
    named = ", ".join(one.hex() for one in found)
    if not asks or not sys.stdin.isatty():
        raise CommandError(
            f"you hold several licenses of type {license_type}: {named}",
            hint="Give the one to consent with: --license HANDLE.",
            code="wallet.choose_license",
        )
    say(f"You hold several licenses of type {license_type}:")
    for number, one in enumerate(found, start=1):
        say(f"  {number}  {one.hex()}")
    number = typer.prompt("Which one", type=click.IntRange(1, len(found)), err=True)
    return found[int(number) - 1]


def answer_request(
    link: WalletLink,
    session: OpenedSession,
    envelope: RequestEnvelope,
    answer: str,
    licenses: Sequence[bytes],
    as_json: bool,
) -> bytes | None:
    """Show a request, get the holder's answer, send it; return the use's id where it is a consent."""
    record = describe_request(link.wallet, envelope)
    request_id = envelope.signed.request.hash(SHA256_ED25519).hex()
    emit(as_json, {"event": "request", "request": request_id, **record}, None)
    if not as_json:
        show_record("Somebody asks for your license", record)
    consents = answer == "consent" or (
        answer == "ask" and confirm("Do you consent?", "--answer consent or --answer refuse")
    )
    if not consents:
        link.refuse(session, envelope)
        emit(as_json, {"event": "refused", "request": request_id}, "Refused.")
        return None
    chosen = choose_licenses(link.wallet, envelope, licenses, asks=answer == "ask")
    use_id = link.consent(session, envelope, chosen)
    consented = {"event": "consented", "request": request_id, "use": use_id.hex()}
    emit(as_json, consented, "Consented.")
    return use_id


def try_disclose(link: WalletLink, session: OpenedSession, use_id: bytes, as_json: bool) -> bool:
    """Disclose once the use is recorded; tell whether there is nothing left to wait for."""
    sealed = link.disclose(use_id) if link.is_recorded(use_id) else None
    if sealed is None:
        return now_ms() >= session.expires_ms
    link.put_disclosure(session, sealed)
    emit(as_json, {"event": "disclosed", "use": use_id.hex()}, "Recorded and proved; disclosed.")
    return True


def answer_and_disclose(
    link: WalletLink,
    session: OpenedSession,
    envelope: RequestEnvelope,
    answer: str,
    licenses: Sequence[bytes],
    as_json: bool,
    timeout_s: float,
) -> None:
    """Answer a request, and disclose once the use is recorded.

    Raises:
        CommandError: it is not recorded in time.
    """
    use_id = answer_request(link, session, envelope, answer, licenses, as_json)
    if use_id is None:
        return
    link.put_disclosure(session, await_disclosure(link, use_id, timeout_s))
    emit(
        as_json,
        {"event": "disclosed", "use": use_id.hex()},
        "The use is recorded and proved; the fields were disclosed.",
    )


def await_disclosure(link: WalletLink, use_id: bytes, timeout_s: float) -> bytes:
    """Wait until a use is recorded and return its fields, sealed.

    Raises:
        CommandError: it is not recorded in time.
    """
    deadline = time.monotonic() + timeout_s
    while (sealed := link.disclose(use_id)) is None:
        if time.monotonic() > deadline:
            raise CommandError(
                "the use is not recorded; nothing was disclosed",
                code="not_recorded",
                exit_code=ExitCode.NOT_ESTABLISHED,
            )
        time.sleep(0.1)
    return sealed


def emit(as_json: bool, event: dict[str, Any], text: str | None) -> None:
    """Tell of an event: a line of JSON for machines, a sentence for people."""
    if as_json:
        sys.stdout.write(json.dumps(event, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    elif text is not None:
        say(text)
