"""`mulu bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from cli.options import EngineOption, JsonOption
from cli.output import CommandError, ExitCode, error_console, say, show_json

app = typer.Typer(
    help="Measure on this machine: a network of real processes, or the ledger alone.",
    no_args_is_help=True,
)

SecondsOption = Annotated[float, typer.Option(min=1, max=3600, help="How long to measure.")]
WarmUpOption = Annotated[
    float, typer.Option(min=0, max=600, help="Seconds of load before that, which do not count.")
]
RateOption = Annotated[
    float | None,
    typer.Option(min=1, help="Transactions a second; as fast as committed if left out."),
]
ValidatorsOption = Annotated[int, typer.Option(min=4, max=10, help="How many validators.")]
HalfOption = Annotated[
    bool, typer.Option("--half", help="Then measure once more at half the rate reached.")
]
KillOption = Annotated[
    bool, typer.Option("--kill-one", help="In the end measure once more with a validator dead.")
]

_LOADS: Final = {
    "directory": ("Transactions of one directory entry each.", "--half --kill-one"),
    "authorisation": (
        "Transactions of one use of a license each, requested and consented.",
        "--rate 500",
    ),
    "batch": ("Transactions of a hundred operations each, as imports make them.", "--json"),
    "mixed": (
        "Of ten transactions six directory entries, three uses, one change of a license's status.",
        "--validators 7",
    ),
}


def _add_load(name: str, text: str, example: str) -> None:
    """Add the command of one kind of load; all take the same options."""

    @app.command(name, help=text, epilog=f"Example: mulu bench {name} {example}")
    def command(
        seconds: SecondsOption = 10.0,
        warm_up: WarmUpOption = 2.0,
        rate: RateOption = None,
        validators: ValidatorsOption = 4,
        half: HalfOption = False,
        kill_one: KillOption = False,
        engine: EngineOption = "tendermint",
        as_json: JsonOption = False,
    ) -> None:
        from cli.bench.load_runs import LoadOptions, measure_load
        from cli.bench.loads import LOADS
        from cli.bench.network import running_network

        options = LoadOptions(seconds, warm_up, rate, half, kill_one)
        with running_network(engine, validators, _progress) as world:
            figures = measure_load(world, LOADS[name], options, _progress)
        _show(name, {"engine": engine, **figures}, as_json)
        if not figures["transactions"]:
            raise typer.Exit(ExitCode.REFUSED)


for _name, _about in _LOADS.items():
    _add_load(_name, *_about)


@app.command(epilog="Example: mulu bench page build/bench/*.json --into docs/PERFORMANCE.md")
def page(
    files: Annotated[list[Path], typer.Argument(help="What --json has printed.", dir_okay=False)],
    into: Annotated[
        Path, typer.Option(help="The page whose figures they replace.", dir_okay=False)
    ],
    as_json: JsonOption = False,
) -> None:
    """Write figures into a page, as tables of Markdown."""
    from cli.bench.page import figures_page, replace_figures

    try:
        figures = figures_page(json.loads(file.read_text("utf-8")) for file in files)
        into.write_text(replace_figures(into.read_text("utf-8"), figures), "utf-8")
    except OSError as error:
        raise CommandError(f"cannot use {error.filename}: {error.strerror}") from None
    except (ValueError, KeyError) as error:
        raise CommandError(f"a file holds no figures: {error}") from None
    if as_json:
        show_json({"page": str(into), "runs": len(files)})
    else:
        say(f"{into} has the figures of {len(files)} runs.")


def _progress(text: str) -> None:
    error_console().print(text)


def _show(scenario: str, figures: dict[str, Any], as_json: bool) -> None:
    from cli.bench.report import show_figures

    show_figures(scenario, figures, as_json)


@app.command(epilog="Example: mulu bench query --seconds 10 --clients 2")
def query(
    seconds: SecondsOption = 5.0,
    warm_up: WarmUpOption = 1.0,
    clients: Annotated[int, typer.Option(min=1, max=64, help="Processes that ask.")] = 1,
    connections: Annotated[int, typer.Option(min=1, max=500, help="… over so many each.")] = 16,
    licenses: Annotated[int, typer.Option(min=50, max=1_000_000, help="On the ledger.")] = 1_000,
    entries: Annotated[int, typer.Option(min=1, max=1_000_000, help="… of the directory.")] = 2_000,
    engine: EngineOption = "tendermint",
    as_json: JsonOption = False,
) -> None:
    """Answers of one query node: status with proof, alone and in arrays; traces; searches. Samples are verified."""
    from cli.bench.network import running_network
    from cli.bench.query import QueryOptions, measure_queries

    options = QueryOptions(seconds, warm_up, clients, connections, licenses, entries)
    with running_network(engine, 4, _progress) as world:
        figures = measure_queries(world, options, _progress)
    _show("query", {"engine": engine, **figures}, as_json)


@app.command(epilog="Example: mulu bench verify --seconds 10")
def verify(seconds: SecondsOption = 5.0, as_json: JsonOption = False) -> None:
    """Offline verifications of a presentation with its bundle, one process on each core."""
    from cli.bench.offline import measure_verification

    _show("verify", measure_verification(seconds, _progress), as_json)


@app.command(epilog="Example: mulu bench sync --as validator")
def sync(
    joining: Annotated[
        Literal["query", "validator"],
        typer.Option("--as", help="Which node loses its data and fetches them again."),
    ] = "query",
    seconds: SecondsOption = 10.0,
    as_json: JsonOption = False,
) -> None:
    """A node without data catches up with what was loaded for some seconds: directory entries."""
    from cli.bench.catching_up import measure_catching_up
    from cli.bench.network import running_network

    with running_network("tendermint", 4, _progress) as world:
        figures = measure_catching_up(world, joining, seconds, _progress)
    _show("sync", figures, as_json)


@app.command(epilog="Example: mulu bench state --keys 10000000")
def state(
    keys: Annotated[int, typer.Option(min=1_000, max=100_000_000, help="At most.")] = 1_000_000,
    blocks: Annotated[int, typer.Option(min=1, max=10_000, help="To measure at each size.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """What a directory transaction costs the ledger alone with 10^4, 10^5, … keys in the state."""
    from cli.bench.growth import measure_growth

    _show("state", measure_growth(keys, blocks, _progress), as_json)


@app.command(epilog="Example: mulu bench idle --seconds 60")
def idle(
    seconds: SecondsOption = 30.0,
    validators: ValidatorsOption = 4,
    engine: EngineOption = "tendermint",
    as_json: JsonOption = False,
) -> None:
    """What a network takes of one core while nobody asks for anything."""
    from cli.bench.idle import measure_idle
    from cli.bench.network import running_network

    with running_network(engine, validators, _progress) as world:
        figures = measure_idle(world, seconds, _progress)
    _show("idle", {"engine": engine, **figures}, as_json)


@app.command(epilog="Example: mulu bench smoke --record")
def smoke(
    record: Annotated[
        bool, typer.Option("--record", help="Keep these costs for later comparisons.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="The median counts.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """Whether a transaction has become dearer since it was recorded: a warning beyond 20 per cent, never a failure."""
    from cli.bench import smoke as costs
    from cli.bench.machine import snappy

    found = costs.measure_costs(rounds, lambda _: None)
    if record:
        costs.record(found)
    known = costs.load_recorded()
    warned, compared = costs.warnings(found, known), costs.compare(found, known)
    figures = {name: cost | compared.get(name, {}) for name, cost in found.items()}
    told = {"warnings": warned, "recorded_snappy": costs.recorded_snappy(known)} if as_json else {}
    _show("smoke", {"unit": "signature checks", **figures, **told}, as_json)
    if not as_json:
        for text in (*costs.comparison_lines(found, known), *costs.snappy_lines(snappy(), known)):
            say(text)
    for text in warned:
        error_console().print(f"[bold yellow]warning:[/] {text}")
