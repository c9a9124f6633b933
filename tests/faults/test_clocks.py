"""Clocks that are wrong, jump and drift, by libfaketime; the monotonic clock stays real, as on a real machine.

One wrong clock moves no block's time beyond the bound, and what it costs is rounds, of which there are few.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from consensus.tendermint.timeouts import Timeouts
from ledger.admission import EXPIRED, TOO_DISTANT
from ledger.entries import TransactionEntry, decode_entry
from ledger.history import History
from ledger.limits import CLOCK_BOUND_MS
from ledger.store import Store
from ledger.suite import SHA256_ED25519 as SUITE
from tests.faults.measured import Measured
from tests.faults.network import FaultyNetwork, Receipt
from tests.node.processes import eventually

ROW = "clock jumps and drift"

BEIJING, HEBEI, NATIONAL, TIANJIN = ALL = ("beijing", "hebei", "national", "tianjin")
OTHERS = (BEIJING, NATIONAL, TIANJIN)
"""Those whose clocks are right."""

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed")

PRELOADED: Mapping[str, str] = {
    "LD_PRELOAD": str(LIBRARY),
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "DONT_FAKE_MONOTONIC": "1",  # its name in older releases
}


@dataclass(frozen=True, slots=True)
class Wrong:
    """A wrong clock as libfaketime is told it, and how the node that has it judges a good transaction."""

    clock: str
    judgement: str = ""
    proposes: bool = True


CLOCKS = {
    "an hour fast": Wrong("+1h", EXPIRED, proposes=False),
    "an hour slow": Wrong("-1h", TOO_DISTANT, proposes=False),
    "4 s fast": Wrong("+4s"),
    "a tenth too quick": Wrong("+0 x1.1"),
}


@pytest.fixture
def network(relayed: FaultyNetwork) -> Iterator[FaultyNetwork]:
    """The shared network; who has been started with another clock is stopped afterwards."""
    before = dict(relayed.running)
    yield relayed
    for name, process in tuple(relayed.running.items()):
        if before.get(name) is not process:
            relayed.stop(name)


def _restart(network: FaultyNetwork, name: str, environment: Mapping[str, str]) -> None:
    """Start a node again with another clock, and wait until it is one of the validators that are there."""
    network.stop(name)
    network.start(name, environment={**PRELOADED, **environment})
    network.await_ready(name)


@pytest.mark.row(ROW)
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(wrong, id=name, marks=[] if name == "an hour fast" else [pytest.mark.faults])
        for name, wrong in CLOCKS.items()
    ],
)
def test_one_wrong_clock_moves_no_time_and_costs_few_rounds(
    network: FaultyNetwork, injected: Counter[str], measured: Measured, wrong: Wrong
) -> None:
    _restart(network, HEBEI, {"FAKETIME": wrong.clock})
    injected[f"clock of {wrong.clock}"] += 1
    first = network.height(BEIJING) + 1
    with network.load(*OTHERS) as load, measured.during("forty acknowledgements"):
        load.await_progress(40)
    _check_idle(network)
    _check_judgement(network, wrong)
    network.check_running(load, correct=OTHERS)
    last = network.height(BEIJING)
    with network.client(HEBEI) as hebei:
        eventually(lambda: hebei.network().height >= last)
    network.stop(HEBEI)
    with _history(network, HEBEI) as history:
        _check_times(history, load.acknowledged)
        rounds = _rounds(history, range(first, last + 1))
    # A round for each height that it proposes, and one more for the next, which may wait for its time to pass.
    assert sum(rounds.values()) <= len(rounds), rounds
    if not wrong.proposes:
        proposed = [height for height in rounds if height % 4 == ALL.index(HEBEI)]
        assert all(rounds[height] > 0 for height in proposed)
    injected["round lost"] += sum(rounds.values())
    injected["height decided"] += len(rounds)


def _check_idle(network: FaultyNetwork) -> None:
    """An idle chain makes no blocks, though a clock says that the heartbeat has been due for long."""
    with network.client(BEIJING) as beijing:
        eventually(lambda: beijing.network().raw["mempool"] == 0)
        height = beijing.network().height
        time.sleep(3)
        assert beijing.network().height <= height + 1, "blocks that nobody asked for"


def _check_judgement(network: FaultyNetwork, wrong: Wrong) -> None:
    """A node judges by its own clock what is submitted to it, and by the block's time what is in a block."""
    [good] = network.transactions(1)
    [late] = network.transactions(1, lifetime_s=-1)
    with network.client(HEBEI) as hebei, network.client(BEIJING) as beijing:
        [result] = hebei.submit([good.raw], timeout_s=30)
        assert result.code == wrong.judgement
        [result] = beijing.submit([good.raw], timeout_s=30)
        assert result.status == "committed"
        [result] = beijing.submit([late.raw])
        assert (result.status, result.code) == ("refused", EXPIRED)
        if wrong.judgement == TOO_DISTANT:
            [result] = hebei.submit([late.raw], timeout_s=3)
            assert result.status == "not_committed", "admitted, but no block takes it"


