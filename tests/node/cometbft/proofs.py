"""What a network with CometBFT leaves behind, verified as an auditor does: from the policy of genesis, from a store."""

from __future__ import annotations

import base64
from dataclasses import replace

from ledger.bundle import Bundle, ValidatorChange
from ledger.decisions import ReportedOffence
from ledger.fsck import check_directory
from ledger.genesis import Genesis
from ledger.history import History
from ledger.light import TrustedView
from ledger.policy import Policy
from ledger.store import Store
from ledger.suite import SHA256_ED25519 as SUITE
from node.home import Home
from node.operation_table import OPERATIONS
from tests.node.processes import Processes


def verify_from_genesis(processes: Processes, transaction_id: str) -> list[int]:
    """Verify a receipt with the policy of genesis; return the sizes of the sets of validators since."""
    policy = Policy.parse(SUITE, (processes.network.directory / "policy.txt").read_bytes())
    with processes.client("beijing", "national-auditor") as auditor:
        bundle = Bundle.decode(SUITE, auditor.transaction_evidence(transaction_id))
        answer = auditor.validator_changes()
    changes = [ValidatorChange.decode(base64.b64decode(one)) for one in answer["changes"]]
    view = TrustedView(SUITE, policy)
    for change in changes:
        view.advance(change)
    assert view.verify_bundle(replace(bundle, changes=())).entries
    return [len(change.validators) for change in changes]


def convicted(processes: Processes, name: str) -> list[ReportedOffence]:
    """Check a stopped node's store, and return who was convicted of what on its chain."""
    genesis = Genesis.from_json((processes.network.directory / "genesis.json").read_bytes())
    directory = Home(processes.home(name)).ledger
    report = check_directory(directory, genesis, OPERATIONS)
    assert report.ok, report.problems
    store = Store.open(directory)
    try:
        history = History(store, SUITE)
        decisions = [history.decision(height) for height in range(1, report.height + 1)]
        return [one for decision in decisions if decision for one in decision.offences]
    finally:
        store.close()
