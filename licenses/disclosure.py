"""Disclosure: fields leave a wallet, or an issuer's document service, only against a committed use.

A *committed use* is read from a log entry that has been proved to be in the log, under a checkpoint of a quorum
(`ledger.light`). It tells everything that disclosing needs: to which organisation, sealed to which key (validators
compared it with the registered one), of which licenses, which fields. What is disclosed are presentations of the
credentials, bound to the request; the receiver checks each against the same use and the ledger's record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from ledger.codec import decode_array, encode
from ledger.decoding import hash_field, items
from ledger.entries import TransactionEntry
from ledger.errors import DecodeError, InvalidProof, InvalidSignature
from ledger.keys import SealingKey, seal
from ledger.light import VerifiedEntry
from ledger.strict_json import Json
from ledger.suite import PublicKey, Signer, Suite
from ledger.transactions import Operation, Transaction, decode_transaction
from licenses.credentials import Credential, present, read_credential
from licenses.models import License, RecordUse
from licenses.recording import RECORD_KIND
from licenses.sd_jwt import MAX_SD_JWT_BYTES
from licenses.use import (
    HOLDER_MODE,
    MAX_ITEMS,
    Consent,
    Request,
    SignedApproval,
    SignedConsent,
    SignedRequest,
)

MAX_DISCLOSURE_BYTES: Final = MAX_ITEMS * MAX_SD_JWT_BYTES


@dataclass(frozen=True, slots=True)
class UsedLicense:
    """One license of a use: its handle, the fields granted, and the holder's key in holder mode."""

    handle: bytes
    fields: tuple[str, ...]
    holder: PublicKey | None


@dataclass(frozen=True, slots=True)
class CommittedUse:
    """A use as the log holds it. `id` names it (`Consent.use_id`); `index` is its place in the log.

    It has a consent in holder mode, an approval in statutory mode.
    """

    id: bytes
    signed_request: SignedRequest
    signed_consent: SignedConsent | None
    signed_approval: SignedApproval | None
    licenses: tuple[UsedLicense, ...]
    transaction_id: bytes
    operation_index: int
    height: int
    index: int

    @property
    def request(self) -> Request:
        """The request that was answered."""
        return self.signed_request.request

    @property
    def consent(self) -> Consent | None:
        """The holder's consent; None in statutory mode."""
        return None if self.signed_consent is None else self.signed_consent.consent

    @property
    def notice_after_ms(self) -> int | None:
        """Until when the holder is not told; None where the holder is told at once."""
        return (
            None if self.signed_approval is None else self.signed_approval.approval.notice_after_ms
        )

    @property
    def nonce(self) -> str:
        """What presentations for this use are bound to."""
        return self.id.hex()


def committed_use(
    suite: Suite, verified: VerifiedEntry, chain_id: str, use_id: bytes
) -> CommittedUse:
    """Find a use in a verified log entry.

    Raises:
        InvalidProof: the entry is no transaction that took effect, of another chain, or records no such use.
    """
    entry = verified.entry
    if not isinstance(entry, TransactionEntry) or entry.code != "":
        raise InvalidProof("the entry is no transaction that took effect")
    try:
        transaction = decode_transaction(suite, entry.transaction)
    except DecodeError as error:
        raise InvalidProof(str(error)) from None
    if transaction.chain_id != chain_id:
        raise InvalidProof(f"a transaction of chain {transaction.chain_id}")
    for use in uses_in(suite, transaction, entry.height, verified.index):
        if use.id == use_id:
            return use
    raise InvalidProof(f"the transaction records no use {use_id.hex()}")


def uses_in(
    suite: Suite, transaction: Transaction, height: int, index: int
) -> tuple[CommittedUse, ...]:
    """Return the uses that a transaction which took effect recorded, in order."""
    found = (
        _use_of(suite, operation, transaction.id, position, height, index)
        for position, operation in enumerate(transaction.operations)
        if operation.kind == RECORD_KIND
    )
    return tuple(use for use in found if use is not None)


def _use_of(
    suite: Suite,
    operation: Operation,
    transaction_id: bytes,
    position: int,
    height: int,
    index: int,
) -> CommittedUse | None:
    try:
        body = RecordUse.model_validate(operation.body)
        request = SignedRequest.decode(body.request)
        consent = None if body.consent is None else SignedConsent.decode(body.consent)
        approval = None if body.approval is None else SignedApproval.decode(body.approval)
    except (ValidationError, DecodeError):
        return None  # validators let no such operation take effect
    if (consent is not None) != (request.request.mode == HOLDER_MODE) or (consent and approval):
        return None
    if consent is not None:
        use_id = consent.consent.use_id(suite)
    elif approval is not None:
        use_id = approval.approval.use_id(suite)
    else:
        return None
    return CommittedUse(
        use_id,
        request,
        consent,
        approval,
        _licenses(consent, approval),
        transaction_id,
        position,
        height,
        index,
    )


