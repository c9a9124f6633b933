"""A wallet and the node it talks to: sessions, evidence of uses, disclosure.

The wallet believes no node: it discloses only against a bundle that verifies under its own policy. But it shows
the node which license it asks about, and that it is the holder's: `docs/SECURITY.md` says what a node learns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

import typer

from cli.connection import check_node_address, passphrase_of
from cli.output import CommandError, ExitCode, time_text
from cli.validation import now_ms, read_json
from cli.validator_changes import fetch_changes
from cli.window import REFUSAL, await_message, basis_text
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import LedgerError
from ledger.keys import seal
from ledger.policy import Policy
from licenses.holding import Holding, Receipt, WalletError
from licenses.use import RequestEnvelope, SignedConsent
from licenses.wallet import KEY_FILE, Wallet
from node.answers import OpenedSession
from node.auth import make_token
from node.client import NodeClient
from node.errors import ApiProblem

_PAGE = 500
"""The most uses that a node shows at once."""

_MAX_PAGES = 10_000
"""Five million uses of one license: beyond, a node only keeps the wallet busy."""


WalletOption = Annotated[
    Path,
    typer.Option(
        "--wallet", envvar="MULU_WALLET", help="The wallet's home directory.", file_okay=False
    ),
]
DEFAULT_WALLET = Path("~/.mulu-wallet")


@dataclass(frozen=True, slots=True)
class WalletLink:
    """A wallet connected to its node.

    `page` is how many uses are asked for at once. `_told` keeps for each license the cursor of the page up to which
    every use has been seen, so that looking again takes one question, however many uses there are.
    """

    wallet: Wallet
    client: NodeClient
    page: int = _PAGE
    _told: dict[bytes, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def open_session(self) -> OpenedSession:
        """Open a session at the node and return it with its one-time code."""
        key = self.wallet.open_session(now_ms=now_ms())
        return self.client.open_session(key.public_key.hex())

    def await_request(self, session: OpenedSession, *, timeout_s: float) -> RequestEnvelope | None:
        """Return the request that came through a session, or None."""
        try:
            sealed = await_message(
                self.client, session.id, "request", timeout_s=timeout_s, secret=session.secret
            )
        except ApiProblem as problem:
            if problem.code == "session.refused":  # it has expired
                return None
            raise
        return None if sealed is None else self.wallet.open_request(sealed)

    def consent(
        self,
        session: OpenedSession,
        envelope: RequestEnvelope,
        handles: Sequence[bytes] | None = None,
    ) -> bytes:
        """Consent, send the consent to the window, sealed to its organisation; return what names the use.

        `handles` are the licenses, one for each item of the request; they may be left out where there is no choice.
        """
        signed = self.wallet.consent(envelope, now_ms=now_ms(), handles=handles)
        self._answer(session, envelope, signed.encode())
        return signed.consent.use_id(self.wallet.suite)

    def refuse(self, session: OpenedSession, envelope: RequestEnvelope) -> None:
        """Refuse, and tell the window so."""
        self.wallet.refuse(envelope, now_ms=now_ms())
        self._answer(session, envelope, REFUSAL)

    def _answer(self, session: OpenedSession, envelope: RequestEnvelope, answer: bytes) -> None:
        sealed = seal(envelope.signed.request.sealing_key, answer)
        self.client.put_session_message(session.id, "consent", sealed, secret=session.secret)

    def is_recorded(self, use_id: bytes) -> bool:
        """Tell whether a use stands in the receipts with its proof."""
        receipt = self.wallet.read().receipt(use_id)
        return receipt is not None and receipt.bundle is not None

    def put_disclosure(self, session: OpenedSession, sealed: bytes) -> None:
        """Send the fields of a recorded use through its session."""
        self.client.put_session_message(session.id, "disclosure", sealed, secret=session.secret)

    def disclose(self, use_id: bytes) -> bytes | None:
        """Return the fields of a recorded use, sealed to the organisation; None while the node shows no such use.

        It is asked for by its id, being perhaps the last of very many, and under the policy of now, which need not be
        the one that kept evidence verifies under.

        Raises:
            WalletError: `wallet.not_consented`.
            LedgerError: the node's evidence does not verify, or the wallet's policy is too old.
        """
        held = self.wallet.read()
        receipt = held.receipt(use_id)
        if receipt is None or receipt.consent is None:
            raise WalletError("wallet.not_consented", "the holder consented to no such use")
        token = self._token(receipt.licenses[0], held.chain_id)
        try:
            bundle = self.client.use_evidence(use_id.hex(), token=token)
        except ApiProblem as problem:
            if problem.code == "use_unknown":
                return None
            raise
        return self.wallet.disclose(bundle, use_id, now_ms=now_ms())

    def new_uses(self) -> Iterator[Receipt]:
        """Fetch uses of the wallet's licenses that it has no evidence of yet, verify and keep them."""
        for license_ in self.wallet.read().licenses:
            if license_.key is not None:
                yield from self._new_uses_of(license_.credential.handle)

    def _new_uses_of(self, handle: bytes) -> Iterator[Receipt]:
        cursor, all_told = self._told.get(handle), True
        for _ in range(_MAX_PAGES):
            held = self.wallet.read()
            token = self._token(handle, held.chain_id)
            page = self.client.wallet_uses(token, cursor=cursor, limit=self.page)
            for use_id in (bytes.fromhex(use["id"]) for use in page.items):
                if not held.has_evidence(use_id):
                    bundle = self.client.use_evidence(use_id.hex(), token=token)
                    yield self.wallet.note_use(bundle, use_id, now_ms=now_ms())
            cursor = page.cursor
            if cursor is None:
                return
            # A use by law may be told later: from a page with a gap on, all is asked for again next time.
            all_told = all_told and len(page.items) == self.page
            if all_told:
                self._told[handle] = cursor
        raise CommandError(
            f"the node lists more than {_MAX_PAGES * self.page} uses of license {handle.hex()}",
            code="too_many_uses",
            exit_code=ExitCode.NOT_ESTABLISHED,
        )

    def unseen_uses(self) -> Iterator[tuple[bytes, int]]:
        """Yield every bound license's handle, with how many of its uses the ledger counts that no receipt shows."""
        held = self.wallet.read()
        for license_ in held.licenses:
            if license_.key is not None:
                handle = license_.credential.handle
                token = self._token(handle, held.chain_id)
                bundle = self.client.license_evidence(handle.hex(), token=token)
                yield handle, self.wallet.unseen_uses(bundle, handle, now_ms=now_ms())

    def renew_policy(self) -> Policy:
        """Have the wallet trust the validators of today, as its policy proves them; return the policy.

        Raises:
            LedgerError: as `Wallet.renew_policy`.
        """
        # The checkpoint first: every change before it can be shown then.
        signed = SignedCheckpoint.parse(self.client.checkpoint().encode())
        anchor = self.wallet.policy().as_of
        changes = tuple(fetch_changes(self.client, anchor, signed.checkpoint.size))
        return self.wallet.renew_policy(changes, signed, now_ms=now_ms())

    def _token(self, handle: bytes, chain_id: str) -> str:
        signer, salt = self.wallet.holder_key(handle)
        claims: dict[str, Any] = {"handle": handle.hex(), "salt": salt.hex()}
        return make_token(signer, chain_id, int(time.time()), claims=claims)


