"""Measuring: short runs of the real thing. Figures must be there, above zero, and agree with each other."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.bench import smoke
from cli.bench.catching_up import measure_catching_up
from cli.bench.chain import STEPS, local_chain
from cli.bench.growth import measure_growth, sizes_up_to
from cli.bench.idle import measure_idle
from cli.bench.load_runs import LoadOptions, measure_load
from cli.bench.loads import DIRECTORY, LOADS, MIXED
from cli.bench.machine import describe_load, describe_machine, snappy
from cli.bench.network import MOST_VALIDATORS, lay_out, running_network
from cli.bench.offline import measure_verification
from cli.bench.page import BEGIN, END, figures_page, replace_figures
from cli.bench.query import KEYS_AT_ONCE, QueryOptions, ask, populate
from cli.bench.report import show_figures
from cli.bench.sender import Sender, Sending, Tally, quantile
from cli.demo.world import World
from cli.main import run
from ledger.entries import TransactionEntry, decode_entry
from ledger.suite import SHA256_ED25519
from ledger.transactions import decode_transaction
from ledger.validators import distribution_problem
from node.async_client import AsyncNodeClient
from node.home import open_home
from tests.node.processes import eventually


def silent(_: str) -> None:
    pass


def assert_positive(figures: Mapping[str, Any], *names: str) -> None:
    assert {name: figures[name] for name in names if not figures[name] > 0} == {}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running_network("tendermint", 4, silent) as world:
        yield world


def measured(
    measure: Callable[[float], dict[str, Any]], is_enough: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Measure for half a second, and for longer where a busy machine gets nothing done in that time."""
    figures = measure(0.5)
    for seconds in (5.0, 30.0):
        if is_enough(figures):
            break
        figures = measure(seconds)
    return figures


# --- against a network ------------------------------------------------------------------------------


def test_a_load_is_measured_at_full_speed_and_at_half_of_it(world: World) -> None:
    def measure(seconds: float) -> dict[str, Any]:
        options = LoadOptions(seconds=seconds, warm_up_s=0.3, half=True)
        return measure_load(world, DIRECTORY, options, silent)

    def is_enough(figures: dict[str, Any]) -> bool:
        both = (figures, figures["at_half_load"])
        # All of a short run may be one block, written before the warm-up was over.
        return all(
            each["transactions"] and each["proofs_followed"] and each["seconds"] > 0.2
            for each in both
        )

    full = measured(measure, is_enough)
    for figures in (full, full["at_half_load"]):
        assert_positive(
            figures,
            "transactions_per_s",
            "commit_latency_p50_ms",
            "proof_latency_p50_ms",
            "validators_cpu_us_per_transaction",
            "loader_cpu_us_per_transaction",
            "wire_bytes_per_transaction",
            "disk_written_bytes_per_transaction",
            "share_of_signature_limit",
            "validator_peak_memory_mb",
        )
        assert figures["outcomes"] == {"committed": figures["transactions"]}
        assert figures["commit_latency_p99_ms"] >= figures["commit_latency_p50_ms"]
        # A transaction of some three hundred bytes reaches three other validators and the query node.
        assert figures["wire_bytes_per_transaction"] > 4 * 200
    assert full["at_half_load"]["rate"] == pytest.approx(full["transactions_per_s"] / 2, abs=0.1)


def test_a_transaction_that_is_decided_late_is_asked_for_again(world: World) -> None:
    """A network that stood still for a while: its nodes say "not yet", and the loader does not take that for an end."""
    load = DIRECTORY.make(world, 5, silent)
    place = world.network.validators[0]
    paused = [world.processes[one.name] for one in world.network.validators[2:]]

    async def not_measured() -> None:
        pass

    async def send() -> Tally:
        async with asyncio.timeout(60), AsyncNodeClient(place.api) as client:
            sending = Sending([client], 16, None, 1, warm_up_s=0.0, seconds=1.0, rate=None)
            sender = Sender(sending, load, not_measured)
            running = asyncio.create_task(sender.run())
            await asyncio.to_thread(
                eventually, lambda: sender.tally.asked_again > 0 or running.done()
            )
            resume()
            return await running

    def resume() -> None:
        for process in paused:
            process.send_signal(signal.SIGCONT)

    for process in paused:
        process.send_signal(signal.SIGSTOP)
    try:
        seen = world.client("national-auditor", place.name)
        eventually(lambda: seen.network().online == 2)
        tally = asyncio.run(send())
    finally:
        resume()
    assert tally.asked_again
    assert tally.outcomes == {"committed": 5}
    assert len(tally.commit_latencies_s) == 5


def test_a_query_nodes_answers_are_counted_and_samples_verified(world: World) -> None:
    questions = ("status", "status_in_arrays", "trace", "search")

    # More than the node lets one organisation trace at once.
    options = QueryOptions(seconds=0.5, warm_up_s=0.1, connections=8, licenses=50, entries=20)
    handles = populate(world, options, silent)
    figures = measured(
        lambda seconds: ask(world, replace(options, seconds=seconds), handles, silent),
        lambda found: all(found[question]["answers_per_s"] for question in questions),
    )
    for question in questions:
        found = figures[question]
        assert_positive(found, "answers_per_s", "latency_p50_ms", "verified")
        assert found["refused"] == 0
    arrays = figures["status_in_arrays"]
    assert arrays["answers_per_s"] == pytest.approx(
        arrays["requests_per_s"] * KEYS_AT_ONCE, rel=0.1
    )


