"""Real nodes with something wrong: what they, the others, the command line and the log say of it."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.network_setup import Network, create_network
from cli.node import app
from node.answers import Json
from node.certificates import IssuedCertificate, expires_ms, issue_node_certificate
from node.client import NodeClient
from node.home import Home
from tests.node.cluster import Cluster
from tests.node.processes import ROOT, Processes, eventually

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
OTHERS_SAY = re.compile(r"the clock of hebei is (39|40) s ahead of the others': ")
NO_KEY = {"MULU_KEY": "", "MULU_PROFILE": ""}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    started = Processes(create_network(tmp_path_factory.mktemp("network") / "h", query_nodes=()))
    try:
        yield started
    finally:
        for process in started.running.values():
            process.kill()
        for process in started.running.values():
            process.wait(10)


@pytest.fixture
def processes(network: Processes) -> Processes:
    """Four validators, all running, linked and ready, whatever the last test did to them."""
    names = [place.name for place in network.network.validators]
    network.start(*(name for name in names if name not in network.running))
    for name in names:
        with network.client(name) as client:
            eventually(lambda c=client: c.ready()[0] and c.network().online == 4, 90.0)  # type: ignore[misc]
    return network


def home_of(network: Network, name: str) -> Path:
    return network.node_home(network.node(name))


def finding(client: NodeClient, code: str, about: str = "") -> Json | None:
    """Return a finding that a node tells, or None; `about` is whom it names."""
    for one in client.network().findings:
        if one["code"] == code and (not about or about in one["names"]):
            return one
    return None


def await_finding(client: NodeClient, code: str, about: str = "", timeout_s: float = 60.0) -> Json:
    eventually(lambda: client.healthy() and finding(client, code, about) is not None, timeout_s)
    found = finding(client, code, about)
    assert found is not None
    return found


def await_log(network: Network, name: str, holds: Callable[[Json], bool]) -> None:
    """Wait for a line of a node's log."""
    path = home_of(network, name) / "node.log"

    def said() -> bool:
        lines = path.read_text("utf-8").splitlines()
        return any(holds(json.loads(line)) for line in lines if line.startswith("{"))

    eventually(said, 60.0)


def says(client: NodeClient, code: str) -> str:
    """Return the sentence of a finding; "" where it is not found."""
    found = finding(client, code) if client.healthy() else None
    return "" if found is None else str(found["text"])


def readiness(client: NodeClient) -> Json:
    """Return the body of /readyz, whatever its status."""
    answer: Json = client._http.get("/readyz").json()
    return answer


def command(*words: str) -> tuple[int, str]:
    result = CliRunner(env=NO_KEY).invoke(app, list(words))
    return result.exit_code, result.output


def test_two_that_are_linked_but_paused_are_named_as_missing(processes: Processes) -> None:
    victims = ("hebei", "national")
    with processes.client("beijing") as beijing:
        try:
            for name in victims:
                processes.running[name].send_signal(signal.SIGSTOP)
            [waiting] = processes.transactions(1)
            beijing.submit([waiting.raw], wait="none")
            found = await_finding(beijing, "stalled", timeout_s=30.0)
        finally:
            for name in victims:
                processes.running[name].send_signal(signal.SIGCONT)
        assert "2 of 4 validators online, 3 needed; missing hebei, national" in found["text"]
        eventually(lambda: finding(beijing, "stalled") is None)


