"""Four validators and a query node with CometBFT, as real processes: what they decide, and how they come back."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cli import network as network_commands
from cli import node as node_commands
from cli.local_node import describe_silent
from cli.network_setup import create_network, free_ports
from cli.processes import running_process
from consensus.cometbft.release import RPC_SOCKET
from ledger.bundle import Bundle
from ledger.fsck import check_directory
from ledger.history import History
from ledger.light import TrustedView
from ledger.limits import CLOCK_BOUND_MS, MAX_TRANSACTION_BYTES
from ledger.policy import Policy
from ledger.store import Store
from ledger.suite import SHA256_ED25519 as SUITE
from node.cometbft.client import Broadcast, EngineClient
from node.config import ConsensusConfig
from node.errors import EngineUnavailableError
from node.home import open_home
from node.main import open_application
from node.operation_table import OPERATIONS
from tests.node.cometbft.engine import needs_cometbft, parts
from tests.node.processes import Processes, eventually

pytestmark = needs_cometbft

RECOVERY_S = 150.0
VICTIM = "hebei"


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    directory = tmp_path_factory.mktemp("comet") / "home"
    started = Processes(create_network(directory, consensus=ConsensusConfig(engine="cometbft")))
    try:
        names = [place.name for place in started.network.nodes]
        started.start(*names)
        started.await_ready(*names, timeout_s=RECOVERY_S)
        yield started
    finally:
        started.close()


def commit(processes: Processes, name: str, count: int = 1) -> list[str]:
    """Bring transactions to commit through a node; return their ids."""
    sent = processes.transactions(count)
    with processes.client(name) as client:
        results = client.submit([one.raw for one in sent], timeout_s=30)
    assert [result.status for result in results] == ["committed"] * count, results
    return [result.id for result in results]


def await_agreement(processes: Processes) -> int:
    """Wait until all nodes have one height, application hash and proven size; return the height."""
    found: set[tuple[int, str, int]] = set()

    def agree() -> bool:
        found.clear()
        for name in processes.running:
            with processes.client(name) as client:
                status = client.network()
            found.add((status.height, status.app_hash, status.checkpoint_size))
        return len(found) == 1

    eventually(agree, RECOVERY_S)
    [(height, _, _)] = found
    return height


def times_ms(processes: Processes, name: str, transaction: str) -> tuple[int, int]:
    """Return the height of a transaction, and its block's time."""
    with processes.client(name, "national-auditor") as auditor:
        view = auditor.transaction(transaction, wait_s=20)
    assert view.height is not None
    assert view.time_ms is not None
    return view.height, view.time_ms


# --- in order ----------------------------------------------------------------------------------------


def test_the_first_transaction_gets_a_block_with_the_present_time_by_itself(
    processes: Processes,
) -> None:
    """CometBFT gives its first block the time of genesis: an old one keeps it empty, and the next serves."""
    before_ms = time.time_ns() // 1_000_000
    [transaction] = commit(processes, "beijing")
    _, time_ms = times_ms(processes, "beijing", transaction)
    assert time_ms > before_ms - CLOCK_BOUND_MS


def test_after_a_pause_a_transaction_gets_a_block_with_the_present_time_by_itself(
    processes: Processes,
) -> None:
    def tip_is_old() -> bool:
        with processes.client("beijing") as client:
            return time.time_ns() / 1e6 - client.network().raw["time_ms"] > 2 * CLOCK_BOUND_MS

    eventually(tip_is_old)
    with processes.client("beijing") as client:
        height = client.network().height
    before_ms = time.time_ns() // 1_000_000
    [transaction] = commit(processes, "beijing")
    committed_at, time_ms = times_ms(processes, "beijing", transaction)
    assert committed_at > height + 1, "the block with the old time took nothing"
    assert time_ms > before_ms - CLOCK_BOUND_MS


def test_one_more_block_follows_a_transaction_and_then_none(processes: Processes) -> None:
    """CometBFT makes it so that the new application hash stands under a header; it appends nothing to the log."""
    [transaction] = commit(processes, "beijing")
    committed_at, _ = times_ms(processes, "beijing", transaction)
    with processes.client("beijing") as client:
        eventually(lambda: client.network().height == committed_at + 1)
        size = client.network().raw["log_size"]
        eventually(lambda: client.network().checkpoint_size == size)
    assert await_agreement(processes) == committed_at + 1


