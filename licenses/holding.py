"""What a wallet holds and what it does with it, without any I/O: offers, licenses, consents, disclosures, receipts.

A wallet makes a fresh key for every license, so that no two of its licenses share a key on the ledger. It consents to
a request only after checking it, once, and keeps a receipt from that moment on. It discloses only what it consented
to, and only when shown that the use is committed, under a policy (`licenses.trust`) that is not too old.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from ledger.codec import Value, decode, encode
from ledger.entries import BlockEntry
from ledger.errors import DecodeError, InvalidProof, LedgerError
from ledger.keys import SealingKey, SoftwareSigner
from ledger.light import VerifiedBundle
from ledger.suite import HASH_BYTES, PublicKey, Suite
from licenses.credentials import Credential, read_credential
from licenses.disclosure import CommittedUse, committed_use, seal_disclosure
from licenses.issuance import HolderOffer, make_offer, read_package
from licenses.use import HOLDER_MODE, MAX_REQUEST_LIFETIME_MS, RequestEnvelope, SignedConsent
from licenses.use_signing import sign_consent

VERSION: Final = 2

MAX_HELD: Final = 1_000
"""Licenses, offers and sessions, each: far more than a person or an enterprise has."""

MAX_VAULT_BYTES: Final = 8 * 1024 * 1024
"""What the codec decodes at once."""

MAX_KEYS_BYTES: Final = MAX_VAULT_BYTES // 2
"""For licenses, keys and policies. Receipts have the rest: once old ones are exported one can always consent."""

MAX_RECEIPTS: Final = 2_000
"""About 1 KiB each, 16 KiB at most. Of one that was exported and removed 32 bytes stay: room for 100,000 of them."""

FULL: Final = "no room for another receipt; `mulu wallet receipts --export DIRECTORY --remove-exported` makes some"

ReceiptState = Literal["consented", "refused", "recorded", "disclosed"]


class WalletError(LedgerError):
    """The wallet does not do what it was asked. `code` is stable, the text is for the holder."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A holder's key with the salt of its commitment. `secret` is for the vault only."""

    algorithm: str
    secret: bytes
    salt: bytes

    def signer(self) -> SoftwareSigner:
        return SoftwareSigner.from_secret(self.algorithm, self.secret)


@dataclass(frozen=True, slots=True)
class HeldOffer:
    """A key offered to an issuer, not yet bound to a license."""

    issuer: str
    key: HeldKey