def test_two_of_four_down_the_others_name_them_in_every_place(processes: Processes) -> None:
    network = processes.network
    with processes.client("beijing") as beijing:
        processes.kill("hebei", "national")
        idle = await_finding(beijing, "no_quorum", "hebei")
        assert "2 of 4 validators online, 3 needed; missing hebei, national" in idle["text"]
        [waiting] = processes.transactions(1)
        beijing.submit([waiting.raw], wait="none")
        stalled = await_finding(beijing, "stalled")
        height = beijing.network().height + 1
        assert stalled["text"].startswith(f"stalled at height {height}, round ")
        assert "2 of 4 validators online, 3 needed; missing hebei, national" in stalled["text"]
        answer = readiness(beijing)
        assert (answer["status"], answer["code"], answer["reason"]) == (503, "not_ready", "stalled")
        assert [one["code"] for one in answer["findings"]] == ["stalled", "no_quorum"]
        assert "2 of 4" in answer["detail"]
        assert 'mulu_findings{code="stalled"} 1.0' in beijing.metrics()
        await_log(network, "beijing", lambda line: line["event"].startswith("stalled at height"))
        exit_code, shown = command("status", "--node", beijing.url)
        assert exit_code == 3
        assert "missing hebei, national" in shown
        processes.start("hebei", "national")
        eventually(lambda: beijing.ready()[0], 60.0)
        eventually(lambda: finding(beijing, "stalled") is None)
        await_log(
            network,
            "beijing",
            lambda line: (line["event"], line.get("finding")) == ("no longer found", "stalled"),
        )
        assert command("status", "--node", beijing.url)[0] == 0


def test_a_node_that_is_not_running_is_said_to_be_with_the_last_error_of_its_log(
    processes: Processes,
) -> None:
    home = home_of(processes.network, "hebei")
    guard = Home(home).checkpoint_guard
    assert processes.stop("hebei") == 0
    kept = guard.read_bytes()
    guard.unlink()
    guard.mkdir()  # nothing that can be read, and nothing that anybody would have to wait for
    processes.start("hebei")
    assert processes.running.pop("hebei").wait(60) != 0
    guard.rmdir()
    guard.write_bytes(kept)
    exit_code, shown = command("status", "--home", str(home), "--json")
    answer = json.loads(shown)
    assert exit_code == 3
    assert (answer["ready"], answer["reason"]) == (False, "not running")
    assert "checkpoint guard" in answer["log"]["reason"]
    found_by_address = CliRunner(
        env={**NO_KEY, "MULU_HOME": str(processes.network.directory)}
    ).invoke(app, ["status", "--node", processes.network.node("hebei").api])
    assert found_by_address.exit_code == 3
    assert "not running" in found_by_address.output