def test_a_node_without_data_is_timed_until_it_has_all(world: World) -> None:
    figures = measure_catching_up(world, "query", 0.5, silent)
    assert_positive(figures, "transactions", "blocks", "transactions_per_s", "blocks_per_s")
    assert figures["seconds_from_start"] >= figures["seconds"]
    status = world.client("national-auditor").network()
    assert status.height >= figures["blocks"]


def test_idle_shares_are_told_for_each_process(world: World) -> None:
    figures = measure_idle(world, 1.0, silent, settle_s=0.0)
    shares = [figures[f"cpu_percent_{name}"] for name in world.processes]
    assert figures["cpu_percent_of_one_core"] == pytest.approx(sum(shares), abs=0.1)


def test_a_load_is_measured_with_a_validator_dead(world: World) -> None:
    options = LoadOptions(seconds=0.5, warm_up_s=0.0, rate=50, kill_one=True)
    figures = measure_load(world, DIRECTORY, options, silent)
    dead = figures["one_validator_dead"]
    assert (figures["validators"], dead["validators"]) == (4, 3)
    assert_positive(dead, "transactions", "proof_latency_p50_ms")


# --- in this process --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOADS)
def test_every_load_takes_effect(tmp_path: Path, name: str) -> None:
    load = LOADS[name]
    with local_chain(tmp_path / "network") as chain:
        transactions = load.make(chain, 10, silent)
        decoded = [decode_transaction(SHA256_ED25519, one) for one in transactions]
        assert sum(len(one.operations) for one in decoded) == 10 * load.operations
        chain.cpu_s.clear()
        finalized = chain.run_block(transactions)
        assert [result.code for result in finalized.results] == [""] * 10
        assert all(chain.cpu_s[step] > 0 for step in STEPS)
        entry = decode_entry(finalized.entries[0])
        assert isinstance(entry, TransactionEntry) and entry.transaction == transactions[0]


def test_a_mixed_load_holds_what_it_says(tmp_path: Path) -> None:
    with local_chain(tmp_path / "network") as chain:
        load = MIXED.make(chain, 20, silent)
    kinds = [decode_transaction(SHA256_ED25519, one).operations[0].kind for one in load]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "directory.system.publish": 12,
        "licenses.use.record": 6,
        "licenses.license.withhold": 2,
    }


def test_verifications_are_counted_on_every_core() -> None:
    anew = measure_verification(0.1, silent)
    kept = anew["verifier_kept"]
    for figures in (kept, anew):
        assert_positive(figures, "verifications_per_s_and_core", "cpu_us_per_verification")
        assert figures["verifications"] >= figures["processes"] >= 1
    assert kept["signatures_per_verification"] == 2
    assert anew["signatures_per_verification"] >= 2 + 1 + 3


def test_a_full_state_is_measured_at_each_size() -> None:
    assert sizes_up_to(1_000_000) == (10_000, 100_000, 1_000_000)
    assert sizes_up_to(30_000) == (10_000, 30_000)
    figures = measure_growth(2_000, 1, silent)
    found = figures["2000 keys"]
    assert_positive(found, "cpu_us_per_transaction", "store_mb", "peak_memory_mb")
    steps = sum(found[f"{step}_us"] for step in STEPS)
    assert steps == pytest.approx(found["cpu_us_per_transaction"], abs=1)


def test_a_dearer_transaction_is_warned_of_with_the_step_that_is_dearer() -> None:
    cost = {"total": 3.0, **dict.fromkeys(STEPS, 0.6)}
    recorded = {"costs": {"directory": cost}}
    assert smoke.warnings({"directory": {**cost, "total": 3.5}}, recorded) == []
    (text,) = smoke.warnings({"directory": {**cost, "total": 4.0, "commit": 1.6}}, recorded)
    assert "+33%" in text
    assert "commit: 0.6 before, 1.6 now" in text
    (text,) = smoke.warnings({"directory": cost}, {})
    assert "nothing is recorded" in text


@pytest.mark.parametrize(
    ("total", "ratio", "how"),
    [
        (2.79, 1.01, "within"),
        (3.4, 1.23, "dearer by more than"),
        (2.0, 0.72, "cheaper by more than"),
    ],
)
def test_each_load_is_compared_with_what_was_recorded(total: float, ratio: float, how: str) -> None:
    costs, recorded = {"directory": {"total": total}}, {"costs": {"directory": {"total": 2.76}}}
    assert smoke.compare(costs, recorded) == {"directory": {"recorded": 2.76, "ratio": ratio}}
    assert smoke.comparison_lines(costs, recorded) == [
        f"directory {total:g} signature checks, recorded 2.76: {how} 20%"
    ]
    assert smoke.comparison_lines(costs, {}) == []


