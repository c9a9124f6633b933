"""Bugs of the ledger: encoding, keys, transactions, blocks, execution, membership, the store."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

_CODEC: Final = "ledger/codec.py"
_SUITE: Final = "ledger/suite.py"
_ADMISSION: Final = "ledger/admission.py"
_VALIDATION: Final = "ledger/validation.py"
_EXECUTION: Final = "ledger/execution.py"
_STORE: Final = "ledger/store.py"
_MEMBERSHIP: Final = "ledger/membership_operations.py"
_VALIDATORS: Final = "ledger/validator_operations.py"

_OUTSIDE_PROFILE: Final = "tests/ledger/test_codec.py::test_what_is_outside_the_profile_is_refused"
_BAD_TRANSACTIONS: Final = (
    "tests/ledger/test_validation.py"
    "::test_a_block_with_such_a_transaction_is_invalid_and_no_proposer_builds_it"
)
_BAD_EVIDENCE: Final = (
    "tests/ledger/test_validation.py::test_evidence_that_is_not_good_makes_a_block_invalid"
)

_FORMS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "disordered-map-accepted",
        "An encoding whose map keys are out of order is accepted.",
        _CODEC,
        "if canonical != data:",
        "if len(canonical) != len(data):",
        (_OUTSIDE_PROFILE,),
    ),
    Mutant(
        "duplicate-map-keys-accepted",
        "An encoding with a map key twice, or with a number in a longer form, is accepted.",
        _CODEC,
        "if canonical != data:",
        "if canonical != data and len(canonical) >= len(data):",
        (_OUTSIDE_PROFILE,),
    ),
    Mutant(
        "map-encoded-as-it-was-built",
        "A map is encoded, and hashed, in the order in which it was built.",
        _CODEC,
        '(order="deterministic")',
        "(order=None)",
        ("tests/ledger/test_codec.py::test_the_order_in_which_a_map_was_built_does_not_matter",),
    ),
    Mutant(
        "long-maps-left-to-the-packer",
        "A stranger's long map goes to the packer in any order: its quicksort overflows the stack on a bad one.",
        _CODEC,
        "if len(value) > _FEW_KEYS and list(value) != sorted(value):",
        "if len(value) > 2**63 and list(value) != sorted(value):",
        (
            "tests/ledger/test_codec.py::test_the_keys_of_a_long_map_are_found_out_of_order_before_anybody_sorts_them[65]",
        ),
    ),
    Mutant(
        "validators-hashed-as-a-set",
        "The hash of a validator set iterates a Python set: it hangs on the process' hash seed.",
        "ledger/validators.py",
        "tuple(\n                    (v.name, str(v.consensus_key), str(v.log_key), str(v.witness_key))\n"
        "                    for v in self.validators\n                )",
        "tuple(\n                    {(v.name, str(v.consensus_key), str(v.log_key), str(v.witness_key))\n"
        "                    for v in self.validators}\n                )",
        ("tests/sim/test_sim.py::test_a_seed_gives_the_same_run_in_another_process",),
    ),
    Mutant(
        "kind-not-part-of-what-is-hashed",
        "What is signed or hashed does not name its kind: one structure passes for another.",
        _SUITE,
        r'return b"mulu/%s/v1\0%s" % (kind.encode("ascii"), encoding)',
        r'return b"mulu/v1\0%s" % encoding',
        (
            "tests/ledger/test_suite.py::test_what_is_signed_for_one_kind_is_never_what_is_signed_for_another",
        ),
    ),
    Mutant(
        "low-order-key-accepted",
        "A key of low order is accepted: it verifies signatures that nobody made.",
        _SUITE,
        "if not nacl.bindings.crypto_core_ed25519_is_valid_point(key.data):",
        "if len(key.data) != nacl.bindings.crypto_sign_PUBLICKEYBYTES:",
        ("tests/ledger/test_suite.py::test_a_key_of_low_order_or_not_canonical_is_refused",),
    ),
    Mutant(
        "non-canonical-s-accepted",
        "A P-256 signature with its high s is good too: one signature in two encodings.",
        _SUITE,
        "0 < r < _P256_ORDER and 0 < s <= _P256_ORDER // 2",
        "0 < r < _P256_ORDER and 0 < s < _P256_ORDER",
        ("tests/ledger/test_keys.py::test_p256_signatures_are_those_of_rfc_6979_with_low_s",),
    ),
)

_TRANSACTIONS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "bad-signature-accepted",
        "A transaction's signature is not verified.",
        _ADMISSION,
        "if verify and not transaction.verify(suite):",
        "if verify and not transaction.signature:",
        (_BAD_TRANSACTIONS,),
    ),
    Mutant(
        "transaction-of-another-chain-accepted",
        "A transaction that was signed for another chain stands in a block.",
        _VALIDATION,
        "        check_chain(transaction, self._basis.genesis.chain_id)\n",
        "",
        (_BAD_TRANSACTIONS,),
    ),
    Mutant(
        "expired-transaction-accepted",
        "A transaction stands in a block after its valid_until.",
        _ADMISSION,
        "if transaction.valid_until_ms < time_ms:",
        "if transaction.valid_until_ms < 0:",
        (_BAD_TRANSACTIONS,),
    ),
    Mutant(
        "transaction-lifetime-unbounded",
        "A transaction may be valid for longer than its id must be remembered.",
        _ADMISSION,
        "if transaction.valid_until_ms > time_ms + lifetime_ms:",
        "if transaction.valid_until_ms > time_ms + 1_000 * lifetime_ms:",
        (_BAD_TRANSACTIONS,),
    ),
    Mutant(
        "transaction-twice-in-a-block",
        "A block may hold the same transaction twice.",
        _VALIDATION,
        "        self._ids.add(transaction.id)\n",
        "",
        ("tests/ledger/test_validation.py::test_the_same_transaction_twice_in_a_block_is_refused",),
    ),
    Mutant(
        "transaction-replayed",
        "A transaction that the log holds stands in a later block again.",
        _VALIDATION,
        "if self._basis.history.transaction_index(transaction.id) is not None:",
        "if self._basis.history.transaction_index(transaction.body) is not None:",
        (
            "tests/ledger/test_validation.py::test_a_transaction_that_the_log_holds_is_refused_for_all_its_lifetime",
        ),
    ),
    Mutant(
        "transaction-replayed-after-a-restart",
        "Ids of committed transactions are not written: after a restart they may come again.",
        "ledger/finalization.py",
        '        batch.put(keyspace.transaction(prepared.id), index.to_bytes(8, "big"))',
        "        batch.changes.get(keyspace.transaction(prepared.id), index)",
        (
            "tests/ledger/test_validation.py::test_a_transaction_that_the_log_holds_is_refused_for_all_its_lifetime",
        ),
    ),
    Mutant(
        "revoked-key-accepted",
        "A revoked key signs transactions that stand in blocks.",
        _ADMISSION,
        "if not found.active:",
        'if found.status == "unknown":',
        (
            (
                "tests/ledger/test_validation.py"
                "::test_a_key_revoked_by_an_earlier_block_signs_nothing_that_a_block_may_hold"
            ),
        ),
    ),
    Mutant(
        "signer-not-looked-up-before-the-block",
        "A key that a block enrols signs transactions of that same block.",
        _VALIDATION,
        "            registered_key(self._basis.state, prepared.signer)\n",
        "",
        (
            "tests/ledger/test_validation.py::test_a_key_enrolled_by_this_block_may_sign_from_the_next_one_on",
        ),
    ),
    Mutant(
        "signer-looked-up-before-the-block-only",
        "A key that a block revokes signs the rest of that block.",
        _EXECUTION,
        "authority = signers.look_up(block, prepared.signer)",
        "authority = signers.look_up(block._base, prepared.signer)",
        (
            "tests/ledger/test_application.py::test_a_key_revoked_earlier_in_the_block_signs_nothing_more",
        ),
    ),
    Mutant(
        "role-not-checked",
        "An operation runs whatever the roles of its signer's key.",
        _EXECUTION,
        "if needed and needed.isdisjoint(roles):",
        "if needed and not roles:",
        ("tests/ledger/test_application.py::test_a_signer_without_the_role_fails",),
    ),
)

_BLOCKS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "header-not-checked",
        "Of a proposed block's header only the block before is checked, not roots and hashes.",
        _VALIDATION,
        "if header != expected:",
        "if header.last_block_id != expected.last_block_id:",
        ("tests/ledger/test_validation.py::test_every_field_of_the_header_is_checked",),
    ),
    Mutant(
        "block-time-stands-still",
        "A block may have the time of the block before it.",
        _VALIDATION,
        "if header.time_ms <= tip.time_ms:",
        "if header.time_ms < tip.time_ms:",
        ("tests/ledger/test_validation.py::test_every_field_of_the_header_is_checked",),
    ),
    Mutant(
        "oversize-block-accepted",
        "A block may be larger than the chain allows.",
        _VALIDATION,
        "if size > maximum:",
        "if size > 2 * maximum:",
        (
            "tests/ledger/test_validation.py::test_a_proposer_fills_a_block_up_to_its_limit_in_order",
        ),
    ),
    Mutant(
        "last-commit-not-verified",
        "A block's proof that the block before was decided is not verified.",
        _VALIDATION,
        "        verify_commit(basis.genesis.suite, basis.genesis.chain_id, tip.last_validators, last_commit)",
        "        basis.genesis.suite.hash(basis.genesis.chain_id, last_commit.encode())",
        (
            "tests/ledger/test_validation.py::test_the_last_commit_must_be_the_validators_word_for_the_last_block",
        ),
    ),
    Mutant(
        "evidence-not-checked",
        "Evidence in a block is taken for good.",
        _VALIDATION,
        "        check_evidence(basis, one)\n\n\nclass TransactionRules:",
        "        basis.history.validators(one.height)\n\n\nclass TransactionRules:",
        (_BAD_EVIDENCE,),
    ),
    Mutant(
        "forged-evidence-accepted",
        "The signatures of evidence are not verified: anybody can accuse.",
        "ledger/evidence.py",
        "if not signed.verify(suite, validator.consensus_key):",
        "if not signed.signature:",
        (_BAD_EVIDENCE,),
    ),
    Mutant(
        "double-voters-key-comes-back",
        "A key that is proved to have signed twice may be a validator's again.",
        _VALIDATORS,
        "if any(is_faulty_key(state, key) for key in keys):",
        "if all(is_faulty_key(state, key) for key in keys):",
        (
            "tests/ledger/test_validator_operations.py::test_a_key_that_signed_twice_does_not_come_back",
        ),
    ),
    Mutant(
        "synced-commit-not-verified",
        "A block fetched from a peer is applied without the word of its validators.",
        _VALIDATION,
        "        verify_commit(basis.genesis.suite, basis.genesis.chain_id, basis.tip.validators, commit)\n",
        "",
        ("tests/ledger/test_application.py::test_a_synced_block_needs_the_word_of_its_validators",),
    ),
    Mutant(
        "wall-clock-in-a-handler",
        "A handler takes the time from its machine's clock, not from the block.",
        _MEMBERSHIP,
        'EnrolledKey(body.organisation, body.roles, "active", context.time_ms, None, None),',
        'EnrolledKey(body.organisation, body.roles, "active",'
        ' __import__("time").time_ns() // 1_000_000, None, None),',
        (
            "tests/ledger/test_membership.py::test_enrolment_and_revocation_bear_the_time_of_their_block",
        ),
    ),
    Mutant(
        "failed-transaction-leaves-traces",
        "What a transaction wrote before one of its operations failed stays in the state.",
        _EXECUTION,
        "    except InvalidOperation as refusal:\n",
        "    except InvalidOperation as refusal:\n"
        "        overlay.merge_into(block)\n"
        "        encodings.update((k, encode(v)) for k, v in overlay.changes.items() if v is not None)\n",
        (
            "tests/ledger/test_application.py::test_a_failed_operation_undoes_its_whole_transaction_and_is_recorded",
        ),
    ),
    Mutant(
        "handlers-bug-stops-the-node",
        "An exception that no handler meant to raise ends every node that executes the block.",
        _EXECUTION,
        "    except BaseException as error:\n        report(transaction.id, kind, error)",
        "    except LookupError as error:\n        report(transaction.id, kind, error)",
        (
            "tests/ledger/test_application.py::test_a_failed_operation_undoes_its_whole_transaction_and_is_recorded",
        ),
    ),
    Mutant(
        "validators-change-a-height-early",
        "A change of validators takes effect at the next height, not at the one after.",
        "ledger/finalization.py",
        "        validators=tip.next_validators,\n        next_validators=execution",
        "        validators=execution.next_validators or tip.next_validators,\n"
        "        next_validators=execution",
        (
            "tests/ledger/test_application.py::test_a_change_of_validators_takes_effect_two_heights_on_and_is_logged",
        ),
    ),
)

_MEMBERS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "one-controller-with-a-third",
        "One authority may control a third of the validators, and halt the chain.",
        "ledger/validators.py",
        "if 3 * share >= n:",
        "if 3 * share > n:",
        ("tests/ledger/test_votes.py::test_no_controller_may_have_a_third",),
    ),
    Mutant(
        "punishment-leaves-a-controller-with-a-third",
        "A double voter is removed even where another controller then has a third of the validators.",
        "ledger/membership.py",
        "leaves = distribution_problem(others) is None",
        "leaves = len(others) >= 4",
        (
            "tests/ledger/test_validator_operations.py::test_a_double_voter_stays_where_another_would_control_a_third",
            "tests/ledger/test_validator_operations.py::test_whoever_is_punished_a_set_that_could_run_a_chain_still_can",
        ),
    ),
    Mutant(
        "validator-admitted-by-half",
        "Half of the validators' controllers are enough to change the set.",
        _VALIDATORS,
        "if is_quorum(votes, len(current)):",
        "if 2 * votes >= len(current):",
        (
            (
                "tests/ledger/test_validator_operations.py"
                "::test_a_validator_is_admitted_by_controllers_of_more_than_two_thirds_and_not_before"
            ),
        ),
    ),
    Mutant(
        "enrolment-without-possession",
        "A key is enrolled without having signed its enrolment.",
        _MEMBERSHIP,
        "if not context.suite.verify(PublicKey.parse(body.key), message, body.possession):",
        "if not PublicKey.parse(body.key) or not message:",
        (
            "tests/ledger/test_membership.py::test_a_key_must_sign_its_own_enrolment_for_this_chain_and_these_roles",
        ),
    ),
    Mutant(
        "authority-enrols-anothers-governor",
        "The authority above enrols governors for those who control validators.",
        _MEMBERSHIP,
        "if controls_validator(state, record.uscc):",
        "if controls_validator(state, context.transaction_id.hex()):",
        (
            (
                "tests/ledger/test_membership.py"
                "::test_an_organisation_that_controls_a_validator_looks_after_its_keys_alone"
            ),
        ),
    ),
    Mutant(
        "proposal-never-expires",
        "A proposed change of validators may be completed years later.",
        _VALIDATORS,
        "if context.time_ms > proposal.expires_ms:",
        "if proposal.expires_ms < 0:",
        ("tests/ledger/test_validator_operations.py::test_a_proposal_expires",),
    ),
)

_DISK: Final[tuple[Mutant, ...]] = (
    Mutant(
        "batch-not-synced",
        "A block's batch is acknowledged before it is synced: power loss undoes it.",
        _STORE,
        "self._database.write_batch(transaction=True, sync=True)",
        "self._database.write_batch(transaction=True, sync=False)",
        ("tests/ledger/test_store.py::test_every_batch_is_written_whole_and_synced",),
    ),
    Mutant(
        "head-marker-not-written",
        "The head marker is not brought forward: a log cut short passes for a crash.",
        _STORE,
        "            self._marker.write(head)\n            self._head = head",
        "            self._head = head",
        ("tests/ledger/test_store_damage.py::test_a_log_cut_short_is_behind_its_marker",),
    ),
    Mutant(
        "head-marker-not-synced",
        "The head marker is written, but not synced.",
        "ledger/head_marker.py",
        "        os.fdatasync(self._descriptor)\n",
        "",
        ("tests/ledger/test_store.py::test_a_failed_sync_of_the_marker_stops_the_store_too",),
    ),
    Mutant(
        "write-after-a-failed-sync",
        "After a write or sync has failed the store goes on writing.",
        _STORE,
        "                self._failure = _text(error)\n",
        "",
        (
            "tests/ledger/test_store.py::test_after_a_failed_write_the_store_refuses_all_further_writes",
        ),
    ),
    Mutant(
        "checksums-not-verified",
        "The database's checksums are not verified when a row is read.",
        _STORE,
        "return source.get(key, verify_checksums=True)",
        "return source.get(key, verify_checksums=False)",
        (
            "tests/ledger/test_store_damage.py::test_a_flipped_byte_in_a_table_never_reaches_a_reader",
        ),
    ),
    Mutant(
        "database-behind-its-marker-opened",
        "A database that lacks the height that its marker names is opened and used.",
        _STORE,
        "        or head.height < marked.height\n",
        "",
        ("tests/ledger/test_store_damage.py::test_a_log_cut_short_is_behind_its_marker",),
    ),
)

LEDGER: Final = (*_FORMS, *_TRANSACTIONS, *_BLOCKS, *_MEMBERS, *_DISK)
