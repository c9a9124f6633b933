"""The town as most tests of the directory find it."""

from __future__ import annotations

import pytest

from tests.directory.town import Ledger, everything


@pytest.fixture
def ledger() -> Ledger:
    """A ledger on which one entry of each collection counts."""
    town = Ledger()
    town.establish(*everything())
    return town
