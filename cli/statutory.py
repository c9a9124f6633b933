"""`mulu license approve` and `mulu license release`: uses by law, without the holder's consent.

The second officer's command runs the validators' own check of a use before it gives an approval away, over a state
that it has proved value by value. The issuer's command gives fields away only for a use that is recorded, proved under
the issuer's policy, and sealed to the key that the validators compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.connection import connect
from cli.options import JsonOption, KeyOption, NodeOption, PolicyOption, ProfileOption, YesOption
from cli.output import CommandError, ExitCode, say, show_json, show_record, time_text
from cli.output_files import check_output, write_output
from cli.proofs import ProvedState, require_policy
from cli.questions import confirm
from cli.validation import duration_ms, handle_of, now_ms, pairs, read_bytes, use_id_of
from cli.window import approval_text, basis_text, read_request, read_use_bundle
from directory.lookup import effective_instrument, effective_matter
from ledger.errors import InvalidOperation
from ledger.light import TrustedView
from ledger.membership import organisation
from ledger.operations import Context
from ledger.policy import Policy
from ledger.state import StateReader
from ledger.suite import SHA256_ED25519
from licenses.credentials import Credential
from licenses.disclosure import CommittedUse, seal_disclosure, signed_parts
from licenses.issuance import read_package
from licenses.models import License, RecordUse
from licenses.recording import check_use
from licenses.use import STATUTORY_MODE, Basis, Request, RequestEnvelope, SignedApproval
from licenses.use_signing import sign_approval

_SUITE: Final = SHA256_ED25519


def approve(
    request: Annotated[
        Path,
        typer.Argument(metavar="REQUEST-FILE", help="The request by law that a window wrote."),
    ],
    grant: Annotated[
        list[str],
        typer.Option(
            "--license",
            metavar="HANDLE=FIELD,FIELD",
            help="The license, and which of the fields asked for; one for each --ask, in its order.",
        ),
    ],
    approval_out: Annotated[Path, typer.Option(help="File for the approval.", dir_okay=False)],
    defer: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Tell the holder only after this time (30d, 12h, 45m, 10s), 90 days at most; "
            "at once if left out. It is on the record.",
        ),
    ] = None,
    yes: YesOption = False,
    policy: PolicyOption = None,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve a use by law, as second officer of the responsible department.

    What the validators would refuse is refused here, with their code, and no approval is written.
    """
    _absent(approval_out, "--approval-out")
    envelope = read_request(read_bytes(request).decode("ascii", "replace"))
    grants = grants_of(grant)
    time_ms = now_ms()
    notice_after_ms = None if defer is None else time_ms + duration_ms(defer)
    connection = connect(node, key, profile, policy=policy)
    trusted = require_policy(connection.policy)
    asked = envelope.signed.request
    basis = _basis(envelope)
    signed = sign_approval(
        _SUITE,
        connection.require_signer(),
        asked,
        grants,
        expires_ms=asked.expires_ms,
        notice_after_ms=notice_after_ms,
    )
    with connection.client as client:
        state = ProvedState(client, trusted)
        check_approval(state, TrustedView(_SUITE, trusted).chain_id, envelope, signed, time_ms)
    record = describe_approval(state, envelope, basis, signed)
    if not as_json:
        show_record("A use by law, without the holder's consent", record)
        if not yes and not confirm("Do you approve?", "--yes"):
            raise CommandError(
                "nothing was approved", code="not_approved", exit_code=ExitCode.REFUSED
            )
    write_output(approval_out, approval_text(signed).encode())
    use_id = signed.approval.use_id(_SUITE).hex()
    if as_json:
        show_json({"use": use_id, "file": str(approval_out), **record})
    else:
        say(
            f"Approval written to {approval_out}; it counts until {time_text(asked.expires_ms)}. "
            f"The window: mulu license use CASE --approval {approval_out}"
        )