def open_wallet(wallet: Path) -> Wallet:
    """Open the wallet in a directory.

    Raises:
        CommandError: there is none.
    """
    home = wallet.expanduser()
    key = home / KEY_FILE
    if not key.exists():
        raise CommandError(
            f"there is no wallet in {home}", hint="Set one up: mulu wallet init --help"
        )
    return Wallet.open(home, passphrase_of(key))


def link_to_node(wallet: Path, node: str | None) -> WalletLink:
    """Open a wallet and connect it to the node that is given, else to its own.

    Raises:
        CommandError: there is no wallet, or it names no node.
    """
    opened = open_wallet(wallet)
    url = node
    if url is None:
        try:
            url = str(read_json(opened.home / "node.json", "a node's address")["node"])
        except (CommandError, LookupError, TypeError) as error:
            raise CommandError(
                f"the wallet names no node: {error}", hint="Give --node URL."
            ) from None
    return WalletLink(opened, NodeClient(check_node_address(url)))


def describe_request(wallet: Wallet, envelope: RequestEnvelope) -> dict[str, Any]:
    """Return what the holder must see of a request before answering it."""
    request = envelope.signed.request
    return {
        "organisation": request.organisation,
        "matter": request.matter,
        "division": request.division,
        "place": envelope.details.place,
        "window": envelope.details.window,
        "case_number": envelope.details.case_number,
        "purpose": envelope.details.purpose,
        "asks_for": [f"{item.license_type}: {', '.join(item.fields)}" for item in request.items],
        "would_send": [
            {
                "license": held.credential.handle.hex(),
                "type": item.license_type,
                "fields": {name: held.credential.fields.get(name) for name in item.fields},
            }
            for item in request.items
            for held in wallet.licenses()
            if held.key is not None and held.credential.license_type == item.license_type
        ],
    }


def describe_receipt(
    wallet: Wallet, receipt: Receipt, held: Holding | None = None
) -> dict[str, Any]:
    """Return what the holder is shown of a receipt. `held` is what was read of the wallet before, if anything.

    Of a use that the holder was never asked about – by law – everything comes from the ledger's proof.

    Raises:
        LedgerError: the request, or of a use by law the evidence, is damaged: `describe_unreadable` is left then.
    """
    envelope, consent = receipt.envelope(), receipt.consent
    if envelope is None:
        use = wallet.recorded_use(receipt.use_id, held)
        request, granted = use.request, {one.handle: one.fields for one in use.licenses}
    else:
        grants = () if consent is None else SignedConsent.decode(consent).consent.grants
        request, granted = envelope.signed.request, {one.handle: one.fields for one in grants}
    return {
        **_kept_of(receipt),
        "mode": request.mode,
        "organisation": request.organisation,
        "matter": request.matter,
        "purpose": envelope.details.purpose if envelope else None,
        "basis": basis_text(request),
        "licenses": [
            {"license": handle.hex(), "fields": list(granted.get(handle, ()))}
            for handle in receipt.licenses
        ],
    }


def describe_unreadable(receipt: Receipt, error: LedgerError) -> dict[str, Any]:
    """Return what the holder is shown of a receipt that cannot be told, and why: what is not known is None."""
    return {
        **_kept_of(receipt),
        **dict.fromkeys(("mode", "organisation", "matter", "purpose", "basis")),
        "licenses": [{"license": handle.hex(), "fields": None} for handle in receipt.licenses],
        "problem": str(error),
    }


def _kept_of(receipt: Receipt) -> dict[str, Any]:
    return {
        "use": receipt.use_id.hex(),
        "state": receipt.state,
        "time": time_text(receipt.time_ms),
        "transaction": receipt.transaction_id.hex() if receipt.transaction_id else None,
        "height": receipt.height,
    }
