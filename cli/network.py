"""`mulu network`: a whole network on this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from cli.connection import check_node_address, passphrase
from cli.engine_setup import require_engine, warn_without_engine
from cli.network_setup import Network, NodePlace, create_network, load_network
from cli.options import (
    DEFAULT_HOME,
    EngineOption,
    HomeOption,
    JsonOption,
    NodeOption,
    TimeoutOption,
)
from cli.output import (
    CommandError,
    ExitCode,
    say,
    show_json,
    show_record,
    show_table,
    time_text,
)
from cli.processes import (
    running_process,
    spawn_node,
    start_failure,
    stop_process,
    wait_until_ready,
)
from cli.sample import QUERY_NODES, VALIDATORS
from node.answers import NetworkStatus
from node.client import NodeClient
from node.config import ConsensusConfig
from node.errors import ApiProblem, NodeUnreachable

app = typer.Typer(
    help="Create, start, stop and watch a network on this machine.", no_args_is_help=True
)

OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", help="Only this node; may be given several times."),
]


@app.command(epilog="Example: mulu network init --home ./network && export MULU_HOME=./network")
def init(
    home: HomeOption = DEFAULT_HOME,
    name: Annotated[
        str, typer.Option(help="Name of the chain, at most 17 of a-z, 0-9, -.")
    ] = "sample",
    validators: Annotated[
        str, typer.Option(help="Validators, separated by commas; at least four.")
    ] = ",".join(VALIDATORS),
    query: Annotated[str, typer.Option(help="Query nodes, separated by commas.")] = ",".join(
        QUERY_NODES
    ),
    engine: EngineOption = "tendermint",
    as_json: JsonOption = False,
) -> None:
    """Create keys, certificates, genesis and node homes of the sample network.

    Organisations and officers are examples; `mulu profile list` shows whose keys there are. Key
    files are encrypted with MULU_PASSPHRASE where it is set.
    """
    directory = home.expanduser()
    network = create_network(
        directory,
        name=name,
        validators=_names(validators),
        query_nodes=_names(query),
        consensus=ConsensusConfig(engine=engine),
        passphrase=passphrase(),
    )
    warn_without_engine(engine)
    if as_json:
        show_json(
            {
                "home": str(directory),
                "chain_id": network.chain_id,
                "engine": engine,
                "nodes": [
                    {"name": one.name, "role": one.role, "api": one.api} for one in network.nodes
                ],
            }
        )
        return
    _show_nodes(network)
    say(
        f"Chain {network.chain_id} in {directory}.\n"
        f"Next: export MULU_HOME={directory.resolve()}; mulu network start; mulu profile list"
    )


@app.command(epilog="Example: mulu network start --home ./network")
def start(
    home: HomeOption = DEFAULT_HOME,
    only: OnlyOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Start the nodes as processes of their own and wait until they serve."""
    network = load_network(home.expanduser())
    places = _chosen(network, only)
    require_engine(network.node_home(place) for place in places)
    started = [place for place in places if running_process(network.node_home(place)) is None]
    processes = {
        place.name: spawn_node(network.node_home(place), detached=True) for place in started
    }
    reasons = wait_until_ready(network, places, processes, timeout_s=timeout)
    if reasons:
        raise start_failure(network, reasons)
    if as_json:
        show_json({"started": [place.name for place in started]})
    else:
        _show_nodes(network)


@app.command(epilog="Example: mulu network stop --home ./network --only hebei")
def stop(
    home: HomeOption = DEFAULT_HOME, only: OnlyOption = None, as_json: JsonOption = False
) -> None:
    """Stop the nodes of this machine."""
    network = load_network(home.expanduser())
    stopped: list[str] = []
    stuck: list[str] = []
    for place in _chosen(network, only):
        process_id = running_process(network.node_home(place))
        if process_id is None:
            continue
        (stopped if stop_process(process_id) else stuck).append(place.name)
    if stuck:
        raise CommandError(
            f"did not stop in time: {', '.join(stuck)}",
            code="not_stopped",
            exit_code=ExitCode.NOT_ESTABLISHED,
            hint="Look into the node's node.log; as a last resort end the process in node.pid with kill -9.",
        )
    if as_json:
        show_json({"stopped": stopped})
    else:
        say(f"Stopped: {', '.join(stopped) or 'nothing was running'}.")


@app.command(epilog="Example: mulu network status --home ./network")
def status(
    home: HomeOption = DEFAULT_HOME, node: NodeOption = None, as_json: JsonOption = False
) -> None:
    """Say how many validators are online, whether they are a quorum, and how far the chain is.

    Exit code 3 where there is no quorum or no node answers.
    """
    found = _ask(home.expanduser(), node)
    if as_json:
        show_json({**found.raw, "quorum": found.quorum})
    else:
        _show_status(found)
    if not found.quorum:
        raise typer.Exit(ExitCode.NOT_ESTABLISHED)


def _ask(home: Path, node: str | None) -> NetworkStatus:
    """Return what the first node that answers says."""
    addresses = (
        [check_node_address(node)] if node else [place.api for place in load_network(home).nodes]
    )
    reasons = []
    for address in addresses:
        with NodeClient(address, timeout_s=5.0) as client:
            try:
                return client.network()
            except (NodeUnreachable, ApiProblem) as error:
                reasons.append(str(error))
    raise CommandError(
        f"no node answers; the first: {reasons[0]}",
        code="unreachable",
        exit_code=ExitCode.NOT_ESTABLISHED,
        hint=f"Start the network: mulu network start --home {home}",
    )


def _show_status(found: NetworkStatus) -> None:
    quorum = "a quorum" if found.quorum else "NO QUORUM: nothing can be committed"
    show_record(
        found.name,
        {
            "chain": found.chain_id,
            "validators": f"{found.online} of {found.total} online, {quorum}",
            "height": found.height,
            "engine": found.engine,
            "checkpoint": _checkpoint_text(found),
            "app hash": found.app_hash,
            "stalled": _stalled_text(found),
            "findings": _findings_text(found),
        },
    )
    show_table(
        "Validators",
        ("Name", "Online"),
        ((validator.name, validator.online) for validator in found.validators),
    )


def _checkpoint_text(found: NetworkStatus) -> str | None:
    if not found.checkpoint_size:
        return None
    age_s = max(0, int(time.time() - found.checkpoint_time_ms / 1000))
    return f"size {found.checkpoint_size}, {time_text(found.checkpoint_time_ms)} ({age_s} s ago)"


def _stalled_text(found: NetworkStatus) -> str | None:
    """Return why no block can be made, where that is not the finding that is shown."""
    if found.stalled and found.findings and found.stalled in found.findings[0]["text"]:
        return "yes"
    return found.stalled


def _findings_text(found: NetworkStatus) -> str:
    """Return the worst of what that node finds wrong, and how much more there is."""
    if not found.findings:
        return "none"
    more = len(found.findings) - 1
    rest = f" (and {more} more: mulu node status)" if more else ""
    return f"{found.findings[0]['text']}{rest}"


def _show_nodes(network: Network) -> None:
    show_table(
        "Nodes",
        ("Name", "Role", "API", "Process"),
        (
            (place.name, place.role, place.api, running_process(network.node_home(place)))
            for place in network.nodes
        ),
    )


def _chosen(network: Network, only: list[str] | None) -> tuple[NodePlace, ...]:
    return tuple(network.node(name) for name in only) if only else network.nodes


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
