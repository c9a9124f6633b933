"""A node that was made with the wrong engine is told that its peers refuse it, and why; the others are well."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.network_setup import create_network
from node.client import NodeClient
from node.config import ConsensusConfig, EngineName, format_config, load_config
from node.errors import NodeUnreachable
from node.home import Home
from node.refusals import ENGINES_DIFFER
from tests.node.cometbft.engine import needs_cometbft
from tests.node.processes import Processes, eventually

pytestmark = needs_cometbft

NAMES = ("beijing", "hebei", "national", "tianjin")
STRAY = "hebei"


def refused(client: NodeClient) -> str:
    """Return how a node says that it is refused; "" where it does not."""
    try:
        found = client.network().findings
    except NodeUnreachable:
        return ""
    return next((str(one["text"]) for one in found if one["code"] == "refused"), "")


@pytest.mark.parametrize("engine", ["cometbft", "tendermint"])
def test_a_node_with_the_wrong_engine_says_that_the_others_and_it_do_not_go_together(
    tmp_path: Path, engine: EngineName
) -> None:
    wrong: EngineName = "tendermint" if engine == "cometbft" else "cometbft"
    network = create_network(
        tmp_path / "home", query_nodes=(), consensus=ConsensusConfig(engine="cometbft")
    )
    processes = Processes(network)
    for name in NAMES:
        place = Home(processes.home(name)).config
        consensus = ConsensusConfig(engine=wrong if name == STRAY else engine)
        config = load_config(place).model_copy(update={"consensus": consensus})
        place.write_text(format_config(config), "utf-8")
    try:
        processes.start(*NAMES)
        processes.await_ready(*(name for name in NAMES if name != STRAY), timeout_s=150.0)
        with processes.client(STRAY) as stray:
            eventually(lambda: ENGINES_DIFFER in refused(stray), 60.0)
            text = refused(stray)
            assert text.startswith("this node refuses " if wrong == "cometbft" else "beijing, ")
            eventually(lambda: ENGINES_DIFFER in stray.ready()[1], 60.0)
            assert not stray.ready()[0]
        with processes.client("beijing") as beijing:
            assert refused(beijing) == ""
            assert beijing.ready()[0]
    finally:
        processes.close()
