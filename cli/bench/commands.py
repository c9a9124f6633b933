"""`mulu bench`."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from cli.options import EngineOption, JsonOption
from cli.output import ExitCode, error_console

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

        options = LoadOptions(engine, validators, seconds, warm_up, rate, half, kill_one)
        figures = measure_load(LOADS[name], options, error_console().print)
        _show(name, {"engine": engine, **figures}, as_json)
        if not figures["transactions"]:
            raise typer.Exit(ExitCode.REFUSED)


for _name, _about in _LOADS.items():
    _add_load(_name, *_about)


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
    from cli.bench.query import QueryOptions, measure_queries

    options = QueryOptions(engine, seconds, warm_up, clients, connections, licenses, entries)
    _show("query", measure_queries(options, error_console().print), as_json)
