"""The network that is measured: four to ten validators and a query node, each a process of this machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cli.demo.world import World
from cli.engine_setup import require_program
from cli.network_setup import NodePlace
from cli.sample import VALIDATORS, SampleOrganisation, by_short_name
from ledger.uscc import check_character, organisation_check_character
from node.config import EngineName

FEWEST_VALIDATORS: Final = len(VALIDATORS)

_MORE_REGIONS: Final = {
    "shanxi": "140000",
    "shanghai": "310000",
    "jiangsu": "320000",
    "zhejiang": "330000",
    "anhui": "340000",
    "shandong": "370000",
}
MOST_VALIDATORS: Final = FEWEST_VALIDATORS + len(_MORE_REGIONS)

Progress = Callable[[str], None]


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Make a directory for a run and remove it with all that is in it."""
    directory = Path(tempfile.mkdtemp(prefix="mulu-bench-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def running_network(engine: EngineName, validators: int, progress: Progress) -> Iterator[World]:
    """Start a new network and stop it in the end; nothing of it is left.

    Raises:
        CommandError: the engine is not installed, or a node did not come up.
    """
    require_program(engine)
    with temporary_directory() as directory:
        world = lay_out(directory / "network", engine, validators)
        try:
            progress(f"starting {len(world.network.nodes)} nodes")
            world.start_nodes(*(place.name for place in world.network.nodes))
            world.await_online("xiongan", validators)
            yield world
        finally:
            world.close()


def lay_out(directory: Path, engine: EngineName, validators: int) -> World:
    """Lay out a network of four to ten validators; nothing runs yet."""
    regions = list(_MORE_REGIONS)[: validators - FEWEST_VALIDATORS]
    more = tuple(_authority(name) for name in regions)
    return World.create(directory, engine, (*VALIDATORS, *regions), more)


def query_place(world: World) -> NodePlace:
    """Return where the query node is."""
    return world.network.query_nodes[0]


def _authority(name: str) -> SampleOrganisation:
    """Return a further jurisdiction's authority, with an invented but well-formed code."""
    division = _MORE_REGIONS[name]
    code = f"MB2A{division[:4]}"
    first = f"11{division}{code}{organisation_check_character(code)}"
    return SampleOrganisation(
        name,
        first + check_character(first),
        f"{name.capitalize()} Directory Authority",
        by_short_name("hebei").level,
        division,
        "national",
        authority=True,
    )
