"""The ledger under attack, built once, and a second application with the same ledger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attack.judge import Judge
from tests.attack.world import World, open_world, twin_of


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = open_world(tmp_path_factory.mktemp("world"))
    yield world
    world.ledger.close()


@pytest.fixture(scope="session")
def judge(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    twin = twin_of(world, tmp_path_factory.mktemp("twin"))
    yield Judge(world, twin)
    twin.ledger.close()