@dataclass(frozen=True, slots=True)
class HeldLicense:
    """A license in the wallet: its credential and the holder's key; None for an unbound license."""

    credential: Credential
    key: HeldKey | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the holder keeps of a use, or of a refusal, which the request's hash names instead.

    `request` and `consent` are encoded; None where a use was statutory. `bundle` is the digest of the evidence of the
    committed use, once the wallet has seen it.
    """

    use_id: bytes
    request_hash: bytes | None
    state: ReceiptState
    time_ms: int
    licenses: tuple[bytes, ...]
    request: bytes | None
    consent: bytes | None
    transaction_id: bytes | None
    height: int | None
    bundle: bytes | None

    def envelope(self) -> RequestEnvelope | None:
        """Return the request with its details, as the holder saw it."""
        return None if self.request is None else RequestEnvelope.decode(self.request)


@dataclass(frozen=True, slots=True)
class RemovedUses:
    """Recorded uses of a license whose receipts were exported and removed: neither fetched again, nor missed."""

    license: bytes
    uses: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Holding:
    """All that a wallet holds."""

    chain_id: str
    policy: bytes
    offers: tuple[HeldOffer, ...] = ()
    licenses: tuple[HeldLicense, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    sessions: tuple[bytes, ...] = ()
    """Secrets of the sealing keys of open one-time-code sessions."""
    former: tuple[bytes, ...] = ()
    """Policies of earlier validators, oldest first: kept evidence verifies under these."""
    removed: tuple[RemovedUses, ...] = ()

    def license(self, handle: bytes) -> HeldLicense | None:
        return next((each for each in self.licenses if each.credential.handle == handle), None)

    def receipt(self, use_id: bytes) -> Receipt | None:
        return next((each for each in self.receipts if each.use_id == use_id), None)

    def has_evidence(self, use_id: bytes) -> bool:
        """Tell whether the wallet has, or had and exported, evidence that a use is recorded."""
        receipt = self.receipt(use_id)
        if receipt is not None:
            return receipt.bundle is not None
        return any(use_id in each.uses for each in self.removed)

    def encode(self) -> bytes:
        """Return the canonical encoding; it holds secrets."""
        return encode(
            (
                VERSION,
                self.chain_id,
                self.policy,
                tuple((each.issuer, *_key_value(each.key)) for each in self.offers),
                tuple(
                    (
                        str(each.credential.sd_jwt),
                        None if each.key is None else _key_value(each.key),
                    )
                    for each in self.licenses
                ),
                tuple(
                    tuple(getattr(each, name) for name in Receipt.__dataclass_fields__)
                    for each in self.receipts
                ),
                self.sessions,
                self.former,
                tuple((each.license, b"".join(sorted(each.uses))) for each in self.removed),
            )
        )

    @staticmethod
    def decode(suite: Suite, data: bytes) -> Holding:
        """Read what `encode` wrote; it comes from the wallet's own sealed vault.

        Raises:
            DecodeError: not a holding.
        """
        value: Any = decode(data)
        version, *parts = value if isinstance(value, tuple) and value else (None,)
        if version == 1 and len(parts) == 6:
            parts += ((), ())  # before policies were renewed and receipts removed
        elif version != VERSION or len(parts) != 8:
            raise DecodeError(f"a wallet of version {version!r}; this program reads {VERSION}")
        chain_id, policy, offers, licenses, receipts, sessions, former, removed = parts
        return Holding(
            chain_id,
            policy,
            tuple(HeldOffer(issuer, HeldKey(*key)) for issuer, *key in offers),
            tuple(
                HeldLicense(read_credential(suite, text), None if key is None else HeldKey(*key))
                for text, key in licenses
            ),
            tuple(Receipt(*receipt) for receipt in receipts),
            sessions,
            former,
            tuple(RemovedUses(license_, _split(uses)) for license_, uses in removed),
        )


@dataclass(frozen=True, slots=True)
class Candidates:
    """What an item of a request asks for, and the holder's licenses that could answer it."""

    license_type: str
    fields: tuple[str, ...]
    licenses: tuple[HeldLicense, ...]


def offer_key(holding: Holding, issuer: str, key: HeldKey) -> tuple[Holding, HolderOffer]:
    """Offer a fresh key to an issuer.

    Raises:
        WalletError: too many open offers.
    """
    if len(holding.offers) >= MAX_HELD:
        raise WalletError("wallet.full", "too many open offers")
    offer = make_offer(key.signer(), holding.chain_id, issuer, key.salt)
    changed = replace(holding, offers=(*holding.offers, HeldOffer(issuer, key)))
    return _with_room(changed), offer


def add_license(suite: Suite, holding: Holding, package: str) -> tuple[Holding, HeldLicense]:
    """Take in a credential. A bound one must be bound to a key that this wallet offered to its issuer.

    Raises:
        DecodeError: not a credential.
        InvalidSignature: the issuer's signature does not verify.
        WalletError: another chain, another's key, or held already.
    """
    credential = read_package(suite, package)
    if credential.chain_id != holding.chain_id:
        raise WalletError("wallet.other_chain", f"the license is of {credential.chain_id}")
    if not credential.opens_handle(suite):
        raise WalletError("wallet.incomplete", "the credential does not open its own handle")
    known = holding.license(credential.handle)
    if known is not None and (known.key is not None or credential.holder is None):
        raise WalletError("wallet.held", "this license is in the wallet already")
    if len(holding.licenses) >= MAX_HELD:
        raise WalletError("wallet.full", "the wallet is full")
    offer = _offer_of(holding, credential.holder, credential.issuer)
    held = HeldLicense(credential, None if offer is None else offer.key)
    others = tuple(each for each in holding.licenses if each is not known)
    offers = tuple(each for each in holding.offers if each is not offer)
    return _with_room(replace(holding, licenses=(*others, held), offers=offers)), held


def _offer_of(holding: Holding, key: PublicKey | None, issuer: str) -> HeldOffer | None:
    if key is None:
        return None
    for offer in holding.offers:
        if offer.issuer == issuer and offer.key.signer().public_key == key:
            return offer
    raise WalletError(
        "wallet.not_ours", "the license is bound to a key that this wallet never offered"
    )