def test_the_query_node_follows_proves_and_hands_transactions_on(processes: Processes) -> None:
    [transaction] = commit(processes, "xiongan")
    with processes.client("xiongan", "national-auditor") as xiongan:
        view = xiongan.transaction(transaction, wait_s=20)
        assert view.proof is not None
        bundle = Bundle.decode(SUITE, xiongan.transaction_evidence(transaction))
        assert not xiongan.network().raw["voting"]
    policy = Policy.parse(SUITE, (processes.network.directory / "policy.txt").read_bytes())
    assert TrustedView(SUITE, policy).verify_bundle(bundle).entries[0].encoding == view.entry


def test_many_transactions_through_all_nodes_reach_one_application_hash(
    processes: Processes,
) -> None:
    for name in processes.running:
        commit(processes, name, 20)
    await_agreement(processes)


def test_what_was_submitted_twice_stands_in_the_log_once(processes: Processes) -> None:
    [sent] = processes.transactions(1)
    with processes.client("beijing") as beijing, processes.client("tianjin") as tianjin:
        [first] = beijing.submit([sent.raw], timeout_s=30)
        [second] = tianjin.submit([sent.raw], timeout_s=30)
    assert (first.status, second.status) == ("committed", "committed")
    assert (first.height, first.index) == (second.height, second.index)


def test_a_bad_signature_is_refused_with_our_code(processes: Processes) -> None:
    [sent] = processes.transactions(1)
    with processes.client("beijing") as client:
        [result] = client.submit([sent.raw[:-1] + bytes([sent.raw[-1] ^ 1])])
    assert (result.status, result.code) == ("refused", "bad_signature")


def test_cometbft_s_own_verdict_on_a_single_transaction_is_heard(processes: Processes) -> None:
    """It answers an array of one otherwise than an array of several."""
    [good] = processes.transactions(1)
    bad = good.raw[:-1] + bytes([good.raw[-1] ^ 1])

    async def hand_over(*raws: bytes) -> list[Broadcast]:
        directory = os.open(processes.home(VICTIM) / "cometbft", os.O_RDONLY)
        client = EngineClient(f"/proc/self/fd/{directory}/{RPC_SOCKET}")
        try:
            return await client.broadcast(raws)
        finally:
            await client.close()
            os.close(directory)

    [refused] = asyncio.run(hand_over(bad))
    assert refused.code == "bad_signature"
    [too_large] = asyncio.run(hand_over(bytes(MAX_TRANSACTION_BYTES + 1)))
    assert (too_large.code, "too large" in too_large.text) == ("engine_refused", True)
    [taken] = asyncio.run(hand_over(good.raw))
    assert taken.code == ""
    both = asyncio.run(hand_over(good.raw, bad))
    assert [one.code for one in both] == ["", "bad_signature"]
    with pytest.raises(EngineUnavailableError, match="exceeds maximum"):
        asyncio.run(hand_over(*[bad] * 1_001))


def test_status_shows_the_engine_its_height_round_step_and_peers(processes: Processes) -> None:
    home = str(processes.network.directory)
    idle: list[int] = []

    def between_blocks() -> bool:
        """One more block may follow the last transaction's: until it is decided, the step is another."""
        height = await_agreement(processes)
        shown = CliRunner().invoke(network_commands.app, ["status", "--home", home, "--json"])
        assert shown.exit_code == 0, shown.output
        told = json.loads(shown.stdout)
        engine = told["engine"]
        assert not {"round", "step"} & told.keys(), "once, in the engine's part"
        assert (engine["name"], engine["peers"]) == ("cometbft", 4)
        idle[:] = [height + 1]
        return (engine["height"], engine["round"]) == (height + 1, 0) and engine["step"] in (
            "new height",
            "new round",
        )

    eventually(between_blocks, RECOVERY_S)
    told = CliRunner().invoke(network_commands.app, ["status", "--home", home])
    assert re.search(rf"cometbft, height {idle[0]}, round 0, [a-z ]+, 4 peers", told.stdout)
    node = processes.network.node(VICTIM).api
    one = CliRunner().invoke(node_commands.app, ["status", "--node", node, "--json"])
    answer = json.loads(one.stdout)
    assert answer["engine"]["address"].partition("@")[2].startswith("127.0.0.1:")
    assert (answer["engine"]["height"], answer["engine"]["peers"]) == (idle[0], 4)
    assert (answer["online"], answer["total"], answer["quorum"]) == (4, 4, True)
    assert isinstance(answer["checkpoint_time_ms"], int)
    shown = CliRunner().invoke(node_commands.app, ["status", "--node", node])
    assert re.search(r"engine_address +│ [0-9a-f]{40}@127\.0\.0\.1:", shown.stdout)
    assert re.search(r"validators_online +│ 4 of 4, a quorum", shown.stdout)
    assert re.search(r"checkpoint_time +│ 20\d\d-", shown.stdout)


