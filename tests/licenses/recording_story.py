"""A story in which a use can be recorded at once, for tests of what validators refuse."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.errors import InvalidOperation
from licenses.use import RequestEnvelope
from tests.licenses.story import Holder, Story


class World(Story):
    """A story with one holder, whose license is ready for use."""

    person: Holder


def refused(code: str) -> Any:
    return pytest.raises(InvalidOperation, match=f"^licenses\\.use\\.{code}\\b")


def use_once(world: World, **options: Any) -> RequestEnvelope:
    envelope = world.request(**options)
    world.record(envelope, consent=world.consent(envelope, world.person))
    return envelope
