"""Bugs of the node: mempool, bodies, synchronisation, links, certificates, tokens, roles at the API."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

_MEMPOOL: Final = "node/mempool.py"
_PEERS: Final = "node/peers.py"
_AUTH: Final = "node/auth.py"
_SYNC: Final = "node/block_sync.py"
_CHECKPOINTS: Final = "node/checkpointing.py"

_STRANGERS: Final = "tests/node/test_peers.py::test_a_stranger_is_refused"
_BOUNDS: Final = "tests/node/test_peers.py::test_a_message_beyond_its_bounds_is_refused"

NODE: Final[tuple[Mutant, ...]] = (
    Mutant(
        "mempool-unbounded-in-bytes",
        "The mempool takes transactions up to its number, whatever their size.",
        _MEMPOOL,
        "while len(self._by_id) >= self._max_count or self._bytes + size > self._max_bytes:",
        "while len(self._by_id) >= self._max_count:",
        (
            "tests/node/test_mempool.py::test_a_pool_is_full_in_bytes_however_few_transactions_it_holds",
        ),
    ),
    Mutant(
        "mempool-unbounded-in-number",
        "The mempool takes transactions up to its size, however many they are.",
        _MEMPOOL,
        "while len(self._by_id) >= self._max_count or self._bytes + size > self._max_bytes:",
        "while self._bytes + size > self._max_bytes:",
        ("tests/node/test_mempool.py::test_a_full_pool_refuses_whoever_holds_most_of_it",),
    ),
    Mutant(
        "mempool-unfair",
        "A block takes all that one organisation has submitted before it takes from the next.",
        _MEMPOOL,
        "        sources = [iter(queue.values()) for queue in self._queues.values()]",
        "        sources = [iter([one for queue in self._queues.values() for one in queue.values()])]",
        (
            "tests/node/test_mempool.py::test_organisations_take_turns_however_many_one_has_submitted",
        ),
    ),
    Mutant(
        "body-of-another-block-taken",
        "A body is taken for the block that was asked for without looking at its id.",
        "node/bodies.py",
        "if block.header.height != height or block.id(self._suite) != block_id:",
        "if block.header.height != height:",
        ("tests/node/test_bodies.py::test_a_body_is_taken_for_the_block_of_its_id_only",),
    ),
    Mutant(
        "body-not-held-against-its-header",
        "A body may hold other transactions than its header names: one id, two blocks.",
        "node/bodies.py",
        "            block.check_body(self._suite)\n",
        "",
        ("tests/node/test_bodies.py::test_a_body_holds_what_its_header_names",),
    ),
    Mutant(
        "second-body-under-a-known-id",
        "Once a block's body is known, other bytes under the same id pass for it.",
        "node/bodies.py",
        "if known is not None and known[0] == body:",
        "if known is not None:",
        ("tests/node/test_bodies.py::test_other_bytes_under_a_known_id_are_checked_again",),
    ),
    Mutant(
        "fetched-blocks-with-a-gap",
        "Blocks that a peer sends for other heights than were asked for are handed on.",
        _SYNC,
        "if block.header.height != from_height + offset:",
        "if block.header.height < from_height:",
        ("tests/node/test_misbehaviour.py::test_a_lying_synchronisation_peer_is_dropped",),
    ),
    Mutant(
        "target-by-the-loudest-peer",
        "A single peer's claim counts as the height that the network has reached.",
        _SYNC,
        "return reached_height(self._network, self._validators())",
        "return self.claimed",
        (
            "tests/node/test_misbehaviour.py::test_a_peer_that_claims_blocks_and_has_none_is_passed_over",
        ),
    ),
    Mutant(
        "frame-bound-off",
        "A frame may hold any number of transactions.",
        "node/messages.py",
        "if not 1 <= len(raws) <= MAX_TRANSACTIONS:",
        "if not raws:",
        (_BOUNDS,),
    ),
    Mutant(
        "sync-request-unbounded",
        "A peer may ask for any number of blocks at once.",
        "node/messages.py",
        "return GetBlocks(_height(height), _bounded(count, 1, MAX_SYNC_BLOCKS))",
        "return GetBlocks(_height(height), _bounded(count, 1, MAX_HEIGHT))",
        (_BOUNDS,),
    ),
    Mutant(
        "websocket-frame-unbounded",
        "A listening node reads frames of any size into memory.",
        _PEERS,
        "ServerProtocol(max_size=MAX_FRAME_BYTES, logger=_quiet_logger())",
        "ServerProtocol(max_size=None, logger=_quiet_logger())",
        ("tests/node/test_peers.py::test_a_frame_beyond_the_bound_ends_its_link",),
    ),
    Mutant(
        "certificate-of-another-controller",
        "A validator's name counts under any authority's certificate.",
        _PEERS,
        "if validator is not None and controllers and validator.controller not in controllers:",
        "if validator is not None and not identity.name:",
        (_STRANGERS,),
    ),
    Mutant(
        "authoritys-key-identifier-not-checked",
        "Who registers a CA with another's subject and key identifier cuts that one's links.",
        "node/certificates.py",
        "if identifier != x509.SubjectKeyIdentifier.from_public_key(parsed.public_key()):",
        "if not identifier:",
        (
            "tests/node/test_certificates.py::test_whatever_another_registers_a_nodes_certificate_opens_links_for_it_alone",
        ),
    ),
    Mutant(
        "certificate-name-not-checked",
        "Whoever answers at an address counts as the node that was dialled.",
        _PEERS,
        "if dialled is not None and identity.name != dialled:",
        "if False:",
        ("tests/node/test_peers.py::test_who_answers_in_anothers_place_is_refused",),
    ),
    Mutant(
        "hello-name-not-checked",
        "A node may call itself otherwise than its certificate.",
        _PEERS,
        'if hello.node != name or hello.role not in ("validator", "query"):',
        'if hello.role not in ("validator", "query"):',
        ("tests/node/test_peers.py::test_a_hello_that_does_not_fit_ends_the_connection",),
    ),
    Mutant(
        "node-of-another-chain-linked",
        "A node of another chain is linked.",
        _PEERS,
        "if hello.chain_id != chain_id:",
        "if not hello.chain_id:",
        (_STRANGERS,),
    ),
    Mutant(
        "revoked-members-link-stays",
        "A revoked member's link lives on.",
        _PEERS,
        '                _log.warning("link cut", peer=link.name, reason=str(error))\n'
        "                link.abort()\n",
        '                _log.warning("link cut", peer=link.name, reason=str(error))\n',
        ("tests/node/test_peers.py::test_a_member_whose_authority_is_revoked_is_cut_off_at_once",),
    ),
    Mutant(
        "liar-is-not-cut-off",
        "A peer that sent garbage may link again at once.",
        _PEERS,
        "return self._banned_until.get(name, 0.0) > time.monotonic()",
        "return self._banned_until.get(name, 0.0) > 10**9 + time.monotonic()",
        ("tests/node/test_peers.py::test_a_peer_that_sends_garbage_is_cut_off_for_a_while",),
    ),
    Mutant(
        "cut-off-peer-still-heard",
        "What a peer says after it was cut off is handed on until its link has ended.",
        _PEERS,
        "                if link.is_given_up:\n                    return None\n                match message:\n",
        "                match message:\n",
        ("tests/node/test_cut_off.py::test_what_it_says_afterwards_is_not_heard",),
    ),
    Mutant(
        "cut-off-peer-waited-for",
        "A peer that was cut off is a link until it has heard why.",
        _PEERS,
        "        link.cut(reason)\n        self._forget(link)\n",
        "        link.cut(reason)\n",
        ("tests/node/test_cut_off.py::test_who_is_cut_off_is_gone_at_once_and_learns_why",),
    ),
    Mutant(
        "queue-of-a-slow-peer-unbounded",
        "Frames for a peer that does not read pile up in memory.",
        "node/link.py",
        "if self._queued_bytes[priority] + len(frame) > QUEUE_BYTES[priority]:",
        "if self._queued_bytes[priority] < 0:",
        ("tests/node/test_peers.py::test_frames_for_a_slow_peer_are_bounded",),
    ),
    Mutant(
        "validators-slots-not-reserved",
        "Nodes that are no validators take all slots for links.",
        _PEERS,
        "return others < self._config.max_links - len(validators)",
        "return others < 1_000 + self._config.max_links",
        ("tests/node/test_peers.py::test_other_nodes_never_take_the_validators_slots",),
    ),
    Mutant(
        "checkpoint-of-another-root-merged",
        "Signatures of a checkpoint with another root are merged into our own.",
        _CHECKPOINTS,
        "if signed.checkpoint != collector.checkpoint:",
        "if signed.checkpoint.origin != collector.checkpoint.origin:",
        (
            "tests/node/test_checkpointing.py::test_another_root_is_kept_from_our_signatures_and_one_who_signs_it_may_be_faulty",
        ),
    ),
    Mutant(
        "one-dissenter-contradicts",
        "A single validator with another root makes a node call itself diverged.",
        _CHECKPOINTS,
        "if len(dissenters) > opened.validators.faults_tolerated and not self.is_contradicted:",
        "if dissenters and not self.is_contradicted:",
        (
            "tests/node/test_checkpointing.py::test_another_root_is_kept_from_our_signatures_and_one_who_signs_it_may_be_faulty",
        ),
    ),
    Mutant(
        "height-beside-a-checkpoint-believed",
        "A true checkpoint that a peer sends under another height makes a node call itself diverged.",
        _CHECKPOINTS,
        "if checkpoint.size != size:",
        "if checkpoint.size < 0:",
        (
            "tests/node/test_checkpointing.py::test_a_true_checkpoint_under_a_height_with_a_longer_log_blames_who_sent_it_and_nobody_else",
        ),
    ),
    Mutant(
        "forgery-beside-a-true-signature-borne",
        "A forged signature beside a true one of another root is borne, however often it comes.",
        _CHECKPOINTS,
        "if claimed - names:",
        "if not claimed:",
        (
            "tests/node/test_checkpointing.py::test_a_forged_signature_beside_a_true_one_of_another_root_is_the_senders_fault",
        ),
    ),
    Mutant(
        "another-root-told-again-and-again",
        "A validator that repeats that it signed another root is verified and logged each time.",
        _CHECKPOINTS,
        "if claimed and all(dissenters.get(name) == checkpoint for name in claimed):",
        "if not claimed and dissenters:",
        (
            "tests/node/test_checkpointing.py::test_who_repeats_that_it_signed_another_root_is_logged_once_whatever_it_adds",
        ),
    ),
    Mutant(
        "refusal-called-an-end",
        "A CometBFT that refuses a question counts as one that has ended.",
        "node/cometbft/client.py",
        "raise EngineSilentError(refusal)",
        "raise EngineUnavailableError(refusal)",
        (
            "tests/node/cometbft/test_client.py::test_who_refuses_to_tell_how_far_it_is_runs_all_the_same",
        ),
    ),
    Mutant(
        "silence-never-called-a-standstill",
        "A CometBFT that hangs, and answers no more, is left alone for ever.",
        "node/cometbft/standstill.py",
        "fetching = not self._has_answered",
        "fetching = True",
        (
            "tests/node/cometbft/test_standstill.py::test_it_has_stopped_where_for_long_others_went_on_and_it_did_not",
        ),
    ),
    Mutant(
        "late-connection-served-after-the-end",
        "A connection whose task begins when its server has just closed is served, and nobody ends it.",
        "consensus/cometbft/server.py",
        "if self._closing:",
        "if self._closing and self._writers:",
        (
            "tests/consensus/cometbft/test_server.py::test_a_connection_that_is_just_being_accepted_when_it_ends_is_not_served",
        ),
    ),
    Mutant(
        "contradicted-node-votes-on",
        "A node whose log the others' checkpoints contradict goes on voting, and says nothing of it but in a finding.",
        "node/runner.py",
        "return CONTRADICTED if self._is_contradicted() else None",
        "return None",
        (
            "tests/node/test_contradicted.py::test_it_votes_and_signs_no_more_and_every_place_says_the_same",
        ),
    ),
    Mutant(
        "contradicted-node-signs-checkpoints",
        "A node whose log the others' checkpoints contradict goes on signing its own.",
        _CHECKPOINTS,
        "if sign and self._signer is not None and not self.is_contradicted:",
        "if sign and self._signer is not None:",
        (
            "tests/node/test_contradicted.py::test_it_votes_and_signs_no_more_and_every_place_says_the_same",
        ),
    ),
    Mutant(
        "blocksync-called-a-standstill",
        "CometBFT is ended while it catches up by blocksync.",
        "node/cometbft/standstill.py",
        "if fetching or height != self._height or target - height < WELL_BEYOND:",
        "if height != self._height or target - height < WELL_BEYOND:",
        (
            "tests/node/cometbft/test_standstill.py::test_it_has_stopped_where_for_long_others_went_on_and_it_did_not",
        ),
    ),
    Mutant(
        "early-notes-unbounded",
        "Checkpoint notes for heights to come are kept, however many a peer sends.",
        _CHECKPOINTS,
        "while len(notes) > MAX_EARLY_NOTES:",
        "while len(notes) > 1_000 * MAX_EARLY_NOTES:",
        (
            "tests/node/test_checkpointing.py::test_notes_from_the_future_are_bounded_and_go_with_their_peer",
        ),
    ),
    Mutant(
        "token-for-another-chain-accepted",
        "A token that was made for another chain's nodes opens ours.",
        _AUTH,
        'if claims.get("aud") != chain_id:',
        'if not claims.get("aud"):',
        ("tests/node/test_auth.py::test_a_wrong_token_is_refused_with_its_reason",),
    ),
    Mutant(
        "expired-token-accepted",
        "A token is good after it has expired.",
        _AUTH,
        "if expires < now_s - CLOCK_LEEWAY_S:",
        "if expires < 0:",
        ("tests/node/test_auth.py::test_a_wrong_token_is_refused_with_its_reason",),
    ),
    Mutant(
        "token-lifetime-unbounded",
        "A token may be good for years.",
        _AUTH,
        "if not issued <= expires <= issued + MAX_LIFETIME_S:",
        "if not issued <= expires:",
        ("tests/node/test_auth.py::test_a_wrong_token_is_refused_with_its_reason",),
    ),
    Mutant(
        "short-way-for-everybody",
        "The short way to a state answers whoever sends any token.",
        "node/api/short_way.py",
        '            caller_of(self._services, tokens[0].decode("ascii"))\n',
        "            caller_of.__doc__\n",
        ("tests/node/test_short_way.py::test_what_is_not_plain_is_left_to_the_long_way",),
    ),
    Mutant(
        "short-way-for-strangers",
        "The short way to a state answers whoever signs a token for itself, enrolled or not.",
        "node/api/short_way.py",
        "from node.api.access import caller_of\n",
        "from node.api.access import bearer_token as caller_of\n",
        (
            "tests/node/test_short_way.py::test_a_key_that_the_ledger_does_not_know_learns_no_state",
            "tests/node/test_short_way.py::test_a_token_that_was_good_is_refused_once_its_key_is_revoked",
        ),
    ),
    Mutant(
        "short-way-never-taken",
        "Every question about a state goes through the framework.",
        "node/api/short_way.py",
        "            return state_answer(self._services, key)\n",
        "            return None\n",
        (
            "tests/node/test_short_way.py::test_a_members_plain_question_is_answered_without_the_framework",
        ),
    ),
    Mutant(
        "short-way-past-the-bound-of-bodies",
        "A question that declares a body is answered without a look at how long it is.",
        "node/api/short_way.py",
        " or len(tokens) != 1 or has_body:",
        " or len(tokens) != 1:",
        ("tests/node/test_short_way.py::test_a_question_that_declares_too_long_a_body_is_refused",),
    ),
    Mutant(
        "bundle-too-large-unhandled",
        "States whose bundle would be larger than anyone reads end in an internal error.",
        "node/api/evidence.py",
        "    except BundleSizeError as error:\n",
        "    except StopAsyncIteration as error:\n",
        (
            "tests/node/test_api.py::test_states_too_long_for_one_bundle_are_refused_and_fewer_are_not",
        ),
    ),
    Mutant(
        "entry-tiles-for-every-member",
        "Every member reads the log's entries, whatever its roles.",
        "node/api/access.py",
        'if caller.roles.isdisjoint(("auditor", "reader")):',
        'if caller.organisation == "":',
        ("tests/node/test_api.py::test_entries_are_for_auditors_and_readers_only",),
    ),
    Mutant(
        "entry-tiles-for-everybody",
        "Entry tiles are served to whoever asks.",
        "node/api/log.py",
        "        reader_of_entries(services, authorization)\n",
        "        reader_of_entries.__doc__\n",
        ("tests/node/test_api.py::test_entries_are_for_auditors_and_readers_only",),
    ),
    Mutant(
        "wallet-of-another-holder-opened",
        "Any enrolled or unknown key reads what a holder's wallet reads.",
        "node/api/licenses.py",
        "        or holder_commitment(suite, salt, token.key) != record.holder\n",
        "        or not holder_commitment(suite, salt, token.key)\n",
        ("tests/node/test_api.py::test_what_a_wallet_fetches_is_for_the_holder_of_that_license",),
    ),
)
