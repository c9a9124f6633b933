"""Building and signing requests, consents and approvals: what windows and wallets do, validators never.

What is signed has been decoded from its own encoding before: nobody signs what others would not read.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.suite import Signer, Suite
from licenses.details import RequestDetails
from licenses.use import (
    HOLDER_MODE,
    STATUTORY_MODE,
    Approval,
    Basis,
    Consent,
    Grant,
    Item,
    Request,
    RequestEnvelope,
    SignedApproval,
    SignedConsent,
    SignedRequest,
)


def sign_request(
    suite: Suite,
    signer: Signer,
    *,
    chain_id: str,
    organisation: str,
    sealing_key: bytes,
    matter: str,
    division: str,
    items: Sequence[Item],
    details: RequestDetails,
    nonce: bytes,
    expires_ms: int,
    basis: Basis | None = None,
) -> RequestEnvelope:
    """Build and sign a request; with a `basis` in statutory mode, else in holder mode. `nonce`: 16
    random bytes.

    Raises:
        DecodeError: a part is not well formed.
    """
    request = Request(
        chain_id,
        organisation,
        signer.public_key,
        sealing_key,
        matter,
        division,
        HOLDER_MODE if basis is None else STATUTORY_MODE,
        tuple(Item(item.license_type, tuple(sorted(set(item.fields)))) for item in items),
        basis,
        details.commitment(suite),
        nonce,
        expires_ms,
    )
    RequestDetails.decode(details.encode())
    request = Request.decode(request.encode())
    return RequestEnvelope(SignedRequest(request, signer.sign(request.signed_bytes())), details)


def sign_consent(
    suite: Suite,
    request: Request,
    grants: Sequence[tuple[bytes, Sequence[str], bytes, Signer]],
    *,
    expires_ms: int,
) -> SignedConsent:
    """Build and sign a consent; `grants` are (handle, fields, holder salt, holder's signer), one an
    item, in order."""
    consent = Consent(
        request.chain_id,
        request.hash(suite),
        tuple(
            Grant(handle, tuple(sorted(set(names))), signer.public_key, salt)
            for handle, names, salt, signer in grants
        ),
        expires_ms,
    )
    consent = Consent.decode(consent.encode())
    message = consent.signed_bytes()
    return SignedConsent(consent, tuple(signer.sign(message) for *_, signer in grants))


def sign_approval(
    suite: Suite,
    signer: Signer,
    request: Request,
    grants: Sequence[tuple[bytes, Sequence[str]]],
    *,
    expires_ms: int,
    notice_after_ms: int | None = None,
) -> SignedApproval:
    """Build and sign an approval of a statutory request; `grants` are (handle, fields), one an
    item, in order."""
    approval = Approval(
        request.chain_id,
        request.hash(suite),
        signer.public_key,
        tuple((handle, tuple(sorted(set(names)))) for handle, names in grants),
        notice_after_ms,
        expires_ms,
    )
    approval = Approval.decode(approval.encode())
    return SignedApproval(approval, signer.sign(approval.signed_bytes()))
