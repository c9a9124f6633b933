"""Bugs of licenses: who may use what, what the record keeps, what is disclosed."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

_RECORDING: Final = "licenses/recording.py"
_ISSUING: Final = "licenses/issuing.py"
_HOLDING: Final = "licenses/holding.py"
_SESSION: Final = "licenses/session.py"

_USES: Final[tuple[Mutant, ...]] = (
    Mutant(
        "consent-used-twice",
        "A request that has been used on a license is used again.",
        _RECORDING,
        "if request_hash in [used for used, _ in record.pending]:",
        "if granted.handle in [used for used, _ in record.pending]:",
        ("tests/licenses/test_recording.py::test_a_consent_is_used_once",),
    ),
    Mutant(
        "field-not-listed-accepted",
        "A request may ask for fields that the matter does not list.",
        _RECORDING,
        "        if unlisted:\n",
        "        if len(unlisted) > len(item.fields):\n",
        (
            "tests/licenses/test_recording_matters.py::test_a_field_that_the_matter_does_not_list_is_refused",
        ),
    ),
    Mutant(
        "type-not-listed-accepted",
        "A request may ask for license types that the matter does not list.",
        _RECORDING,
        "        if demand is None:\n            raise InvalidOperation(\n"
        '                "licenses.use.type_not_listed", f"the matter lists no {item.license_type}"\n'
        "            )\n",
        "        if demand is None:\n            continue\n",
        (
            "tests/licenses/test_recording_matters.py::test_a_type_that_the_matter_does_not_list_is_refused",
        ),
    ),
    Mutant(
        "field-granted-that-was-not-asked",
        "A consent may grant fields that the request does not ask for.",
        _RECORDING,
        "        if beyond:\n",
        "        if len(beyond) > len(each.fields):\n",
        ("tests/licenses/test_recording.py::test_a_consent_grants_nothing_that_was_not_asked",),
    ),
    Mutant(
        "use-at-any-place",
        "A request names whatever division its operator likes.",
        _RECORDING,
        "outside = place_problem(request.division, acceptor.division)",
        "outside = None",
        (
            "tests/licenses/test_recording_requests.py::test_a_use_is_recorded_for_a_place_within_the_organisations_division_only",
        ),
    ),
    Mutant(
        "use-by-one-who-is-not-entrusted",
        "Any organisation uses licenses for any department's matter.",
        _RECORDING,
        "if request.organisation != matter.department and not is_entrusted(\n"
        "        state, matter.department, request.organisation, request.matter, context.time_ms\n"
        "    ):",
        "if request.organisation != matter.department and not request.matter:",
        (
            "tests/licenses/test_recording_matters.py::test_an_organisation_that_is_not_entrusted_is_refused",
        ),
    ),
    Mutant(
        "basis-of-the-matter-not-checked",
        "A use is recorded although what its matter rests on has ended.",
        _RECORDING,
        "    if problem is not None:\n",
        "    if problem is not None and not request.items:\n",
        (
            "tests/licenses/test_recording_matters.py::test_a_matter_covers_nothing_once_it_or_its_basis_is_retired",
        ),
    ),
    Mutant(
        "expired-request-accepted",
        "A request is used after it has expired.",
        _RECORDING,
        "if context.time_ms >= request.expires_ms:",
        "if request.expires_ms < 0:",
        ("tests/licenses/test_recording_requests.py::test_an_expired_request_is_refused",),
    ),
    Mutant(
        "request-lifetime-unbounded",
        "A request may last longer than licenses remember it.",
        _RECORDING,
        "if request.expires_ms > context.time_ms + MAX_REQUEST_LIFETIME_MS:",
        "if request.expires_ms > context.time_ms + 1_000 * MAX_REQUEST_LIFETIME_MS:",
        (
            "tests/licenses/test_recording_requests.py::test_a_request_that_lasts_too_long_is_refused",
        ),
    ),
    Mutant(
        "expired-consent-accepted",
        "A consent is used after it has expired.",
        _RECORDING,
        "if context.time_ms >= bound.expires_ms:",
        "if bound.expires_ms < 0:",
        ("tests/licenses/test_recording.py::test_an_expired_consent_is_refused",),
    ),
    Mutant(
        "consent-to-another-request-accepted",
        "A consent that was given to one request is used for another.",
        _RECORDING,
        "if bound.chain_id != context.chain_id or bound.request_hash != request_hash:",
        "if bound.chain_id != context.chain_id:",
        (
            "tests/licenses/test_recording_requests.py::test_a_consent_to_another_request_is_refused",
        ),
    ),
    Mutant(
        "holder-binding-not-checked",
        "Anybody's key consents to the use of a license.",
        _RECORDING,
        "if holder_commitment(context.suite, grant.holder_salt, grant.holder) != record.holder:",
        "if not holder_commitment(context.suite, grant.holder_salt, grant.holder):",
        ("tests/licenses/test_recording.py::test_nobody_else_consents",),
    ),
    Mutant(
        "consents-signature-not-verified",
        "The holder's signature on a consent is not verified.",
        _RECORDING,
        "if consent is not None and not consent.verify(context.suite):",
        "if consent is not None and not consent.signatures:",
        (
            "tests/licenses/test_recording.py::test_a_consent_with_the_holders_key_but_anothers_signature_is_refused",
        ),
    ),
    Mutant(
        "withheld-license-used",
        "A license that has been withheld is used.",
        _RECORDING,
        "if record.status != VALID:",
        "if not record.status:",
        (
            "tests/licenses/test_recording.py::test_a_withheld_license_is_refused_until_it_is_given_back",
        ),
    ),
    Mutant(
        "disclosure-to-another-sealing-key",
        "A request may name another sealing key than its organisation has registered.",
        _RECORDING,
        "if acceptor.sealing_key != request.sealing_key.hex():",
        "if not request.sealing_key:",
        (
            "tests/licenses/test_recording_requests.py::test_disclosure_goes_to_the_registered_sealing_key_only",
        ),
    ),
    Mutant(
        "approval-by-the-same-officer",
        "Who asks in a statutory use approves it.",
        _RECORDING,
        "if officer in (request.operator, context.signer):",
        "if officer == context.transaction_id:",
        (
            "tests/licenses/test_recording_statutory.py::test_who_asks_or_submits_is_not_the_second_officer",
        ),
    ),
    Mutant(
        "statutory-use-without-law",
        "A statutory use may cite any article, whether the matter rests on it or not.",
        _RECORDING,
        "if cited not in {(article.instrument, article.article) for article in matter.articles}:",
        "if not all(cited):",
        (
            "tests/licenses/test_recording_statutory.py::test_a_statutory_use_cites_what_the_matter_rests_on",
        ),
    ),
    Mutant(
        "notice-deferred-for-good",
        "The holder's notice of a statutory use may be put off for ever.",
        _RECORDING,
        "context.time_ms < notice_after_ms <= context.time_ms + MAX_NOTICE_DEFERRAL_MS",
        "context.time_ms < notice_after_ms",
        (
            "tests/licenses/test_recording_statutory.py::test_notice_to_the_holder_is_deferred_for_a_time_only",
        ),
    ),
    Mutant(
        "use-not-counted",
        "A recorded use does not raise the license's count of uses.",
        _RECORDING,
        "    number = record.uses + 1\n",
        "    number = max(1, record.uses)\n",
        ("tests/licenses/test_wallet.py::test_a_complete_list_of_uses_is_told_from_any_other",),
    ),
)

_ISSUED: Final[tuple[Mutant, ...]] = (
    Mutant(
        "issuer-not-accredited",
        "Whoever has an issuer's key issues licenses of every type.",
        _ISSUING,
        "if accredited is None or not accredited.covers(context.time_ms):",
        "if accredited is not None and not accredited.covers(context.time_ms):",
        ("tests/licenses/test_issuing.py::test_only_an_accredited_issuer_issues",),
    ),
    Mutant(
        "suspended-issuer-issues",
        "An issuer goes on issuing while its accreditation is suspended.",
        "licenses/models.py",
        "return self.status == ACCREDITED and in_period(",
        "return in_period(",
        (
            "tests/licenses/test_issuing.py::test_a_suspended_issuer_issues_nothing_until_accredited_again",
        ),
    ),
    Mutant(
        "status-history-rewritten",
        "A change of status replaces the history of the license.",
        _ISSUING,
        "history=(*record.history, _change(status, context, reason))",
        "history=(_change(status, context, reason),)",
        ("tests/licenses/test_issuing.py::test_the_life_of_a_license_stays_in_its_record",),
    ),
    Mutant(
        "revoked-license-comes-back",
        "A license that has ended is given another final status.",
        _ISSUING,
        "if found.status not in (VALID, WITHHELD):",
        "if not found.status:",
        ("tests/licenses/test_issuing.py::test_final_statuses_stay_and_steps_go_in_order",),
    ),
    Mutant(
        "stranger-changes-a-license",
        "Any issuer changes the licenses of every other.",
        _ISSUING,
        "if issuer is None or issuer.active or issuer.successor != context.organisation:",
        "if issuer is None:",
        ("tests/licenses/test_issuing.py::test_nobody_but_its_issuer_changes_a_license",),
    ),
    Mutant(
        "credential-signed-with-a-revoked-key",
        "A license names a credential key that has been revoked.",
        _ISSUING,
        "        or not found.active\n",
        "",
        ("tests/licenses/test_issuing.py::test_a_revoked_key_signs_no_credential",),
    ),
)

_DISCLOSED: Final[tuple[Mutant, ...]] = (
    Mutant(
        "disclosure-of-a-failed-use",
        "A wallet discloses for a use whose transaction failed: nothing is on the record.",
        "licenses/disclosure.py",
        'if not isinstance(entry, TransactionEntry) or entry.code != "":',
        "if not isinstance(entry, TransactionEntry):",
        ("tests/licenses/test_wallet.py::test_nothing_is_disclosed_for_a_use_that_failed",),
    ),
    Mutant(
        "disclosure-before-the-record",
        "A wallet discloses for another use than the evidence shows to be recorded.",
        "licenses/disclosure.py",
        "        if use.id == use_id:\n            return use\n    raise InvalidProof",
        "        if use.id:\n            return use\n    raise InvalidProof",
        ("tests/licenses/test_wallet.py::test_nothing_is_disclosed_before_the_use_is_recorded",),
    ),
    Mutant(
        "disclosure-without-consent",
        "A wallet discloses for a use that is recorded with another consent than it gave.",
        _HOLDING,
        "if receipt is None or receipt.consent is None or use.signed_consent is None:",
        "if use.signed_consent is None:",
        (
            "tests/licenses/test_wallet.py::test_a_use_that_the_holder_did_not_consent_to_is_not_disclosed",
        ),
    ),
    Mutant(
        "wallet-believes-an-old-policy",
        "A wallet discloses on the word of validators that may have left long ago.",
        "licenses/wallet.py",
        "        trust.require_young(view, now_ms)\n        return evidence",
        "        return evidence",
        (
            "tests/licenses/test_wallet_policy.py::test_under_a_policy_that_is_too_old_nothing_is_believed_nor_disclosed",
        ),
    ),
    Mutant(
        "request-answered-twice",
        "A wallet consents to a request that it has answered already.",
        _HOLDING,
        "if any(receipt.request_hash == request_hash for receipt in holding.receipts):",
        "if any(not receipt.use_id for receipt in holding.receipts):",
        ("tests/licenses/test_wallet.py::test_a_wallet_consents_to_a_request_once",),
    ),
    Mutant(
        "receipt-removed-too-early",
        "A receipt is removed while its request may still be answered: it could be, twice.",
        "licenses/receipts.py",
        "return now_ms >= last_ms",
        "return now_ms >= last_ms - last_ms",
        (
            "tests/licenses/test_wallet_receipts.py::test_a_receipt_on_which_something_rests_is_not_removed",
        ),
    ),
    Mutant(
        "presentation-for-another-audience",
        "A presentation that was made for somebody else is accepted.",
        "licenses/verification.py",
        'audience = question.audience or binding.payload.get("aud")',
        'audience = binding.payload.get("aud")',
        (
            "tests/licenses/test_verification_of_presentations.py::test_a_presentation_is_bound_to_audience_and_nonce",
        ),
    ),
    Mutant(
        "copied-presentation-accepted",
        "A presentation that the verifier has not asked for is taken for its holder's.",
        "licenses/verification.py",
        "if question.use_id is None and not (question.audience and question.nonce):",
        "if question.use_id is None and not (question.audience or nonce):",
        (
            "tests/licenses/test_verification_of_presentations.py::test_a_presentation_that_nobody_asked_for_may_be_a_copy",
        ),
    ),
    Mutant(
        "consent-under-an-old-policy",
        "A wallet consents although it will not believe the use to be recorded, nor disclose.",
        "licenses/wallet.py",
        "trust.require_reliance(self.suite, held, now_ms, expires_ms)",
        "trust.require_reliance(self.suite, held, 0, min(0, now_ms, expires_ms))",
        (
            "tests/licenses/test_wallet_policy.py::test_nothing_is_begun_under_a_policy_that_is_too_old_to_disclose",
        ),
    ),
    Mutant(
        "former-policy-forgotten",
        "What was proved before a consensus key alone was replaced verifies under no policy any more.",
        "licenses/trust.py",
        "return replace(policy, as_of=None), validators_hash",
        "return replace(policy, as_of=None), validators_hash and None",
        (
            "tests/licenses/test_wallet_policy.py::test_what_was_proved_before_a_consensus_key_alone_was_replaced_stays_proved",
        ),
    ),
    Mutant(
        "unexported-evidence-removed",
        "Evidence that could not be exported is removed from the wallet.",
        "cli/wallet_receipts.py",
        'return tuple(receipt for receipt, row in pairs if "problem" not in row)',
        "return tuple(receipt for receipt, row in pairs if row)",
        ("tests/cli/test_wallet_receipts.py::test_evidence_that_was_not_exported_is_not_removed",),
    ),
    Mutant(
        "change-at-the-anchor-never-asked-for",
        "A policy of a change's own checkpoint is never renewed past that change.",
        "cli/validator_changes.py",
        "max(0, anchor.size - 1)",
        "max(0, anchor.size)",
        (
            "tests/cli/test_wallet_link.py::test_a_policy_renewed_at_a_change_s_own_checkpoint_is_renewed_through_the_change_next",
        ),
    ),
    Mutant(
        "binding-cut-off",
        "A presentation for another use is valid once its key binding is cut off.",
        "licenses/verification.py",
        "            if use.consent is not None:\n                self.unknown(",
        "            if use.consent is not None and beyond:\n                self.unknown(",
        (
            "tests/licenses/test_verification_of_presentations.py::test_less_evidence_is_never_better",
        ),
    ),
    Mutant(
        "fields-beyond-the-grant-accepted",
        "A disclosure shows more than the holder granted, and is accepted.",
        "licenses/disclosure.py",
        "if beyond or credential.identifier is not None:",
        "if credential.identifier is not None:",
        ("tests/licenses/test_disclosure.py::test_a_disclosure_of_more_than_granted_is_refused",),
    ),
    Mutant(
        "code-claimed-twice",
        "A one-time code is good for a second window.",
        _SESSION,
        "if session is None or session.window_token is not None:",
        "if session is None:",
        ("tests/licenses/test_session.py::test_a_code_is_claimed_once",),
    ),
    Mutant(
        "codes-guessed-without-limit",
        "An operator may try one-time codes as often as he likes.",
        _SESSION,
        "if len(self._failures.get(name, ())) >= limit:",
        "if len(self._failures.get(name, ())) >= 1_000 * limit:",
        ("tests/licenses/test_session.py::test_an_operator_has_five_wrong_tries_in_ten_minutes",),
    ),
    Mutant(
        "base64url-with-bits-left-over-accepted",
        "One signature can be written in two ways.",
        "ledger/base64url.py",
        "if rest and text[-1] not in _LAST_CHARACTERS[rest]:",
        "if rest == 2 and text[-1] not in _LAST_CHARACTERS[rest]:",
        ("tests/ledger/test_base64url.py::test_bits_left_over_in_the_last_character_are_refused",),
    ),
    Mutant(
        "deep-json-accepted",
        "Objects do not count where the depth of JSON is bounded.",
        "ledger/strict_json.py",
        'if data.count(b"[") + data.count(b"{") >= max_depth:',
        'if data.count(b"[") >= max_depth:',
        (
            "tests/ledger/test_strict_json.py::test_json_is_read_down_to_its_deepest_level_and_no_further",
        ),
    ),
)

_LISTED: Final[tuple[Mutant, ...]] = (
    Mutant(
        "any-list-of-as-many-uses-complete",
        "A list of uses is held against their number alone, not against the chain over them.",
        "licenses/receipts.py",
        "if len(uses) != record.uses or head != record.last_use:",
        "if len(uses) != record.uses or (head is None) != (record.last_use is None):",
        (
            "tests/licenses/test_wallet.py::test_a_complete_list_of_uses_is_told_from_any_other",
            "tests/cli/test_use_list.py::test_a_list_that_the_record_does_not_count_is_false",
        ),
    ),
)

LICENSES: Final = (*_USES, *_ISSUED, *_DISCLOSED, *_LISTED)