def test_the_smoke_test_shows_the_comparison(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = smoke.load_recorded()["costs"]
    monkeypatch.setattr(smoke, "measure_costs", lambda *_: recorded)
    assert run(["bench", "smoke"]) == 0
    shown = capsys.readouterr().out
    total = recorded["directory"]["total"]
    assert f"directory {total:g} signature checks, recorded {total:g}: within 20%" in shown
    assert run(["bench", "smoke", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["batch"]["recorded"], told["batch"]["ratio"]) == (recorded["batch"]["total"], 1.0)


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ({"snappy": snappy()}, None),
        ({"snappy": "of another kind"}, "The record is of the Snappy of another kind; here it is"),
        ({}, "The record does not tell whose Snappy it is of; here it is"),
    ],
)
def test_the_smoke_test_says_where_the_record_is_of_another_snappy(
    machine: dict[str, str],
    said: str | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded = {**smoke.load_recorded(), "machine": machine}
    monkeypatch.setattr(smoke, "load_recorded", lambda: recorded)
    monkeypatch.setattr(smoke, "measure_costs", lambda *_: recorded["costs"])
    assert run(["bench", "smoke"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert ("The record" in shown) == (said is not None)
    assert (said or "") in shown
    assert run(["bench", "smoke", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["recorded_snappy"] == machine.get("snappy")
    assert told["machine"]["snappy"] == snappy()


def test_what_nobody_has_recorded_is_of_no_snappy() -> None:
    assert smoke.snappy_lines("of the system", {}) == []


def test_what_is_recorded_is_what_is_measured() -> None:
    recorded = smoke.load_recorded()
    found = smoke.measure_costs(1, silent, {"directory": 20, "authorisation": 20, "batch": 2})
    assert found.keys() == recorded["costs"].keys()
    for name, cost in found.items():
        assert cost.keys() == recorded["costs"][name].keys()
        assert_positive(cost, "total", "check", "finalise", "commit")


# --- shown ------------------------------------------------------------------------------------------


def test_quantiles_are_values_that_were_seen() -> None:
    assert quantile([], 0.5) == 0.0
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([float(number) for number in range(100)], 0.99) == 99.0


def test_figures_are_shown_with_the_machine_they_were_measured_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    figures = {"seconds": 1.0, "transactions_per_s": 10.0, "at_half_load": {"seconds": 2.0}}
    show_figures("directory", figures, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown == {"bench": "directory", "machine": describe_machine(), **figures}
    show_figures("directory", figures, as_json=False)
    table = capsys.readouterr().out
    assert "at_half_load" in table
    assert describe_machine()["python"] in table


def test_a_machine_that_was_busy_before_is_noted() -> None:
    assert describe_load(1.0, 2) == {"load_average_before": 1.0}
    busy = describe_load(1.014, 2)
    assert busy["load_average_before"] == 1.01
    assert "busy before the start" in busy["note"]
    assert "load_average_before" in describe_machine()


def test_a_network_has_up_to_ten_validators(tmp_path: Path) -> None:
    world = lay_out(tmp_path / "network", "tendermint", MOST_VALIDATORS)
    assert (len(world.network.validators), len(world.network.query_nodes)) == (10, 1)
    genesis = open_home(world.network.node_home(world.network.validators[-1])).genesis
    assert len(genesis.validators) == 10
    assert distribution_problem(tuple(genesis.validators)) is None


def test_figures_are_written_into_a_page_between_its_marks() -> None:
    runs = {
        "bench": "query",
        "machine": {"cores": 2},
        "licenses": 50,
        "status": {"answers": 1234.5},
    }
    one = {"bench": "idle", "machine": {"cores": 2}, "seconds": 1.0, "outcomes": {"committed": 3}}
    page = replace_figures(f"before\n{BEGIN}\nold\n{END}\nafter\n", figures_page([runs, one]))
    assert page.startswith(f"before\n{BEGIN}\n\n### query\n\ncores 2.\n")
    assert page.endswith(f"\n{END}\nafter\n")
    assert "old" not in page
    assert "| `answers` | 1,234.5 |" in page
    assert "| `outcomes` | committed 3 |" in page
    assert replace_figures(page, figures_page([runs, one])) == page


def test_the_page_on_performance_has_a_place_for_figures() -> None:
    page = Path(__file__).parents[2] / "docs" / "PERFORMANCE.md"
    assert "### directory" in replace_figures(page.read_text("utf-8"), "### directory\n")


def test_figures_come_into_a_page_that_has_a_place_for_them_only(tmp_path: Path) -> None:
    figures, page = tmp_path / "figures.json", tmp_path / "page.md"
    figures.write_text(json.dumps({"bench": "idle", "machine": {}, "seconds": 1.0}))
    page.write_text("nothing")
    assert run(["bench", "page", str(figures), "--into", str(page)]) == 2
    assert run(["bench", "page", str(page), "--into", str(page)]) == 2
    assert page.read_text() == "nothing"
    page.write_text(f"{BEGIN}{END}")
    assert run(["bench", "page", str(figures), "--into", str(page)]) == 0
    assert "| `seconds` | 1.0 |" in page.read_text()