def review(
    suite: Suite, holding: Holding, envelope: RequestEnvelope, now_ms: int
) -> tuple[Candidates, ...]:
    """Check a request and return, for each of its items, the licenses that could answer it.

    Raises:
        WalletError: `wallet.bad_request` (other chain, bad signature, details that do not match, not for a holder),
            `wallet.request_expired`, `wallet.answered`.
    """
    request = envelope.signed.request
    if request.chain_id != holding.chain_id:
        raise WalletError("wallet.bad_request", f"the request is for chain {request.chain_id}")
    if not envelope.verify(suite):
        raise WalletError("wallet.bad_request", "signature or details of the request do not verify")
    if request.mode != HOLDER_MODE:
        raise WalletError("wallet.bad_request", "this request asks for no consent")
    if now_ms >= request.expires_ms:
        raise WalletError("wallet.request_expired", "the request has expired")
    if request.expires_ms > now_ms + 2 * MAX_REQUEST_LIFETIME_MS:
        raise WalletError("wallet.bad_request", "the request lasts too long")
    request_hash = request.hash(suite)
    if any(receipt.request_hash == request_hash for receipt in holding.receipts):
        raise WalletError("wallet.answered", "this request has been answered already")
    return tuple(
        Candidates(
            item.license_type,
            item.fields,
            tuple(
                each
                for each in holding.licenses
                if each.credential.license_type == item.license_type and each.key is not None
            ),
        )
        for item in request.items
    )


def consent(
    suite: Suite,
    holding: Holding,
    envelope: RequestEnvelope,
    *,
    now_ms: int,
    handles: Sequence[bytes] | None = None,
    fields: Sequence[Sequence[str]] | None = None,
) -> tuple[Holding, SignedConsent]:
    """Consent to a request, with a receipt. One answers a request once.

    `handles` chooses a license for each item, needed where several could answer; `fields` narrows what each item
    asks for, in order.

    Raises:
        WalletError: as `review`; `wallet.no_license`, `wallet.choose_license`, `wallet.not_asked`.
    """
    candidates = review(suite, holding, envelope, now_ms)
    request = envelope.signed.request
    chosen = [_choose(item, handles, at) for at, item in enumerate(candidates)]
    asked = [item.fields for item in request.items]
    granted = asked if fields is None else [tuple(sorted(set(each))) for each in fields]
    if len(granted) != len(asked) or any(
        not mine or not set(mine) <= set(theirs)
        for mine, theirs in zip(granted, asked, strict=True)
    ):
        raise WalletError(
            "wallet.not_asked", "grant at least one of the fields asked for, no other"
        )
    grants = []
    for held, names in zip(chosen, granted, strict=True):
        assert held.key is not None, "only bound licenses are candidates"
        grants.append((held.credential.handle, names, held.key.salt, held.key.signer()))
    signed = sign_consent(suite, request, grants, expires_ms=request.expires_ms)
    receipt = Receipt(
        signed.consent.use_id(suite),
        signed.consent.request_hash,
        "consented",
        now_ms,
        tuple(each.credential.handle for each in chosen),
        envelope.encode(),
        signed.encode(),
        None,
        None,
        None,
    )
    return _with_receipt(holding, receipt), signed


def refuse(suite: Suite, holding: Holding, envelope: RequestEnvelope, now_ms: int) -> Holding:
    """Refuse a request, with a receipt.

    Raises:
        WalletError: as `review`.
    """
    review(suite, holding, envelope, now_ms)
    named = envelope.signed.request.hash(suite)
    encoded = envelope.encode()
    receipt = Receipt(named, named, "refused", now_ms, (), encoded, None, None, None, None)
    return _with_receipt(holding, receipt)


def _choose(item: Candidates, handles: Sequence[bytes] | None, at: int) -> HeldLicense:
    if handles is not None and at < len(handles):
        for held in item.licenses:
            if held.credential.handle == handles[at]:
                return held
        raise WalletError("wallet.no_license", "the chosen license does not answer the request")
    if not item.licenses:
        raise WalletError("wallet.no_license", f"no license of type {item.license_type}")
    if len(item.licenses) > 1:
        raise WalletError("wallet.choose_license", f"choose one of type {item.license_type}")
    return item.licenses[0]


def find_use(
    suite: Suite, holding: Holding, evidence: VerifiedBundle, use_id: bytes
) -> CommittedUse:
    """Return a use that verified evidence shows to be committed.

    Raises:
        WalletError: `wallet.not_committed`.
    """
    for verified in evidence.entries:
        try:
            return committed_use(suite, verified, holding.chain_id, use_id)
        except InvalidProof:
            continue
    raise WalletError("wallet.not_committed", "the evidence does not show that the use is recorded")


