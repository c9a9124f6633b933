"""Times that a test of faults measures, for the report: none of them is asserted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.network import FaultyNetwork
from tests.node.processes import eventually


class Measured(dict[str, float]):
    """Seconds, by what they are of."""

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Measure how long something takes; of what is done again and again, the longest stays."""
        began_s = time.monotonic()
        yield
        self[what] = max(self.get(what, 0.0), time.monotonic() - began_s)

    def loss_of_quorum(self, network: FaultyNetwork, *names: str) -> None:
        """Measure how long it takes until nodes tell that they hear no quorum, so that their answers may be old."""
        with self.during("not current told after"):
            for name in names:
                with network.client(name) as client:
                    eventually(lambda client=client: not client.network().quorum)  # type: ignore[misc]

    def recovery(self, network: FaultyNetwork) -> None:
        """Measure how long it takes until each validator has brought a transaction to commit."""
        with self.during("all commit after"):
            for name in network.validators:
                network.commit_one(name)
