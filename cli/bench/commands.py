"""`mulu bench`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import EngineOption, JsonOption
from cli.output import ExitCode, error_console, show_json, show_record
from node.config import EngineName

app = typer.Typer(
    help="Measure a network of this machine: four validators, a query node and the loader.",
    no_args_is_help=True,
)

SecondsOption = Annotated[float, typer.Option(min=1, max=3600, help="How long to load.")]
RateOption = Annotated[
    float | None,
    typer.Option(min=1, help="Transactions a second; as fast as committed if left out."),
]


@app.command(epilog="Example: mulu bench directory --seconds 20")
def directory(
    seconds: SecondsOption = 10.0,
    rate: RateOption = None,
    engine: EngineOption = "tendermint",
    as_json: JsonOption = False,
) -> None:
    """Transactions of one directory entry each."""
    _bench("directory", engine, seconds, rate, "tongzhou-editor", as_json)


@app.command(epilog="Example: mulu bench authorisation --rate 500")
def authorisation(
    seconds: SecondsOption = 10.0,
    rate: RateOption = None,
    engine: EngineOption = "tendermint",
    as_json: JsonOption = False,
) -> None:
    """Transactions of one use of a license each, requested and consented."""
    _bench("authorisation", engine, seconds, rate, "tianjin-recorder", as_json)


@app.command(epilog="Example: mulu bench batch --json")
def batch(
    seconds: SecondsOption = 10.0,
    rate: RateOption = None,
    engine: EngineOption = "tendermint",
    as_json: JsonOption = False,
) -> None:
    """Transactions of a hundred operations each, as imports make them."""
    _bench("batch", engine, seconds, rate, "tongzhou-editor", as_json)


def _bench(
    kind: str,
    engine: EngineName,
    seconds: float,
    rate: float | None,
    profile: str,
    as_json: bool,
) -> None:
    from cli.bench.loads import LOADS
    from cli.bench.measure import run_load
    from cli.demo.world import World

    notes = error_console()
    directory_ = Path(tempfile.mkdtemp(prefix="mulu-bench-"))
    world = None
    try:
        world = World.create(directory_, engine)
        notes.print("starting the network")
        world.start_nodes(*(place.name for place in world.network.nodes))
        make, operations, checks, most_per_s = LOADS[kind]
        count = int(seconds * (most_per_s if rate is None else rate)) + 1
        load = make(world, count, notes.print)
        notes.print(f"loading for {seconds:g} s")
        measured = run_load(
            world, load, operations=operations, seconds=seconds, rate=rate, profile=profile
        )
    finally:
        if world is not None:
            world.close()
        shutil.rmtree(directory_, ignore_errors=True)
    figures: dict[str, Any] = {
        "bench": kind,
        "engine": engine,
        "seconds": round(measured.seconds, 2),
        "rate": rate,
        "transactions": measured.committed,
        "transactions_per_s": round(measured.transactions_per_s, 1),
        "operations_per_s": round(measured.transactions_per_s * operations, 1),
        "commit_latency_p50_ms": round(measured.latency_p50_ms, 1),
        "commit_latency_p99_ms": round(measured.latency_p99_ms, 1),
        "cpu_us_per_transaction": round(measured.cpu_us_per_transaction, 1),
        "loader_cpu_us_per_transaction": round(measured.loader_cpu_us_per_transaction, 1),
        "signature_check_us": round(measured.signature_check_us, 1),
        "share_of_signature_limit": round(
            measured.share_of_signature_limit(checks * len(world.network.validators)), 3
        ),
        "disk_bytes_per_transaction": round(measured.disk_bytes_per_transaction, 1),
        "outcomes": measured.outcomes,
    }
    if as_json:
        show_json(figures)
    else:
        show_record(f"Bench {kind}", figures)
    if not measured.committed:
        raise typer.Exit(ExitCode.REFUSED)
