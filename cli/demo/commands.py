"""`mulu demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import EngineOption, JsonOption


def demo(
    exit_after: Annotated[
        bool, typer.Option("--exit", help="End after the story; exit code 1 if a step failed.")
    ] = False,
    home: Annotated[
        Path | None,
        typer.Option(help="Keep the network here; a temporary directory if left out."),
    ] = None,
    engine: EngineOption = "tendermint",
    as_json: JsonOption = False,
) -> None:
    """Run the whole story on this machine: four jurisdictions record, prove and verify.

    Starts four validators and a query node as processes, tells the story step by step, then stays up
    and says what to try. With --json the story goes to standard error, and one JSON object, on one
    line, to standard output.

    Example: mulu demo --exit
    """
    from cli.demo.story import run_demo

    raise typer.Exit(run_demo(home, engine, exit_after=exit_after, as_json=as_json))