# --- out of order ------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["application", "cometbft"])
def test_when_either_process_is_killed_both_start_again_and_the_node_is_current(
    processes: Processes, part: str
) -> None:
    before = parts(processes.running[VICTIM].pid)
    os.kill(before[part], signal.SIGKILL)
    commit(processes, "beijing")  # three of four go on
    eventually(
        lambda: (
            len(after := parts(processes.running[VICTIM].pid)) == 2
            and not set(after.values()) & set(before.values())
        ),
        RECOVERY_S,
    )
    processes.await_ready(VICTIM, timeout_s=RECOVERY_S)
    commit(processes, VICTIM)
    await_agreement(processes)


def test_while_both_processes_restart_the_node_is_known_to_run(processes: Processes) -> None:
    supervisor, home = processes.running[VICTIM].pid, processes.home(VICTIM)
    before = parts(supervisor)
    os.kill(before["cometbft"], signal.SIGKILL)
    reasons = set()

    def both_are_new() -> bool:
        assert running_process(home) == supervisor
        reasons.add(describe_silent("", home, "no answer")["reason"])
        after = parts(supervisor)
        return len(after) == 2 and not set(after.values()) & set(before.values())

    eventually(both_are_new, RECOVERY_S)
    assert reasons == {f"its supervisor {supervisor} runs; both its processes are restarting"}
    processes.await_ready(VICTIM, timeout_s=RECOVERY_S)


def test_of_an_engine_that_does_not_answer_no_old_figures_are_shown_and_it_is_said_once(
    processes: Processes,
) -> None:
    engine = parts(processes.running[VICTIM].pid)["cometbft"]
    os.kill(engine, signal.SIGSTOP)
    node = processes.network.node(VICTIM).api
    try:
        with processes.client(VICTIM) as victim:
            eventually(lambda: victim.network().stalled == "CometBFT does not answer", 60)
            status, (ready, reason) = victim.network(), victim.ready()
        assert not ready
        assert reason.startswith("CometBFT does not answer: wait until both")
        assert status.raw["engine"] == {
            "name": "cometbft",
            **dict.fromkeys(("height", "round", "step", "peers", "address")),
        }
        assert not status.raw["voting"]
        assert "mulu_engine_peers 0.0" in httpx.get(f"{node}/metrics", trust_env=False).text
        shown = CliRunner().invoke(node_commands.app, ["status", "--node", node])
        assert shown.exit_code == 3
        assert shown.stdout.count("CometBFT does not answer") == 1
        assert "following" not in shown.stdout
        shown = CliRunner().invoke(network_commands.app, ["status", "--node", node])
        assert shown.stdout.count("CometBFT does not answer") == 1
    finally:
        os.kill(engine, signal.SIGCONT)
    processes.await_ready(VICTIM, timeout_s=RECOVERY_S)


def test_a_node_whose_cometbft_has_no_peer_is_not_ready_though_it_is_linked_itself(
    processes: Processes,
) -> None:
    await_agreement(processes)
    assert processes.stop(VICTIM) == 0
    config = processes.home(VICTIM) / "cometbft" / "config" / "config.toml"
    before = config.read_text("utf-8")
    [port] = free_ports(1)
    alone = re.sub(r'laddr = "tcp://[^"]+"', f'laddr = "tcp://127.0.0.1:{port}"', before)
    alone = re.sub(r'persistent_peers = "[^"]+"', 'persistent_peers = ""', alone)
    config.write_text(alone, "utf-8")
    processes.start(VICTIM)
    with processes.client(VICTIM) as victim:
        eventually(lambda: victim.ready()[1].startswith("no quorum: 1 of 4"), RECOVERY_S)
        eventually(lambda: len(victim.network().raw["peers"]) == 4, RECOVERY_S)
        status, (ready, reason) = victim.network(), victim.ready()
    assert (status.engine.peers, status.online, status.quorum) == (0, 1, False)
    assert (ready, reason.partition(";")[0]) == (
        False,
        "no quorum: 1 of 4 validators online, 3 needed",
    )
    assert processes.stop(VICTIM) == 0
    config.write_text(before, "utf-8")
    processes.start(VICTIM)
    processes.await_ready(VICTIM, timeout_s=RECOVERY_S)
    await_agreement(processes)


def aside(processes: Processes, *names: str) -> Path:
    """Stop the victim and move directories of its home away."""
    assert processes.stop(VICTIM) == 0
    home = processes.home(VICTIM)
    kept = home / f"aside-{time.time_ns()}"
    for name in names:
        target = kept / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(home / name, target)
    return kept


