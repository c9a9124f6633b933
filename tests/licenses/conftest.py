"""Fixtures that several files share; a file that sets up a `story` of its own has `person` and `wallet` of that one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from licenses.wallet import Wallet
from tests.licenses.recording_story import World
from tests.licenses.story import Holder, Story, ready_story
from tests.licenses.wallet_story import new_wallet, put_license


@pytest.fixture
def story() -> Story:
    return ready_story()


@pytest.fixture
def person(story: Story) -> Holder:
    return story.holder()


@pytest.fixture(scope="module")
def prepared() -> tuple[Story, Holder]:
    story = ready_story()
    return story, story.holder()


@pytest.fixture
def world(prepared: tuple[Story, Holder]) -> Iterator[World]:
    """Return the prepared world; what a test commits is undone by the copy of its state."""
    story, person = prepared
    kept = dict(story.values)
    story.__class__ = World
    assert isinstance(story, World)
    story.person = person
    yield story
    # The sample chain only grows; handlers read the values, which start afresh for each test.
    story.values = kept


@pytest.fixture
def wallet(story: Story, tmp_path: Path) -> Wallet:
    return new_wallet(story, tmp_path / "wallet")


@pytest.fixture
def handle(story: Story, wallet: Wallet) -> Iterator[bytes]:
    yield put_license(story, wallet)
