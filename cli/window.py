"""A window at work: ask for a license, record its use, receive the fields.

Order: request → consent → record → disclose; by law, a second officer's approval stands in the consent's place, and
the issuer's release in the disclosure's. The window talks to the holder's wallet through a one-time-code session at the
holder's jurisdiction; everything that passes is sealed. Nothing is disclosed before the use is recorded.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.output import CommandError, ExitCode
from cli.output_files import write_output
from cli.tracing import find_use
from cli.validation import read_json
from directory.codes import place_problem
from ledger.codec import Value
from ledger.errors import DecodeError, InvalidProof, InvalidSignature
from ledger.keys import SealingKey, seal
from ledger.light import open_bundle
from ledger.operations import body_value
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519, Signer
from ledger.transactions import Operation
from licenses.details import RequestDetails
from licenses.disclosure import (
    CommittedUse,
    DisclosedLicense,
    open_disclosure,
)
from licenses.evidence import use_subject
from licenses.handles import SALT_BYTES
from licenses.models import License, RecordUse, license_key
from licenses.recording import RECORD_KIND
from licenses.use import (
    DEFAULT_REQUEST_LIFETIME_MS,
    NONCE_BYTES,
    Basis,
    Item,
    Request,
    RequestEnvelope,
    SignedApproval,
    SignedConsent,
)
from licenses.use_signing import sign_request
from node.client import NodeClient
from node.errors import ApiProblem

_SUITE: Final = SHA256_ED25519

_OFFICERS_TIME_MS: Final = 10 * 60_000
"""A second officer reads the file and answers by file; validators allow 15 minutes in all."""

_LONGEST_WAIT_S: Final = 25.0
"""Below what a node waits at most for one request."""

_ASK_AGAIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What a window wants to ask: matter, fields of license types, and what the holder is told."""

    organisation: str
    sealing_key: bytes
    matter: str
    division: str
    items: tuple[Item, ...]
    window: str
    case_number: str
    purpose: str
    place: str
    basis: Basis | None = None
    """The article of law of a statutory request; None where a holder is asked."""


@dataclass(frozen=True, slots=True)
class Case:
    """A request on its way: where its session is, and the consent or the approval once it is there."""

    envelope: RequestEnvelope
    session: str
    session_node: str
    consent: SignedConsent | None
    approval: SignedApproval | None = None

    @property
    def request_id(self) -> bytes:
        """The request's hash."""
        return self.envelope.signed.request.hash(_SUITE)

    @property
    def use_id(self) -> bytes:
        """What names the use, once it is consented to or approved; before that, the request's hash."""
        if self.consent is not None:
            return self.consent.consent.use_id(_SUITE)
        if self.approval is not None:
            return self.approval.approval.use_id(_SUITE)
        return self.request_id

    def save(self, path: Path) -> None:
        """Write the case file, readable by its owner only."""
        document = {
            "use": self.use_id.hex(),
            "request": self.envelope.encode().hex(),
            "session": self.session,
            "session_node": self.session_node,
            "consent": None if self.consent is None else self.consent.encode().hex(),
            "approval": None if self.approval is None else self.approval.encode().hex(),
        }
        write_output(path, json.dumps(document, indent=2).encode())

    @staticmethod
    def load(path: Path) -> Case:
        """Read a case file.

        Raises:
            CommandError: missing or malformed.
        """
        document = read_json(path, "a case file")
        try:
            consent, approval = document["consent"], document.get("approval")
            return Case(
                RequestEnvelope.decode(bytes.fromhex(document["request"])),
                _text(document["session"]),
                _text(document["session_node"]),
                None if consent is None else SignedConsent.decode(bytes.fromhex(consent)),
                None if approval is None else SignedApproval.decode(bytes.fromhex(approval)),
            )
        except KeyError as error:
            raise _no_case(path, f"it has no entry {error}") from None
        except (ValueError, TypeError, AttributeError, DecodeError) as error:
            raise _no_case(path, str(error)) from None