def _check_times(history: History, receipts: Sequence[Receipt]) -> None:
    """Every block has a time that is the real one, within the bound."""
    real_ms = time.time() * 1000 - time.monotonic() * 1000
    early_ms = CLOCK_BOUND_MS + Timeouts().message_delay_ms(2)
    for receipt in receipts:
        index = history.transaction_index(receipt.transaction.id)
        assert index is not None
        entry = decode_entry(history.entry(index) or b"")
        assert isinstance(entry, TransactionEntry)
        header = history.header(entry.height)
        assert header is not None
        assert header.time_ms >= real_ms + receipt.sent_s * 1000 - early_ms
        assert header.time_ms <= real_ms + receipt.acknowledged_s * 1000 + CLOCK_BOUND_MS


def _rounds(history: History, heights: Sequence[int]) -> dict[int, int]:
    """Return the round in which each height was decided."""
    rounds = {}
    for height in heights:
        commit = history.commit(height)
        assert commit is not None
        rounds[height] = commit.round
    return rounds


@contextmanager
def _history(network: FaultyNetwork, name: str) -> Iterator[History]:
    """Open the history of a node that does not run."""
    store = Store.open(network.home(name) / "data" / "ledger")
    try:
        yield History(store, SUITE)
    finally:
        store.close()


@pytest.mark.row(ROW)
@pytest.mark.faults
def test_a_clock_that_jumps_by_hours_while_the_node_runs_stops_nobody(
    network: FaultyNetwork, injected: Counter[str], measured: Measured, tmp_path: Path
) -> None:
    told = tmp_path / "clock"
    told.write_text("+0", "ascii")
    _restart(network, HEBEI, {"FAKETIME_TIMESTAMP_FILE": str(told), "FAKETIME_CACHE_DURATION": "1"})
    with network.load(*OTHERS) as load:
        for jump in ("+1h", "-1h", "+30s", "-30s", "+4s", "+0"):
            with measured.during("the slowest ten acknowledgements"):
                told.write_text(jump, "ascii")
                injected["clock jump"] += 1
                time.sleep(1.5)  # until libfaketime has read it
                load.await_progress(10)
        network.commit_one(HEBEI)  # its clock is right again
    network.check_running(load)
    network.stop(HEBEI)
    with _history(network, HEBEI) as history:
        _check_times(history, load.acknowledged)


@pytest.mark.row(ROW)
@pytest.mark.faults
def test_clocks_that_are_three_seconds_apart_from_each_other_cost_rounds_only(
    network: FaultyNetwork, injected: Counter[str], measured: Measured
) -> None:
    first = network.height(BEIJING) + 1
    for name, clock in ((BEIJING, "-3s"), (NATIONAL, "+3s")):
        _restart(network, name, {"FAKETIME": clock})
        injected[f"clock of {clock}"] += 1
    with network.load() as load, measured.during("thirty acknowledgements"):
        load.await_progress(30)
    network.check_running(load)
    last = network.height(HEBEI)
    network.stop(HEBEI)
    with _history(network, HEBEI) as history:
        _check_times(history, load.acknowledged)
        rounds = _rounds(history, range(first, last + 1))
    injected["round lost"] += sum(rounds.values())
    injected["height decided"] += len(rounds)
    assert max(rounds.values()) <= 4, rounds
