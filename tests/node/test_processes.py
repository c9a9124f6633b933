"""Four validators and a query node as real processes over loopback: commit, lose one, lose two, come back."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest

from cli.network_setup import create_network
from ledger.bundle import Bundle
from ledger.keyfile import load_key
from ledger.light import TrustedView
from ledger.policy import Policy
from ledger.store import COMPACTION_NICENESS
from ledger.suite import SHA256_ED25519
from ledger.transactions import Transaction
from node.client import NodeClient
from node.errors import ApiProblem
from tests.node.processes import Processes, eventually

SUITE = SHA256_ED25519

GIVEN_S = 60.0
"""What a submission without quorum may take, and must not: far above what is promised, for a loaded machine."""


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    started = Processes(create_network(tmp_path_factory.mktemp("network") / "home"))
    try:
        names = [place.name for place in started.network.nodes]
        started.start(*names)
        started.await_ready(*names)
        yield started
    finally:
        started.close()


def test_a_transaction_is_committed_and_another_node_proves_it(processes: Processes) -> None:
    [sent] = processes.transactions(1)
    with processes.client("beijing") as beijing:
        [result] = beijing.submit([sent.raw])
    assert result.status == "committed"
    assert result.id == sent.id.hex()
    with processes.client("xiongan", "national-auditor") as xiongan:
        view = xiongan.transaction(result.id, wait_s=10)
        assert view.status == "committed"
        assert view.proof is not None
        bundle = Bundle.decode(SUITE, xiongan.transaction_evidence(result.id))
        policy = Policy.parse(SUITE, (processes.network.directory / "policy.txt").read_bytes())
        verified = TrustedView(SUITE, policy).verify_bundle(bundle)
    assert verified.entries[0].encoding == view.entry


def test_every_thread_of_a_node_leaves_others_their_time(processes: Processes) -> None:
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        pytest.skip("the tests run under another policy, which nodes keep")
    process_id = processes.running["beijing"].pid
    policies = set()
    for name in os.listdir(f"/proc/{process_id}/task"):
        with suppress(ProcessLookupError):  # it has ended since
            policies.add(os.sched_getscheduler(int(name)))
    assert policies == {os.SCHED_BATCH}


def test_a_node_compacts_with_less_priority_than_it_decides(processes: Processes) -> None:
    process_id = processes.running["beijing"].pid
    own = os.getpriority(os.PRIO_PROCESS, process_id)
    lower = min(19, own + COMPACTION_NICENESS)
    found = Counter[int]()
    for name in os.listdir(f"/proc/{process_id}/task"):
        with suppress(ProcessLookupError):  # it has ended since
            found[os.getpriority(os.PRIO_PROCESS, int(name))] += 1
    assert found[lower] == 1
    assert set(found) == {own, lower}


def await_agreement(processes: Processes) -> int:
    """Wait until all nodes have one height and application hash; return the height."""
    states: set[tuple[int, str]] = set()

    def agree() -> bool:
        states.clear()
        for place in processes.network.nodes:
            with processes.client(place.name) as client:
                status = client.network()
            states.add((status.height, status.app_hash))
        return len(states) == 1

    eventually(agree)
    [(height, _)] = states
    return height


def test_many_transactions_through_all_validators_reach_one_app_hash(processes: Processes) -> None:
    sent = processes.transactions(40)
    for position, name in enumerate(("beijing", "tianjin", "hebei", "national")):
        with processes.client(name) as client:
            results = client.submit([one.raw for one in sent[position * 10 :][:10]])
        assert [result.status for result in results] == ["committed"] * 10

    await_agreement(processes)


def test_the_same_transaction_again_is_answered_by_what_became_of_it(processes: Processes) -> None:
    [sent] = processes.transactions(1)
    with processes.client("hebei") as hebei, processes.client("national") as national:
        [first] = hebei.submit([sent.raw])
        [again] = hebei.submit([sent.raw])
        [elsewhere] = national.submit([sent.raw])
    assert (again.status, again.height, again.index) == ("committed", first.height, first.index)
    assert elsewhere.index == first.index


def test_bad_submissions_are_refused_with_a_code_and_change_nothing(processes: Processes) -> None:
    [sent] = processes.transactions(1)
    forged = sent.raw[:-1] + bytes([sent.raw[-1] ^ 1])
    before = await_agreement(processes)
    with processes.client("tianjin") as tianjin:
        malformed, bad = tianjin.submit([b"\x93garbage", forged])
        assert (malformed.status, malformed.code) == ("refused", "malformed")
        assert (bad.status, bad.code) == ("refused", "bad_signature")
        with pytest.raises(ApiProblem) as refused:
            tianjin.request("POST", "/v1/transactions", body={"transactions": ["%%%"]})
        assert refused.value.status == 422
        assert tianjin.network().height == before


def test_entry_tiles_need_a_role_and_hash_tiles_do_not(processes: Processes) -> None:
    with processes.client("beijing") as stranger:
        assert len(stranger.tile("tile/0/000.p/1")) == 32
        with pytest.raises(ApiProblem) as refused:
            stranger.tile("tile/entries/000.p/1")
    assert refused.value.status == 403
    with (
        processes.client("beijing", "tongzhou-editor") as editor,
        pytest.raises(ApiProblem) as refused,
    ):
        editor.tile("tile/entries/000.p/1")
    assert refused.value.status == 403
    with processes.client("beijing", "national-auditor") as auditor:
        assert auditor.tile("tile/entries/000.p/1")[2:].startswith(b"\x95\xa7genesis")


def test_new_records_come_as_events_and_resume_where_they_broke_off(processes: Processes) -> None:
    with processes.client("xiongan", "national-auditor") as auditor:
        seen = []
        for event in auditor.events(after=0):
            seen.append(event)
            if len(seen) == 3:
                break
        resumed = next(iter(auditor.events(after=seen[0].index)))
    assert [event.index for event in seen] == [1, 2, 3]
    assert resumed == seen[1]


def test_one_validator_killed_the_others_go_on_and_it_catches_up(processes: Processes) -> None:
    processes.kill("hebei")
    with processes.client("beijing") as beijing:
        results = beijing.submit([one.raw for one in processes.transactions(5)], timeout_s=30)
        assert [result.status for result in results] == ["committed"] * 5
        eventually(lambda: beijing.network().online == 3)
        assert beijing.network().quorum
        processes.start("hebei")
        with processes.client("hebei") as hebei:
            eventually(lambda: hebei.healthy(), 60.0)
            eventually(lambda: hebei.network().app_hash == beijing.network().app_hash)
        eventually(lambda: beijing.network().online == 4)
    # It votes again: with another one down, blocks need it.
    processes.kill("national")
    with processes.client("beijing") as beijing:
        [result] = beijing.submit([processes.transactions(1)[0].raw], timeout_s=30)
    assert result.status == "committed"
    processes.start("national")


def test_two_killed_nothing_is_committed_and_all_resumes_when_they_are_back(
    processes: Processes,
) -> None:
    """That a submission without quorum ends before the time it was given is a promise (3 s, docs/API.md)."""
    with processes.client("national") as national:
        eventually(lambda: national.healthy(), 60.0)
    acknowledged = processes.transactions(3)
    with processes.client("beijing") as beijing:
        eventually(lambda: beijing.network().online == 4)
        for result in beijing.submit([one.raw for one in acknowledged], timeout_s=30):
            assert result.status == "committed"
        processes.kill("tianjin", "national")
        eventually(lambda: not beijing.network().quorum)
        status = beijing.network()
        assert (status.online, status.total) == (2, 4)
        assert status.stalled is not None
        assert "2 of 4" in status.stalled
        started = time.monotonic()
        [waiting] = processes.transactions(1)
        [result] = beijing.submit([waiting.raw], timeout_s=GIVEN_S)
        assert (result.status, result.code) == ("not_committed", "not_committed")
        assert time.monotonic() - started < GIVEN_S
        assert not beijing.ready()[0]
        processes.start("tianjin", "national")
        eventually(lambda: beijing.network().quorum, 60.0)
        [late] = beijing.submit([waiting.raw], timeout_s=60)
        assert late.status == "committed"
    # The quorum may be there by tianjin, while national starts.
    processes.await_ready("national")
    with processes.client("national", "national-auditor") as national:
        for one in acknowledged:
            eventually(lambda one=one: _committed(national, one))  # type: ignore[misc]


def _committed(client: NodeClient, sent: Transaction) -> bool:
    try:
        return client.transaction(sent.id.hex(), wait_s=5).status == "committed"
    except ApiProblem:
        return False


def test_all_killed_in_the_middle_of_a_block_resume_by_themselves(processes: Processes) -> None:
    names = [place.name for place in processes.network.validators]
    sent = processes.transactions(60)
    acknowledged: list[Transaction] = []
    with processes.client("beijing") as beijing:
        eventually(lambda: beijing.network().online == 4)
        for one in sent[:20]:
            [result] = beijing.submit([one.raw], timeout_s=30)
            assert result.status == "committed"
            acknowledged.append(one)
        beijing.submit([one.raw for one in sent[20:]], wait="none")
        processes.kill(*names)
        processes.start(*names)
        for name in names:
            with processes.client(name) as client:
                eventually(lambda client=client: client.ready()[0], 60.0)  # type: ignore[misc]
        [result] = beijing.submit([processes.transactions(1)[0].raw], timeout_s=30)
        assert result.status == "committed"
    with processes.client("tianjin", "national-auditor") as tianjin:
        for one in acknowledged:
            assert tianjin.transaction(one.id.hex(), wait_s=10).status == "committed"


def test_sigterm_ends_a_node_in_order_and_it_resumes(processes: Processes) -> None:
    assert processes.stop("xiongan") == 0
    home = processes.network.node_home(processes.network.node("xiongan"))
    assert not (home / "node.pid").exists()
    with processes.client("beijing") as beijing:
        [result] = beijing.submit([processes.transactions(1)[0].raw], timeout_s=30)
    processes.start("xiongan")
    with processes.client("xiongan", "national-auditor") as xiongan:
        eventually(lambda: xiongan.ready()[0], 60.0)
        eventually(lambda: xiongan.network().height == result.height)
        assert xiongan.transaction(result.id, wait_s=10).proof is not None


def test_logs_hold_no_secrets(processes: Processes) -> None:
    for place in processes.network.validators:
        home = processes.network.node_home(place)
        text = (home / "node.log").read_text("utf-8")
        for name in ("consensus", "log", "witness"):
            assert load_key(home / "keys" / f"{name}.key", "").secret.hex() not in text
        assert "PRIVATE KEY" not in text