def test_an_application_that_has_lost_its_data_gets_all_blocks_again_from_cometbft(
    processes: Processes,
) -> None:
    aside(processes, "data")
    processes.start(VICTIM)
    processes.await_ready(VICTIM, timeout_s=RECOVERY_S)
    commit(processes, VICTIM)
    await_agreement(processes)


def test_a_node_whose_cometbft_has_lost_its_blocks_does_not_start_and_says_why(
    processes: Processes,
) -> None:
    kept = aside(processes, "cometbft/data/blockstore.db")
    processes.start(VICTIM)
    assert processes.running.pop(VICTIM).wait(60) == 2
    log = (processes.home(VICTIM) / "node.log").read_text("utf-8")
    assert "CometBFT's data are gone" in log.splitlines()[-1]
    name = "cometbft/data/blockstore.db"
    shutil.move(kept / name, processes.home(VICTIM) / name)
    processes.start(VICTIM)
    processes.await_ready(VICTIM, timeout_s=RECOVERY_S)


def test_a_validator_that_has_lost_all_but_its_record_of_signing_fetches_all_anew_and_votes(
    processes: Processes,
) -> None:
    kept = aside(processes, "data", "cometbft/data")
    data = processes.home(VICTIM) / "cometbft" / "data"
    data.mkdir()
    shutil.copy(kept / "cometbft" / "data" / "priv_validator_state.json", data)
    processes.start(VICTIM)
    processes.await_ready(VICTIM, timeout_s=RECOVERY_S)
    await_agreement(processes)
    with processes.client(VICTIM) as victim:
        eventually(lambda: victim.network().raw["voting"], RECOVERY_S)
    assert processes.stop("national") == 0
    commit(processes, "beijing")  # three of four are a quorum only if the victim is one of them
    processes.start("national")
    processes.await_ready("national", timeout_s=RECOVERY_S)


def test_a_validator_without_its_record_of_signing_does_not_start_and_says_why(
    processes: Processes,
) -> None:
    name = "cometbft/data/priv_validator_state.json"
    kept = aside(processes, name)
    processes.start(VICTIM)
    assert processes.running.pop(VICTIM).wait(60) == 2
    log = (processes.home(VICTIM) / "node.log").read_text("utf-8")
    assert "priv_validator_state.json is missing" in log.splitlines()[-1]
    shutil.move(kept / name, processes.home(VICTIM) / name)
    processes.start(VICTIM)
    processes.await_ready(VICTIM, timeout_s=RECOVERY_S)


def test_a_node_does_not_go_on_with_another_engine(processes: Processes) -> None:
    assert processes.stop(VICTIM) == 0
    config = processes.home(VICTIM) / "config.toml"
    text = config.read_text("utf-8")
    config.write_text(text.replace('engine = "cometbft"', 'engine = "tendermint"'), "utf-8")
    processes.start(VICTIM)
    assert processes.running.pop(VICTIM).wait(60) == 2
    config.write_text(text, "utf-8")
    processes.start(VICTIM)
    processes.await_ready(VICTIM, timeout_s=RECOVERY_S)


# --- afterwards --------------------------------------------------------------------------------------


def test_what_the_network_decided_replayed_through_the_application_alone_gives_the_same_ledger(
    processes: Processes, tmp_path: Path
) -> None:
    commit(processes, "beijing", 10)
    await_agreement(processes)
    name = "national"
    assert processes.stop(name) == 0
    opened = open_home(processes.home(name))
    decided = Store.open(opened.home.ledger)
    alone = Store.open(tmp_path / "alone")
    try:
        application, history = open_application(opened, alone), History(decided, SUITE)
        tip = history.tip()
        assert tip is not None
        for height in range(1, tip.height + 1):
            decision = history.decision(height)
            assert decision is not None
            application.apply_decision(decision)
            following = history.header(height + 1)
            assert following is None or application.tip.app_hash == following.app_hash
        assert application.tip.state_root == tip.state_root
        assert application.tip.app_hash == tip.app_hash
        assert application.tip.log == tip.log
    finally:
        decided.close()
        alone.close()
    report = check_directory(opened.home.ledger, opened.genesis, OPERATIONS)
    assert (report.height, report.problems) == (tip.height, ())
    processes.start(name)
    processes.await_ready(name, timeout_s=RECOVERY_S)


def test_all_nodes_stop_in_order_and_resume_by_themselves(processes: Processes) -> None:
    names = tuple(processes.running)
    for name in names:
        assert processes.stop(name) == 0
        assert not (processes.home(name) / "node.pid").exists()
    processes.start(*names)
    processes.await_ready(*names, timeout_s=RECOVERY_S)
    commit(processes, "tianjin")
    await_agreement(processes)