def release(
    use: Annotated[str, typer.Argument(metavar="USE", help="Id of the use, 64 hex digits.")],
    package: Annotated[
        list[Path],
        typer.Option(
            "--package",
            "--credential",
            help="The license's file, as `mulu license issue` wrote it; one for each license.",
            dir_okay=False,
        ),
    ],
    sealed_out: Annotated[Path, typer.Option(help="File for the sealed fields.", dir_okay=False)],
    policy: PolicyOption = None,
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Release the fields of a recorded use by law, as the license's issuer: to a file, sealed.

    Only against the use as the ledger proves it: these fields, readable by the organisation only.
    """
    _absent(sealed_out, "--sealed-out")
    use_id = use_id_of(use)
    credentials = [read_package(_SUITE, _text(path)) for path in package]
    connection = connect(node, key, profile, policy=policy)
    trusted = require_policy(connection.policy)
    with connection.client as client:
        evidence = client.use_evidence(use_id.hex())
    committed, sealed = release_fields(evidence, use_id, trusted, credentials, now_ms())
    write_output(sealed_out, sealed)
    request = committed.request
    if as_json:
        show_json(
            {
                "use": use,
                "file": str(sealed_out),
                "organisation": request.organisation,
                "matter": request.matter,
                "basis": basis_text(request),
                "licenses": _licenses(committed),
            }
        )
        return
    fields = "; ".join(", ".join(used.fields) for used in committed.licenses)
    say(
        f"Released to {request.organisation}, for {request.matter} on {basis_text(request)}: {fields}.\n"
        f"Sealed fields written to {sealed_out}. The window: mulu license receive CASE --sealed "
        f"{sealed_out}"
    )


def grants_of(texts: Sequence[str]) -> tuple[tuple[bytes, tuple[str, ...]], ...]:
    """Read what is granted, each `HANDLE=FIELD,FIELD`, as (handle, fields).

    Raises:
        CommandError: of another form, or a license twice.
    """
    grants = []
    for handle, names in pairs(list(texts), "HANDLE=FIELD,FIELD"):
        fields = tuple(sorted({name.strip() for name in names.split(",") if name.strip()}))
        if not fields:
            raise CommandError(f"no field of license {handle} is named")
        grants.append((handle_of(handle), fields))
    return tuple(grants)


def check_approval(
    state: StateReader,
    chain_id: str,
    envelope: RequestEnvelope,
    approval: SignedApproval,
    time_ms: int,
) -> None:
    """Check a use as validators will, except for who submits it, which an officer cannot know yet.

    Raises:
        CommandError: with the validators' code.
    """
    request = envelope.signed.request
    if not envelope.verify(_SUITE):
        raise CommandError(
            "signature or details of the request do not verify",
            code="licenses.use.bad_request",
            exit_code=ExitCode.REFUSED,
        )
    body = RecordUse(request=envelope.signed.encode(), approval=approval.encode())
    try:
        check_use(state, body, _context(chain_id, request, time_ms))
    except InvalidOperation as error:
        raise CommandError(
            f"the validators would refuse this use ({error.code}): {error.text}",
            code=error.code,
            exit_code=ExitCode.REFUSED,
            hint="No approval was written.",
        ) from None


def _context(chain_id: str, request: Request, time_ms: int) -> Context:
    return Context(
        suite=_SUITE,
        chain_id=chain_id,
        height=0,
        time_ms=time_ms,
        transaction_id=bytes(32),
        operation_index=0,
        signer=request.operator,  # stands for the recorder
        organisation=request.organisation,
        roles=frozenset(("recorder",)),
    )


def describe_approval(
    state: StateReader, envelope: RequestEnvelope, basis: Basis, signed: SignedApproval
) -> dict[str, Any]:
    """Return what the second officer must see of a use before approving it; names are those on the ledger."""
    request, details, given = envelope.signed.request, envelope.details, signed.approval
    asks = organisation(state, request.organisation)
    matter = effective_matter(state, request.matter)
    law = effective_instrument(state, basis.instrument)
    return {
        "organisation": f"{request.organisation} {asks.name if asks else ''}",
        "matter": f"{request.matter} {matter.name if matter else ''}",
        "basis": f"{basis_text(request)}: {law.name if law else ''}",
        "division": request.division,
        "place": details.place,
        "window": details.window,
        "case_number": details.case_number,
        "purpose": details.purpose,
        "asks_for": [f"{item.license_type}: {', '.join(item.fields)}" for item in request.items],
        "grants": [f"{handle.hex()}: {', '.join(fields)}" for handle, fields in given.grants],
        "holder_told": "at once"
        if given.notice_after_ms is None
        else f"after {time_text(given.notice_after_ms)}",
    }


def release_fields(
    evidence: bytes,
    use_id: bytes,
    policy: Policy,
    credentials: Sequence[Credential],
    time_ms: int,
) -> tuple[CommittedUse, bytes]:
    """Return a use that the evidence proves, with its fields sealed to the organisation that recorded it.

    Raises:
        LedgerError: the evidence does not verify, or the policy is too old to rely upon.
        CommandError: not a use by law, or the credentials are not those of its licenses.
    """
    TrustedView(_SUITE, policy).require_fresh(time_ms, time_ms)  # the age of the policy
    use, records = read_use_bundle(evidence, use_id, policy)
    if use.request.mode != STATUTORY_MODE:
        raise CommandError(
            "this use rests on the holder's consent; the holder's wallet discloses",
            code="not_statutory",
            exit_code=ExitCode.REFUSED,
        )
    if not all(verified for _, verified in signed_parts(_SUITE, use)):
        raise CommandError(
            "request or approval of the use is not signed as it should be",
            code="bad_signature",
            exit_code=ExitCode.REFUSED,
        )
    by_handle = {one.handle: one for one in credentials}
    for used in use.licenses:
        _check_credential(by_handle.get(used.handle), used.handle, records)
    unused = set(by_handle) - {used.handle for used in use.licenses}
    if unused:
        raise _not_of_use(f"license {min(unused).hex()} was not used")
    owned = {handle: (credential, None) for handle, credential in by_handle.items()}
    return use, seal_disclosure(_SUITE, use, owned, now_ms=time_ms)


def _check_credential(
    credential: Credential | None, handle: bytes, records: Mapping[bytes, License]
) -> None:
    if credential is None:
        raise _not_of_use(f"no package of license {handle.hex()}", "Give one --package for each.")
    record = records.get(handle)
    problem = "not recorded" if record is None else credential.mismatch(_SUITE, record)
    if problem is not None:
        raise _not_of_use(f"the package is not license {handle.hex()} as recorded: {problem}")


def _not_of_use(text: str, hint: str = "") -> CommandError:
    return CommandError(text, code="other_license", exit_code=ExitCode.REFUSED, hint=hint)


def _basis(envelope: RequestEnvelope) -> Basis:
    basis = envelope.signed.request.basis
    if basis is None:
        raise CommandError(
            "this request asks for the holder's consent, not for an approval",
            hint="The holder: mulu wallet consent REQUEST-FILE --out FILE",
            code="not_statutory",
            exit_code=ExitCode.REFUSED,
        )
    return basis


def _licenses(use: CommittedUse) -> list[dict[str, Any]]:
    return [{"license": one.handle.hex(), "fields": list(one.fields)} for one in use.licenses]


def _absent(path: Path, option: str) -> None:
    if check_output(path).exists():
        raise CommandError(f"{path} exists already", hint=f"Choose another {option}.")


def _text(path: Path) -> str:
    return read_bytes(path).decode("utf-8", "replace")
