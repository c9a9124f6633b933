"""The wallet on disk: a home of its own, with one sealing key and one encrypted vault. The only I/O of this layer.

    <home>/wallet.key      X25519 key, encrypted with the passphrase (ledger.keyfile), mode 0600
    <home>/wallet.vault    everything else (`licenses.holding`), encrypted with a key derived from it, mode 0600
    <home>/bundles/<use>   evidence of recorded uses, encrypted likewise
    <home>/wallet.lock     held while the vault is changed, so that two processes may share a wallet

Every change reads the vault under the lock, replaces it atomically and syncs it before anything leaves the wallet: a
consent or a disclosure that others have seen is in the receipts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import nacl.exceptions
import nacl.secret
import nacl.utils

from ledger import keyfile
from ledger.bundle import ValidatorChange
from ledger.checkpoints import SignedCheckpoint
from ledger.codec import encode
from ledger.errors import LedgerError
from ledger.files import replace_file
from ledger.keys import SealingKey, SoftwareSigner
from ledger.light import VerifiedBundle, open_bundle
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519, Suite, signed_bytes
from licenses import holding, receipts, trust
from licenses.disclosure import CommittedUse
from licenses.handles import SALT_BYTES
from licenses.holding import (
    FULL,
    MAX_VAULT_BYTES,
    Candidates,
    HeldKey,
    HeldLicense,
    Holding,
    Receipt,
    WalletError,
)
from licenses.issuance import HolderOffer
from licenses.models import License, license_key
from licenses.use import RequestEnvelope, SignedConsent

KEY_FILE: Final = "wallet.key"
VAULT_FILE: Final = "wallet.vault"
BUNDLES: Final = "bundles"
LOCK_FILE: Final = "wallet.lock"

VAULT_KIND: Final = "wallet"

MAX_FILE_BYTES: Final = MAX_VAULT_BYTES + 1024
"""With prefix, nonce and authenticator."""

T = TypeVar("T")


class Wallet:
    """A holder's wallet. Every method that changes something has saved it before it returns."""

    def __init__(self, home: Path, key: SealingKey, suite: Suite) -> None:
        """For `create` and `open` only."""
        self.home: Final = home
        self.suite: Final = suite
        derived = suite.hash("wallet-vault-key", encode(key.secret))
        self._box = nacl.secret.SecretBox(derived)

    @staticmethod
    def create(
        home: Path,
        passphrase: str,
        *,
        chain_id: str,
        policy: bytes,
        now_ms: int,
        suite: Suite = SHA256_ED25519,
    ) -> Wallet:
        """Set up a wallet in a new or empty directory. `policy` is the policy file that it trusts.

        Raises:
            WalletError: there is a wallet already, the directory cannot be written, or as `replace_policy`.
            NotEstablishedError: as `replace_policy`.
            DecodeError: the policy is not one.
        """
        trust.require_usable(suite, chain_id, Policy.parse(suite, policy), now_ms)
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise WalletError("wallet.home", f"{home}: {error.strerror}") from None
        if (home / KEY_FILE).exists():
            raise WalletError("wallet.exists", f"{home} holds a wallet already")
        key = SealingKey.generate()
        keyfile.save_sealing_key(home / KEY_FILE, key, passphrase)
        wallet = Wallet(home, key, suite)
        with wallet._locked():
            wallet._save(Holding(chain_id, policy))
        return wallet

    @staticmethod
    def open(home: Path, passphrase: str, *, suite: Suite = SHA256_ED25519) -> Wallet:
        """Open a wallet.

        Raises:
            WalletError: there is none.
            KeyFileError: wrong passphrase, or a damaged or exposed key file.
        """
        if not (home / KEY_FILE).exists():
            raise WalletError("wallet.none", f"no wallet in {home}; make one with wallet init")
        return Wallet(home, keyfile.load_sealing_key(home / KEY_FILE, passphrase), suite)

    def read(self) -> Holding:
        """Return what the wallet holds now.

        Raises:
            WalletError: the vault is missing, damaged or exposed.
        """
        try:
            return Holding.decode(self.suite, self._unseal(self.home / VAULT_FILE))
        except (LedgerError, ValueError, TypeError) as error:
            if isinstance(error, WalletError):
                raise
            raise WalletError("wallet.damaged", f"{self.home / VAULT_FILE}: {error}") from None

    def offer(self, issuer: str, algorithm: str = "ed25519") -> HolderOffer:
        """Make a fresh key and offer it to an issuer (its USCC); what is returned goes to the issuer."""
        secret = SoftwareSigner.generate(algorithm).secret
        key = HeldKey(algorithm, secret, nacl.utils.random(SALT_BYTES))
        return self._change(lambda held: holding.offer_key(held, issuer, key))

    def add(self, package: str) -> HeldLicense:
        """Take in a license from its issuer's package."""
        return self._change(lambda held: holding.add_license(self.suite, held, package))

    def remove(self, handle: bytes) -> None:
        """Remove a license with its key; receipts stay.

        Raises:
            WalletError: `wallet.no_license`.
        """

        def change(held: Holding) -> tuple[Holding, None]:
            gone = held.license(handle)
            if gone is None:
                raise WalletError("wallet.no_license", f"no license {handle.hex()}")
            left = tuple(each for each in held.licenses if each is not gone)
            return replace(held, licenses=left), None

        self._change(change)

    def licenses(self) -> tuple[HeldLicense, ...]:
        """Return the licenses, in the order in which they were added."""
        return self.read().licenses

    def receipts(self) -> tuple[Receipt, ...]:
        """Return the receipts, oldest first."""
        return tuple(sorted(self.read().receipts, key=lambda each: each.time_ms))

    def open_session(self, *, now_ms: int) -> SealingKey:
        """Make the sealing key of a one-time-code session; its public part goes to the relay.

        Raises:
            NotEstablishedError: the policy is too old, so that nothing could be disclosed in the end.
        """
        key = SealingKey.generate()

        def change(held: Holding) -> tuple[Holding, SealingKey]:
            trust.require_reliance(self.suite, held, now_ms, now_ms)
            kept = held.sessions[-15:]  # a session lives two minutes
            return _with_sessions(held, (*kept, key.secret)), key

        return self._change(change)

    def open_request(self, sealed: bytes) -> RequestEnvelope:
        """Open a request that came through a session."""
        return holding.open_request(self.read(), sealed)

    def review(self, envelope: RequestEnvelope, now_ms: int) -> tuple[Candidates, ...]:
        """Check a request; return what could answer each of its items."""
        return holding.review(self.suite, self.read(), envelope, now_ms)

    def consent(
        self,
        envelope: RequestEnvelope,
        *,
        now_ms: int,
        handles: Sequence[bytes] | None = None,
        fields: Sequence[Sequence[str]] | None = None,
    ) -> SignedConsent:
        """Consent to a request; the receipt is on disk before the consent is returned.

        Raises:
            WalletError: as `holding.consent`.
            NotEstablishedError: the policy is too old, or will be while the use may be recorded: it would be recorded,
                and count, and its fields never be disclosed.
        """

        def change(held: Holding) -> tuple[Holding, SignedConsent]:
            changed = holding.consent(
                self.suite, held, envelope, now_ms=now_ms, handles=handles, fields=fields
            )
            expires_ms = envelope.signed.request.expires_ms
            trust.require_reliance(self.suite, held, now_ms, expires_ms)
            return changed

        return self._change(change)

    def refuse(self, envelope: RequestEnvelope, *, now_ms: int) -> None:
        """Refuse a request; it cannot be consented to afterwards."""
        self._change(lambda held: (holding.refuse(self.suite, held, envelope, now_ms), None))

    def disclose(self, bundle: bytes, use_id: bytes, *, now_ms: int) -> bytes:
        """Return the fields of a committed use, sealed to the organisation; `bundle` shows that it is committed.

        Raises:
            WalletError: not committed, or not consented to.
            LedgerError: the bundle does not verify under the wallet's policy, or that is too old.
        """

        def change(held: Holding) -> tuple[Holding, bytes]:
            evidence = self._verified(held, bundle, now_ms)
            changed = holding.disclose(self.suite, held, evidence, bundle, use_id, now_ms)
            self._save_bundle(use_id, bundle)
            return changed

        return self._change(change)

    def note_use(self, bundle: bytes, use_id: bytes, *, now_ms: int) -> Receipt:
        """Keep the receipt of a committed use of one's own license.

        Raises:
            WalletError: not committed, or of nobody's license here.
            LedgerError: as `disclose`.
        """

        def change(held: Holding) -> tuple[Holding, Receipt]:
            evidence = self._verified(held, bundle, now_ms)
            noted = holding.note_use(self.suite, held, evidence, bundle, use_id)
            receipt = noted.receipt(use_id)
            assert receipt is not None, "just noted"
            self._save_bundle(use_id, bundle)
            return noted, receipt

        return self._change(change)

    def holder_key(self, handle: bytes) -> tuple[SoftwareSigner, bytes]:
        """Return signer and commitment salt of a license: what a holder's token for the API is made with."""
        held = self.read().license(handle)
        if held is None or held.key is None:
            raise WalletError("wallet.no_license", f"no bound license {handle.hex()}")
        return held.key.signer(), held.key.salt

    def bundle(self, use_id: bytes, held: Holding | None = None) -> bytes:
        """Return the evidence of a use that the wallet has a receipt of. `held` is what was read before, if anything.

        Raises:
            WalletError: there is none, or it is damaged.
        """
        receipt = (held or self.read()).receipt(use_id)
        if receipt is None or receipt.bundle is None:
            raise WalletError("wallet.no_receipt", f"no evidence of use {use_id.hex()}")
        data = self._unseal(self._bundle_path(use_id))
        if self.suite.digest(data) != receipt.bundle:
            raise WalletError("wallet.damaged", f"{self._bundle_path(use_id)}: not what was kept")
        return data

    def recorded_use(self, use_id: bytes, held: Holding | None = None) -> CommittedUse:
        """Return a use as its kept evidence shows it, also one that the holder was never asked about.

        Raises:
            WalletError: as `bundle`.
            LedgerError: the evidence verifies under none of the policies that the wallet has had.
        """
        held = held or self.read()
        evidence = trust.verify_kept(self.suite, held, self.bundle(use_id, held))
        return holding.find_use(self.suite, held, evidence, use_id)

    def remove_receipts(self, exported: Iterable[Receipt], *, now_ms: int) -> int:
        """Remove exported receipts on which nothing rests any more, with their evidence; return how many.

        Those whose requests may still be answered or whose fields may still be asked for stay, and those that have
        changed since they were exported.
        """
        removed = self._change(lambda held: receipts.remove_receipts(held, exported, now_ms))
        for receipt in removed:
            # The lock is released: of a receipt that had no evidence, another process may just have kept some.
            if receipt.bundle is not None:
                self._bundle_path(receipt.use_id).unlink(missing_ok=True)
        return len(removed)

    def policy(self) -> Policy:
        """Return the policy that the wallet trusts."""
        return trust.policy_of(self.suite, self.read())

    def renew_policy(
        self, changes: Sequence[ValidatorChange], signed: SignedCheckpoint, *, now_ms: int
    ) -> Policy:
        """Trust the validators of today, as the present policy proves them; return the policy that it comes to.

        Raises:
            LedgerError: they are not proved, or the present policy is too old to vouch for others.
        """

        def change(held: Holding) -> tuple[Holding, Policy]:
            renewed = trust.renew_policy(self.suite, held, changes, signed, now_ms)
            return renewed, trust.policy_of(self.suite, renewed)

        return self._change(change)

    def replace_policy(self, policy: Policy, *, now_ms: int) -> None:
        """Trust another policy, because the holder says so.

        Raises:
            WalletError: of another chain, older than the present one, or one that establishes nothing.
            NotEstablishedError: too old to be relied upon.
        """
        self._change(lambda held: (trust.replace_policy(self.suite, held, policy, now_ms), None))

    def unseen_uses(self, bundle: bytes, handle: bytes, *, now_ms: int) -> int:
        """Return how many uses of a license the ledger counts now that the receipts do not show.

        Raises:
            WalletError: the bundle says nothing of this license.
            LedgerError: it does not verify under the wallet's policy, or not for the present.
        """
        held = self.read()
        view, evidence = open_bundle(self.suite, trust.policy_of(self.suite, held), bundle)
        state = evidence.state(license_key(handle))
        if state is None or state.value is None:
            raise WalletError("wallet.no_evidence", f"nothing is shown of license {handle.hex()}")
        trust.require_young(view, now_ms)
        view.require_current(state, now_ms)
        return receipts.unseen_uses(held, License.from_value(handle, state.value))

    def _verified(self, held: Holding, bundle: bytes, now_ms: int) -> VerifiedBundle:
        """Verify evidence before it is believed: retired keys could have signed it, so the policy's age counts."""
        view, evidence = open_bundle(self.suite, trust.policy_of(self.suite, held), bundle)
        trust.require_young(view, now_ms)
        return evidence

    def _change(self, change: Callable[[Holding], tuple[Holding, T]]) -> T:
        with self._locked():
            changed, result = change(self.read())
            self._save(changed)
        return result

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.home / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _save(self, held: Holding) -> None:
        content = held.encode()
        if len(content) > MAX_VAULT_BYTES:
            raise WalletError("wallet.full", FULL)
        self._seal(self.home / VAULT_FILE, content)

    def _save_bundle(self, use_id: bytes, bundle: bytes) -> None:
        path = self._bundle_path(use_id)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._seal(path, bundle)

    def _bundle_path(self, use_id: bytes) -> Path:
        return self.home / BUNDLES / use_id.hex()

    def _unseal(self, path: Path) -> bytes:
        try:
            with open(path, "rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise WalletError("wallet.exposed", f"others may read it; chmod 600 {path}")
                sealed = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise WalletError("wallet.damaged", f"{path}: {error.strerror}") from None
        prefix = signed_bytes(VAULT_KIND, b"")
        if not sealed.startswith(prefix) or len(sealed) > MAX_FILE_BYTES:
            raise WalletError("wallet.damaged", f"{path}: not a file of a wallet")
        try:
            return self._box.decrypt(sealed[len(prefix) :])
        except (nacl.exceptions.CryptoError, ValueError):
            raise WalletError("wallet.damaged", f"{path}: damaged, or another wallet's") from None

    def _seal(self, path: Path, content: bytes) -> None:
        """Replace a file atomically and durably."""
        sealed = signed_bytes(VAULT_KIND, bytes(self._box.encrypt(content)))
        try:
            replace_file(path, sealed, temporary=path.with_name(f".{path.name}.new"))
        except OSError as error:
            raise WalletError("wallet.home", f"{path}: {error.strerror}") from None


def _with_sessions(held: Holding, sessions: tuple[bytes, ...]) -> Holding:
    return replace(held, sessions=sessions)