@pytest.mark.skipif(not FAKETIME.exists(), reason=f"{FAKETIME} is not installed")
def test_a_node_whose_clock_is_wrong_says_so_and_so_do_the_others(processes: Processes) -> None:
    network = processes.network
    assert processes.stop("hebei") == 0
    environment = {
        **os.environ,
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME": "+40s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    home = home_of(network, "hebei")
    with (home / "node.log").open("ab") as log:
        processes.running["hebei"] = subprocess.Popen(
            [sys.executable, "-m", "node", str(home)],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    with processes.client("hebei") as hebei, processes.client("beijing") as beijing:
        off = "my clock is 40 s off, ahead of the median of 3 validators: "
        eventually(lambda: says(hebei, "clock_off").startswith(off), 60.0)
        own = await_finding(hebei, "clock_off")
        assert own["severity"] == "critical"
        for name in ("beijing", "national", "tianjin"):
            with processes.client(name) as client:
                eventually(lambda c=client: OTHERS_SAY.match(says(c, "peer_clock_off")), 60.0)  # type: ignore[misc]
                assert await_finding(client, "peer_clock_off")["names"] == ["hebei"]
        assert finding(beijing, "clock_off") is None
        assert finding(hebei, "peer_clock_off") is None
        assert hebei.ready()[0]
        assert 'mulu_findings{code="clock_off"} 1.0' in hebei.metrics()
    await_log(network, "hebei", lambda line: line["event"].startswith("my clock is 40 s off"))
    await_log(network, "beijing", lambda line: line.get("finding") == "peer_clock_off")
    assert processes.stop("hebei") == 0


def test_a_certificate_that_expires_in_twelve_days_is_named_by_its_node_and_the_others(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path / "home", without=("xiongan",))
    home = home_of(cluster.network, "hebei")
    authorities = cluster.network.directory / "authorities"
    issuer = IssuedCertificate(
        (authorities / "hebei.crt").read_bytes(), (authorities / "hebei.pem").read_bytes()
    )
    now = datetime.datetime.fromtimestamp(time.time() + 3_600, datetime.UTC)
    short = issue_node_certificate(issuer, "hebei", now=now, lifetime_days=12)
    Home(home).tls_certificate.write_bytes(short.certificate_pem)
    Home(home).tls_key.write_bytes(short.key_pem)
    with cluster:
        for name in ("hebei", "beijing"):
            with cluster.client(name) as client:
                found = await_finding(client, "certificate_expires", "hebei")
                assert found["text"].startswith("certificate of hebei expires in 12 days: issue")
                assert client.ready()[0]
                assert finding(client, "certificate_expires", "beijing") is None
                assert finding(client, "authority_expires") is None
        exit_code, shown = command(
            *("renew", str(home), "--authority", str(authorities / "hebei.pem"), "--json")
        )
        assert exit_code == 0, shown
        cluster.stop("hebei")
        cluster.start("hebei")
        with cluster.client("hebei") as hebei, cluster.client("beijing") as beijing:
            eventually(lambda: hebei.healthy() and hebei.ready()[0])
            eventually(lambda: beijing.network().online == 4)
            assert finding(hebei, "certificate_expires") is None
            assert finding(beijing, "certificate_expires") is None
    renewed = IssuedCertificate(Home(home).tls_certificate.read_bytes(), b"")
    assert expires_ms(renewed.certificate_der) > (time.time() + 800 * 86_400) * 1000


def test_a_damaged_store_is_told_with_its_height_until_it_is_whole_again(
    processes: Processes,
) -> None:
    network = processes.network
    names = [place.name for place in network.validators]
    with processes.client("beijing") as beijing:
        for one in processes.transactions(3):
            [result] = beijing.submit([one.raw], timeout_s=30)
            assert result.status == "committed"
        height = result.height
        assert height is not None
        with processes.client("hebei") as hebei:
            eventually(lambda: hebei.network().height == height)
        for name in tuple(processes.running):
            assert processes.stop(name) == 0
    for path in (home_of(network, "hebei") / "data" / "ledger" / "db").iterdir():
        if path.suffix in (".log", ".ldb"):
            path.unlink()
    processes.start("hebei")
    with processes.client("hebei") as hebei:
        found = await_finding(hebei, "database_damaged")
        assert found["text"].startswith(
            f"database damaged at height {height}: re-syncing from the others, 0 blocks are here"
        )
        assert found["numbers"] == {"height": 0, "damaged_height": height}
        damaged = f"database damaged at height {height}"
        await_log(network, "hebei", lambda line: line["event"].startswith(damaged))
        processes.start(*(name for name in names if name != "hebei"))
        eventually(lambda: hebei.ready()[0], 60.0)
        eventually(lambda: finding(hebei, "database_damaged") is None)
        assert hebei.network().height == height


def test_a_validator_whose_last_sign_file_is_missing_says_that_it_does_not_vote(
    processes: Processes,
) -> None:
    assert processes.stop("hebei") == 0
    Home(home_of(processes.network, "hebei")).last_sign.unlink()
    processes.start("hebei")
    with processes.client("hebei") as hebei:
        found = await_finding(hebei, "guard_silent")
        assert "last-sign file missing" in found["text"]
        eventually(lambda: hebei.ready()[0], 60.0)


def test_nothing_is_found_on_a_network_that_is_well_and_its_clocks_are_measured(
    tmp_path: Path,
) -> None:
    with Cluster(tmp_path / "home") as cluster, cluster.client("xiongan") as xiongan:
        eventually(lambda: len(clock_offsets(xiongan)) == 4, 60.0)
        assert xiongan.network().findings == ()
        assert readiness(xiongan) == {"status": "ready", "findings": []}
        assert "mulu_clock_offset_seconds" in xiongan.metrics()
        assert max(map(abs, clock_offsets(xiongan))) < 2.0


def clock_offsets(client: NodeClient) -> list[float]:
    """Return how far validators' clocks are ahead of a node's, in seconds, as its metrics say."""
    lines = client.metrics().splitlines()
    return [float(line.split()[1]) for line in lines if line.startswith("mulu_peer_clock_")]
