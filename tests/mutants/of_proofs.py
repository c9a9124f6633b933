"""Bugs of trees, proofs and the verifiers of them."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

_MERKLE: Final = "ledger/merkle.py"
_TREE: Final = "ledger/state_tree.py"
_LIGHT: Final = "ledger/light.py"
_POLICY: Final = "ledger/policy.py"

PROOFS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "odd-leaf-duplicated",
        "The odd node of a level is paired with itself: two lists of entries have one root.",
        _MERKLE,
        "            above.append(level[-1])",
        "            above.append(digest(_NODE + level[-1] + level[-1]))",
        ("tests/ledger/test_merkle.py::test_an_odd_leaf_is_not_duplicated",),
    ),
    Mutant(
        "leaf-without-prefix",
        "Leaves are hashed without their prefix: an inner node passes for an entry.",
        _MERKLE,
        "return suite.digest(_LEAF + entry)",
        "return suite.digest(entry)",
        ("tests/ledger/test_merkle.py::test_a_node_cannot_pass_as_an_entry",),
    ),
    Mutant(
        "inclusion-proof-with-extra-siblings",
        "Hashes beyond the end of an inclusion proof are passed over.",
        _MERKLE,
        'raise InvalidProof("inclusion proof is too long")',
        "break",
        (
            "tests/ledger/test_merkle.py::test_an_inclusion_proof_verifies_for_its_own_leaf_place_and_root_only",
        ),
    ),
    Mutant(
        "inclusion-proof-too-short",
        "An inclusion proof may end before it has reached the root's level.",
        _MERKLE,
        "    if last != 0:\n"
        '        raise InvalidProof("inclusion proof is too short")\n'
        "    if computed != root:",
        "    if computed != root:",
        (
            "tests/ledger/test_merkle.py::test_an_inclusion_proof_verifies_for_its_own_leaf_place_and_root_only",
        ),
    ),
    Mutant(
        "old-root-of-consistency-unchecked",
        "A consistency proof is not held against the old root: a log may be rewritten.",
        _MERKLE,
        "if old_computed != old_root:",
        "if len(old_computed) != len(old_root):",
        ("tests/ledger/test_merkle.py::test_a_consistency_proof_verifies_for_its_own_roots_only",),
    ),
    Mutant(
        "new-root-of-consistency-unchecked",
        "A consistency proof is not held against the new root.",
        _MERKLE,
        "if new_computed != new_root:",
        "if len(new_computed) != len(new_root):",
        ("tests/ledger/test_merkle.py::test_a_consistency_proof_verifies_for_its_own_roots_only",),
    ),
    Mutant(
        "false-tiles-show-a-fork",
        "Tiles that do not lead to the newer checkpoint are held against the older one.",
        "ledger/growth.py",
        "    merkle.verify_consistency(suite, old.size, new.size, proof, root, new.root)",
        "    assert proof is not None",
        (
            "tests/ledger/test_growth.py::test_tiles_that_are_not_the_checkpoint_s_show_no_contradiction",
        ),
    ),
    Mutant(
        "no-collapse-after-a-deletion",
        "A subtree that a deletion leaves with one leaf keeps its inner node.",
        _TREE,
        "if occupied != draft.lone or occupied & (occupied - 1):",
        "if occupied:",
        ("tests/ledger/test_state_tree.py::test_the_root_is_that_of_a_rebuild_after_every_batch",),
    ),
    Mutant(
        "absence-shown-by-any-leaf",
        "The leaf of a key on another path shows that a key is absent.",
        _TREE,
        "if (other_path ^ path) >> (MAX_DEPTH - depth):",
        "if depth > MAX_DEPTH:",
        (
            "tests/ledger/test_state_tree.py::test_a_leaf_out_of_its_place_shows_nothing_even_under_a_root_that_holds_it",
        ),
    ),
    Mutant(
        "absence-shown-by-the-keys-own-leaf",
        "A key's own leaf, with its value, shows that the key is absent.",
        _TREE,
        "if other_path == path:",
        "if other_path == 0:",
        ("tests/ledger/test_state_tree.py::test_a_keys_own_leaf_never_shows_that_it_is_absent",),
    ),
    Mutant(
        "state-page-not-the-parents",
        "A page of the state tree is used although its root is not what its parent names.",
        "ledger/state_store.py",
        "if page.root != root:",
        "if len(page.root) != len(root):",
        (
            "tests/ledger/test_state_store.py::test_a_page_that_is_not_the_one_its_parent_names_is_damage",
        ),
    ),
    Mutant(
        "cosignature-quorum-of-half",
        "Cosignatures by half of the validators make a quorum.",
        _POLICY,
        "threshold = next(k for k in range(len(members) + 2) if is_quorum(k, len(members)))",
        "threshold = max(1, len(members) // 2)",
        (
            (
                "tests/ledger/test_policy.py"
                "::test_a_networks_policy_asks_for_more_than_two_thirds_of_any_number_of_validators"
            ),
        ),
    ),
    Mutant(
        "cosignature-threshold-off-by-one",
        "A group of witnesses is satisfied by one fewer than its threshold.",
        _POLICY,
        "            if len(newest) >= group.threshold:\n"
        "                vouched[group.name] = newest[group.threshold - 1]",
        "            if newest and len(newest) >= group.threshold - 1:\n"
        "                vouched[group.name] = newest[-1]",
        (
            "tests/ledger/test_policy.py::test_the_nested_quorum_holds_exactly_when_both_groups_agree",
        ),
    ),
    Mutant(
        "one-witness-signs-twice",
        "Two signatures by one known key do not reject a checkpoint.",
        _POLICY,
        "if any(item is signed_by for item in seen):",
        "if any(item is signed_by for item in seen) and unknown > 1_000:",
        (
            "tests/ledger/test_policy.py::test_a_bad_signature_of_a_known_key_and_a_second_one_reject_the_checkpoint",
        ),
    ),
    Mutant(
        "known-checkpoint-of-the-replaced-set",
        "What the anchor's validators vouched for is believed of those who replaced them.",
        _LIGHT,
        "key = (self._changed_to, signed)",
        "key = (None, signed)",
        (
            "tests/ledger/test_light.py::test_what_the_anchor_s_set_vouched_for_is_no_word_of_the_set_that_replaced_it",
        ),
    ),
    Mutant(
        "old-anchor-accepted",
        "A policy counts however old its as-of line is, though its keys may have leaked since.",
        _LIGHT,
        "if anchor_age_ms > max_anchor_age_ms:",
        "if anchor_age_ms > 1_000 * max_anchor_age_ms:",
        (
            "tests/ledger/test_light.py::test_now_is_established_while_checkpoint_and_anchor_are_young",
        ),
    ),
    Mutant(
        "policy-without-as-of-knows-now",
        "A policy without an as-of line, so of unknown age, tells what holds now.",
        _LIGHT,
        "        if self.anchor is None:\n            raise NotEstablishedError(\n"
        '                "no_anchor", "the policy has no as-of line, so its age is unknown"\n'
        "            )\n        anchor_age_ms = now_ms - self.anchor.time_s * 1000",
        "        anchor_age_ms = 0 if self.anchor is None else now_ms - self.anchor.time_s * 1000",
        (
            (
                "tests/ledger/test_light.py"
                "::test_a_policy_without_as_of_line_verifies_but_follows_no_change_and_knows_no_now"
            ),
        ),
    ),
    Mutant(
        "stale-checkpoint-called-fresh",
        "A checkpoint counts as what holds now, however old it is.",
        _LIGHT,
        "if now_ms - as_of_ms > fresh_ms:",
        "if now_ms - as_of_ms > 1_000 * fresh_ms:",
        (
            "tests/ledger/test_light.py::test_now_is_established_while_checkpoint_and_anchor_are_young",
        ),
    ),
    Mutant(
        "past-state-called-current",
        "A past value under a fresh checkpoint passes for the present one.",
        _LIGHT,
        "is_current = verified.index == checkpoint.checkpoint.size - 1",
        "is_current = verified.index < checkpoint.checkpoint.size",
        ("tests/ledger/test_light.py::test_a_past_value_under_a_fresh_checkpoint_is_a_past_value",),
    ),
    Mutant(
        "change-names-no-next-set",
        "A change of validators may list others than the block entry names.",
        _LIGHT,
        "if change.validators.hash(self._suite) != block.next_validators_hash:",
        "if not change.validators.hash(self._suite):",
        (
            "tests/ledger/test_light.py::test_a_change_names_the_present_set_and_lists_exactly_the_next",
        ),
    ),
    Mutant(
        "old-set-cosigns-after-its-change",
        "The set that a change replaced may cosign what follows the change.",
        _LIGHT,
        "if verified.index != size - 1:",
        "if verified.index >= size:",
        ("tests/ledger/test_light.py::test_the_old_set_cosigns_nothing_after_the_change",),
    ),
    Mutant(
        "bundle-digest-not-checked",
        "A damaged bundle is not told from a whole one.",
        "ledger/bundle.py",
        "if suite.digest(content) != digest:",
        "if len(digest) != HASH_BYTES:",
        ("tests/ledger/test_bundle.py::test_any_changed_byte_of_a_bundle_is_told",),
    ),
    Mutant(
        "proven-view-of-another-root",
        "A quorum for another root of the log's size proves this node's own root.",
        "ledger/proven.py",
        "if signed.checkpoint.root != root:",
        "if len(signed.checkpoint.root) != len(root):",
        (
            "tests/ledger/test_application.py::test_a_quorum_for_another_root_of_our_size_stops_the_node",
        ),
    ),
    Mutant(
        "proven-view-goes-back",
        "An older checkpoint takes the proven view back.",
        "ledger/proven.py",
        "if newest is not None and (newest.size, newest.time_s) >= (proven.size, proven.time_s):",
        "if newest is not None and newest.time_s > proven.time_s + 10**9:",
        (
            "tests/ledger/test_application.py::test_an_idle_chain_takes_newer_times_of_the_same_checkpoint",
        ),
    ),
)