def _licenses(
    consent: SignedConsent | None, approval: SignedApproval | None
) -> tuple[UsedLicense, ...]:
    if consent is not None:
        grants = consent.consent.grants
        return tuple(UsedLicense(each.handle, each.fields, each.holder) for each in grants)
    granted = () if approval is None else approval.approval.grants
    return tuple(UsedLicense(handle, fields, None) for handle, fields in granted)


def signed_parts(suite: Suite, use: CommittedUse) -> tuple[tuple[str, bool], ...]:
    """Return the signed parts of a use, each with whether its signatures verify and it is of this request."""
    request_hash = use.request.hash(suite)
    parts = [("request", use.signed_request.verify(suite))]
    if use.signed_consent is not None:
        bound = use.signed_consent.consent.request_hash == request_hash
        parts.append(("consent", bound and use.signed_consent.verify(suite)))
    if use.signed_approval is not None:
        bound = use.signed_approval.approval.request_hash == request_hash
        parts.append(("approval", bound and use.signed_approval.verify(suite)))
    return tuple(parts)


def seal_disclosure(
    suite: Suite,
    use: CommittedUse,
    credentials: Mapping[bytes, tuple[Credential, Signer | None]],
    *,
    now_ms: int,
) -> bytes:
    """Return the fields of a committed use, sealed to the organisation that recorded it.

    `credentials` maps handles to the credential and, in a wallet, the holder's signer. An issuer's document service
    has none and may answer uses in statutory mode only.

    Raises:
        InvalidProof: a credential is missing, or is not what the use grants.
    """
    texts = []
    for used in use.licenses:
        credential, signer = credentials.get(used.handle, (None, None))
        if credential is None:
            raise InvalidProof(f"no credential for license {used.handle.hex()}")
        if credential.chain_id != use.request.chain_id or credential.handle != used.handle:
            raise InvalidProof("the credential is not the license that was used")
        binding = None
        if use.consent is not None:
            if signer is None or signer.public_key != used.holder:
                raise InvalidProof("only the holder discloses what the holder consented to")
            binding = (signer, use.request.organisation, use.nonce, now_ms)
        texts.append(present(suite, credential, used.fields, binding=binding))
    return seal(use.request.sealing_key, encode((use.id, tuple(texts))))


@dataclass(frozen=True, slots=True)
class DisclosedLicense:
    """What an organisation received of one license, all checks passed."""

    handle: bytes
    license_type: str
    fields: Mapping[str, Json]
    presentation: str


def open_disclosure(
    suite: Suite,
    key: SealingKey,
    sealed: bytes,
    use: CommittedUse,
    records: Mapping[bytes, License],
) -> tuple[DisclosedLicense, ...]:
    """Open what was disclosed for a use and check every part of it.

    `records` are the ledger's records of the licenses, proved (`ledger.light`).

    Raises:
        DecodeError: not sealed to this key, or malformed.
        InvalidSignature: an issuer's signature or a key binding does not verify.
        InvalidProof: it belongs to another use, shows other fields, or differs from the ledger's record.
    """
    if len(sealed) > MAX_DISCLOSURE_BYTES:
        raise DecodeError("too long for a disclosure")
    use_id, texts = decode_array(key.open(sealed), 2)
    if hash_field(use_id, "use") != use.id:
        raise InvalidProof("a disclosure for another use")
    listed: Sequence[Any] = items(texts, "presentations", MAX_ITEMS, len(use.licenses))
    return tuple(
        _check_presentation(suite, text, used, use, records)
        for text, used in zip(listed, use.licenses, strict=True)
    )


def _check_presentation(
    suite: Suite, text: Any, used: UsedLicense, use: CommittedUse, records: Mapping[bytes, License]
) -> DisclosedLicense:
    if type(text) is not str:
        raise DecodeError("a presentation is a text")
    credential = read_credential(suite, text)
    credential.verify_issuer(suite)
    if credential.chain_id != use.request.chain_id or credential.handle != used.handle:
        raise InvalidProof("the presentation is of another license")
    record = records.get(used.handle)
    if record is None:
        raise InvalidProof("no record of the license to compare with")
    problem = credential.mismatch(suite, record)
    if problem is not None:
        raise InvalidProof(f"the ledger's record differs: {problem}")
    if used.holder is not None:
        if credential.holder != used.holder:
            raise InvalidSignature("the credential is bound to another key than consented")
        credential.verify_key_binding(suite, audience=use.request.organisation, nonce=use.nonce)
    beyond = sorted(set(credential.fields) - set(used.fields))
    if beyond or credential.identifier is not None:
        raise InvalidProof(f"more is shown than was granted: {', '.join(beyond)}")
    return DisclosedLicense(used.handle, credential.license_type, credential.fields, text)
