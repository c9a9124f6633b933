"""One verification of a license or a use: one verdict a check, each with a reason code; no I/O, so it works offline.

What is verified: a presented credential (SD-JWT, with or without key binding), a bundle of evidence, or both, under a
policy that the verifier trusts. `licenses.verifier` is the way in, `licenses.evidence` says what a bundle holds,
`licenses.verdicts` what comes of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ledger.bundle import Bundle
from ledger.codec import Value
from ledger.entries import BlockEntry
from ledger.errors import DecodeError, InvalidProof, InvalidSignature
from ledger.light import (
    DEFAULT_MAX_ANCHOR_AGE_MS,
    NotEstablishedError,
    TrustedView,
    VerifiedBundle,
    VerifiedState,
)
from ledger.limits import CHECKPOINT_FRESH_MS
from ledger.membership import enrolled_key, enrolled_key_key
from ledger.suite import Suite
from licenses.credentials import Credential
from licenses.disclosure import CommittedUse, committed_use, signed_parts
from licenses.evidence import license_subject, use_subject
from licenses.handles import holder_commitment
from licenses.issuance import read_package
from licenses.models import (
    ACCREDITED,
    STATUS_NAMES,
    VALID,
    Accreditation,
    License,
    issuer_key,
    license_key,
)
from licenses.sd_jwt import InvalidDisclosure
from licenses.verdicts import (
    ANCHORED,
    AUTHORISED_USE,
    CHECKPOINT_QUORUM,
    CHECKS,
    CONTENT_DIGEST,
    FORMAT,
    FRESHNESS,
    HOLDER_BINDING,
    ISSUER_ACCREDITED,
    ISSUER_SIGNATURE,
    NOT_APPLICABLE,
    STATUS,
    VALIDITY_PERIOD,
    Outcome,
    Report,
    Verdict,
)

_SUBJECT: Final = re.compile(r"(license|use):([0-9a-f]{64})", re.ASCII)

NOT_PRESENTED: Final = "not_presented"
NO_BUNDLE: Final = "no bundle of evidence was given"


@dataclass(frozen=True, slots=True)
class Question:
    """What the verifier wants to know, and for when.

    `at_ms` None means now. Who shows a credential is asked with `audience` and `nonce`: without both, or `use_id`, a
    presentation may have been made for somebody else, and shown again. Who asks for neither, nor sets
    `require_holder`, which refuses what nobody has bound, learns of the license only: whoever shows it could have cut
    the holder's signature off, so a good one tells neither for nor against. `use_id` asks for the use under which
    fields were disclosed: a presentation must be the one for that use. `handle` asks for a license where no
    credential is presented; without it the bundle's subject says which license it is about.
    """

    now_ms: int
    at_ms: int | None = None
    audience: str | None = None
    nonce: str | None = None
    require_holder: bool = False
    use_id: bytes | None = None
    handle: bytes | None = None
    fresh_ms: int = CHECKPOINT_FRESH_MS
    max_anchor_age_ms: int = DEFAULT_MAX_ANCHOR_AGE_MS


@dataclass(slots=True)
class Verification:
    """One verification: collects verdicts; the first for a check that is neither `PASSED` nor `NOT_CHECKED` stays."""

    suite: Suite
    question: Question
    no_bundle: str
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    subject: str = ""

    def report(self) -> Report:
        verdicts = tuple(
            self.verdicts.get(check)
            or Verdict(check, Outcome.NOT_CHECKED, NOT_APPLICABLE, "does not apply here")
            for check in CHECKS
        )
        return Report(verdicts, self.subject, self.facts)

    def say(self, check: str, outcome: Outcome, code: str, text: str) -> None:
        known = self.verdicts.get(check)
        if known is None or known.outcome in (Outcome.PASSED, Outcome.NOT_CHECKED):
            self.verdicts[check] = Verdict(check, outcome, code, text)

    def passed(self, check: str, text: str, code: str = "ok") -> None:
        self.say(check, Outcome.PASSED, code, text)

    def failed(self, check: str, code: str, text: str) -> None:
        self.say(check, Outcome.FAILED, code, text)

    def unknown(self, check: str, code: str, text: str) -> None:
        self.say(check, Outcome.UNESTABLISHED, code, text)

    def run(
        self, anchored: Callable[[], TrustedView], text: str | None, data: bytes | None
    ) -> None:
        presented = None if text is None else self._read_credential(text)
        bundle = None if data is None else self._read_bundle(data)
        if self.verdicts.get(FORMAT) is not None:
            return
        if text is not None or data is not None:
            self.passed(FORMAT, "well formed")
        if presented is not None:
            self.subject = license_subject(presented.handle)
            self._check_holder_binding(presented)
        elif self.question.handle is not None:
            self.subject = license_subject(self.question.handle)
        if bundle is None:
            self.unknown(ANCHORED, "no_evidence", self.no_bundle)
            return
        view_and_evidence = self._verify_bundle(anchored, bundle)
        if view_and_evidence is not None:
            self._check_evidence(*view_and_evidence, presented)

    def _read_credential(self, text: str) -> Credential | None:
        try:
            credential = read_package(self.suite, text)
        except InvalidDisclosure as error:
            self.failed(ISSUER_SIGNATURE, "disclosure_altered", str(error))
            return None
        except DecodeError as error:
            self.say(FORMAT, Outcome.UNREADABLE, "credential_unreadable", str(error))
            return None
        except InvalidSignature as error:
            self.failed(ISSUER_SIGNATURE, "bad_signature", str(error))
            return None
        self.passed(ISSUER_SIGNATURE, f"signed with {credential.key}")
        return credential

    def _read_bundle(self, data: bytes) -> Bundle | None:
        try:
            return Bundle.decode(self.suite, data)
        except DecodeError as error:
            self.say(FORMAT, Outcome.UNREADABLE, "bundle_unreadable", str(error))
            return None

    def _verify_bundle(
        self, anchored: Callable[[], TrustedView], bundle: Bundle
    ) -> tuple[TrustedView, VerifiedBundle] | None:
        try:
            view = anchored()
            evidence = view.verify_bundle(bundle)
        except DecodeError as error:
            self.say(FORMAT, Outcome.UNREADABLE, "bundle_unreadable", str(error))
            return None
        except InvalidProof as error:
            self.failed(CHECKPOINT_QUORUM, "bad_proof", str(error))
            return None
        except NotEstablishedError as error:
            self.unknown(CHECKPOINT_QUORUM, error.code, str(error))
            return None
        names = ", ".join(evidence.checkpoint.cosigners)
        self.passed(CHECKPOINT_QUORUM, f"cosigned by {names}")
        self.facts["checkpoint_size"] = str(evidence.checkpoint.checkpoint.size)
        return view, evidence

    def _check_evidence(
        self, view: TrustedView, evidence: VerifiedBundle, presented: Credential | None
    ) -> None:
        subject = _SUBJECT.fullmatch(evidence.subject)
        use_id = self.question.use_id
        if subject is not None and subject[1] == "use" and use_id is None:
            use_id = bytes.fromhex(subject[2])
        use = None if use_id is None else self._check_use(view, evidence, use_id)
        if presented is not None:
            if use is not None:
                self._check_disclosed(presented, use)
            self._check_license(view, evidence, presented.handle, presented)
        elif self.question.handle is not None:
            # Not the bundle's own subject: whoever gave it could have chosen a valid license.
            self._check_license(view, evidence, self.question.handle, None)
        elif subject is not None and subject[1] == "license":
            self.subject = evidence.subject
            self._check_license(view, evidence, bytes.fromhex(subject[2]), None)
        elif use_id is not None:
            self.subject = use_subject(use_id)
            # A use is a fact of the past: whether its licenses are good today is another question.
            self._check_anchor_age(view)
        else:
            self.subject = evidence.subject
            self.unknown(ANCHORED, "no_subject", "the bundle is about neither license nor use")

    def _check_license(
        self,
        view: TrustedView,
        evidence: VerifiedBundle,
        handle: bytes,
        presented: Credential | None,
    ) -> None:
        if presented is not None and presented.chain_id != view.chain_id:
            self.failed(ANCHORED, "other_chain", f"the credential is of {presented.chain_id}")
            return
        state = evidence.state(license_key(handle))
        if state is None:
            self.unknown(ANCHORED, "no_evidence", "the bundle does not show this license")
            return
        self._check_time(view, state)
        if state.value is None:
            self.failed(ANCHORED, "not_recorded", "the ledger has no such license")
            return
        record = License.from_value(handle, state.value)
        self._state_facts(record, state)
        if presented is not None:
            self._check_content(presented, record)
        else:
            self.passed(ANCHORED, f"recorded by {record.issuer}")
        self._check_issuer(evidence, record, state)
        self._check_status(record, state)

    def _state_facts(self, record: License, state: VerifiedState) -> None:
        self.facts.update(
            license=record.handle.hex(),
            type=record.type,
            issuer=record.issuer,
            status=record.status,
            uses=str(record.uses),
            height=str(state.height),
            as_of_ms=str(state.as_of_ms),
        )

    def _check_content(self, presented: Credential, record: License) -> None:
        if presented.digest(self.suite) != record.credential:
            self.failed(CONTENT_DIGEST, "digest_differs", "the ledger holds another credential")
            return
        self.passed(CONTENT_DIGEST, "the very credential that the ledger records")
        problem = presented.mismatch(self.suite, record)
        if problem is not None:
            self.failed(ANCHORED, "record_differs", f"the ledger's record differs: {problem}")
        elif presented.opens_handle(self.suite) is False:
            self.failed(ANCHORED, "handle_differs", "identifier and salt are not the handle's")
        else:
            self.passed(ANCHORED, f"recorded by {record.issuer}")

    def _check_issuer(
        self, evidence: VerifiedBundle, record: License, shown: VerifiedState
    ) -> None:
        state = _shown_with(shown, evidence, issuer_key(record.type, record.issuer))
        key_state = _shown_with(shown, evidence, enrolled_key_key(record.credential_key))
        if state is None or key_state is None:
            self.unknown(
                ISSUER_ACCREDITED,
                "no_evidence",
                "the bundle lacks the issuer's accreditation or key",
            )
            return
        key = enrolled_key(_States({key_state.key: key_state.value}), record.credential_key)
        if state.value is None or key is None:
            self.failed(
                ISSUER_ACCREDITED, "not_accredited", "the ledger knows no such issuer or key"
            )
            return
        if key.compromised_since_ms is not None and record.recorded_ms >= key.compromised_since_ms:
            self.unknown(
                ISSUER_SIGNATURE,
                "suspect",
                "recorded after the issuer's key was compromised",
            )
        accredited = Accreditation.from_value(record.type, record.issuer, state.value)
        if not _was_accredited(accredited, record.recorded_ms):
            self.failed(
                ISSUER_ACCREDITED, "not_accredited_then", "not accredited when it was recorded"
            )
        elif accredited.status != ACCREDITED:
            self.passed(ISSUER_ACCREDITED, "accredited when recorded, suspended since", "suspended")
        else:
            self.passed(ISSUER_ACCREDITED, f"accredited for {record.type} when recorded")

    def _check_status(self, record: License, state: VerifiedState) -> None:
        time_ms = self.question.at_ms
        if time_ms is None:
            # Whatever the ledger shows has happened, though this machine's clock may be behind.
            time_ms = max(self.question.now_ms, state.as_of_ms)
        elif time_ms > state.as_of_ms:
            self.unknown(STATUS, "not_shown", "the evidence ends before that time")
            return
        change = record.status_at(time_ms)
        if change is None:
            self.failed(STATUS, "not_recorded_then", "the license was not recorded then")
            return
        name = STATUS_NAMES[change.status]
        if change.status == VALID:
            self.passed(STATUS, f"{change.status} {name}")
        else:
            self.failed(STATUS, name.replace(" ", "_"), f"{change.status} {name}: {change.reason}")
        if record.in_period(time_ms):
            self.passed(VALIDITY_PERIOD, "within the validity period")
        elif time_ms < record.valid_from_ms:
            self.failed(VALIDITY_PERIOD, "not_yet_valid", "the validity period has not begun")
        else:
            self.failed(VALIDITY_PERIOD, "expired", "the validity period has ended")

    def _check_time(self, view: TrustedView, state: VerifiedState) -> None:
        if self.question.at_ms is not None:
            self._check_anchor_age(view)
            return
        try:
            view.require_current(
                state,
                self.question.now_ms,
                fresh_ms=self.question.fresh_ms,
                max_anchor_age_ms=self.question.max_anchor_age_ms,
            )
        except NotEstablishedError as error:
            self.unknown(FRESHNESS, error.code, str(error))
        else:
            age_s = max(0, self.question.now_ms - state.as_of_ms) // 1000
            self.passed(FRESHNESS, f"{age_s} seconds old")

    def _check_anchor_age(self, view: TrustedView) -> None:
        """For a past time the newest state is not needed, but retired keys must not be able to rewrite it."""
        now_ms = self.question.now_ms
        try:
            view.require_fresh(now_ms, now_ms, max_anchor_age_ms=self.question.max_anchor_age_ms)
        except NotEstablishedError as error:
            self.unknown(FRESHNESS, error.code, str(error))
        else:
            self.passed(FRESHNESS, "shown for a time that lies behind the checkpoint", "past")

    def _check_holder_binding(self, presented: Credential) -> None:
        question = self.question
        binding = presented.sd_jwt.key_binding
        asked = bool(question.require_holder or question.audience or question.nonce)
        if binding is None:
            if asked:
                self.failed(HOLDER_BINDING, "not_bound", "not presented by its holder")
            elif presented.holder is not None:
                self.say(
                    HOLDER_BINDING, Outcome.NOT_CHECKED, NOT_PRESENTED, "not shown by its holder"
                )
            return
        audience = question.audience or binding.payload.get("aud")
        nonce = question.nonce or binding.payload.get("nonce")
        if not isinstance(audience, str) or not isinstance(nonce, str):
            self.failed(HOLDER_BINDING, "bad_binding", "the key binding lacks audience or nonce")
            return
        try:
            presented.verify_key_binding(
                self.suite, audience=audience, nonce=nonce, now_ms=question.now_ms
            )
        except InvalidSignature as error:
            self.failed(HOLDER_BINDING, "bad_binding", str(error))
            return
        if question.use_id is None and not (question.audience and question.nonce):
            self.say(
                HOLDER_BINDING,
                Outcome.UNESTABLISHED if asked else Outcome.NOT_CHECKED,
                "not_asked_for",
                f"signed by the holder for {audience}, but it may be shown again by somebody else: "
                "give --audience and --nonce as they were asked for",
            )
        else:  # whether it is for the use that was asked about, the use tells: `authorised_use`
            self.passed(HOLDER_BINDING, f"presented by its holder to {audience}")

    def _check_use(
        self, view: TrustedView, evidence: VerifiedBundle, use_id: bytes
    ) -> CommittedUse | None:
        """Find the use and check once more what validators checked and what the bundle shows."""
        for verified in evidence.entries:
            try:
                use = committed_use(self.suite, verified, view.chain_id, use_id)
            except InvalidProof:
                continue
            self._check_use_parts(use, evidence)
            return use
        self.unknown(AUTHORISED_USE, "no_evidence", "the bundle does not show this use")
        return None

    def _check_use_parts(self, use: CommittedUse, evidence: VerifiedBundle) -> None:
        request = use.request
        self.facts.update(
            use=use.id.hex(),
            transaction=use.transaction_id.hex(),
            use_height=str(use.height),
            use_index=str(use.index),
            organisation=request.organisation,
            matter=request.matter,
            division=request.division,
            mode=request.mode,
            fields=" ".join(sorted({name for used in use.licenses for name in used.fields})),
        )
        for part, good in signed_parts(self.suite, use):
            if not good:
                self.failed(AUTHORISED_USE, "bad_signature", f"the {part} is not signed as it says")
        blocks = (verified.entry for verified in evidence.entries)
        times = [
            block.time_ms
            for block in blocks
            if isinstance(block, BlockEntry) and block.height == use.height
        ]
        if not times:
            self.unknown(AUTHORISED_USE, "no_time", "the bundle lacks the block of this use")
            return
        self.facts["use_time_ms"] = str(times[0])
        if times[0] >= request.expires_ms:
            self.failed(AUTHORISED_USE, "expired", "recorded after the request had expired")
        self._check_consent(use, evidence)
        self.passed(AUTHORISED_USE, f"recorded at height {use.height} by {request.organisation}")

    def _check_consent(self, use: CommittedUse, evidence: VerifiedBundle) -> None:
        if use.consent is None:
            return
        for grant in use.consent.grants:
            state = evidence.state(license_key(grant.handle))
            if state is None or state.value is None:
                self.unknown(AUTHORISED_USE, "no_evidence", "the bundle lacks a license of the use")
                continue
            record = License.from_value(grant.handle, state.value)
            if holder_commitment(self.suite, grant.holder_salt, grant.holder) != record.holder:
                self.failed(
                    AUTHORISED_USE, "not_the_holder", "another key than the holder's consented"
                )

    def _check_disclosed(self, presented: Credential, use: CommittedUse) -> None:
        used = next((each for each in use.licenses if each.handle == presented.handle), None)
        if used is None:
            self.failed(AUTHORISED_USE, "other_license", "the use is of another license")
            return
        beyond = sorted(set(presented.fields) - set(used.fields))
        if beyond:
            self.failed(AUTHORISED_USE, "field_not_granted", f"not granted: {', '.join(beyond)}")
        binding = presented.sd_jwt.key_binding
        if binding is None:
            if use.consent is not None:
                self.unknown(
                    HOLDER_BINDING,
                    NOT_PRESENTED,
                    "the holder consented to this use, and did not present this for it",
                )
        elif (
            binding.payload.get("nonce") != use.nonce
            or binding.payload.get("aud") != use.request.organisation
        ):
            self.failed(AUTHORISED_USE, "other_use", "the presentation was made for another use")


def _shown_with(shown: VerifiedState, evidence: VerifiedBundle, key: str) -> VerifiedState | None:
    """Return the state of another key after the very block of `shown`.

    A bundle may show a key at several heights: an older record of an issuer would hide what has become known since.
    """
    return next(
        (state for state in evidence.states if state.key == key and state.height == shown.height),
        None,
    )


def _was_accredited(accreditation: Accreditation, recorded_ms: int) -> bool:
    """Tell whether what validators recorded in the block of `recorded_ms` had an accredited issuer.

    Within one block the order is not shown; but of a suspension and a license they let only the license come first.
    """
    before = [change for change in accreditation.history if change.time_ms < recorded_ms]
    within = [change for change in accreditation.history if change.time_ms == recorded_ms]
    return any(change.status == ACCREDITED for change in (*before[-1:], *within))


class _States:
    """Proved states as a state reader."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Value | None]) -> None:
        self._values = values

    def get(self, key: str) -> Value | None:
        return self._values.get(key)