def note_use(
    suite: Suite, holding: Holding, evidence: VerifiedBundle, bundle: bytes, use_id: bytes
) -> Holding:
    """Keep the receipt of a committed use of one's own licenses, also of one that nobody asked the holder about.

    `evidence` is what `bundle` shows, verified.

    Raises:
        WalletError: `wallet.not_committed`, `wallet.not_ours`, `wallet.removed`, `wallet.full`.
    """
    use = find_use(suite, holding, evidence, use_id)
    ours = tuple(each.handle for each in use.licenses if holding.license(each.handle) is not None)
    if not ours:
        raise WalletError("wallet.not_ours", "the use is of nobody's license here")
    known = holding.receipt(use_id)
    if known is None and holding.has_evidence(use_id):
        raise WalletError("wallet.removed", "the receipt of this use was exported and removed")
    if known is not None and known.state == "disclosed":
        return holding
    receipt = Receipt(
        use_id,
        None if known is None else known.request_hash,
        "recorded",
        _block_time(evidence, use.height) or (0 if known is None else known.time_ms),
        ours,
        None if known is None else known.request,
        None if known is None else known.consent,
        use.transaction_id,
        use.height,
        suite.digest(bundle),
    )
    return _with_receipt(holding, receipt)


def disclose(
    suite: Suite,
    holding: Holding,
    evidence: VerifiedBundle,
    bundle: bytes,
    use_id: bytes,
    now_ms: int,
) -> tuple[Holding, bytes]:
    """Return the fields of a committed use, sealed to the organisation, with a receipt.

    Raises:
        WalletError: `wallet.not_committed`, `wallet.not_consented`.
        InvalidProof: the use is of other licenses than the wallet holds.
    """
    use = find_use(suite, holding, evidence, use_id)
    receipt = holding.receipt(use_id)
    if receipt is None or receipt.consent is None or use.signed_consent is None:
        raise WalletError("wallet.not_consented", "the holder consented to no such use")
    if use.signed_consent.encode() != receipt.consent:
        raise WalletError("wallet.not_consented", "recorded with another consent than given")
    credentials = {}
    for used in use.licenses:
        held = holding.license(used.handle)
        if held is not None and held.key is not None:
            credentials[used.handle] = (held.credential, held.key.signer())
    sealed = seal_disclosure(suite, use, credentials, now_ms=now_ms)
    noted = note_use(suite, holding, evidence, bundle, use_id)
    kept = noted.receipt(use_id)
    assert kept is not None, "a use that was just noted"
    return _with_receipt(noted, replace(kept, state="disclosed")), sealed


def open_request(holding: Holding, sealed: bytes) -> RequestEnvelope:
    """Open a request that was sealed to one of the wallet's open sessions.

    Raises:
        WalletError: `wallet.bad_request`.
    """
    for secret in holding.sessions:
        try:
            return RequestEnvelope.decode(SealingKey.from_secret(secret).open(sealed))
        except DecodeError:
            continue
    raise WalletError("wallet.bad_request", "no request for an open session of this wallet")


def _with_receipt(holding: Holding, receipt: Receipt) -> Holding:
    others = tuple(each for each in holding.receipts if each.use_id != receipt.use_id)
    if len(others) >= MAX_RECEIPTS:
        raise WalletError("wallet.full", FULL)
    return replace(holding, receipts=(*others, receipt))


def _with_room(holding: Holding) -> Holding:
    """Return what the wallet shall hold if that leaves receipts their room.

    Raises:
        WalletError: `wallet.full`.
    """
    if len(replace(holding, receipts=(), removed=()).encode()) > MAX_KEYS_BYTES:
        raise WalletError("wallet.full", "too many licenses for one wallet; keep some in another")
    return holding


def _split(uses: bytes) -> frozenset[bytes]:
    return frozenset(uses[at : at + HASH_BYTES] for at in range(0, len(uses), HASH_BYTES))


def _block_time(evidence: VerifiedBundle, height: int) -> int | None:
    for verified in evidence.entries:
        if isinstance(verified.entry, BlockEntry) and verified.entry.height == height:
            return verified.entry.time_ms
    return None


def _key_value(key: HeldKey) -> tuple[Value, ...]:
    return (key.algorithm, key.secret, key.salt)