def _no_case(path: Path, why: str) -> CommandError:
    return CommandError(
        f"{path} is not a case file: {why}",
        hint="Give the file that `mulu license request` wrote with --case.",
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a text")
    return value


def make_request(signer: Signer, chain_id: str, wish: Wish) -> RequestEnvelope:
    """Return a signed request, valid for five minutes; ten where another officer must read it first.

    Raises:
        DecodeError: a part of the wish is not well formed.
    """
    details = RequestDetails(
        os.urandom(SALT_BYTES), wish.window, wish.case_number, wish.purpose, wish.place
    )
    lifetime_ms = DEFAULT_REQUEST_LIFETIME_MS if wish.basis is None else _OFFICERS_TIME_MS
    return sign_request(
        _SUITE,
        signer,
        chain_id=chain_id,
        organisation=wish.organisation,
        sealing_key=wish.sealing_key,
        matter=wish.matter,
        division=wish.division,
        items=wish.items,
        details=details,
        nonce=os.urandom(NONCE_BYTES),
        expires_ms=time.time_ns() // 1_000_000 + lifetime_ms,
        basis=wish.basis,
    )


def check_place(client: NodeClient, wish: Wish) -> None:
    """Refuse a place that validators would refuse when the use is recorded, before anybody is asked.

    Raises:
        CommandError: the division is none, or lies outside that of the organisation.
    """
    problem = place_problem(wish.division, client.organisation(wish.organisation)["division"])
    if problem is not None:
        raise CommandError(
            f"the validators would refuse this use (licenses.use.wrong_division): {problem}",
            code="licenses.use.wrong_division",
            hint="Give --division of the window: your organisation's own, or one within it.",
        )


def show_request(client: NodeClient, code: str, envelope: RequestEnvelope) -> Case:
    """Send a request to the wallet whose holder has told this code; `client` acts as the operator."""
    session = client.find_session(code)
    sealed = seal(bytes.fromhex(session.sealing_key), envelope.encode())
    client.put_session_message(session.id, "request", sealed)
    return Case(envelope, session.id, client.url, None)


def await_consent(client: NodeClient, case: Case, sealing: SealingKey, *, timeout_s: float) -> Case:
    """Wait for the holder's answer and return the case with the consent.

    Raises:
        CommandError: refused, or no answer in time.
    """
    sealed = await_message(client, case.session, "consent", timeout_s=timeout_s)
    if sealed is None:
        raise CommandError(
            "the holder has not answered",
            code="no_answer",
            exit_code=ExitCode.NOT_ESTABLISHED,
            hint="Ask the holder for a new code and send the request again.",
        )
    answer = sealing.open(sealed)
    if answer == REFUSAL:
        raise CommandError(
            "the holder has refused", code="refused_by_holder", exit_code=ExitCode.REFUSED
        )
    return Case(case.envelope, case.session, case.session_node, SignedConsent.decode(answer))


def await_message(
    client: NodeClient, session: str, slot: str, *, timeout_s: float, secret: str | None = None
) -> bytes | None:
    """Return the payload in a session's slot, None where none comes in time; a node waits a part of it at once.

    A node on which too many wait is asked again and again instead, which it always answers.
    """
    deadline = time.monotonic() + timeout_s
    may_wait = True
    while True:
        left_s = max(0.0, deadline - time.monotonic())
        wait_s = min(left_s, _LONGEST_WAIT_S) if may_wait else 0.0
        try:
            sealed = client.get_session_message(session, slot, wait_s=wait_s, secret=secret)
        except ApiProblem as problem:
            if problem.code != "session.busy" or not may_wait:
                raise
            may_wait = False
            continue
        if sealed is not None or time.monotonic() >= deadline:
            return sealed
        if not may_wait:
            time.sleep(min(_ASK_AGAIN_S, left_s))


REFUSAL: Final = b"mulu-refused"
"""What a wallet answers, sealed, instead of a consent."""


REQUEST_PREFIX: Final = "mulu-request:"
CONSENT_PREFIX: Final = "mulu-consent:"
APPROVAL_PREFIX: Final = "mulu-approval:"
"""How request, consent and approval are written where they pass by file or QR code instead of a session."""


def request_text(envelope: RequestEnvelope) -> str:
    """Return a request as text for the holder's wallet."""
    return REQUEST_PREFIX + envelope.encode().hex()


def read_request(text: str) -> RequestEnvelope:
    """Read what `request_text` wrote.

    Raises:
        CommandError: not a request.
    """
    return RequestEnvelope.decode(_hex_after(REQUEST_PREFIX, text, "request"))


def consent_text(consent: SignedConsent) -> str:
    """Return a consent as text for the window."""
    return CONSENT_PREFIX + consent.encode().hex()


def with_consent(case: Case, text: str) -> Case:
    """Return the case with a consent that came as text.

    Raises:
        CommandError: not a consent, or to another request.
    """
    consent = SignedConsent.decode(_hex_after(CONSENT_PREFIX, text, "consent"))
    if consent.consent.request_hash != case.request_id:
        raise CommandError("the consent is to another request than this case's")
    return Case(case.envelope, case.session, case.session_node, consent)


def approval_text(approval: SignedApproval) -> str:
    """Return an approval as text for the window."""
    return APPROVAL_PREFIX + approval.encode().hex()


def with_approval(case: Case, text: str) -> Case:
    """Return the case with a second officer's approval that came as text.

    Raises:
        CommandError: not an approval, or of another request.
    """
    approval = SignedApproval.decode(_hex_after(APPROVAL_PREFIX, text, "approval"))
    if approval.approval.request_hash != case.request_id:
        raise CommandError("the approval is of another request than this case's")
    return Case(case.envelope, case.session, case.session_node, None, approval)


def _hex_after(prefix: str, text: str, what: str) -> bytes:
    text = text.strip()
    try:
        if text.startswith(prefix):
            return bytes.fromhex(text.removeprefix(prefix))
    except ValueError:
        pass
    raise CommandError(f"this is not a {what}", hint=f"Expected {prefix}<hex>.")


def record_operation(case: Case) -> Operation:
    """Return the operation that records the use.

    Raises:
        CommandError: there is no consent or approval yet.
    """
    if case.consent is None and case.approval is None:
        if case.envelope.signed.request.basis is not None:
            raise CommandError(
                "this case has no approval yet", hint="Give --approval, of `mulu license approve`."
            )
        raise CommandError(
            "this case has no consent yet",
            hint="Give --consent, of `mulu wallet consent`; or ask again with --code.",
        )
    body = RecordUse(
        request=case.envelope.signed.encode(),
        consent=None if case.consent is None else case.consent.encode(),
        approval=None if case.approval is None else case.approval.encode(),
    )
    return Operation(RECORD_KIND, body_value(body))


def receive_fields(
    client: NodeClient,
    session_client: NodeClient,
    case: Case,
    sealing: SealingKey,
    policy: Policy,
    *,
    timeout_s: float,
) -> tuple[DisclosedLicense, ...]:
    """Wait for the fields of a recorded use and check every part of them against proved records.

    Raises:
        CommandError: nothing was disclosed in time.
        LedgerError: what was disclosed does not verify.
    """
    sealed = await_message(session_client, case.session, "disclosure", timeout_s=timeout_s)
    if sealed is None:
        raise CommandError(
            "the wallet has disclosed nothing",
            code="not_disclosed",
            exit_code=ExitCode.NOT_ESTABLISHED,
            hint="The use is recorded; the wallet discloses once it sees the proof.",
        )
    return open_fields(client, case, sealing, policy, sealed)


def open_fields(
    client: NodeClient, case: Case, sealing: SealingKey, policy: Policy, sealed: bytes
) -> tuple[DisclosedLicense, ...]:
    """Open what a wallet has disclosed and check every part of it against proved records.

    Raises:
        CommandError: what was disclosed is not what the proved use grants.
        LedgerError: the use is not proved, or what was disclosed is unreadable.
    """
    use, records = proved_use(client, case.use_id, policy)
    try:
        return open_disclosure(_SUITE, sealing, sealed, use, records)
    except (InvalidProof, InvalidSignature) as error:
        raise CommandError(
            f"what was disclosed is false: {error}",
            hint="Nothing of it is shown. Who disclosed it can do so again.",
            code="disclosure_false",
            exit_code=ExitCode.REFUSED,
        ) from None


def proved_use(
    client: NodeClient, use_id: bytes, policy: Policy
) -> tuple[CommittedUse, Mapping[bytes, License]]:
    """Return a use and the records of its licenses, proved under the policy."""
    return read_use_bundle(client.use_evidence(use_id.hex()), use_id, policy)


def read_use_bundle(
    data: bytes, use_id: bytes, policy: Policy
) -> tuple[CommittedUse, Mapping[bytes, License]]:
    """Verify a bundle about a use and return the use with the records of its licenses.

    Raises:
        LedgerError: the bundle does not verify, or is about something else.
        CommandError: it does not show the use.
    """
    view, evidence = open_bundle(_SUITE, policy, data)
    if evidence.subject != use_subject(use_id):
        raise CommandError(f"the bundle is about {evidence.subject}", exit_code=ExitCode.REFUSED)
    use = find_use(view.chain_id, evidence, use_id)
    records = {}
    for used in use.licenses:
        state = evidence.state(license_key(used.handle))
        if state is not None and state.value is not None:
            records[used.handle] = License.from_value(used.handle, state.value)
    return use, records


def items_of(texts: Sequence[str]) -> tuple[Item, ...]:
    """Read what is asked of licenses, each `TYPE:field,field`.

    Raises:
        CommandError: of another form.
    """
    items = []
    for text in texts:
        code, separator, names = text.partition(":")
        fields = tuple(sorted({name.strip() for name in names.split(",") if name.strip()}))
        if not separator or not fields:
            raise CommandError(
                f"{text!r} does not say what is asked", hint="Write --ask TYPE:field,field."
            )
        items.append(Item(code, fields))
    return tuple(items)


def basis_of(text: str) -> Basis:
    """Read the article that a statutory request cites, `INSTRUMENT:ARTICLE`.

    Raises:
        CommandError: of another form.
    """
    instrument, separator, article = text.rpartition(":")
    if not separator or not instrument or not article:
        raise CommandError(
            f"{text!r} does not cite an article", hint="Write --basis INSTRUMENT:ARTICLE."
        )
    return Basis(instrument, article)


def basis_text(request: Request) -> str | None:
    """Return the article that a request cites, for people; None for a request to a holder."""
    if request.basis is None:
        return None
    return f"{request.basis.instrument} article {request.basis.article}"


def json_value(value: Value) -> object:
    """Return a ledger value as JSON: bytes as hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {name: json_value(part) for name, part in value.items()}
    if isinstance(value, str) or not isinstance(value, Sequence):
        return value
    return [json_value(part) for part in value]
